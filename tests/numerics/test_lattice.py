"""Displacement on a lattice, found by Gauss-Newton."""

from __future__ import annotations

import numpy as np
import pytest

from angio_pipeline.numerics.lattice import NormalEquations, normal_equations, solve_lattice

SHAPE = (96, 120)
LEAST_SQUARES = 1e6


def _waves(seed: int, row: float | np.ndarray = 0.0, col: float | np.ndarray = 0.0) -> np.ndarray:
    """Return a smooth random image and its exact derivatives, (H, W, 3), read at each pixel plus (row, col)."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]] + np.zeros((2, 1, 1))
    out = np.zeros((*SHAPE, 3))
    for _ in range(12):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        wave = 2 * np.pi / rng.uniform(14, 40)
        down, across = wave * np.sin(angle), wave * np.cos(angle)
        at = down * (rows + row) + across * (cols + col) + phase
        out += np.stack([np.sin(at), down * np.cos(at), across * np.cos(at)], -1)
    return out.astype(np.float32)


def _equations(
    fixed: np.ndarray,
    moving: np.ndarray,
    cells: tuple[int, int] = (1, 1),
    *,
    field: tuple[float, float] = (0.0, 0.0),
    weight: np.ndarray | None = None,
    scale: float = LEAST_SQUARES,
    excess_factor: float = 1.0,
) -> NormalEquations:
    dense = np.broadcast_to(np.array(field, np.float32), (*SHAPE, 2)).copy()
    weight = np.ones(SHAPE, np.float32) if weight is None else weight
    return normal_equations(fixed, moving, dense, weight, cells, scale, excess_factor=excess_factor)


def _step(equations: NormalEquations) -> np.ndarray:
    """Return what each cell by itself asks for, (h, w, 2)."""
    (rr, rc, cc), (r, c) = equations.structure, equations.pull
    matrix = np.stack([np.stack([rr, rc], -1), np.stack([rc, cc], -1)], -1)
    return np.linalg.solve(matrix, np.stack([r, c], -1)[..., None])[..., 0]


@pytest.mark.parametrize("shift", [(0.2, -0.3), (-0.1, 0.0), (0.0, 0.25)])
def test_a_small_shift_is_what_the_equations_ask_for(shift: tuple[float, float]) -> None:
    step = _step(_equations(_waves(0, *shift)[..., 0], _waves(0)))
    np.testing.assert_allclose(step[0, 0], shift, atol=0.01)


def test_each_cell_asks_for_its_own_shift() -> None:
    left = np.arange(SHAPE[1]) < 60
    fixed = _waves(0, np.where(left, 0.2, -0.1), np.where(left, 0.0, 0.3))[..., 0]
    step = _step(_equations(fixed, _waves(0), (1, 2)))
    np.testing.assert_allclose(step[0], [[0.2, 0.0], [-0.1, 0.3]], atol=0.01)


def test_nothing_is_asked_for_where_the_present_field_is_right() -> None:
    equations = _equations(_waves(0, 3, -2)[..., 0], _waves(0), (3, 4), field=(3, -2))
    assert np.abs(_step(equations)).max() < 1e-5


def test_a_step_from_between_pixels_goes_the_rest_of_the_way() -> None:
    step = _step(_equations(_waves(0, 2.5, -1.5)[..., 0], _waves(0), field=(2.3, -1.25)))
    np.testing.assert_allclose(step[0, 0], [0.2, -0.25], atol=0.02)


@pytest.mark.parametrize("cells", [(2, 3), (5, 7), (96, 120)])
def test_the_equations_of_cells_sum_to_those_of_the_frame(cells: tuple[int, int]) -> None:
    fixed, moving = _waves(1)[..., 0], _waves(0)
    parts, whole = _equations(fixed, moving, cells), _equations(fixed, moving)
    np.testing.assert_allclose(parts.structure.sum(axis=(1, 2)), whole.structure[:, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(parts.pull.sum(axis=(1, 2)), whole.pull[:, 0, 0], rtol=1e-6)


def test_pixels_without_weight_say_nothing() -> None:
    fixed, weight = _waves(0, 0.2, -0.3)[..., 0], np.ones(SHAPE, np.float32)
    fixed[30:60, 20:70], weight[30:60, 20:70] = 1e6, 0
    step = _step(_equations(fixed, _waves(0), weight=weight))
    np.testing.assert_allclose(step[0, 0], [0.2, -0.3], atol=0.01)


@pytest.mark.parametrize("field", [(1000.0, 0.0), (-1000.0, 0.0), (0.0, 1000.0), (0.0, -1000.0)])
def test_pixels_read_outside_the_moving_image_say_nothing(field: tuple[float, float]) -> None:
    equations = _equations(_waves(1)[..., 0], _waves(0), (2, 3), field=field)
    assert not equations.structure.any()
    assert not equations.pull.any()


def test_a_residual_of_the_scale_counts_half() -> None:
    moving = _waves(0)
    exact, off = (_equations(moving[..., 0] - gap, moving, scale=0.5) for gap in (0.0, 0.5))
    np.testing.assert_allclose(off.structure, exact.structure / 2, rtol=1e-5)


def test_an_excess_of_the_fixed_image_counts_less_and_a_lack_as_before() -> None:
    moving = _waves(0)
    lack, excess = (
        [_equations(moving[..., 0] + gap, moving, scale=0.5, excess_factor=f).structure for f in (1.0, 2.0)]
        for gap in (-0.5, 0.5)
    )
    np.testing.assert_array_equal(lack[0], lack[1])
    # 1 / (1 + 1) becomes 1 / (1 + 4).
    np.testing.assert_allclose(excess[1], excess[0] * 2 / 5, rtol=1e-4)


def _error(at: tuple[int, int], *, scale: float, excess_factor: float) -> float:
    """Return by how much a blob of contrast moves the solution, in pixels."""
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    blob = 20 * np.exp(-((rows - at[0]) ** 2 + (cols - at[1]) ** 2) / (2 * 8**2))
    shift, found = np.array([0.2, -0.3]), np.zeros(2)
    fixed = (_waves(0, *shift)[..., 0] + blob).astype(np.float32)
    for _ in range(8):
        now = (float(found[0]), float(found[1]))
        found = found + _step(_equations(fixed, _waves(0), field=now, scale=scale, excess_factor=excess_factor))[0, 0]
    return float(np.linalg.norm(found - shift))


PLACES = [(30, 40), (60, 60), (50, 90)]


@pytest.mark.parametrize("at", PLACES)
def test_added_contrast_moves_a_strict_solution_far_less_than_least_squares(at: tuple[int, int]) -> None:
    loose = _error(at, scale=LEAST_SQUARES, excess_factor=1)
    assert loose > 0.2
    assert _error(at, scale=0.3, excess_factor=2) < 0.05 * loose


@pytest.mark.parametrize("at", PLACES)
def test_being_stricter_on_excess_keeps_contrast_out_better(at: tuple[int, int]) -> None:
    assert _error(at, scale=0.3, excess_factor=2) < _error(at, scale=0.3, excess_factor=1)


def _random_equations(cells: tuple[int, int], seed: int = 0) -> NormalEquations:
    rng = np.random.default_rng(seed)
    gradients = rng.standard_normal((2, 5, *cells))
    down, across = gradients
    structure = np.stack([(down**2).sum(0), (down * across).sum(0), (across**2).sum(0)])
    return NormalEquations(structure, rng.standard_normal((2, *cells)))


def _asking_for(field: np.ndarray, where: np.ndarray) -> NormalEquations:
    """Return equations that ask for `field` in the cells of `where` and say nothing of the others."""
    there = where.astype(float)
    return NormalEquations(np.stack([there, 0 * there, there]), np.moveaxis(field, -1, 0) * there)


def _energy(equations: NormalEquations, field: np.ndarray, update: np.ndarray, membrane: float, plate: float) -> float:
    (rr, rc, cc), (down, across) = equations.structure, np.moveaxis(update, -1, 0)
    data = rr * down**2 + 2 * rc * down * across + cc * across**2
    data -= 2 * (equations.pull * np.moveaxis(update, -1, 0)).sum(0)
    there = field + update
    first = sum((np.diff(there, axis=axis) ** 2).sum() for axis in (0, 1))
    second = sum((np.diff(there, 2, axis=axis) ** 2).sum() for axis in (0, 1))
    mixed = (np.diff(np.diff(there, axis=0), axis=1) ** 2).sum()
    return float(data.sum() + membrane * first + plate * (second + 2 * mixed))


@pytest.mark.parametrize("cells", [(1, 1), (1, 2), (2, 1), (1, 6), (6, 1), (2, 2), (3, 2), (2, 5), (4, 7)])
def test_no_other_update_has_less_energy(cells: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    equations, field = _random_equations(cells), rng.standard_normal((*cells, 2))
    update = solve_lattice(equations, field, membrane=0.4, plate=1.5)
    assert update.shape == (*cells, 2)
    least = _energy(equations, field, update, 0.4, 1.5)
    for _ in range(10):
        way = 0.01 * rng.standard_normal(update.shape)
        one, other = (_energy(equations, field, update + sign * way, 0.4, 1.5) - least for sign in (1, -1))
        assert one > 0
        assert one == pytest.approx(other, rel=0.01)


def test_uncoupled_cells_stand_for_themselves() -> None:
    equations = _random_equations((4, 5))
    update = solve_lattice(equations, np.ones((4, 5, 2)), membrane=0, plate=0)
    np.testing.assert_allclose(update, _step(equations), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("membrane", "plate"), [(1.0, 0.0), (0.0, 1.0), (0.1, 1.0)])
def test_a_cell_without_structure_follows_its_neighbours(membrane: float, plate: float) -> None:
    where = np.ones((5, 5), bool)
    where[2, 2] = False
    wanted = np.broadcast_to([1.5, -0.5], (5, 5, 2))
    update = solve_lattice(_asking_for(wanted, where), np.zeros((5, 5, 2)), membrane=membrane, plate=plate)
    np.testing.assert_allclose(update[2, 2], [1.5, -0.5], rtol=1e-4)


def test_a_linear_displacement_costs_no_plate_energy() -> None:
    rows, cols = np.mgrid[:5, :6]
    affine = np.stack([0.5 * rows - 0.2 * cols + 1, 0.1 * rows + 0.3 * cols - 2], -1)
    where = np.zeros((5, 6), bool)
    where[[0, 1, 4], [1, 5, 2]] = True
    update = solve_lattice(_asking_for(affine, where), np.zeros((5, 6, 2)), membrane=0, plate=1e6)
    np.testing.assert_allclose(update, affine, atol=1e-3)


def test_a_stiff_plate_makes_what_is_asked_for_linear() -> None:
    rng = np.random.default_rng(0)
    asked = rng.standard_normal((5, 6, 2))
    update = solve_lattice(_asking_for(asked, np.ones((5, 6), bool)), np.zeros((5, 6, 2)), membrane=0, plate=1e6)
    rows, cols = np.mgrid[:5, :6]
    plane = np.stack([np.ones(30), rows.ravel(), cols.ravel()], -1)
    best = plane @ np.linalg.lstsq(plane, asked.reshape(30, 2), rcond=None)[0]
    np.testing.assert_allclose(update.reshape(30, 2), best, atol=1e-3)


def test_a_stiff_membrane_makes_what_is_asked_for_one_shift() -> None:
    asked = np.random.default_rng(0).standard_normal((5, 6, 2))
    update = solve_lattice(_asking_for(asked, np.ones((5, 6), bool)), np.zeros((5, 6, 2)), membrane=1e6, plate=0)
    np.testing.assert_allclose(update, np.broadcast_to(asked.mean(axis=(0, 1)), update.shape), atol=1e-3)


def test_smoothness_holds_the_whole_field_and_not_only_the_update() -> None:
    rough = np.random.default_rng(0).standard_normal((5, 6, 2))
    still = _asking_for(np.zeros((5, 6, 2)), np.ones((5, 6), bool))
    after = rough + solve_lattice(still, rough, membrane=1e6, plate=0)
    np.testing.assert_allclose(after, np.broadcast_to(rough.mean(axis=(0, 1)), after.shape), atol=1e-3)


def test_rows_and_columns_are_coupled_alike() -> None:
    equations, field = _random_equations((3, 5)), np.random.default_rng(1).standard_normal((3, 5, 2))
    turned = NormalEquations(equations.structure[::-1].swapaxes(1, 2), equations.pull[::-1].swapaxes(1, 2))
    plain = solve_lattice(equations, field, membrane=0.3, plate=0.7)
    other = solve_lattice(turned, field.swapaxes(0, 1)[..., ::-1], membrane=0.3, plate=0.7)
    np.testing.assert_allclose(other, plain.swapaxes(0, 1)[..., ::-1], atol=1e-9)


@pytest.mark.parametrize("cells", [(1, 1), (3, 4)])
def test_without_any_structure_a_smooth_field_stays(cells: tuple[int, int]) -> None:
    nothing = NormalEquations(np.zeros((3, *cells)), np.zeros((2, *cells)))
    update = solve_lattice(nothing, np.ones((*cells, 2)), membrane=0.1, plate=1)
    np.testing.assert_allclose(update, 0, atol=1e-6)
