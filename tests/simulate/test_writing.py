"""A whole patient: same seed same bytes, files that say what was drawn, truth that agrees with the picture."""

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from angio_pipeline.simulate import PRESETS, SimulationParams, load_preset
from angio_pipeline.simulate.dicom.common import Case
from angio_pipeline.simulate.writing import write_patient

pytestmark = pytest.mark.slow

SMALL = SimulationParams.model_validate(
    {
        "anatomy": {
            "smallest_diameter_mm": 0.8,
            "variant": 1,
            "tumours_min": 1,
            "tumours_max": 1,
            "feeder_clearance": 0,
            "rim_share": 0,
            "hypovascular_share": 0,
            "daughter_probability": 0,
        },
        "detector": {"rows": 192, "columns": 192, "photons": 40000},
        "run": {"fast_frames": 8, "slow_frames": 2},
        "short_run": {"fast_frames": 7, "slow_frames": 0},
        "ct": {"matrix": 96, "slice_mm": 5.0, "noise_hu": 0.0, "shift_mm": 2.0, "days": [1.0, 28.0]},
        "film": {"kinds": ["dx-processing"], "matrix": 256},
        "cohort": {"arms": [{"name": "oil", "oil_min_ml": 8, "oil_max_ml": 8, "necrosis_main": 0.5}]},
        "treatment": {"new_lesions_per_year": 0},
    }
)


def case(seed: int = 4) -> Case:
    return Case(seed, 0, datetime(2024, 3, 4, 10, 0))


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patient(tmp_path_factory.mktemp("sim") / "case-000", case(), SMALL)


def digest(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def run_and_truth(patient: Path, name: str) -> tuple[pydicom.Dataset, dict[str, Any], Path]:
    ds = pydicom.dcmread(patient / "dicom" / "day000" / f"{name}.dcm")
    folder = patient / "truth" / ds.SOPInstanceUID
    return ds, json.loads((folder / "truth.json").read_text()), folder


def mask(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127


def test_the_same_seed_writes_the_same_bytes(patient: Path, tmp_path: Path) -> None:
    assert digest(write_patient(tmp_path / "case-000", case(), SMALL)) == digest(patient)


def test_with_runs_only_the_runs_are_the_same_and_nothing_comes_after(patient: Path, tmp_path: Path) -> None:
    short, whole = digest(write_patient(tmp_path / "case-000", case(), SMALL, runs_only=True)), digest(patient)
    assert short.items() <= whole.items()
    assert {name for name in short if name.endswith(".dcm")} == {
        f"dicom/day000/{name}.dcm" for name in ("frontal", "oblique", "post")
    }
    assert "truth/plan.json" in short
    assert "truth/response.json" not in short


def test_another_seed_is_another_patient() -> None:
    assert case(4).uid("xa") != case(5).uid("xa")


def test_runs_carry_frame_times_pose_and_calibration(patient: Path) -> None:
    ds, _, _ = run_and_truth(patient, "oblique")
    assert ds.NumberOfFrames == 7
    assert len(ds.FrameTimeVector) == 7
    assert ds.FrameTimeVector[0] == 0
    assert (ds.PositionerPrimaryAngle, ds.PositionerSecondaryAngle) == (-30, 10)
    assert ds.DistanceSourceToDetector > ds.DistanceSourceToPatient
    assert ds.pixel_array.shape == (7, 192, 192)
    assert ds.pixel_array.max() < 4096
    assert ds.PixelIntensityRelationship == "LIN"


def test_all_files_belong_to_one_patient(patient: Path) -> None:
    headers = [pydicom.dcmread(p, stop_before_pixels=True) for p in patient.rglob("*.dcm")]
    assert len({(h.PatientID, h.PatientSex) for h in headers}) == 1
    assert {h.Modality for h in headers} == {"XA", "DX", "CT", "SEG"}


def test_contrast_darkens_the_artery_mask_and_little_else(patient: Path) -> None:
    ds, truth, folder = run_and_truth(patient, "frontal")
    log = -np.log(ds.pixel_array.astype(float) + 1)
    contrast = log[truth["reference_frame"]] - log[:3].mean(axis=0)
    known = mask(folder / "ignore.png") | mask(folder / "catheter.png") | mask(folder / "vein.png")
    artery = mask(folder / "artery.png") & ~mask(folder / "catheter.png")
    elsewhere = ~cv2.dilate((artery | known).astype(np.uint8), np.ones((5, 5))).astype(bool)
    assert np.median(contrast[artery]) > 4 * np.median(np.abs(contrast[elsewhere]))
    assert (contrast[artery] > 0.02).mean() > 0.9


def test_artery_and_ignore_masks_are_apart(patient: Path) -> None:
    _, _, folder = run_and_truth(patient, "frontal")
    assert not (mask(folder / "artery.png") & mask(folder / "ignore.png")).any()


def test_arrival_is_known_exactly_where_artery_vein_or_blush_is(patient: Path) -> None:
    _, truth, folder = run_and_truth(patient, "frontal")
    arrival = np.load(folder / "arrival.npy")
    shown = mask(folder / "artery.png") | mask(folder / "vein.png")
    for tumour in truth["tumours"]:
        shown = shown | mask(folder / tumour["mask"])
    assert arrival.dtype == np.float32
    np.testing.assert_array_equal(np.isfinite(arrival), shown)


def test_feeders_run_from_the_tip_to_the_tumour_inside_the_artery_mask(patient: Path) -> None:
    _, truth, folder = run_and_truth(patient, "frontal")
    artery = cv2.dilate(mask(folder / "artery.png").astype(np.uint8), np.ones((3, 3))).astype(bool)
    assert truth["tumours"]
    for tumour in truth["tumours"]:
        near = cv2.dilate(mask(folder / tumour["mask"]).astype(np.uint8), np.ones((7, 7))).astype(bool)
        assert tumour["feeders"]
        for feeder in tumour["feeders"]:
            line = np.rint(np.array(feeder["centreline"])).astype(int)
            np.testing.assert_allclose(feeder["centreline"][0], truth["catheter_tip"], atol=0.01)
            assert artery[tuple(line.T)].mean() > 0.95
            assert near[tuple(line[-1])]
            assert feeder["non_target_along"][-1] == 0
            assert feeder["non_target_along"][0] > 0.5
        assert sum(f["contribution"] for f in tumour["feeders"] + tumour["faint_feeders"]) == pytest.approx(1, abs=1e-3)


def test_the_tip_stands_at_the_end_of_the_catheter(patient: Path) -> None:
    _, truth, folder = run_and_truth(patient, "frontal")
    distance = cv2.distanceTransform((~mask(folder / "catheter.png")).astype(np.uint8), cv2.DIST_L2, 5)
    row, col = np.rint(truth["catheter_tip"]).astype(int)
    assert distance[row, col] <= 1.5


def test_motion_is_told_against_the_frames_before_contrast(patient: Path) -> None:
    ds, truth, _ = run_and_truth(patient, "frontal")
    motion = np.array(truth["motion_px"])
    assert motion.shape == (ds.NumberOfFrames, 2)
    np.testing.assert_allclose(motion[:3].mean(axis=0), 0, atol=1e-3)


def test_embolised_to_standstill_no_feeder_is_left_to_find(patient: Path) -> None:
    _, truth, _ = run_and_truth(patient, "post")
    assert truth["tumours"] == []
    assert [t["id"] for t in truth["tumours_not_visible"]] == ["T1"]


def test_retention_is_iodine_over_that_of_the_first_scan(patient: Path) -> None:
    told = json.loads((patient / "truth" / "lipiodol.json").read_text())["lesions"][0]
    first, second = (t for t in told["timepoints"] if t["modality"] == "CT")
    assert first["retention"] == 1
    assert 0 < second["retention"] < 1
    assert second["iodine_mg"] / first["iodine_mg"] == pytest.approx(second["retention"], rel=1e-3)
    halved = np.log(2) * 27 / -np.log(second["retention"])
    # Bi-exponential washout is at first faster than its later half-life.
    assert halved == pytest.approx(told["half_life_days"], rel=0.5)


def test_films_are_taken_in_the_suite_and_later_in_radiology(patient: Path) -> None:
    told = json.loads((patient / "truth" / "lipiodol.json").read_text())["lesions"][0]
    films = {t["days"]: t["modality"] for t in told["timepoints"] if t["modality"] != "CT"}
    assert films == {0.0: "XA", 28.0: "DX"}
    for t in told["timepoints"]:
        if t["modality"] != "CT":
            assert mask(patient / "rois" / f"{t['sop_instance_uid']}-L1.png").any()


def test_the_segmentation_is_the_lesion_on_the_first_scan_after_treatment(patient: Path) -> None:
    seg = pydicom.dcmread(patient / "rois" / "lesions.dcm")
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    told = sitk.GetArrayFromImage(sitk.ReadImage(str(patient / "truth" / "day001-ct-plain-lesion-L1.nii.gz")))
    assert bits.sum() == told.sum()
    first = pydicom.dcmread(patient / "dicom" / "day001-ct" / "plain" / "001.dcm")
    assert seg.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == first.SeriesInstanceUID


def test_response_is_told_for_every_scan_after_treatment(patient: Path) -> None:
    told = json.loads((patient / "truth" / "response.json").read_text())
    assert [t["days"] for t in told["timepoints"]] == [1.0, 28.0]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load(name: str) -> None:
    assert isinstance(load_preset(name), SimulationParams)
