"""Laws of the radiographs: relative amounts in a given region, compared within one patient."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from scipy import ndimage

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.followups import FilmRoi, Radiograph
from angio_pipeline.core.geometry import CArmPose
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Quantity
from angio_pipeline.lipiodol import LipiodolParams, follow_lesions
from angio_pipeline.lipiodol.film_amounts import film_attenuation

PARAMS = LipiodolParams()
SIDE, RADIUS, CENTRE = 256, 22.0, (130.0, 96.0)
ROWS, COLS = np.indices((SIDE, SIDE)).astype(float)


def anatomy(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Attenuation of a trunk with a spine and ribs, smooth enough to be sampled anywhere."""
    trunk = 3.2 - 1.2 * ((cols - 128) / 128) ** 2 + 0.3 * np.sin(rows / 60)
    spine = 0.8 / (1 + np.exp((np.abs(cols - 180) - 16) / 2)) * (1 + 0.2 * np.sin(rows / 6))
    ribs = 0.25 / (1 + np.exp((np.abs((rows - 0.25 * cols) % 44 - 22) - 5) / 1.2))
    return trunk + spine + ribs


def oil(amount: float, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    r2 = ((rows - CENTRE[0]) ** 2 + (cols - CENTRE[1]) ** 2) / RADIUS**2
    return amount * np.sqrt(np.clip(1 - r2, 0, None))


def film(
    amount: float,
    *,
    date: str = "20240101",
    moved: tuple[float, float] = (0.0, 0.0),
    exposure: float = 1.0,
    quantity: Quantity = Quantity.INTENSITY,
    pose: CArmPose | None = None,
    seed: int = 0,
) -> Radiograph:
    rows, cols = ROWS - moved[0], COLS - moved[1]
    a = anatomy(rows, cols) + oil(amount, rows, cols)
    intensity = exposure * 60_000 * np.exp(-a)
    intensity += np.random.default_rng(seed).normal(0, np.sqrt(intensity) * 0.5)
    intensity = ndimage.gaussian_filter(intensity, 0.7)
    image = intensity if quantity is Quantity.INTENSITY else 1000 * np.log(intensity)
    source = Source(f"1.{date}.{seed}", f"2.{date}.{seed}", date=date, modality="DX")
    white = 65_535.0 if quantity is Quantity.INTENSITY else None
    return Radiograph(image, quantity, np.ones(image.shape, dtype=bool), source, pose=pose, white_level=white)


def region(of: Radiograph, name: str = "L1") -> FilmRoi:
    mask = (ROWS - CENTRE[0]) ** 2 + (COLS - CENTRE[1]) ** 2 <= (RADIUS + 2) ** 2
    return FilmRoi(name, mask, of.source.sop_instance_uid)


def follow(films, rois, treated=None):
    return follow_lesions([], [], films, rois, treated=treated, params=PARAMS)


# These films hold no scatter: they are read as such.
CLEAN = LipiodolParams(films={"scatter": 0.0})


def retention(second: Radiograph, params: LipiodolParams = CLEAN):
    first = film(0.5, seed=1)
    result = follow_lesions([], [], [second, first], [region(first)], treated=None, params=params)
    return result.lesions[0].timepoints[1]


@pytest.mark.parametrize("left", [1.0, 0.5, 0.2])
def test_the_share_left_is_found(left):
    point = retention(film(0.5 * left, date="20240201", seed=2))
    assert point.retention == pytest.approx(left, abs=0.05)
    assert point.retention_interval[0] <= left <= point.retention_interval[1]


def test_exposure_and_position_do_not_matter():
    point = retention(film(0.25, date="20240201", exposure=0.6, moved=(9, -14), seed=3))
    assert point.retention == pytest.approx(0.5, abs=0.06)


def test_logarithms_of_unknown_scale_are_matched_by_the_anatomy():
    first = film(0.5, quantity=Quantity.LOG_INTENSITY, seed=4)
    second = film(0.25, date="20240201", quantity=Quantity.LOG_INTENSITY, moved=(3, 5), seed=5)
    point = follow([first, second], [region(first)]).lesions[0].timepoints[1]
    assert point.retention == pytest.approx(0.5, abs=0.06)


@pytest.mark.slow
def test_scatter_that_may_be_there_widens_the_interval():
    second = film(0.25, date="20240201", seed=6)
    plain, cautious = retention(second), retention(second, PARAMS)
    width = [np.ptp(point.retention_interval) for point in (plain, cautious)]
    assert width[1] > width[0]


def test_amounts_are_relative_and_the_limit_is_stated():
    point = retention(film(0.25, date="20240201", seed=7))
    assert Quality.RELATIVE_ONLY | Quality.PROJECTION_LIMIT in point.quality
    assert point.iodine_mg is None
    assert point.volume_mm3 is None
    assert point.relative_amount > 0


def test_without_a_region_there_is_no_amount_and_no_lesion():
    result = follow([film(0.5, seed=8)], [])
    assert result.lesions == ()
    assert Quality.RELATIVE_ONLY | Quality.PROJECTION_LIMIT in result.quality
    (refusal,) = result.left_out
    assert refusal.reason == "no_lesion"
    assert "--roi" in refusal.sentence


def test_undated_films_are_left_out_and_the_others_followed():
    first, undated = film(0.5, seed=17), film(0.5, date="undated", seed=18)
    result = follow([undated, first], [region(first)])
    assert [point.source.date for point in result.lesions[0].timepoints] == ["20240101"]
    assert [refusal.reason for refusal in result.left_out] == ["undated"]
    with pytest.raises(InputRefused, match="Expected a date"):
        follow([undated, undated], [])


def test_a_region_called_liver_is_no_lesion_on_films():
    only = film(0.5, seed=19)
    result = follow([only], [region(only, "liver")])
    assert result.lesions == ()
    assert [refusal.reason for refusal in result.left_out] == ["no_lesion"]


def test_another_angulation_is_not_compared():
    first = film(0.5, pose=CArmPose(0, 0), seed=9)
    second = film(0.5, date="20240201", pose=CArmPose(30, 0), seed=10)
    point = follow([first, second], [region(first)]).lesions[0].timepoints[1]
    assert point.retention is None
    assert Quality.FILMS_NOT_COMPARABLE in point.quality


def test_a_film_before_treatment_has_no_retention():
    before, after = film(0.0, date="20231220", seed=11), film(0.5, date="20240102", seed=12)
    points = follow([before, after], [region(after)], datetime(2024, 1, 1)).lesions[0].timepoints
    assert [point.retention for point in points] == [None, 1.0]
    assert Quality.NO_LIPIODOL in points[0].quality


def test_two_films_give_a_half_life_with_an_interval():
    first, second = film(0.5, seed=13), film(0.25, date="20240131", seed=14)
    kinetics = follow_lesions([], [], [first, second], [region(first)], treated=None, params=CLEAN).lesions[0].kinetics
    assert kinetics.half_life_days == pytest.approx(30, rel=0.12)
    assert kinetics.half_life_interval[0] <= 30 <= kinetics.half_life_interval[1]


def test_two_films_of_one_moment_have_amounts_and_no_half_life():
    first, second = film(0.5, seed=15), film(0.5, seed=16)
    course = follow([first, second], [region(first)]).lesions[0]
    assert [point.days for point in course.timepoints] == [0, 0]
    assert course.timepoints[1].retention == pytest.approx(1, abs=0.06)
    assert course.kinetics is None
    assert Quality.FEW_TIMEPOINTS in course.quality


def test_attenuation_takes_off_the_veil():
    primary = 10_000 * np.exp(-anatomy(ROWS, COLS))
    veiled = primary + 0.4 * ndimage.gaussian_filter(primary, 25.6)
    valid = np.ones(primary.shape, dtype=bool)
    clean, foggy = (
        film_attenuation(Radiograph(i, Quantity.INTENSITY, valid, Source("1", "2"), white_level=1e4), s)
        for i, s in ((primary, 0.0), (veiled, 0.4))
    )
    unchanged = film_attenuation(Radiograph(veiled, Quantity.INTENSITY, valid, Source("1", "2"), white_level=1e4), 0.0)
    assert np.std(foggy - clean) < 0.35 * np.std(unchanged - clean)


def presented(amount: float, *, scale: float, date: str = "20240301", seed: int = 30) -> Radiograph:
    """A film for presentation: logarithms of the beam in steps of its own, bones white turned over."""
    made = film(amount, date=date, moved=(4, -6), seed=seed)
    image = scale * np.log(made.image / made.image.max()) + 4095
    return Radiograph(image, Quantity.LOG_INTENSITY, made.valid, made.source)


@pytest.mark.parametrize("scale", [400.0, 740.0, 12_000.0])
def test_a_logarithmic_film_is_compared_with_a_linear_one_whatever_its_steps(scale):
    point = retention(presented(0.25, scale=scale))
    assert point.retention == pytest.approx(0.5, abs=0.08)
    assert point.retention_interval[0] <= 0.5 <= point.retention_interval[1]


def test_a_displayed_film_is_never_compared_with_a_linear_one():
    shown = film(0.25, date="20240301", seed=31)
    other = Radiograph(shown.image**0.6, Quantity.STORED, shown.valid, shown.source)
    point = retention(other)
    assert point.retention is None
    assert point.relative_amount is None
    assert Quality.FILMS_NOT_COMPARABLE in point.quality


def test_a_film_of_other_anatomy_has_no_retention_and_says_why():
    rng = np.random.default_rng(32)
    clouds = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 12)
    source = Source("1.x", "2.x", date="20240301", modality="DX")
    other = Radiograph(3000 + 30_000 * clouds, Quantity.LOG_INTENSITY, np.ones((SIDE, SIDE), dtype=bool), source)
    point = retention(other)
    assert point.retention is None
    assert Quality.FILMS_NOT_COMPARABLE in point.quality
    assert any("cannot be compared" in sentence for sentence in point.quality.sentences())


def test_without_a_treatment_date_the_first_film_with_oil_is_the_reference():
    clean, first = film(0.0, date="20231201", seed=33), film(0.5, seed=34)
    second = film(0.25, date="20240201", seed=35)
    films = [clean, first, second]
    points = follow_lesions([], [], films, [region(f) for f in films], treated=None, params=CLEAN).lesions[0].timepoints
    assert points[0].retention is None
    assert points[1].retention == 1.0
    assert points[2].retention == pytest.approx(0.5, abs=0.06)
