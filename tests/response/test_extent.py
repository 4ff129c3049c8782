"""Sizes against solids whose axes are known."""

import numpy as np
import pytest

from angio_pipeline.response.extent import NOTHING, measure_extent


def affine(spacing):
    out = np.eye(4)
    out[:3, :3] = [[0, 0, spacing[2]], [0, spacing[1], 0], [spacing[0], 0, 0]]
    return out


def ellipsoid(x_mm, y_mm, z_mm, spacing=(1.0, 1.0, 1.0), turn=0.0, hole_mm=0.0):
    counts = [int(2 * max(x_mm, y_mm, z_mm) / s) + 8 for s in spacing]
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(counts, spacing, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    u, v = x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)
    inside = (u / x_mm) ** 2 + (v / y_mm) ** 2 + (z / z_mm) ** 2 <= 1
    return inside & ~(x**2 + y**2 + z**2 < hole_mm**2), affine(spacing)


@pytest.mark.parametrize("turn", [0.0, 0.4, 1.1])
def test_an_ellipsoid_is_as_wide_as_its_axes_however_it_is_turned(turn):
    extent = measure_extent(*ellipsoid(20, 15, 26, turn=turn))
    assert extent.longest_mm == pytest.approx(40, abs=1.2)
    assert extent.across_mm == pytest.approx(30, abs=1.2)
    assert extent.product_mm2 == pytest.approx(extent.longest_mm * extent.across_mm)
    assert extent.longest_3d_mm == pytest.approx(52, abs=1.2)
    assert extent.volume_ml == pytest.approx(4 / 3 * np.pi * 20 * 15 * 26 / 1000, rel=0.01)


def test_twice_the_spacing_is_twice_the_length_and_eight_times_the_volume():
    mask, grid = ellipsoid(12, 9, 8, turn=0.3)
    double = grid.copy()
    double[:3, :3] *= 2
    one, two = measure_extent(mask, grid), measure_extent(mask, double)
    assert two.longest_mm == pytest.approx(2 * one.longest_mm, rel=1e-6)
    assert two.longest_3d_mm == pytest.approx(2 * one.longest_3d_mm, rel=1e-6)
    assert two.volume_ml == pytest.approx(8 * one.volume_ml, rel=1e-6)


def test_thick_slices_do_not_change_what_lies_in_the_plane():
    extent = measure_extent(*ellipsoid(20, 15, 20, spacing=(3.0, 0.8, 0.8)))
    assert (extent.longest_mm, extent.across_mm) == pytest.approx((40, 30), abs=1.0)


def test_a_line_does_not_cross_the_necrosis_within():
    # A ball of 20 mm about a hole of 12 mm: the longest line in the middle slice touches the hole.
    extent = measure_extent(*ellipsoid(20, 20, 13, hole_mm=14.0))
    assert extent.longest_mm == pytest.approx(2 * np.sqrt(20**2 - 14**2), abs=1.5)
    assert extent.longest_3d_mm == pytest.approx(40, abs=1.0)


def test_coronal_slices_are_measured_in_the_axial_plane():
    mask, grid = ellipsoid(20, 15, 30)
    coronal = np.moveaxis(mask, 1, 0)
    turned = grid[:, [1, 0, 2, 3]]
    extent = measure_extent(coronal, turned)
    assert (extent.longest_mm, extent.across_mm) == pytest.approx((40, 30), abs=1.2)


def test_an_empty_mask_is_nothing_and_one_voxel_is_something():
    mask = np.zeros((3, 3, 3), dtype=bool)
    assert measure_extent(mask, affine((1, 1, 1))) == NOTHING
    mask[1, 1, 1] = True
    assert 0 < measure_extent(mask, affine((2, 1, 1))).longest_mm < 1.5
