"""Worker processes: none is waited for when one fails, and OpenCV gets its threads back."""

from __future__ import annotations

import os
import time
from concurrent.futures import as_completed
from pathlib import Path

import cv2
import pytest

from angio_pipeline.workers import one_image_thread, process_pool


def test_when_one_job_fails_those_that_have_not_begun_never_do(tmp_path: Path) -> None:
    marks = [tmp_path / f"{k}" for k in range(20)]

    def work() -> None:
        with process_pool(1, initializer=time.time, preload="time") as pool:
            waiting = [pool.submit(os.remove, tmp_path / "missing")]
            for mark in marks:
                waiting += [pool.submit(time.sleep, 0.2), pool.submit(mark.touch)]
            for future in as_completed(waiting):
                future.result()

    with pytest.raises(FileNotFoundError):
        work()
    assert not all(mark.exists() for mark in marks)


def test_what_all_jobs_return_is_had_when_none_fails() -> None:
    with process_pool(2, initializer=time.time, preload="time") as pool:
        assert [future.result() for future in [pool.submit(abs, -k) for k in range(5)]] == [0, 1, 2, 3, 4]


def test_opencv_gets_its_threads_back_also_after_an_error() -> None:
    before = cv2.getNumThreads()

    def work() -> None:
        with one_image_thread():
            assert cv2.getNumThreads() == 1
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert cv2.getNumThreads() == before
