"""Oil outside the lesions, on the geometric abdomen."""

from __future__ import annotations

from datetime import datetime

import lipiodol_phantom as ph
import numpy as np
import pytest

from angio_pipeline.core.followups import OilPlace
from angio_pipeline.lipiodol import LipiodolParams, follow_lesions

PARAMS = LipiodolParams()
SMALL = {"shape": (44, 100, 120), "spacing": (3.0, 2.4, 2.4)}
# In the spleen, in the lung's base, in the liver far from the lesion.
SPLEEN, LUNG, LIVER = np.array([75.0, 30.0, -10.0]), np.array([60.0, 5.0, 45.0]), np.array([-75.0, 5.0, 30.0])
BREATH = ph.rigid((0, 0, 2), (3, -2, 6))


def follow(after, before=None):
    volumes = [after] if before is None else [before, after]
    given = [ph.roi(14, after)]
    return follow_lesions(volumes, given, [], [], treated=datetime(2024, 1, 1), params=PARAMS).stray_oil


def before(**options):
    return ph.scan(ph.none, date="20231228", seed=5, **(SMALL | options))


def after(*strays, **options):
    def oil(p):
        return ph.ball(150, 14)(p) + sum(stray(p) for stray in strays)

    return ph.scan(oil, seed=6, **(SMALL | {"motion": BREATH} | options))


@pytest.mark.parametrize(
    ("at", "mg", "place"),
    # In air much oil is needed to be brighter than soft tissue.
    [(SPLEEN, 30, OilPlace.SPLEEN), (LUNG, 60, OilPlace.LUNG), (LIVER, 30, OilPlace.LIVER)],
)
def test_oil_elsewhere_has_place_and_amount(at, mg, place):
    found = follow(after(ph.ball(mg, 6, centre=at)), before())
    assert [oil.place for oil in found] == [place]
    moved = BREATH[:3, :3] @ at + BREATH[:3, 3]
    assert np.linalg.norm(np.array(found[0].centroid_mm) - moved) < 4
    assert found[0].iodine_mg == pytest.approx(mg, rel=0.2)
    assert found[0].iodine_mg_interval[0] <= mg <= found[0].iodine_mg_interval[1]


def test_bone_and_the_lesion_itself_are_not_elsewhere():
    assert follow(after(), before()) == ()


def test_bone_at_another_voltage_is_not_new():
    # Calcium gains at low voltage as iodine does: bone of 450 HU is brighter by a third there.
    def bone(p):
        hu = ph.anatomy(p)
        return np.where(hu > 150, 0.3 * hu, 0.0)

    assert follow(after(extra=bone), before()) == ()


def test_what_was_bright_before_treatment_is_no_oil():
    def stone(p):
        return np.where(np.linalg.norm(p - SPLEEN, axis=-1) < 6, 300.0, 0.0)

    assert follow(after(extra=stone), before(extra=stone)) == ()


def test_without_another_scan_nothing_is_said():
    assert follow(after(ph.ball(30, 6, centre=SPLEEN))) is None
