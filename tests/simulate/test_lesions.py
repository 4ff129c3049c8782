"""Tumours, shunts and bleeding are as planned, lie in the liver and hang on real vessels."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.simulate.anatomy.anatomy import Anatomy, AnatomyParams, ShuntKind, TumourKind, build_anatomy, inside
from angio_pipeline.simulate.anatomy.lesions import LesionParams, plan_lesions
from angio_pipeline.simulate.anatomy.tree import Territory

pytestmark = pytest.mark.slow


def _built(seed: int, **settings: Any) -> Anatomy:
    params = AnatomyParams(**({"smallest_diameter_mm": 0.8, "vein_terminals": 200} | settings))
    return build_anatomy(params, np.random.default_rng(seed))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_main_tumour_gets_the_feeders_it_was_planned_with(count: int) -> None:
    for seed in range(3):
        found = _built(seed, feeders_min=count, feeders_max=count, tumours_min=2, tumours_max=2)
        assert all(len(b.entries) == count for b in found.tumours if b.daughter_of is None)


def test_as_many_tumours_as_planned_of_sizes_from_8_to_80_mm() -> None:
    found = _built(3, tumours_min=6, tumours_max=6, tumour_radius_min_mm=4, daughter_probability=0)
    assert len(found.tumours) == 6
    large = _built(4, tumours_min=1, tumours_max=1, tumour_radius_min_mm=40, tumour_radius_max_mm=40)
    assert large.tumours[0].radius_mm == 40


def test_a_liver_may_have_no_tumour() -> None:
    assert _built(1, tumours_min=0, tumours_max=0).tumours == ()


def test_feeders_come_from_both_lobar_arteries_where_asked_and_in_reach() -> None:
    found = _built(
        2,
        tumours_at_mm=((-18.0, -24.0, 42.0),),
        tumour_radius_min_mm=12,
        tumour_radius_max_mm=12,
        feeders_min=2,
        feeders_max=2,
        feeders_other_lobe=1.0,
        feeder_clearance=0.0,
    )
    lobes = {found.arteries.territory[start] for start in found.tumours[0].branch_starts}
    assert lobes == {int(Territory.RIGHT_LIVER), int(Territory.LEFT_LIVER)}


def test_every_feeder_leaves_a_vessel_that_also_feeds_liver_and_supplies_one_tumour_only() -> None:
    found = _built(5, tumours_min=3, tumours_max=3, feeders_min=2, feeders_max=3, feeder_clearance=0.0)
    tree, children = found.arteries, found.arteries.children()
    liver = {int(Territory.RIGHT_LIVER), int(Territory.LEFT_LIVER)}
    for index, tumour in enumerate(found.tumours):
        for start, entry in zip(tumour.branch_starts, tumour.entries, strict=True):
            kinds = {tree.territory[c] for c in children[start]}
            assert int(Territory.FEEDER) in kinds
            assert kinds & liver
            below = [entry]
            for node in below:
                assert tree.tumour[node] == index
                below.extend(children[node])


def test_the_feeders_flow_is_what_the_tumour_takes() -> None:
    found = _built(6, tumours_min=2, tumours_max=2, feeders_min=2, feeders_max=2, feeder_clearance=0.0)
    for tumour in found.tumours:
        taken = tumour.perfused_ml() * tumour.perfusion_per_min / 60
        part = np.asarray(found.arteries.flow)[list(tumour.entries)]
        assert part.sum() == pytest.approx(taken, rel=1e-6)
        assert (part / part.sum()).min() > 0.05
        assert sum(found.arteries.flow[t] for t in tumour.terminals) == pytest.approx(taken, rel=1e-6)


def test_rim_tumours_have_no_vessel_in_their_core_and_only_they_have_one() -> None:
    found = _built(7, tumours_min=2, tumours_max=2, rim_share=1.0, hypovascular_share=0.0)
    for tumour in found.tumours:
        assert tumour.kind is TumourKind.RIM
        assert tumour.core is not None
        ends = np.array([found.arteries.position[t] for t in tumour.terminals])
        assert not inside(tumour.core, ends).any()
    plain = _built(7, rim_share=0.0, hypovascular_share=0.0)
    assert all(t.core is None and t.kind is TumourKind.HYPERVASCULAR for t in plain.tumours)


def test_hypovascular_tumours_take_an_order_less_blood() -> None:
    rich = _built(8, rim_share=0.0, hypovascular_share=0.0, tumours_min=1, tumours_max=1)
    poor = _built(8, rim_share=0.0, hypovascular_share=1.0, tumours_min=1, tumours_max=1)
    assert poor.tumours[0].perfusion_per_min < 0.3 * rich.tumours[0].perfusion_per_min


def test_daughter_nodules_are_smaller_and_near_their_main_tumour() -> None:
    found = _built(9, tumours_min=1, tumours_max=2, daughter_probability=1.0, daughters_max=3)
    daughters = [t for t in found.tumours if t.daughter_of is not None]
    assert daughters
    for nodule in daughters:
        main = found.tumours[nodule.daughter_of or 0]
        gap = np.linalg.norm(nodule.centre_mm - main.centre_mm) - nodule.radius_mm - main.radius_mm
        assert 4.9 < gap < 33
        assert nodule.radius_mm < main.radius_mm
        assert len(nodule.entries) == 1


def test_tumours_lie_in_the_liver_and_apart_as_seen_from_the_front() -> None:
    for seed in range(4):
        found = _built(seed, tumours_min=3, tumours_max=3, frontal_gap_mm=6.0, daughter_probability=0.0)
        centres = np.array([t.centre_mm for t in found.tumours])
        assert inside(found.lobes, centres).all()
        for i, one in enumerate(found.tumours):
            for two in found.tumours[:i]:
                between = np.hypot(*(one.centre_mm - two.centre_mm)[[0, 2]])
                assert between > one.radius_mm + two.radius_mm + 6.0


@pytest.mark.parametrize("kind", list(ShuntKind))
def test_a_shunt_joins_an_artery_to_a_vein_that_carries_more(kind: ShuntKind) -> None:
    found = _built(10, **{f"{kind.value}_probability": 1.0})
    (shunt,) = found.shunts
    veins = found.portal if kind is ShuntKind.ARTERIOPORTAL else found.hepatic
    assert shunt.kind is kind
    assert found.arteries.territory[shunt.artery_node] == int(Territory.SHUNT)
    assert not found.arteries.children()[shunt.artery_node]
    assert found.arteries.flow[shunt.artery_node] == pytest.approx(shunt.flow_ml_s, rel=1e-9)
    np.testing.assert_array_equal(found.arteries.position[shunt.artery_node], veins.position[shunt.vein_node])
    assert veins.flow[shunt.vein_node] > shunt.flow_ml_s


def test_a_bleeding_artery_loses_what_it_says() -> None:
    bleed = _built(11, bleed_probability=1.0).bleed
    assert bleed is not None
    found = _built(11, bleed_probability=1.0)
    assert found.arteries.territory[bleed.artery_node] == int(Territory.BLEED)
    assert found.arteries.flow[bleed.artery_node] == pytest.approx(bleed.flow_ml_s, rel=1e-9)


def test_plans_follow_the_wished_mix_of_kinds_and_numbers_of_feeders() -> None:
    params = LesionParams(tumours_min=6, tumours_max=6, feeders_min=1, feeders_max=4, rim_share=0.5)
    rng = np.random.default_rng(0)
    plans = [p for _ in range(200) for p in plan_lesions(params, rng) if p.daughter_of is None]
    assert np.mean([p.kind is TumourKind.RIM for p in plans]) == pytest.approx(0.5, abs=0.06)
    assert np.bincount([p.feeders for p in plans])[1:] == pytest.approx(np.full(4, 300), abs=70)


@pytest.mark.parametrize(
    "names",
    ["tumours_X", "feeders_X", "tumour_radius_X_mm", "shunt_flow_X_ml_s", "bleed_flow_X_ml_s"],
)
def test_a_least_above_the_greatest_is_refused_by_name(names: str) -> None:
    low, high = names.replace("X", "min"), names.replace("X", "max")
    greatest = {"tumours_X": 2, "feeders_X": 2, "tumour_radius_X_mm": 19}.get(names, 0.05)
    with pytest.raises(ValidationError, match=f"{low} must not exceed {high}"):
        AnatomyParams(**{low: 4 if greatest in (2, 2.0) else 4 * greatest if greatest < 1 else 30, high: greatest})


def test_a_negative_flow_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="shunt_flow_min_ml_s"):
        AnatomyParams(shunt_flow_min_ml_s=-1.0)


def test_more_feeders_than_branches_are_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="feeders_max times tumours_max must not be above terminals"):
        AnatomyParams(terminals=20, feeders_max=4, tumours_max=6)


@pytest.mark.parametrize(
    ("at", "reason"),
    [((0.0, 0.0, -150.0), "lie in the liver"), ((-20.0, 8.0, 4.0), "clear of the great vessels")],
)
def test_a_tumour_in_an_impossible_place_is_refused_by_name(at: tuple[float, float, float], reason: str) -> None:
    with pytest.raises(ConfigError, match=f"tumours_at_mm .*{reason}"):
        _built(0, tumours_at_mm=(at,))


def test_tumours_in_one_place_are_refused_by_name() -> None:
    at = (-60.0, 6.0, 30.0)
    with pytest.raises(ConfigError, match="tumours_at_mm to be apart"):
        _built(0, tumours_at_mm=(at, at))


def test_tumours_without_room_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="tumours_max"):
        _built(0, terminals=24, tumours_min=6, tumours_max=6, tumour_radius_min_mm=38, tumour_radius_max_mm=40)
