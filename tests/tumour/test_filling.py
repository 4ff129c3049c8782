"""How contrast fills a course: measured on drawn vessels whose contrast, breadth and times are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.runs import Background, SubtractedRun
from angio_pipeline.core.tumours import ShuntKind
from angio_pipeline.core.vessels import Branch, VesselGraph, VesselSegmentation
from angio_pipeline.perfusion import PerfusionParams, measure
from angio_pipeline.tumour.courses import Course, branch_courses
from angio_pipeline.tumour.early_veins import EarlyVeinParams, drainages, early_veins
from angio_pipeline.tumour.filling import Filling, features, measure_filling

TIMES = np.concatenate([np.arange(14) / 3, 14 / 3 + np.arange(6)])
SIZE = 512


def _bolus(delay_s: float) -> np.ndarray:
    return np.clip((TIMES - 1.0 - delay_s) / 0.6, 0, 1) * np.clip((4.4 - TIMES + delay_s) / 0.8, 0, 1)


def _tube(col: int, radius: float, rows: tuple[int, int] = (60, 460)) -> np.ndarray:
    """Return the chord through an upright tube, in pixels."""
    across = np.sqrt(np.maximum(radius**2 - (np.arange(SIZE) - col) ** 2, 0.0))
    picture = np.zeros((SIZE, SIZE), np.float32)
    picture[rows[0] : rows[1]] = 2 * across
    return cv2.GaussianBlur(picture, (0, 0), 0.7)


def _branch(number: int, col: int, radius: float) -> Branch:
    line = np.stack([np.arange(450.0, 70.0, -1.0), np.full(380, float(col))], axis=1)
    return Branch(number, 2 * number, 2 * number + 1, line, np.full(380, radius), np.full(380, np.nan))


def _filling(dense: float, delay_s: float) -> Filling:
    """Return how an artery fills, and a second branch of three times its breadth."""
    artery, other = 0.05 * _tube(150, 3.0), 0.05 * dense * _tube(350, 9.0)
    drawn = _bolus(0.0)[:, None, None] * artery + _bolus(delay_s)[:, None, None] * other
    rng = np.random.default_rng(5)
    frames = (drawn + 0.002 * rng.standard_normal(drawn.shape)).astype(np.float32)
    sub = _subtracted(frames)
    branches = (_branch(0, 150, 3.0), _branch(1, 350, 9.0))
    nodes = np.array([[450.0, 150.0], [71.0, 150.0], [450.0, 350.0], [71.0, 350.0]])
    graph = VesselGraph(nodes, branches, 0)
    # The second is told as vein: it is not what others are measured against.
    vein = (_tube(350, 9.0) > 1).astype(np.float32)
    vessels = VesselSegmentation((artery > 0.05).astype(np.float32), artery > 0.05, vein_probability=vein)
    maps = measure(sub, params=PerfusionParams())
    filling = measure_filling(branch_courses(graph, 1), sub, maps, vessels, graph, 1, early_s=(0.6, 1.7))
    assert filling is not None
    return filling


def _subtracted(frames: np.ndarray) -> SubtractedRun:
    still = np.zeros(frames.shape[1:], np.float32)
    return SubtractedRun(
        frames=frames, times_s=TIMES, valid=np.ones(still.shape, np.bool_), usable=np.ones(len(TIMES), np.bool_),
        background=Background.MASK, mask_frames=(0, 1), reference_frame=8, motion_px=np.zeros((len(TIMES), 2)),
        residual_before=0.002, residual_after=0.002, noise_sd=0.002, uncorrected=still, attenuation=still,
        source=Source("1.2.3", "1.2"),
    )  # fmt: skip


@pytest.mark.parametrize("dense", [0.2, 0.5])
def test_density_is_the_blood_s_own_share_of_contrast_whatever_the_breadth(dense: float) -> None:
    assert _filling(dense, 0.0).evidence[1]["density"] == pytest.approx(dense, rel=0.15)


@pytest.mark.parametrize("delay_s", [0.0, 0.5, 0.8])
def test_a_delay_of_the_bolus_is_measured_as_it_is(delay_s: float) -> None:
    assert _filling(0.4, delay_s).evidence[1]["arrival_s"] == pytest.approx(delay_s, abs=0.1)


@pytest.mark.slow
def test_the_mean_time_of_contrast_grows_with_its_delay() -> None:
    none, some, more = (_filling(0.4, delay_s).evidence[1]["passage_s"] for delay_s in (0.0, 0.5, 0.8))
    assert none == pytest.approx(0.0, abs=0.05)
    assert 0.15 < some < more < 0.8


def test_what_is_not_known_of_a_told_vein_is_nan_and_all_else_is_finite() -> None:
    evidence = dict(_filling(0.4, 0.5).evidence[1])
    assert all(np.isfinite(list(features(evidence).values())))
    unknown = features(evidence | {"over_parent": float("nan"), "supply": float("nan")})
    assert {name for name, value in unknown.items() if np.isnan(value)} == {"over_parent", "supply"}


def _lines(*cols: int) -> tuple[list[Course], Filling]:
    courses = [
        Course(np.stack([np.arange(40.0), np.full(40, float(col))], axis=1), np.full(40, 4.0), k)
        for k, col in enumerate(cols)
    ]
    seen = {"contrast_in_noise": 20.0, "radius_px": 4.0, "vein": 0.5}
    return courses, Filling(tuple(seen for _ in cols), np.zeros(len(cols)))


def test_likely_courses_that_lie_together_are_one_drainage_and_their_lengths_add_up() -> None:
    courses, filling = _lines(100, 110, 120, 300)
    found = drainages(courses, filling, np.array([0.5, 1.0, 0.5, 1.0]), params=EarlyVeinParams(), scale=1.0)
    assert [one.pieces for one in found] == [(0, 1, 2), (3,)]
    assert [one.evidence["length_px"] for one in found] == pytest.approx([80.0, 40.0])


def test_unlikely_courses_and_those_in_noise_join_nothing() -> None:
    courses, filling = _lines(100, 110, 120)
    likely = np.array([1.0, 0.05, 1.0])
    found = drainages(courses, filling, likely, params=EarlyVeinParams(), scale=1.0)
    assert sorted(one.pieces for one in found) == [(0,), (2,)]
    faint = Filling(tuple({**one, "contrast_in_noise": 1.0} for one in filling.evidence), filling.arrival_s)
    assert drainages(courses, faint, likely, params=EarlyVeinParams(), scale=1.0) == []


def _shunted(delay_s: float, scale: int = 1) -> tuple[float, ShuntKind, float, float] | None:
    """Return what is told of a wide told vein of thin blood that begins in a narrow artery's course."""
    artery, vein = 0.08 * _tube(250, 2.5), 0.012 * _tube(262, 11.0, (60, 330))
    drawn = _bolus(0.0)[:, None, None] * artery + _bolus(delay_s)[:, None, None] * vein
    rng = np.random.default_rng(6)
    drawn = np.kron(drawn, np.ones((1, scale, scale))) if scale > 1 else drawn
    frames = (drawn + 0.002 * rng.standard_normal(drawn.shape)).astype(np.float32)
    sub = _subtracted(frames)
    big = np.ones((scale, scale))
    told = np.kron(_tube(262, 11.0, (60, 330)) > 2, big).astype(np.float32)
    tree = np.kron(artery > 0.05, big) > 0
    line = scale * np.stack([np.arange(450.0, 70.0, -1.0 / scale), np.full(380 * scale, 250.0)], axis=1)
    branch = Branch(0, 0, 1, line, np.full(len(line), 2.5 * scale), np.full(len(line), np.nan))
    graph = VesselGraph(line[[0, -1]], (branch,), 0)
    vessels = VesselSegmentation(tree.astype(np.float32), tree, vein_probability=told)
    maps = measure(sub, params=PerfusionParams())
    found = early_veins(sub, maps, vessels, graph, params=EarlyVeinParams())
    return (found[0].probability, found[0].kind, found[0].row, found[0].col) if found else None


@pytest.mark.slow
def test_a_frame_of_twice_the_size_tells_the_same() -> None:
    small, large = _shunted(0.4), _shunted(0.4, scale=2)
    assert small is not None
    assert large is not None
    assert small[0] > 0.5
    assert large[0] == pytest.approx(small[0], abs=0.1)
    # All of the vein fills at once: it may stand anywhere in it.
    for _, _, row, col in (small, (*large[:2], large[2] / 2, large[3] / 2)):
        assert 55 <= row <= 335
        assert abs(col - 262) < 13


def test_a_vein_that_fills_when_tissue_has_is_no_shunt() -> None:
    late = _shunted(4.0)
    assert late is None or late[0] < 0.5
