"""What a night may bring: workers and whole batches killed, full disks, files that change, clocks that are set back."""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from batch_runs import ENGINES, begin_batch, contents, finish, kill_job, read_log, run_to_end, signs, wait_for_work
from small_runs import FAST, write_small_runs

from angio_pipeline import batch, ingest
from angio_pipeline.batch.tasks import Settings, run_task
from angio_pipeline.config import load_config

pytestmark = pytest.mark.slow

RUNS = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drills")
    write_small_runs(folder / "in", RUNS)
    (folder / "fast.toml").write_text(FAST)
    return folder


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> dict[str, bytes]:
    """What a batch leaves that nothing happens to."""
    out = place / "undisturbed"
    run_to_end(place / "in", out, "--config", place / "fast.toml")
    found = contents(out)
    assert sum(name.endswith("record.json") for name in found) == RUNS
    return found


def _begin(place: Path, out: Path, *options: object, **how: object) -> subprocess.Popen[str]:
    return begin_batch(place / "in", out, "--config", place / "fast.toml", *options, **how)


def _wait_for_a_moment(job: subprocess.Popen[str], out: Path, rng: random.Random, *, most_done: int) -> None:
    """Return at a random moment, while at least `RUNS - most_done` tasks are not done yet, whatever else is at work."""
    wait_for_work(job, out)
    done = rng.randint(0, most_done)
    while len(_analysed(out)) < done and job.poll() is None:
        time.sleep(0.02)
    time.sleep(rng.uniform(0, 1.0))


def _analysed(out: Path) -> list[str]:
    return [line["task"] for line in read_log(out) if line["event"] == "task" and line["state"] == "analysed"]


def _assert_nothing_half_is_vouched_for(out: Path, whole: dict[str, bytes]) -> None:
    for record in out.rglob("record.json"):
        folder = record.parent.relative_to(out).as_posix() + "/"
        left = {name: content for name, content in contents(out).items() if name.startswith(folder)}
        assert left == {name: content for name, content in whole.items() if name.startswith(folder)}


def _drill(place: Path, whole: dict[str, bytes], out: Path, engine: str, seed: int) -> None:
    """Kill the job at a random point, go on, kill a worker at another, go on; all as if nothing had been."""
    rng = random.Random(seed)
    job = _begin(place, out, *ENGINES[engine])
    _wait_for_a_moment(job, out, rng, most_done=2)
    kill_job(job)
    _assert_nothing_half_is_vouched_for(out, whole)
    assert batch.read_standing(out).state == "dead"
    job = _begin(place, out, *ENGINES[engine])
    _wait_for_a_moment(job, out, rng, most_done=3)
    at_work = signs(job, out)
    if at_work:
        with suppress(ProcessLookupError):  # it was replaced between the look and the shot
            os.kill(rng.choice(at_work)["pid"], signal.SIGKILL)
    assert finish(job) == (0, "")
    run_to_end(place / "in", out, "--config", place / "fast.toml")
    assert contents(out) == whole
    assert max(Counter(_analysed(out)).values(), default=0) == 1, "a task was done twice"
    standing = batch.read_standing(out)
    assert (standing.state, standing.resumed, standing.refused, standing.at_work) == ("finished", RUNS, 0, ())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_job_and_a_killed_worker_change_nothing(place, undisturbed, tmp_path: Path, engine: str) -> None:
    _drill(place, undisturbed, tmp_path / "out", engine, seed=1)


@pytest.mark.repeated
@pytest.mark.parametrize(("engine", "seed"), [*itertools.product(ENGINES, range(2, 7))])
def test_twenty_kills_change_nothing(place, undisturbed, tmp_path: Path, engine: str, seed: int) -> None:
    _drill(place, undisturbed, tmp_path / "out", engine, seed)


# What a run does, by the end of its UID: kill its worker, take all memory that it can have, or hang in native code that
# never gives the interpreter's lock back.
FAULTS = """
import os, re, signal
from angio_pipeline import ingest
read, faults = ingest.read_run, {faults!r}
def led_astray(item, **how):
    number = item.source.sop_instance_uid.rsplit(".", 1)[1]
    with open({marks!r}, "a") as stream:
        stream.write(number + "\\n")
    fault = faults.get(number)
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "hang":
        re.match(r"(a+)+$", "a" * 80 + "b")
    if fault == "hoard":
        held = []
        while len(held) < 400:
            held.append(b"x" * 10_000_000)
    return read(item, **how)
ingest.read_run = led_astray
"""


def _lead_astray(
    place: Path, whole: dict[str, bytes], out: Path, faults: dict[str, str], *options: object
) -> tuple[list[str], Counter[str]]:
    """Return why runs were refused that are led astray, and how often each was begun; the others are as ever."""
    marks = out.parent / "marks"
    assert finish(_begin(place, out, *options, faults=FAULTS.format(marks=str(marks), faults=faults))) == (0, "")
    left = {name: content for name, content in contents(out).items() if name.endswith("analysis.json")}
    assert len(left) == RUNS - len(faults)
    assert left.items() <= whole.items()
    refused = (out / "refused.csv").read_text().splitlines()[1:]
    return sorted(line.split(",")[1] for line in refused), Counter(marks.read_text().split())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_task_that_ends_its_worker_is_refused_and_its_neighbours_live(
    place, undisturbed, tmp_path: Path, engine: str
) -> None:
    out, faults = tmp_path / "out", {"1": "kill", "2": "hoard"}
    reasons, begun = _lead_astray(place, undisturbed, out, faults, "--memory-limit", 1.8, *ENGINES[engine])
    assert reasons == ["out_of_memory", "worker_died"]
    assert begun["1"] == 2, "what kills its worker is tried once more"
    # A neighbour may have been at work in the pool that had to be made anew.
    assert begun["2"] == 1 or engine == "pool"
    # What led it astray is gone: the same command does what was refused, and that alone.
    run_to_end(place / "in", out, "--config", place / "fast.toml")
    assert contents(out) == undisturbed


def test_a_task_that_hangs_is_ended_and_its_neighbours_live(place, undisturbed, tmp_path: Path) -> None:
    # Its worker ends itself, whatever the engine; what an engine makes of that is shown above.
    reasons, begun = _lead_astray(place, undisturbed, tmp_path / "out", {"2": "hang"}, "--task-timeout", 25)
    assert reasons == ["timed_out"]
    assert begun["2"] == 1, "what hung once is not tried again"


@pytest.mark.parametrize(
    ("engine", "send", "number"),
    [
        ("pool", os.kill, signal.SIGTERM),
        ("dask", os.killpg, signal.SIGINT),
        pytest.param("pool", os.killpg, signal.SIGINT, marks=pytest.mark.repeated),
        pytest.param("dask", os.kill, signal.SIGTERM, marks=pytest.mark.repeated),
    ],
    ids=["SIGTERM with a pool", "Ctrl-C with Dask", "Ctrl-C with a pool", "SIGTERM with Dask"],
)
def test_who_stops_a_batch_is_told_how_to_go_on(place, tmp_path: Path, engine: str, send, number) -> None:
    out = tmp_path / "out"
    job = _begin(
        place, out, *ENGINES[engine], preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    )
    wait_for_work(job, out)
    workers = psutil.Process(job.pid).children(recursive=True)
    send(job.pid, number)
    status, said = finish(job)
    assert status == 130
    assert said.count("\n") == 1
    assert "run the same command again" in said
    assert not psutil.wait_procs(workers, timeout=20)[1]
    assert batch.read_standing(out).state == "stopped"


def test_a_file_too_large_for_the_disk_is_one_sentence_and_the_batch_goes_on_later(
    place, undisturbed, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def hold_files_small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    status, said = finish(_begin(place, out, preexec_fn=hold_files_small))
    assert status == 1
    assert said.count("\n") == 1
    assert "Expected room for the results" in said
    assert not list(out.rglob("record.json"))
    assert batch.read_standing(out).reason == "disk_full"
    run_to_end(place / "in", out, "--config", place / "fast.toml")
    assert contents(out) == undisturbed


@pytest.fixture
def small_disk(tmp_path: Path):
    """A disk of 400 kB, and a way to make it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder))
    yield folder, lambda: _mount("-o", "remount,size=50m", str(folder))
    subprocess.run(["umount", str(folder)], check=True)


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")


def test_a_full_disk_is_one_sentence_and_the_batch_goes_on_later(place, undisturbed, small_disk) -> None:
    folder, enlarge = small_disk
    out = folder / "out"
    status, said = finish(_begin(place, out, *ENGINES["dask"]))
    assert status == 1, said
    assert said.count("\n") == 1, said
    assert "Expected room for the results" in said
    _assert_nothing_half_is_vouched_for(out, undisturbed)
    enlarge()
    run_to_end(place / "in", out, "--config", place / "fast.toml")
    assert contents(out) == undisturbed


@pytest.fixture
def read_only(place: Path, tmp_path: Path):
    """The runs on a disk that cannot be written, whoever asks."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    _mount("--bind", str(place / "in"), str(folder))
    _mount("-o", "remount,ro,bind", str(folder))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_source_that_cannot_be_written_is_analysed(place, undisturbed, read_only, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Read-only"):
        (read_only / "mark").touch()
    run_to_end(read_only, tmp_path / "out", "--config", place / "fast.toml")
    assert contents(tmp_path / "out") == undisturbed


@pytest.fixture
def one_run(tmp_path: Path):
    """A single run, its task and its settings."""
    (path,) = write_small_runs(tmp_path / "one", 1)
    (tmp_path / "fast.toml").write_text(FAST)
    (task,) = batch.make_plan(ingest.discover([path], workspace=tmp_path)).runs
    return path, task, Settings(tmp_path / "out", load_config(str(tmp_path / "fast.toml")))


@pytest.mark.parametrize("back", [False, True], ids=["to other bytes", "to other bytes and back"])
def test_a_file_that_changes_while_it_is_read_leaves_no_record(one_run, monkeypatch, back: bool) -> None:
    path, task, settings = one_run
    first, read = path.read_bytes(), ingest.read_run

    def change_and_read(item: ingest.RunItem, **how: object) -> object:
        path.write_bytes(first[:-2] + b"\\1\\1")
        found = read(item, **how)
        if back:
            path.write_bytes(first)
        return found

    monkeypatch.setattr(ingest, "read_run", change_and_read)
    outcome = run_task(task, settings)
    assert [refusal.reason for refusal in outcome.refusals] == ["changed_while_read"]
    (record,) = settings.out.rglob("record.json")
    assert json.loads(record.read_text())["digest"] is None
    assert not list(settings.out.rglob("analysis.json"))


def test_the_digest_decides_what_is_done_again_and_no_time_of_a_file_does(one_run) -> None:
    path, task, settings = one_run
    assert not run_task(task, settings).resumed
    os.utime(path, (10**9, 10**9))
    assert run_task(task, settings).resumed
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, (10**9, 10**9))
    assert not run_task(task, settings).resumed


# Every look at the clock finds it a minute before the last one.
CLOCK_GOES_BACK = """
import itertools, time
real, looks = time.time, itertools.count()
time.time = lambda: real() - 3600 * (next(looks) >= 20)
"""


def test_a_clock_that_goes_back_makes_no_duration_negative_and_nothing_undone(
    place, undisturbed, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    # Of the engines it is Dask that looks at the clock itself.
    for _ in range(2):
        assert finish(_begin(place, out, *ENGINES["dask"], faults=CLOCK_GOES_BACK)) == (0, "")
    assert contents(out) == undisturbed
    lines = read_log(out)
    assert min(line["elapsed_s"] for line in lines) >= 0
    tasks = [line for line in lines if line["event"] == "task"]
    assert min(seconds for line in tasks for seconds in (line["seconds"], *line["stages"].values())) >= 0
    standing = batch.read_standing(out)
    assert standing.resumed == RUNS, "the later batch is the one told of, whatever the clock says"
    times = [line["time"] for line in lines if line["event"] == "begin"]
    assert len(times) == 2
