"""Trees obey Murray's law and conserve flow; tumours are fed by vessels that also feed liver."""

import numpy as np
import pytest
from pydantic import ValidationError

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.simulate.anatomy import Anatomy, AnatomyParams, build_anatomy, inside
from angio_pipeline.simulate.courses import Courses, lay_courses
from angio_pipeline.simulate.tree import Territory


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    params = AnatomyParams(terminals=60, tumours_min=2, tumours_max=2, feeders_min=2, feeders_max=2, feeder_clearance=0)
    return build_anatomy(params, np.random.default_rng(5))


@pytest.fixture(scope="module")
def courses(anatomy: Anatomy) -> Courses:
    return lay_courses(anatomy.tree, 0.06, np.random.default_rng(6))


def test_flow_splits_add_up_at_every_fork(anatomy: Anatomy) -> None:
    flow = np.asarray(anatomy.tree.flow)
    for node, children in enumerate(anatomy.tree.children()):
        if len(children) > 1:
            assert sum(flow[c] for c in children) == pytest.approx(flow[node], rel=1e-9)


def test_radii_obey_murrays_law_at_every_fork(anatomy: Anatomy) -> None:
    radii = anatomy.tree.radii_mm()
    for node, children in enumerate(anatomy.tree.children()):
        if len(children) > 1 and node > 0:
            assert sum(radii[c] ** 3 for c in children) == pytest.approx(radii[node] ** 3, rel=1e-9)


def test_parents_come_before_their_children_in_the_courses(courses: Courses) -> None:
    assert (courses.parent < np.arange(len(courses.parent))).all()


def test_segments_join_end_to_start(courses: Courses) -> None:
    joined = courses.parent >= 0
    gap = courses.tubes.start[joined] - courses.tubes.end[courses.parent[joined]]
    assert np.abs(gap).max() < 1e-9


def test_every_feeder_leaves_a_vessel_that_also_feeds_liver(anatomy: Anatomy) -> None:
    tree = anatomy.tree
    liver = {int(Territory.RIGHT_LIVER), int(Territory.LEFT_LIVER)}
    children = tree.children()
    for tumour in anatomy.tumours:
        for start in tumour.branch_starts:
            kinds = {tree.territory[c] for c in children[start]}
            assert int(Territory.FEEDER) in kinds
            assert kinds & liver


def test_a_feeder_supplies_one_tumour_and_nothing_else(anatomy: Anatomy) -> None:
    tree, children = anatomy.tree, anatomy.tree.children()
    for index, tumour in enumerate(anatomy.tumours):
        for entry in tumour.entries:
            below = [entry]
            while below:
                node = below.pop()
                assert tree.tumour[node] == index
                below += children[node]


def test_feeders_share_a_tumour_in_earnest(anatomy: Anatomy) -> None:
    flow = np.asarray(anatomy.tree.flow)
    for tumour in anatomy.tumours:
        part = flow[list(tumour.entries)]
        assert (part / part.sum()).min() > 0.05


def test_tumours_lie_inside_the_liver(anatomy: Anatomy) -> None:
    for tumour in anatomy.tumours:
        assert inside(anatomy.lobes, tumour.centre_mm[None]).all()


def test_the_same_seed_grows_the_same_tree() -> None:
    params = AnatomyParams(terminals=30)
    first, second = (build_anatomy(params, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(np.asarray(first.tree.position), np.asarray(second.tree.position))


def test_tumours_without_room_are_refused_by_name() -> None:
    params = AnatomyParams(terminals=20, tumours_min=6, tumours_max=6, tumour_radius_min_mm=38, tumour_radius_max_mm=40)
    with pytest.raises(ConfigError, match="tumours_max"):
        build_anatomy(params, np.random.default_rng(0))


def test_more_least_feeders_than_most_are_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="feeders_min must not be above feeders_max"):
        AnatomyParams(feeders_min=3, feeders_max=1)
