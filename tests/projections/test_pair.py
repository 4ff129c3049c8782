"""Two views of one tree in space, joined: what is known of the tree is the truth."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from projections_scene import FRONT, RADIUS, SIDE, TUMOUR, course, make_run, without_tumour

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.geometry import CArmPose, PixelSpacing, SpacingPlane
from angio_pipeline.core.projections import FeederSight, ProjectionPair, Sight
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.runs import Stage
from angio_pipeline.core.tumours import ByHand
from angio_pipeline.projections import ChoosingParams, ProjectionParams, SeenRun, choose_projections, join_views
from angio_pipeline.projections.geometry import PairGeometry, height_axis, view_of
from angio_pipeline.projections.sights import joint_probability

PARAMS = ProjectionParams()


def sights(pair: ProjectionPair, side: int = 0) -> dict[str, FeederSight]:
    return {sight.feeder: sight for sight in pair.feeders[side]}


def refusal(first: RunResult, second: RunResult) -> str:
    with pytest.raises(InputRefused) as refused:
        join_views(first, second, params=PARAMS)
    return refused.value.reason


@pytest.mark.slow
def test_a_feeder_that_both_views_show_is_one_and_likelier(joined: ProjectionPair) -> None:
    feeder, other = sights(joined)["T1-F1"], sights(joined, 1)["T1-F1"]
    assert (feeder.sight, feeder.match) == (Sight.FEEDS, "T1-F1")
    assert min(feeder.probability, other.probability) > feeder.probability_alone
    assert feeder.apart_mm < 0.7


@pytest.mark.slow
def test_a_branch_that_ends_over_the_tumour_in_one_view_only_is_none(joined: ProjectionPair) -> None:
    behind = sights(joined)["T1-F2"]
    assert (behind.sight, behind.match) == (Sight.PASSES, None)
    assert behind.probability < 0.5 < behind.probability_alone
    assert behind.beyond_mm > 30


def test_ends_of_two_vessels_that_pictures_take_for_one_are_told_to_lie_far_outside_the_tumour() -> None:
    first, second = (
        make_run(replace(seen, fills=("trunk", name, "liver", "lower"), calls=((name, 0.9),)))
        for seen, name in ((FRONT, "right"), (SIDE, "left"))
    )
    pair = join_views(first, second, params=PARAMS)
    told = sights(pair)["T1-F1"]
    assert (told.sight, told.match) == (Sight.FEEDS, "T1-F1")
    assert told.beyond_mm > 20
    assert f"this end lies {told.beyond_mm:.0f} mm outside the tumour" in told.reason
    assert any(f"T1-F1 of the first view ({told.beyond_mm:.0f} mm)" in words for words in pair.cautions)


def test_ends_in_the_tumour_are_not_told_to_lie_outside_it(joined: ProjectionPair) -> None:
    assert "outside" not in sights(joined)["T1-F1"].reason
    assert joined.cautions == ()


def test_tumour_and_entry_lie_where_they_are_in_space(joined: ProjectionPair) -> None:
    (tumour,) = joined.tumours
    assert tumour.centre_mm == pytest.approx(TUMOUR, abs=1.5)
    assert tumour.radius_mm == pytest.approx(RADIUS, rel=0.1)
    assert sights(joined)["T1-F1"].entry_mm == pytest.approx(course("feeder", FRONT)[-1], abs=2.5)


def test_the_other_views_course_is_that_of_the_same_branch(joined: ProjectionPair) -> None:
    own = view_of(make_run(SIDE).run, params=PARAMS.view).project(course("feeder", SIDE))
    found = sights(joined)["T1-F1"].course
    inside = found[-8:]
    away = np.linalg.norm(inside[:, None] - own, axis=2).min(axis=1)
    assert away.max() < 2


@pytest.mark.parametrize("shift", [(0.0, 0.0, 12.0), (6.0, -5.0, -15.0)])
def test_a_patient_that_moved_between_the_runs_is_followed(shift: tuple[float, float, float]) -> None:
    first, second = make_run(FRONT), make_run(replace(SIDE, shift=shift))
    pair = join_views(first, second, params=PARAMS)
    still = PairGeometry(view_of(first.run, params=PARAMS.view), view_of(second.run, params=PARAMS.view), np.eye(5))
    # Along the axis across the lines the displacement is seen; along them it is depth.
    axis = height_axis(still)
    assert np.array(pair.alignment.shift_mm) @ axis == pytest.approx(np.array(shift) @ axis, abs=1.5)
    assert sights(pair)["T1-F1"].match == "T1-F1"
    assert sights(pair)["T1-F2"].sight is Sight.PASSES


def test_a_tip_found_wrongly_in_one_view_is_left_out() -> None:
    pair = join_views(make_run(FRONT), make_run(replace(SIDE, tip_off_mm=40.0)), params=PARAMS)
    used = {mark.name: mark.used for mark in pair.alignment.landmarks}
    assert used == {"catheter tip": False, "tumour T1 as T1": True}
    assert np.abs(pair.alignment.shift_mm).max() < 1.5


def test_views_told_in_either_order_say_the_same(joined: ProjectionPair) -> None:
    turned = join_views(make_run(SIDE), make_run(FRONT), params=PARAMS)
    for name, sight in sights(joined).items():
        other = sights(turned, 1)[name]
        assert (other.sight, other.match) == (sight.sight, sight.match)
        assert other.probability == pytest.approx(sight.probability, abs=0.05)


def test_a_feeder_that_a_reader_accepted_stays_certain() -> None:
    first = make_run(FRONT)
    (tumour,) = first.tumours
    said = tuple(replace(f, probability=1.0, corrected=ByHand.ACCEPTED) for f in tumour.feeders)
    first = replace(first, tumours=(replace(tumour, feeders=said),))
    pair = join_views(first, make_run(SIDE), params=PARAMS)
    assert {sight.probability for sight in pair.feeders[0]} == {1.0}
    assert sights(pair, 1)["T1-F1"].probability == 1.0


def test_runs_that_fill_other_arteries_are_refused() -> None:
    other = make_run(replace(SIDE, mirrored=True, fills=("trunk", "feeder", "liver"), tip_off_mm=60.0))
    (tumour,) = other.tumours
    away = replace(tumour, mask=np.roll(tumour.mask, 90, axis=0))
    assert refusal(make_run(FRONT), replace(other, tumours=(away,))) == "not_aligned"


def test_refusals_are_told_by_name() -> None:
    front, side = make_run(FRONT), make_run(SIDE)
    assert refusal(without_tumour(front), side) == "no_tumour"
    assert refusal(front, make_run(replace(SIDE, angles=(-10.0, 0.0)))) == "views_alike"
    assert refusal(front, replace(side, run=replace(side.run, pose=None))) == "angle_unknown"
    (tumour,) = side.tumours
    elsewhere = replace(tumour, mask=np.roll(tumour.mask, 110, axis=0))
    assert refusal(front, replace(side, tumours=(elsewhere,))) == "no_tumour_match"


def test_without_a_scale_the_pair_is_joined_and_says_so() -> None:
    detector = PixelSpacing(0.9, 0.9, SpacingPlane.DETECTOR)
    pose = CArmPose(*SIDE.angles)
    pair = join_views(make_run(FRONT, spacing=detector), make_run(SIDE, spacing=detector, pose=pose), params=PARAMS)
    assert not pair.millimetres_told
    assert any("how large the patient is" in sentence for sentence in pair.cautions)
    assert sights(pair)["T1-F1"].match == "T1-F1"


def test_the_joint_probability_rises_with_what_either_view_says() -> None:
    base = {
        "own": 0.5,
        "partner": 0.5,
        "partner_misfit": 0.3,
        "inside_misfit": 0.3,
        "beside_misfit": 1.0,
        "beyond_mm": 2.0,
    }
    middle = joint_probability(base)
    assert joint_probability(base | {"own": 0.8}) > middle
    assert joint_probability(base | {"partner": 0.8}) > middle
    assert joint_probability(base | {"partner": float("nan")}) < middle
    assert joint_probability(base | {"beside_misfit": 0.1}) < middle


def seen(minute: int, angles: tuple[float, float] | None, stage: Stage | None = None) -> SeenRun:
    when = datetime(2025, 1, 2, 10) + timedelta(minutes=minute)
    return SeenRun(Source(f"1.{minute}", "1", date="20250102", acquired=when), angles, stage)


def choose(*runs: SeenRun) -> tuple[tuple[int, int], ...]:
    return choose_projections(runs, least_apart_deg=15.0, params=ChoosingParams())


def test_the_two_views_that_follow_each_other_soonest_come_first() -> None:
    runs = seen(0, (0, 0)), seen(30, (-30, 0)), seen(35, (0, 0))
    assert choose(*runs) == ((1, 2), (0, 1))


def test_runs_before_and_after_embolisation_are_no_pair() -> None:
    assert choose(seen(0, (0, 0)), seen(5, (-30, 0), Stage.AFTER)) == ()
    assert choose(seen(0, (0, 0), Stage.AFTER), seen(5, (-30, 0), Stage.AFTER)) == ((0, 1),)


def test_nearly_one_view_unknown_angles_and_another_hour_are_no_pair() -> None:
    assert choose(seen(0, (0, 0)), seen(5, (10, 0))) == ()
    assert choose(seen(0, (0, 0)), seen(5, None)) == ()
    assert choose(seen(0, (0, 0)), seen(90, (-30, 0))) == ()
