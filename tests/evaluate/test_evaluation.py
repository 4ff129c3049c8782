"""Hand-made cases on disk: what is missing counts as wrong, what is right is found."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import SimpleITK as sitk

from angio_pipeline.core.errors import AngioError
from angio_pipeline.evaluate import evaluate
from angio_pipeline.evaluate.lipiodol import FLOOR_RETENTION, _relative_error

SIZE = 64


def box(row: int, col: int, half: int = 6) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[row - half : row + half + 1, col - half : col + half + 1] = 255
    return mask


def vessel() -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[30:33, 2:44] = 255
    return mask


LINE = [[31.0, float(c)] for c in range(2, 45)]


def write_truth(root: Path, case: str, uid: str, **changes: Any) -> Path:
    folder = root / case / "truth" / uid
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "artery.png"), vessel())
    cv2.imwrite(str(folder / "ignore.png"), box(10, 10, 3))
    cv2.imwrite(str(folder / "tumour-T1.png"), box(31, 50))
    cv2.imwrite(str(folder / "tumour-T9.png"), box(55, 55, 4))
    feeder = {
        "centreline": LINE,
        "branch_start": [31.0, 20.0],
        "contribution": 1.0,
        "non_target_along": [0.8] * 18 + [0.0] * 25,
    }
    document = {
        "schema": "angio-pipeline/truth/1",
        "artery_mask": "artery.png",
        "vein_mask": None,
        "ignore_mask": "ignore.png",
        "reference_frame": 2,
        "catheter_tip": [31, 2],
        "arrival_s": "arrival.npy",
        "motion_px": [[0, 0], [1, 0], [2, 0]],
        "tumours": [{"id": "T1", "mask": "tumour-T1.png", "feeders": [feeder]}],
        "tumours_not_visible": [{"id": "T9", "mask": "tumour-T9.png"}],
        "shunts": [],
    }
    (folder / "truth.json").write_text(json.dumps(document | changes))
    return folder


def write_result(root: Path, uid: str, **changes: Any) -> Path:
    folder = root / "subjects" / "s" / "20240304" / uid
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "artery.png"), vessel() | box(10, 10, 2))
    cv2.imwrite(str(folder / "tumour-T1.png"), box(31, 50))
    cv2.imwrite(str(folder / "tumour-T2.png"), box(8, 50, 3))
    cv2.imwrite(str(folder / "tumour-T3.png"), box(55, 55, 4))
    feeder = {"id": "T1-F1", "rank": 1, "probability": 0.9, "contribution": 1.0, "centreline": LINE}
    target = {"row": 31.0, "col": 30.0, "covers": ["T1-F1"], "non_target_fraction": 0.1}
    document = {
        "schema": "angio-pipeline/run/1",
        "source": {"sop_instance_uid": uid},
        "image": {"spacing_mm": [1.0, 1.0], "spacing_plane": "isocentre"},
        "subtraction": {
            "mask_frames": [0, 1],
            "motion_px": [[-0.5, 0], [0.5, 0], [1.5, 4]],
            "residual_before": 0.2,
            "residual_after": 0.1,
        },
        "vessels": {"artery_mask": "artery.png"},
        "tumours": [
            {"id": "T1", "mask": "tumour-T1.png", "origin": "detected", "feeders": [feeder], "targets": [target]}
        ],
        "shunts": [],
    }
    (folder / "analysis.json").write_text(json.dumps(document | changes))
    return folder


def tumour(mask: str, **more: Any) -> dict[str, Any]:
    return {"id": mask[7:9], "mask": mask, "origin": "detected", "feeders": [], "targets": []} | more


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return tmp_path / "truth-root"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_a_right_answer_is_right_in_everything(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    write_result(out, "1.2")
    found = evaluate(truth, out)
    for group, name in (
        ("vessels", "dice"),
        ("feeders", "sensitivity"),
        ("feeders", "ppv"),
        ("feeders", "average_precision"),
        ("targets", "on_true_branch"),
        ("targets", "branches_covered"),
        ("tumours", "dice"),
        ("tumours", "sensitivity"),
    ):
        assert found.value(group, name) == 1, (group, name)
    assert found.value("targets", "non_target_excess") == 0
    assert found.value("feeders", "calibration_error") == pytest.approx(0.1)
    assert found.runs_without_result == 0


def test_what_is_in_the_ignore_mask_is_neither_right_nor_wrong(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2", ignore_mask=None)
    write_result(out, "1.2")
    with_it = evaluate(truth, out).value("vessels", "precision")
    assert with_it is not None
    assert with_it < 1


def test_a_run_without_result_counts_as_nothing_found(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    write_truth(truth, "case-000", "1.3")
    write_result(out, "1.2")
    found = evaluate(truth, out)
    assert found.runs_without_result == 1
    assert found.value("vessels", "dice") == 0.5
    assert found.value("vessels", "betti0_error") == 0.5
    assert found.value("feeders", "sensitivity") == 0.5
    assert found.value("feeders", "ppv") == 1
    assert found.value("tumours", "dice") == 0.5


def test_motion_is_compared_on_the_results_own_zero(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    write_result(out, "1.2")
    # Truth against the mean of frames 0 and 1: -0.5, 0.5, 1.5. Only the last frame is 4 px off sideways.
    assert evaluate(truth, out).value("motion", "end_point_error_px") == pytest.approx(4 / 3)
    assert evaluate(truth, out).value("motion", "residual_after") == 0.1


def test_each_truth_is_matched_once(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    call = {"probability": 0.9, "centreline": LINE}
    twice = [call, call | {"probability": 0.8}]
    write_result(out, "1.2", tumours=[tumour("tumour-T1.png", feeders=twice)])
    found = evaluate(truth, out)
    assert found.value("feeders", "sensitivity") == 1
    assert found.value("feeders", "ppv") == 0.5


def test_a_feeder_of_another_place_is_wrong_unless_the_region_was_given(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    call = [{"probability": 0.9, "centreline": LINE}]
    folder = write_result(out, "1.2", tumours=[tumour("tumour-T2.png", feeders=call)])
    assert evaluate(truth, out).value("feeders", "sensitivity") == 0
    document = json.loads((folder / "analysis.json").read_text())
    document["tumours"][0]["origin"] = "roi"
    (folder / "analysis.json").write_text(json.dumps(document))
    assert evaluate(truth, out).value("feeders", "sensitivity") == 1


def test_an_improbable_feeder_is_no_call(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    faint = [{"probability": 0.4, "centreline": LINE}]
    write_result(out, "1.2", tumours=[tumour("tumour-T1.png", feeders=faint)])
    found = evaluate(truth, out)
    assert found.value("feeders", "sensitivity") == 0
    assert found.value("feeders", "ppv") is None
    assert found.value("feeders", "average_precision") == 1


def test_three_millimetres_become_pixels_by_the_results_spacing(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    beside = [{"probability": 0.9, "centreline": [[r + 5.0, c] for r, c in LINE]}]
    calls = [tumour("tumour-T1.png", feeders=beside)]
    folder = write_result(out, "1.2", tumours=calls)
    assert evaluate(truth, out).value("feeders", "sensitivity") == 0
    document = json.loads((folder / "analysis.json").read_text())
    document["image"] = {"spacing_mm": None, "spacing_plane": "none"}
    (folder / "analysis.json").write_text(json.dumps(document))
    assert evaluate(truth, out).value("feeders", "sensitivity") == 1


def test_a_target_upstream_pays_with_the_tissue_it_would_embolise(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    upstream = [{"row": 31.0, "col": 10.0, "covers": [], "non_target_fraction": 0.0}]
    write_result(out, "1.2", tumours=[tumour("tumour-T1.png", targets=upstream)])
    found = evaluate(truth, out)
    assert found.value("targets", "on_true_branch") == 0
    assert found.value("targets", "non_target_excess") == pytest.approx(0.8)


def test_a_false_tumour_counts_and_one_that_cannot_be_seen_does_not(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    calls = [tumour("tumour-T1.png"), tumour("tumour-T2.png"), tumour("tumour-T3.png")]
    write_result(out, "1.2", tumours=calls)
    assert evaluate(truth, out).value("tumours", "false_positives_per_run") == 1
    write_truth(truth, "case-001", "1.3")  # a run without result does not make it better
    assert evaluate(truth, out).value("tumours", "false_positives_per_run") == 1


def test_shunts_have_sensitivity_and_specificity(truth: Path, out: Path) -> None:
    shunt = {"kind": "arterioportal", "row": 1.0, "col": 1.0}
    write_truth(truth, "case-000", "1.2", shunts=[shunt])
    write_truth(truth, "case-001", "1.3")
    write_result(out, "1.2", shunts=[shunt | {"probability": 0.7}])
    write_result(out, "1.3", shunts=[shunt | {"probability": 0.2}])
    found = evaluate(truth, out)
    assert found.value("shunts", "sensitivity") == 1
    assert found.value("shunts", "specificity") == 1


def test_a_run_without_result_clears_no_shunt(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    write_truth(truth, "case-001", "1.3")
    write_result(out, "1.2")
    assert evaluate(truth, out).value("shunts", "specificity") == 0.5


def test_a_target_of_a_false_tumour_is_given_and_wrong(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    target = [{"row": 31.0, "col": 30.0, "covers": [], "non_target_fraction": 0.0}]
    calls = [tumour(f"tumour-T{i}.png", targets=target) for i in (1, 2, 3)]
    write_result(out, "1.2", tumours=calls)
    found = evaluate(truth, out)
    assert found.value("targets", "on_true_branch") == 0.5  # T3 cannot be seen and does not count
    assert found.value("targets", "non_target_excess") == 0.5


def test_runs_without_an_answer_on_motion_are_counted(truth: Path, out: Path) -> None:
    for uid in ("1.2", "1.3", "1.4"):
        write_truth(truth, "case-000", uid)
    write_result(out, "1.2")
    write_result(out, "1.3", subtraction={"mask_frames": [], "motion_px": []})
    score = next(s for s in evaluate(truth, out).scores if s.name == "runs_without_answer")
    assert (score.value, score.count) == (2, 3)


def test_intervals_need_two_patients_and_hold_the_value(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    write_result(out, "1.2")
    assert all(score.low is None for score in evaluate(truth, out).scores)
    write_truth(truth, "case-001", "1.3")
    score = next(s for s in evaluate(truth, out).scores if (s.group, s.name) == ("vessels", "dice"))
    assert score.low is not None
    assert score.high is not None
    assert score.low <= (score.value or 0) <= score.high
    assert (score.low, score.high) == (0.0, 1.0)


def test_the_same_files_give_the_same_intervals(truth: Path, out: Path) -> None:
    for k in range(4):
        write_truth(truth, f"case-{k}", f"1.{k}")
    write_result(out, "1.0")
    write_result(out, "1.1")
    assert evaluate(truth, out).to_document() == evaluate(truth, out).to_document()


def test_no_truth_is_an_error_of_one_sentence(out: Path) -> None:
    with pytest.raises(AngioError, match="found none"):
        evaluate(out, out)


def test_broken_truth_is_named(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2", reference_frame="late")
    with pytest.raises(AngioError, match="reference_frame"):
        evaluate(truth, out)


def volume(path: Path, columns: slice) -> None:
    mask = np.zeros((4, 8, 8), np.uint8)
    mask[1:3, 2:6, columns] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(mask), str(path))


def write_oil_truth(root: Path) -> None:
    folder = root / "case-000" / "truth"
    volume(folder / "a.nii.gz", slice(2, 6))
    points = [
        {"series_instance_uid": f"9.{d}", "modality": "CT", "days": float(d), "iodine_mg": m, "oil_ml": m / 480,
         "retention": m / 200, "lesion_mask": "a.nii.gz", "deposit_mask": "a.nii.gz"}
        for d, m in ((1, 200.0), (28, 100.0))
    ]  # fmt: skip
    lesion = {"id": "L1", "half_life_days": 27.0, "centroid_mm": [0, 0, 0], "timepoints": points}
    (folder / "lipiodol.json").write_text(json.dumps({"lesions": [lesion]}))


def test_oil_is_scored_by_series_and_place(truth: Path, out: Path) -> None:
    write_oil_truth(truth)
    subject = out / "subjects" / "s"
    volume(subject / "20240305" / "x" / "deposit-L1.nii.gz", slice(4, 8))
    point = {"series_instance_uid": "9.1", "iodine_mg": 220.0, "iodine_mg_interval": [190.0, 250.0], "retention": 1.0}
    point["deposit_mask"] = "20240305/x/deposit-L1.nii.gz"
    late = {"series_instance_uid": "9.28", "iodine_mg": 90.0, "iodine_mg_interval": [80.0, 95.0], "retention": 0.4}
    late |= {"retention_interval": [0.3, 0.6], "deposit_mask": None}
    kinetics = {"half_life_days": 30.0, "half_life_interval": [20.0, None]}
    lesion = {"id": "L7", "centroid_mm": [3, 4, 0], "timepoints": [point, late], "kinetics": kinetics}
    (subject / "lipiodol.json").write_text(json.dumps({"lesions": [lesion]}))
    found = evaluate(truth, out)
    assert found.value("lipiodol", "mass_error") == pytest.approx(0.1)
    assert found.value("lipiodol", "mass_in_interval") == 0.5
    assert found.value("lipiodol", "retention_error") == pytest.approx(0.2)
    assert found.value("lipiodol", "retention_in_interval") == 1
    assert found.value("lipiodol", "deposit_dice") == pytest.approx(0.25)
    assert found.value("lipiodol", "half_life_error") == pytest.approx(3 / 27)
    assert found.value("lipiodol", "half_life_in_interval") == 1


def test_oil_without_answer_is_wholly_wrong(truth: Path, out: Path) -> None:
    write_oil_truth(truth)
    found = evaluate(truth, out)
    assert found.value("lipiodol", "mass_error") == 1
    assert found.value("lipiodol", "half_life_error") == 1
    assert found.value("lipiodol", "deposit_dice") == 0
    assert found.value("lipiodol", "mass_in_interval") == 0


@pytest.mark.parametrize(("answer", "error"), [(None, 1.0), (0.0, 0.0), (0.005, 0.5)])
def test_a_true_retention_of_nothing_is_judged_by_the_floor(answer: float | None, error: float) -> None:
    assert _relative_error(answer, 0.0, FLOOR_RETENTION) == error


def test_the_samples_truth_is_as_the_contract_has_it(sample: Path, out: Path) -> None:
    found = evaluate(sample, out)
    assert found.runs == found.runs_without_result == 3
    assert found.value("feeders", "sensitivity") == 0
