"""Which scan counts as what, and fits of a few amounts, worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import voxel_scans as vs

from angio_pipeline.core.followups import CtVolume, VolumeRoi
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.lipiodol import LipiodolParams, follow_lesions, kinetics, scans
from angio_pipeline.lipiodol.finding import FindingParams
from angio_pipeline.lipiodol.kinetics import KineticsParams, fit_kinetics
from angio_pipeline.lipiodol.registration import RegistrationParams
from angio_pipeline.lipiodol.tissue import TissueParams

ZERO = datetime(2024, 1, 1)
LESION = vs.ball(10)


# --- order ------------------------------------------------------------------------------------------------


def test_the_first_moment_is_the_earliest_of_those_that_are_known():
    dated = [Source("1", "2", date=date) for date in ("20240105", "undated", "20240102")]
    timed = Source("1", "2", date="20240102", acquired=datetime(2024, 1, 1, 22, tzinfo=UTC))
    assert scans.first_moment(dated) == datetime(2024, 1, 2)
    assert scans.first_moment([*dated, timed]) == datetime(2024, 1, 1, 22)
    assert scans.first_moment(dated[1:2]) is None
    assert scans.first_moment([]) is None


@pytest.mark.parametrize(
    ("days", "first", "others", "told"),
    [
        ([0.0, 10.0, 40.0], 2, [], [-40.0, -30.0, 0.0]),
        ([0.0, 10.0, 40.0], 2, [20.0, 30.0], [-20.0, -10.0, 20.0]),
        ([0.0, 10.0, 40.0], 2, [5.0, 10.0, 50.0], [-40.0, -30.0, 0.0]),
        ([0.0, 10.0, 40.0], 1, [], [-10.0, 0.0, 30.0]),
        # Nothing lies before the first scan with oil: days count from the first image, a film perhaps.
        ([5.0, 40.0], 0, [0.0], [5.0, 40.0]),
    ],
)
def test_days_count_from_the_first_image_after_the_last_scan_without_oil(days, first, others, told):
    moments = [ZERO + timedelta(days=day) for day in others]
    assert scans._counted_from(days, first, ZERO, moments) == pytest.approx(told)
    assert scans._counted_from(days, first, None, moments) == days


def test_the_first_scan_with_oil_is_a_plain_one_and_the_first_of_all_where_none_shows_any():
    bare, oiled = vs.tissue(vs.drawn()), vs.tissue(vs.drawn((LESION, 300)))

    def first(looked, contrast):
        return scans._first_with_oil(looked, contrast, FindingParams())

    assert first([bare, oiled, oiled], [False, False, False]) == 1
    assert first([bare, oiled, oiled], [False, True, False]) == 2
    assert first([oiled, oiled], [True, False]) == 1
    assert first([bare, bare], [False, False]) == 0
    assert first([oiled], [True]) == 0


def liver_told(volume, *livers):
    seen = vs.tissue(np.full(vs.SHAPE, 80.0), liver=vs.X < 5)
    told = scans._with_liver(seen, volume, livers, TissueParams())
    return None if told is seen else told.liver


def test_a_drawn_liver_counts_on_the_scan_it_names_or_whose_voxels_it_has():
    volume = vs.scan(vs.drawn(), uid="a", frame_of_reference_uid="f").volume
    drawn = vs.Y < 20
    shifted = vs.GRID.copy()
    shifted[2, 3] += 4.0
    assert np.array_equal(liver_told(volume, VolumeRoi("liver", drawn, vs.GRID, "a")), drawn)
    assert np.array_equal(liver_told(volume, VolumeRoi("liver", drawn, vs.GRID)), drawn)
    assert np.array_equal(liver_told(volume, VolumeRoi("liver", drawn, vs.GRID, None, "f")), drawn)
    moved = liver_told(volume, VolumeRoi("liver", drawn, shifted, "a"))
    assert not moved[:2].any()
    assert moved[2:, :20].all()
    assert liver_told(volume, VolumeRoi("liver", drawn, vs.GRID, "b")) is None
    assert liver_told(volume, VolumeRoi("liver", drawn, vs.GRID, None, "g")) is None
    assert liver_told(volume, VolumeRoi("liver", drawn, shifted)) is None
    assert liver_told(volume, VolumeRoi("liver", drawn[:-1], vs.GRID)) is None
    assert liver_told(volume) is None
    later = VolumeRoi("liver", vs.Y < 25, vs.GRID, "a")
    both = liver_told(volume, VolumeRoi("liver", drawn, vs.GRID, "b"), later)
    assert np.array_equal(both, vs.Y < 25)


def test_regions_on_the_reference_are_left_out_of_its_alignment():
    volume, seen = vs.scan(vs.drawn(), uid="a").volume, vs.tissue(vs.drawn())
    one, other = VolumeRoi("L1", LESION, vs.GRID, "a"), VolumeRoi("L2", vs.ball(5, x=30), vs.GRID)
    told = scans._given([one, other, VolumeRoi("L3", vs.ball(5, x=5), vs.GRID, "b")], seen, volume)
    assert np.array_equal(told, LESION | vs.ball(5, x=30))
    assert scans._given([VolumeRoi("L3", LESION, vs.GRID, "b")], seen, volume) is None


@pytest.mark.parametrize(
    ("series", "frame", "lies"),
    [(None, None, True), ("a", None, True), ("b", None, False), (None, "f", True), (None, "g", False),
     ("b", "f", True), ("a", "g", True), ("b", "g", False)],
)  # fmt: skip
def test_a_region_may_lie_on_a_scan_it_names_in_one_way_or_where_it_names_none(series, frame, lies):
    volume = vs.scan(vs.drawn(), uid="a", frame_of_reference_uid="f").volume
    assert scans.may_lie_on(VolumeRoi("L1", LESION, vs.GRID, series, frame), volume) is lies
    unframed = vs.scan(vs.drawn(), uid="a").volume
    assert scans._same_frame(volume, volume)
    assert not scans._same_frame(unframed, unframed)
    assert not scans._same_frame(unframed, volume)


# --- the whole follow-up ------------------------------------------------------------------------------------

QUICK = LipiodolParams(
    registration=RegistrationParams(
        samples=1000, rounds=1, blurs_mm=(3.0,), search_mm=8.0, deformation={"enabled": False}
    ),
    mass={"draws": 400},
    kinetics={"draws": 100},
)


def patient(hu, date, uid):
    """A body of liver with fat about it, so that scans can be told to lie alike."""
    fat = (abs(vs.Y - 17) > 14) | (abs(vs.X - 19) > 16)
    made = np.where(fat, -100.0, hu).astype(np.float32)
    return CtVolume(made, vs.GRID, Source("1." + uid, uid, date=date, file=uid), kvp=120.0, frame_of_reference_uid="f")


@pytest.fixture(scope="module")
def untold():
    """A follow-up without a date of treatment: oil shows in the second scan and has faded in the third."""
    volumes = [
        patient(vs.drawn(*pieces), date, uid)
        for pieces, date, uid in (
            ([(LESION, 150)], "20240210", "late"), ([], "20240101", "before"), ([(LESION, 300)], "20240111", "first"),
        )
    ]  # fmt: skip
    drawn = VolumeRoi("liver", np.ones(vs.SHAPE, bool), vs.GRID)
    return follow_lesions(volumes, [drawn], [], [], treated=None, params=QUICK)


@pytest.mark.slow
def test_without_a_date_of_treatment_the_first_scan_with_oil_is_the_first_day(untold):
    (lesion,) = untold.lesions
    assert [(p.source.series_instance_uid, p.days) for p in lesion.timepoints] == [
        ("before", -10.0), ("first", 0.0), ("late", 30.0),
    ]  # fmt: skip
    assert [p.retention for p in lesion.timepoints[:2]] == [None, 1.0]
    assert lesion.timepoints[2].retention == pytest.approx(0.5, abs=0.03)
    assert lesion.kinetics.half_life_days == pytest.approx(30.0, rel=0.1)


@pytest.mark.slow
def test_a_result_holds_its_settings_its_alignments_and_the_search_for_stray_oil(untold):
    assert untold.settings == QUICK.model_dump(mode="json")
    assert [one.source.series_instance_uid for one in untold.alignments] == ["before", "first", "late"]
    assert [one.method.value for one in untold.alignments].count("reference") == 1
    assert [(one.days, one.before_treatment) for one in untold.stray_oil] == [(0.0, True), (30.0, True)]
    assert untold.left_out == ()
    assert not untold.quality & Quality.NO_LIPIODOL


# --- fits ---------------------------------------------------------------------------------------------------


def test_a_sum_of_exponentials_is_told_by_amplitudes_and_rates():
    days = np.array([0.0, 10.0, 20.0])
    one = kinetics._predict(np.array([np.log(8.0), np.log(2) / 10]), days)
    assert one == pytest.approx([8.0, 4.0, 2.0])
    both = kinetics._predict(np.array([np.log(8.0), np.log(2) / 10, np.log(16.0), np.log(2) / 5]), days)
    assert both == pytest.approx([24.0, 8.0, 3.0])


def test_half_of_a_sum_is_left_when_both_parts_together_are_halved():
    shape = np.array([np.log(8.0), np.log(2) / 10, np.log(16.0), np.log(2) / 5])
    time = kinetics._time_to_half(shape)
    assert kinetics._predict(shape, np.array([time]))[0] == pytest.approx(12.0)
    assert kinetics._time_to_half(shape[:2]) == pytest.approx(10.0)
    assert kinetics._time_to_half(np.array([0.0, 0.0])) == np.inf
    assert kinetics._time_to_half(np.array([0.0, 0.1, 0.0, -0.1])) == np.inf


@pytest.mark.parametrize(
    ("mass", "told"),
    [
        ([100, 50, 60, 40], 10.0),
        ([100, 80, 60, 50], 30.0),
        ([100, 100, 25, 10], 15.0),
        ([100, 80, 60, 51], None),
        ([0, 0, 0, 0], None),
        ([100, 80, 0, 0], None),
    ],
)
def test_half_is_passed_on_the_exponential_between_two_dates(mass, told):
    found = kinetics._passed(np.array([0.0, 10.0, 20.0, 30.0]), np.array(mass, float))
    assert found is None if told is None else found == pytest.approx(told)


@pytest.mark.parametrize(("last", "relative"), [(50.0, 1e-3), (1.0, 0.01), (70.0, 0.002)])
def test_amounts_that_are_nearly_certain_bound_the_half_life_closely_on_both_sides(last, relative):
    sd = relative * np.array([100.0, last])
    fit, quality = fit_kinetics([0, 30], [100, last], sd, params=KineticsParams(scatter=0.0))
    rate, error = np.log(100 / last) / 30, np.sqrt(2) * relative / 30
    ends = np.log(2) / (rate + 1.96 * error), np.log(2) / (rate - 1.96 * error)
    assert fit.half_life_interval == pytest.approx(ends, rel=1e-3)
    assert fit.half_life_interval[0] < fit.half_life_days < fit.half_life_interval[1]
    assert quality == Quality.FEW_TIMEPOINTS


def test_what_is_gone_at_once_is_gone_within_a_tenth_of_the_first_interval():
    course = kinetics._Course(np.array([0.0, 20, 40]), np.array([100.0, 1e-7, 1e-7]), np.full(3, 1e-3), 4.0)
    assert np.log(2) / kinetics._mono(course)[1] == pytest.approx(2.0, rel=0.005)


def test_a_likelihood_is_of_logarithms_where_a_mass_is_clear_and_of_masses_where_it_is_not():
    course = kinetics._Course(np.array([0.0, 1.0]), np.array([10.0, 1.0]), np.array([1.0, 1.0]), 4.0)
    # 10 stands ten errors above nothing: ln(10/20) x 10; 1 does not: 1 - 3.
    assert course.misfit(np.array([20.0, 3.0])) == pytest.approx((np.log(0.5) * 10) ** 2 + 4.0)
    assert course.misfit(np.array([10.0, 1.0])) == 0.0


@pytest.mark.parametrize(
    ("misfit", "parameters", "count", "told"), [(3.0, 2, 6, 11.0), (3.0, 4, 6, 51.0), (3.0, 4, 5, np.inf)]
)
def test_the_criterion_of_akaike_is_corrected_for_few_dates(misfit, parameters, count, told):
    assert kinetics._aicc(misfit, parameters, count) == told
