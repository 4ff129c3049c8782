"""Directions of edges and readings of places, on boards whose likeliest choice can be counted out."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angio_pipeline.vessels.junction_readings import _all_readings
from angio_pipeline.vessels.junctions import Arm, Junction
from angio_pipeline.vessels.orientation import SOURCE, Choice, Place, _Board, _State, solve

# Root 0, a fork 1, two sides 2 and 3 that meet at 4, and two ends.
PAIRS = [(0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (4, 5), (4, 6)]


def _board(pairs: list[tuple[int, int]], rng: np.random.Generator, spread: float) -> list[Place]:
    """Places of a network with random costs; place 0 is the root."""
    places = []
    for node in range(1 + max(max(p) for p in pairs)):
        arms = tuple(Arm(k, end) for k, pair in enumerate(pairs) for end in (0, 1) if pair[end] == node)
        junction = Junction((node,), (), arms, (node,) * len(arms), np.zeros((0, len(arms)), dtype=np.bool_))
        if node == 0:
            places.append(Place.root(junction))
        elif len(arms) == 1:
            places.append(Place.end(junction))
        else:
            fed_by, pattern = _all_readings(len(arms))
            places.append(Place.of(junction, fed_by, pattern, rng.normal(0, spread, len(pattern))))
    return places


def _feeders(places: list[Place], choice: Choice) -> dict[int, int | None]:
    """The edge that feeds each edge; None where the source does."""
    found: dict[int, int | None] = {}
    for number, place in enumerate(places):
        fed_by = place.fed_by[choice.reading[number]]
        for bit, arm in enumerate(place.junction.arms):
            away = choice.reversed[arm.edge] == (arm.end == 1)
            assert away == (fed_by[bit] != -1)
            if away:
                found[arm.edge] = place.junction.arms[fed_by[bit]].edge if fed_by[bit] >= 0 else None
    return found


def _counted_out(places: list[Place], along: np.ndarray) -> float:
    """The least cost of all choices in which every edge is fed from the root."""
    best = np.inf
    for turned in product((False, True), repeat=len(along)):
        lists, total = [], sum(float(along[k, int(t)]) for k, t in enumerate(turned))
        for place in places:
            inward = sum((turned[a.edge] == (a.end == 0)) << bit for bit, a in enumerate(place.junction.arms))
            lists.append(np.flatnonzero(place.pattern == inward).tolist())
        for chosen in product(*lists):
            cost = total + sum(float(p.cost[c]) for p, c in zip(places, chosen, strict=True))
            if cost < best:
                choice = Choice(dict(enumerate(turned)), dict(enumerate(chosen)))
                if _fed_from_the_root(_feeders(places, choice)):
                    best = cost
    return best


def _fed_from_the_root(feeders: dict[int, int | None]) -> bool:
    for edge in feeders:
        here: int | None = edge
        for _ in range(len(feeders) + 1):
            here = feeders[here] if here is not None else None
        if here is not None:
            return False
    return True


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 8.0))
@settings(max_examples=40, deadline=None)
def test_everything_is_fed_from_the_root_whatever_it_costs(seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    places, along = _board(PAIRS, rng, spread), rng.normal(0, spread, (len(PAIRS), 2))
    choice = solve(places, along, 0)
    assert sorted(choice.reversed) == list(range(len(PAIRS)))
    assert _fed_from_the_root(_feeders(places, choice))
    told = sum(float(p.cost[choice.reading[k]]) for k, p in enumerate(places))
    told += sum(float(along[k, int(t)]) for k, t in choice.reversed.items())
    assert choice.cost == pytest.approx(told)
    assert all(0 <= doubt <= 1 for doubt in choice.doubt.values())


def test_the_choice_is_mostly_the_likeliest_of_all() -> None:
    pairs = [(0, 1), (1, 2), (1, 3), (2, 3), (2, 4), (3, 5)]
    hits = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        places, along = _board(pairs, rng, 2.0), rng.normal(0, 1.0, (len(pairs), 2))
        found, least = solve(places, along, 0).cost, _counted_out(places, along)
        assert found >= least - 1e-9
        hits += found < least + 1e-6
    # A local search: not always, but in most loops.
    assert hits >= 8


def test_evidence_along_an_edge_turns_the_edges_of_a_loop() -> None:
    def runs(costs: list[tuple[float, float]]) -> dict[int, bool]:
        places = _board(PAIRS[:5], np.random.default_rng(0), 0.0)
        return solve(places, np.array(costs, dtype=float), 0).reversed

    up_both = runs([(0, 0), (0, 5), (0, 5), (0, 5), (0, 5)])
    around = runs([(0, 0), (0, 5), (5, 0), (0, 5), (5, 0)])
    assert up_both == dict.fromkeys(range(5), False)
    assert around == {0: False, 1: False, 2: True, 3: False, 4: True}


def test_only_arms_on_which_readings_differ_are_unsure() -> None:
    # A root, a place of five arms, four ends: who feeds arm 2 is open, that arm 0 feeds arms 3 and 4 is not.
    pairs = [(0, 1), (2, 1), (1, 3), (1, 4), (1, 5)]
    places = _board(pairs, np.random.default_rng(0), 0.0)
    hub = places[1]
    told = {(-1, -1, 0, 0, 0): 0.0, (-1, -1, 1, 0, 0): 0.1}
    cost = np.array([told.get(tuple(row), 40.0) for row in hub.fed_by.tolist()])
    places[1] = Place.of(hub.junction, hub.fed_by, hub.pattern, cost)
    along = np.array([(0.0, 40.0)] * len(pairs))
    # The second vessel that comes in stands for one that begins elsewhere: its far end is fed by the source too.
    places[2] = Place.root(places[2].junction)
    choice = Choice(dict.fromkeys(range(len(pairs)), False))
    board = _Board(places, along)
    state = _State(board, choice, list(range(len(places))))
    state.begin({0: SOURCE, 1: SOURCE, 2: 0, 3: 0, 4: 0})
    unsure = state.unsure()[1]
    assert unsure[2] == pytest.approx(1 / (1 + np.exp(0.1)), abs=1e-6)
    assert unsure[3:] == pytest.approx(0, abs=1e-6)
    assert state.doubts()[1] >= unsure.max() - 1e-9
