"""Compressed frames into one array of stored values, by as many threads as this process was given cores.

Whoever is free takes the next frame of the file; who is slower decodes fewer. The decoders let go of the
interpreter's lock, but for that of lossy JPEG, whose frames are decoded one after the other.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.encaps import generate_frames
from pydicom.uid import UID

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.words import counted
from angio_pipeline.ingest.codestreams import check_codestream
from angio_pipeline.ingest.frames import PixelFormat, decode_frame, lets_threads_run
from angio_pipeline.ingest.headers import quiet_pydicom
from angio_pipeline.numerics.compiled import each_in_threads

__all__ = ["CompressedFrames", "decode_all"]

Stack = npt.NDArray[np.float32] | npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class CompressedFrames:
    """Where compressed frames lie, and what they decode to.

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


def decode_all(compressed: CompressedFrames, dtype: np.dtype[Any]) -> Stack:
    """Return the stored values, (T, H, W).

    Raises
    ------
    InputRefused
        `corrupt_pixels` where a frame does not decode, `truncated` where frames are missing.
    """
    threads = max(cv2.getNumThreads(), 1) if lets_threads_run(compressed.syntax) else 1
    with _opened(compressed) as encoded:
        run = _Run(compressed, dtype, encoded)
        each_in_threads(run.decode_share, min(threads, compressed.format.frames))
    return run.result()


@contextmanager
def _opened(compressed: CompressedFrames) -> Iterator[Iterator[bytes]]:
    """Yield the encoded frames in turn."""
    count, offsets = compressed.format.frames, compressed.extended_offsets
    with compressed.path.open("rb") as stream:
        stream.seek(compressed.offset)
        yield generate_frames(stream, number_of_frames=count, extended_offsets=offsets)


class _Run:
    """Frames on their way from a file into one array, and who failed on the way."""

    def __init__(self, compressed: CompressedFrames, dtype: np.dtype[Any], encoded: Iterator[bytes]) -> None:
        self._compressed, self._dtype, self._encoded = compressed, dtype, encoded
        self._lock = threading.Lock()
        self._taken = 0
        self._failures: dict[int, Exception] = {}
        self._frames: npt.NDArray[Any] | None = None

    def decode_share(self, _thread: int) -> None:
        """Decode frames for as long as there are any and none has failed."""
        while True:
            with self._lock:
                index = self._taken
                if self._failures or index >= self._compressed.format.frames:
                    return
                self._taken += 1
                try:
                    data = _next(self._encoded, index, self._compressed.format.frames)
                except InputRefused as error:
                    self._failures[index] = error
                    return
            self._decode(index, data)

    def _decode(self, index: int, data: bytes) -> None:
        try:
            frame = _decoded(self._compressed, index, data)
            self._room()[index] = frame
        except Exception as error:
            self._failures[index] = error

    def _room(self) -> npt.NDArray[Any]:
        """Return the array for all frames; memory is taken once the first frame has decoded."""
        with self._lock:
            if self._frames is None:
                found = self._compressed.format
                self._frames = np.empty((found.frames, found.rows, found.columns), dtype=self._dtype)
            return self._frames

    def result(self) -> Stack:
        """Return all frames, or raise for the first that failed: those before it were all taken before it."""
        if self._failures:
            raise self._failures[min(self._failures)]
        assert self._frames is not None
        return self._frames


def _next(encoded: Iterator[bytes], index: int, count: int) -> bytes:
    try:
        with quiet_pydicom():
            return next(encoded)
    except StopIteration:
        sentence = f"Expected {counted(count, 'frame')}, found {index} that decode; export it again."
        raise InputRefused(sentence, reason="truncated") from None
    except MemoryError:
        raise
    except Exception as error:  # pydicom raises errors of several types here
        raise _corrupt(f"frames that cannot be told apart ({type(error).__name__})") from None


def _decoded(compressed: CompressedFrames, index: int, data: bytes) -> npt.NDArray[np.generic]:
    found = compressed.format
    check_codestream(compressed.syntax, data, rows=found.rows, columns=found.columns, allocated=found.allocated)
    try:
        frame = decode_frame(compressed.syntax, data, found)
    except MemoryError:
        raise
    except Exception as error:  # decoders raise errors of almost any type
        raise _corrupt(f"frame {index} damaged ({type(error).__name__})") from None
    if frame.shape != (found.rows, found.columns):
        raise _corrupt(f"frame {index} of shape {frame.shape}")
    return frame


def _corrupt(what: str) -> InputRefused:
    return InputRefused(
        f"Expected pixel data that decodes to the header's size, found {what}; export it again.",
        reason="corrupt_pixels",
    )
