"""Oil outside the lesions, on the geometric abdomen."""

from __future__ import annotations

from datetime import datetime

import lipiodol_phantom as ph
import numpy as np
import pytest

from angio_pipeline.core.followups import OilPlace
from angio_pipeline.lipiodol import LipiodolParams, follow_lesions

pytestmark = pytest.mark.slow

# The body has moved as one: no displacement is looked for.
PARAMS = LipiodolParams(registration={"deformation": {"enabled": False}})
WITH_AND_WITHOUT_DISPLACEMENT = pytest.mark.parametrize("params", [PARAMS, LipiodolParams()], ids=["rigid", "default"])
SMALL = {"shape": (44, 100, 120), "spacing": (3.0, 2.4, 2.4)}
# In the spleen, in the lung's base, in the liver far from the lesion.
SPLEEN, LUNG, LIVER = np.array([75.0, 30.0, -10.0]), np.array([60.0, 5.0, 45.0]), np.array([-75.0, 5.0, 30.0])
GALLBLADDER, BOWEL = np.array([-30.0, -68.0, -10.0]), np.array([55.0, -50.0, -15.0])
BREATH = ph.rigid((0, 0, 2), (3, -2, 6))


def follow(after, *others, params=PARAMS):
    given = [ph.roi(14, after)]
    return follow_lesions([after, *others], given, [], [], treated=datetime(2024, 1, 1), params=params).stray_oil


def pieces(after, *others, params=PARAMS):
    (search,) = follow(after, *others, params=params)
    return search.pieces


def before(**options):
    return ph.scan(ph.none, date="20231228", seed=5, **(SMALL | options))


def after(*strays, **options):
    def oil(p):
        return ph.ball(150, 14)(p) + sum(stray(p) for stray in strays)

    return ph.scan(oil, seed=6, **(SMALL | {"motion": BREATH} | options))


def gallbladder(p):
    """Water beside the liver, below its edge."""
    near = np.linalg.norm((p - GALLBLADDER) / np.array([1.0, 1.0, 1.3]), axis=-1) < 14
    return np.where(near, 12.0 - ph.anatomy(p), 0.0)


def bowel(p):
    """A loop with gas in it, left and in front."""
    distance = np.linalg.norm(p - BOWEL, axis=-1)
    return np.where(distance < 9, -700.0 - ph.anatomy(p), np.where(distance < 16, 40.0 - ph.anatomy(p), 0.0))


@pytest.mark.parametrize(
    ("at", "mg", "extra", "place"),
    [
        (SPLEEN, 30, ph.none, OilPlace.SPLEEN),
        # In air much oil is needed to be brighter than soft tissue.
        (LUNG, 60, ph.none, OilPlace.LUNG),
        (LIVER, 30, ph.none, OilPlace.LIVER),
        (GALLBLADDER, 40, gallbladder, OilPlace.GALLBLADDER),
        (BOWEL + np.array([0.0, 13.0, 0.0]), 40, bowel, OilPlace.STOMACH_OR_BOWEL),
    ],
)
def test_oil_elsewhere_has_place_and_amount(at, mg, extra, place):
    found = pieces(after(ph.ball(mg, 6, centre=at), extra=extra), before(extra=extra))
    assert [oil.place for oil in found] == [place]
    moved = BREATH[:3, :3] @ at + BREATH[:3, 3]
    assert np.linalg.norm(np.array(found[0].centroid_mm) - moved) < 5
    assert found[0].iodine_mg == pytest.approx(mg, rel=0.25)


@WITH_AND_WITHOUT_DISPLACEMENT
def test_two_pieces_side_by_side_share_no_oil(params):
    strays = (ph.ball(30, 5, centre=SPLEEN + np.array([0.0, 0.0, d])) for d in (-9, 9))
    both = pieces(after(*strays), before(), params=params)
    assert sum(oil.iodine_mg for oil in both) == pytest.approx(60, rel=0.2)


def test_without_a_scan_before_treatment_a_later_one_shows_what_has_left():
    (search,) = follow(after(ph.ball(30, 6, centre=SPLEEN)), ph.scan(ph.none, date="20240301", seed=7, **SMALL))
    assert not search.before_treatment
    assert [oil.place for oil in search.pieces] == [OilPlace.SPLEEN]


def test_an_assumed_voltage_widens_the_interval():
    known, assumed = (pieces(after(ph.ball(30, 6, centre=SPLEEN), kvp=kvp), before())[0] for kvp in (120.0, None))
    widths = [high - low for low, high in (known.iodine_mg_interval, assumed.iodine_mg_interval)]
    assert widths[1] > 1.2 * widths[0]


@WITH_AND_WITHOUT_DISPLACEMENT
def test_bone_and_the_lesion_itself_are_not_elsewhere(params):
    assert pieces(after(), before(), params=params) == ()


def test_bone_at_another_voltage_is_not_new():
    # Calcium gains at low voltage as iodine does: bone of 450 HU is brighter by a third there.
    def bone(p):
        hu = ph.anatomy(p)
        return np.where(hu > 150, 0.3 * hu, 0.0)

    assert pieces(after(extra=bone), before()) == ()


def test_what_was_bright_before_treatment_is_no_oil():
    def stone(p):
        return np.where(np.linalg.norm(p - SPLEEN, axis=-1) < 6, 300.0, 0.0)

    assert pieces(after(extra=stone), before(extra=stone)) == ()


def test_without_another_scan_nothing_is_said():
    assert follow(after(ph.ball(30, 6, centre=SPLEEN))) == ()
