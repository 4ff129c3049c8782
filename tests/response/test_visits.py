"""From scans of a ball of tumour in liver to what every criterion sees of it; truth is the ball's geometry."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from scipy import ndimage

from angio_pipeline.core.followups import VolumeRoi
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.readings import Reading, Statement
from angio_pipeline.core.response import Call, Histology, LesionRole, LesionSight, OilConvention, OutlineOrigin
from angio_pipeline.core.response import ReferenceStandard as Standard
from angio_pipeline.response import ResponseParams, judge_response
from angio_pipeline.response.outline import OutlineParams, fit_outline

SPACING = (2.0, 1.0, 1.0)
SHAPE = (34, 64, 64)
PLAIN_LIVER, ARTERIAL_LIVER = 58.0, 72.0
TISSUE, NECROTIC, OIL = OilConvention.TISSUE, OilConvention.OIL_NECROTIC, OilConvention.OIL_ENHANCING


def grid():
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, SPACING[2]], [0, SPACING[1], 0], [SPACING[0], 0, 0]]
    return affine


def distance(centre=(0.0, 0.0, 0.0)):
    """Distance in mm from a point (x, y, z) of the middle of the scan."""
    z, y, x = np.meshgrid(
        *[(np.arange(n) - (n - 1) / 2) * s for n, s in zip(SHAPE, SPACING, strict=True)], indexing="ij"
    )
    return np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)


def ball(mm, centre=(0.0, 0.0, 0.0)):
    return distance(centre) <= mm


def sight(day, *, tumour, alive=None, oil=None, arterial=False, carried=None, name="L1", noise=3.0, series=None):
    """One scan: living tumour enhances, dead tumour does not, oil adds 400 HU."""
    alive = tumour if alive is None else alive
    hu = np.full(SHAPE, ARTERIAL_LIVER if arterial else PLAIN_LIVER)
    hu[tumour] = 36.0
    hu[alive] = 118.0 if arterial else 46.0
    hu[oil if oil is not None else np.zeros(SHAPE, bool)] += 400.0
    hu = ndimage.gaussian_filter(hu, 0.6 / np.array(SPACING))
    hu += np.random.default_rng(int(day) + 100 * arterial + 7).normal(0, noise, SHAPE)
    when = datetime(2024, 3, 4) + timedelta(days=day)
    series = series or f"1.{int(day) + 50}.{int(arterial)}"
    found = np.zeros(SHAPE, bool) if oil is None else oil
    return LesionSight(
        name, Source("1", series, date=f"{when:%Y%m%d}", acquired=when), day, day < 0, arterial,
        ARTERIAL_LIVER if arterial else PLAIN_LIVER, hu.astype(np.float32), grid(),
        tumour if carried is None else carried, None if arterial else found, f"9.{int(day) + 50}",
    )  # fmt: skip


def drawn(mask, day, name="L1"):
    return VolumeRoi(name, mask, grid(), f"1.{int(day) + 50}.0", f"9.{int(day) + 50}")


def judged(sights, rois, **more):
    return judge_response(sights, rois, params=ResponseParams(), **more)


def call_of(result, name, k=0):
    return next(call for call in result.dates[k].calls if call.name == name)


@pytest.fixture(scope="module")
def treated():
    """A ball of 12 mm, one half of it dead and covered by oil four weeks later, drawn on both dates."""
    whole = ball(12)
    x = np.arange(SHAPE[2]) - (SHAPE[2] - 1) / 2
    half = whole & (x > 0)
    sights = [
        sight(-3.0, tumour=whole),
        sight(-3.0, tumour=whole, arterial=True),
        sight(28.0, tumour=whole, alive=half, oil=whole & ~half),
        sight(28.0, tumour=whole, alive=half, oil=whole & ~half, arterial=True),
    ]
    return judged(sights, [drawn(whole, -3.0), drawn(whole, 28.0)])


def test_a_drawn_lesion_is_as_large_as_it_is(treated):
    before, after = treated.lesions[0].dates
    assert before.outline is after.outline is OutlineOrigin.DRAWN
    assert before.whole.longest_mm == pytest.approx(24, abs=1)
    assert before.whole.volume_ml == pytest.approx(4 / 3 * np.pi * 12**3 / 1000, rel=0.02)


def test_what_enhances_is_told_through_the_oil_and_by_both_conventions(treated):
    before, after = treated.lesions[0].dates
    assert before.viable[TISSUE].volume_ml == pytest.approx(before.whole.volume_ml, rel=0.15)
    assert after.viable[TISSUE].volume_ml == pytest.approx(after.whole.volume_ml / 2, rel=0.15)
    assert after.viable[NECROTIC].volume_ml == pytest.approx(after.whole.volume_ml / 2, rel=0.15)
    assert after.viable[OIL].volume_ml == pytest.approx(after.whole.volume_ml, rel=0.15)
    assert after.viable_by == "arterial minus plain"
    assert after.threshold_hu >= 20.0


def test_half_dead_is_stable_by_size_and_half_necrotic_by_effect(treated):
    assert call_of(treated, "recist").call is Call.SD
    assert call_of(treated, "easl/tissue").call in (Call.PR, Call.SD)
    assert call_of(treated, "qeasl/oil_enhancing").call is Call.SD
    assert call_of(treated, "recicl/oil_enhancing").call is Call.TE2
    choi = call_of(treated, "choi")
    assert (choi.call, choi.density_valid) == (Call.SD, False)


def test_necrosis_is_measured_beside_the_oil_that_covers_it(treated):
    found = treated.lesions[0].dates[1].necrosis
    assert found.non_enhancing_ml + found.enhancing_ml == pytest.approx(treated.lesions[0].dates[1].whole.volume_ml)
    assert found.covered_ml == pytest.approx(treated.lesions[0].dates[1].whole.volume_ml / 2, rel=0.1)
    assert found.rim_ml == pytest.approx(4 / 3 * np.pi * (12**3 - 7**3) / 1000, rel=0.12)
    assert found.necrotic_percent[TISSUE] == pytest.approx(50, abs=8)


def test_histology_is_the_reference_standard_where_there_is_some(treated):
    assert treated.necrosis[0].standard is Standard.IMAGING
    sights = [sight(-3.0, tumour=ball(12)), sight(28.0, tumour=ball(12))]
    rois = [drawn(ball(12), -3.0), drawn(ball(12), 28.0)]
    told = judged(sights, rois, histology=[Histology(97.0, role=LesionRole.MAIN)]).necrosis
    assert (told[0].standard, told[0].percent, told[0].imaging_percent) == (Standard.HISTOLOGY, 97.0, None)


def test_a_reader_may_call_a_lesion_gone_that_was_not_drawn_again():
    sights = [sight(-3.0, tumour=ball(12)), sight(28.0, tumour=ball(0), carried=ball(12))]
    day = sights[1].source.date
    said = [Reading(day, "L1", Statement.GONE, row=1), Reading(day, "L7", Statement.GONE, row=2)]
    result = judged(sights, [drawn(ball(12), -3.0)], readings=said)
    assert call_of(result, "recist").call is Call.CR
    assert call_of(result, "recist").sentence.endswith(f"By a reader: L1 gone on {day}.")
    assert [one.reading.row for one in result.unused] == [2]
    assert [one.reading.row for one in judged([], [], readings=said).unused] == [1, 2]


def test_without_an_arterial_phase_nothing_is_said_of_enhancement():
    sights = [sight(-3.0, tumour=ball(12), arterial=True), sight(28.0, tumour=ball(9), carried=ball(12))]
    sights.insert(1, sight(-3.0, tumour=ball(12)))
    result = judged(sights, [drawn(ball(12), -3.0), drawn(ball(9), 28.0)])
    after = result.lesions[0].dates[1]
    assert after.viable == {}
    assert after.necrosis.necrotic_percent == {}
    assert call_of(result, "mrecist/tissue").call is Call.NE
    assert "arterial phase" in call_of(result, "mrecist/tissue").sentence
    assert call_of(result, "who").call is Call.SD


def test_an_arterial_scan_alone_after_treatment_cannot_tell_oil_from_tumour():
    sights = [
        sight(-3.0, tumour=ball(12)),
        sight(-3.0, tumour=ball(12), arterial=True),
        sight(28.0, tumour=ball(12), arterial=True),
    ]
    after = judged(sights, [drawn(ball(12), -3.0)]).lesions[0].dates[1]
    assert (after.viable, after.holds_oil) == ({}, None)
    assert "plain scan" in after.viable_missing


def test_a_shrunken_lesion_is_measured_where_nobody_drew_it():
    sights = [sight(-3.0, tumour=ball(12)), sight(28.0, tumour=ball(9, (1.5, 0, 0)), carried=ball(12))]
    after = judged(sights, [drawn(ball(12), -3.0)]).lesions[0].dates[1]
    assert after.outline is OutlineOrigin.FITTED
    assert after.whole.longest_mm == pytest.approx(18, abs=1.5)


@pytest.mark.parametrize(("radius", "shift"), [(12, 0.0), (10, 3.0), (14, -2.0), (8, 1.0)])
def test_an_outline_finds_the_edge_it_was_moved_and_grown_from(radius, shift):
    seen = sight(28.0, tumour=ball(radius, (shift, 0, 0)), arterial=True)
    found = fit_outline(seen.hu, seen.affine, ball(12), ARTERIAL_LIVER, params=OutlineParams())
    assert found.growth_mm == pytest.approx(radius - 12, abs=0.9)
    assert found.shift_mm[0] == pytest.approx(shift, abs=1.5)


def test_no_outline_is_told_where_there_is_no_edge():
    seen = sight(28.0, tumour=np.zeros(SHAPE, bool), arterial=True, carried=ball(12))
    assert fit_outline(seen.hu, seen.affine, ball(12), ARTERIAL_LIVER, params=OutlineParams()) is None


def test_a_lesion_in_two_pieces_is_one_lesion_with_the_sum_of_them():
    pieces = ball(5, (-7, 0, 0)) | ball(4, (6, 0, 0))
    sights = [sight(-3.0, tumour=ball(12)), sight(28.0, tumour=pieces, carried=ball(12))]
    rois = [drawn(ball(12), -3.0), drawn(ball(5, (-7, 0, 0)), 28.0, "A"), drawn(ball(4, (6, 0, 0)), 28.0, "B")]
    after = judged(sights, rois).lesions[0].dates[1]
    assert after.pieces == 2
    assert after.whole.longest_mm == pytest.approx(18, abs=1.5)


def test_one_region_over_two_lesions_is_one_lesion_that_they_have_become():
    first, second, both = ball(8, (-9, 0, 0)), ball(7, (7, 0, 0)), ball(8, (-9, 0, 0)) | ball(9, (5, 0, 0))
    sights = [sight(day, tumour=first | second if day < 0 else both, carried=own, name=name)
              for day in (-3.0, 28.0) for name, own in (("L1", first), ("L2", second))]  # fmt: skip
    rois = [drawn(first, -3.0, "L1"), drawn(second, -3.0, "L2"), drawn(both, 28.0, "L1")]
    result = judged(sights, rois)
    assert {lesion.id: lesion.dates[1].merged_into for lesion in result.lesions} == {"L1": None, "L2": "L1"}
    call = call_of(result, "recist")
    assert call.value == pytest.approx(31, abs=1.5)


def test_a_lesion_drawn_again_under_another_name_is_no_new_one():
    sights = [sight(day, tumour=ball(12), name=name) for name in ("L1", "S2") for day in (-3.0, 28.0)]
    result = judged(sights, [drawn(ball(12), -3.0, "L1"), drawn(ball(11), 28.0, "S2")])
    assert [lesion.id for lesion in result.lesions] == ["L1"]
    assert call_of(result, "recist").new_lesions == ()


def test_a_lesion_that_is_first_drawn_after_treatment_beside_others_is_new():
    other = ball(6, (20, 0, 0))
    sights = [sight(day, tumour=ball(10, (-8, 0, 0)) | (other if day > 0 else ~ball(99)), carried=own, name=name)
              for name, own in (("L1", ball(10, (-8, 0, 0))), ("L2", other)) for day in (-3.0, 28.0)]  # fmt: skip
    rois = [drawn(ball(10, (-8, 0, 0)), -3.0), drawn(ball(10, (-8, 0, 0)), 28.0), drawn(other, 28.0, "L2")]
    result = judged(sights, rois)
    assert call_of(result, "recist").new_lesions == ("L2",)
    assert call_of(result, "recist").call is Call.PD
    assert result.lesions[1].dates[0].whole is None


def test_regions_drawn_first_after_treatment_are_not_new():
    sights = [sight(-3.0, tumour=ball(12), carried=ball(12)), sight(1.0, tumour=ball(12))]
    result = judged(sights, [drawn(ball(12), 1.0)])
    assert result.lesions[0].new_on is None
    assert call_of(result, "recist").call is Call.SD


def test_a_node_is_told_by_its_name_and_counts_by_its_short_axis():
    # Half-axes 12 and 9 mm before treatment, 8 and 4.5 after: the short axis falls from 18 to 9 mm.
    def flat(long, short):
        z, y, x = np.meshgrid(
            *[(np.arange(n) - (n - 1) / 2) * s for n, s in zip(SHAPE, SPACING, strict=True)], indexing="ij"
        )
        return (x / long) ** 2 + (y / short) ** 2 + (z / short) ** 2 <= 1

    before, after = flat(12, 9), flat(8, 4.5)
    sights = [sight(-3.0, tumour=before, name="LN1"), sight(28.0, tumour=after, carried=before, name="LN1")]
    result = judged(sights, [drawn(before, -3.0, "LN1"), drawn(after, 28.0, "LN1")])
    (node,) = result.lesions
    assert (node.organ, node.node, node.role) == ("lymph node", True, None)
    call = call_of(result, "recist")
    assert (call.baseline, call.value) == (pytest.approx(18, abs=1.2), pytest.approx(9, abs=1.2))
    # Below 10 mm across a node is normal, though something is left of the sum.
    assert (call.call, call.rule) == (Call.CR, "recist/nothing-left")


def test_lesions_of_two_organs_are_targets_beside_each_other():
    places = {"L1": -18, "L2": -4, "L3": 9, "lu_1": 22}
    lesions = {name: ball(7 - 0.4 * k, (x, 0, 0)) for k, (name, x) in enumerate(places.items())}
    every = np.logical_or.reduce(list(lesions.values()))
    days = (-3.0, 28.0)
    sights = [sight(d, tumour=every, carried=own, name=name) for name, own in lesions.items() for d in days]
    result = judged(sights, [drawn(own, d, name) for name, own in lesions.items() for d in days])
    call = call_of(result, "recist")
    # Three in the liver: two at most are targets; the one of the lung is smaller and still is one.
    assert (call.targets, call.non_targets) == (("L1", "L2", "lu_1"), ("L3",))


def test_a_daughter_nodule_is_told_by_its_name():
    large, small = ball(9, (-10, 0, 0)), ball(6, (12, 0, 0))
    sights = [sight(d, tumour=large | small, carried=own, name=name)
              for name, own in (("DN1", large), ("L1", small)) for d in (-3.0, 28.0)]  # fmt: skip
    result = judged(sights, [drawn(large, -3.0, "DN1"), drawn(small, -3.0, "L1")])
    assert {one.id: one.role for one in result.lesions} == {"DN1": LesionRole.DAUGHTER, "L1": LesionRole.MAIN}


def test_a_lesion_cut_by_the_scan_is_not_measured():
    edge = ball(12, (0, 0, 30))
    sights = [sight(-3.0, tumour=ball(12)), sight(28.0, tumour=edge)]
    after = judged(sights, [drawn(ball(12), -3.0), drawn(edge, 28.0)]).lesions[0].dates[1]
    assert (after.whole, after.missing) == (None, "the lesion reaches beyond the scan")


def test_without_an_outlined_lesion_there_is_a_reason_and_no_call():
    result = judged([], [])
    assert (result.dates, result.reason) == ((), "no lesion was outlined")


@pytest.mark.parametrize(
    ("day", "reason"),
    [
        (-3, "no lesion could be measured before treatment: a reader calls it not evaluable"),
        (28, "no scan before treatment"),
    ],
)
def test_what_is_said_of_a_patient_who_cannot_be_judged_is_told_once(day, reason):
    scan = sight(day, tumour=ball(12))
    said = [Reading(scan.source.date, name, Statement.NOT_EVALUABLE, row=k) for k, name in enumerate(["L1", "L7"], 1)]
    fitting = replace(said[0], statement=Statement.WORSE) if day > 0 else said[0]
    result = judged([scan], [], readings=[fitting, said[1]])
    assert result.dates == ()
    told = {one.reading.row: one.sentence for one in result.unused}
    assert len(told) == len(result.unused) == 2
    assert told[1].startswith(f"Expected a patient whose response can be judged, found {reason}")
    assert "drawn on a CT" in told[2]
