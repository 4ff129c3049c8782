"""Courses are smooth, joined and in order, and stay where the tree is."""

import numpy as np
import pytest

from angio_pipeline.simulate.anatomy.anatomy import Anatomy, AnatomyParams, build_anatomy
from angio_pipeline.simulate.anatomy.courses import Courses, Vasculature, lay_courses, lay_vasculature
from angio_pipeline.simulate.anatomy.tree import Territory, Tree

_OWN = [int(Territory.FEEDER), int(Territory.TUMOUR)]


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    params = AnatomyParams(smallest_diameter_mm=0.5, tumours_min=2, tumours_max=2)
    return build_anatomy(params, np.random.default_rng(5))


@pytest.fixture(scope="module")
def vessels(anatomy: Anatomy) -> Vasculature:
    return lay_vasculature(anatomy, 0.06, np.random.default_rng(6))


@pytest.mark.parametrize("which", ["arteries", "portal", "hepatic", "tributaries"])
def test_segments_come_after_their_parents_and_start_where_those_end(vessels: Vasculature, which: str) -> None:
    courses: Courses = getattr(vessels, which)
    assert (courses.parent < np.arange(len(courses.parent))).all()
    joined = courses.parent >= 0
    gap = courses.tubes.start[joined] - courses.tubes.end[courses.parent[joined]]
    assert np.abs(gap).max() < 1e-9


def test_every_node_ends_a_segment_of_its_own_edge(anatomy: Anatomy, vessels: Vasculature) -> None:
    courses = vessels.arteries
    for node in range(1, len(anatomy.arteries)):
        assert courses.edge[courses.last_of_node[node]] == node


def test_vessels_are_as_wide_as_murray_says_and_narrow_only_in_their_last_stretch(
    anatomy: Anatomy, vessels: Vasculature
) -> None:
    courses, radii = vessels.arteries, anatomy.arteries.radii_mm()
    assert courses.tubes.radius.max() <= radii.max() * (1 + 1e-9)
    children = anatomy.arteries.children()
    inner = [n for n in range(1, len(radii)) if children[n]]
    ratio = courses.tubes.radius[[courses.last_of_node[n] for n in inner]] / radii[inner]
    assert np.median(ratio) == pytest.approx(1.0, rel=1e-6)
    ends = [n for n in range(1, len(radii)) if not children[n]]
    assert (courses.tubes.radius[[courses.last_of_node[n] for n in ends]] / radii[ends] < 0.95).all()


def test_wide_vessels_never_kink(vessels: Vasculature) -> None:
    courses = vessels.arteries
    along = courses.tubes.end - courses.tubes.start
    length = np.maximum(np.linalg.norm(along, axis=1), 1e-9)
    child = np.flatnonzero(courses.parent >= 0)
    # On one vessel: the segment below carries on most of the segment above.
    child = child[courses.tubes.radius[child] > 0.85 * courses.tubes.radius[courses.parent[child]]]
    child = child[courses.tubes.radius[child] > 1.0]
    above = courses.parent[child]
    cosine = (along[child] * along[above]).sum(axis=1) / (length[child] * length[above])
    assert np.quantile(np.degrees(np.arccos(np.clip(cosine, -1, 1))), 0.99) < 40


def test_only_a_tumours_own_vessels_run_inside_it(anatomy: Anatomy, vessels: Vasculature) -> None:
    trees = ((vessels.arteries, anatomy.arteries), (vessels.portal, anatomy.portal), (vessels.hepatic, anatomy.hepatic))
    for body in anatomy.tumours:
        for courses, tree in trees:
            foreign = ~np.isin(np.asarray(tree.territory)[courses.edge], _OWN)
            middle = 0.5 * (courses.tubes.start + courses.tubes.end)[foreign]
            offset = np.einsum("kij,nkj->nki", body.solid.shape, middle[:, None] - body.solid.centre)
            assert not ((offset**2).sum(axis=2) < 1).any()


def test_tortuosity_makes_the_way_longer() -> None:
    tree = Tree([0.0, 0.0, 0.0])
    tree.supply(tree.path(0, np.linspace([8, 0, 0], [160, 0, 0], 20), Territory.RIGHT_LIVER), 0.2)
    length = [lay_courses(tree, t, np.random.default_rng(3)).length_mm().sum() for t in (0.0, 0.06, 0.15)]
    assert length[0] == pytest.approx(160.0, rel=1e-6)
    assert length[0] < length[1] < length[2]


def test_the_same_seed_lays_the_same_courses(anatomy: Anatomy, vessels: Vasculature) -> None:
    again = lay_vasculature(anatomy, 0.06, np.random.default_rng(6))
    np.testing.assert_array_equal(again.arteries.tubes.start, vessels.arteries.tubes.start)
    np.testing.assert_array_equal(again.hepatic.tubes.radius, vessels.hepatic.tubes.radius)
