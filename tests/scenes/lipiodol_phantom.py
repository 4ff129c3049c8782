"""A geometric abdomen for tests: a function of patient coordinates, sampled on any grid.

Body, fat, liver, spine, ribs and lung are ellipsoids and tubes; oil is a blurred ball or any
field of milligrams per millilitre. Nothing here comes from the simulator.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import ndimage
from scipy.special import erf

from angio_pipeline.core.followups import CtVolume, VolumeRoi
from angio_pipeline.core.provenance import Source

LIVER_HU, SLOPE_120 = 55.0, 25.0
CENTRE = np.array([-55.0, -15.0, 0.0])  # of the lesion, LPS mm

Oil = Callable[[np.ndarray], np.ndarray]


def affine(spacing=(3.0, 1.5, 1.5), shape=(44, 170, 200), shift=(0.0, 0.0, 0.0)) -> np.ndarray:
    out = np.eye(4)
    z, y, x = spacing
    out[:3, :3] = [[0, 0, x], [0, y, 0], [z, 0, 0]]
    half = 0.5 * (np.array(shape) - 1) * np.array(spacing)
    out[:3, 3] = np.array([-half[2], -half[1], -half[0]]) + np.array(shift)
    return out


def ball(mg: float, radius_mm: float, *, centre=CENTRE, blur_mm: float = 1.5) -> Oil:
    """Exact field of a uniform ball convolved with a Gaussian, mg/ml; it integrates to `mg`."""
    density = mg / (4 / 3 * np.pi * radius_mm**3 / 1000)

    def field(p: np.ndarray) -> np.ndarray:
        r = np.maximum(np.linalg.norm(p - centre, axis=-1), 1e-3)
        s = blur_mm
        a, b = (radius_mm - r) / (np.sqrt(2) * s), (radius_mm + r) / (np.sqrt(2) * s)
        gauss = s / (np.sqrt(2 * np.pi) * r) * (np.exp(-(b**2)) - np.exp(-(a**2)))
        return density * (0.5 * (erf(a) + erf(b)) + gauss)

    return field


def beside(x: float, y: float, z: float) -> np.ndarray:
    """A point so far from the lesion's centre."""
    return CENTRE + np.array([x, y, z])


def none(p: np.ndarray) -> np.ndarray:
    return np.zeros(p.shape[:-1])


def anatomy(p: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(p, -1, 0)
    body = (x / 140) ** 2 + (y / 100) ** 2
    hu = np.full(x.shape, -1000.0)
    hu[body < 1] = -100.0
    hu[body < 0.82] = 50.0
    hu[(body < 0.72) & (y < 40)] = -90.0
    hu[(((x - 60) / 40) ** 2 + ((y - 5) / 55) ** 2 + ((z - 60) / 40) ** 2) < 1] = -850.0
    liver = ((x + 50) / 68) ** 2 + ((y + 8) / 62) ** 2 + ((z - 5) / 62) ** 2
    hu[liver < 1] = LIVER_HU
    hu[(((x - 75) / 25) ** 2 + ((y - 30) / 30) ** 2 + ((z + 10) / 40) ** 2) < 1] = 48.0
    spine = (x / 20) ** 2 + ((y - 62) / 18) ** 2
    disc = np.abs((z + 5) % 32 - 16) > 12
    hu[spine < 1] = np.where(disc[spine < 1], 80.0, 250.0)
    angle = np.arctan2(y, x)
    ribs = (body > 0.74) & (body < 0.82) & (np.abs((z + 14 * np.cos(angle) + 40 * (y / 100)) % 26 - 13) > 8.5)
    hu[ribs & (y > -85)] = 450.0
    return hu


def scan(
    oil: Oil = none,
    *,
    date: str = "20240102",
    kvp: float | None = 120.0,
    slope: float = SLOPE_120,
    noise_hu: float = 10.0,
    seed: int = 0,
    spacing=(3.0, 1.5, 1.5),
    shape=(44, 170, 200),
    motion: np.ndarray | None = None,
    grid: np.ndarray | None = None,
    extra: Oil = none,
    noise_blur_px: float = 0.6,
    clip_hu: float | None = None,
    contrast: bool = False,
    frame: str | None = None,
    series: str | None = None,
) -> CtVolume:
    """A CT of the abdomen, moved by `motion` (anatomy's LPS to the scan's LPS)."""
    grid = affine(spacing, shape) if grid is None else grid
    back = np.eye(4) if motion is None else np.linalg.inv(motion)
    key = (tuple(shape), grid.tobytes(), back.tobytes())
    hu = _without_oil(*key).copy()
    for p in _points(*key):
        if extra is not none:
            hu += _blurred(extra(p), grid) / len(_PLANES)
        if oil is not none:
            hu += slope * oil(p) / len(_PLANES)
    white = np.random.default_rng(seed).normal(0, 1, shape)
    noise = ndimage.gaussian_filter(white, (0, noise_blur_px, noise_blur_px))
    hu += noise_hu * noise / noise.std()
    hu = np.round(hu)
    if clip_hu is not None:
        hu = np.minimum(hu, clip_hu)
    source = Source(f"1.{date}", series or f"2.{date}", date=date, acquired=None, modality="CT")
    return CtVolume(
        hu.astype(np.float32), grid, source, kvp=kvp, clip_hu=clip_hu, contrast=contrast, frame_of_reference_uid=frame
    )


# Slices have thickness: the mean over four planes.
_PLANES = (-0.375, -0.125, 0.125, 0.375)


@lru_cache(maxsize=4)
def _points(shape: tuple[int, int, int], grid: bytes, back: bytes) -> tuple[np.ndarray, ...]:
    to_scan, to_anatomy = (np.frombuffer(one).reshape(4, 4) for one in (grid, back))
    found = []
    for part in _PLANES:
        index = np.moveaxis(np.indices(shape).astype(float), 0, -1)
        index[..., 0] += part
        p = index @ to_scan[:3, :3].T + to_scan[:3, 3]
        found.append(p @ to_anatomy[:3, :3].T + to_anatomy[:3, 3])
    return tuple(found)


@lru_cache(maxsize=8)
def _without_oil(shape: tuple[int, int, int], grid: bytes, back: bytes) -> np.ndarray:
    seen = [_blurred(anatomy(p), np.frombuffer(grid).reshape(4, 4)) for p in _points(shape, grid, back)]
    return np.asarray(np.mean(seen, axis=0))


def _blurred(tissue: np.ndarray, grid: np.ndarray) -> np.ndarray:
    in_plane = 1.0 / np.array(grid_spacing(grid))[1:]
    return ndimage.gaussian_filter(tissue, (0, *in_plane))


def grid_spacing(grid: np.ndarray) -> tuple[float, float, float]:
    z, y, x = np.linalg.norm(grid[:3, :3], axis=0)
    return float(z), float(y), float(x)


def roi(radius_mm: float, volume: CtVolume, *, centre=CENTRE, name: str = "L1", tied: bool = True) -> VolumeRoi:
    index = np.moveaxis(np.indices(volume.hu.shape).astype(float), 0, -1)
    p = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    mask = np.linalg.norm(p - centre, axis=-1) <= radius_mm
    return VolumeRoi(name, mask, volume.affine, volume.source.series_instance_uid if tied else None)


def rigid(rotation_deg=(0.0, 0.0, 0.0), shift_mm=(0.0, 0.0, 0.0), centre=CENTRE) -> np.ndarray:
    ax, ay, az = np.radians(rotation_deg)
    rx = np.array([[1, 0, 0], [0, np.cos(ax), -np.sin(ax)], [0, np.sin(ax), np.cos(ax)]])
    ry = np.array([[np.cos(ay), 0, np.sin(ay)], [0, 1, 0], [-np.sin(ay), 0, np.cos(ay)]])
    rz = np.array([[np.cos(az), -np.sin(az), 0], [np.sin(az), np.cos(az), 0], [0, 0, 1]])
    out = np.eye(4)
    out[:3, :3] = rz @ ry @ rx
    out[:3, 3] = centre - out[:3, :3] @ centre + np.array(shift_mm)
    return out
