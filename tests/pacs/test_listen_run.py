"""`angio pacs listen --run`: a study that has been quiet is analysed, and again when it grew."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pacs_command import need_orthanc, start
from pacs_server import DCMTK, free_port
from small_runs import FAST

from angio_pipeline.pacs.inbox import Arrival
from angio_pipeline.pacs.journal import Journal, Kept
from angio_pipeline.pacs.studies import StudyWatch
from angio_pipeline.simulate.dicom.common import Case
from angio_pipeline.simulate.dicom.xa import write_xa
from angio_pipeline.simulate.radiograph.exports import ExportParams
from angio_pipeline.simulate.radiograph.projection import CArm

WHEN = datetime(2024, 3, 4, 10, 0)


@pytest.fixture
def runs(still_scene, tmp_path: Path) -> list[Path]:
    """Two runs of one study, 128² of eight frames each."""
    frames = still_scene.run.frames[::2, ::2, ::2][:8]
    stored = np.round(4000 * np.exp(-(frames - frames.min()) / 2)).astype(np.uint16)
    times_s = still_scene.run.times_s[::2][:8]
    for number in (101, 102):
        write_xa(
            tmp_path / "runs" / f"{number}.dcm", Case(1, 0, WHEN), study="a", series=f"b{number}", number=number,
            when=WHEN, frames=stored, times_s=times_s - times_s[0], carm=CArm(128, 128, 0.8, 1100.0, 750.0, 0.0, 0.0),
            export=ExportParams(bits=12), mask_frames=2,
        )  # fmt: skip
    return sorted((tmp_path / "runs").glob("*.dcm"))


def send(port: int, run: Path) -> None:
    """Send one file by dcmtk, in the transfer syntax that it has."""
    need_orthanc()
    syntax = pydicom.dcmread(run, stop_before_pixels=True).file_meta.TransferSyntaxUID
    proposed = ["--propose-jls-lossless"] if syntax == pydicom.uid.JPEGLSLossless else []
    command = [str(DCMTK / "storescu"), *proposed, "-aet", "SENDER", "-aec", "ANGIO", "127.0.0.1", str(port), str(run)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def wait_for(what: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def analysed(out: Path) -> set[str]:
    """The UIDs of runs whose analysis is complete."""
    folders = [record.parent for record in out.glob("subjects/*/*/*/record.json")]
    documents = [folder / "analysis.json" for folder in folders]
    told = [json.loads(path.read_text()) for path in documents if path.is_file()]
    return {document["source"]["sop_instance_uid"] for document in told}


def listen(out: Path, settings: Path, quiet_s: float) -> tuple[subprocess.Popen[str], int]:
    port = free_port()
    settings.write_text(FAST)
    options = ("--port", port, "--calling-aet", "SENDER", "--allow-host", "127.0.0.1", "--config", settings)
    child = start("listen", "--run", "--quiet-s", quiet_s, "--workers", 1, "--out", out, *options)
    assert child.stderr is not None
    assert "Listening" in child.stderr.readline()
    return child, port


@pytest.mark.slow
def test_a_quiet_study_is_analysed_and_again_when_it_grew(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    child, port = listen(out, tmp_path / "c.toml", 1.0)
    try:
        uids = [str(pydicom.dcmread(run, stop_before_pixels=True).SOPInstanceUID) for run in runs]
        send(port, runs[0])
        wait_for(lambda: analysed(out) == {uids[0]} and (out / "index.html").is_file())
        send(port, runs[1])
        wait_for(lambda: analysed(out) == set(uids))
        memory = out / "received" / ".pacs-state.jsonl"
        wait_for(lambda: memory.read_text().count('"analysed"') == 2)
    finally:
        child.send_signal(signal.SIGTERM)
        _, stderr = child.communicate(timeout=60)
    assert child.returncode == 0
    assert stderr.splitlines() == [
        "angio: analysed 1 study, status 0.",
        "angio: analysed 1 study, status 0.",
        "Stopped listening; stored 2 instances.",
    ]


@pytest.mark.slow
def test_ending_the_station_ends_the_analysis_under_way(runs: list[Path], tmp_path: Path) -> None:
    child, port = listen(tmp_path / "out", tmp_path / "c.toml", 0.5)
    send(port, runs[0])
    wait_for(lambda: len(children_of(child.pid)) > 0)
    (analysis, *_) = children_of(child.pid)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=60)
    assert child.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(analysis, 0)


def children_of(pid: int) -> list[int]:
    if not sys.platform.startswith("linux"):
        pytest.skip("children are told by /proc")
    told = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in told.read_text().split()] if told.exists() else []


def arrival(study: str, uid: str, patient: str = "p", *, new: bool = True) -> Arrival:
    return Arrival(study, uid, patient, new)


def watch(tmp_path: Path) -> tuple[StudyWatch, Journal]:
    journal = Journal(tmp_path)
    return StudyWatch(journal), journal


def test_a_study_is_due_when_it_has_been_quiet_and_once(tmp_path: Path) -> None:
    watching, journal = watch(tmp_path)
    journal.note_kept(Kept("1.1", "1/2/1.1.dcm", 1, "x"))
    watching.note(arrival("1", "1.1"), 100.0)
    assert watching.due(109.0, 10.0) == []
    assert watching.due(110.0, 10.0) == ["1"]
    watching.end(watching.begin(["1"]))
    assert watching.due(999.0, 10.0) == []
    watching.note(arrival("1", "1.1", new=False), 1000.0)  # sent again, nothing new
    assert watching.due(1100.0, 10.0) == []


def test_what_comes_during_an_analysis_makes_the_study_due_again(tmp_path: Path) -> None:
    watching, _ = watch(tmp_path)
    watching.note(arrival("1", "1.1"), 0.0)
    begun = watching.begin(watching.due(10.0, 5.0))
    watching.note(arrival("1", "1.2"), 11.0)
    watching.end(begun)
    assert watching.due(12.0, 5.0) == []
    assert watching.due(16.0, 5.0) == ["1"]


def test_studies_of_one_patient_are_due_together_and_not_before_all_are_quiet(tmp_path: Path) -> None:
    watching, _ = watch(tmp_path)
    watching.note(arrival("1", "1.1", "one"), 0.0)
    watching.note(arrival("2", "2.1", "one"), 8.0)
    watching.note(arrival("3", "3.1", "another"), 0.0)
    assert watching.due(10.0, 5.0) == ["3"]
    watching.begin(["3"])
    assert watching.due(13.0, 5.0) == ["1", "2"]


def test_after_a_new_start_what_was_not_analysed_as_it_is_is_due(tmp_path: Path) -> None:
    watching, journal = watch(tmp_path)
    for study in ("1", "2"):
        journal.note_kept(Kept(f"{study}.1", f"{study}/2/{study}.1.dcm", 1, "x"))
        watching.note(arrival(study, f"{study}.1", study), 0.0)
    watching.end(watching.begin(["1"]))
    assert StudyWatch(Journal(tmp_path)).due(0.0, 60.0) == ["2"]
    journal.note_kept(Kept("1.2", "1/2/1.2.dcm", 1, "y"))
    again = StudyWatch(Journal(tmp_path))
    assert again.due(0.0, 60.0) == ["1"]
