"""Iodine goes where blood goes, at the time blood needs, and none is made or lost on the way."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from angio_pipeline.simulate.anatomy.courses import Vasculature, lay_courses
from angio_pipeline.simulate.anatomy.lesions import Shunt, ShuntKind, TumourBody, TumourKind
from angio_pipeline.simulate.anatomy.tree import Territory, Tree
from angio_pipeline.simulate.circulation.circulation import Circulation, circulate
from angio_pipeline.simulate.circulation.contrast import ContrastParams, Injection
from angio_pipeline.simulate.circulation.streaming import settle
from angio_pipeline.simulate.radiograph.projection import Ellipsoids, Tubes

pytestmark = pytest.mark.slow

Array = npt.NDArray[np.float64]
START_S, UNTIL_S = 0.5, 25.0

# Nodes of the arteries by name; filled by `arteries`.
Node = dict[str, int]


def arteries() -> tuple[Tree, Node]:
    """Aorta - celiac - (splenic | common hepatic - (gastroduodenal | proper - (right | left)))."""
    tree, at = Tree([40.0, 40.0, -20.0]), {}
    at["celiac"] = tree.path(0, [[38, 30, -15], [36, 22, -12]], Territory.TRUNK)
    at["splenic"] = tree.path(at["celiac"], [[60, 30, -10], [90, 40, 0]], Territory.TRUNK)
    for k in range(4):
        tree.supply(tree.add(at["splenic"], [100, 40 + 6 * k, 10 * k - 15], Territory.SPLEEN), 1.2)
    at["common"] = tree.path(at["celiac"], [[20, 18, -12], [8, 12, -10]], Territory.TRUNK)
    at["gastroduodenal"] = tree.path(at["common"], [[8, 6, -40], [6, 0, -60]], Territory.OTHER)
    tree.supply(at["gastroduodenal"], 0.8)
    at["proper"] = tree.path(at["common"], [[0, 8, -4]], Territory.TRUNK)
    at["right"] = tree.path(at["proper"], [[-12, 8, 0], [-22, 8, 4]], Territory.TRUNK)
    at["left"] = tree.path(at["proper"], [[6, -4, 6], [16, -12, 14]], Territory.TRUNK)
    for lobe, territory, places in (
        ("right", Territory.RIGHT_LIVER, [[-60, 20, 40], [-70, 0, 0], [-50, -20, -30], [-40, 40, 10]]),
        ("left", Territory.LEFT_LIVER, [[40, -20, 30], [50, -30, 10]]),
    ):
        fork = tree.path(at[lobe], [np.mean(places, axis=0) * 0.5 + 0.5 * tree.position[at[lobe]]], territory)
        for place in places:
            tree.supply(tree.add(fork, place, territory), 0.7)
        at[lobe + " fork"] = fork
    fork, fed = at["right fork"], Territory.FEEDER
    at["feeder"] = tree.path(fork, [[-50, -10, 20], [-55, -18, 28]], fed, 0)
    for k in range(3):
        tree.supply(tree.add(at["feeder"], [-60 + 6 * k, -24, 30 + 4 * k], Territory.TUMOUR, 0), 0.15)
    return tree, at


def branching(root: list[float], trunk: list[float], ends: list[list[float]], flow: float) -> Tree:
    tree = Tree(root, 2.3)
    stem = tree.add(0, trunk, Territory.TRUNK)
    for side in (0, 1):
        own = np.array(ends[side::2])
        fork = tree.add(stem, 0.5 * own.mean(axis=0) + 0.5 * np.array(trunk), Territory.RIGHT_LIVER)
        for end in own:
            tree.supply(tree.add(fork, end, Territory.RIGHT_LIVER), flow / len(ends))
    return tree


ENDS = [[-62, 14, 36], [40, -16, 26], [-66, 4, -6], [48, -26, 14], [-48, -14, -26], [30, -10, 20], [-44, 34, 14]]


def patient(**changes: Any) -> tuple[Any, Vasculature, Node]:
    tree, at = arteries()
    tributaries = Tree([20.0, 20.0, -40.0], 2.3)
    for end, flow in (([85.0, 36.0, -5.0], 5.0), ([15.0, 10.0, -90.0], 6.0)):
        tributaries.supply(tributaries.path(0, [end], Territory.TRUNK), flow)
    solid = Ellipsoids.aligned([[-54, -22, 32]], [[14, 14, 14]])
    body = TumourBody(solid.centre[0], 14.0, solid, TumourKind.HYPERVASCULAR, (at["feeder"],), (at["right fork"],))
    parts = {
        "arteries": tree,
        "portal": branching([20, 20, -40], [-8, 10, -4], ENDS, 14.0),
        "hepatic": branching([20, 44, 70], [10, 36, 55], ENDS, 18.0),
        "tributaries": tributaries,
        "tumours": (body,),
        "shunts": (),
        "lobes": Ellipsoids.aligned([[-42, 6, 6], [26, -26, 24]], [[60, 56, 76], [58, 34, 42]]),
    }
    anatomy = SimpleNamespace(**(parts | changes))
    return anatomy, courses_of(anatomy), at


def courses_of(anatomy: Any) -> Vasculature:
    laid = [
        lay_courses(tree, 0.0, np.random.default_rng(0))
        for tree in (anatomy.arteries, anatomy.portal, anatomy.hepatic, anatomy.tributaries)
    ]
    return Vasculature(*laid)


def with_shunt(kind: ShuntKind) -> tuple[Any, Vasculature, Node]:
    anatomy, _, at = patient()
    end = anatomy.arteries.path(at["right fork"], [[-50, 10, 20], [-52, 12, 24]], Territory.SHUNT)
    anatomy.arteries.supply(end, 0.6)
    vein = anatomy.portal if kind is ShuntKind.ARTERIOPORTAL else anatomy.hepatic
    node = vein.parent[max(range(len(vein)), key=lambda n: -float(np.linalg.norm(vein.position[n] - ENDS[0])))]
    anatomy.shunts = (Shunt(kind, end, node, vein.position[node], 0.6),)
    return anatomy, courses_of(anatomy), at


def with_bleed() -> tuple[Any, Vasculature, Node]:
    anatomy, _, at = patient()
    end = anatomy.arteries.path(at["left fork"], [[30, -40, 0]], Territory.BLEED)
    anatomy.arteries.supply(end, 0.3)
    return anatomy, courses_of(anatomy), at


def flow_at(anatomy: Any, node: int) -> float:
    return float(anatomy.arteries.flow[node])


def run(
    made: tuple[Any, Vasculature, Node], tip: str | int, rate: float, *, kept: Array | None = None, **params: Any
) -> Circulation:
    anatomy, courses, at = made
    node = at[tip] if isinstance(tip, str) else tip
    injection = Injection(node, rate, 2.6, 300.0, START_S)
    share = np.ones(len(anatomy.arteries)) if kept is None else kept
    return circulate(anatomy, courses, injection, ContrastParams(**params), kept=share, until_s=UNTIL_S)


def kept_below(made: tuple[Any, Vasculature, Node], name: str, share: float) -> Array:
    kept = np.ones(len(made[0].arteries))
    kept[made[2][name]] = share
    return kept


def segments(made: tuple[Any, Vasculature, Node], node: str | int) -> npt.NDArray[np.int64]:
    number = made[2][node] if isinstance(node, str) else node
    return np.flatnonzero(made[1].arteries.edge == number)


def beyond(tree: Tree, node: int) -> list[int]:
    found = [node]
    for k in range(len(tree)):
        here = k
        while here >= 0 and here != node:
            here = tree.parent[here]
        if here == node and k != node:
            found.append(k)
    return found


SETTINGS: dict[str, Callable[[], Circulation]] = {
    "celiac": lambda: run(patient(), "celiac", 5.0),
    "lobar": lambda: run(patient(), "right", 2.0),
    "reflux into siblings": lambda: run(patient(), "right", 6.0),
    "reflux into the aorta": lambda: run(patient(), "celiac", 18.0),
    "a closed tumour": lambda: run(patient(), "right", 2.0, kept=kept_below(patient(), "feeder", 0.0)),
    "a slow tumour": lambda: run(patient(), "right", 2.0, kept=kept_below(patient(), "feeder", 0.04)),
    "a tip in a closed artery": lambda: run(patient(), "feeder", 1.0, kept=kept_below(patient(), "feeder", 0.0)),
    "an arterioportal shunt": lambda: run(with_shunt(ShuntKind.ARTERIOPORTAL), "celiac", 5.0),
    "an arteriovenous shunt": lambda: run(with_shunt(ShuntKind.ARTERIOVENOUS), "celiac", 5.0),
    "a bleed": lambda: run(with_bleed(), "celiac", 5.0),
    "streaming": lambda: run(patient(), "celiac", 5.0, streaming=1.0),
    "recirculation": lambda: run(patient(), "celiac", 5.0, recirculation=1.0, recirculation_s=6.0),
    "reflux and recirculation": lambda: run(patient(), "right", 6.0, recirculation=1.0, recirculation_s=4.0),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_iodine_injected_is_in_arteries_tissue_and_veins_or_has_drained(setting: str) -> None:
    circulation = SETTINGS[setting]()
    for time in (0.8, 1.0, 1.4, 2.0, 2.9, 3.1, 3.3, 3.6, 4.2, 5.0, 7.0, 10.0, 15.0, 20.0, 25.0):
        ledger = circulation.ledger(time)
        assert ledger.found_mg == pytest.approx(ledger.injected_mg, rel=0.01), time
    assert min(ledger.arteries_mg, ledger.tissue_mg, ledger.veins_mg, ledger.drained_mg) >= 0


def test_the_ledger_is_of_what_was_injected() -> None:
    ledger = run(patient(), "celiac", 5.0).ledger(10.0)
    assert ledger.injected_mg == pytest.approx(5.0 * 2.6 * 300)


@pytest.mark.parametrize("share", [1.0, 0.3, 0.0])
def test_flow_into_every_fork_is_the_flow_out_of_it(share: float) -> None:
    made = patient()
    circulation = run(made, "celiac", 5.0, kept=kept_below(made, "feeder", share))
    for which in ("portal", "hepatic"):
        courses, tree = getattr(made[1], which), getattr(made[0], which)
        flow = np.zeros(len(tree))
        flow[courses.edge] = circulation.flow_ml_s(which)
        forks = [n for n, below in enumerate(tree.children()) if below and n > 0]
        for node in forks:
            assert flow[tree.children()[node]].sum() == pytest.approx(flow[node])
    tree = made[0].arteries
    flow = np.zeros(len(tree))
    flow[made[1].arteries.edge] = circulation.flow_ml_s("arteries")
    for node, below in enumerate(tree.children()):
        if below and node > 0:
            assert flow[below].sum() == pytest.approx(flow[node])
    lost = (1 - share) * flow_at(made[0], made[2]["feeder"])
    assert flow[made[2]["celiac"]] == pytest.approx(flow_at(made[0], made[2]["celiac"]) - lost)


@pytest.mark.parametrize("tip", ["celiac", "common", "right"])
def test_arrival_never_falls_away_from_the_tip(tip: str) -> None:
    made = patient()
    courses = made[1].arteries
    rise, parent = run(made, tip, 1.0).rise_s("arteries"), courses.parent
    filled = np.isfinite(rise) & (parent >= 0)
    filled[filled] = np.isfinite(rise[parent[filled]])
    downstream = filled & np.isin(courses.edge, beyond(made[0].arteries, made[2][tip])[1:])
    assert downstream.sum() > 50
    assert (rise[downstream] > rise[parent[downstream]]).all()
    assert (rise[filled] >= rise[parent[filled]]).all()


def test_arrival_never_falls_along_the_portal_vein() -> None:
    made = patient()
    rise, parent = run(made, "celiac", 5.0).rise_s("portal"), made[1].portal.parent
    joined = parent >= 0
    assert (rise[joined] > rise[parent[joined]]).all()


def test_no_hepatic_vein_fills_before_the_earliest_that_joins_it() -> None:
    made = patient()
    rise, down = run(made, "celiac", 5.0).rise_s("hepatic"), made[1].hepatic.parent
    for k in np.unique(down[down >= 0]):
        assert rise[k] >= rise[down == k].min() - 0.02


def test_a_segment_fills_after_the_time_that_blood_needs_to_it() -> None:
    made = patient()
    circulation = run(made, "right", 2.0, dispersion_s=0.05)
    rise, courses = circulation.rise_s("arteries"), made[1].arteries
    way = courses.upstream(courses.last_of_node[made[2]["feeder"]])
    way = way[way.index(courses.last_of_node[made[2]["right"]]) + 1 :]
    passage = (circulation.volume_ml("arteries") / circulation.flow_ml_s("arteries"))[way]
    expected = passage.sum() - 0.5 * (passage[0] + passage[-1])
    assert rise[way[-1]] - rise[way[0]] == pytest.approx(expected, abs=0.03)


def test_contrast_is_diluted_by_the_flow_it_meets() -> None:
    made = patient()
    circulation = run(made, "celiac", 4.0)
    first = segments(made, made[0].arteries.children()[made[2]["celiac"]][0])[0]
    flow = flow_at(made[0], made[2]["celiac"])
    assert circulation.peak("arteries")[first] == pytest.approx(300 * 4.0 / flow, rel=0.02)


def test_nothing_runs_back_below_the_arterys_own_flow() -> None:
    made = patient()
    circulation = run(made, "right", 0.9 * flow_at(made[0], made[2]["right"]))
    assert circulation.peak("arteries")[segments(made, "common")].max() == 0
    assert circulation.peak("arteries")[segments(made, "left")].max() == 0


def test_contrast_mixes_a_little_way_up_from_the_tip() -> None:
    made = patient()
    off, on = (run(made, "celiac", 5.0, tip_mixing_diameters=d) for d in (0.0, 1.5))
    above = segments(made, "celiac")[::-1]
    shown = on.peak("arteries")[above]
    assert off.peak("arteries")[above].max() == 0
    assert (np.diff(shown) <= 0).all()
    assert 0.5 < shown[0] / on.peak("arteries").max() < 1
    assert on.peak("arteries")[0] == 0


def test_the_excess_runs_back_and_fills_the_sibling_diluted() -> None:
    made = patient()
    own, sibling = (flow_at(made[0], made[2][name]) for name in ("right", "left"))
    circulation = run(made, "right", own + 0.5 * sibling)
    peak, rise = circulation.peak("arteries"), circulation.rise_s("arteries")
    assert peak[segments(made, "right")].max() == pytest.approx(300.0, rel=0.01)
    assert peak[segments(made, "left")].max() == pytest.approx(150.0, rel=0.03)
    assert peak[segments(made, "proper")].max() == 0
    assert rise[segments(made, "left")[0]] > rise[segments(made, "right")[0]]


def test_what_siblings_cannot_take_leaves_through_the_aorta() -> None:
    made = patient()
    own = flow_at(made[0], made[2]["celiac"])
    circulation = run(made, "celiac", own + 4.0)
    column = circulation.volume_ml("arteries")[segments(made, "celiac")].sum()
    above = segments(made, made[0].arteries.parent[made[2]["celiac"]])
    column += circulation.volume_ml("arteries")[above].sum()
    lost = circulation.ledger(3.5).drained_mg
    assert lost == pytest.approx(300 * (4.0 * 2.6 - column), rel=0.02)


def test_refluxed_columns_are_washed_down_when_the_injection_ends() -> None:
    made = patient()
    circulation = run(made, "celiac", 16.0)
    above = segments(made, "celiac")
    during, after = (circulation.concentration("arteries", t)[above] for t in (2.5, 5.0))
    assert during.min() == pytest.approx(300.0, rel=0.01)
    assert after.max() < 1.0


def test_a_closed_branch_holds_no_contrast_beyond_its_stump() -> None:
    made = patient()
    circulation = run(made, "right", 2.0, kept=kept_below(made, "feeder", 0.0))
    peak, length = circulation.peak("arteries"), made[1].arteries.length_mm()
    inside = [k for n in beyond(made[0].arteries, made[2]["feeder"]) for k in segments(made, n)]
    assert peak[inside].max() == 0
    stump = segments(made, made[0].arteries.parent[made[2]["feeder"]])
    depth = np.cumsum(length[stump]) - 0.5 * length[stump]
    assert 0 < peak[stump][0] < peak[segments(made, "right fork")].max()
    assert (np.diff(peak[stump]) <= 0).all()
    assert peak[stump][depth > 6].max() == 0
    tumour = next(bed for bed in circulation.beds if bed.tumour == 0)
    assert tumour.mass_mg(6.0).sum() == 0
    assert np.isnan(tumour.rise_s()).all()


def test_a_nearly_closed_branch_fills_late_in_proportion() -> None:
    made, share = patient(), 0.2
    last = segments(made, "feeder")[-1]
    delays = []
    for kept in (1.0, share):
        circulation = run(made, "right", 2.0, kept=kept_below(made, "feeder", kept))
        rise = circulation.rise_s("arteries")
        delays.append(rise[last] - rise[segments(made, "right fork")[-1]])
    assert delays[1] == pytest.approx(delays[0] / share, rel=0.15)


def test_a_nearly_closed_tumour_gets_its_share_of_iodine() -> None:
    made, share = patient(), 0.3
    gained = []
    for kept in (1.0, share):
        circulation = run(made, "celiac", 5.0, kept=kept_below(made, "feeder", kept))
        tumour = next(bed for bed in circulation.beds if bed.tumour == 0)
        gained.append(np.trapezoid([tumour.mass_mg(t).sum() for t in np.arange(0, 25, 0.1)]))
    native = [flow_at(made[0], made[2][name]) for name in ("celiac", "feeder")]
    diluted_less = native[0] / (native[0] - (1 - share) * native[1])
    assert gained[1] / gained[0] == pytest.approx(share * diluted_less, rel=0.05)


def test_stain_rises_after_arteries_and_veins_after_stain() -> None:
    made = patient()
    circulation = run(made, "celiac", 5.0)
    liver = circulation.beds[0].rise_s()
    ends = [made[1].arteries.last_of_node[n] for n in range(1, len(made[0].arteries)) if n in leaves(made[0].arteries)]
    assert np.nanmin(liver) > np.nanmin(circulation.rise_s("arteries")[ends])
    assert np.nanmin(circulation.rise_s("hepatic")) > np.nanmin([np.nanmin(b.rise_s()) for b in circulation.beds])
    assert np.nanmedian(circulation.rise_s("hepatic")) > np.nanmedian(liver)
    spleen = next(bed for bed in circulation.beds if bed.kind == "spleen")
    assert np.nanmin(circulation.rise_s("tributaries")) > np.nanmin(spleen.rise_s())
    assert np.nanmin(circulation.rise_s("portal")) > np.nanmin(circulation.rise_s("tributaries"))


def leaves(tree: Tree) -> set[int]:
    return {n for n, below in enumerate(tree.children()) if not below}


def test_the_portal_vein_fills_only_when_spleen_or_bowel_does() -> None:
    made = patient()
    assert run(made, "celiac", 5.0).peak("portal").min() > 1.0
    assert run(made, "right", 2.0).peak("portal").max() == 0
    assert np.isnan(run(made, "right", 2.0).rise_s("portal")).all()


def test_portal_blood_dilutes_the_hepatic_veins() -> None:
    made = patient()
    little, much = (run(made, "right", 2.0, arterial_share=s).peak("hepatic").max() for s in (0.2, 0.5))
    assert little < much


def test_an_arterioportal_shunt_fills_the_portal_branch_beyond_it_early() -> None:
    made = with_shunt(ShuntKind.ARTERIOPORTAL)
    circulation, node = run(made, "right", 2.0), made[0].shunts[0].vein_node
    rise, courses = circulation.rise_s("portal"), made[1].portal
    beyond_it = np.isin(courses.edge, beyond(made[0].portal, node)[1:])
    assert np.isfinite(rise[beyond_it]).all()
    assert np.isnan(rise[~beyond_it]).all()
    assert rise[beyond_it].min() < np.nanmin(circulation.beds[0].rise_s())
    feeding = made[1].arteries.last_of_node[made[0].shunts[0].artery_node]
    assert rise[beyond_it].min() >= circulation.rise_s("arteries")[feeding]


def test_an_arteriovenous_shunt_fills_the_way_to_the_cava_early() -> None:
    made = with_shunt(ShuntKind.ARTERIOVENOUS)
    circulation, node = run(made, "right", 2.0), made[0].shunts[0].vein_node
    rise, courses = circulation.rise_s("hepatic"), made[1].hepatic
    way = courses.upstream(courses.last_of_node[node])
    off = np.setdiff1d(np.flatnonzero(np.isfinite(rise)), way)
    assert rise[way].max() < np.nanmin(circulation.beds[0].rise_s())
    assert rise[off].min() > rise[way].max()
    assert (np.diff(rise[way[::-1]]) > 0).all()


def test_the_pool_of_a_bleed_keeps_what_it_gets() -> None:
    circulation = run(with_bleed(), "celiac", 5.0)
    pool = next(bed for bed in circulation.beds if bed.kind == "pool")
    held = np.array([pool.mass_mg(t).sum() for t in np.arange(0.0, 25.0, 0.5)])
    assert held[-1] > 1.0
    assert (np.diff(held) >= -1e-9).all()


def test_streaming_divides_unevenly_and_keeps_the_mean() -> None:
    made = patient()
    even, uneven = (run(made, "celiac", 5.0, streaming=s) for s in (0.0, 1.0))
    tree, at = made[0].arteries, made[2]
    first = [segments(made, c)[0] for c in tree.children()[at["celiac"]]]
    flow = even.flow_ml_s("arteries")[first]
    before, after = even.peak("arteries")[first], uneven.peak("arteries")[first]
    assert abs(after[0] - after[1]) > 0.1 * before[0]
    assert flow @ after == pytest.approx(flow @ before, rel=0.01)
    assert uneven.peak("arteries").max() <= 300.0 * 1.001


def test_settled_contrast_lies_at_the_back_and_keeps_its_iodine() -> None:
    tubes = Tubes(np.zeros((2, 3)), np.array([[10.0, 0, 0], [10.0, 0, 0]]), np.array([4.0, 0.3]))
    settled, factor = settle(tubes, np.array([1.0, 0.05]), np.array([150.0, 150.0]), 1.0)
    np.testing.assert_allclose(factor * settled.radius**2, tubes.radius**2)
    assert settled.start[0, 1] > 0
    assert settled.start[0, 1] + settled.radius[0] == pytest.approx(4.0)
    assert settled.radius[1] > 0.9 * tubes.radius[1]


def test_without_layering_columns_are_the_vessels() -> None:
    made = patient()
    circulation, tubes = run(made, "celiac", 5.0), made[1].arteries.tubes
    drawn, conc = circulation.columns("arteries", tubes, 2.0)
    assert drawn is tubes
    np.testing.assert_array_equal(conc, circulation.concentration("arteries", 2.0))


def test_recirculation_brings_contrast_back_to_arteries_that_were_clear() -> None:
    made = patient()
    off, on = (run(made, "celiac", 5.0, recirculation=s, recirculation_s=5.0) for s in (0.0, 1.0))
    late = segments(made, "celiac")
    assert off.concentration("arteries", 20.0)[late].max() < 1e-9
    assert on.concentration("arteries", 20.0)[late].min() > 0.1
    np.testing.assert_allclose(off.concentration("arteries", 2.0), on.concentration("arteries", 2.0), atol=0.5)


def test_the_same_call_gives_the_same_bits() -> None:
    first, second = (run(patient(), "celiac", 14.0, streaming=0.5) for _ in range(2))
    for which in ("arteries", "portal", "hepatic", "tributaries"):
        assert first.concentration(which, 5.3).tobytes() == second.concentration(which, 5.3).tobytes()
        assert first.rise_s(which).tobytes() == second.rise_s(which).tobytes()


def test_nothing_is_anywhere_before_the_injection() -> None:
    circulation = run(patient(), "celiac", 5.0)
    assert circulation.concentration("arteries", START_S - 0.05).max() == pytest.approx(0.0, abs=1e-9)
    assert sum(bed.mass_mg(START_S - 0.05).sum() for bed in circulation.beds) == pytest.approx(0.0, abs=1e-9)


def test_a_tip_that_is_no_node_is_refused() -> None:
    made = patient()
    with pytest.raises(ValueError, match=f"tip_node below the arteries' {len(made[0].arteries)} nodes"):
        run(made, len(made[0].arteries), 5.0)


@pytest.mark.parametrize("kept", [-0.1, 1.2])
def test_kept_flow_outside_nothing_and_all_is_refused(kept: float) -> None:
    made = patient()
    with pytest.raises(ValueError, match="kept between 0 and 1"):
        run(made, "celiac", 5.0, kept=np.full(len(made[0].arteries), kept))


def test_kept_of_another_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="kept for each of the"):
        run(patient(), "celiac", 5.0, kept=np.ones(3))


def test_negative_flow_is_refused() -> None:
    made = patient()
    made[0].arteries.flow[3] = -1.0
    with pytest.raises(ValueError, match="no negative flow"):
        run(made, "celiac", 5.0)


def test_a_run_that_ends_before_its_injection_is_refused() -> None:
    anatomy, courses, at = patient()
    late = replace(Injection(at["celiac"], 5.0, 2.6, 300.0), start_s=9.0)
    with pytest.raises(ValueError, match="until_s within 90 s"):
        circulate(anatomy, courses, late, ContrastParams(), kept=np.ones(len(anatomy.arteries)), until_s=8.0)


def test_a_vessel_of_no_known_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="which to be one of"):
        run(patient(), "celiac", 5.0).concentration("lymph", 2.0)
