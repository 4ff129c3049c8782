"""Laws of the alignment: it finds rigid motion, does not see oil, and leaves aligned scans alone."""

from __future__ import annotations

import lipiodol_phantom as ph
import numpy as np
import pytest

from angio_pipeline.core.quality import Quality
from angio_pipeline.lipiodol.registration import RegistrationParams, align
from angio_pipeline.lipiodol.tissue import Tissue, TissueParams, survey

PARAMS = RegistrationParams()
SHAPE, SPACING = (44, 110, 132), (3.0, 2.2, 2.2)


def look(oil=ph.none, **options) -> Tissue:
    options = {"shape": SHAPE, "spacing": SPACING} | options
    return survey(ph.scan(oil, **options), params=TissueParams())


@pytest.fixture(scope="module")
def reference() -> Tissue:
    return look(ph.ball(140, 15), seed=1)


def error_mm(found: np.ndarray, truth: np.ndarray) -> float:
    points = ph.CENTRE + np.random.default_rng(0).uniform(-30, 30, (50, 3))
    moved = [points @ m[:3, :3].T + m[:3, 3] for m in (found, truth)]
    return float(np.linalg.norm(moved[0] - moved[1], axis=1).max())


@pytest.mark.parametrize(
    ("turn", "shift"), [((0, 0, 0), (3.3, -2.1, 4.7)), ((2, -3, 4), (6, -5, 8)), ((0, 0, -6), (-25, 18, 12))]
)
def test_a_rigid_motion_is_found_again(reference, turn, shift):
    motion = ph.rigid(turn, shift)
    found = align(reference, look(motion=motion, seed=2), params=PARAMS)
    assert error_mm(found.motion, motion) < 1.0
    assert found.quality == Quality.NONE


def test_washout_is_not_motion(reference):
    gone, kept = (align(reference, look(oil, seed=3), params=PARAMS) for oil in (ph.none, ph.ball(140, 15)))
    assert error_mm(gone.motion, np.eye(4)) < 0.3
    assert error_mm(gone.motion, kept.motion) < 0.3


def test_scans_that_agree_stay_as_they_are(reference):
    found = align(reference, reference, same_frame=True, params=PARAMS)
    np.testing.assert_array_equal(found.motion, np.eye(4))
    assert found.score == pytest.approx(1)


def test_a_scan_of_fewer_slices_is_placed_right(reference):
    grid = ph.affine(SPACING, (24, 110, 132), shift=(8, -6, 9))
    found = align(reference, look(grid=grid, shape=(24, 110, 132), seed=4), params=PARAMS)
    assert error_mm(found.motion, np.eye(4)) < 1.0


def test_another_thing_altogether_is_flagged(reference):
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 300, reference.hu.shape).astype(np.float32)
    nothing = np.zeros(noise.shape, dtype=bool)
    other = Tissue(noise, reference.affine, nothing, nothing, nothing, nothing, float("nan"))
    assert align(reference, other, params=PARAMS).quality == Quality.REGISTRATION_POOR
