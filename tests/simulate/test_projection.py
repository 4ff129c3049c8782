"""Chords and geometry have closed forms: the renderer must agree with them."""

import numpy as np
import pytest

from angio_pipeline.simulate.radiograph.projection import (
    CArm,
    Ellipsoids,
    Tubes,
    project_ellipsoids,
    project_gaussians,
    project_overlaps,
    project_tubes,
    project_union,
)


def carm(primary: float = 0.0, secondary: float = 0.0, pixel_mm: float = 0.6) -> CArm:
    return CArm(201, 201, pixel_mm, 1100.0, 750.0, primary, secondary)


def tube(start: list[float], end: list[float], radius: float) -> Tubes:
    return Tubes(np.array([start], float), np.array([end], float), np.array([radius]))


@pytest.mark.slow
def test_central_ray_through_a_cylinder_has_its_diameter_as_chord() -> None:
    image = project_tubes(carm(pixel_mm=0.1), tube([-20, 0, 0], [20, 0, 0], 2.5), np.ones(1))
    assert image[100, 100] == pytest.approx(5.0, rel=0.01)


@pytest.mark.slow
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


@pytest.mark.slow
def test_chord_through_an_ellipsoid_is_its_axis() -> None:
    solids = Ellipsoids.aligned([0, 0, 0], [8, 13, 5])
    image = project_ellipsoids(carm(pixel_mm=0.1), solids, 1.0)
    assert image[100, 100] == pytest.approx(26.0, rel=1e-3)


@pytest.mark.slow
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


def sampled_chord(arm: CArm, one: Tubes, fine: int = 16) -> np.ndarray:
    """Chord of one cylinder, averaged over fine x fine rays a pixel: the textbook formula, no short cuts."""
    a, b = arm.view(one.start)[0], arm.view(one.end)[0]
    length, radius = np.linalg.norm(b - a), one.radius[0]
    along = (b - a) / length
    sub = (np.arange(fine) + 0.5) / fine - 0.5
    rows = (np.arange(arm.rows)[:, None] + sub).ravel() - (arm.rows - 1) / 2
    cols = (np.arange(arm.columns)[:, None] + sub).ravel() - (arm.columns - 1) / 2
    y, x = np.meshgrid(rows * arm.pixel_mm, cols * arm.pixel_mm, indexing="ij")
    ray = np.stack([x, y, np.full_like(x, arm.sid_mm)], axis=-1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    slope = ray @ along
    across, offset = ray - slope[..., None] * along, a - (a @ along) * along
    qa = (across**2).sum(axis=-1)
    root = (across @ offset) ** 2 - qa * (offset @ offset - radius**2)
    half = np.sqrt(np.maximum(root, 0)) / qa
    middle = (across @ offset) / qa
    near, far = sorted_pair((a @ along) / slope, (a @ along + length) / slope)
    chord = np.minimum(middle + half, far) - np.maximum(middle - half, near)
    return np.where(root > 0, np.maximum(chord, 0), 0).reshape(arm.rows, fine, arm.columns, fine).mean(axis=(1, 3))


def sorted_pair(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.minimum(first, second), np.maximum(first, second)


@pytest.mark.parametrize("radius", [0.1, 0.4, 1.2, 3.0])
@pytest.mark.parametrize(("primary", "secondary"), [(0, 0), (-30, 10), (40, -25)])
@pytest.mark.parametrize("along", [(0.2, 0.3, 1), (0.5, -1, 0.4), (0.02, 1, 0.01)])
def test_projected_cylinder_is_the_analytic_chord_within_a_percent(
    radius: float, primary: float, secondary: float, along: tuple[float, float, float]
) -> None:
    # A course of short pieces, as vessels are laid, against one long cylinder; away from its ends.
    arm = CArm(32, 32, 0.62, 1100.0, 750.0, primary, secondary)
    heading = np.array(along) / np.linalg.norm(along)
    knots = np.linspace(-1, 1, 21)[:, None] * 7 * heading + [1.3, 0.4, -0.7]
    pieces = Tubes(knots[:-1], knots[1:], np.full(20, radius))
    image = project_tubes(arm, pieces, np.ones(20))
    truth = sampled_chord(arm, Tubes(knots[:1], knots[-1:], np.array([radius])), fine=40 if radius < 0.3 else 12)
    assert image.sum() == pytest.approx(truth.sum(), rel=0.01)
    at = arm.project(knots[4:-4])
    rows, cols = np.indices(truth.shape)
    inner = (np.hypot(rows[..., None] - at[:, 0], cols[..., None] - at[:, 1]).min(axis=-1) < 1.5) & (truth > 0)
    assert np.abs(image - truth)[inner].mean() < 0.01 * truth[inner].mean()
    assert np.abs(image - truth)[inner].max() < 0.03 * truth.max()


@pytest.mark.slow
def test_a_cylinder_far_off_the_central_ray_is_seen_as_wide_as_it_is() -> None:
    arm = CArm(512, 512, 0.62, 1100.0, 750.0)
    one = tube([-95, 2, 92], [-88, 5, 96], 2.0)
    image, truth = project_tubes(arm, one, np.ones(1)), sampled_chord(arm, one, 4)
    assert image.sum() == pytest.approx(truth.sum(), rel=0.01)
    assert np.abs(image - truth).mean() < 0.01 * truth[truth > 0].mean()


@pytest.mark.slow
def test_a_union_counts_what_two_solids_share_once() -> None:
    first, second = Ellipsoids.aligned([-4, 0, 0], [10, 8, 6]), Ellipsoids.aligned([5, 2, 1], [9, 9, 7])
    both = Ellipsoids(np.vstack([first.centre, second.centre]), np.concatenate([first.shape, second.shape]))
    arm = carm(primary=20)
    apart = project_ellipsoids(arm, first, 1.0) + project_ellipsoids(arm, second, 1.0)
    np.testing.assert_allclose(project_union(arm, both), apart - project_overlaps(arm, first, second, 1.0), atol=1e-9)
    np.testing.assert_allclose(project_union(arm, both, within=first), project_ellipsoids(arm, first, 1.0), atol=1e-9)
