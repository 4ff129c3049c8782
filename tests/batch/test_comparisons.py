"""From files of one session to the patient's comparison, through the whole batch."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage

from angio_pipeline import batch, ingest
from angio_pipeline.batch.executing import execute
from angio_pipeline.batch.plan import make_plan
from angio_pipeline.batch.tasks import Settings
from angio_pipeline.config import PipelineConfig

pytestmark = pytest.mark.slow

CONFIG = PipelineConfig.model_validate({"segment": {"method": "filter"}, "feeders": {"network": ""}})


def write_xa(path: Path, attenuation: np.ndarray, times_s: np.ndarray, *, minute: int, **changed: object) -> Path:
    """A small run of one patient's session; `changed` sets or (None) leaves out elements."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = XRayAngiographicImageStorage, f"1.2.3.{minute}"
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.Modality, ds.PatientID = f"1.2.{minute}", "1.2", "XA", "A1"
    ds.StudyDate = ds.AcquisitionDate = "20250102"
    ds.StudyTime = ds.AcquisitionTime = f"10{minute:02d}00"
    ds.SeriesNumber, ds.InstanceNumber = minute, 1
    ds.PositionerPrimaryAngle, ds.PositionerSecondaryAngle = 0.0, 0.0
    counts = np.round(4000 * np.exp(-(attenuation - 1) / 2)).clip(0, 4095).astype(np.uint16)
    ds.NumberOfFrames, ds.Rows, ds.Columns = counts.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelIntensityRelationship = "LIN"
    ds.FrameIncrementPointer = 0x00181065
    ds.FrameTimeVector = [0.0, *(np.diff(times_s) * 1000)]
    ds.PixelData = counts.tobytes()
    for name, value in changed.items():
        setattr(ds, name, value)
        if value is None:
            delattr(ds, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def session(make_scene, tmp_path: Path):
    """A run with blush and one without, in one folder; the tumour is drawn on the first."""
    scene = make_scene(noise=0.004)
    folder = tmp_path / "in"
    # Where only tissue stains, the last frames hold the blush: it is the disc, which no vessel reaches late.
    disc = cv2.GaussianBlur(scene.tumour.astype(np.float32), (0, 0), 2)
    share = scene.contrast[:, scene.tumour & ~scene.artery].mean(axis=1) / disc[scene.tumour & ~scene.artery].mean()
    without = scene.run.frames - (share[:, None, None] * disc).astype(np.float32)

    def write(**changed: object) -> Path:
        write_xa(folder / "a.dcm", scene.run.frames, scene.run.times_s, minute=5)
        write_xa(folder / "b.dcm", without, scene.run.times_s, minute=45, **changed)
        (folder / "rois").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "rois" / "1.2.3.5-T1.png"), scene.tumour.astype(np.uint8) * 255)
        return folder

    return write


def run(folder: Path, tmp_path: Path) -> tuple[batch.BatchReport, Path]:
    plan = make_plan(ingest.discover([folder], workspace=tmp_path / "work"))
    report = execute(plan, Settings(tmp_path / "out", CONFIG, debug=True))
    (subject,) = (tmp_path / "out" / "subjects").iterdir()
    return report, subject


def test_a_session_with_a_run_called_post_is_compared_once(session, tmp_path: Path) -> None:
    report, subject = run(session(SeriesDescription="LIVER post TACE"), tmp_path)
    assert report.analysed == 2
    assert report.refusals == ()
    path = subject / "embolisation" / "embolisation.json"
    document = json.loads(path.read_text())
    (found,) = document["comparisons"]
    assert found["paired_by"] == "label"
    assert (found["before"]["sop_instance_uid"], found["after"]["sop_instance_uid"]) == ("1.2.3.5", "1.2.3.45")
    (tumour,) = found["tumours"]
    assert tumour["blush"]["residual"] < 0.15
    assert "Before against after embolisation" in (subject / "report.html").read_text()
    assert "LIVER" not in path.read_text()
    written = path.stat().st_mtime_ns
    again, _ = run(session(SeriesDescription="LIVER post TACE"), tmp_path)
    assert again.resumed == 2
    assert path.stat().st_mtime_ns == written


def test_without_a_word_the_order_is_told_and_another_angle_is_refused_with_its_reason(session, tmp_path: Path) -> None:
    _, subject = run(session(), tmp_path)
    document = json.loads((subject / "embolisation" / "embolisation.json").read_text())
    assert [one["paired_by"] for one in document["comparisons"]] == ["order"]
    _, subject = run(session(PositionerPrimaryAngle=-30.0, SeriesDescription="post"), tmp_path)
    document = json.loads((subject / "embolisation" / "embolisation.json").read_text())
    assert document["comparisons"] == []
    assert [one["reason"] for one in document["not_compared"]] == ["angle_differs"]
    assert "-30.0 / 0.0 degrees after" in (subject / "report.html").read_text()
    assert "angle_differs" in (tmp_path / "out" / "embolisation.csv").read_text()


def test_two_views_without_a_word_are_no_pair_and_a_single_run_no_task(session, tmp_path: Path) -> None:
    folder = session(PositionerPrimaryAngle=-30.0)
    _, subject = run(folder, tmp_path)
    document = json.loads((subject / "embolisation" / "embolisation.json").read_text())
    assert [one["reason"] for one in document["not_compared"]] == ["no_pair"]
    alone = make_plan(ingest.discover([folder / "a.dcm"], workspace=tmp_path / "work"))
    assert alone.comparisons == ()


def test_a_run_after_that_was_refused_is_named(session, tmp_path: Path) -> None:
    folder = session(SeriesDescription="post")
    path = folder / "b.dcm"
    write_xa(path, np.ones((3, 16, 16)), np.arange(3.0), minute=45, SeriesDescription="post")
    report, subject = run(folder, tmp_path)
    assert [r.reason for r in report.refusals] == ["nothing_in_view"]
    document = json.loads((subject / "embolisation" / "embolisation.json").read_text())
    assert [one["reason"] for one in document["not_compared"]] == ["not_analysed"]


def test_two_views_are_joined_or_refused_with_the_reason_and_told_nowhere_else(session, tmp_path: Path) -> None:
    report, subject = run(session(), tmp_path)
    document = json.loads((subject / "projections" / "projections.json").read_text())
    assert document["pairs"] == []
    assert [one["reason"] for one in document["not_joined"]] == ["views_alike"]
    # The same picture called by another angle is no second projection: no tumour is found there, or nothing agrees.
    report, subject = run(session(PositionerPrimaryAngle=-40.0), tmp_path)
    document = json.loads((subject / "projections" / "projections.json").read_text())
    (refused,) = document["not_joined"]
    assert refused["reason"] in ("no_tumour", "no_tumour_match", "not_aligned")
    assert refused["second"]["sop_instance_uid"] == "1.2.3.45"
    assert refused["sentence"] in (subject / "report.html").read_text()
    assert report.refusals == ()
