"""One patient's vessels hang together: flow, widths, catheters, devices, and the same again from the same seed."""

import numpy as np
import pytest

from angio_pipeline.simulate.anatomy.anatomy import Anatomy, AnatomyParams, build_anatomy, inside
from angio_pipeline.simulate.anatomy.tree import Tree


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    """Return a patient with nearly everything a patient can have, down to the finest twigs."""
    params = AnatomyParams(
        tumours_min=2,
        tumours_max=2,
        feeders_min=2,
        feeders_max=2,
        feeder_clearance=0,
        arterioportal_probability=1,
        bleed_probability=1,
        coils_probability=1,
        clips_probability=1,
    )
    return build_anatomy(params, np.random.default_rng(5))


def _trees(anatomy: Anatomy) -> list[Tree]:
    return [anatomy.arteries, anatomy.portal, anatomy.hepatic, anatomy.tributaries]


@pytest.mark.slow
def test_flow_splits_add_up_at_every_node(anatomy: Anatomy) -> None:
    for tree in _trees(anatomy):
        flow = np.asarray(tree.flow)
        for node, below in enumerate(tree.children()):
            if below:
                assert flow[below].sum() == pytest.approx(flow[node], rel=1e-9)


def test_radii_obey_murrays_law_at_every_fork(anatomy: Anatomy) -> None:
    for tree in _trees(anatomy):
        radii = tree.radii_mm()
        for node, below in enumerate(tree.children()):
            if below:
                assert (radii[below] ** 3).sum() == pytest.approx(radii[node] ** 3, rel=1e-6)


def test_every_vessel_carries_flow_and_is_reached_from_the_root(anatomy: Anatomy) -> None:
    for tree in _trees(anatomy):
        assert sorted(tree.downward()) == list(range(len(tree)))
        assert min(tree.flow) > 0


def test_the_finest_liver_arteries_are_at_most_three_tenths_of_a_millimetre_wide(anatomy: Anatomy) -> None:
    width = 2 * anatomy.arteries.radii_mm()[list(anatomy.liver_terminals)]
    assert len(width) > 2500
    assert width.max() <= 0.3


def test_the_common_hepatic_artery_is_as_wide_as_asked_for_its_flow(anatomy: Anatomy) -> None:
    tree = anatomy.arteries
    node = tree.named("common hepatic")[0]
    assert tree.radii_mm()[node] == pytest.approx(2.4 * np.cbrt(tree.flow[node] / 7.0), rel=1e-9)


@pytest.mark.slow
def test_terminals_end_vessels_inside_the_liver(anatomy: Anatomy) -> None:
    ends = (
        (anatomy.arteries, anatomy.liver_terminals),
        (anatomy.portal, anatomy.portal_terminals),
        (anatomy.hepatic, anatomy.hepatic_terminals),
    )
    for tree, terminals in ends:
        children = tree.children()
        assert not any(children[t] for t in terminals)
        assert inside(anatomy.lobes, np.array([tree.position[t] for t in terminals])).mean() > 0.995


def test_what_the_portal_root_carries_is_what_its_tributaries_bring(anatomy: Anatomy) -> None:
    assert anatomy.tributaries.flow[0] == pytest.approx(anatomy.portal.flow[0], rel=1e-9)
    np.testing.assert_array_equal(anatomy.tributaries.position[0], anatomy.portal.position[0])


def test_bifurcations_are_uneven_as_those_of_organs_are(anatomy: Anatomy) -> None:
    tree, radii = anatomy.arteries, anatomy.arteries.radii_mm()
    forks = [sorted(radii[below]) for n, below in enumerate(tree.children()) if len(below) == 2 and radii[n] > 0.5]
    ratio = np.array([small / large for small, large in forks])
    assert 0.15 < np.median(ratio) < 0.8


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (0, {"celiac"}),
        (1, {"common hepatic"}),
        (2, {"proper hepatic"}),
        (3, {"right hepatic", "left hepatic"}),
        (4, {f"segment {k}" for k in range(1, 9)} | {"right anterior", "right posterior", "left lateral"}),
    ],
)
def test_a_catheter_stands_in_the_artery_of_its_order(order: int, names: set[str]) -> None:
    params = AnatomyParams(variant=1, terminals=150, vein_terminals=60, tumours_min=2, tumours_max=2)
    found = build_anatomy(params, np.random.default_rng(order))
    for toward in (None, 0, 1):
        catheter = found.place_catheter(order, toward)
        assert found.arteries.name[catheter.tip_node] in names
        assert catheter.order == order
        np.testing.assert_array_equal(catheter.course_mm[-1], found.arteries.position[catheter.tip_node])
        assert catheter.course_mm[0, 2] < -150


@pytest.mark.slow
@pytest.mark.parametrize("variant", range(1, 11))
def test_a_catheter_goes_into_the_artery_that_leads_to_the_tumour(variant: int) -> None:
    params = AnatomyParams(variant=variant, terminals=150, vein_terminals=60, feeder_clearance=0)
    found = build_anatomy(params, np.random.default_rng(variant))
    for toward, body in enumerate(found.tumours):
        entry = max(body.entries, key=lambda e: found.arteries.flow[e])
        way = found.arteries.way(entry)
        tips = [found.place_catheter(order, toward).tip_node for order in range(5)]
        assert set(tips) <= set(way)
        assert [way.index(t) for t in tips] == sorted(way.index(t) for t in tips)


def test_a_right_lobe_fed_from_the_mesenteric_artery_is_reached_through_it() -> None:
    params = AnatomyParams(
        variant=3,
        terminals=150,
        vein_terminals=60,
        tumours_at_mm=((-65.0, 10.0, 25.0),),
        feeders_other_lobe=0,
        feeder_clearance=0,
    )
    found = build_anatomy(params, np.random.default_rng(1))
    names = [found.arteries.name[found.place_catheter(order, 0).tip_node] for order in (0, 1, 2, 3)]
    assert names == ["superior mesenteric", *["replaced right hepatic"] * 3]


def test_orders_and_tumours_that_do_not_exist_are_refused(anatomy: Anatomy) -> None:
    with pytest.raises(ValueError, match="order from 0"):
        anatomy.place_catheter(7)
    with pytest.raises(ValueError, match="toward"):
        anatomy.place_catheter(1, 9)


def test_coils_lie_at_the_gastroduodenal_stump_and_clips_by_the_gallbladders_bed(anatomy: Anatomy) -> None:
    tree, devices = anatomy.arteries, anatomy.devices
    stump = np.array([tree.position[n] for n in tree.named("gastroduodenal")])
    gap = np.linalg.norm(devices.coils.start[:, None] - stump, axis=2).min(axis=1)
    assert len(gap) > 50
    assert gap.max() < 14
    assert len(devices.clips.radius) >= 4
    assert np.linalg.norm(devices.clips.start - [-28.0, -12.0, -20.0], axis=1).max() < 40
    assert not tree.named("cystic")


def test_the_same_seed_gives_the_same_patient_to_the_last_bit(anatomy: Anatomy) -> None:
    params = AnatomyParams(smallest_diameter_mm=0.5, arteriovenous_probability=1, bleed_probability=1)
    first, second = (build_anatomy(params, np.random.default_rng(3)) for _ in range(2))
    for one, two in zip(_trees(first), _trees(second), strict=True):
        np.testing.assert_array_equal(np.asarray(one.position), np.asarray(two.position))
        assert one.flow == two.flow
    assert first.shunts[0].flow_ml_s == second.shunts[0].flow_ml_s


def test_another_seed_gives_another_patient() -> None:
    params = AnatomyParams(terminals=60, vein_terminals=40)
    first, second = (build_anatomy(params, np.random.default_rng(s)) for s in (1, 2))
    assert first.arteries.position[5].tolist() != second.arteries.position[5].tolist()
