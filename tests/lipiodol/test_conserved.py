"""Retention stays what it is under motion, bending and other voxels: amounts are summed in each scan's own space."""

from __future__ import annotations

from datetime import datetime

import lipiodol_phantom as ph
import numpy as np
import pytest

from angio_pipeline.lipiodol import LipiodolParams, follow_lesions

pytestmark = pytest.mark.slow

PARAMS = LipiodolParams(mass={"offset_hu": 0.0, "offset_sd_hu": 4.0}, views={"side_px": 16})
SMALL = {"shape": (40, 100, 120), "spacing": (3.0, 2.4, 2.4), "noise_hu": 4.0}
KEPT = 0.4


@pytest.fixture(scope="module")
def early():
    return ph.scan(ph.ball(150, 14), date="20240102", seed=1, **SMALL)


def retention(early, late) -> float:
    result = follow_lesions([early, late], [ph.roi(14, early)], [], [], treated=datetime(2024, 1, 1), params=PARAMS)
    return result.lesions[0].timepoints[1].retention


@pytest.mark.parametrize(
    "changed",
    [
        {"motion": ph.rigid((2, -3, 4), (9, -6, 11))},
        {"shape": (24, 85, 100), "spacing": (5.0, 2.8, 2.8)},
    ],
    ids=["rigid motion", "other voxels"],
)
def test_retention_does_not_change_by(early, changed):
    late = ph.scan(ph.ball(KEPT * 150, 14), date="20240201", seed=2, **(SMALL | changed))
    assert retention(early, late) == pytest.approx(KEPT, rel=0.04)


def test_retention_does_not_change_when_tissue_swells(early):
    # The liver's points have gone apart by a tenth along the body, the oil with them: its mass is the same.
    swollen, stretch = dict(SMALL), 1.1
    mass = ph.ball(KEPT * 150, 14)

    def oil(points: np.ndarray) -> np.ndarray:
        return mass(points) / stretch

    grid = ph.affine(SMALL["spacing"], SMALL["shape"])
    seen = ph.scan(oil, date="20240201", seed=2, grid=grid, **swollen)
    # The same numbers a tenth further apart are the swollen body.
    grid = grid.copy()
    grid[2] *= stretch
    late = type(seen)(seen.hu, grid, seen.source, kvp=seen.kvp)
    assert retention(early, late) == pytest.approx(KEPT, rel=0.06)
