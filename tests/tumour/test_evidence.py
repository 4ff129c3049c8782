"""What is measured of a candidate and of a way into a tumour, on shapes and curves of known geometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.runs import Background, SubtractedRun
from angio_pipeline.core.tumours import LesionOrigin, Tumour
from angio_pipeline.core.vessels import Branch, VesselGraph
from angio_pipeline.tumour import evidence as candidate
from angio_pipeline.tumour.evidence import measure_evidence, tumour_probability
from angio_pipeline.tumour.feeder_evidence import Surroundings, features, feeder_probability, measure_way
from angio_pipeline.tumour.tissue import TissuePicture
from angio_pipeline.tumour.ways import TreeFlow, Way, tree_flow

LIVER, GRAIN, SIDE = 0.1, 0.01, 128
TIMES = np.arange(12) * 0.5
ARTERY = np.where((TIMES >= 1.0) & (TIMES < 3.0), 1.0, 0.0)
FIRST, LAST = 6, 9


def disc(radius, centre=(64.0, 64.0), side=SIDE):
    rows, cols = np.mgrid[:side, :side]
    return np.hypot(rows - centre[0], cols - centre[1]) <= radius


def picture(region, rise, *, height=0.3, around=LIVER, left=None):
    """A stain of one height in a region and another about it; `rise` is the course in time of what it has more."""
    stain = np.full(region.shape, around, np.float32)
    if left is not None:
        stain[:, : region.shape[1] // 2] = left
    stain[region] = height
    frames = np.zeros((len(TIMES), *region.shape), np.float32)
    frames[:, region] = np.asarray(rise, np.float32)[:, None]
    everywhere = np.ones(region.shape, bool)
    return TissuePicture(
        frames, TIMES, ARTERY, FIRST, LAST, stain, np.zeros_like(stain), everywhere, everywhere, LIVER, GRAIN
    )


def held(seconds=8.0):
    """What is filled at the arteries' rate and lets go exponentially."""
    out = [0.0]
    for t in range(1, len(TIMES)):
        out.append(out[-1] * np.exp(-0.5 / seconds) + 0.5 * ARTERY[t])
    return np.array(out)


def test_what_stands_out_is_measured_in_enhancements_of_the_liver_and_in_grains():
    region = disc(12)
    found = measure_evidence(region, picture(region, held()))
    assert found["over"] == pytest.approx(2.0, rel=1e-5)
    assert found["least_over"] == pytest.approx(2.0, rel=1e-5)
    assert found["in_grain"] == pytest.approx(np.log(1 + 0.2 / GRAIN), rel=1e-5)
    assert found["dark"] == 0.0


def test_the_brightest_side_counts_for_the_least_and_a_dark_one_is_told():
    region = disc(12)
    found = measure_evidence(region, picture(region, held(), around=0.2, left=-0.05))
    # Half of the eighths are dark; the brightest is at 0.2, and so is what two thirds of them do not pass.
    assert found["least_over"] == pytest.approx(1.0, rel=1e-5)
    assert found["over"] == pytest.approx(1.0, rel=1e-5)
    assert found["dark"] == pytest.approx(0.5, rel=1e-5)


def test_evidence_that_is_out_of_all_measure_is_held():
    region = disc(12)
    found = measure_evidence(region, picture(region, held(), height=3.0, around=-0.5))
    assert (found["over"], found["least_over"], found["dark"]) == (4.0, 4.0, 1.0)


@pytest.mark.parametrize("radius", [8.0, 12.0, 20.0])
def test_a_disc_is_round_and_as_large_as_its_radius(radius):
    region = disc(radius)
    found = measure_evidence(region, picture(region, held()))
    # Steps along and across pixels make a circle 8 (sqrt 2 - 1) / pi = 1.055 times as long, which counts squared.
    assert found["roundness"] == pytest.approx(0.9, abs=0.1)
    # A twentieth of a grid of 256 is 12.8.
    assert found["size"] == pytest.approx(np.log(radius / 12.8), abs=0.03)


def test_a_square_is_less_round_than_a_disc_and_a_bar_less_than_a_square():
    square, bar = np.zeros((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), bool)
    square[50:78, 50:78] = True
    bar[60:68, 30:98] = True
    told = [measure_evidence(region, picture(region, held()))["roundness"] for region in (disc(14), square, bar)]
    assert told[1] == pytest.approx(np.pi / 4, abs=0.05)
    # 4 pi a b / (2 (a + b))^2 with sides 8 and 68.
    assert told[2] == pytest.approx(np.pi * 8 * 68 / 76**2, abs=0.05)
    assert told[0] > told[1] > told[2]


def test_a_curve_that_is_that_of_the_arteries_held_follows_them_and_its_mirror_does_not():
    region = disc(12)
    assert measure_evidence(region, picture(region, held()))["follows"] == pytest.approx(1.0, abs=1e-5)
    assert measure_evidence(region, picture(region, -held()))["follows"] == pytest.approx(-1.0, abs=1e-5)
    assert measure_evidence(region, picture(region, np.zeros(12)))["follows"] == 0.0


def test_what_is_there_early_late_and_before_is_told_against_what_is_there_in_the_stain():
    region, rise = disc(12), np.zeros(12)
    rise[FIRST : LAST + 1] = 0.2
    rise[2:6] = 0.1  # While arteries are full.
    rise[-2:] = 0.05
    rise[1] = -0.06  # Before they fill, and a moved edge may be dark.
    rise[2] = 0.02
    found = measure_evidence(region, picture(region, rise))
    assert found["early"] == pytest.approx(np.mean([0.02, 0.1, 0.1, 0.1]) / 0.2, rel=1e-4)
    assert found["late"] == pytest.approx(0.25, rel=1e-4)
    assert found["before"] == pytest.approx(0.3, rel=1e-4)


def test_what_never_stands_out_is_measured_against_a_little_liver():
    region, rise = disc(12), np.zeros(12)
    rise[-2:] = 0.001
    found = measure_evidence(region, picture(region, rise))
    assert found["late"] == pytest.approx(1.0, rel=1e-4)


def test_of_too_few_pixels_nothing_is_measured():
    region = disc(1.0)
    assert measure_evidence(region, picture(region, held())) is None
    hidden = disc(12)
    seen = picture(hidden, held())
    assert measure_evidence(hidden, replace(seen, inside=~disc(60))) is None


def test_evidence_multiplies_the_odds():
    known = {name: mid for name, (mid, _, _) in candidate._MODEL.items()}

    def odds(**more):
        probability = tumour_probability({**known, **more})
        return probability / (1 - probability)

    both, base = odds(over=2.0, dark=0.2), odds()
    assert both / base == pytest.approx(odds(over=2.0) / base * odds(dark=0.2) / base, rel=1e-9)


@pytest.mark.parametrize("name", ["over", "least_over", "in_grain", "sharp", "roundness", "size", "follows"])
def test_what_speaks_for_a_tumour_makes_it_likelier(name):
    known = {name: mid for name, (mid, _, _) in candidate._MODEL.items()}
    assert tumour_probability(known | {name: known[name] + 1}) > tumour_probability(known)


@pytest.mark.parametrize("name", ["early", "late", "before", "dark"])
def test_what_speaks_for_a_vein_an_artery_or_a_moved_edge_makes_it_less_likely(name):
    known = {name: mid for name, (mid, _, _) in candidate._MODEL.items()}
    assert tumour_probability(known | {name: known[name] + 1}) < tumour_probability(known)


def branch(k, start, end, first, last, *, radius=2.0, arrival=1.0, contrast=0.5):
    line = np.linspace(first, last, 41)
    size = len(line)
    return Branch(k, start, end, line, np.full(size, radius), np.full(size, arrival), contrast=np.full(size, contrast))


@pytest.fixture
def scene():
    """A trunk to a fork; one branch straight into a tumour of 20 px, another away from it. The blush fills at 2 s."""
    nodes = np.array([[10.0, 64.0], [30.0, 64.0], [90.0, 64.0], [30.0, 120.0]])
    branches = (
        branch(0, 0, 1, nodes[0], nodes[1], radius=4.0, arrival=0.5, contrast=1.0),
        branch(1, 1, 2, nodes[1], nodes[2], radius=2.0, arrival=1.25, contrast=0.4),
        branch(2, 1, 3, nodes[1], nodes[3], radius=1.0, arrival=1.0, contrast=0.2),
    )
    tumour = Tumour("T1", disc(20, (90.0, 64.0)), 1.0, LesionOrigin.ROI)
    frames = np.zeros((12, SIDE, SIDE), np.float32)
    frames[:, tumour.mask] = np.clip((TIMES - 1.5) / 1.0, 0, 1)[:, None]
    return VesselGraph(nodes, branches, 0), tumour, frames


def around(scene, ways, feeding=None):
    graph, tumour, frames = scene
    distance = distance_transform_edt(~tumour.mask)
    flow = tree_flow(graph, distance, 5.0)
    flat = np.zeros(frames.shape[1:], np.float32)
    sub = SubtractedRun(
        frames, TIMES, np.ones(flat.shape, bool), np.ones(12, bool), next(iter(Background)), (0, 1), 3,
        np.zeros((12, 2)), 1.0, 0.5, 0.01, flat, flat, Source("1.2.3", "1.2"),
    )  # fmt: skip
    return Surroundings.of(tumour, graph, flow, sub, ways, distance=distance, reach_px=10.0, feeding=feeding)


def straight(scene):
    graph = scene[0]
    line = graph.branches[1].centreline
    return Way(graph.branches[0].centreline, line[line[:, 0] <= 70.5], (0,), (1,), line[line[:, 0] > 70.5])


def test_a_straight_way_heads_for_the_middle_and_ends_at_the_edge(scene):
    way = straight(scene)
    found = measure_way(way, around(scene, [way]))
    assert found["heading"] == pytest.approx(1.0, abs=1e-3)
    assert found["gap_over_reach"] == pytest.approx(0.0, abs=0.11)
    assert found["rooted"] == 1.0
    # From the fork at row 30 to the edge at row 70, in reaches of 10 px.
    assert found["own_length_over_reach"] == pytest.approx(4.0, abs=0.2)
    assert np.isnan(found["mapped"])
    assert np.isnan(found["mapped_least"])
    assert np.isnan(found["beside_likelier"])


def test_the_last_branch_is_told_against_the_widest_the_strongest_and_the_blush(scene):
    way = straight(scene)
    other = Way(scene[0].branches[0].centreline, scene[0].branches[2].centreline, (0,), (2,))
    found = measure_way(way, around(scene, [way, other]))
    assert found["own_share"] == 1.0
    assert found["calibre_over_widest"] == pytest.approx(2.0 / 4.0)
    assert found["contrast_over_strongest"] == pytest.approx(1.0)
    # The blush passes half its height at 2.0 s, the branch fills at 1.25 s.
    assert found["blush_delay_s"] == pytest.approx(0.75, abs=0.01)
    weaker = measure_way(other, around(scene, [way, other]))
    assert weaker["contrast_over_strongest"] == pytest.approx(0.5)
    assert weaker["own_share"] == 0.0
    assert weaker["heading"] < 0.5


def test_what_goes_on_inside_is_told_in_radii_and_as_a_share_of_the_branch(scene):
    way = straight(scene)
    found = measure_way(way, around(scene, [way]))
    line = scene[0].branches[1].centreline
    inside = np.count_nonzero(line[:, 0] > 69.5)
    radius = np.sqrt(scene[1].area_px / np.pi)
    assert found["length_inside_over_radius"] == pytest.approx(inside / radius, rel=0.05)
    assert found["inside_share"] == pytest.approx(inside / len(line), rel=0.05)


def test_a_way_under_which_no_tree_lies_is_unknown_in_all_that_the_tree_would_tell(scene):
    line = np.linspace((90.0, 10.0), (90.0, 40.0), 31)
    found = measure_way(Way(np.empty((0, 2)), line, (), ()), around(scene, []))
    for name in ("length_inside_over_radius", "inside_share", "own_share", "calibre_over_widest",
                 "contrast_over_strongest", "blush_delay_s", "rooted"):  # fmt: skip
        assert np.isnan(found[name]), name
    assert found["heading"] == pytest.approx(1.0)
    # The tumour's edge is at column 44.
    assert found["gap_over_reach"] == pytest.approx(0.4, abs=0.11)


def test_a_way_that_does_not_begin_at_the_root_is_not_rooted(scene):
    line = scene[0].branches[1].centreline
    alone = Way(np.empty((0, 2)), line, (), (1,))
    assert measure_way(alone, around(scene, [alone]))["rooted"] == 0.0
    lost = replace(scene[0], root=None), *scene[1:]
    assert measure_way(straight(scene), around(lost, [straight(scene)]))["rooted"] == 0.0


def test_a_map_is_read_outside_the_tumour_alone_on_average_and_at_its_least(scene):
    way = straight(scene)
    shown = np.zeros((SIDE, SIDE), np.float32)
    shown[28:50, 60:69] = 0.8
    shown[50:68, 60:69] = 0.4
    found = measure_way(way, around(scene, [way], shown))
    assert found["mapped"] == pytest.approx((20 * 0.8 + 18 * 0.4) / 40, abs=0.05)
    assert found["mapped_least"] == pytest.approx(0.4, abs=0.05)
    shown[disc(20, (90.0, 64.0))] = 1.0
    assert measure_way(way, around(scene, [way], shown))["mapped_least"] == pytest.approx(0.4, abs=0.05)


KNOWN = {
    "mapped": 0.6, "mapped_least": 0.4, "own_length_over_reach": 3.0, "gap_over_reach": 0.5, "heading": 0.7,
    "length_inside_over_radius": 0.8, "inside_share": 0.5, "own_share": 0.9, "calibre_over_widest": 0.3,
    "contrast_over_strongest": 0.7, "blush_delay_s": 0.4, "rooted": 1.0, "beside_likelier": 0.6,
}  # fmt: skip


def test_twice_as_long_says_as_much_from_one_reach_as_from_two():
    lengths = [features(KNOWN | {"own_length_over_reach": n})["own_length"] for n in (1.0, 2.0, 4.0)]
    assert np.diff(lengths) == pytest.approx([np.log(2)] * 2)


@pytest.mark.parametrize(
    ("name", "told", "held_at", "beyond"),
    [
        ("gap_over_reach", "gap_over_reach", 3.0, 5.0),
        ("length_inside_over_radius", "length_inside", 3.0, 4.0),
        ("blush_delay_s", "blush_delay", -3.0, -9.0),
        ("blush_delay_s", "blush_delay", 6.0, 9.0),
        ("mapped", "mapped", 0.995, 1.0),
        ("mapped", "mapped", 0.005, 0.0),
        ("beside_likelier", "beside_likelier", 0.5, 0.0),
        ("own_length_over_reach", "own_length", 0.2, 0.0),
    ],
)
def test_what_is_out_of_measure_says_no_more_than_the_end_of_the_measure(name, told, held_at, beyond):
    end, further = features(KNOWN | {name: held_at})[told], features(KNOWN | {name: beyond})[told]
    assert end == pytest.approx(further)
    assert features(KNOWN)[told] != pytest.approx(end)


@pytest.mark.parametrize("name", sorted(set(KNOWN) - {"mapped", "mapped_least"}))
def test_what_is_not_known_of_a_way_speaks_neither_for_nor_against(name):
    # Between two values that pull apart lies one that says nothing: leaving it out is no more extreme than both.
    ends = [feeder_probability(KNOWN | {name: value}) for value in (-20.0, 20.0)]
    unknown = feeder_probability(KNOWN | {name: float("nan")})
    assert min(ends) <= unknown <= max(ends)


def test_flow_goes_with_the_cube_of_the_radius_and_ends_where_the_leaf_ends(scene):
    graph, tumour, _ = scene
    flow = tree_flow(graph, distance_transform_edt(~tumour.mask), 5.0)
    assert flow.flow == pytest.approx([9.0, 8.0, 1.0])
    assert flow.into_tumour == pytest.approx([8.0, 8.0, 0.0])
    assert flow.share == pytest.approx([8 / 9, 1.0, 0.0])


def test_a_branch_without_flow_has_no_share():
    assert TreeFlow(np.zeros(1), np.zeros(1)).share == pytest.approx([0.0])
