"""What treatment did: flow, oil, necrosis, size; all of it known and none of it before day 0."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from angio_pipeline.core.followups import Pattern
from angio_pipeline.simulate.aftermath.deposits import DepositParams
from angio_pipeline.simulate.aftermath.treatment import Treatment, TreatmentParams, VolumeCourse, draw_treatment
from angio_pipeline.simulate.anatomy.lesions import TumourKind
from angio_pipeline.simulate.cohort import PatientPlan
from angio_pipeline.simulate.radiograph.projection import Tubes

QUIET = {"new_lesions_per_year": 0.0, "residual_spread": 0.0}


Plan = Callable[..., PatientPlan]
Treat = Callable[..., Treatment]


@pytest.fixture
def treat(anatomy: Callable[..., Any], plan: Plan) -> Treat:
    def treat(seed: int = 0, deposit: DepositParams | None = None, who: Any = None, **settings: Any) -> Treatment:
        params = TreatmentParams.model_validate(QUIET | settings)
        return draw_treatment(anatomy(), who or plan(), params, np.random.default_rng(seed), deposit=deposit)

    return treat


def test_the_same_seed_gives_the_same_treatment(treat: Treat) -> None:
    a, b = treat(5), treat(5)
    assert [x.iodine_mg(0) for x in a.lesions] == [x.iodine_mg(0) for x in b.lesions]
    np.testing.assert_array_equal(a.lesions[0].order, b.lesions[0].order)


def test_feeders_keep_the_residual_flow_and_others_keep_theirs(treat: Treat, anatomy: Callable[..., Any]) -> None:
    body = anatomy()
    made = treat(residual_flow=0.2, segment_kept=0.6)
    kept, tumour = made.kept(body), np.asarray(body.arteries.tumour)
    np.testing.assert_allclose(kept[tumour >= 0], 0.2)
    near, far = body.liver_terminals[0], body.liver_terminals[-1]
    assert kept[near] == pytest.approx(0.6)
    assert kept[far] == 1.0 or kept[far] == pytest.approx(0.6)
    assert kept[0] == 1.0


def test_without_stasis_nothing_is_kept_back(treat: Treat, plan: Plan) -> None:
    made = treat(who=plan(stasis=0.0, oil_ml=0.0), residual_flow=0.0, segment_kept=0.3)
    np.testing.assert_array_equal(made.flow_kept, 1.0)


def test_a_missed_feeder_keeps_its_flow_and_its_part_takes_no_oil(treat: Treat) -> None:
    made = treat(missed_feeder=1.0)
    flows = made.lesions[0].residual_flow
    assert sorted(flows) == [0.0, 1.0]
    deposit, grid = made.lesions[0].deposit, made.lesions[0].grid
    assert deposit is not None
    # Feeders enter from the back and from the front.
    behind = grid.points_mm(deposit.region & (grid.solid > 0.9))[:, 1] > grid.centre_mm[1]
    assert behind.mean() == pytest.approx(0.0 if flows[0] == 1.0 else 1.0, abs=0.02)


def test_main_tumour_and_daughter_die_as_planned(treat: Treat, plan: Plan) -> None:
    made = treat(who=plan(necrosis_main=0.6, necrosis_daughter=0.3))
    for lesion, share in zip(made.lesions, (0.6, 0.3), strict=True):
        assert lesion.necrosis(0) == pytest.approx(share)
        alive = lesion.living(0.0).sum() / lesion.grid.solid.sum()
        assert alive == pytest.approx(1 - share, abs=0.01)


def test_before_treatment_only_the_core_is_dead(plan: Plan, anatomy: Callable[..., Any]) -> None:
    params = TreatmentParams.model_validate(QUIET)
    made = draw_treatment(anatomy(kind=TumourKind.RIM), plan(), params, np.random.default_rng(0)).lesions[0]
    assert made.necrosis(-3) == pytest.approx(made.grid.core_share)
    assert made.living(-3.0)[made.grid.core].max() == 0
    assert made.scale(-3) == pytest.approx(1)
    assert made.iodine_mg(-3) == 0


def test_what_lives_after_treatment_lived_before(treat: Treat) -> None:
    lesion = treat().lesions[0]
    assert (lesion.living(28.0) <= lesion.living(-3.0)).all()


def test_volumes_follow_resorption_and_doubling() -> None:
    course = VolumeCourse(0.0, 0.75, 0.4, 50.0, 100.0)
    assert sum(course.parts(0)) == pytest.approx(1)
    dead, alive = course.parts(100.0)
    assert alive == pytest.approx(0.5)
    assert dead == pytest.approx(0.75 * (0.4 + 0.6 * np.exp(-2)))


def test_a_dead_tumour_shrinks_and_vanishes_when_nothing_remains(treat: Treat, plan: Plan) -> None:
    made = treat(who=plan(necrosis_main=1.0), remainder_min=0.0, remainder_max=0.0).lesions[0]
    sizes = [made.scale(d) for d in (0, 28, 84, 365)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0
    assert made.iodine_mg(365) > 0


def test_a_living_tumour_grows(treat: Treat, plan: Plan) -> None:
    made = treat(who=plan(necrosis_main=0.0, oil_ml=0.0), doubling_min_days=90.0, doubling_max_days=90.0).lesions[0]
    assert made.scale(90) == pytest.approx(2 ** (1 / 3))
    assert made.pattern is Pattern.NONE
    assert made.half_life_days() is None


def test_no_more_oil_lies_in_tumours_than_was_given(treat: Treat, plan: Plan) -> None:
    rich = DepositParams(concentration_min_mg_ml=350.0, concentration_max_mg_ml=400.0, faint=0.0)
    made = treat(deposit=rich, who=plan(oil_ml=3.0))
    assert sum(lesion.iodine_mg(0) for lesion in made.lesions) == pytest.approx(0.85 * 3.0 * 480.0, rel=1e-3)


def test_all_oil_is_accounted_for(treat: Treat) -> None:
    made = treat(non_target=1.0)
    for days in (0.0, 4.0, 28.0):
        told = sum(x.iodine_mg(days) for x in made.lesions) + made.liver_iodine_mg(days)
        told += sum(made.wall_iodine_mg(days).values())
        assert sum(grid.iodine_mg for grid in made.oil(days)) == pytest.approx(told, rel=1e-4)
    assert made.oil(-1.0) == ()


def test_liver_lets_its_oil_go_in_days(treat: Treat) -> None:
    made = treat(deposit=DepositParams(liver_half_life_days=4.0))
    assert made.liver_iodine_mg(4.0) == pytest.approx(0.5 * made.liver_iodine_mg(0.0))
    assert made.segment is not None
    assert made.segment.mg_ml.max() == pytest.approx(0.5, rel=1e-4)


def test_stray_oil_lies_where_the_branch_ends(treat: Treat) -> None:
    made = treat(non_target=1.0)
    assert "gallbladder" in made.walls
    assert np.linalg.norm(made.walls["gallbladder"].centre_mm - [-35, -25, -35]) < 30


def test_new_lesions_appear_inside_the_liver_and_grow(treat: Treat) -> None:
    made = treat(3, new_lesions_per_year=6.0)
    assert made.new_lesions
    assert [x.id for x in made.new_lesions] == [f"N{k + 1}" for k in range(len(made.new_lesions))]
    for lesion in made.new_lesions:
        day = lesion.appears_days
        assert day is not None
        assert lesion.scale(day - 0.1) == 0
        assert lesion.scale(day) == pytest.approx(1)
        assert lesion.scale(day + 100) > 1
        assert lesion.iodine_mg(day) == 0


def test_the_plan_stretches_the_half_life(treat: Treat, plan: Plan) -> None:
    usual, long = treat(2), treat(2, who=plan(half_life_factor=2.0))
    assert long.lesions[0].half_life_days() == pytest.approx(2 * usual.lesions[0].half_life_days())


def test_another_anatomy_is_refused(treat: Treat, anatomy: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="anatomy that was treated"):
        treat().kept(anatomy(daughter=False))


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"film_days": (28.0, 0.0)}, "film_days"),
        ({"film_days": (-1.0, 28.0)}, "film_days"),
        ({"remainder_min": 0.9}, "remainder_min"),
        ({"doubling_min_days": 400.0}, "doubling_min_days"),
        ({"residual_flow": -0.1}, "residual_flow"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        TreatmentParams.model_validate(settings)


def test_stray_oil_lies_in_the_wall_of_the_organ_the_body_has(anatomy: Callable[..., Any], plan: Plan) -> None:
    tube = Tubes(np.array([[-30.0, -20.0, -40.0]]), np.array([[-30.0, -20.0, 0.0]]), np.array([9.0]))
    part = SimpleNamespace(name="gallbladder", solids=tube)
    made = draw_treatment(
        anatomy(),
        plan(),
        TreatmentParams.model_validate(QUIET | {"non_target": 1.0}),
        np.random.default_rng(0),
        body=SimpleNamespace(parts=(part,)),
    )
    where = made.walls["gallbladder"].centre_mm
    assert np.hypot(where[0] + 30, where[1] + 20) == pytest.approx(9.0, abs=1.0)
