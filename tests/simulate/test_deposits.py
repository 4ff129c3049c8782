"""Oil has a mass, a pattern and a course; a film of it loses nothing."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import label

from angio_pipeline.core.followups import Pattern
from angio_pipeline.simulate.aftermath.deposits import (
    Deposit,
    DepositParams,
    OilGrid,
    Washout,
    draw_pattern,
    draw_washout,
    make_deposit,
    oil_areal_density,
    oil_attenuation,
    wall_oil,
)
from angio_pipeline.simulate.aftermath.lesion_grid import LesionGrid, make_grid
from angio_pipeline.simulate.anatomy.lesions import TumourBody, TumourKind
from angio_pipeline.simulate.radiograph.projection import CArm, Ellipsoids

CENTRE = np.array([-60.0, 5.0, 10.0])
BODY = TumourBody(CENTRE, 14.0, Ellipsoids.aligned(CENTRE, [14.0] * 3), TumourKind.HYPERVASCULAR)


def grid() -> LesionGrid:
    return make_grid(BODY)


def oil(pattern: Pattern, mean: float = 20.0, seed: int = 0, **settings: float) -> Deposit:
    return make_deposit(grid(), pattern, mean, DepositParams(**settings), np.random.default_rng(seed))


@pytest.mark.parametrize("pattern", [Pattern.HOMOGENEOUS, Pattern.DEFECTIVE, Pattern.INHOMOGENEOUS, Pattern.FAINT])
def test_iodine_is_the_mean_times_the_volume_in_every_pattern(pattern: Pattern) -> None:
    made = oil(pattern)
    assert made.oil.iodine_mg == pytest.approx(20.0 * grid().volume_mm3 / 1000, rel=1e-4)


def filled(deposit: Deposit) -> float:
    solid = grid().solid
    return float((solid * deposit.region).sum() / solid.sum())


def test_patterns_differ_as_their_names_say() -> None:
    whole, holed, patchy = (oil(p, defect=0.4) for p in (Pattern.HOMOGENEOUS, Pattern.DEFECTIVE, Pattern.INHOMOGENEOUS))
    assert filled(whole) > 0.97
    assert filled(holed) < 0.85
    assert filled(patchy) < 0.85
    inside = grid().solid > 0.99
    spread = [np.std(np.log(d.oil.mg_ml[inside & d.region])) for d in (whole, patchy)]
    assert spread[1] > 2 * spread[0]


def test_a_defect_lies_together_where_patches_are_scattered() -> None:
    def pieces(pattern: Pattern) -> float:
        holes = ((grid().solid > 0.9) & ~oil(pattern, seed=k, defect=0.4).region for k in range(6))
        return float(np.mean([label(hole)[1] for hole in holes]))

    assert pieces(Pattern.INHOMOGENEOUS) > 2 * pieces(Pattern.DEFECTIVE)


def test_an_unreached_part_takes_no_oil() -> None:
    left = np.zeros(grid().solid.shape, bool)
    left[:, :, : left.shape[2] // 2] = True
    made = make_deposit(grid(), Pattern.HOMOGENEOUS, 20.0, DepositParams(), np.random.default_rng(0), left)
    assert not made.region[left].any()
    assert made.oil.iodine_mg == pytest.approx(20.0 * grid().volume_mm3 / 1000, rel=1e-4)


def test_what_died_more_took_oil_more_completely() -> None:
    def share(necrosis: float) -> float:
        rng = np.random.default_rng(1)
        return float(np.mean([draw_pattern(DepositParams(), necrosis, rng) is Pattern.HOMOGENEOUS for _ in range(400)]))

    assert share(1.0) > share(0.0) + 0.2


def test_a_shrinking_lesion_keeps_its_oil() -> None:
    made = oil(Pattern.HOMOGENEOUS).oil
    smaller = made.changed(0.5, scale=0.7)
    assert smaller.iodine_mg == pytest.approx(0.5 * made.iodine_mg, rel=1e-5)
    assert smaller.mg_ml.max() == pytest.approx(0.5 / 0.7**3 * made.mg_ml.max(), rel=1e-5)


def test_half_is_left_after_the_half_life() -> None:
    assert Washout(40.0).left(40.0) == pytest.approx(0.5)
    assert Washout(40.0).days_to_half(1.0) == 40.0
    assert Washout(40.0).left(-1.0) == 0


@pytest.mark.parametrize("first", [0.0, 1.0, 10.0])
def test_the_half_life_of_two_exponentials_is_when_half_of_the_first_amount_is_left(first: float) -> None:
    washout = Washout(60.0, 0.4, 5.0)
    days = washout.days_to_half(first)
    assert washout.left(first + days) == pytest.approx(0.5 * washout.left(first), rel=1e-6)
    assert 5 < days < 60


def test_drawn_washout_keeps_to_its_ends() -> None:
    rng = np.random.default_rng(0)
    params = DepositParams(half_life_min_days=30, half_life_max_days=40, biexponential=0.5)
    drawn = [draw_washout(params, 0.5, rng) for _ in range(100)]
    assert all(15 <= w.half_life_days <= 20 for w in drawn)
    assert 30 < sum(w.fast_share > 0 for w in drawn) < 70


class Held:
    def __init__(self, *grids: OilGrid) -> None:
        self.grids = grids

    def oil(self, days: float) -> tuple[OilGrid, ...]:
        return tuple(g.changed(2 ** (-days / 10)) for g in self.grids)


@pytest.mark.parametrize(("primary", "days"), [(0.0, 0.0), (-30.0, 0.0), (0.0, 10.0)])
def test_a_film_holds_all_the_iodine(primary: float, days: float) -> None:
    carm = CArm(256, 256, 1.2, 1100.0, 750.0, primary, 0.0, tuple(CENTRE))
    made = oil(Pattern.HOMOGENEOUS)
    image = oil_areal_density(carm, Held(made.oil), days)
    # Areal density is per mm² at the depth of the oil, which lies in the isocentre.
    mass = image.sum() * carm.isocentre_pixel_mm**2
    assert mass == pytest.approx(made.oil.iodine_mg * 2 ** (-days / 10), rel=0.01)
    np.testing.assert_allclose(oil_attenuation(carm, Held(made.oil), days, 2.0), 2 * image)


def test_a_film_shows_no_mesh_of_cells() -> None:
    # An even cube of oil, seen along its cells, is even in its middle.
    carm = CArm(256, 256, 0.4, 1100.0, 750.0)
    cube = OilGrid(np.zeros(3), 0.7, np.full((60, 60, 60), 10.0, np.float32))
    image = oil_areal_density(carm, Held(cube), 0.0)[108:148, 108:148]
    assert image.max() / image.min() < 1.02
    assert image.mean() == pytest.approx(10.0 * 42.0 / 1000, rel=0.02)


def test_oil_in_a_wall_lies_in_the_wall() -> None:
    organ = Ellipsoids.aligned([0.0, 0.0, 0.0], [15.0, 15.0, 30.0])
    made = wall_oil(organ, np.array([40.0, 0.0, 0.0]), 12.0)
    assert made.iodine_mg == pytest.approx(12.0, rel=1e-4)
    np.testing.assert_allclose(made.centre_mm, [15, 0, 0], atol=1e-6)


def test_rim_oil_fades_into_the_liver() -> None:
    made, lesion = oil(Pattern.HOMOGENEOUS, liver_mg_ml=2.0), grid()
    assert made.rim.mg_ml[lesion.solid > 0.99].max() == 0
    assert made.rim.mg_ml.max() <= 2.0
    assert made.rim.mg_ml[(lesion.distance_mm > 5.8) & (lesion.distance_mm < 6.2)].max() == pytest.approx(
        2.0 * np.exp(-2), rel=0.1
    )


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"concentration_min_mg_ml": 40.0}, "concentration_min_mg_ml"),
        ({"half_life_min_days": 90.0}, "half_life_min_days"),
        ({"homogeneous": 0.0, "defective": 0.0, "inhomogeneous": 0.0, "faint": 0.0}, "homogeneous"),
        ({"defect": 0.95}, "defect"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, float], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        DepositParams.model_validate(settings)
