"""What crosses to workers, on which doors a cluster listens, and what a running scheduler has to be."""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from batch_runs import begin_batch, contents, finish, read_log, run_to_end
from small_runs import FAST, write_small_runs

from angio_pipeline import batch, ingest
from angio_pipeline.batch.engines import choose_engine, in_window
from angio_pipeline.batch.jobs import Job, make_jobs
from angio_pipeline.batch.tasks import Settings
from angio_pipeline.batch.watch import Limits
from angio_pipeline.config import load_config
from angio_pipeline.core.provenance import Source

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    paths = write_small_runs(tmp_path / "in", 2)
    plan = batch.make_plan(ingest.discover([paths[0].parent], workspace=tmp_path))
    return make_jobs(plan.runs, Settings(tmp_path / "out", load_config(None)), Limits(), "00001")


def test_what_crosses_to_a_worker_is_paths_identifiers_and_settings(jobs: list[Job]) -> None:
    crossing = pickle.dumps(jobs[0])
    (path,) = jobs[0].task.item.paths
    assert len(crossing) < 20_000 < path.stat().st_size
    assert str(path).encode() in crossing
    assert b"ndarray" not in crossing
    assert b"Canary" not in crossing
    assert path.read_bytes()[-64:] not in crossing


def test_a_series_of_many_files_crosses_as_their_names(tmp_path: Path) -> None:
    item = ingest.VolumeItem(tuple(tmp_path / f"{k:04d}.dcm" for k in range(300)), Source("1", "2", subject="P1"))
    task = batch.FollowUpTask("P1", (item,), ())
    (job,) = make_jobs([task], Settings(tmp_path / "out", load_config(None)), Limits(), "00001")
    assert len(pickle.dumps(job)) < 20_000 + 300 * (len(str(tmp_path)) + 40)


def test_a_job_says_nothing_of_itself_when_it_is_printed(jobs: list[Job]) -> None:
    assert str(jobs[0].task.item.paths[0]) not in f"{jobs[0]!r} {jobs[0]}"
    assert jobs[0].id.startswith(jobs[0].task.subject)


def test_no_more_jobs_are_given_out_than_there_are_workers(jobs: list[Job]) -> None:
    given: list[Future[str]] = []
    most = 0

    def submit(job: Job) -> Future[str]:
        nonlocal most
        given.append(Future())
        most = max(most, sum(not future.done() for future in given))
        if len(given) == 3:
            for future in given:
                future.set_result("done")
        if len(given) > 3:
            given[-1].set_result("done")
        return given[-1]

    done = list(in_window(deque(jobs * 4), submit, width=lambda: 3, beat=lambda: None))
    assert len(done) == 8
    assert most == 3


def _listening(process: psutil.Process) -> list[str]:
    family = [process, *process.children(recursive=True)]
    return [door.laddr.ip for one in family for door in one.net_connections() if door.status == psutil.CONN_LISTEN]


CLUSTER = """
import sys
from angio_pipeline.batch.engines import choose_engine
if __name__ == "__main__":
    with choose_engine(1, workers=2, scheduler="local", memory_mb=3000, debug=False, beat=lambda: None) as engine:
        print(engine.name, engine.workers(), flush=True)
        sys.stdin.readline()
"""


@contextmanager
def _program(tmp_path: Path, text: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    (tmp_path / "program.py").write_text(text)
    command = [sys.executable, "-W", "error", str(tmp_path / "program.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        try:
            yield program, program.stdout.readline().strip()
        finally:
            program.stdin.close()
            program.wait(timeout=60)


@pytest.mark.slow
def test_the_cluster_of_a_batch_listens_on_loopback_alone(tmp_path: Path) -> None:
    with _program(tmp_path, CLUSTER) as (program, said):
        assert said == "dask 2"
        doors = _listening(psutil.Process(program.pid))
    assert doors
    assert set(doors) == {"127.0.0.1"}


RUNNING = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker={threads}, host="127.0.0.1", dashboard_address="127.0.0.1:0",
                      silence_logs=50) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.readline()
"""


@pytest.mark.slow
def test_a_cluster_that_runs_already_does_what_a_pool_does(tmp_path: Path) -> None:
    write_small_runs(tmp_path / "in", 3)
    (tmp_path / "fast.toml").write_text(FAST)
    options = ("--config", tmp_path / "fast.toml")
    with _program(tmp_path, RUNNING.format(threads=1)) as (_, address):
        job = begin_batch(tmp_path / "in", tmp_path / "a", *options, "--scheduler", address)
        assert finish(job) == (0, "")
    run_to_end(tmp_path / "in", tmp_path / "b", *options)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    engines = {out: line["name"] for out in "ab" for line in read_log(tmp_path / out) if line["event"] == "engine"}
    assert engines == {"a": "dask", "b": "pool"}


@pytest.mark.slow
def test_workers_of_many_threads_are_refused_with_what_to_do(tmp_path: Path) -> None:
    write_small_runs(tmp_path / "in", 1)
    with _program(tmp_path, RUNNING.format(threads=2)) as (_, address):
        status, said = finish(begin_batch(tmp_path / "in", tmp_path / "out", "--scheduler", address))
    assert status == 1
    assert said.count("\n") == 1
    assert "--nthreads 1" in said


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    write_small_runs(tmp_path / "in", 1)
    status, said = finish(begin_batch(tmp_path / "in", tmp_path / "out", "--scheduler", "tcp://127.0.0.1:9"))
    assert status == 1
    assert said.count("\n") == 1
    assert "Expected a Dask scheduler at tcp://127.0.0.1:9" in said


@pytest.mark.parametrize(("tasks", "name"), [(1, "pool"), (64, "pool")])
def test_few_tasks_go_to_a_pool(tasks: int, name: str) -> None:
    with choose_engine(tasks, workers=2, scheduler=None, memory_mb=None, debug=False, beat=lambda: None) as engine:
        assert engine.name == name


def test_many_tasks_go_to_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    @contextmanager
    def note(address: str | None, **how: object) -> Iterator[None]:
        asked.append((address, how["workers"]))
        yield None

    monkeypatch.setattr("angio_pipeline.batch.cluster.open_cluster", note)
    with choose_engine(65, workers=2, scheduler=None, memory_mb=None, debug=False, beat=lambda: None):
        assert asked == [(None, 2)]


def test_a_job_of_slurm_starts_workers_of_one_thread() -> None:
    pytest.importorskip("dask_jobqueue")
    spec = importlib.util.spec_from_file_location("slurm_cluster", ROOT / "scripts" / "slurm_cluster.py")
    slurm = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(slurm)
    options = {"scheduler_options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}}
    with slurm.make_cluster(partition="short", memory="16GB", walltime="08:00:00", cores=4, **options) as cluster:
        script = cluster.job_script()
    for line in ("#SBATCH -p short", "#SBATCH --cpus-per-task=4", "#SBATCH -t 08:00:00", "export OMP_NUM_THREADS=1"):
        assert line in script
    assert "--nworkers 4" in script
    assert "--nthreads 1" in script
    assert sys.executable in script
