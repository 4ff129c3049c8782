"""Growth keeps flow, Murray's law and its constraints, whatever the points."""

from typing import Any

import numpy as np
import pytest

from angio_pipeline.simulate.anatomy.tree import Territory, Tree

_LIVER = Territory.RIGHT_LIVER


def _grown(seed: int, count: int = 60, **limits: Any) -> tuple[Tree, np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    tree = Tree([0.0, 0.0, 0.0], name="root")
    tree.supply(tree.add(0, [30.0, 0.0, 0.0], _LIVER, name="trunk"), 0.01)
    points = rng.uniform(-40, 40, (count, 3))
    return tree, points, tree.grow(points, rng.uniform(0.01, 0.03, count), _LIVER, **limits)


def test_every_point_without_obstacles_becomes_a_terminal_that_draws_its_own_flow() -> None:
    tree, points, ends = _grown(1)
    np.testing.assert_array_equal(np.array([tree.position[e] for e in ends]), points)
    assert tree.flow[0] == pytest.approx(0.01 + sum(tree.flow[e] for e in ends), rel=1e-12)


def test_every_fork_has_two_daughters_whose_cubed_radii_add_up() -> None:
    tree, _, _ = _grown(2)
    radii = tree.radii_mm()
    for node, below in enumerate(tree.children()):
        if node and below:
            assert len(below) == 2
            assert (radii[below] ** 3).sum() == pytest.approx(radii[node] ** 3, rel=1e-9)


def test_every_node_is_reached_from_the_root_once() -> None:
    tree, _, _ = _grown(3)
    assert sorted(tree.downward()) == list(range(len(tree)))


def test_no_new_segment_enters_an_obstacle() -> None:
    centre, radius = np.array([12.0, 14.0, -6.0]), 11.0
    tree, _, ends = _grown(4, 120, obstacles=np.array([[*centre, radius]]))
    assert len(ends) > 60
    for node in range(2, len(tree)):
        a, b = tree.position[tree.parent[node]], tree.position[node]
        on = a + np.linspace(0, 1, 200)[:, None] * (b - a)
        assert np.linalg.norm(on - centre, axis=1).min() > radius - 1e-6


def test_no_new_segment_is_shorter_than_asked() -> None:
    tree, _, _ = _grown(5, 80, least_mm=2.0)
    length = [np.linalg.norm(tree.position[n] - tree.position[tree.parent[n]]) for n in range(1, len(tree))]
    assert min(length) >= 2.0 - 1e-9


def test_a_divided_edge_keeps_its_name_and_new_branches_have_none() -> None:
    tree, _, ends = _grown(6)
    assert all(tree.name[e] == "" for e in ends)
    assert len(tree.named("trunk")) > 1


def test_settling_gives_every_node_what_its_terminals_draw() -> None:
    tree, _, ends = _grown(7)
    for end in ends:
        tree.flow[end] = 0.5
    tree.settle()
    assert tree.flow[0] == pytest.approx(0.01 + 0.5 * len(ends), rel=1e-12)
