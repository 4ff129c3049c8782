from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from angio_pipeline.core.errors import PacsError
from angio_pipeline.pacs.retry import ConnectionLost, work_through
from angio_pipeline.pacs.settings import Retry

RETRY = Retry(attempts=3, first_wait_s=1, factor=2, jitter=0)


@contextmanager
def line() -> Iterator[str]:
    yield "line"


def test_every_job_is_done_once_by_several_workers() -> None:
    done: list[int] = []
    work_through(range(50), connect=line, do=lambda _, job: done.append(job), workers=4, retry=RETRY)
    assert sorted(done) == list(range(50))


def test_a_job_whose_connection_is_lost_is_done_over_a_new_one() -> None:
    done: list[int] = []
    lost: set[int] = set()
    waits: list[float] = []

    def do(_: str, job: int) -> None:
        if job % 3 == 0 and job not in lost:
            lost.add(job)
            raise ConnectionLost("gone")
        done.append(job)

    work_through(range(9), connect=line, do=do, workers=1, retry=RETRY, sleep=waits.append)
    assert sorted(done) == list(range(9))
    assert waits == [1, 1, 1]  # each loss is the first one since a job was done


def test_after_so_many_attempts_the_loss_is_told() -> None:
    waits: list[float] = []

    def do(_: str, job: int) -> None:
        raise ConnectionLost("gone for good")

    with pytest.raises(ConnectionLost, match="gone for good"):
        work_through([1], connect=line, do=do, workers=1, retry=RETRY, sleep=waits.append)
    assert waits == [1, 2]


def test_a_lasting_error_ends_all_workers_at_once() -> None:
    begun: list[int] = []
    gate = threading.Event()

    def do(_: str, job: int) -> None:
        begun.append(job)
        if job == 0:
            gate.set()
            raise PacsError("not wanted")
        gate.wait(5)

    with pytest.raises(PacsError, match="not wanted"):
        work_through(range(1000), connect=line, do=do, workers=2, retry=RETRY, sleep=pytest.fail)
    assert len(begun) < 1000
