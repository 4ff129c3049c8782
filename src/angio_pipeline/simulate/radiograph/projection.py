"""Cone-beam geometry, and the exact length of every X-ray inside tubes and ellipsoids.

Patient coordinates are DICOM LPS millimetres (x to the left, y to the back, z to the head);
the detector is seen as a reader sees the picture: patient's right on the left, head up.

Strategy: every solid is simple enough for the chord of a ray to have a closed form, so
nothing is voxelised on the way to a radiograph and sub-pixel vessels keep their iodine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

__all__ = [
    "CArm",
    "Ellipsoids",
    "Tubes",
    "project_ellipsoids",
    "project_gaussians",
    "project_overlaps",
    "project_tubes",
    "project_union",
]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CArm:
    """Where source and detector stand; angles in degrees with DICOM signs (LAO +, CRA +)."""

    rows: int
    columns: int
    pixel_mm: float
    sid_mm: float
    sod_mm: float
    primary_deg: float = 0.0
    secondary_deg: float = 0.0
    isocentre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def axes(self) -> tuple[Array, Array, Array]:
        """Return unit vectors along columns (to the right), rows (down) and source to detector, LPS."""
        p, s = np.deg2rad(self.primary_deg), np.deg2rad(self.secondary_deg)
        along_columns = np.array([np.cos(p), np.sin(p), 0.0])
        along_rows = np.array([np.sin(p) * np.sin(s), -np.cos(p) * np.sin(s), -np.cos(s)])
        forward = np.array([np.sin(p) * np.cos(s), -np.cos(p) * np.cos(s), np.sin(s)])
        return along_columns, along_rows, forward

    @property
    def source_mm(self) -> Array:
        """Position of the focal spot, LPS millimetres."""
        return np.asarray(self.isocentre_mm) - self.sod_mm * self.axes()[2]

    @property
    def isocentre_pixel_mm(self) -> float:
        """Pixel spacing in the isocentre plane."""
        return self.pixel_mm * self.sod_mm / self.sid_mm

    def view(self, points_mm: Array) -> Array:
        """Return points (N, 3) in the C-arm's own axes (right, down, depth from the source), mm."""
        return np.asarray(np.einsum("nk,jk->nj", points_mm - self.source_mm, np.stack(self.axes())))

    def project(self, points_mm: Array) -> Array:
        """Return the (N, 2) (row, col) pixels at which points (N, 3) LPS mm are seen."""
        right, down, depth = self.view(points_mm).T
        scale = self.sid_mm / depth / self.pixel_mm
        return np.stack([down * scale + (self.rows - 1) / 2, right * scale + (self.columns - 1) / 2], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Tubes:
    """Straight finite cylinders: ends (S, 3) LPS mm and radii (S,) mm."""

    start: Array
    end: Array
    radius: Array


@dataclass(frozen=True, slots=True, eq=False)
class Ellipsoids:
    """Ellipsoids: centres (K, 3) LPS mm; `shape` (K, 3, 3) maps an offset to the unit sphere."""

    centre: Array
    shape: Array

    @classmethod
    def aligned(cls, centre: npt.ArrayLike, radii: npt.ArrayLike) -> Ellipsoids:
        """Return ellipsoids whose axes are x, y and z, from (K, 3) centres and radii in mm."""
        centre, radii = np.atleast_2d(np.asarray(centre, float)), np.atleast_2d(np.asarray(radii, float))
        return cls(centre, np.stack([np.diag(1 / r) for r in radii]))

    def radii_mm(self) -> Array:
        """Return the (K,) greatest half axis of each."""
        smallest = np.linalg.svd(self.shape, compute_uv=False)[:, -1]
        return np.asarray(1 / smallest)


def _tube_chord(
    dx: float, dy: float, dz: float, ax: float, ay: float, az: float, wx: float, wy: float, wz: float,
    length: float, radius: float,
) -> float:  # fmt: skip
    # The ray runs from the origin along d (unit); the cylinder from a along w (unit). Solve the
    # quadratic for the infinite cylinder, then clip by the two end planes.
    dw = dx * wx + dy * wy + dz * wz
    aw = ax * wx + ay * wy + az * wz
    px, py, pz = dx - dw * wx, dy - dw * wy, dz - dw * wz
    qx, qy, qz = ax - aw * wx, ay - aw * wy, az - aw * wz
    qa = px * px + py * py + pz * pz
    qc = qx * qx + qy * qy + qz * qz - radius * radius
    near, far = -1e9, 1e9
    if qa > 1e-12:
        qb = px * qx + py * qy + pz * qz
        root = qb * qb - qa * qc
        if root <= 0.0:
            return 0.0
        half = np.sqrt(root)
        near, far = (qb - half) / qa, (qb + half) / qa
    elif qc > 0.0:
        return 0.0
    if abs(dw) > 1e-12:
        t0, t1 = aw / dw, (aw + length) / dw
        near, far = max(near, min(t0, t1)), min(far, max(t0, t1))
    elif aw > 0.0 or aw + length < 0.0:
        return 0.0
    return max(0.0, far - near)


_tube_chord = numba.njit(cache=True, error_model="numpy")(_tube_chord)


def _second_integral(s: float) -> float:
    # Twice integrated 2 sqrt(1 - s^2): even, and straight beyond the rim.
    s = abs(s)
    if s >= 1.0:
        return 0.5 * np.pi * s
    c = np.sqrt(1.0 - s * s)
    return float(s * np.arcsin(s) + c - c * c * c / 3.0)


_second_integral = numba.njit(cache=True, error_model="numpy")(_second_integral)


def _mean_chord(d: float, r: float, a: float, b: float) -> float:
    # Chord 2 sqrt(r^2 - d^2) of an endless tube, averaged over a square pixel whose shadow across the
    # tube is the convolution of two boxes of half widths a and b: a second difference of the integral.
    if abs(d) >= r + a + b:
        return 0.0
    if r > 3.0 and abs(d) < 0.6 * r:
        c = np.sqrt(r * r - d * d)
        return float(2.0 * c - r * r / (12.0 * c * c * c))
    outer = _second_integral((d + a + b) / r) + _second_integral((d - a - b) / r)
    inner = _second_integral((d + a - b) / r) + _second_integral((d - a + b) / r)
    return r * r * r * (outer - inner) / (4.0 * a * b)


_mean_chord = numba.njit(cache=True, error_model="numpy")(_mean_chord)


def _share_below(x: float, first: float, second: float) -> float:
    # Share of a trapezoid (box of half width `first` convolved with one of `second`) that lies below x.
    wide, narrow = max(first, second), max(min(first, second), 1e-9)
    if abs(x) <= wide - narrow:
        return 0.5 + 0.5 * x / wide
    left = wide + narrow - abs(x)
    tail = 0.0 if left <= 0.0 else left * left / (8.0 * wide * narrow)
    return 1.0 - tail if x > 0.0 else tail


_share_below = numba.njit(cache=True, error_model="numpy")(_share_below)


def _sweep_piece(
    image: Array, start: Array, end: Array, low: float, high: float, r: float, weight: float, pixel: float, sid: float
) -> None:
    # The piece of a tube from `low` to `high` of its length, short in the picture. With p a ray to the
    # detector and w the axis, the ray passes the axis at p.(w x a) / |p x w|; what varies slowly in that
    # is taken at the piece's middle.
    rows, columns = image.shape
    d0, d1, d2 = end[0] - start[0], end[1] - start[1], end[2] - start[2]
    a = (start[0] + low * d0, start[1] + low * d1, start[2] + low * d2)
    b = (start[0] + high * d0, start[1] + high * d1, start[2] + high * d2)
    length = np.sqrt(d0 * d0 + d1 * d1 + d2 * d2)
    w = (d0 / length, d1 / length, d2 / length)
    length *= high - low
    n0, n1 = w[1] * a[2] - w[2] * a[1], w[2] * a[0] - w[0] * a[2]
    n2 = w[0] * a[1] - w[1] * a[0]
    slope = np.hypot(n0, n1)
    fa, fb = sid / a[2] / pixel, sid / b[2] / pixel
    x, y = 0.5 * pixel * (a[0] * fa + b[0] * fb), 0.5 * pixel * (a[1] * fa + b[1] * fb)
    q, pw = x * x + y * y + sid * sid, x * w[0] + y * w[1] + sid * w[2]
    cross = np.sqrt(q - pw * pw)
    mm, longer, tilt = slope * pixel / cross, np.sqrt(q) / cross, abs(pw) / cross
    run_px = max(np.hypot(b[0] * fb - a[0] * fa, b[1] * fb - a[1] * fa), 1e-9)
    along_r, along_c = (b[1] * fb - a[1] * fa) / run_px, (b[0] * fb - a[0] * fa) / run_px
    step = length / run_px
    first, second = max(0.5 * abs(n0) / slope, 0.01), max(0.5 * abs(n1) / slope, 0.01)
    wide = r / mm
    reach, mr, mc = wide + first + second, y / pixel + 0.5 * (rows - 1), x / pixel + 0.5 * (columns - 1)
    half_r = 0.5 * run_px * abs(along_r) + wide * (1 + tilt) + 1.0
    half_c = 0.5 * run_px * abs(along_c) + wide * (1 + tilt) + 1.0
    scale = weight * mm * longer
    for row in range(max(0, int(mr - half_r)), min(rows - 1, int(mr + half_r) + 1) + 1):
        base = ((row - 0.5 * (rows - 1)) * pixel * n1 + sid * n2) / (slope * pixel)
        for col in range(max(0, int(mc - half_c)), min(columns - 1, int(mc + half_c) + 1) + 1):
            d = base + (col - 0.5 * (columns - 1)) * n0 / slope
            if abs(d) >= reach:
                continue
            at = 0.5 * length + step * ((row - mr) * along_r + (col - mc) * along_c)
            if at < -2.0 * r * tilt - step or at > length + 2.0 * r * tilt + step:
                continue
            across = _mean_chord(d, wide, first, second)
            # Along the axis: how far the ray runs there, and half a pixel.
            run = 0.5 * across * mm * tilt
            share = _share_below(length - at, run, 0.5 * step) - _share_below(-at, run, 0.5 * step)
            image[row, col] += scale * share * across


_sweep_piece = numba.njit(cache=True, error_model="numpy")(_sweep_piece)


def _sample_tube(
    image: Array, a: Array, w: Array, length: float, r: float, weight: float,
    window: tuple[int, int, int, int], pixel: float, sid: float, n: int,
) -> None:  # fmt: skip
    # n x n exact rays a pixel: for tubes seen end-on, whose distance is not linear across the picture.
    rows, columns = image.shape
    for row in range(window[0], window[1] + 1):
        for col in range(window[2], window[3] + 1):
            total = 0.0
            for k in range(n * n):
                y = (row - (rows - 1) / 2 + (k // n + 0.5) / n - 0.5) * pixel
                x = (col - (columns - 1) / 2 + (k % n + 0.5) / n - 0.5) * pixel
                norm = np.sqrt(x * x + y * y + sid * sid)
                total += _tube_chord(x / norm, y / norm, sid / norm, a[0], a[1], a[2], w[0], w[1], w[2], length, r)
            image[row, col] += weight * total / (n * n)


_sample_tube = numba.njit(cache=True, error_model="numpy")(_sample_tube)


def _render_tubes(
    image: Array, start: Array, end: Array, radius: Array, weight: Array, pixel: float, sid: float
) -> None:
    rows, columns = image.shape
    for i in range(len(radius)):
        a, b, r = start[i], end[i], radius[i]
        length = np.sqrt((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2 + (b[2] - a[2]) ** 2)
        if weight[i] == 0.0 or length < 1e-9:
            continue
        fa, fb = sid / a[2] / pixel, sid / b[2] / pixel
        reach = 1.03 * r * max(fa, fb) + 1.0
        r0 = max(0, int(np.floor(min(a[1] * fa, b[1] * fb) - reach + (rows - 1) / 2)))
        r1 = min(rows - 1, int(np.ceil(max(a[1] * fa, b[1] * fb) + reach + (rows - 1) / 2)))
        c0 = max(0, int(np.floor(min(a[0] * fa, b[0] * fb) - reach + (columns - 1) / 2)))
        c1 = min(columns - 1, int(np.ceil(max(a[0] * fa, b[0] * fb) + reach + (columns - 1) / 2)))
        if r0 > r1 or c0 > c1:
            continue
        m, w = 0.5 * (a + b), (b - a) / length
        far, along = m[0] ** 2 + m[1] ** 2 + m[2] ** 2, m[0] * w[0] + m[1] * w[1] + m[2] * w[2]
        if far - along * along < 0.04 * far:
            fine = 8 if r * fa < 1.5 else 4
            _sample_tube(image, a, w, length, r, weight[i], (r0, r1, c0, c1), pixel, sid, fine)
            continue
        pieces = 1 + int(max(abs(b[0] * fb - a[0] * fa), abs(b[1] * fb - a[1] * fa)) / 24.0)
        for k in range(pieces):
            _sweep_piece(image, a, b, k / pieces, (k + 1) / pieces, r, weight[i], pixel, sid)


_render_tubes = numba.njit(cache=True, error_model="numpy")(_render_tubes)


def project_tubes(carm: CArm, tubes: Tubes, weight: Array) -> Array:
    """Return (rows, columns) float64: the sum over tubes of weight times chord in mm, averaged over each pixel."""
    image = np.zeros((carm.rows, carm.columns))
    start, end = carm.view(tubes.start), carm.view(tubes.end)
    _render_tubes(image, start, end, tubes.radius, np.asarray(weight, float), carm.pixel_mm, carm.sid_mm)
    return image


def _ellipsoid_span(shape: Array, offset: Array, dx: float, dy: float, dz: float) -> tuple[float, float]:
    # Interval of the ray inside the ellipsoid, in its own parameter; empty when near >= far.
    ux = shape[0, 0] * dx + shape[0, 1] * dy + shape[0, 2] * dz
    uy = shape[1, 0] * dx + shape[1, 1] * dy + shape[1, 2] * dz
    uz = shape[2, 0] * dx + shape[2, 1] * dy + shape[2, 2] * dz
    qa = ux * ux + uy * uy + uz * uz
    qb = ux * offset[0] + uy * offset[1] + uz * offset[2]
    qc = offset[0] ** 2 + offset[1] ** 2 + offset[2] ** 2 - 1.0
    root = qb * qb - qa * qc
    if root <= 0.0:
        return 1.0, 0.0
    half = np.sqrt(root)
    return (qb - half) / qa, (qb + half) / qa


_ellipsoid_span = numba.njit(cache=True)(_ellipsoid_span)


def _render_overlaps(
    image: Array, first: Array, first_at: Array, second: Array, second_at: Array, weight: Array,
    pixel: float, sid: float, window: IntArray,
) -> None:  # fmt: skip
    rows, columns = image.shape
    for i in range(len(weight)):
        for row in range(window[i, 0], window[i, 1]):
            for col in range(window[i, 2], window[i, 3]):
                y, x = (row - (rows - 1) / 2) * pixel, (col - (columns - 1) / 2) * pixel
                norm = np.sqrt(x * x + y * y + sid * sid)
                n1, f1 = _ellipsoid_span(first[i], first_at[i], x / norm, y / norm, sid / norm)
                n2, f2 = _ellipsoid_span(second[i], second_at[i], x / norm, y / norm, sid / norm)
                image[row, col] += weight[i] * max(0.0, min(f1, f2) - max(n1, n2))


_render_overlaps = numba.njit(cache=True)(_render_overlaps)


def _in_view(carm: CArm, solids: Ellipsoids) -> tuple[Array, Array]:
    # Shape matrices acting on directions of the view axes, and centre offsets already mapped.
    axes = np.stack(carm.axes())
    shape = np.einsum("kij,vj->kiv", solids.shape, axes)
    return shape, np.einsum("kiv,kv->ki", shape, carm.view(solids.centre))


def _windows(carm: CArm, solids: Ellipsoids) -> IntArray:
    at = carm.project(solids.centre)
    depth = carm.view(solids.centre)[:, 2]
    radius = solids.radii_mm()
    reach = radius * carm.sid_mm / np.maximum(depth - radius, 50.0) / carm.pixel_mm * 1.1 + 2
    low, high = np.floor(at - reach[:, None]), np.ceil(at + reach[:, None]) + 1
    size = np.array([carm.rows, carm.columns])
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1).astype(np.int64)


def project_ellipsoids(carm: CArm, solids: Ellipsoids, weight: npt.ArrayLike) -> Array:
    """Return (rows, columns) float64: the sum over ellipsoids of weight times chord in mm at pixel centres."""
    return project_overlaps(carm, solids, solids, weight)


def project_overlaps(carm: CArm, first: Ellipsoids, second: Ellipsoids, weight: npt.ArrayLike) -> Array:
    """Return (rows, columns) float64: weight times the chord in mm inside both `first[i]` and `second[i]`."""
    image = np.zeros((carm.rows, carm.columns))
    shape, offset = _in_view(carm, first)
    other, other_offset = _in_view(carm, second)
    weights = np.broadcast_to(np.asarray(weight, float), (len(offset),)).copy()
    window = _windows(carm, first)
    _render_overlaps(image, shape, offset, other, other_offset, weights, carm.pixel_mm, carm.sid_mm, window)
    return image


def _intervals(shape: Array, offset: Array, dx: float, dy: float, dz: float, out: Array) -> int:
    # Disjoint intervals of the ray inside any of the solids, in order, into `out` (K, 2); their number.
    count = 0
    for k in range(len(shape)):
        near, far = _ellipsoid_span(shape[k], offset[k], dx, dy, dz)
        if near >= far:
            continue
        place = count
        while place > 0 and out[place - 1, 0] > near:
            out[place] = out[place - 1]
            place -= 1
        out[place, 0], out[place, 1] = near, far
        count += 1
    merged = 0
    for k in range(1, count):
        if out[k, 0] <= out[merged, 1]:
            out[merged, 1] = max(out[merged, 1], out[k, 1])
        else:
            merged += 1
            out[merged] = out[k]
    return min(count, merged + 1)


_intervals = numba.njit(cache=True)(_intervals)


def _render_union(
    image: Array, first: Array, first_at: Array, second: Array, second_at: Array, pixel: float, sid: float,
    window: IntArray,
) -> None:  # fmt: skip
    rows, columns = image.shape
    own, other = np.empty((len(first), 2)), np.empty((max(len(second), 1), 2))
    for row in range(window[0], window[1]):
        for col in range(window[2], window[3]):
            y, x = (row - (rows - 1) / 2) * pixel, (col - (columns - 1) / 2) * pixel
            norm = np.sqrt(x * x + y * y + sid * sid)
            dx, dy, dz = x / norm, y / norm, sid / norm
            n = _intervals(first, first_at, dx, dy, dz, own)
            m = _intervals(second, second_at, dx, dy, dz, other) if n > 0 else 0
            for i in range(n):
                if len(second) == 0:
                    image[row, col] += own[i, 1] - own[i, 0]
                for j in range(m):
                    image[row, col] += max(0.0, min(own[i, 1], other[j, 1]) - max(own[i, 0], other[j, 0]))


_render_union = numba.njit(cache=True)(_render_union)


def project_union(carm: CArm, solids: Ellipsoids, within: Ellipsoids | None = None) -> Array:
    """Return (rows, columns) float64: mm inside any of `solids` (counted once), and inside any of `within` if given."""
    image = np.zeros((carm.rows, carm.columns))
    if len(solids.centre) == 0 or (within is not None and len(within.centre) == 0):
        return image
    shape, offset = _in_view(carm, solids)
    limits = (np.zeros((0, 3, 3)), np.zeros((0, 3))) if within is None else _in_view(carm, within)
    each = _windows(carm, solids)
    window = np.array([each[:, 0].min(), each[:, 1].max(), each[:, 2].min(), each[:, 3].max()])
    _render_union(image, shape, offset, *limits, carm.pixel_mm, carm.sid_mm, window)
    return image


def _render_gaussians(image: Array, at: Array, sigma: Array, weight: Array) -> None:
    rows, columns = image.shape
    across = np.empty(columns)
    for i in range(len(sigma)):
        if weight[i] == 0.0:
            continue
        s, reach = sigma[i], 3.5 * sigma[i] + 1.0
        r0, r1 = max(0, int(at[i, 0] - reach)), min(rows - 1, int(at[i, 0] + reach) + 1)
        c0, c1 = max(0, int(at[i, 1] - reach)), min(columns - 1, int(at[i, 1] + reach) + 1)
        for col in range(c0, c1 + 1):
            across[col] = np.exp(-0.5 * ((col - at[i, 1]) / s) ** 2)
        for row in range(r0, r1 + 1):
            down = weight[i] * np.exp(-0.5 * ((row - at[i, 0]) / s) ** 2)
            for col in range(c0, c1 + 1):
                image[row, col] += down * across[col]


_render_gaussians = numba.njit(cache=True)(_render_gaussians)


def project_gaussians(carm: CArm, centre_mm: Array, sigma_mm: Array, mass: Array) -> Array:
    """Return (rows, columns) float64: areal density (mass per mm² at each blob's depth) of 3-D Gaussian blobs."""
    image = np.zeros((carm.rows, carm.columns))
    sigma_px = sigma_mm * carm.sid_mm / carm.view(centre_mm)[:, 2] / carm.pixel_mm
    _render_gaussians(image, carm.project(centre_mm), sigma_px, mass / (2 * np.pi * sigma_mm**2))
    return image
