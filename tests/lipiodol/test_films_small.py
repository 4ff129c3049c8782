"""Films of a few drawn pixels: how they are laid upon each other, what is told of them, and in which course."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from angio_pipeline.core.followups import FilmRoi, LesionCourse, LipiodolTimepoint, Radiograph
from angio_pipeline.core.geometry import CArmPose, PixelSpacing, SpacingPlane
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Quantity
from angio_pipeline.lipiodol import film_alignment, film_amounts, films
from angio_pipeline.lipiodol.film_amounts import Amount, Film, FilmParams
from angio_pipeline.lipiodol.kinetics import KineticsParams

SHAPE = (60, 80)
ROWS, COLS = np.indices(SHAPE).astype(float)
DISC = np.hypot(ROWS - 30, COLS - 45) <= 9
LIMITS = Quality.RELATIVE_ONLY | Quality.PROJECTION_LIMIT
PARAMS = FilmParams(scatter=0.0, draws=200, alignment={"working_px": 80, "iterations": 40})
ATTENUATION = Quantity.ATTENUATION


def radiograph(image, *, name="1", date="20240101", quantity=ATTENUATION, **more):
    image = np.asarray(image, np.float32)
    valid = more.pop("valid", np.ones(image.shape, bool))
    return Radiograph(image, quantity, valid, Source(f"sop.{name}", f"series.{name}", date=date, file=name), **more)


def anatomy(rows=ROWS, cols=COLS):
    return 1.0 + 0.3 * np.sin(rows / 7.0) + 0.3 * np.cos(cols / 9.0) + 0.004 * cols


def oiled(amount, **more):
    return radiograph(anatomy() + amount * DISC, **more)


def region(film, mask=DISC, name="L1"):
    return FilmRoi(name, mask, film.source.sop_instance_uid)


def item(film, *, days=0.0, baseline=False, mask=DISC):
    return Film(film, days, baseline, None if mask is None else region(film, mask))


def add(films_, rois, *, courses=(), treated=None, zero=None):
    return films.add_films(
        courses, films_, rois, treated=treated, zero=zero, params=PARAMS, kinetics=KineticsParams(draws=100)
    )


def course(name, *days):
    points = tuple(LipiodolTimepoint(Source(f"ct.{day}", "ct"), day, None, None, iodine_mg=5.0) for day in days)
    return LesionCourse(name, points, None)


# --- in which course a film stands ----------------------------------------------------------------------


def test_without_films_the_courses_stay_as_they_are():
    assert add([], [], courses=[course("L1", 1.0)])[1:] == (Quality.NONE, [])


def test_films_of_no_region_and_no_lesion_are_left_out_one_by_one():
    courses, quality, left_out = add([oiled(0.5, name="a"), oiled(0.5, name="b")], [])
    assert (courses, quality) == ([], LIMITS)
    assert [(one.path, one.reason) for one in left_out] == [("a", "no_lesion"), ("b", "no_lesion")]


def test_a_film_without_a_region_stands_in_every_course_on_its_day_without_an_amount():
    told, quality, left_out = add(
        [oiled(0.5, date="20240106")], [], courses=[course("L1", 1.0, 9.0), course("L2", 2.0)],
        treated=datetime(2024, 1, 1),
    )  # fmt: skip
    assert [[point.days for point in one.timepoints] for one in told] == [[1.0, 5.0, 9.0], [2.0, 5.0]]
    film = told[0].timepoints[1]
    assert (film.relative_amount, film.retention, film.iodine_mg) == (None, None, None)
    assert film.quality == LIMITS | Quality.ROI_NOT_MATCHED
    assert (quality, left_out) == (LIMITS, [])
    assert [one.id for one in told] == ["L1", "L2"]


def test_a_region_belongs_to_the_lesion_of_its_id_and_films_stand_in_the_others_without_amounts():
    film = oiled(0.5)
    told, _, _ = add([film], [region(film, name="L2")], courses=[course("L1", 1.0), course("L2", 2.0)])
    assert [one.id for one in told] == ["L1", "L2"]
    amounts = [[point.relative_amount is None for point in one.timepoints] for one in told]
    assert amounts == [[True, True], [False, True]]
    assert told[1].timepoints[0].days == 0.0


def test_a_region_of_any_id_belongs_to_the_only_lesion_there_is():
    film = oiled(0.5)
    told, _, _ = add([film], [region(film, name="X")], courses=[course("L1", 1.0)])
    assert [(one.id, len(one.timepoints)) for one in told] == [("L1", 2)]
    assert told[0].timepoints[0].relative_amount > 0


def test_regions_of_two_ids_open_courses_of_their_own_beside_another_lesion():
    film = oiled(0.5)
    other = np.hypot(ROWS - 30, COLS - 18) <= 7
    told, _, _ = add([film], [region(film, name="X"), region(film, other, "Y")], courses=[course("L1", 1.0)])
    assert [one.id for one in told] == ["L1", "X", "Y"]
    assert [len(one.timepoints) for one in told] == [2, 1, 1]
    assert told[0].timepoints[0].quality == LIMITS | Quality.ROI_NOT_MATCHED
    assert told[1].quality == Quality.FEW_TIMEPOINTS


def test_a_region_that_is_empty_or_of_another_film_or_of_another_size_is_no_region():
    film = oiled(0.5)
    empty, unknown = region(film, DISC & False), FilmRoi("L1", DISC, "another")
    assert [one.reason for one in add([film], [empty, unknown])[2]] == ["no_lesion"]
    ((told,), _, _) = add([film], [FilmRoi("L1", DISC[:-1], film.source.sop_instance_uid)])
    assert told.timepoints[0].quality == LIMITS | Quality.ROI_NOT_MATCHED
    assert told.timepoints[0].relative_amount is None


def test_films_stand_in_order_of_time_before_and_after_treatment():
    late, early = oiled(0.5, date="20240111"), oiled(0.5, name="2", date="20231231")
    placed = films._place([late, early], [region(late)], datetime(2024, 1, 1), None)
    assert [(one.days, one.baseline, one.roi is None) for one in placed] == [(-1.0, True, True), (10.0, False, False)]
    counted = films._place([late], [], None, datetime(2024, 1, 1))
    assert [(one.days, one.baseline) for one in counted] == [(10.0, False)]


# --- the reference and what is told of a film ---------------------------------------------------------------


def measured(*placed):
    return films._measure(list(placed), PARAMS)


def test_the_first_film_after_treatment_that_surely_holds_oil_is_the_reference():
    before, bare, first, second = (
        item(oiled(amount, name=str(k)), days=float(k - 1), baseline=k == 0)
        for k, amount in enumerate((0.6, 0.0, 0.5, 0.4))
    )

    def chosen(*outlined):
        return films._reference(outlined, PARAMS, np.random.default_rng(1))[0]

    assert chosen(before, bare, first, second) is first
    assert chosen(before, second, first) is second
    assert chosen(before, bare) is bare
    assert chosen(before) is before


def test_amounts_are_the_sum_over_the_region_and_what_is_left_is_their_ratio():
    first, second = item(oiled(0.5)), item(oiled(0.2, name="2"), days=30.0)
    points, sds = measured(first, second)
    whole = 0.5 * np.count_nonzero(DISC)
    assert points[0].relative_amount == pytest.approx(whole, rel=0.2)
    assert (points[0].retention, points[0].retention_interval) == (1.0, (1.0, 1.0))
    # The anatomy under the oil is not known; it cancels in the difference.
    lost = points[0].relative_amount - points[1].relative_amount
    assert lost == pytest.approx(0.3 * np.count_nonzero(DISC), rel=0.01)
    assert points[1].retention == pytest.approx(points[1].relative_amount / points[0].relative_amount)
    low, high = points[1].retention_interval
    assert low < points[1].retention < high
    assert sds[0] == pytest.approx(0.0, abs=1e-9)
    assert 0 < sds[1] < 0.2 * whole
    assert [point.days for point in points] == [0.0, 30.0]
    assert points[0].quality == LIMITS


def test_without_an_outline_no_film_has_an_amount():
    points, sds = measured(item(oiled(0.5), mask=None, days=3.0))
    assert (points[0].relative_amount, points[0].days, sds) == (None, 3.0, [None])
    assert points[0].quality == LIMITS | Quality.ROI_NOT_MATCHED


def point(amount, base, *, days=30.0, baseline=False, spread=0.0):
    reference = item(oiled(0.5), days=0.0)
    draws = np.linspace(-1, 1, 201)
    made = Amount(amount, amount + spread * draws, anatomy(), Quality.CLIPPED_HU)
    own = Amount(base, np.full(201, base), anatomy(), Quality.NONE)
    film = replace(oiled(0.5, name="2"), quality=Quality.KVP_ASSUMED)
    return films._film_point(item(film, days=days, baseline=baseline), reference, made, own, PARAMS)


def test_retention_of_a_film_is_no_less_than_nothing_and_counts_from_the_reference_on():
    told = point(3.0, 12.0, spread=1.0)
    assert told.retention == pytest.approx(0.25)
    assert told.retention_interval == pytest.approx((0.25 - 0.95 / 12, 0.25 + 0.95 / 12))
    assert told.relative_amount == 3.0
    assert told.quality == LIMITS | Quality.CLIPPED_HU | Quality.KVP_ASSUMED
    gone = point(-1.0, 12.0, spread=2.0)
    assert (gone.retention, gone.retention_interval[0]) == (0.0, 0.0)
    assert gone.quality & Quality.NO_LIPIODOL
    assert point(3.0, 12.0, days=-1.0).retention is None
    assert point(3.0, 12.0, days=0.0).retention == pytest.approx(0.25)
    assert point(3.0, 12.0, baseline=True).retention is None
    assert point(3.0, 0.0).retention is None


def test_a_view_is_the_films_part_about_the_region_in_the_references_window():
    wide = np.tile(np.arange(400.0), (300, 1))
    mask = np.zeros(wide.shape, bool)
    mask[140:161, 90:131] = True
    reference = Film(radiograph(wide), 0.0, False, FilmRoi("L1", mask, "sop.1"))
    view = films._view(wide + 1.0, wide, reference, FilmParams(view_px=100))
    # 50 pixels to either side of row 150 and column 110.
    assert view.image == pytest.approx((wide + 1.0)[100:200, 60:160])
    assert np.array_equal(view.lesion, mask[100:200, 60:160])
    assert view.window == pytest.approx(tuple(np.percentile(np.arange(60.0, 160.0).repeat(100), [1, 99.5])))
    assert (view.unit, view.image.dtype, view.outline.any()) == ("attenuation", np.float32, np.False_)
    # A region wider than the picture has a fifth less than its breadth to either side of its middle.
    large = films._view(wide, wide, reference, FilmParams(view_px=20)).image
    assert large.shape == (66, 66)
    even = films._view(wide, np.ones(wide.shape), reference, FilmParams(view_px=100))
    assert even.window == pytest.approx((1.0, 1.0 + 1e-6), abs=1e-9)


def test_a_course_of_films_has_a_half_life_by_those_that_have_retention():
    seen = [replace(course("x", day).timepoints[0], relative_amount=a, retention=r) for day, a, r in (
        (0.0, 100.0, 1.0), (10.0, None, None), (20.0, 70.0, None), (30.0, 50.0, 0.5),
    )]  # fmt: skip
    told = films._film_course("x", seen, [1.0, None, 1.0, 1.0], KineticsParams(draws=100))
    assert told.kinetics.half_life_days == pytest.approx(30.0)
    assert (told.id, told.quality, told.centroid_mm) == ("x", Quality.FEW_TIMEPOINTS, None)
    assert films._film_course("x", seen[1:2], [None], KineticsParams()).kinetics is None


# --- laid upon each other ---------------------------------------------------------------------------------


def spaced(row, col, plane=SpacingPlane.CALIBRATED):
    return PixelSpacing(row, col, plane)


def test_films_are_laid_in_millimetres_only_where_both_have_them_in_one_plane():
    a, b = radiograph(ROWS, spacing=spaced(0.2, 0.3)), radiograph(ROWS, spacing=spaced(0.4, 0.5))
    bare = radiograph(ROWS)
    detector = radiograph(ROWS, spacing=spaced(0.4, 0.5, SpacingPlane.DETECTOR))
    assert film_alignment._spacing(a, a, b) == (0.2, 0.3)
    assert film_alignment._spacing(b, a, b) == (0.4, 0.5)
    assert film_alignment._spacing(a, a, bare) == film_alignment._spacing(a, bare, a) == (1.0, 1.0)
    assert film_alignment._spacing(a, a, detector) == (1.0, 1.0)


def test_greys_are_told_against_their_middle_and_range_and_cut_at_one():
    image = np.arange(101.0).reshape(1, -1)
    image[0, 100] = 1e6
    told = film_alignment._normalised(image, np.ones(image.shape, bool))
    assert told[0, 50] == 0.0
    assert told[0, 95] - told[0, 5] == pytest.approx(1.0)
    assert (told.max(), told[0, 100]) == (1.0, 1.0)
    assert film_alignment._normalised(-image, np.ones(image.shape, bool)).min() == -1.0
    half = np.arange(101) < 50
    assert (film_alignment._normalised(image, half[None])[0, 50:] == 0).all()
    assert np.isfinite(film_alignment._normalised(image, np.zeros(image.shape, bool))).all()


def test_a_picture_has_its_columns_along_x():
    picture = film_alignment._picture(np.arange(6.0).reshape(2, 3), (0.5, 0.25))
    assert picture.GetSize() == (3, 2)
    assert picture.GetSpacing() == (0.25, 0.5)
    assert picture.GetPixel(2, 0) == 2.0
    assert "float" in picture.GetPixelIDTypeAsString()
    mask = film_alignment._picture(np.ones((2, 3), np.uint8), (0.5, 0.25))
    assert "8-bit unsigned" in mask.GetPixelIDTypeAsString()


def test_likeness_is_the_correlation_over_a_quarter_of_the_picture_or_more():
    image, where = anatomy(), np.zeros(SHAPE, bool)
    where[:15] = True
    assert film_alignment._likeness(3 * image + 1, image, where) == pytest.approx(1.0)
    assert film_alignment._likeness(-image, image, where) == pytest.approx(-1.0)
    where[14, 0] = False
    assert film_alignment._likeness(image, image, where) == -1.0
    assert film_alignment._likeness(np.ones(SHAPE), image, ~where) == -1.0


def aligned(by, *, middles=None, row_mm=None, col_mm=None):
    mm = {} if row_mm is None else {"spacing": spaced(row_mm, col_mm)}
    reference = radiograph(anatomy(), **mm)
    film = radiograph(anatomy(ROWS - by[0], COLS - by[1]), name="2", **mm)
    return film_alignment.align_film(
        film, film.image.astype(float), reference, reference.image.astype(float), DISC, middles,
        params=film_alignment.FilmAlignmentParams(working_px=80, iterations=40),
    )  # fmt: skip


@pytest.mark.parametrize("mm", [{}, {"row_mm": 0.5, "col_mm": 0.25}])
def test_a_film_that_has_gone_is_laid_back(mm):
    found = aligned((3.0, -5.0), **mm)
    inner = (slice(12, -12), slice(12, -12))
    assert found.picture[inner] == pytest.approx(anatomy()[inner], abs=0.03)
    assert found.seen[inner].all()
    assert not found.seen[-1].any()
    assert not found.seen[:, 0].any()
    assert found.carry(np.full(SHAPE, 7.0))[inner] == pytest.approx(7.0)


def test_regions_of_both_films_say_where_the_search_may_start():
    here, there = np.array([30.0, 45.0]), np.array([33.0, 40.0])
    found = aligned((3.0, -5.0), middles=(here, there))
    assert found.picture[20:40, 20:60] == pytest.approx(anatomy()[20:40, 20:60], abs=0.03)


# --- amounts ----------------------------------------------------------------------------------------------


def test_a_pixel_counts_its_area_only_where_it_is_known_in_the_patient():
    assert film_amounts._pixel_area(radiograph(ROWS)) == 1.0
    assert film_amounts._pixel_area(radiograph(ROWS, spacing=spaced(0.5, 0.25))) == pytest.approx(0.125)
    assert film_amounts._pixel_area(radiograph(ROWS, spacing=spaced(0.5, 0.25, SpacingPlane.DETECTOR))) == 1.0


def test_a_background_that_is_a_quadratic_is_found_under_oil_and_is_certain():
    curved = 2.0 + 0.01 * ROWS - 0.02 * COLS + 1e-3 * ROWS * COLS - 5e-4 * COLS**2 + 2e-4 * ROWS**2
    ring = film_amounts._ring(DISC, np.ones(SHAPE, bool), PARAMS)
    level, sd = film_amounts._smooth_background(curved + 0.7 * DISC, DISC, ring)
    assert level == pytest.approx(curved[DISC], abs=1e-6)
    assert sd == pytest.approx(0.0, abs=1e-6)


def test_the_ring_begins_a_gap_beyond_the_region_and_is_as_wide_as_asked():
    ring = film_amounts._ring(DISC, COLS > 20, FilmParams(gap=0.5, ring=1.0))
    away = np.hypot(ROWS - 30, COLS - 45)[ring]
    radius = np.sqrt(np.count_nonzero(DISC) / np.pi)
    assert away.min() == pytest.approx(9 + 0.5 * radius, abs=1.0)
    assert away.max() == pytest.approx(9 + 0.5 * radius + 1.5 * radius, abs=1.0)
    assert not ring[:, :21].any()


@pytest.mark.parametrize(("share", "told"), [(-1.0, 6.0), (0.0, 10.0), (1.0, 16.0)])
def test_an_amount_goes_through_what_no_and_twice_the_scatter_tell(share, told):
    assert film_amounts._with_scatter([10.0, 6.0, 16.0], np.array([share])) == pytest.approx([told])


@pytest.mark.parametrize(
    ("one", "other", "turned"),
    [((0, 0), (5, 0), False), ((0, 0), (5.1, 0), True), ((0, 0), (0, -5.1), True), ((3, 4), (-2, -1), False)],
)
def test_films_are_turned_by_more_than_five_degrees_in_either_angle(one, other, turned):
    a, b = (radiograph(ROWS, pose=CArmPose(*pose)) for pose in (one, other))
    assert film_amounts._turned(a, b, FilmParams()) is turned
    assert film_amounts._turned(a, radiograph(ROWS), FilmParams()) is False
    assert film_amounts._turned(radiograph(ROWS), b, FilmParams()) is False


def test_the_middles_of_both_regions_are_told_the_references_first():
    there = np.roll(DISC, (3, -5), (0, 1))
    here, own = film_amounts._region_shift(item(oiled(0.5), mask=there), item(oiled(0.5)))
    assert here == pytest.approx([30, 45])
    assert own == pytest.approx([33, 40])
    assert film_amounts._region_shift(item(oiled(0.5), mask=None), item(oiled(0.5))) is None
    assert film_amounts._region_shift(item(oiled(0.5)), item(oiled(0.5), mask=None)) is None


def test_a_logarithm_of_known_scale_is_the_beam_again():
    beam = 60_000 * np.exp(-anatomy())
    log = radiograph(400 * np.log(beam), quantity=Quantity.LOG_INTENSITY)
    placed = item(log)
    linear = radiograph(beam, quantity=Quantity.INTENSITY)
    layers = film_amounts._in_units(placed, placed.layers(PARAMS), linear, 400.0, FilmParams())
    assert layers[1] - layers[1].min() == pytest.approx(anatomy() - anatomy().min(), abs=1e-3)
    # The brightest pixel that counts is what nothing attenuates.
    assert layers[1].min() == pytest.approx(0.0, abs=1e-6)
    flash = np.where(ROWS + COLS == 0, 10_000.0, log.image)
    masked = replace(log, image=flash.astype(np.float32), valid=ROWS + COLS > 0)
    shown = film_amounts._in_units(item(masked), item(masked).layers(PARAMS), linear, 400.0, FilmParams())[1]
    assert shown[masked.valid].min() == pytest.approx(0.0, abs=1e-3)
    assert len(layers) == 3
    assert not np.allclose(layers[0], layers[1])
    same = film_amounts._in_units(placed, [ROWS, COLS, ROWS], log, 4.0, FilmParams())
    assert same[1] == pytest.approx(COLS / 4)
