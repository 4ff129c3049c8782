"""Amounts and times on voxels and dates without noise, where every number follows from its definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.followups import Completeness, CtVolume, KineticsModel, MarginGrade, Pattern, Radiograph
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Quantity
from angio_pipeline.lipiodol.coverage import CoverageParams, describe_coverage, grade_margin
from angio_pipeline.lipiodol.deposit import Deposit
from angio_pipeline.lipiodol.film_amounts import film_attenuation
from angio_pipeline.lipiodol.kinetics import KineticsParams, fit_kinetics, two_point_half_life
from angio_pipeline.lipiodol.lesions import Lesion, LesionOrigin, Patch
from angio_pipeline.lipiodol.mass import (
    Background,
    MassParams,
    Offset,
    SharedDraws,
    Surroundings,
    estimate_offset,
    iodine_slope,
    look_around,
    measure_mass,
    slope_error,
    thin_oil,
)
from angio_pipeline.lipiodol.selection import choose_films, choose_images, choose_scans

SHAPE = (32, 32, 32)
SPACING = np.diag([2.0, 2.0, 2.0, 1.0])[[2, 1, 0, 3]]  # index (z, y, x) to LPS (x, y, z), cubes of 2 mm
LEVEL = 55.0


def ball(radius_mm, centre=(15.5, 15.5, 15.5)):
    away = np.linalg.norm(np.moveaxis(np.indices(SHAPE), 0, -1) - np.array(centre), axis=-1)
    return 2.0 * away <= radius_mm


def patch_of(lesion, hu, others=None, *, cut=False):
    nothing = np.zeros(SHAPE, bool)
    box = (slice(0, 32),) * 3
    return Patch(np.asarray(hu, np.float32), SPACING, lesion, nothing if others is None else others, box, cut)


def background(level=LEVEL, gradient=(0.0, 0.0, 0.0), *, noise=0.0, sd=0.0):
    return Background(level, gradient, (31.0, 31.0, 31.0), noise, 1.0, sd)


NO_DRAWS = SharedDraws(*np.zeros((3, 400)))
CERTAIN = MassParams(
    offset_hu=0, offset_sd_hu=0, slope_sd=0, model_sd=0, own_model_sd=0, outline_mm=0, draws=400, level_sd_hu=0
)


def measured(
    patch, *, deposit=None, offset=None, shared=NO_DRAWS, params=CERTAIN, of=None, kvp=120.0, thin=0.0, clip=None
):
    volume = CtVolume(patch.hu, SPACING, Source("1", "1.1"), kvp=kvp, clip_hu=clip)
    nothing = np.zeros(SHAPE, bool)
    deposit = Deposit(patch.lesion, nothing) if deposit is None else deposit
    return measure_mass(
        patch, volume, of or background(), deposit, offset or Offset(0.0, 0.0), shared, thin_oil_hu=thin,
        params=params, rng=np.random.default_rng(3),
    )  # fmt: skip


# --- mass -----------------------------------------------------------------------------------------

BALL = ball(12.0)
BALL_ML = np.count_nonzero(BALL) * 0.008
OILED = np.where(BALL, LEVEL + 250.0, LEVEL)


def test_250_hu_at_120_kvp_are_10_mg_a_millilitre_and_certain_where_nothing_is_uncertain():
    found = measured(patch_of(BALL, OILED))
    assert found.mg == pytest.approx(10 * BALL_ML, rel=1e-6)
    assert found.interval_mg == pytest.approx((found.mg, found.mg), rel=1e-6)
    assert found.deposit_mm3 == pytest.approx(1000 * BALL_ML)
    assert (found.slope, found.slope_sd, found.clipped_voxels, found.quality) == (25.0, 0.0, 0, Quality.NONE)


def test_a_lesion_that_is_darker_without_oil_holds_more():
    found = measured(patch_of(BALL, OILED), offset=Offset(-20.0, 0.0))
    assert found.mg == pytest.approx((250 + 20) / 25 * BALL_ML, rel=1e-6)


def test_a_background_that_rises_across_the_lesion_adds_nothing():
    x = 2.0 * np.arange(32)[None, None, :]
    trend = background(gradient=(0.5, 0.0, 0.0))
    found = measured(patch_of(BALL, OILED + 0.5 * (x - 31.0)), of=trend)
    assert found.mg == pytest.approx(10 * BALL_ML, rel=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_trend_is_laid_along_the_patients_axes(axis):
    gradient = np.eye(3)[axis] * 0.5
    laid = background(gradient=tuple(gradient)).on(SPACING, SHAPE)
    index = [0, 0, 0]
    index[2 - axis] = 10
    assert laid[tuple(index)] - laid[0, 0, 0] == pytest.approx(0.5 * 20.0)
    assert laid[0, 0, 0] == pytest.approx(LEVEL - 0.5 * 31.0)


def test_what_each_uncertainty_is_worth_is_the_spread_of_the_draws():
    shared = SharedDraws(*np.random.default_rng(5).normal(size=(3, 4000)))
    many = CERTAIN.model_copy(update={"draws": 4000})
    patch = patch_of(BALL, OILED)
    mg = 10 * BALL_ML

    def spread(**more):
        return float(np.std(measured(patch, shared=shared, **{"params": many, **more}).draws_mg))

    assert spread() == pytest.approx(0.0, abs=1e-9)
    assert spread(offset=Offset(0.0, 5.0)) == pytest.approx(5 * BALL_ML / 25, rel=0.08)
    assert spread(offset=Offset(0.0, 0.0, 5.0)) == pytest.approx(5 * BALL_ML / 25, rel=0.08)
    assert spread(params=many.model_copy(update={"model_sd": 0.1})) == pytest.approx(0.1 * mg, rel=0.08)
    assert spread(params=many.model_copy(update={"own_model_sd": 0.1})) == pytest.approx(0.1 * mg, rel=0.08)
    assert spread(params=many.model_copy(update={"slope_sd": 0.1})) == pytest.approx(0.1 * mg, rel=0.1)
    region = np.count_nonzero(ball(12.0 + 5.0))  # about: within 5 mm of the ball
    assert spread(of=background(noise=20.0)) == pytest.approx(20 * np.sqrt(region) * 0.008 / 25, rel=0.12)
    assert spread(of=background(sd=2.0)) == pytest.approx(2 * region * 0.008 / 25, rel=0.2)


def test_scans_share_the_draws_of_what_they_share():
    shared = SharedDraws(np.linspace(-2, 2, 400), *np.zeros((2, 400)))
    found = measured(patch_of(BALL, OILED), shared=shared, offset=Offset(0.0, 5.0))
    assert found.draws_mg == pytest.approx(found.mg - 5.0 * shared.offset * BALL_ML / 25)
    shared = SharedDraws(np.zeros(400), np.linspace(-2, 2, 400), np.zeros(400))
    found = measured(patch_of(BALL, OILED), shared=shared, params=CERTAIN.model_copy(update={"slope_sd": 0.1}))
    assert found.draws_mg == pytest.approx(found.mg * np.exp(0.1 * shared.slope))


def test_foreign_voxels_and_those_nearer_to_another_lesion_are_not_summed():
    other = ball(4.0, (15.5, 15.5, 27.5))
    hu = np.where(other | BALL, LEVEL + 250.0, LEVEL)
    assert measured(patch_of(BALL, hu, other)).mg == pytest.approx(10 * BALL_ML, rel=1e-6)
    half = BALL & (np.indices(SHAPE)[2] < 16)
    without = measured(patch_of(BALL, OILED), deposit=Deposit(BALL & half, BALL & ~half))
    assert without.mg == pytest.approx(10 * np.count_nonzero(half) * 0.008, rel=1e-6)


def test_thin_oil_beside_the_lesion_is_taken_off():
    patch = patch_of(BALL, OILED)
    plain, less = measured(patch), measured(patch, thin=4.0)
    beside = np.count_nonzero(ball(17.0) & ~BALL)
    assert plain.mg - less.mg == pytest.approx(1.5 * 4.0 * beside * 0.008 / 25, rel=0.1)
    assert np.std(less.draws_mg) == pytest.approx(0.5 * (plain.mg - less.mg), rel=0.15)


def test_clipping_is_counted_and_what_it_hides_opens_the_interval_about_the_amount():
    patch = patch_of(BALL, np.where(ball(6.0), 3000.0, OILED))
    whole, cut = measured(patch), measured(patch, clip=3000.0)
    assert cut.clipped_voxels == np.count_nonzero(ball(6.0))
    assert Quality.CLIPPED_HU in cut.quality
    assert cut.mg > whole.mg
    low, high = cut.interval_mg
    # Between nothing and twice what the tail says.
    assert low == pytest.approx(whole.mg, rel=0.1)
    assert high == pytest.approx(2 * cut.mg - whole.mg, rel=0.1)


def test_a_lesion_at_the_edge_of_the_scan_and_an_assumed_voltage_are_flagged():
    found = measured(patch_of(BALL, OILED, cut=True), kvp=None, params=CERTAIN.model_copy(update={"slope_sd": 0.02}))
    assert found.quality == Quality.LESION_AT_EDGE | Quality.KVP_ASSUMED
    assert found.slope_sd == CERTAIN.assumed_slope_sd


@pytest.mark.parametrize(("kvp", "flag"), [(59.9, True), (60.0, False), (160.0, False), (160.1, True), (None, True)])
def test_a_voltage_that_no_tube_has_is_not_believed(kvp, flag):
    slope, quality = iodine_slope(kvp, params=CERTAIN)
    assert bool(quality & Quality.KVP_ASSUMED) is flag
    assert (slope == 25.0) is flag
    wanted = CERTAIN.assumed_slope_sd if flag else CERTAIN.slope_sd
    assert slope_error(quality, params=CERTAIN) == wanted


# --- what a lesion is without oil -----------------------------------------------------------------


@pytest.mark.parametrize("bound", [-30.0, -16.0, -5.0, 10.0])
def test_oil_only_adds_so_that_the_offset_is_a_normal_distribution_below_what_is_seen(bound):
    settings = MassParams(offset_range_hu=(-60.0, 15.0))
    patch = patch_of(ball(16.0), np.full(SHAPE, LEVEL + bound))
    found = estimate_offset([(patch, background())], [], params=settings)
    below = stats.truncnorm(-np.inf, (bound + 16.0) / 7.0, loc=-16.0, scale=7.0)
    assert found.hu == pytest.approx(below.mean(), abs=0.01)
    assert found.sd_hu == pytest.approx(np.hypot(below.std(), 1.0), abs=0.01)


def test_of_several_scans_the_darkest_bounds_the_offset():
    dark, bright = (patch_of(ball(16.0), np.full(SHAPE, LEVEL + hu)) for hu in (-25.0, 40.0))
    both = estimate_offset([(bright, background()), (dark, background())], [], params=MassParams())
    assert both == estimate_offset([(dark, background())], [], params=MassParams())


def test_a_scan_before_treatment_alone_tells_the_offset_within_what_is_believed():
    dark, bright = (patch_of(ball(16.0), np.full(SHAPE, LEVEL + hu)) for hu in (-12.0, 200.0))
    found = estimate_offset([(bright, background())], [(dark, background(sd=2.0))], params=MassParams())
    assert found.hu == pytest.approx(-12.0, abs=0.01)
    assert found.sd_hu == pytest.approx(np.hypot(1.0, 2.0))
    assert estimate_offset([], [(bright, background())], params=MassParams()).hu == MassParams().offset_range_hu[1]


# --- thin oil -------------------------------------------------------------------------------------


def test_surroundings_are_the_middle_of_the_margins_outer_part_and_the_sum_over_all():
    shell = ball(18.0) & ~BALL
    around = look_around(
        patch_of(BALL, np.where(shell, LEVEL + 6.0, OILED)), background(sd=0.7),
        Deposit(BALL, np.zeros(SHAPE, bool)), params=CERTAIN,
    )  # fmt: skip
    assert around.level_hu == pytest.approx(6.0)
    assert around.level_sd_hu == 0.7
    beside = np.count_nonzero(ball(17.0) & ~BALL)
    assert around.total_hu == pytest.approx(250 * np.count_nonzero(BALL) + 6 * beside, rel=0.02)


@pytest.mark.parametrize(
    ("early", "later", "told"),
    [
        (Surroundings(8.0, 1000.0, 0.5), [], 0.0),
        (Surroundings(8.0, 1000.0, 0.5), [Surroundings(0.0, 500.0, 0.5)], 8.0),
        (Surroundings(8.0, 1000.0, 0.5), [Surroundings(1.0, 500.0, 0.5)], 6.0),
        (Surroundings(8.0, 1000.0, 0.5), [Surroundings(-3.0, 500.0, 0.5)], 8.0),
        (Surroundings(8.0, 1000.0, 0.5), [Surroundings(1.0, 0.0, 0.5)], 0.0),
        (Surroundings(8.0, 1000.0, 4.5), [Surroundings(0.0, 500.0, 0.5)], 0.0),
        (Surroundings(0.9, 1000.0, 0.1), [Surroundings(0.0, 500.0, 0.5)], 0.0),
        (Surroundings(40.0, 1000.0, 0.5), [Surroundings(0.0, 500.0, 0.5)], 12.0),
        (Surroundings(8.0, 1000.0, 0.5), [Surroundings(k, 1000.0, 0.5) for k in (1.0, 2.0, 7.0)], 6.0),
    ],
)
def test_thin_oil_is_what_blur_in_proportion_to_the_lesion_does_not_explain(early, later, told):
    assert thin_oil(early, later) == pytest.approx(told)


# --- kinetics -------------------------------------------------------------------------------------

KINETICS = KineticsParams(scatter=0.0)


def test_the_interval_of_two_dates_is_that_of_a_difference_of_logarithms():
    fit, _ = fit_kinetics([0, 30], [100, 50], [2, 1.5], params=KINETICS)
    rate, error = np.log(2) / 30, np.hypot(0.02, 0.03) / 30
    expected = np.log(2) / (rate + 1.96 * error), np.log(2) / (rate - 1.96 * error)
    assert fit.half_life_days == pytest.approx(30.0)
    assert fit.half_life_interval == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("days", [[0, 30], [0, 20, 50, 90]])
def test_units_of_time_and_of_mass_are_only_units(days):
    t = np.array(days, float)
    mass = 100 * 2.0 ** (-t / 40) * np.array([1, 1.03, 0.98, 1.01])[: len(t)]
    one, _ = fit_kinetics(t, mass, 0.03 * mass, params=KINETICS)
    doubled, _ = fit_kinetics(t, 2 * mass, 0.06 * mass, params=KINETICS)
    slow, _ = fit_kinetics(3 * t, mass, 0.03 * mass, params=KINETICS)
    assert doubled.half_life_days == pytest.approx(one.half_life_days, rel=1e-3)
    assert slow.half_life_days == pytest.approx(3 * one.half_life_days, rel=1e-3)
    assert slow.half_life_interval == pytest.approx(tuple(3 * end for end in one.half_life_interval), rel=2e-3)


def test_a_mono_exponential_fit_is_weighted_least_squares_of_the_logarithm():
    t, sd = np.array([0.0, 20, 50, 90]), np.array([0.02, 0.03, 0.05, 0.04])
    mass = 100 * 2.0 ** (-t / 40) * np.exp([0.01, -0.02, 0.03, 0.0])
    fit, quality = fit_kinetics(t, mass, sd * mass, params=KINETICS)
    slope, covariance = np.polyfit(t, np.log(mass), 1, w=1 / sd, cov="unscaled")
    error = np.sqrt(covariance[0, 0])
    assert fit.model is KineticsModel.MONO
    assert fit.half_life_days == pytest.approx(-np.log(2) / slope[0], rel=2e-3)
    ends = (np.log(2) / (-slope[0] + 1.96 * error), np.log(2) / (-slope[0] - 1.96 * error))
    assert fit.half_life_interval == pytest.approx(ends, rel=0.02)
    assert quality is Quality.NONE


def test_the_curve_is_told_on_the_dates_own_days_against_the_first_amount():
    fit, _ = fit_kinetics([5, 35], [80, 20], [1, 1], params=KINETICS)
    days, left = np.array(fit.curve_days), np.array(fit.curve_retention)
    assert (days[0], days[-1], len(days)) == (5.0, 35.0, KINETICS.curve_points)
    assert left == pytest.approx(4.0 ** (-(days - 5) / 30), rel=1e-6)


def test_amounts_of_one_moment_are_averaged_and_are_surer_than_one():
    once, _ = fit_kinetics([0, 30], [100, 50], [4, 2], params=KINETICS)
    twice, _ = fit_kinetics([0, 0.01, 30, 30.01], [98, 102, 49, 51], [4, 4, 2, 2], params=KINETICS)
    assert twice.half_life_days == pytest.approx(once.half_life_days, rel=1e-6)
    width = [np.diff(1 / np.array(fit.half_life_interval))[0] for fit in (once, twice)]
    assert width[1] == pytest.approx(width[0] / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize(("first", "second", "half_life"), [(8, 2, 5.0), (8, 8, np.inf), (8, 9, np.inf), (8, 0, 0.0)])
def test_the_formula_for_two_amounts(first, second, half_life):
    assert two_point_half_life(first, second, 10.0) == pytest.approx(half_life)


@pytest.mark.parametrize(("first", "days"), [(0.0, 10.0), (-1.0, 10.0), (5.0, 0.0), (5.0, -1.0)])
def test_the_formula_asks_for_a_first_amount_and_some_time(first, days):
    with pytest.raises(ValueError, match="positive"):
        two_point_half_life(first, 1.0, days)


# --- coverage and margin --------------------------------------------------------------------------

COVERAGE = CoverageParams()
LESION = ball(14.0)
X = np.indices(SHAPE)[2]


def covered(oil, hu=None, *, holds_oil=True):
    hu = np.where(oil, LEVEL + 200.0, LEVEL) if hu is None else hu
    return describe_coverage(
        patch_of(LESION, hu), Deposit(oil, np.zeros(SHAPE, bool)), LEVEL, 5.0, holds_oil=holds_oil, params=COVERAGE
    )


def test_coverage_is_the_per_cent_of_voxels_above_each_threshold():
    hu = np.select([X < 12, X < 16, X < 20], [50.0, 100.0, 200.0], 300.0)
    found = covered(LESION, hu)
    inside = hu[LESION]
    assert found.percent == pytest.approx({f"{t}": 100 * np.mean(inside > t) for t in (75, 160, 215)})


@pytest.mark.parametrize(
    ("column", "completeness"),
    [(40, Completeness.COMPLETE), (17, Completeness.MODERATE), (14, Completeness.POOR), (0, Completeness.POOR)],
)
def test_completeness_is_by_the_share_that_is_filled(column, completeness):
    assert covered(LESION & (column > X)).completeness is completeness


def test_a_gap_that_holds_a_ball_keeps_a_lesion_from_being_complete():
    gap = ball(6.2, (15.5, 15.5, 20.0)) & LESION
    assert COVERAGE.defect < np.count_nonzero(gap) / np.count_nonzero(LESION) < 1 - COVERAGE.complete
    assert covered(LESION & ~gap).completeness is Completeness.MODERATE
    assert covered(LESION & ~gap).pattern is Pattern.DEFECTIVE
    scattered = LESION & (np.indices(SHAPE).sum(axis=0) % 13 == 0)
    assert covered(LESION & ~scattered).completeness is Completeness.COMPLETE


def test_without_oil_there_is_no_pattern_and_with_little_a_faint_one():
    assert covered(LESION, holds_oil=False).pattern is Pattern.NONE
    assert covered(LESION, np.where(LESION, LEVEL + 60.0, LEVEL)).pattern is Pattern.FAINT
    assert covered(LESION, np.where(ball(18.0), LEVEL + 80.0, LEVEL)).pattern is Pattern.HOMOGENEOUS


@pytest.mark.parametrize(
    ("reach_mm", "diameter_mm", "grade"),
    [(5.0, 24.9, "A"), (5.0, 25.0, "B"), (10.0, 25.0, "A"), (0.0, 24.9, "B"), (0.0, 40.0, "B"), (-6.0, 24.9, "C")],
)
def test_a_small_lesion_asks_for_5_mm_of_oil_around_it_and_a_larger_one_for_10(reach_mm, diameter_mm, grade):
    patch, oil = patch_of(LESION, np.full(SHAPE, LEVEL)), ball(14.0 + reach_mm)
    found = grade_margin(patch, Deposit(oil, np.zeros(SHAPE, bool)), diameter_mm, params=COVERAGE)
    assert found is MarginGrade(grade)


def test_a_margin_is_not_asked_for_where_something_foreign_lies():
    patch = patch_of(LESION, np.full(SHAPE, LEVEL))
    bare = X > 15
    oil = ball(20.0) & (LESION | ~bare)
    assert grade_margin(patch, Deposit(oil, np.zeros(SHAPE, bool)), 20.0, params=COVERAGE) is MarginGrade.B
    assert grade_margin(patch, Deposit(oil, bare & ~LESION), 20.0, params=COVERAGE) is MarginGrade.A


# --- lesions --------------------------------------------------------------------------------------


def test_a_lesion_knows_its_middle_its_breadth_and_where_it_lies_in_another_scan():
    shift = np.eye(4)
    shift[:3, 3] = [10.0, 0.0, -4.0]
    lesion = Lesion("L1", ball(10.0), SPACING, np.eye(4), LesionOrigin.ROI)
    assert lesion.centroid_mm == pytest.approx((31.0, 31.0, 31.0))
    assert lesion.diameter_mm == pytest.approx(20.0, rel=0.03)
    assert lesion.points_in(shift).mean(axis=0) == pytest.approx([41.0, 31.0, 27.0])
    there = np.argwhere(lesion.mask_on(SHAPE, SPACING, shift)).mean(axis=0)
    assert there == pytest.approx([13.5, 15.5, 20.5], abs=0.1)
    drawn_there = replace(lesion, from_reference=shift)
    assert drawn_there.centroid_mm == pytest.approx((21.0, 31.0, 35.0))


# --- films and choice -----------------------------------------------------------------------------


def radiograph(image, quantity, white=None, date="20240101", name="1"):
    image = np.asarray(image, np.float32)
    source = Source(f"9.{name}", f"8.{name}", date=date, modality="DX", file=name)
    return Radiograph(image, quantity, np.ones(image.shape, bool), source, white_level=white)


def test_attenuation_of_a_film_is_the_negative_logarithm_of_what_gets_through():
    image = np.array([[1000.0, 500.0], [250.0, 0.0]])
    told = film_attenuation(radiograph(image, Quantity.INTENSITY, 2000.0))
    assert told == pytest.approx(np.array([[np.log(2), np.log(4)], [np.log(8), np.log(2000)]]))
    by_brightest = film_attenuation(radiograph(image, Quantity.INTENSITY))
    assert by_brightest[0, 0] == pytest.approx(0.0)
    assert film_attenuation(radiograph(image, Quantity.ATTENUATION)) == pytest.approx(image)
    assert film_attenuation(radiograph(image, Quantity.LOG_INTENSITY)) == pytest.approx(-image)


@pytest.mark.parametrize("scatter", [0.2, 0.4, 1.0])
def test_scatter_over_primary_is_taken_off_the_beam(scatter):
    even = radiograph(np.full((40, 40), 600.0), Quantity.INTENSITY, 2000.0)
    told = film_attenuation(even, scatter)
    assert told == pytest.approx(np.full((40, 40), np.log(2000 / 600) + np.log(1 + scatter)), rel=1e-6)


def volume(name, *, slices=3, **more):
    affine = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1.0]])
    source = Source(f"1.{name}", name, date=more.pop("date", "20240101"), file=name)
    return CtVolume(np.zeros((slices, 4, 4), np.float32), affine, source, **more)


def test_what_is_left_out_says_why():
    thin, other = volume("thin", slices=2), volume("b", kernel="B70f")
    kept, left_out = choose_scans([thin, volume("a", kernel="B30f"), other], [], alone=False)
    assert [scan.source.file for scan in kept] == ["a"]
    assert {one.path: one.reason for one in left_out} == {"thin": "one_slice", "b": "same_moment"}
    sentences = {one.path: one.sentence for one in left_out}
    assert "found 2 x 4 x 4" in sentences["thin"]
    assert "plain, softer, thinner one was followed" in sentences["b"]


@pytest.mark.parametrize(
    ("soft", "sharp"), [("smooth", "detail"), ("SOFT", "standard"), ("standard", "B31f"), ("B44", None), (None, "B46")]
)
def test_a_kernel_without_a_number_stands_where_its_word_does(soft, sharp):
    (kept,), _ = choose_scans([volume("a", kernel=sharp), volume("b", kernel=soft)], [], alone=False)
    assert kept.source.file == "b"


def test_undated_films_are_left_out_beside_others_and_kept_alone():
    dated, undated = (
        radiograph(np.ones((4, 4)), Quantity.STORED),
        radiograph(np.ones((4, 4)), Quantity.STORED, date="undated", name="2"),
    )
    kept, left_out = choose_films([dated, undated], alone=False)
    assert (kept, [(one.path, one.reason) for one in left_out]) == ([dated], [("2", "undated")])
    assert choose_films([undated], alone=True) == ([undated], [])
    assert choose_images([], [undated], [])[1] == [undated]
    assert choose_images([], [], []) == ([], [], [])


def test_a_patient_of_whom_nothing_can_be_followed_is_refused_by_the_first_reason():
    with pytest.raises(InputRefused, match="three slices") as refused:
        choose_images([volume("thin", slices=1)], [], [])
    assert refused.value.reason == "one_slice"
    scans, films, left_out = choose_images([volume("thin", slices=1), volume("a")], [], [])
    assert ([scan.source.file for scan in scans], films, len(left_out)) == (["a"], [], 1)
