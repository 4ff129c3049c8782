"""How compiled loops share the cores."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from angio_pipeline.numerics.compiled import compiled, each_in_threads
from angio_pipeline.numerics.low_rank import keep_significant
from angio_pipeline.numerics.sampling import sample_lattice
from angio_pipeline.numerics.tables import look_up, look_up_minus, look_up_shrunk

WAIT_S = 10.0


@pytest.fixture
def hold_threads() -> Iterator[Callable[[int], None]]:
    """A setter of OpenCV's threads, undone after the test."""
    before = cv2.getNumThreads()
    yield cv2.setNumThreads
    cv2.setNumThreads(before)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
def test_every_item_is_called_once(hold_threads: Callable[[int], None], threads: int, count: int) -> None:
    hold_threads(threads)
    calls: list[int] = []
    each_in_threads(calls.append, count)
    assert sorted(calls) == list(range(count))


def test_one_thread_is_the_callers_own(hold_threads: Callable[[int], None]) -> None:
    hold_threads(1)
    seen: set[int] = set()
    each_in_threads(lambda _: seen.add(threading.get_ident()), 5)
    assert seen == {threading.get_ident()}


def test_as_many_threads_work_at_once_as_opencv_is_held_to(hold_threads: Callable[[int], None]) -> None:
    hold_threads(2)
    both = threading.Barrier(2)
    each_in_threads(lambda _: both.wait(WAIT_S) and None, 2)
    assert not both.broken


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_in_the_work_reaches_the_caller(hold_threads: Callable[[int], None], threads: int) -> None:
    def work(item: int) -> None:
        if item == 3:
            raise ArithmeticError("item three")

    hold_threads(threads)
    with pytest.raises(ArithmeticError, match="item three"):
        each_in_threads(work, 5)


def test_a_function_without_a_file_to_cache_beside_is_still_compiled() -> None:
    scope: dict[str, Callable[[float], float]] = {}
    exec("def twice(x):\n    return 2 * x", scope)
    assert compiled(scope["twice"])(1.5) == 3.0


# In a process of its own: this one's linear algebra is held to one thread for good.
HELD = """
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
from threadpoolctl import threadpool_info

from angio_pipeline.numerics.compiled import each_in_threads


def threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


cv2.setNumThreads(2)
print(*threads())
inside = []
each_in_threads(lambda _: inside.extend(threads()), 2)
print(*set(inside), *threads())

first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()


def overlap(mine, others):
    def work(item):
        if item == 0:
            mine.set()
            others.wait(10)

    each_in_threads(work, 2)


with ThreadPoolExecutor(2) as pool:
    first = pool.submit(overlap, first_in, second_in)
    first_in.wait(10)
    second = pool.submit(overlap, second_in, first_out)
    first.result(10)
    first_out.set()
    second.result(10)
print(*threads())
"""


@pytest.fixture(scope="module")
def threads_told() -> tuple[str, str, str]:
    """Threads of linear algebra: before; inside and after; after calls that overlap."""
    two = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    done = subprocess.run(
        [sys.executable, "-c", HELD], env=os.environ | two, capture_output=True, text=True, check=True
    )
    before, around, overlapping = done.stdout.splitlines()
    return before, around, overlapping


@pytest.mark.slow
def test_linear_algebra_keeps_to_one_thread_inside_and_has_its_own_again_after(
    threads_told: tuple[str, str, str],
) -> None:
    assert threads_told[:2] == ("2", "1 2")


@pytest.mark.slow
def test_linear_algebra_has_its_own_threads_again_after_calls_that_overlap(threads_told: tuple[str, str, str]) -> None:
    before, _, overlapping = threads_told
    assert overlapping == before == "2"


STORED = np.random.default_rng(0).integers(0, 65536, (6, 96, 80)).astype(np.uint16)
TABLE = -np.log(np.arange(65536, dtype=np.float32) + 1)
FRAMES = look_up(STORED, TABLE)
FIELD = np.random.default_rng(1).normal(0, 2, (3, 4, 2)).astype(np.float32)

USES: dict[str, Callable[[], np.ndarray]] = {
    "look_up": lambda: look_up(STORED, TABLE),
    "look_up_minus": lambda: look_up_minus(STORED, TABLE, FRAMES[0]),
    "look_up_shrunk": lambda: look_up_shrunk(STORED, TABLE, 4),
    "sample_lattice": lambda: sample_lattice(FRAMES[0], FIELD, np.ones((96, 80), bool))[0],
    "keep_significant": lambda: keep_significant(FRAMES, block_px=8),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_the_number_of_threads_does_not_change_the_result(
    hold_threads: Callable[[int], None], use: Callable[[], np.ndarray]
) -> None:
    hold_threads(1)
    alone = use()
    hold_threads(3)
    np.testing.assert_array_equal(use(), alone)


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_calls_from_several_threads_at_once_agree(
    hold_threads: Callable[[int], None], use: Callable[[], np.ndarray]
) -> None:
    alone = use()
    hold_threads(2)
    with ThreadPoolExecutor(4) as pool:
        for result in [pool.submit(use) for _ in range(8)]:
            np.testing.assert_array_equal(result.result(), alone)
