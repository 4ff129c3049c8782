"""Chords and geometry have closed forms: the renderer must agree with them."""

import numpy as np
import pytest

from angio_pipeline.simulate.projection import (
    CArm,
    Ellipsoids,
    Tubes,
    project_ellipsoids,
    project_gaussians,
    project_overlaps,
    project_tubes,
)


def carm(primary: float = 0.0, secondary: float = 0.0, pixel_mm: float = 0.6) -> CArm:
    return CArm(201, 201, pixel_mm, 1100.0, 750.0, primary, secondary)


def tube(start: list[float], end: list[float], radius: float) -> Tubes:
    return Tubes(np.array([start], float), np.array([end], float), np.array([radius]))


def test_central_ray_through_a_cylinder_has_its_diameter_as_chord() -> None:
    image = project_tubes(carm(pixel_mm=0.1), tube([-20, 0, 0], [20, 0, 0], 2.5), np.ones(1))
    assert image[100, 100] == pytest.approx(5.0, rel=0.01)


def test_chord_profile_of_a_cylinder_is_analytic_across_it() -> None:
    arm = carm(pixel_mm=0.1)
    image = project_tubes(arm, tube([-20, 0, 0], [20, 0, 0], 2.5), np.ones(1))
    rows = np.arange(201) - 100.0
    angle = np.arctan(rows * 0.1 / 1100)
    offset = 750 * np.sin(angle)
    analytic = 2 * np.sqrt(np.maximum(2.5**2 - offset**2, 0))
    inner = np.abs(offset) < 2.3
    np.testing.assert_allclose(image[inner, 100], analytic[inner], rtol=0.01)


def test_oblique_cylinder_lengthens_its_chord_by_the_cosine() -> None:
    tilt = np.deg2rad(60)
    along = 30 * np.array([np.cos(tilt), -np.sin(tilt), 0])
    image = project_tubes(carm(pixel_mm=0.1), tube(list(-along), list(along), 2.0), np.ones(1))
    assert image[100, 100] == pytest.approx(4.0 / np.cos(tilt), rel=0.01)


def test_cylinder_seen_end_on_has_its_length_as_chord() -> None:
    image = project_tubes(carm(pixel_mm=0.1), tube([0, 10, 0], [0, -10, 0], 2.0), np.ones(1))
    assert image[100, 100] == pytest.approx(20.0, rel=0.01)


def test_a_vessel_thinner_than_a_pixel_keeps_its_iodine() -> None:
    arm = carm()
    image = project_tubes(arm, tube([-20, 0, 5], [20, 0, 9], 0.12), np.ones(1))
    volume = image.sum() * arm.isocentre_pixel_mm**2
    assert volume == pytest.approx(np.pi * 0.12**2 * np.hypot(40, 4), rel=0.02)


def test_chord_through_an_ellipsoid_is_its_axis() -> None:
    solids = Ellipsoids.aligned([0, 0, 0], [8, 13, 5])
    image = project_ellipsoids(carm(pixel_mm=0.1), solids, 1.0)
    assert image[100, 100] == pytest.approx(26.0, rel=1e-3)


def test_projected_ellipsoid_holds_its_volume() -> None:
    arm = carm(primary=25, secondary=-15)
    image = project_ellipsoids(arm, Ellipsoids.aligned([0, 0, 0], [18, 12, 15]), 1.0)
    assert image.sum() * arm.isocentre_pixel_mm**2 == pytest.approx(4 / 3 * np.pi * 18 * 12 * 15, rel=0.01)


def test_overlap_of_nested_ellipsoids_is_the_inner_one() -> None:
    inner, outer = Ellipsoids.aligned([2, 3, 1], [6, 5, 4]), Ellipsoids.aligned([0, 0, 0], [20, 20, 20])
    arm = carm()
    np.testing.assert_allclose(project_overlaps(arm, inner, outer, 1.0), project_ellipsoids(arm, inner, 1.0))


def test_overlap_of_distant_ellipsoids_is_nothing() -> None:
    first, second = Ellipsoids.aligned([-20, 0, 0], [5, 5, 5]), Ellipsoids.aligned([20, 0, 0], [5, 5, 5])
    assert not project_overlaps(carm(), first, second, 1.0).any()


def test_gaussian_region_keeps_its_mass() -> None:
    arm = carm()
    image = project_gaussians(arm, np.zeros((1, 3)), np.array([6.0]), np.array([37.0]))
    assert image.sum() * arm.isocentre_pixel_mm**2 == pytest.approx(37.0, rel=0.01)


def test_frontal_view_has_the_patients_right_on_the_left_and_the_head_up() -> None:
    left, head = carm().project(np.array([[30.0, 0, 0], [0, 0, 30.0]]))
    assert left[1] > 100
    assert head[0] < 100


def test_a_point_nearer_the_detector_seems_to_shift_as_the_tube_turns() -> None:
    # LAO carries the detector to the patient's left, so what lies in front moves to the picture's left.
    front = np.array([[0.0, -30.0, 0.0]])
    assert carm(primary=30).project(front)[0, 1] < 100
    assert carm(primary=-30).project(front)[0, 1] > 100
    # Cranial tilt carries the detector to the head: what lies in front moves down.
    assert carm(secondary=20).project(front)[0, 0] > 100


def test_the_isocentre_is_seen_in_the_middle_from_every_side() -> None:
    for primary, secondary in ((0, 0), (-30, 10), (45, -20)):
        np.testing.assert_allclose(carm(primary, secondary).project(np.zeros((1, 3))), [[100, 100]], atol=1e-9)


def test_pixels_at_the_isocentre_scale_with_the_distances() -> None:
    arm = carm()
    step = arm.project(np.array([[arm.isocentre_pixel_mm, 0, 0]]))[0] - arm.project(np.zeros((1, 3)))[0]
    np.testing.assert_allclose(step, [0, 1], atol=1e-9)
