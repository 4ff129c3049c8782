"""Many patients: the same bytes however many workers write them, whole or not at all, never mixed."""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from angio_pipeline.core.errors import AngioError, ConfigError
from angio_pipeline.simulate import Finished, population, simulate

pytestmark = pytest.mark.slow

TINY = """
[anatomy]
terminals = 20
tumours_min = 1
tumours_max = 1
feeder_clearance = 0.0
[detector]
rows = 128
columns = 128
[run]
fast_frames = 5
slow_frames = 0
[short_run]
fast_frames = 4
slow_frames = 0
[ct]
matrix = 64
slice_mm = 8.0
days = [1.0]
[treatment]
film_days = [0.0]
"""


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("preset") / "tiny.toml"
    path.write_text(TINY)
    return str(path)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def two_by_two(tmp_path_factory: pytest.TempPathFactory, preset: str) -> Path:
    """Two cases by two workers."""
    out = tmp_path_factory.mktemp("two") / "out"
    simulate(out, cases=2, seed=7, preset=preset, workers=2)
    return out


def test_the_number_of_workers_changes_no_byte(two_by_two: Path, preset: str, tmp_path: Path) -> None:
    simulate(tmp_path / "one", cases=2, seed=7, preset=preset, workers=1)
    assert digests(tmp_path / "one") == digests(two_by_two)


def test_every_case_has_its_line_in_the_records_under_the_files_own_patient_id(two_by_two: Path) -> None:
    with (two_by_two / "truth" / "records.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    for k, row in enumerate(rows):
        header = pydicom.dcmread(
            two_by_two / f"case-00{k}" / "dicom" / "day000" / "frontal.dcm", stop_before_pixels=True
        )
        assert row["patient_id"] == header.PatientID
        assert row["date"] == header.StudyDate
    truth = json.loads((two_by_two / "truth" / "cohort.json").read_text())
    assert [p["patient_id"] for p in truth["patients"]] == [row["patient_id"] for row in rows]


def test_an_analysis_of_the_folder_sees_nothing_but_patients(two_by_two: Path) -> None:
    assert sorted(p.name for p in two_by_two.iterdir()) == ["case-000", "case-001", "truth"]


def test_more_cases_are_added_and_those_that_are_there_are_kept(two_by_two: Path, preset: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    simulate(out, cases=1, seed=7, preset=preset)
    stamp = (out / "case-000" / "truth" / "plan.json").stat().st_mtime_ns
    told: list[Finished] = []
    simulate(out, cases=2, seed=7, preset=preset, on_case=told.append)
    assert told == [Finished(0, kept=True), Finished(1, kept=False)]
    assert (out / "case-000" / "truth" / "plan.json").stat().st_mtime_ns == stamp
    assert digests(out / "case-001") == digests(two_by_two / "case-001")


def test_another_seed_or_other_settings_are_refused_and_change_nothing(
    two_by_two: Path, preset: str, tmp_path: Path
) -> None:
    before = digests(two_by_two)
    with pytest.raises(ConfigError, match="found those of seed 7; name another folder"):
        simulate(two_by_two, cases=1, seed=8, preset=preset)
    other = tmp_path / "other.toml"
    other.write_text(TINY.replace("terminals = 20", "terminals = 21"))
    with pytest.raises(ConfigError, match="found those of other settings"):
        simulate(two_by_two, cases=1, seed=7, preset=str(other))
    assert digests(two_by_two) == before


def test_a_folder_of_runs_only_stays_one(tmp_path: Path, preset: str) -> None:
    simulate(tmp_path, cases=1, seed=7, preset=preset, runs_only=True)
    before = digests(tmp_path)
    assert not list(tmp_path.rglob("day001*"))
    assert (tmp_path / "truth" / "records.csv").is_file()
    with pytest.raises(ConfigError, match="found those of other settings; name another folder"):
        simulate(tmp_path, cases=1, seed=7, preset=preset)
    told: list[Finished] = []
    simulate(tmp_path, cases=1, seed=7, preset=preset, runs_only=True, on_case=told.append)
    assert told == [Finished(0, kept=True)]
    assert digests(tmp_path) == before


def test_patients_of_another_version_are_refused(
    two_by_two: Path, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(population, "_code", lambda: "other")
    with pytest.raises(ConfigError, match="another version of the simulator"):
        simulate(two_by_two, cases=1, seed=7, preset=preset)


def test_cases_of_unknown_origin_are_not_added_to(tmp_path: Path, preset: str) -> None:
    (tmp_path / "case-000").mkdir()
    with pytest.raises(ConfigError, match="found none; name another folder"):
        simulate(tmp_path, cases=1, seed=0, preset=preset)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["case-000"]


def test_a_case_that_lost_its_plan_is_named(two_by_two: Path, preset: str) -> None:
    plan = two_by_two / "case-001" / "truth" / "plan.json"
    kept = plan.read_bytes()
    plan.unlink()
    try:
        with pytest.raises(ConfigError, match="case-001 to be whole"):
            simulate(two_by_two, cases=2, seed=7, preset=preset)
    finally:
        plan.write_bytes(kept)


def test_a_case_that_cannot_be_made_is_named_and_leaves_nothing_behind(
    tmp_path: Path, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = population.write_patient

    def fail(folder: Path, case: Any, params: Any, **options: Any) -> Path:
        whole(folder, case, params, **options)
        if folder.name.startswith(".case-001"):
            raise AngioError("Expected room for a tumour, found none.")
        return folder

    monkeypatch.setattr(population, "write_patient", fail)
    with pytest.raises(AngioError, match=r"^case-001: Expected room"):
        simulate(tmp_path / "out", cases=2, seed=7, preset=preset)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["case-000", "truth"]


def test_a_tumour_outside_the_liver_is_refused_by_the_name_of_its_field(tmp_path: Path, preset: str) -> None:
    path = tmp_path / "far.toml"
    path.write_text(TINY.replace("[anatomy]", "[anatomy]\ntumours_at_mm = [[150.0, 0.0, 0.0]]"))
    with pytest.raises(ConfigError, match=r"^case-000: Expected every centre of tumours_at_mm to lie in the liver"):
        simulate(tmp_path / "out", cases=1, seed=0, preset=str(path))
    assert not list((tmp_path / "out").glob("*case*"))


def emptied(group: int) -> bool:
    """Whether no process of a group is left, within ten seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    # Ctrl-C goes to every process of the group, a queue's or a supervisor's signal to the command alone.
    ("stop", "which"),
    [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)],
    ids=["ctrl-c", "terminated"],
)
def test_after_an_interrupt_there_are_whole_cases_only_and_the_next_call_goes_on(
    tmp_path: Path, preset: str, two_by_two: Path, stop: Callable[[int, int], None], which: int
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "angio_pipeline", "simulate", str(out), "--seed", "7", "--preset", preset]
    process = subprocess.Popen(
        [*command, "--cases", "40", "--workers", "2"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that runs the tests in the background has told them to ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    end = time.monotonic() + 120
    while not any(out.glob("case-*")) and time.monotonic() < end and process.poll() is None:
        time.sleep(0.05)
    stop(process.pid, which)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in said
    assert "Traceback" not in said
    assert emptied(process.pid)
    assert not list(out.glob(".case-*"))
    whole = sorted(out.glob("case-*"))
    assert 1 <= len(whole) < 40
    for folder in (f for f in whole if f.name < "case-002"):
        assert digests(folder) == digests(two_by_two / folder.name)
    simulate(out, cases=2, seed=7, preset=preset)
    assert digests(out / "case-001") == digests(two_by_two / "case-001")
