"""The geometry of two views against the simulator's own C-arm, and against closed forms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.geometry import CArmPose, PixelSpacing, SpacingPlane
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.runs import AngioRun, Quantity
from angio_pipeline.projections.geometry import (
    PairGeometry,
    View,
    ViewParams,
    check_angles,
    height_axis,
    plane_heights_mm,
    triangulate,
    view_of,
    views_apart_deg,
)
from angio_pipeline.simulate.radiograph.projection import CArm

POINTS = np.random.default_rng(3).normal(0, 50, (40, 3))
PRIOR = np.diag([8.0, 8.0, 8.0, 1.0, 1.0]) ** 2


def view(primary: float, secondary: float, **changed: Any) -> View:
    return View(CArmPose(primary, secondary, 1100.0, 750.0), (1100 / 0.62,) * 2, (512, 480), **changed)


def pair(**changed: object) -> PairGeometry:
    return PairGeometry(view(0, 0), view(-30, 10, **changed), PRIOR)


def run(pose: CArmPose | None, spacing: PixelSpacing | None) -> AngioRun:
    frames = np.zeros((2, 64, 48), np.float32)
    return AngioRun(
        frames, np.array([0.0, 1.0]), Quantity.ATTENUATION, np.ones((64, 48), bool), Source("1", "2"), spacing, pose
    )


@pytest.mark.parametrize("angles", [(0, 0), (-30, 10), (40, -25), (90, 0), (0, 30)])
def test_a_view_projects_as_the_simulated_c_arm_does(angles: tuple[float, float]) -> None:
    simulated = CArm(512, 480, 0.62, 1100.0, 750.0, *angles)
    assert view(*angles).project(POINTS) == pytest.approx(simulated.project(POINTS), abs=1e-9)


def test_lao_shows_what_lies_in_front_farther_to_the_right_than_what_lies_behind() -> None:
    front, behind = np.array([[0.0, -50.0, 0.0]]), np.array([[0.0, 50.0, 0.0]])
    assert view(30, 0).project(front)[0, 1] < view(30, 0).project(behind)[0, 1]
    assert view(-30, 0).project(front)[0, 1] > view(-30, 0).project(behind)[0, 1]


def test_a_point_lies_on_its_line_whatever_the_patient_did_in_between() -> None:
    both = pair(shift_mm=(4.0, -3.0, 9.0), turn_deg=(0.7, -0.4))
    seen = both.first.project(POINTS), both.second.project(POINTS)
    assert np.diag(both.distances_mm(*seen)) == pytest.approx(0, abs=1e-9)
    assert np.diag(both.swapped().distances_mm(seen[1], seen[0])) == pytest.approx(0, abs=1e-9)
    homogeneous = [np.column_stack([points, np.ones(len(points))]) for points in seen]
    products = np.einsum("ni,ij,nj->n", homogeneous[1], both.fundamental, homogeneous[0])
    assert products / np.abs(both.fundamental).max() == pytest.approx(0, abs=1e-6)


def test_two_rays_meet_where_the_point_is() -> None:
    both = pair(shift_mm=(4.0, -3.0, 9.0))
    found, gap = triangulate(both, both.first.project(POINTS), both.second.project(POINTS))
    assert found == pytest.approx(POINTS, abs=1e-6)
    assert gap == pytest.approx(0, abs=1e-6)


def test_a_point_lies_at_one_height_in_both_views() -> None:
    both = pair()
    heights = [
        plane_heights_mm(both, one.project(POINTS), second=k == 1) for k, one in enumerate((both.first, both.second))
    ]
    assert heights[0] == pytest.approx(heights[1], abs=1e-9)
    above = plane_heights_mm(both, both.first.project(height_axis(both)[None] * 10), second=False)
    assert above[0] == pytest.approx(10, rel=0.02)


def test_the_spread_of_a_line_is_that_of_displaced_patients() -> None:
    both, rng = pair(), np.random.default_rng(1)
    seen = both.first.project(POINTS[:1]), both.second.project(POINTS[:1])
    moved = [both.moved(change) for change in rng.multivariate_normal(np.zeros(5), PRIOR, 2000)]
    distances = [one.distances_mm(*seen)[0, 0] for one in moved]
    assert both.spreads_mm(*seen)[0] == pytest.approx(np.std(distances), rel=0.08)


def test_a_displacement_along_the_line_between_the_sources_is_not_seen() -> None:
    both = pair()
    along = both.second.source_mm - both.first.source_mm
    moved = both.moved(np.append(20 * along / np.linalg.norm(along), [0, 0]))
    seen = both.first.project(POINTS), both.second.project(POINTS)
    assert np.diag(moved.distances_mm(*seen)) == pytest.approx(0, abs=1e-6)


def test_opposite_rays_are_one_projection() -> None:
    assert views_apart_deg((0, 0), (180, 0)) == pytest.approx(0, abs=1e-4)
    assert views_apart_deg((0, 0), (90, 0)) == pytest.approx(90)
    # Through a turn of 30 and a tilt of 10 degrees the rays are arccos(cos 30 cos 10) apart.
    assert views_apart_deg((0, 0), (-30, 10)) == pytest.approx(
        np.degrees(np.arccos(np.cos(np.pi / 6) * np.cos(np.pi / 18)))
    )


def test_views_of_nearly_one_angulation_are_refused() -> None:
    with pytest.raises(InputRefused, match="15 degrees apart, found 8") as refused:
        check_angles(view(0, 0), view(8, 0), params=ViewParams())
    assert refused.value.reason == "views_alike"


def test_a_run_without_angles_is_refused() -> None:
    with pytest.raises(InputRefused, match="angles") as refused:
        view_of(run(None, None), params=ViewParams())
    assert refused.value.reason == "angle_unknown"


def test_a_spacing_in_the_patient_and_one_at_the_detector_tell_one_view() -> None:
    pose = CArmPose(20, 5, 1100.0, 750.0)
    at_detector = view_of(run(pose, PixelSpacing(0.6, 0.6, SpacingPlane.DETECTOR)), params=ViewParams())
    size = 0.6 * 750 / 1100
    in_patient = view_of(run(pose, PixelSpacing(size, size, SpacingPlane.ISOCENTRE)), params=ViewParams())
    assert at_detector.matrix == pytest.approx(in_patient.matrix)
    assert in_patient.pixel_mm == pytest.approx(size)
    assert in_patient.scale_told
    assert not at_detector.scale_told


def test_without_a_spacing_lines_move_by_less_than_a_vessel_of_a_catheter() -> None:
    # A field 30 % too large costs less than 3 mm within 60 mm of the middle: directions rest on the angles alone.
    true = pair()
    wide = tuple(f / 1.3 for f in true.first.focal_px)
    taken = replace(true, first=replace(true.first, focal_px=wide), second=replace(true.second, focal_px=wide))
    inside = POINTS[np.abs(POINTS).max(axis=1) < 60]
    distances = np.diag(taken.distances_mm(true.first.project(inside), true.second.project(inside)))
    assert np.abs(distances).max() < 3
