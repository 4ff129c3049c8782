"""Smooth displacement on a coarse lattice, found by Gauss-Newton. Knows no medicine.

One step: every pixel of a cell adds to the normal equations of that cell's displacement (Lucas
& Kanade 1981); cells are then coupled by a thin plate (which lets stretching and shearing pass
free of charge) and a faint membrane (which holds what no pixel holds), and all of them are
solved at once as one banded system.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.linalg import solveh_banded

from angio_pipeline.numerics.compiled import compiled

__all__ = ["NormalEquations", "normal_equations", "solve_lattice"]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class NormalEquations:
    """What the pixels of each cell say about its displacement.

    Attributes
    ----------
    structure : ndarray, (3, h, w) float64
        Sums of weight times gradient products: row-row, row-col, col-col.
    pull : ndarray, (2, h, w) float64
        Right-hand side: row, col.
    """

    structure: npt.NDArray[np.float64]
    pull: npt.NDArray[np.float64]


def normal_equations(
    fixed: FloatArray,
    moving: FloatArray,
    field: FloatArray,
    weight: FloatArray,
    cells: tuple[int, int],
    scale: float,
    *,
    excess_factor: float = 1.0,
) -> NormalEquations:
    """Return the normal equations of one step.

    Parameters
    ----------
    fixed : ndarray, (H, W) float32
    moving : ndarray, (H', W', 3) float32
        Image, its derivative along rows, its derivative along columns.
    field : ndarray, (H, W, 2) float32
        Present displacement: `moving` is read at the pixel plus this.
    weight : ndarray, (H, W) float32
        0 takes a pixel out.
    cells : int, int
        Lattice.
    scale : float
        Residual at which a pixel counts half (Cauchy weights).
    excess_factor : float
        How much stricter to be where the fixed image exceeds the moving one.
    """
    h, w = cells
    sums = np.zeros((h, w, 5), np.float64)
    row_cell = (np.arange(fixed.shape[0]) * h // fixed.shape[0]).astype(np.int64)
    col_cell = (np.arange(fixed.shape[1]) * w // fixed.shape[1]).astype(np.int64)
    inverse = np.float32(1.0 / scale)
    _accumulate(fixed, moving, field, weight, row_cell, col_cell, inverse, np.float32(excess_factor), sums)
    moved = np.moveaxis(sums, -1, 0)
    return NormalEquations(moved[:3], moved[3:])


@compiled
def _accumulate(
    fixed: FloatArray,
    moving: FloatArray,
    field: FloatArray,
    weight: FloatArray,
    row_cell: npt.NDArray[np.int64],
    col_cell: npt.NDArray[np.int64],
    inverse_scale: np.float32,
    excess_factor: np.float32,
    sums: npt.NDArray[np.float64],
) -> None:
    rows, cols = fixed.shape
    last_row, last_col = np.float32(moving.shape[0] - 1.001), np.float32(moving.shape[1] - 1.001)
    one = np.float32(1)
    for r in range(rows):
        for c in range(cols):
            base = weight[r, c]
            if base <= 0:
                continue
            y, x = np.float32(r) + field[r, c, 0], np.float32(c) + field[r, c, 1]
            if not (0 <= y <= last_row and 0 <= x <= last_col):
                continue
            i, j = int(y), int(x)
            fy, fx = y - np.float32(i), x - np.float32(j)
            a, b = (one - fy) * (one - fx), (one - fy) * fx
            d, e = fy * (one - fx), fy * fx
            value = (
                a * moving[i, j, 0] + b * moving[i, j + 1, 0] + d * moving[i + 1, j, 0] + e * moving[i + 1, j + 1, 0]
            )
            along = (
                a * moving[i, j, 1] + b * moving[i, j + 1, 1] + d * moving[i + 1, j, 1] + e * moving[i + 1, j + 1, 1]
            )
            across = (
                a * moving[i, j, 2] + b * moving[i, j + 1, 2] + d * moving[i + 1, j, 2] + e * moving[i + 1, j + 1, 2]
            )
            residual = value - fixed[r, c]
            scaled = residual * inverse_scale
            if residual < 0:
                scaled *= excess_factor
            counts = base / (one + scaled * scaled)
            cell = sums[row_cell[r], col_cell[c]]
            cell[0] += counts * along * along
            cell[1] += counts * along * across
            cell[2] += counts * across * across
            cell[3] -= counts * along * residual
            cell[4] -= counts * across * residual


def solve_lattice(
    equations: NormalEquations, field: npt.NDArray[np.floating], *, membrane: float, plate: float
) -> npt.NDArray[np.float64]:
    """Return the lattice update (h, w, 2) that balances the cells' equations against membrane and plate.

    Both pull on the whole field, not on the update, or small steps would add up to a rough
    field. Unknowns are interleaved (row, col) cell by cell, so that the matrix is a band.

    Parameters
    ----------
    field : ndarray, (h, w, 2)
        The present field.
    membrane, plate : float
        Weight of squared first and second differences of the field between cells.
    """
    h, w = field.shape[:2]
    first, second = _energies(h, w)
    band = membrane * first.band + plate * second.band
    flat = equations.structure.reshape(3, -1)
    band[0, ::2] += flat[0]
    band[0, 1::2] += flat[2]
    # A share so small that it only keeps a cell without structure and neighbours from dividing by nothing.
    band[0] += 1e-9 + 1e-6 * float(flat[0].mean() + flat[2].mean())
    band[1, ::2] += flat[1]
    held = field.reshape(-1, 2).astype(np.float64)
    right = np.moveaxis(equations.pull, 0, -1).reshape(-1, 2) - (
        membrane * (first.matrix @ held) + plate * (second.matrix @ held)
    )
    return np.asarray(solveh_banded(band, right.ravel(), lower=True, check_finite=False).reshape(h, w, 2))


@dataclass(frozen=True, slots=True, eq=False)
class _Energy:
    """A quadratic form over the cells: as a sparse matrix (h * w, h * w), and as band of the interleaved unknowns."""

    matrix: sparse.csr_array
    band: npt.NDArray[np.float64]


@lru_cache(maxsize=16)
def _energies(h: int, w: int) -> tuple[_Energy, _Energy]:
    """Return membrane and plate of unit weight: squares of first and of second differences between cells."""
    rows, cols = sparse.eye_array(h), sparse.eye_array(w)
    row, col = _squared_differences(h, 1), _squared_differences(w, 1)
    membrane = sparse.kron(row, cols) + sparse.kron(rows, col)
    plate = sparse.kron(_squared_differences(h, 2), cols) + sparse.kron(rows, _squared_differences(w, 2))
    plate = plate + 2 * sparse.kron(row, col)
    return _as_energy(sparse.csr_array(membrane), w), _as_energy(sparse.csr_array(plate), w)


def _as_energy(matrix: sparse.csr_array, w: int) -> _Energy:
    size = matrix.shape[0]
    reach = min(2 * w, size - 1)
    band = np.zeros((2 * reach + 2, 2 * size))
    for offset in range(reach + 1):
        diagonal = matrix.diagonal(-offset)
        band[2 * offset, : 2 * diagonal.size] = np.repeat(diagonal, 2)
    return _Energy(matrix, band)


def _squared_differences(n: int, order: int) -> sparse.csr_array:
    """Return the matrix whose quadratic form sums the squares of finite differences, (n, n)."""
    steps = np.diff(np.eye(n), order, axis=0) if n > order else np.zeros((0, n))
    return sparse.csr_array(steps.T @ steps)
