"""What is measured on a lesion's fine grid is what its solids are."""

import numpy as np
import pytest

from angio_pipeline.simulate.aftermath.lesion_grid import fraction_inside, longest_axial, make_grid, smooth_noise
from angio_pipeline.simulate.anatomy.lesions import TumourBody, TumourKind
from angio_pipeline.simulate.radiograph.projection import Ellipsoids


def body(radii: tuple[float, float, float], core: Ellipsoids | None = None) -> TumourBody:
    centre = np.array([-60.0, 5.0, 10.0])
    kind = TumourKind.HYPERVASCULAR if core is None else TumourKind.RIM
    mean = float(np.cbrt(np.prod(radii)))
    return TumourBody(centre, mean, Ellipsoids.aligned(centre, radii), kind, core=core)


@pytest.mark.parametrize("radii", [(12.0, 12.0, 12.0), (20.0, 11.0, 14.0), (4.5, 4.0, 5.0)])
def test_volume_is_that_of_the_ellipsoid(radii: tuple[float, float, float]) -> None:
    assert make_grid(body(radii)).volume_mm3 == pytest.approx(4 / 3 * np.pi * np.prod(radii), rel=0.01)


@pytest.mark.parametrize("radii", [(12.0, 12.0, 12.0), (20.0, 11.0, 14.0), (9.0, 17.0, 6.0)])
def test_diameters_are_those_of_the_widest_axial_slice(radii: tuple[float, float, float]) -> None:
    grid = make_grid(body(radii))
    extent = longest_axial(grid.solid, grid.step_mm)
    long, short = sorted(radii[:2], reverse=True)
    assert extent.longest_mm == pytest.approx(2 * long, abs=0.3)
    assert extent.across_mm == pytest.approx(2 * short, abs=0.4)
    assert extent.product_mm2 == extent.longest_mm * extent.across_mm


def test_an_oblique_diameter_is_found() -> None:
    angle = np.deg2rad(33.0)
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    solid = Ellipsoids(np.zeros((1, 3)), (np.diag([1 / 18, 1 / 9, 1 / 9]) @ turn)[None])
    share, _ = fraction_inside(solid, np.zeros(3), np.arange(-25.0, 26.0, 0.8), 0.8)
    extent = longest_axial(share, 0.8)
    assert extent.longest_mm == pytest.approx(36, abs=0.4)
    assert extent.across_mm == pytest.approx(18, abs=0.5)


def test_a_diameter_does_not_cross_what_is_dead() -> None:
    disc = make_grid(body((15.0, 15.0, 15.0)))
    field = disc.solid.copy()
    field[:, :, abs(disc.axis_mm()) < 4] = 0
    extent = longest_axial(field, disc.step_mm)
    # What is left are two caps, their longest line a chord 4 mm from the middle.
    assert extent.longest_mm == pytest.approx(2 * np.sqrt(15**2 - 4**2), abs=0.8)
    assert extent.across_mm < 12


def test_nothing_has_no_diameter() -> None:
    assert longest_axial(np.zeros((5, 6, 7), np.float32), 1.0).longest_mm == 0


def test_the_core_is_part_of_the_tumour() -> None:
    core = Ellipsoids.aligned([-60.0, 5.0, 10.0], [6.0, 6.0, 6.0])
    grid = make_grid(body((12.0, 12.0, 12.0), core))
    assert grid.core_share == pytest.approx(1 / 8, rel=0.05)
    assert (grid.solid[grid.core] > 0).all()


def test_cells_lie_where_the_grid_says() -> None:
    grid = make_grid(body((12.0, 9.0, 15.0)))
    points = grid.points_mm(grid.solid > 0.5)
    np.testing.assert_allclose(points.mean(axis=0), grid.centre_mm, atol=1e-6)
    np.testing.assert_allclose(np.ptp(points, axis=0), [24, 18, 30], atol=1.2)


def test_distance_is_exact_on_a_sphere() -> None:
    grid = make_grid(body((12.0, 12.0, 12.0)))
    axis = grid.axis_mm()
    away = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None] ** 2) - 12
    np.testing.assert_allclose(grid.distance_mm[abs(away) < 3], away[abs(away) < 3], atol=1e-3)


def test_smooth_noise_is_smooth_and_even() -> None:
    noise = smooth_noise((40, 41, 42), 6.0, np.random.default_rng(0))
    assert noise.shape == (40, 41, 42)
    assert noise.std() == pytest.approx(1, abs=1e-3)
    assert np.abs(np.diff(noise, axis=0)).max() < 1
