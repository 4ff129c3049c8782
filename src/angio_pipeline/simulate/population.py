"""Many patients: each written in a process of its own, whole or not at all.

A case depends on seed, number and settings only, so neither the number of workers nor the order in which
they finish changes a byte. A case is written under a hidden name and renamed when it is complete; what is
complete is kept when the same command is given again, and a folder never mixes seeds or settings.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

import cv2

import angio_pipeline
from angio_pipeline.core.errors import AngioError, ConfigError
from angio_pipeline.simulate.cohort import ProcedureRecord, read_plan, write_records
from angio_pipeline.simulate.dicom.common import Case
from angio_pipeline.simulate.presets import SimulationParams, load_preset
from angio_pipeline.simulate.writing import write_patient
from angio_pipeline.workers import one_image_thread, process_pool

__all__ = ["Finished", "make_case", "simulate"]

_FIRST_DAY = datetime(2024, 3, 4, 10, 0)
_PLAN = Path("truth", "plan.json")


@dataclass(frozen=True, slots=True)
class Finished:
    """One case that is complete; `kept` when an earlier call had written it."""

    number: int
    kept: bool


@dataclass(frozen=True, slots=True)
class _Job:
    out: Path
    case: Case
    params: SimulationParams
    runs_only: bool = False

    @property
    def folder(self) -> Path:
        return self.out / self.case.name

    @property
    def unfinished(self) -> Path:
        return self.out / f".{self.case.name}.unfinished"


def make_case(seed: int, number: int) -> Case:
    """Return the identity of case `number`: patients are treated a week apart."""
    return Case(seed, number, _FIRST_DAY + timedelta(days=7 * number))


def simulate(
    out: Path,
    *,
    cases: int,
    seed: int,
    preset: str = "easy",
    workers: int = 1,
    runs_only: bool = False,
    on_case: Callable[[Finished], None] | None = None,
) -> list[Path]:
    """Write `cases` digital patients, their records and the cohort's truth under `out`; return their folders.

    Parameters
    ----------
    preset : str
        `easy`, `clinical`, `hard`, or the path of a TOML file.
    workers : int
        Processes; 1 writes within this one.
    runs_only : bool
        Write the runs of the day of treatment, and no follow-ups.
    on_case : callable, optional
        Called for each case once it is complete.

    Raises
    ------
    ConfigError
        When the preset is unknown, its settings are impossible, or `out` holds patients of other settings.
    AngioError
        When a case cannot be made; what was complete is kept.
    """
    params = load_preset(preset)
    jobs = [_Job(out, make_case(seed, number), params, runs_only) for number in range(cases)]
    _claim(out, seed, preset, params, runs_only=runs_only)
    tell = on_case or (lambda _: None)
    todo = []
    for job in jobs:
        if _complete(job):
            tell(Finished(job.case.number, kept=True))
        else:
            todo.append(job)
    try:
        for number in _write_all(todo, workers):
            tell(Finished(number, kept=False))
    finally:
        for job in todo:
            shutil.rmtree(job.unfinished, ignore_errors=True)
    _write_records(out, seed, params)
    return [job.folder for job in jobs]


def _write_all(jobs: Sequence[_Job], workers: int) -> Iterator[int]:
    if min(workers, len(jobs)) <= 1:
        with one_image_thread():
            yield from map(_write, jobs)
        return
    with process_pool(min(workers, len(jobs)), initializer=_begin_worker, preload=__name__) as pool:
        for done in as_completed([pool.submit(_write, job) for job in jobs]):
            yield done.result()


def _begin_worker() -> None:
    # An interrupt from the keyboard reaches every process; the main one ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _write(job: _Job) -> int:
    shutil.rmtree(job.unfinished, ignore_errors=True)
    try:
        write_patient(job.unfinished, job.case, job.params, runs_only=job.runs_only)
    except AngioError as error:
        raise type(error)(f"{job.case.name}: {error.sentence}", reason=error.reason) from error
    job.unfinished.rename(job.folder)
    return job.case.number


def _complete(job: _Job) -> bool:
    if not job.folder.exists():
        return False
    if not (job.folder / _PLAN).is_file():
        raise ConfigError(
            f"Expected {job.case.name} to be whole, found no {_PLAN.as_posix()} in it; remove that folder."
        )
    return True


def _claim(out: Path, seed: int, preset: str, params: SimulationParams, *, runs_only: bool) -> None:
    # `truth/simulation.json` says what the patients were made from; there an analysis of the folder passes it over.
    settings = params.model_dump(mode="json")
    told = [seed, settings, _code()] + (["runs only"] if runs_only else [])
    text = json.dumps(told, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    record = out / "truth" / "simulation.json"
    if any(out.glob("case-*")):
        if not record.is_file():
            raise ConfigError("Expected truth/simulation.json beside the cases, found none; name another folder.")
        _compare(record, digest, seed)
        return
    record.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "schema": "angio-pipeline/simulation/1",
        "seed": seed,
        "preset": Path(preset).name,
        "runs_only": runs_only,
        "version": angio_pipeline.__version__,
        "code": _code(),
        "digest": digest,
        "settings": settings,
    }
    record.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _compare(record: Path, digest: str, seed: int) -> None:
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        old, same = found["seed"], found["digest"] == digest
        code = found["code"]
    except (ValueError, KeyError, TypeError) as problem:
        raise ConfigError(
            "Expected simulation.json as it was written, found it changed; name another folder."
        ) from problem
    if same:
        return
    what = "other settings" if code == _code() else "another version of the simulator"
    what = what if old == seed else f"seed {old}"
    raise ConfigError(
        f"Expected patients of seed {seed} and these settings, found those of {what}; name another folder."
    )


@lru_cache(maxsize=1)
def _code() -> str:
    # Patients made by other code are other patients.
    package = Path(angio_pipeline.__file__).parent
    files = [p for room in ("core", "numerics", "simulate") for p in sorted((package / room).rglob("*.py"))]
    return hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()[:12]


def _write_records(out: Path, seed: int, params: SimulationParams) -> None:
    numbers = sorted(int(p.parents[1].name.removeprefix("case-")) for p in out.glob("case-*/truth/plan.json"))
    records = []
    for number in numbers:
        case = make_case(seed, number)
        plan = read_plan(out / case.name / _PLAN)
        records.append(ProcedureRecord(f"SIM-{seed}-{number:03d}", case.treated.date(), plan))
    write_records(out, records, params.cohort)
