"""Smooth displacement between two volumes: Gauss-Newton on a lattice of nodes, held by its bending.

Strategy. A displacement is known only where there is an edge to see, and only across it; between
edges it has to follow from its surroundings. So only points with an edge enter the data term, and
a thin plate (which lets shifting, turning and stretching pass free of charge) with a faint membrane
carries their displacement everywhere else. Each round linearises the moving volume about the
present displacement, refits gain and offset of the greys, weighs outliers down and solves for all
nodes at once by conjugate gradients.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from angio_pipeline.numerics.compiled import compiled
from angio_pipeline.numerics.rigid import MovingImage, match_greys
from angio_pipeline.numerics.volumes import isotropic_grid, to_index, to_world

__all__ = ["Deformation", "fit_deformation", "lattice_over", "nearest_rigid"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Deformation:
    """A rigid motion and a smooth displacement on top of it, from fixed to moving world points.

    Attributes
    ----------
    motion : ndarray, (4, 4) float64
    nodes : ndarray, (nz, ny, nx, 3) float64
        Displacement at the nodes along the world's axes, mm; linear between them, constant beyond.
    affine : ndarray, (4, 4) float64
        Takes node indices to fixed world points.
    """

    motion: FloatArray
    nodes: FloatArray
    affine: FloatArray

    def shift_at(self, points: npt.ArrayLike) -> FloatArray:
        """Return the displacement on top of the motion at fixed world points (..., 3)."""
        p = np.asarray(points, dtype=np.float64)
        index = np.moveaxis(to_index(self.affine, p), -1, 0)
        parts = [
            ndimage.map_coordinates(self.nodes[..., axis], index, order=1, mode="nearest", output=np.float64)
            for axis in range(3)
        ]
        return np.stack(parts, axis=-1)

    def at(self, points: npt.ArrayLike) -> FloatArray:
        """Return where fixed world points (..., 3) lie in the moving volume."""
        return to_world(self.motion, points) + self.shift_at(points)

    def back(self, points: npt.ArrayLike, *, rounds: int = 30) -> FloatArray:
        """Return which fixed world points lie at moving world points (..., 3), by fixed-point iteration."""
        p = np.asarray(points, dtype=np.float64)
        inverse = np.asarray(np.linalg.inv(self.motion), dtype=np.float64)
        found = to_world(inverse, p)
        for _ in range(rounds):
            found = to_world(inverse, p - self.shift_at(found))
        return found

    def volume_change_on(self, shape: tuple[int, ...], affine: FloatArray) -> npt.NDArray[np.float32]:
        """Return the local change of volume (the Jacobian's determinant) at voxels: 1 keeps, 0 and less folds."""
        index = np.moveaxis(np.indices(shape), 0, -1)
        shift = self.shift_at(to_world(affine, index)).astype(np.float32)
        inverse = np.linalg.inv(affine[:3, :3])
        jacobian = np.empty((*shape, 3, 3), dtype=np.float32)
        for axis in range(3):
            slopes = np.stack(list(np.gradient(shift[..., axis])), axis=-1)
            jacobian[..., axis, :] = slopes @ inverse + self.motion[axis, :3]
        return np.asarray(np.linalg.det(jacobian), dtype=np.float32)


def lattice_over(
    mask: npt.NDArray[np.bool_], affine: FloatArray, step_mm: float
) -> tuple[tuple[int, int, int], FloatArray]:
    """Return (shape, affine) of a lattice of nodes over a mask, at least two nodes along each axis.

    Raises
    ------
    ValueError
        When the mask is empty.
    """
    if not mask.any():
        raise ValueError("Expected a mask with at least one voxel, found none.")
    hit = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    low, high = (np.array([h[k] for h in hit], dtype=np.float64) for k in (0, -1))
    corner = affine.copy()
    corner[:3, 3] = to_world(affine, low)
    shape, grid = isotropic_grid(tuple((high - low + 1).astype(int)), corner, step_mm)
    # The grid fits inside the box; one node more along each axis makes it reach over.
    grid[:3, 3] -= 0.5 * step_mm
    return (shape[0] + 1, shape[1] + 1, shape[2] + 1), grid


def fit_deformation(
    fixed_values: npt.NDArray[np.float32],
    points: FloatArray,
    moving: MovingImage,
    start: Deformation,
    *,
    bending: float,
    stretching: float,
    rounds: int = 10,
    tolerance_mm: float = 0.05,
    tuning: float = 2.0,
) -> Deformation:
    """Return the displacement that lays the moving volume upon the fixed one at points.

    Parameters
    ----------
    fixed_values : ndarray, (N,)
        The fixed volume, blurred like the moving one, at `points`.
    points : ndarray, (N, 3)
        Fixed world points, those with an edge.
    bending, stretching : float
        Weights of the thin plate and of the membrane, in squared spreads of the residual for one
        millimetre of second (of first) difference between neighbouring nodes.
    tuning : float
        Residuals beyond this many robust spreads lose weight (Huber).

    Returns
    -------
    Deformation
        `start` when too few points meet the moving volume.
    """
    shape = (start.nodes.shape[0], start.nodes.shape[1], start.nodes.shape[2])
    corners, weights = _interpolation(shape, to_index(start.affine, points))
    stiffness = bending * _bending(shape) + stretching * _stretching(shape)
    x = start.nodes.reshape(-1, 3).copy()
    base = to_world(start.motion, points)
    for _ in range(rounds):
        rows = _rows(fixed_values, base + (x[corners] * weights[..., None]).sum(axis=1), moving, tuning)
        if rows is None:
            return start
        step = _solve(shape, corners, weights, rows, stiffness, x)
        x = x + step
        if float(np.abs(step).max()) < tolerance_mm:
            break
    return Deformation(start.motion, x.reshape(start.nodes.shape), start.affine)


def nearest_rigid(points: FloatArray, images: FloatArray) -> FloatArray:
    """Return the (4, 4) rigid motion that takes points (N, 3) nearest to their images.

    References
    ----------
    W. Kabsch, doi:10.1107/S0567739476001873
    """
    middle, to = points.mean(axis=0), images.mean(axis=0)
    u, _, vt = np.linalg.svd((points - middle).T @ (images - to))
    sign = np.diag([1.0, 1.0, float(np.sign(np.linalg.det(vt.T @ u.T)))])
    out = np.eye(4)
    out[:3, :3] = vt.T @ sign @ u.T
    out[:3, 3] = to - out[:3, :3] @ middle
    return out


def _rows(
    fixed: npt.NDArray[np.float32], world: FloatArray, moving: MovingImage, tuning: float
) -> tuple[FloatArray, FloatArray] | None:
    """Return the data term of each point: gradient (N, 3) and residual (N,), both over the spread and weighed."""
    index = to_index(moving.affine, world).T
    nearest = np.rint(index).astype(int)
    inside = np.all((nearest >= 0) & (nearest < np.array(moving.values.shape)[:, None]), axis=0)
    inside[inside] = moving.usable[tuple(nearest[:, inside])]
    if np.count_nonzero(inside) < max(50, 0.2 * len(fixed)):
        return None
    at = index[:, inside]
    m = ndimage.map_coordinates(moving.values, at, order=1, mode="nearest").astype(np.float64)
    per_index = np.stack([ndimage.map_coordinates(g, at, order=1, mode="nearest") for g in moving.gradient], axis=1)
    gain, residual = match_greys(fixed[inside].astype(np.float64), m)
    size = np.maximum(np.abs(residual), 1e-9)
    unit = max(1.4826 * float(np.median(size)), 1e-3)
    weight = np.sqrt(np.minimum(1.0, tuning * unit / size)) / unit
    gradient, left = np.zeros((len(fixed), 3)), np.zeros(len(fixed))
    gradient[inside] = gain * weight[:, None] * (per_index @ np.linalg.inv(moving.affine[:3, :3]))
    left[inside] = weight * residual
    return gradient, left


def _solve(
    shape: tuple[int, int, int],
    corners: npt.NDArray[np.int64],
    weights: FloatArray,
    rows: tuple[FloatArray, FloatArray],
    stiffness: sparse.csr_array,
    x: FloatArray,
) -> FloatArray:
    """Return the step of all nodes, (K, 3)."""
    count = len(x)
    blocks, pull = np.zeros((count, 27, 3, 3)), -(stiffness @ x)
    _gather(corners, weights, *rows, blocks, pull)
    data = sparse.bsr_array((blocks.reshape(-1, 3, 3), _neighbours(shape), 27 * np.arange(count + 1)))

    def normal(flat: FloatArray) -> FloatArray:
        return np.asarray(data @ flat + (stiffness @ flat.reshape(-1, 3)).ravel())

    diagonal = np.einsum("kii->ki", blocks[:, 13]) + stiffness.diagonal()[:, None]
    return _conjugate_gradients(normal, pull.ravel(), 1 / np.maximum(diagonal, 1e-12).ravel()).reshape(-1, 3)


def _gather(
    corners: npt.NDArray[np.int64],
    weights: FloatArray,
    gradient: FloatArray,
    residual: FloatArray,
    blocks: FloatArray,
    pull: FloatArray,
) -> None:
    """Add every point to the blocks that couple its eight nodes, and to their right-hand sides."""
    for n in range(len(residual)):
        g = gradient[n]
        if g[0] == 0.0 and g[1] == 0.0 and g[2] == 0.0:
            continue
        for a in range(8):
            wa, node = weights[n, a], corners[n, a]
            for i in range(3):
                pull[node, i] += wa * g[i] * residual[n]
            for b in range(8):
                # Neighbour 13 is the node itself; corners count z, y, x in binary, neighbours in threes.
                dz, dy, dx = (b >> 2) - (a >> 2), ((b >> 1) & 1) - ((a >> 1) & 1), (b & 1) - (a & 1)
                block, both = blocks[node, 13 + 9 * dz + 3 * dy + dx], wa * weights[n, b]
                for i in range(3):
                    for j in range(3):
                        block[i, j] += both * g[i] * g[j]


_gather = compiled(_gather)


def _neighbours(shape: tuple[int, int, int]) -> npt.NDArray[np.int64]:
    """Return the 27 neighbours of each node, itself included; beyond the lattice any number, it carries nothing."""
    at = np.indices(shape).reshape(3, -1)
    out = [
        np.ravel_multi_index(tuple(at[k] + d for k, d in enumerate(offset)), shape, mode="clip")
        for offset in itertools.product((-1, 0, 1), repeat=3)
    ]
    return np.stack(out, axis=1).ravel()


def _conjugate_gradients(
    normal: Callable[[FloatArray], FloatArray],
    right: FloatArray,
    scaling: FloatArray,
    *,
    rounds: int = 400,
    tolerance: float = 0.05,
) -> FloatArray:
    """Return the solution of a positive definite system, scaled by its diagonal."""
    x, left = np.zeros_like(right), right.copy()
    z = scaling * left
    direction, energy = z.copy(), float(left @ z)
    enough = tolerance**2 * energy
    for _ in range(rounds):
        if energy <= enough:
            break
        image = normal(direction)
        length = energy / float(direction @ image)
        x += length * direction
        left -= length * image
        z = scaling * left
        following = float(left @ z)
        direction = z + following / energy * direction
        energy = following
    return x


def _interpolation(shape: tuple[int, int, int], index: FloatArray) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Return the eight nodes about each point and their linear weights, (N, 8); what lies beyond takes the edge."""
    size = np.array(shape)
    at = np.clip(index, 0, size - 1)
    low = np.minimum(np.floor(at).astype(np.int64), size - 2)
    part = at - low
    corners = [np.ravel_multi_index(tuple((low + c).T), shape) for c in itertools.product((0, 1), repeat=3)]
    weights = [np.prod(np.where(c, part, 1 - part), axis=1) for c in itertools.product((0, 1), repeat=3)]
    return np.stack(corners, axis=1), np.stack(weights, axis=1)


def _difference(count: int, order: int) -> sparse.csr_array:
    out = sparse.eye_array(count, format="csr")
    for _ in range(order):
        rows = out.shape[0] - 1
        step = sparse.diags_array([-np.ones(rows), np.ones(rows)], offsets=[0, 1], shape=(rows, rows + 1))
        out = step @ out
    return out.tocsr()


def _energy(shape: tuple[int, ...], orders: tuple[int, int, int]) -> sparse.csr_array:
    parts = [_difference(n, k) for n, k in zip(shape, orders, strict=True)]
    operator = sparse.kron(sparse.kron(parts[0], parts[1]), parts[2]).tocsr()
    return (operator.T @ operator).tocsr()


def _stretching(shape: tuple[int, ...]) -> sparse.csr_array:
    return _energy(shape, (1, 0, 0)) + _energy(shape, (0, 1, 0)) + _energy(shape, (0, 0, 1))


def _bending(shape: tuple[int, ...]) -> sparse.csr_array:
    straight = _energy(shape, (2, 0, 0)) + _energy(shape, (0, 2, 0)) + _energy(shape, (0, 0, 2))
    mixed = _energy(shape, (1, 1, 0)) + _energy(shape, (1, 0, 1)) + _energy(shape, (0, 1, 1))
    return straight + 2 * mixed
