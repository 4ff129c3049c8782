"""Tumour blush and parenchymal stain: what tissue holds, and how it looks on the detector.

The liver's stain fills its outline less the tumours in it, and follows the supply of each part; a
tumour's blush fills its solid (without an avascular core), part of it gathered about the ends of its
vessels. Whatever the shape, the iodine drawn is the iodine held.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.anatomy.anatomy import Anatomy
from angio_pipeline.simulate.anatomy.lesions import TumourKind
from angio_pipeline.simulate.circulation.contrast import ContrastParams
from angio_pipeline.simulate.circulation.mixtures import Mixture
from angio_pipeline.simulate.circulation.signals import Tables, Terms
from angio_pipeline.simulate.circulation.tissue import Tissue
from angio_pipeline.simulate.radiograph.projection import CArm, Ellipsoids, project_union

__all__ = ["Bed", "make_bed", "solid_volume_mm3"]

Array = npt.NDArray[np.float64]

_SCAN_S = 0.1
_FAINTEST_MG = 1e-6
# Gaussians are drawn on a grid on which each is this many pixels wide, and enlarged.
_COARSE_SIGMA_PX = 4.0
_BEYOND_FIELD = 1.5
_OUTLINE_STEP = 3
_OUTLINE_BLUR_PX = 0.7
_POOL_MG_ML = 120.0


@dataclass(frozen=True, slots=True, eq=False)
class Bed:
    """Tissue that holds contrast; times are those of the run's clock.

    Attributes
    ----------
    kind : "liver", "tumour", "spleen", "organs" or "pool" (of a bleed)
    tumour : int
        Index, or -1.
    centre, sigma_mm, native_ml_s : (K, 3), (K,), (K,)
        Blobs of tissue: place, width, and flow before embolisation.
    solid : Ellipsoids or None
        The outline; `holes` are not part of it.
    volume_mm3 : float
        Of the solid without holes; NaN where there is none.
    evenness : float
        Share of the iodine spread evenly over the solid.
    """

    kind: str
    tumour: int
    centre: Array
    sigma_mm: Array
    native_ml_s: Array
    mixture: Mixture
    start_s: float
    until_s: float
    solid: Ellipsoids | None
    holes: Ellipsoids | None
    volume_mm3: float
    evenness: float

    def mass_mg(self, time_s: float) -> Array:
        """Return (K,) mg of iodine held by each blob at `time_s`."""
        return self.mixture.at(time_s - self.start_s)

    def rise_s(self) -> Array:
        """Return (K,) seconds of half the greatest load on the rising side; NaN for blobs that get nothing."""
        ages = np.arange(0.0, self.until_s - self.start_s + _SCAN_S, _SCAN_S)
        peak, rise = self.mixture.peak_and_rise(ages)
        return np.where(peak > _FAINTEST_MG, rise + self.start_s, np.nan)

    def areal_density(self, carm: CArm, time_s: float, displaced: Array) -> Array:
        """Return (rows, columns) mg/mm² at `time_s`, the blobs moved by `displaced` (K, 3) mm."""
        mass = self.mass_mg(time_s)
        if mass.sum() < _FAINTEST_MG:
            return np.zeros((carm.rows, carm.columns))
        if self.solid is None:
            return _draw_soft(carm, self.centre + displaced, self._widths(mass), mass)
        moved = self._moved(displaced)
        if self.kind == "liver":
            return moved._parenchyma(carm, mass)
        return moved._lesion(carm, mass)

    def _widths(self, mass: Array) -> Array:
        if self.kind != "pool":
            return self.sigma_mm
        # A pool is a ball that grows with what has run out.
        radius_mm = np.cbrt(0.75 / np.pi * 1000 * mass / _POOL_MG_ML)
        return np.maximum(1.2, 0.62 * radius_mm)

    def _moved(self, displaced: Array) -> Bed:
        assert self.solid is not None
        holes = None if self.holes is None else self._carried(self.holes, displaced)
        return replace(self, centre=self.centre + displaced, solid=self._carried(self.solid, displaced), holes=holes)

    def _carried(self, solids: Ellipsoids, displaced: Array) -> Ellipsoids:
        # Each solid moves as the blobs about its centre do.
        away = ((solids.centre[:, None] - self.centre) ** 2).sum(axis=2)
        near = np.exp(-0.5 * (away - away.min(axis=1, keepdims=True)) / 30.0**2)
        return Ellipsoids(solids.centre + near @ displaced / near.sum(axis=1, keepdims=True), solids.shape)

    def _thickness(self, carm: CArm) -> Array:
        # Millimetres of tissue on each ray.
        assert self.solid is not None
        whole = project_union(carm, self.solid)
        if self.holes is None or len(self.holes.centre) == 0:
            return whole
        return np.maximum(whole - project_union(carm, self.holes, within=self.solid), 0.0)

    def _lesion(self, carm: CArm, mass: Array) -> Array:
        thick = self._thickness(carm)
        even = self.evenness * mass.sum() * thick / self.volume_mm3
        gathered = _draw_soft(carm, self.centre, self.sigma_mm, (1 - self.evenness) * mass)
        inside = gathered * np.minimum(1.0, thick / (0.25 * max(thick.max(), 1e-9)))
        return np.asarray(even + inside * (gathered.sum() / max(inside.sum(), 1e-12)))

    def _parenchyma(self, carm: CArm, mass: Array) -> Array:
        # Iodine for each ml of tissue (a ratio of two sums of blobs) times the tissue on the ray.
        wide = _coarser(carm, self._step(carm), _BEYOND_FIELD)
        per_part = np.stack([mass, self.native_ml_s * _patchy(self.centre)], axis=1)
        held, tissue = _gaussians(wide, self.centre, self.sigma_mm, per_part)
        ratio = held / (tissue + 1e-3 * tissue.max())
        scale = held.sum() / max(float((ratio * self._thickness(wide)).sum()), 1e-12)
        fine = _coarser(carm, _OUTLINE_STEP, 1.0)
        # The liver's edge is never sharp: it slopes, and moves within a frame.
        thick = np.asarray(cv2.GaussianBlur(self._thickness(fine), (0, 0), _OUTLINE_BLUR_PX), float)
        return _enlarged(ratio * scale, wide, carm) * _enlarged(thick, fine, carm)

    def _step(self, carm: CArm) -> int:
        return _step(carm, self.centre, self.sigma_mm)


def make_bed(
    anatomy: Anatomy, tissue: Tissue, held: Terms, tables: Tables, params: ContrastParams, clock: tuple[float, float]
) -> Bed:
    """Return the bed of a tissue whose blobs own the terms `held` (mg); `clock` is (injection's start, run's end)."""
    solid, holes, volume, evenness = None, None, float("nan"), 0.0
    if tissue.kind == "liver":
        solid = anatomy.lobes
        bodies = [body.solid for body in anatomy.tumours]
        if bodies:
            holes = Ellipsoids(np.vstack([b.centre for b in bodies]), np.vstack([b.shape for b in bodies]))
    elif tissue.kind == "tumour":
        body = anatomy.tumours[tissue.tumour]
        solid, holes, evenness = body.solid, body.core, params.blush_evenness
        if body.kind is TumourKind.RIM:
            evenness = 0.5 + 0.5 * evenness
        volume = solid_volume_mm3(solid) - (solid_volume_mm3(holes) if holes is not None else 0.0)
    places = np.arange(len(tissue.centre))
    mixture = Mixture.of(tables, held, places, np.zeros(len(places)), np.ones(len(places)))
    return Bed(
        tissue.kind, tissue.tumour, tissue.centre, tissue.sigma_mm, tissue.native_ml_s,
        mixture, *clock, solid, holes, volume, evenness,
    )  # fmt: skip


def solid_volume_mm3(solids: Ellipsoids, rays: int = 96) -> float:
    """Return the volume of a union of ellipsoids: the lengths inside it of parallel rays."""
    reach = solids.radii_mm()[:, None]
    low, high = (solids.centre - reach).min(axis=0), (solids.centre + reach).max(axis=0)
    step = (high[:2] - low[:2]) / rays
    x, y = (low[k] + (np.arange(rays) + 0.5) * step[k] for k in (0, 1))
    origin = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    offset = np.concatenate([origin, np.zeros((len(origin), 1))], axis=1)[:, None] - solids.centre
    at = np.einsum("kij,rkj->rki", solids.shape, offset)
    along = solids.shape[:, :, 2]
    qa, qb = (along**2).sum(axis=1), (at * along).sum(axis=2)
    root = qb**2 - qa * ((at**2).sum(axis=2) - 1)
    half = np.sqrt(np.maximum(root, 0.0)) / qa
    return float(_union_length(-qb / qa - half, -qb / qa + half).sum() * step.prod())


def _union_length(near: Array, far: Array) -> Array:
    # Length of the union of K intervals on each of R rays.
    order = np.argsort(near, axis=1)
    near, far = np.take_along_axis(near, order, axis=1), np.take_along_axis(far, order, axis=1)
    reached = np.maximum.accumulate(np.concatenate([near[:, :1], far[:, :-1]], axis=1), axis=1)
    return np.asarray(np.maximum(far - np.maximum(near, reached), 0.0).sum(axis=1))


def _patchy(centre: Array) -> Array:
    # Perfusion of the liver varies by about an eighth over some centimetres.
    x, y, z = centre.T
    return np.asarray(1 + 0.12 * (np.sin(x / 9 + z / 14) + np.sin(y / 11 - x / 17 + 1.0)))


def _step(carm: CArm, centre: Array, sigma_mm: Array) -> int:
    sigma_px = float((sigma_mm * carm.sid_mm / carm.view(centre)[:, 2]).min()) / carm.pixel_mm
    return max(1, int(sigma_px / _COARSE_SIGMA_PX))


def _draw_soft(carm: CArm, centre: Array, sigma_mm: Array, mass: Array) -> Array:
    coarse = _coarser(carm, _step(carm, centre, sigma_mm), 1.0)
    return _enlarged(_gaussians(coarse, centre, sigma_mm, mass[:, None])[0], coarse, carm)


def _gaussians(carm: CArm, centre: Array, sigma_mm: Array, mass: Array) -> Array:
    # (M, rows, columns) areal densities of blobs of masses (K, M), as products of what they are along rows and columns.
    at = carm.project(centre)
    sigma_px = sigma_mm * carm.sid_mm / carm.view(centre)[:, 2] / carm.pixel_mm
    image = np.zeros((mass.shape[1], carm.rows, carm.columns))
    size = (carm.rows, carm.columns)
    first = [int(np.clip(np.floor((at[:, k] - 5 * sigma_px).min()), 0, size[k])) for k in (0, 1)]
    last = [int(np.clip(np.ceil((at[:, k] + 5 * sigma_px).max()) + 1, 0, size[k])) for k in (0, 1)]
    down, across = (
        np.exp(-0.5 * ((np.arange(first[k], last[k]) - at[:, k : k + 1]) / sigma_px[:, None]) ** 2) for k in (0, 1)
    )
    peak = mass / (2 * np.pi * sigma_mm[:, None] ** 2)
    for m in range(mass.shape[1]):
        image[m, first[0] : last[0], first[1] : last[1]] = (down * peak[:, m : m + 1]).T @ across
    return image


def _coarser(carm: CArm, step: int, beyond: float) -> CArm:
    # The same view on pixels `step` times as wide, over `beyond` times the field and a margin.
    rows, columns = (
        int(np.ceil(beyond * n / step)) + (0 if step == 1 and beyond == 1 else 2) for n in (carm.rows, carm.columns)
    )
    return replace(carm, rows=rows, columns=columns, pixel_mm=carm.pixel_mm * step)


def _enlarged(image: Array, coarse: CArm, carm: CArm) -> Array:
    step = coarse.pixel_mm / carm.pixel_mm
    if image.shape == (carm.rows, carm.columns) and step == 1:
        return image
    to_coarse = [
        [1 / step, 0, (coarse.columns - 1 - (carm.columns - 1) / step) / 2],
        [0, 1 / step, (coarse.rows - 1 - (carm.rows - 1) / step) / 2],
    ]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    fine = cv2.warpAffine(image.astype(np.float32), np.array(to_coarse), (carm.columns, carm.rows), flags=flags)
    return np.asarray(fine, float)
