"""Compressed frames into stored values: one after the other, or shared out over processes.

The decoders hold the interpreter's lock, so threads gain nothing. A worker process that was given
several cores has processes beside it instead: all take the number of their next frame from one
pipe and write what they decode into one piece of memory that they share. Who is slower, or comes
later, decodes fewer; each frame is decoded by the same code as in one process, to the same bits.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest.codestreams import check_codestream
from angio_pipeline.ingest.complaints import caught_complaints
from angio_pipeline.ingest.headers import quiet_pydicom
from angio_pipeline.side_process import SideProcess, SideProcessDied

__all__ = ["CompressedFrames", "PixelFormat", "decode_all"]

Stack = npt.NDArray[np.float32] | npt.NDArray[np.uint16]

# Fewer pixels are decoded in less time than another process needs to begin.
_LEAST_SHARED_PX = 1 << 21
# As many numbers as a pipe surely holds before anybody reads from it.
_MOST_SHARED_FRAMES = 8192
# Beyond these a run is decoded before all of them have begun.
_MOST_PROCESSES = 8
_NUMBER = struct.Struct("<L")


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the stored values lie in the file."""

    rows: int
    columns: int
    frames: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    photometric: str

    @property
    def pixels(self) -> int:
        """Number of pixels in one frame."""
        return self.rows * self.columns

    @property
    def value_range(self) -> tuple[int, int]:
        """Least and greatest value that the stored bits can hold."""
        if self.signed:
            return -(1 << (self.stored - 1)), (1 << (self.stored - 1)) - 1
        return 0, (1 << self.stored) - 1


@dataclass(frozen=True, slots=True)
class CompressedFrames:
    """Where compressed frames lie, and what they decode to; small enough to send to a process.

    Attributes
    ----------
    offset : int
        Where the value of the pixel data starts in the file.
    extended_offsets : tuple of bytes or None
        The tables of offsets and lengths, where the header has them.
    """

    path: Path
    offset: int
    syntax: UID
    format: PixelFormat
    extended_offsets: tuple[bytes, bytes] | None = None


@dataclass(frozen=True, slots=True)
class _Shared:
    """How a process beside this one reaches the queue of frame numbers and the memory for frames."""

    queue: str
    memory: str
    dtype: np.dtype[Any]


def decode_all(compressed: CompressedFrames, dtype: np.dtype[Any]) -> Stack:
    """Return the stored values, (T, H, W), decoded by as many processes as this one was given cores.

    Raises
    ------
    InputRefused
        `corrupt_pixels` where a frame does not decode, `truncated` where frames are missing.
    """
    others = _processes_beside(compressed.format)
    if not others:
        return _decode_here(compressed, dtype)
    try:
        return _decode_shared(compressed, dtype, others)
    except SideProcessDied:
        raise _corrupt("a frame that ends its decoder") from None


def _decode_here(compressed: CompressedFrames, dtype: np.dtype[Any]) -> Stack:
    """Decode in this process; memory is taken once the first frame has decoded."""
    frames: npt.NDArray[Any] | None = None
    with _opened(compressed) as encoded:
        for index in range(compressed.format.frames):
            frame = _decoded(compressed, index, _next(encoded, index, compressed.format.frames))
            if frames is None:
                frames = np.empty(_shape(compressed.format), dtype=dtype)
            frames[index] = frame
    assert frames is not None
    return frames


def _shape(found: PixelFormat) -> tuple[int, int, int]:
    return found.frames, found.rows, found.columns


@contextmanager
def _opened(compressed: CompressedFrames) -> Iterator[Iterator[bytes]]:
    """Yield the encoded frames in turn."""
    count, offsets = compressed.format.frames, compressed.extended_offsets
    with compressed.path.open("rb") as stream:
        stream.seek(compressed.offset)
        yield generate_frames(stream, number_of_frames=count, extended_offsets=offsets)


def _next(encoded: Iterator[bytes], index: int, count: int) -> bytes:
    try:
        with quiet_pydicom():
            return next(encoded)
    except StopIteration:
        sentence = f"Expected {count} frames, found {index} that decode; export it again."
        raise InputRefused(sentence, reason="truncated") from None
    except Exception as error:  # pydicom raises errors of several types here
        raise _corrupt(f"frames that cannot be told apart ({type(error).__name__})") from None


def _decoded(compressed: CompressedFrames, index: int, data: bytes) -> npt.NDArray[np.generic]:
    found = compressed.format
    check_codestream(compressed.syntax, data, rows=found.rows, columns=found.columns, allocated=found.allocated)
    try:
        with quiet_pydicom():
            frame = _decode_one(compressed.syntax, data, found)
    except MemoryError:
        raise
    except Exception as error:  # decoders raise errors of almost any type
        raise _corrupt(f"frame {index} that does not ({type(error).__name__})") from None
    if frame.shape != (found.rows, found.columns):
        raise _corrupt(f"frame {index} of shape {frame.shape}")
    return frame


def _decode_one(syntax: UID, data: bytes, found: PixelFormat) -> npt.NDArray[np.generic]:
    options: dict[str, Any] = {
        "rows": found.rows,
        "columns": found.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": found.photometric,
        "bits_allocated": found.allocated,
        "bits_stored": found.stored,
        "pixel_representation": int(found.signed),
        "pixel_keyword": "PixelData",
    }
    with caught_complaints() as complaints:
        frame, _ = get_decoder(syntax).as_array(encapsulate([data]), index=0, raw=True, **options)
    if complaints:
        raise ValueError("the decoder made up what the stream lacks")
    return frame


def _corrupt(what: str) -> InputRefused:
    return InputRefused(
        f"Expected pixel data that decodes to the header's size, found {what}; export it again.",
        reason="corrupt_pixels",
    )


def _processes_beside(found: PixelFormat) -> list[SideProcess]:
    """Return the processes that help to decode: none where they would not gain, or this process has one core.

    Only a worker has them: a script that was not written for processes of its own would be run again by each.
    """
    cores = min(cv2.getNumThreads(), _MOST_PROCESSES)
    is_worker = multiprocessing.parent_process() is not None and not multiprocessing.current_process().daemon
    gains = found.pixels * found.frames >= _LEAST_SHARED_PX and 4 <= found.frames <= _MOST_SHARED_FRAMES
    if cores < 2 or not is_worker or not gains or not hasattr(os, "memfd_create"):
        return []
    if not all(other.is_alive for other in _beside(cores - 1)):  # the system may end what it finds too large
        _dismiss(_beside(cores - 1))
    return _beside(cores - 1)


def _dismiss(others: list[SideProcess]) -> None:
    for other in others:
        other.end()
    _beside.cache_clear()


@lru_cache(maxsize=1)
def _beside(count: int) -> list[SideProcess]:
    return [SideProcess(cv2.setNumThreads, 1) for _ in range(count)]


def _decode_shared(compressed: CompressedFrames, dtype: np.dtype[Any], others: list[SideProcess]) -> Stack:
    size = int(np.prod(_shape(compressed.format))) * dtype.itemsize
    with ExitStack() as stack:
        queue, memory = _queue(compressed.format.frames), os.memfd_create("frames")
        for descriptor in (queue, memory):
            stack.callback(os.close, descriptor)
        os.truncate(memory, size)
        here = f"/proc/{os.getpid()}/fd"
        shared = _Shared(f"{here}/{queue}", f"{here}/{memory}", dtype)
        for other in others:
            other.ask(_decode_share, compressed, shared)
        for error in _answered(others, compressed, shared):
            if error is not None:
                raise error
        return np.frombuffer(mmap.mmap(memory, size), dtype=dtype).reshape(_shape(compressed.format))


def _answered(others: list[SideProcess], compressed: CompressedFrames, shared: _Shared) -> list[Exception | None]:
    """Decode here, too, until all are done; return what failed here and there.

    Whatever happens here the others are waited for, or ended: they would give the next question this answer.
    """
    errors: list[Exception | None] = []
    try:
        errors = [_failure(_decode_share, compressed, shared), *(_failure(other.answer) for other in others)]
    finally:
        if not errors or any(isinstance(error, SideProcessDied) for error in errors):
            _dismiss(others)
    return errors


def _failure(call: Any, *arguments: Any) -> Exception | None:
    try:
        call(*arguments)
    except Exception as error:
        return error
    return None


def _queue(count: int) -> int:
    """Return the end of a pipe from which each number below `count` can be read once, by whoever comes first."""
    end, start = os.pipe()
    os.write(start, b"".join(map(_NUMBER.pack, range(count))))
    os.close(start)
    return end


def _decode_share(compressed: CompressedFrames, shared: _Shared) -> None:
    """Decode frames into the shared memory for as long as there are numbers in the queue."""
    size = int(np.prod(_shape(compressed.format))) * shared.dtype.itemsize
    with ExitStack() as stack:
        # Not to wait: a pipe whose other end is closed would never open.
        queue = os.open(shared.queue, os.O_RDONLY | os.O_NONBLOCK)
        stack.callback(os.close, queue)
        memory = stack.enter_context(Path(shared.memory).open("r+b"))
        frames = np.frombuffer(mmap.mmap(memory.fileno(), size), dtype=shared.dtype)
        frames = frames.reshape(_shape(compressed.format))
        encoded = stack.enter_context(_opened(compressed))
        at = -1
        while number := os.read(queue, _NUMBER.size):
            (wanted,) = _NUMBER.unpack(number)
            data = b""
            while at < wanted:
                at += 1
                data = _next(encoded, at, compressed.format.frames)
            frames[wanted] = _decoded(compressed, wanted, data)
