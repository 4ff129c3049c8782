"""Hand-made cases on disk: what is missing counts as wrong, what is right is found."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import SimpleITK as sitk
from judged_runs import LINE, SIZE, box, tumour, vessel, write_result, write_truth

from angio_pipeline.core.errors import AngioError
from angio_pipeline.evaluate import Evaluation, evaluate
from angio_pipeline.evaluate.frames import moved_mask
from angio_pipeline.evaluate.lipiodol import FLOOR_RETENTION, _relative_error


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


def write_truth_of_first_frame(truth: Path, uid: str, *, rows: int) -> None:
    """Write the truth of `write_truth` where its vessels stood in frame 0, `rows` above where they are in frame 2."""
    folder = write_truth(truth, "case-000", uid)
    for mask in folder.glob("*.png"):
        cv2.imwrite(str(mask), np.roll(cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE), -rows, axis=0))
    document = json.loads((folder / "truth.json").read_text())
    feeder = document["tumours"][0]["feeders"][0]
    feeder["centreline"] = [[row - rows, col] for row, col in feeder["centreline"]]
    feeder["branch_start"][0] -= rows
    document |= {"reference_frame": 0, "catheter_tip": [31 - rows, 2], "motion_px": [[0, 0], [1, 0], [rows, 0]]}
    (folder / "truth.json").write_text(json.dumps(document))


@pytest.mark.parametrize("told", [True, False])
def test_vessels_are_judged_where_they_stand_in_the_frame_of_the_answer(truth: Path, out: Path, told: bool) -> None:
    write_truth_of_first_frame(truth, "1.2", rows=5)
    folder = write_result(out, "1.2", catheter_tip={"row": 31.0, "col": 2.0})
    document = json.loads((folder / "analysis.json").read_text())
    if told:
        document["subtraction"]["reference_frame"] = 2
    (folder / "analysis.json").write_text(json.dumps(document))
    found = evaluate(truth, out)
    names = (("vessels", "dice"), ("feeders", "sensitivity"), ("tumours", "dice"), ("targets", "on_true_branch"))
    # Who does not tell the frame is taken to mean that of the truth, five rows away.
    assert all((found.value(group, name) == 1) == told for group, name in names)
    assert found.value("catheter", "distance_px") == (0.0 if told else 5.0)


def test_what_comes_in_over_the_border_counts_neither_way() -> None:
    mask = np.zeros((4, 5), bool)
    mask[0, 4] = True
    ignored = moved_mask(mask, (2.0, -1.4), beyond=True)
    assert ignored.tolist() == [[True] * 5, [True] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]]
    assert not moved_mask(mask, (-9.0, 0.0), beyond=False).any()


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
    score = next(s for s in evaluate(truth, out).scores if (s.group, s.name) == ("motion", "runs_without_answer"))
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


def count_of(found: Evaluation, group: str, name: str) -> int:
    return next(score.count for score in found.scores if (score.group, score.name) == (group, name))


# Veins


def write_veins(truth: Path, out: Path, *, told: bool, shift: int = 0) -> None:
    vein = np.zeros((SIZE, SIZE), np.uint8)
    vein[10:60, 40:43] = 255  # crosses the artery
    cv2.imwrite(str(write_truth(truth, "case-000", "1.2", vein_mask="vein.png") / "vein.png"), vein)
    vessels = {"artery_mask": "artery.png", "vein_mask": "vein.png" if told else None}
    folder = write_result(out, "1.2", vessels=vessels)
    if told:
        answer = np.roll(vein, shift, axis=1)
        answer[30:33, 2:44] = 255  # the artery, called vein as well
        cv2.imwrite(str(folder / "vein.png"), answer)


def test_veins_are_scored_where_the_truth_shows_them_and_arteries_over_them_count_neither_way(
    truth: Path, out: Path
) -> None:
    write_veins(truth, out, told=True)
    found = evaluate(truth, out)
    assert [found.value("veins", name) for name in ("dice", "precision", "recall", "dice_3px")] == [1, 1, 1, 1]
    assert found.value("veins", "runs_without_answer") == 0


def test_veins_in_another_place_are_wrong(truth: Path, out: Path) -> None:
    write_veins(truth, out, told=True, shift=8)
    found = evaluate(truth, out)
    assert found.value("veins", "dice") == 0
    assert found.value("veins", "dice_3px") == 0


def test_veins_not_told_from_arteries_score_nothing_and_are_counted(truth: Path, out: Path) -> None:
    write_veins(truth, out, told=False)
    found = evaluate(truth, out)
    assert found.value("veins", "dice") == 0
    assert (found.value("veins", "runs_without_answer"), count_of(found, "veins", "runs_without_answer")) == (1, 1)


def test_without_veins_in_the_truth_nothing_is_said_of_them(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    write_result(out, "1.2")
    assert evaluate(truth, out).value("veins", "dice") is None


# The catheter


@pytest.mark.parametrize(("row", "found", "distance"), [(31.0, 1.0, 0.0), (34.0, 1.0, 3.0), (36.0, 0.0, 5.0)])
def test_the_tip_is_found_within_three_millimetres(
    truth: Path, out: Path, row: float, found: float, distance: float
) -> None:
    write_truth(truth, "case-000", "1.2")
    write_result(out, "1.2", catheter_tip={"row": row, "col": 2.0, "probability": 0.5})
    answer = evaluate(truth, out)
    assert answer.value("catheter", "found") == found
    assert answer.value("catheter", "distance_px") == pytest.approx(distance)


def test_no_tip_is_not_found_and_has_no_distance(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    write_result(out, "1.2", catheter_tip=None)
    answer = evaluate(truth, out)
    assert answer.value("catheter", "found") == 0
    assert answer.value("catheter", "distance_px") is None


# What can be gamed or is neither right nor wrong


def test_a_vessel_wider_than_the_ignored_twig_leaves_no_slivers_and_no_pieces(truth: Path, out: Path) -> None:
    folder = write_truth(truth, "case-000", "1.2")
    twig = np.zeros((SIZE, SIZE), np.uint8)
    twig[5:30, 20:22] = 255
    cv2.imwrite(str(folder / "ignore.png"), twig)
    answer = vessel()
    answer[5:30, 19:23] = 255
    told = write_result(out, "1.2")
    cv2.imwrite(str(told / "artery.png"), answer)
    found = evaluate(truth, out)
    assert found.value("vessels", "betti0_error") == 0
    assert found.value("vessels", "precision_3px") == 1
    assert found.value("vessels", "cldice") == pytest.approx(1, abs=0.03)
    assert (found.value("vessels", "precision") or 1) < 1


def test_a_piece_that_touches_nothing_known_is_still_a_component_too_many(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    told = write_result(out, "1.2")
    cv2.imwrite(str(told / "artery.png"), vessel() | box(50, 20, 2))
    found = evaluate(truth, out)
    assert found.value("vessels", "betti0_error") == 1
    assert (found.value("vessels", "precision_3px") or 1) < 1


def test_a_feeder_of_a_tumour_that_cannot_be_seen_is_neither_right_nor_wrong(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    call = [{"probability": 0.9, "centreline": [[60.0, 60.0], [61.0, 61.0]]}]
    write_result(out, "1.2", tumours=[tumour("tumour-T3.png", feeders=call)])
    assert evaluate(truth, out).value("feeders", "ppv") is None
    # The same on a place where nothing is, is wrong.
    write_truth(truth, "case-001", "1.3")
    write_result(out, "1.3", tumours=[tumour("tumour-T2.png", feeders=call)])
    assert evaluate(truth, out).value("feeders", "ppv") == 0


def test_the_whole_picture_called_a_tumour_is_no_tumour(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    folder = write_result(out, "1.2", tumours=[tumour("tumour-T1.png")])
    cv2.imwrite(str(folder / "tumour-T1.png"), np.full((SIZE, SIZE), 255, np.uint8))
    found = evaluate(truth, out)
    assert found.value("tumours", "sensitivity") == 0
    assert found.value("tumours", "false_positives_per_run") == 1


def test_a_tumour_called_twice_is_found_once(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    write_result(out, "1.2", tumours=[tumour("tumour-T1.png"), tumour("tumour-T1.png")])
    found = evaluate(truth, out)
    assert (found.value("tumours", "sensitivity"), count_of(found, "tumours", "sensitivity")) == (1, 1)


def test_blood_beside_the_vessels_called_a_tumour_is_neither_right_nor_wrong(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2", extravasations=[{"row": 8.0, "col": 52.0}])
    write_result(out, "1.2", tumours=[tumour("tumour-T2.png", targets=[{"row": 1.0, "col": 1.0}])])
    found = evaluate(truth, out)
    assert found.value("tumours", "false_positives_per_run") == 0
    assert found.value("targets", "on_true_branch") is None


def test_a_tumour_without_a_target_pays_as_the_worst_target_does(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    assert evaluate(truth, out).value("targets", "non_target_excess") == 1
    write_result(out, "1.2", tumours=[tumour("tumour-T1.png")])
    assert evaluate(truth, out).value("targets", "non_target_excess") == 1


def test_one_target_counts_once_though_its_call_meets_two_tumours(truth: Path, out: Path) -> None:
    folder = write_truth(truth, "case-000", "1.2")
    document = json.loads((folder / "truth.json").read_text())
    document["tumours"].append(document["tumours"][0] | {"id": "T2"})
    (folder / "truth.json").write_text(json.dumps(document))
    write_result(out, "1.2")
    found = evaluate(truth, out)
    assert count_of(found, "targets", "on_true_branch") == 1
    assert found.value("targets", "branches_covered") == 1


def test_the_truths_spacing_wins_over_what_the_result_claims(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2", spacing_mm=[1.0, 1.0])
    beside = [{"probability": 0.9, "centreline": [[r + 5.0, c] for r, c in LINE]}]
    claimed = {"spacing_mm": [0.1, 0.1], "spacing_plane": "isocentre"}
    write_result(out, "1.2", image=claimed, tumours=[tumour("tumour-T1.png", feeders=beside)])
    assert evaluate(truth, out).value("feeders", "sensitivity") == 0


def test_where_the_truth_tells_no_scale_no_claim_of_the_result_widens_the_tolerance(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2", spacing_mm=None)
    beside = [{"probability": 0.9, "centreline": [[r + 14.0, c] for r, c in LINE]}]
    claimed = {"spacing_mm": [0.1, 0.1], "spacing_plane": "isocentre"}
    write_result(out, "1.2", image=claimed, tumours=[tumour("tumour-T1.png", feeders=beside)])
    assert evaluate(truth, out).value("feeders", "sensitivity") == 0


def test_a_feeder_that_only_touches_its_branch_is_wrong(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    short = [{"probability": 0.9, "centreline": LINE[:28]}]
    write_result(out, "1.2", tumours=[tumour("tumour-T1.png", feeders=short)])
    assert evaluate(truth, out).value("feeders", "sensitivity") == 0


# Shunts


def test_a_shunt_called_elsewhere_or_of_the_other_kind_is_not_located(truth: Path, out: Path) -> None:
    shunt = {"kind": "arterioportal", "row": 10.0, "col": 10.0}
    for k, change in enumerate(({}, {"row": 30.0}, {"kind": "arteriovenous"})):
        write_truth(truth, f"case-{k}", f"1.{k}", shunts=[shunt])
        write_result(out, f"1.{k}", shunts=[shunt | {"probability": 0.7} | change])
    found = evaluate(truth, out)
    assert found.value("shunts", "sensitivity") == 1
    assert found.value("shunts", "located") == pytest.approx(1 / 3)


def test_a_run_whose_only_shunt_cannot_be_seen_is_not_judged(truth: Path, out: Path) -> None:
    shunt = {"kind": "arterioportal", "row": 10.0, "col": 10.0}
    write_truth(truth, "case-000", "1.2", shunts_not_visible=[shunt])
    write_result(out, "1.2", shunts=[shunt | {"probability": 0.7}])
    found = evaluate(truth, out)
    assert found.value("shunts", "sensitivity") is None
    assert found.value("shunts", "specificity") is None


def test_a_result_that_never_looked_for_shunts_clears_none(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    write_result(out, "1.2", shunts=None)
    assert evaluate(truth, out).value("shunts", "specificity") == 0


# Oil


def oil_answer(out: Path, *lesions: dict[str, Any], **more: Any) -> None:
    subject = out / "subjects" / "s"
    subject.mkdir(parents=True, exist_ok=True)
    (subject / "lipiodol.json").write_text(json.dumps({"lesions": lesions} | more))


def point(series: str, **more: Any) -> dict[str, Any]:
    return {"series_instance_uid": series} | more


def write_courses(root: Path, *lesions: dict[str, Any], **more: Any) -> None:
    folder = root / "case-000" / "truth"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lipiodol.json").write_text(json.dumps({"lesions": lesions} | more))


def oil_point(series: str, days: float, mass: float, retention: float | None, **more: Any) -> dict[str, Any]:
    plain = {"series_instance_uid": series, "modality": "CT", "days": days, "iodine_mg": mass, "oil_ml": mass / 480}
    return plain | {"retention": retention} | more


def test_each_answer_serves_the_lesion_that_it_is_nearest_to_all_in_all(truth: Path, out: Path) -> None:
    near = {"id": "L1", "half_life_days": 30, "centroid_mm": [0, 0, 0], "timepoints": [oil_point("9.1", 1, 100, 1.0)]}
    other = near | {"id": "L2", "centroid_mm": [20, 0, 0], "timepoints": [oil_point("9.1", 1, 50, 1.0)]}
    write_courses(truth, near, other)
    # The only answer to L2 is within reach of L1 too, which has none.
    oil_answer(out, {"centroid_mm": [18, 0, 0], "timepoints": [point("9.1", iodine_mg=50.0)]})
    assert evaluate(truth, out).value("lipiodol", "mass_error") == pytest.approx((1 + 0) / 2)


def test_films_of_every_kind_are_scored_after_the_first_of_their_kind(truth: Path, out: Path) -> None:
    points = [
        oil_point("9.1", 0, 100, 1.0, modality="XA"),
        oil_point("9.2", 28, 50, 0.5, modality="XA"),
        oil_point("9.3", 7, 90, 1.0, modality="DX"),
        oil_point("9.4", 28, 50, 0.55, modality="DX"),
        oil_point("9.5", 28, 50, 0.5, modality="CR"),
    ]
    write_courses(truth, {"id": "L1", "half_life_days": None, "centroid_mm": [0, 0, 0], "timepoints": points})
    told = [point(s, retention=r) for s, r in (("9.1", 1.0), ("9.2", 0.5), ("9.4", 0.11), ("9.5", 0.25))]
    oil_answer(out, {"centroid_mm": [0, 0, 0], "timepoints": told})
    found = evaluate(truth, out)
    assert found.value("lipiodol", "film_retention_error") == pytest.approx((0 + 0.8 + 0.5) / 3)
    assert found.value("lipiodol", "mass_error") is None
    assert found.value("lipiodol", "half_life_error") is None


def test_a_lesion_that_never_held_oil_is_judged_by_what_is_claimed_for_it(truth: Path, out: Path) -> None:
    points = [oil_point("9.1", 1, 0.0, None), oil_point("9.2", 28, 0.0, None)]
    write_courses(truth, {"id": "N1", "half_life_days": None, "centroid_mm": [0, 0, 0], "timepoints": points})
    found = evaluate(truth, out)
    assert found.value("lipiodol", "mass_error") is None
    assert found.value("lipiodol", "false_iodine_mg") == 0
    oil_answer(out, {"centroid_mm": [0, 0, 0], "timepoints": [point("9.1", iodine_mg=30.0)]})
    assert evaluate(truth, out).value("lipiodol", "false_iodine_mg") == 15


def test_deposits_where_no_oil_was_given_are_false_unless_the_region_was_given(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    write_result(out, "1.2")
    write_courses(truth)
    assert evaluate(truth, out).value("lipiodol", "false_deposits") is None
    told = [point("9.1", iodine_mg=30.0)]
    places = [{"centroid_mm": [0, 0, 0]}, {"centroid_mm": [90, 0, 0], "origin": "roi"}, {"centroid_mm": None}]
    oil_answer(out, *({"timepoints": told} | place for place in places))
    assert evaluate(truth, out).value("lipiodol", "false_deposits") == 1


def test_pattern_completeness_and_margin_agree_or_not(truth: Path, out: Path) -> None:
    true = {"completeness": "complete", "margin_grade": "A"}
    lesion = {"id": "L1", "half_life_days": 30, "centroid_mm": [0, 0, 0], "pattern": "homogeneous"}
    points = [oil_point("9.1", 1, 100, 1.0, **true), oil_point("9.2", 28, 50, 0.5)]
    write_courses(truth, lesion | {"timepoints": points})
    told = [
        point("9.1", pattern="homogeneous", completeness="complete", margin_grade="B"),
        point("9.2", pattern="faint"),
    ]
    oil_answer(out, {"centroid_mm": [0, 0, 0], "timepoints": told})
    found = evaluate(truth, out)
    names = ("pattern_agreement", "completeness_agreement", "margin_grade_agreement")
    assert [found.value("lipiodol", name) for name in names] == [1, 1, 0]


def test_the_livers_course_is_scored_where_the_truth_has_one(truth: Path, out: Path) -> None:
    lesion = {"id": "L1", "half_life_days": 30, "centroid_mm": [0, 0, 0], "timepoints": [oil_point("9.1", 1, 100, 1.0)]}
    liver = {"half_life_days": 4.0, "timepoints": [oil_point("9.1", 1, 400, 1.0), oil_point("9.2", 28, 40, 0.1)]}
    write_courses(truth, lesion, liver=liver)
    told = {"timepoints": [point("9.1", iodine_mg=300.0), point("9.2", iodine_mg=40.0, retention=0.2)]}
    oil_answer(out, {"centroid_mm": [0, 0, 0], "timepoints": [point("9.1", iodine_mg=100.0)]}, liver=told)
    found = evaluate(truth, out)
    assert found.value("lipiodol", "liver_mass_error") == pytest.approx(0.125)
    assert found.value("lipiodol", "liver_retention_error") == pytest.approx(1.0)
    assert found.value("lipiodol", "liver_half_life_error") == 1


def test_an_interval_open_at_both_ends_says_nothing(truth: Path, out: Path) -> None:
    lesion = {"id": "L1", "half_life_days": 30, "centroid_mm": [0, 0, 0], "timepoints": [oil_point("9.1", 1, 100, 1.0)]}
    write_courses(truth, lesion)
    answer = point("9.1", iodine_mg=100.0, iodine_mg_interval=[None, None])
    oil_answer(out, {"centroid_mm": [0, 0, 0], "timepoints": [answer]})
    assert evaluate(truth, out).value("lipiodol", "mass_in_interval") == 0


# Response


def write_response(truth: Path, out: Path, answer: dict[str, str | None] | None) -> None:
    write_truth(truth, "case-000", "1.2")
    write_result(out, "1.2")
    calls = {"recist": "PR", "mrecist": "CR", "choi": None}
    document = {"timepoints": [{"date": "20240401", "days": 28.0, "calls": calls}]}
    (truth / "case-000" / "truth" / "response.json").write_text(json.dumps(document))
    if answer is not None:
        told = {"timepoints": [{"date": "20240401", "calls": answer}]}
        (out / "subjects" / "s" / "response.json").write_text(json.dumps(told))


def test_calls_that_nobody_made_are_counted_and_not_wrong(truth: Path, out: Path) -> None:
    write_response(truth, out, None)
    found = evaluate(truth, out)
    assert found.value("response", "agreement") is None
    assert found.value("response", "agreement_of_all") == 0
    assert (found.value("response", "no_answer"), count_of(found, "response", "no_answer")) == (2, 2)


def test_calls_agree_or_not_by_criterion(truth: Path, out: Path) -> None:
    write_response(truth, out, {"recist": "SD", "mrecist": "CR", "choi": "PD"})
    found = evaluate(truth, out)
    assert found.value("response", "agreement") == 0.5
    assert found.value("response", "agreement_recist") == 0
    assert found.value("response", "agreement_mrecist") == 1
    assert found.value("response", "no_answer") == 0


# Broken results


BREAKAGES = {
    "no json": lambda folder: (folder / "analysis.json").write_text("{"),
    "empty": lambda folder: (folder / "analysis.json").write_text(""),
    "a list": lambda folder: (folder / "analysis.json").write_text("[]"),
    "deep": lambda folder: (folder / "analysis.json").write_text("[" * 100_000),
    "no text": lambda folder: (folder / "analysis.json").write_bytes(b"\xff\xfe\x00\x81"),
    "no source": lambda folder: change(folder, source={}),
    "tumours of another kind": lambda folder: change(folder, tumours=3),
    "a probability above 1": lambda folder: change(
        folder, tumours=[tumour("tumour-T1.png", feeders=[{"probability": 7, "centreline": LINE}])]
    ),
    "a centreline that is no line": lambda folder: change(
        folder, tumours=[tumour("tumour-T1.png", feeders=[{"probability": 0.9, "centreline": [[1.0], "x"]}])]
    ),
    "a coordinate that is no number": lambda folder: change(
        folder, tumours=[tumour("tumour-T1.png", feeders=[{"probability": 0.9, "centreline": [[float("nan"), 1.0]]}])]
    ),
    "motion of another kind": lambda folder: change(folder, subtraction={"motion_px": "far"}),
}


def change(folder: Path, **changes: Any) -> None:
    path = folder / "analysis.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("how", BREAKAGES)
def test_a_broken_analysis_is_missing_and_named(truth: Path, out: Path, how: str) -> None:
    write_truth(truth, "case-000", "1.2")
    BREAKAGES[how](write_result(out, "1.2"))
    found = evaluate(truth, out)
    assert found.runs_without_result == 1
    assert found.broken == ("subjects/s/20240304/1.2/analysis.json",)
    assert found.value("vessels", "dice") == 0
    assert found.value("feeders", "sensitivity") == 0
    assert found.value("shunts", "specificity") == 0


@pytest.mark.parametrize("content", [None, b"", b"not a picture", b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_a_broken_mask_is_missing_and_named(truth: Path, out: Path, content: bytes | None) -> None:
    write_truth(truth, "case-000", "1.2")
    folder = write_result(out, "1.2")
    for name in ("artery.png", "tumour-T1.png"):
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)
    found = evaluate(truth, out)
    assert set(found.broken) == {"1.2/artery.png", "1.2/tumour-T1.png"}
    assert found.value("vessels", "dice") == 0
    assert found.value("tumours", "sensitivity") == 0


def test_a_mask_of_another_size_is_missing(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    folder = write_result(out, "1.2")
    cv2.imwrite(str(folder / "artery.png"), np.full((10, 12), 255, np.uint8))
    found = evaluate(truth, out)
    assert found.value("vessels", "recall") == 0
    assert found.broken == ("1.2/artery.png",)


def test_of_two_results_for_a_run_a_broken_one_does_not_hide_the_other(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    write_result(out, "1.2")
    (out / "another").mkdir()
    (out / "another" / "analysis.json").write_text("{")
    assert evaluate(truth, out).value("vessels", "dice") == 1


def test_mask_frames_that_the_run_does_not_have_give_no_motion(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    write_result(out, "1.2", subtraction={"mask_frames": [7], "motion_px": [[0, 0], [0, None], [0, 0]]})
    assert evaluate(truth, out).value("motion", "end_point_error_px") is None


@pytest.mark.parametrize("text", ["", "{", '{"lesions": 3}', '{"lesions": [{"timepoints": [{"iodine_mg": "much"}]}]}'])
def test_broken_oil_is_missing_and_named(truth: Path, out: Path, text: str) -> None:
    write_oil_truth(truth)
    (out / "subjects" / "s").mkdir(parents=True)
    (out / "subjects" / "s" / "lipiodol.json").write_text(text)
    found = evaluate(truth, out)
    assert found.value("lipiodol", "mass_error") == 1
    assert found.broken == ("subjects/s/lipiodol.json",)


def test_a_deposit_that_is_no_volume_scores_nothing(truth: Path, out: Path) -> None:
    write_oil_truth(truth)
    answer = point("9.1", iodine_mg=200.0, deposit_mask="deposit.nii.gz")
    oil_answer(out, {"centroid_mm": [0, 0, 0], "timepoints": [answer]})
    (out / "subjects" / "s" / "deposit.nii.gz").write_bytes(b"no volume")
    found = evaluate(truth, out)
    assert found.value("lipiodol", "deposit_dice") == 0
    assert found.value("lipiodol", "mass_error") == 0.5


def test_the_samples_truth_is_as_the_contract_has_it(sample: Path, out: Path) -> None:
    found = evaluate(sample, out)
    assert found.runs == found.runs_without_result == 3
    assert found.value("feeders", "sensitivity") == 0


def test_runs_that_are_named_are_judged_and_no_others(truth: Path, out: Path) -> None:
    for case, uid in (("case-000", "1.2"), ("case-000", "1.3"), ("case-001", "1.4"), ("case-002", "1.5")):
        write_truth(truth, case, uid)
    write_result(out, "1.2")
    found = evaluate(truth, out, only=["1.2", "1.5"])
    assert (found.cases, found.runs, found.runs_without_result) == (2, 2, 1)
    assert [row["sop_instance_uid"] for row in found.per_run] == ["1.2", "1.5"]
    assert found.value("feeders", "sensitivity") == 0.5


def test_follow_ups_are_not_judged_with_named_runs(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    write_oil_truth(truth)
    assert count_of(evaluate(truth, out), "lipiodol", "mass_error") > 0
    assert count_of(evaluate(truth, out, only=["1.2"]), "lipiodol", "mass_error") == 0


def test_a_named_run_without_truth_is_an_error(truth: Path, out: Path) -> None:
    write_truth(truth, "case-000", "1.2")
    with pytest.raises(AngioError, match=r"Expected the truth of every run that was named, found none of 1\.9"):
        evaluate(truth, out, only=["1.2", "1.9"])


def test_by_both_views_a_feeder_is_as_probable_as_both_say_where_they_were_joined(truth: Path, out: Path) -> None:
    joined = {"probability": 0.4, "centreline": LINE, "two_views": {"probability": 0.8}}
    for uid, feeder in (("1.2", joined), ("1.3", joined | {"two_views": None})):
        write_truth(truth, "case-000", uid)
        write_result(out, uid, tumours=[tumour("tumour-T1.png", feeders=[feeder])])
    assert evaluate(truth, out).value("feeders", "sensitivity") == 0
    assert evaluate(truth, out, both_views=True).value("feeders", "sensitivity") == 0.5
