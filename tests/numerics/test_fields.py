"""Displacement on a lattice, spread over pixels."""

from __future__ import annotations

import numpy as np
import pytest

from angio_pipeline.numerics.fields import (
    compose_at,
    continued,
    expand_field,
    invert_field,
    sampling_grid,
    spreading,
    warp,
)

SHAPE = (60, 84)
LATTICES = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (1, 3), (5, 7), (60, 84)]


def _centres(cells: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    at = [(np.arange(n) + 0.5) * size / n - 0.5 for n, size in zip(cells, shape, strict=True)]
    return np.stack(np.meshgrid(*at, indexing="ij"), -1)


def _random_lattice(cells: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (*cells, 2)).astype(np.float32)


@pytest.mark.parametrize("cells", LATTICES)
def test_a_linear_field_stays_linear_to_the_frames_edge(cells: tuple[int, int]) -> None:
    # A single cell along an axis cannot know a slope along it.
    slope = np.array([[0.03, -0.02], [0.05, 0.01]]) * (np.array(cells) > 1)
    lattice = _centres(cells, SHAPE) @ slope.T + np.array([0.7, -1.2])
    wanted = sampling_grid(SHAPE) @ slope.T + np.array([0.7, -1.2])
    np.testing.assert_allclose(expand_field(lattice, SHAPE), wanted, atol=2e-5)


def test_a_single_cell_is_a_constant() -> None:
    field = expand_field(np.array([[[1.25, -3.5]]]), SHAPE)
    assert field.shape == (*SHAPE, 2)
    np.testing.assert_allclose(field, np.broadcast_to([1.25, -3.5], field.shape), atol=1e-6)


@pytest.mark.parametrize("cells", [(4, 4), (1, 12), (20, 28), (60, 84)])
def test_a_pixel_at_the_centre_of_a_cell_has_its_displacement(cells: tuple[int, int]) -> None:
    shape = (cells[0] * 3, cells[1] * 5)
    lattice = _random_lattice(cells)
    np.testing.assert_allclose(expand_field(lattice, shape)[1::3, 2::5], lattice, atol=1e-6)


def test_a_cell_reaches_two_cells_and_no_further() -> None:
    lattice = np.zeros((9, 9, 2), np.float32)
    lattice[4, 4] = 1
    rows, cols = np.nonzero(expand_field(lattice, (90, 90))[..., 0])
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (25, 64, 25, 64)


def test_a_mirrored_lattice_is_a_mirrored_field() -> None:
    lattice = _random_lattice((4, 5))
    np.testing.assert_allclose(
        expand_field(lattice[::-1, ::-1], SHAPE), expand_field(lattice, SHAPE)[::-1, ::-1], atol=1e-5
    )


def test_rows_and_columns_are_spread_alike() -> None:
    lattice = _random_lattice((3, 5))
    turned = expand_field(lattice.swapaxes(0, 1), SHAPE[::-1])
    np.testing.assert_allclose(turned.swapaxes(0, 1), expand_field(lattice, SHAPE), atol=1e-5)


def test_the_field_of_a_sum_is_the_sum_of_fields() -> None:
    one, two = _random_lattice((4, 5), 0), _random_lattice((4, 5), 1)
    together = expand_field(one, SHAPE) + expand_field(two, SHAPE)
    np.testing.assert_allclose(expand_field(one + two, SHAPE), together, atol=1e-5)


@pytest.mark.parametrize(("cells", "pixels"), [(1, 1), (1, 50), (2, 3), (3, 3), (7, 50), (16, 5)])
def test_the_shares_of_a_pixel_sum_to_one_over_cells_that_exist(cells: int, pixels: int) -> None:
    spread = spreading(cells, pixels)
    np.testing.assert_allclose(spread.weights.sum(axis=1), 1, atol=1e-6)
    assert spread.first.min() >= 0
    assert spread.first.max() + 3 < cells + 4


def test_weights_kept_for_the_next_call_cannot_be_written_to() -> None:
    assert not spreading(4, 40).weights.flags.writeable


def test_neighbours_kept_for_the_next_call_cannot_be_written_to() -> None:
    assert not spreading(4, 40).first.flags.writeable


def test_a_lattice_continues_in_the_line_of_its_outer_cells() -> None:
    lattice = np.stack([np.add.outer([0.0, 1, 4], [0.0, 10, 30])] * 2, -1)
    out = continued(lattice)[..., 0]
    np.testing.assert_array_equal(out[2:-2, 2], [0, 1, 4])
    np.testing.assert_array_equal(out[:, 2], [-2, -1, 0, 1, 4, 7, 10])
    np.testing.assert_array_equal(out[2], [-20, -10, 0, 10, 30, 50, 70])


def _gap_after_inverse(lattice: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return by how far each pixel misses itself after the inverse and the field, where that stays inside."""
    back, there = expand_field(invert_field(lattice, shape), shape), expand_field(lattice, shape)
    at = sampling_grid(shape) + back
    inside = ((at >= 0) & (at <= np.array(shape) - 1)).all(-1)
    left = back + np.stack([warp(there[..., k], at) for k in range(2)], -1)
    return np.asarray(np.linalg.norm(left, axis=-1)[inside])


def test_a_pixel_is_back_where_it_was_after_the_inverse_and_the_field() -> None:
    rows, cols = np.mgrid[:8, :8].astype(np.float32)
    lattice = np.stack([2 * np.sin(rows / 3), 1.5 * np.cos(cols / 3)], -1)
    assert _gap_after_inverse(lattice, (256, 256)).max() < 0.03


def test_the_inverse_of_a_stretch_is_a_shrinking() -> None:
    lattice = 0.05 * (_centres((8, 8), (256, 256)) - 127.5)
    np.testing.assert_allclose(invert_field(lattice, (256, 256)), -lattice / 1.05, atol=1e-3)


def test_the_inverse_of_a_shrinking_is_a_stretch_to_the_outer_cells() -> None:
    lattice = -0.05 * (_centres((8, 8), (256, 256)) - 127.5)
    np.testing.assert_allclose(invert_field(lattice, (256, 256)), -lattice / 0.95, atol=1e-3)


def test_the_inverse_of_a_shift_is_the_shift_back() -> None:
    lattice = np.broadcast_to(np.array([3.0, -2.0], np.float32), (3, 4, 2))
    np.testing.assert_array_equal(invert_field(lattice, SHAPE), -lattice)


def test_a_field_read_without_displacement_is_itself() -> None:
    lattice = _random_lattice((5, 7))
    np.testing.assert_allclose(compose_at(lattice, np.zeros_like(lattice), SHAPE), lattice, atol=1e-6)


def test_a_field_read_a_cell_further_is_the_next_cells() -> None:
    lattice = _random_lattice((5, 7))
    there = np.broadcast_to(np.array([12.0, 12.0], np.float32), lattice.shape)
    np.testing.assert_allclose(compose_at(lattice, there, SHAPE)[:-1, :-1], lattice[1:, 1:], atol=1e-5)
