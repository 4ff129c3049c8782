"""Shunts on a drawn liver: an early vein beside an artery is one, the same far from all arteries is not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.runs import Background, SubtractedRun
from angio_pipeline.core.tumours import Shunt
from angio_pipeline.core.vessels import VesselSegmentation
from angio_pipeline.perfusion import PerfusionParams, measure
from angio_pipeline.tumour import ShuntParams, find_shunts
from angio_pipeline.vessels import GraphParams, build_graph

TIMES = np.concatenate([np.arange(14) / 3, 14 / 3 + np.arange(6)])
BOLUS = np.clip((TIMES - 1.0) / 0.6, 0, 1) * np.clip((4.9 - TIMES) / 0.8, 0, 1)
TISSUE = np.clip((TIMES - 2.0) / 5.0, 0, 1)


def _line(ends: tuple[tuple[int, int], tuple[int, int]], width: int) -> np.ndarray:
    big = np.zeros((1024, 1024), np.float32)
    (r0, c0), (r1, c1) = ends
    cv2.line(big, (c0 * 4, r0 * 4), (c1 * 4, r1 * 4), 1.0, width * 4)
    return cv2.resize(big, (256, 256), interpolation=cv2.INTER_AREA)


def _shunts(vein: np.ndarray) -> int:
    rng = np.random.default_rng(2)
    artery = _line(((240, 128), (90, 128)), 5)
    liver = cv2.GaussianBlur(cv2.circle(np.zeros((256, 256), np.float32), (110, 150), 80, 1.0, -1), (0, 0), 4)
    parts = [(0.4 * artery, BOLUS), (0.1 * liver, TISSUE), (0.35 * vein, BOLUS)]
    drawn = sum(course[:, None, None] * picture for picture, course in parts)
    frames = (drawn + 0.002 * rng.standard_normal(drawn.shape)).astype(np.float32)
    still = np.zeros((256, 256), np.float32)
    sub = SubtractedRun(
        frames=frames, times_s=TIMES, valid=np.ones((256, 256), np.bool_), usable=np.ones(len(TIMES), np.bool_),
        background=Background.MASK, mask_frames=(0, 1), reference_frame=8, motion_px=np.zeros((len(TIMES), 2)),
        residual_before=0.002, residual_after=0.002, noise_sd=0.002, uncorrected=still, attenuation=still,
        source=Source("1.2.3", "1.2"),
    )  # fmt: skip
    vessels = VesselSegmentation(artery, artery > 0.5)
    maps = measure(sub, params=PerfusionParams())
    graph, tip = build_graph(vessels, sub, maps, params=GraphParams())
    return len(find_shunts(sub, maps, vessels, graph, (), tip=tip, params=ShuntParams())[0])


def test_a_wide_vein_that_fills_with_the_artery_beside_it_is_a_shunt() -> None:
    assert _shunts(_line(((120, 140), (60, 200)), 9)) == 1


def test_the_same_far_from_every_artery_has_moved_and_is_none() -> None:
    assert _shunts(_line(((20, 190), (60, 245)), 9)) == 0
    assert _shunts(np.zeros((256, 256), np.float32)) == 0


def _told(vein: np.ndarray, artery: np.ndarray, frames: np.ndarray) -> tuple[Shunt, ...]:
    still = np.zeros(frames.shape[1:], np.float32)
    sub = SubtractedRun(
        frames=frames, times_s=TIMES, valid=np.ones(still.shape, np.bool_), usable=np.ones(len(TIMES), np.bool_),
        background=Background.MASK, mask_frames=(0, 1), reference_frame=8, motion_px=np.zeros((len(TIMES), 2)),
        residual_before=0.002, residual_after=0.002, noise_sd=0.002, uncorrected=still, attenuation=still,
        source=Source("1.2.3", "1.2"),
    )  # fmt: skip
    vessels = VesselSegmentation(artery, artery > 0.5, vein=vein > 0.5, vein_probability=vein, method="network")
    maps = measure(sub, params=PerfusionParams())
    graph, tip = build_graph(vessels, sub, maps, params=GraphParams())
    return find_shunts(sub, maps, vessels, graph, (), tip=tip, params=ShuntParams())[0]


LATE = np.clip((TIMES - 5.0) / 2.0, 0, 1)


def _veins(early: bool, late: float = 0.3) -> tuple[Shunt, ...]:
    """Return the shunts of a wide vein with a narrow artery upon it; `late` is how full tissue makes it again."""
    rng = np.random.default_rng(3)
    artery, vein = _line(((240, 128), (40, 128)), 5), _line(((150, 130), (60, 130)), 17)
    course = np.maximum(BOLUS, late * LATE) if early else LATE
    drawn = 0.4 * BOLUS[:, None, None] * artery + 0.25 * course[:, None, None] * vein
    frames = (drawn + 0.002 * rng.standard_normal(drawn.shape)).astype(np.float32)
    return _told(vein, artery, frames)


def test_a_told_vein_that_fills_from_wall_to_wall_with_the_arteries_is_a_shunt_and_lies_in_it() -> None:
    (found,) = _veins(early=True)
    assert found.probability > 0.6
    assert 55 <= found.row <= 155
    assert abs(found.col - 130) < 8


@pytest.mark.xfail(strict=True, reason="what stays late speaks against a shunt, whatever came early")
def test_a_vein_that_tissue_fills_again_as_strongly_is_still_a_shunt() -> None:
    assert _veins(early=True, late=1.0)


def test_an_artery_upon_a_vein_that_fills_later_is_none() -> None:
    assert _veins(early=False) == ()
