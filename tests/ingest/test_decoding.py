"""Frames decoded by several threads are those decoded by one, and fail like them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import decoded_apart
import hostile_files as hostile
import imagecodecs
import numpy as np
import pytest
from encoded_frames import LOSSLESS
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless

from angio_pipeline.ingest import decoding
from angio_pipeline.workers import hold_threads, process_pool, warm_up

SHAPE = (9, 64, 96)
FRAMES = np.random.default_rng(21).integers(0, 4095, SHAPE).astype(np.uint16)


ENCODERS = LOSSLESS | {JPEGBaseline8Bit: partial(imagecodecs.jpeg8_encode, level=100)}


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = cv2.getNumThreads()
    yield cv2.setNumThreads
    cv2.setNumThreads(before)


def _run(path: Path, syntax: str = JPEGLSLossless) -> Path:
    lossy = syntax == JPEGBaseline8Bit
    encoded = [bytes(ENCODERS[syntax](frame)) for frame in ((FRAMES >> 4).astype(np.uint8) if lossy else FRAMES)]
    return hostile.compressed(path, encoded, syntax=syntax, shape=SHAPE, bits=8 if lossy else None)


@pytest.mark.parametrize("count", [2, 3, 20])
@pytest.mark.parametrize("syntax", ENCODERS, ids=str)
def test_frames_decoded_by_several_threads_equal_those_of_one(
    threads: Callable[[int], None], tmp_path: Path, syntax: str, count: int
) -> None:
    path = _run(tmp_path / "run.dcm", syntax)
    threads(1)
    one = decoded_apart.decoded(path)
    threads(count)
    several = decoded_apart.decoded(path)
    assert np.array_equal(several, one)
    assert several.dtype == one.dtype
    if syntax != JPEGBaseline8Bit:
        assert np.array_equal(one, FRAMES)


@pytest.mark.parametrize("syntax", ENCODERS, ids=str)
def test_as_many_threads_decode_as_the_process_was_given_cores(
    threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, syntax: str
) -> None:
    # Lossy JPEG is judged by what the whole process says meanwhile.
    expected = 1 if syntax == JPEGBaseline8Bit else 3
    decode_frame, names, together = decoding.decode_frame, set(), threading.Barrier(expected, timeout=30)

    def decoded(*arguments: Any) -> Any:
        name = threading.current_thread().name
        if name not in names:
            names.add(name)
            together.wait()
        return decode_frame(*arguments)

    monkeypatch.setattr(decoding, "decode_frame", decoded)
    threads(3)
    decoded_apart.decoded(_run(tmp_path / "run.dcm", syntax))
    assert len(names) == expected


def test_a_worker_that_was_given_cores_decodes_like_this_process(tmp_path: Path) -> None:
    path = _run(tmp_path / "run.dcm")
    warm_up()
    with process_pool(1, initializer=partial(hold_threads, 2), preload="angio_pipeline.pipeline") as pool:
        assert np.array_equal(pool.submit(decoded_apart.decoded, path).result(), FRAMES)


@pytest.mark.parametrize("broken", [(0,), (4,), (8,), (3, 4, 5)])
def test_the_first_broken_frame_is_named_however_many_threads_decode(
    threads: Callable[[int], None], tmp_path: Path, broken: tuple[int, ...]
) -> None:
    encoded = [ENCODERS[JPEG2000Lossless](frame) for frame in FRAMES]
    for index in broken:
        encoded[index] = encoded[index][:200]
    path = hostile.compressed(tmp_path / "run.dcm", encoded, syntax=JPEG2000Lossless, shape=SHAPE)
    for count in (1, 2, 5):
        threads(count)
        reason, sentence = decoded_apart.refused(path)
        assert reason == "corrupt_pixels"
        assert f"frame {broken[0]} " in sentence


def test_frames_that_are_missing_are_told_however_many_threads_decode(
    threads: Callable[[int], None], tmp_path: Path
) -> None:
    encoded = [ENCODERS[JPEGLSLossless](frame) for frame in FRAMES]
    # As many fragments as the header names frames, of fewer frames.
    halves = [part for frame in encoded[:5] for part in (frame[:200], frame[200:])]
    path = hostile.compressed(tmp_path / "run.dcm", halves[:9], syntax=JPEGLSLossless, shape=SHAPE)
    for count in (1, 4):
        threads(count)
        assert decoded_apart.refused(path)[0] == "corrupt_pixels"


def test_want_of_memory_is_not_called_damage() -> None:
    def encoded() -> Iterator[bytes]:
        raise MemoryError
        yield b""

    with pytest.raises(MemoryError):
        decoding._next(encoded(), 0, 1)
