"""Truth against the noise-free picture: what is called visible is what was drawn."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import cv2
import numpy as np
import pytest

from angio_pipeline.simulate import SimulationParams
from angio_pipeline.simulate.angiography import stage
from angio_pipeline.simulate.circulation.circulation import Circulation, circulate
from angio_pipeline.simulate.dicom.common import Case
from angio_pipeline.simulate.patient import Patient, make_patient
from angio_pipeline.simulate.radiograph.detector import Exposure
from angio_pipeline.simulate.runs import RunScene, record
from angio_pipeline.simulate.truth import RunTruth, behind_opening, edge_flow, from_the_tip, tell_truth, tumour_flow

pytestmark = pytest.mark.slow

STILL = {"amplitude_mm": 0, "drift_mm": 0, "heart_mm": 0, "left_lobe_mm": 0, "peristalsis_mm": 0}


def settings(**groups: dict[str, Any]) -> SimulationParams:
    anatomy = {"smallest_diameter_mm": 0.6, "variant": 1, "tumours_min": 1, "tumours_max": 1, "rim_share": 0}
    usual: dict[str, Any] = {
        "anatomy": anatomy | groups.pop("anatomy", {}),
        "detector": {"rows": 256, "columns": 256, "photons": 20000},
        "run": {"fast_frames": 12, "slow_frames": 4} | groups.pop("run", {}),
        "motions": [STILL],
    }
    return SimulationParams.model_validate(usual | groups)


def seen(params: SimulationParams, seed: int = 3) -> tuple[Patient, RunScene, Exposure, RunTruth]:
    patient = make_patient(Case(seed, 0, datetime(2024, 3, 4, 10)), params)
    scene = stage(patient, "frontal")
    exposure = record(scene, patient.export, patient.rng("quanta"))
    return patient, scene, exposure, tell_truth(scene, exposure)


@pytest.fixture(scope="module")
def run() -> tuple[Patient, RunScene, Exposure, RunTruth]:
    return seen(settings())


def peak_over_noise(scene: RunScene, exposure: Exposure, which: str) -> np.ndarray:
    frames = [scene.vessel_attenuation(k, which) for k in range(len(scene.plan.times_s))]
    drawn = cv2.GaussianBlur(np.max(frames, axis=0), (0, 0), scene.detector.spread_px)
    return drawn * exposure.primary_share / (exposure.noise * np.sqrt(1 + 1 / scene.plan.mask_frames))


def test_what_is_called_artery_stands_out_of_the_noise_and_what_stands_out_is_called(run: Any) -> None:
    _, scene, exposure, truth = run
    ratio = peak_over_noise(scene, exposure, "arteries")
    lines = cv2.erode(truth.artery.astype(np.uint8), np.ones((2, 2))) > 0
    assert (ratio[lines] >= 1.5).mean() > 0.98
    called = cv2.dilate((truth.artery | truth.ignore).astype(np.uint8), np.ones((3, 3))) > 0
    assert called[ratio >= 6].mean() > 0.995


def test_veins_called_visible_stand_out_of_the_noise(run: Any) -> None:
    _, scene, exposure, truth = run
    ratio = np.max([peak_over_noise(scene, exposure, which) for which in ("portal", "hepatic", "tributaries")], axis=0)
    inner = cv2.erode(truth.vein.astype(np.uint8), np.ones((3, 3))) > 0
    assert inner.any()
    assert (ratio[inner] >= 2).mean() > 0.95


def test_arrival_grows_along_every_feeder(run: Any) -> None:
    _, _, _, truth = run
    assert any(tumour["feeders"] for tumour in truth.document["tumours"])
    for tumour in truth.document["tumours"]:
        for feeder in tumour["feeders"]:
            line = np.rint(np.array(feeder["centreline"][1:])).astype(int)
            times = truth.arrival_s[tuple(line.T)]
            # Where another vessel crosses, the earlier one is told: never later than the feeder's own.
            known = times[np.isfinite(times)]
            assert known[-1] >= known[0]


def test_every_artery_segment_is_reached_from_the_tip(run: Any) -> None:
    _, scene, _, _ = run
    before, turned = from_the_tip(scene)
    for k in range(0, len(before), 97):
        steps, node = 0, k
        while before[node] >= 0 and steps <= len(before):
            node, steps = int(before[node]), steps + 1
        assert steps <= len(before)
    courses = scene.courses("arteries")
    assert turned.sum() == len(courses.upstream(courses.last_of_node[scene.plan.catheter.tip_node]))


def test_a_catheter_beyond_the_fork_begins_the_feeder_at_its_tip() -> None:
    _, scene, _, truth = seen(settings(run={"catheter_orders": [4]}))
    tip = np.array(truth.document["catheter_tip"])
    assert any(tumour["feeders"] for tumour in truth.document["tumours"])
    for tumour in truth.document["tumours"]:
        for feeder in tumour["feeders"]:
            line = np.array(feeder["centreline"])
            np.testing.assert_allclose(line[0], tip, atol=0.01)
            assert np.linalg.norm(line - np.array(feeder["branch_start"]), axis=1).min() < 3
    assert scene.plan.catheter.order >= 3


def test_behind_blades_nothing_is_called() -> None:
    _, _, exposure, truth = seen(settings(collimations=[{"left": 0.3, "top": 0.1}]))
    hidden = ~exposure.open_area
    assert hidden[:, :70].all()
    for mask in (truth.artery, truth.vein, truth.catheter, *truth.tumours.values()):
        assert not mask[hidden].any()


def test_a_shunt_fills_its_vein_early_and_is_told() -> None:
    _, scene, _, truth = seen(settings(anatomy={"arterioportal_probability": 1.0, "shunt_flow_min_ml_s": 1.0}), seed=6)
    shunts = truth.document["shunts"] + truth.document["shunts_not_visible"]
    assert [s["kind"] for s in shunts] == ["arterioportal"]
    behind = behind_opening(scene, scene.anatomy.shunts[0])
    early = np.nanmin(scene.circulation.rise_s("portal")[np.isin(scene.courses("portal").edge, behind)])
    liver = next(bed for bed in scene.circulation.beds if bed.kind == "liver")
    assert early < np.nanmedian(liver.rise_s())


def test_unasked_the_truth_is_that_of_the_frame_of_most_arterial_contrast(run: Any) -> None:
    _, scene, exposure, truth = run
    again = tell_truth(scene, exposure, frame=truth.document["reference_frame"])
    assert again.document == truth.document
    np.testing.assert_array_equal(again.artery, truth.artery)


def test_the_truth_of_another_frame_is_drawn_where_the_vessels_stand_in_it(run: Any) -> None:
    _, scene, exposure, truth = run
    bulk_mm = np.zeros((len(scene.plan.times_s), 3))
    bulk_mm[2] = (0.0, 0.0, -20.0)
    moved = tell_truth(replace(scene, breathing=replace(scene.breathing, bulk_mm=bulk_mm)), exposure, frame=2)
    assert moved.document["reference_frame"] == 2
    down, across = np.subtract(moved.document["catheter_tip"], truth.document["catheter_tip"])
    assert down == pytest.approx(20.0 / scene.plan.carm.isocentre_pixel_mm, rel=0.1)
    assert across == pytest.approx(0, abs=1)
    # What lies nearer to the tube moves a little further than the tip.
    near = cv2.dilate(truth.artery.astype(np.uint8), np.ones((7, 7))) > 0
    assert np.roll(near, round(down), axis=0)[moved.artery].mean() > 0.97
    assert near[moved.artery].mean() < 0.8


def test_after_embolisation_contributions_are_those_of_the_flow_that_is_left(run: Any) -> None:
    _, before, _, truth = run
    told = [f["contribution"] for t in truth.document["tumours"] for f in t["feeders"] + t["faint_feeders"]]
    native = np.asarray(before.anatomy.arteries.flow)[list(before.anatomy.tumours[0].entries)]
    np.testing.assert_allclose(told, native / native.sum(), atol=1e-3)
    kept = np.ones(len(before.anatomy.arteries))
    last = before.anatomy.tumours[0].entries[-1]
    kept[last] = 0.0
    after = replace(before, circulation=circulated(before, kept))
    assert tumour_flow(after, 0)[last] == 0
    assert edge_flow(after)[last] == 0
    assert (
        edge_flow(after)[before.anatomy.arteries.parent[last]] < edge_flow(before)[before.anatomy.arteries.parent[last]]
    )


def circulated(scene: RunScene, kept: np.ndarray) -> Circulation:
    until_s = float(scene.plan.times_s[-1])
    return circulate(scene.anatomy, scene.vessels, scene.injection, scene.contrast, kept=kept, until_s=until_s)
