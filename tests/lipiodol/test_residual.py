"""Living tumour beside oil, on the geometric abdomen in two phases."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import lipiodol_phantom as ph
import numpy as np
import pytest

from angio_pipeline.lipiodol import LipiodolParams, course, follow_lesions
from angio_pipeline.lipiodol.registration import Alignment
from angio_pipeline.lipiodol.residual import ResidualParams, find_phases
from angio_pipeline.lipiodol.scans import Scan, order_sources
from angio_pipeline.lipiodol.tissue import TissueParams, survey

pytestmark = pytest.mark.slow

SMALL = {"shape": (44, 100, 120), "spacing": (3.0, 2.4, 2.4)}
# Where nothing has moved, or as one body, no displacement is looked for.
RIGID = LipiodolParams(registration={"deformation": {"enabled": False}})
TAKEN = datetime(2024, 1, 29, 10)
LIVING = ph.beside(0, -6, 0)


def phase(minutes: float, aorta_hu: float, liver_hu: float, tumour_hu: float, seed: int, *, motion=None, kvp=120.0):
    """The abdomen with an enhanced aorta and liver, oil in the lesion, and a ball of living tumour in it."""

    def enhanced(p):
        x, y, _ = np.moveaxis(p, -1, 0)
        aorta = ((x - 12) ** 2 + (y - 30) ** 2) < 11**2
        out = np.where(aorta, 40 + aorta_hu - ph.anatomy(p), 0.0)
        out += np.where((ph.anatomy(p) == ph.LIVER_HU) & ~aorta, liver_hu, 0.0)
        lesion = np.linalg.norm(p - ph.CENTRE, axis=-1) < 14
        living = np.linalg.norm(p - LIVING, axis=-1) < 7
        return out - np.where(lesion, liver_hu + 15.0, 0.0) + np.where(living, tumour_hu + 15.0, 0.0)

    def oil(p):
        # Half of the lesion holds oil: the other one than the living part.
        return ph.ball(60, 6, centre=ph.beside(0, 7, 0))(p)

    made = ph.scan(oil, extra=enhanced, contrast=True, seed=seed, motion=motion, kvp=kvp, series=f"2.{seed}", **SMALL)
    return replace(made, source=replace(made.source, acquired=TAKEN + timedelta(minutes=minutes), date="20240129"))


def follow(*volumes, params=RIGID):
    given = [ph.roi(14, volumes[0])]
    return follow_lesions(volumes, given, [], [], treated=datetime(2024, 1, 1), params=params).lesions[0]


def compared(*volumes) -> bool:
    """Whether two scans that lie upon each other are taken for the phases of one injection."""
    order = order_sources([volume.source for volume in volumes], datetime(2024, 1, 1), None)
    scans = [
        Scan(volumes[k], days, baseline, True, survey(volumes[k], params=TissueParams()), Alignment(np.eye(4), 1.0))
        for k, days, baseline in order
    ]
    return bool(find_phases(scans, params=ResidualParams()))


def arterial(tumour_hu: float):
    return phase(0, 270, 14, tumour_hu, 1)


def portal(tumour_hu: float, minutes: float = 1, **options):
    return phase(minutes, 120, 54, tumour_hu, 2, **options)


def test_living_tumour_stands_out_and_oil_cancels():
    early, late = follow(arterial(72), portal(36)).timepoints
    assert late.residual is None
    told = early.residual
    assert 0.5 < told.living_ml < 1.6  # a ball of 7 mm holds 1.44 ml; at its edge noise hides it
    # Of the part 4 mm inside the outline.
    ball = np.random.default_rng(0).uniform(-10, 10, (20000, 3)) + ph.CENTRE
    ball = ball[np.linalg.norm(ball - ph.CENTRE, axis=1) < 10]
    share = float(np.mean(np.linalg.norm(ball - LIVING, axis=1) < 7))
    assert 0 < told.interval_hu[0] <= 36 * share <= told.interval_hu[1] < 25
    assert told.portal_series_instance_uid == late.source.series_instance_uid


def test_a_breath_between_the_phases_is_no_tumour():
    breath = ph.rigid((0, 0, 1), (1, -1, 4))
    told = follow(arterial(0), portal(0, motion=breath), params=LipiodolParams()).timepoints[0].residual
    assert told.living_ml == 0
    assert told.interval_hu[0] <= 0 <= told.interval_hu[1]


def test_an_arterial_and_a_portal_phase_of_one_injection_are_compared():
    assert compared(arterial(72), portal(36))


@pytest.mark.parametrize("minutes", [100, 24 * 60])
def test_phases_of_two_injections_are_not_compared(minutes):
    assert not compared(arterial(72), portal(36, minutes))


def test_of_phases_of_two_injections_nothing_is_told_of_what_lives():
    assert [point.residual for point in follow(arterial(72), portal(36, minutes=100)).timepoints] == [None, None]


def test_two_scans_of_one_phase_are_not_compared_and_nothing_is_told_of_what_lives():
    both = arterial(72), phase(1, 265, 16, 70, 2)
    assert not compared(*both)
    assert all(point.residual is None for point in follow(*both).timepoints)


@pytest.mark.parametrize("kvp", [100.0, None])
def test_phases_of_two_voltages_are_not_compared(kvp):
    # Oil of 300 HU at 120 kVp has 378 at 100: their difference is no tumour.
    assert not compared(arterial(72), portal(36, kvp=kvp))


def test_edges_that_lie_further_apart_ask_for_more_evidence(monkeypatch):
    sharp = follow(arterial(72), portal(36)).timepoints[0].residual
    place_scans = course.place_scans

    def poorly_aligned(*args, **options):
        scans, reference = place_scans(*args, **options)
        return [replace(s, alignment=replace(s.alignment, edge_gap_mm=(3.0, 3.0))) for s in scans], reference

    monkeypatch.setattr(course, "place_scans", poorly_aligned)
    assert follow(arterial(72), portal(36)).timepoints[0].residual.living_ml < 0.7 * sharp.living_ml
