"""Which frames without contrast make the mask: of the run, of each frame, or of each patch of a frame.

Strategy: every candidate is laid upon the last one, so that they differ only by noise and by
what no field undoes: bowel that kneads, ribs that slide over the liver. For each live frame the
products of the candidates' residuals over a region say how good the mean of any of them would
be there, because the mean's residual is the mean of theirs. The best one, joined by the next
best for as long as that helps, is the mask of that region. One choice for the whole run is kept
unless choosing by frame, or by patch, leaves clearly less: more choice also follows noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.runs import AngioRun
from angio_pipeline.dsa.linear import linear_frame
from angio_pipeline.dsa.motion import MotionParams, estimate_motion
from angio_pipeline.numerics.compiled import each_in_threads
from angio_pipeline.numerics.filters import difference_noise_sd, resize, shrink, wide_gaussian
from angio_pipeline.numerics.sampling import blend, readable, sample_lattice

__all__ = ["MaskScope", "MaskSet", "PatchMaskParams", "align_candidates", "choose_by_residual"]

FloatArray = npt.NDArray[np.float32]


class MaskScope(StrEnum):
    """What one choice of mask frames holds for."""

    AUTO = "auto"
    RUN = "run"
    FRAME = "frame"
    PATCH = "patch"


class PatchMaskParams(Params):
    """Settings of `choose_by_residual`."""

    scope: MaskScope = Field(MaskScope.AUTO, description="what one choice of mask frames holds for; auto: what pays")
    most_frames: int = Field(6, ge=1, le=32, description="at most this many frames are averaged")
    patches: int = Field(8, ge=1, le=32, description="patches along the longer side")
    least_gain: float = Field(0.01, ge=0, lt=1, description="residual energy a finer choice has to save")


@dataclass(frozen=True, slots=True, eq=False)
class MaskSet:
    """Candidate masks in one geometry, and how much of each makes the mask of each live frame.

    Attributes
    ----------
    frames : tuple of int
        Candidates, 0-based frames of the run; empty for an image that is no frame.
    images : ndarray, (K, H, W) float32
        Attenuation, each laid upon the last candidate.
    scope : MaskScope
        What the shares were chosen for.
    shares : ndarray, (T or 1, K, h, w) float32
        Share of each candidate by patch, sums to 1 over K; one entry serves all frames.
    """

    frames: tuple[int, ...]
    images: FloatArray
    scope: MaskScope
    shares: FloatArray

    @property
    def used(self) -> tuple[int, ...]:
        """Frames that make part of the mask of any live frame."""
        most = self.shares.max(axis=(0, 2, 3))
        return tuple(frame for frame, share in zip(self.frames, most, strict=False) if share > 0)

    def image(self, t: int) -> FloatArray:
        """Return the mask of live frame `t`, (H, W) float32, where the last candidate stands."""
        shares = self.shares[min(t, len(self.shares) - 1)]
        some = np.flatnonzero(shares.max(axis=(1, 2)) > 0)
        if shares.shape[1:] == (1, 1):
            return np.tensordot(shares[some, 0, 0], self.images[some], axes=1).astype(np.float32)
        return blend(self.images, shares, some)


def align_candidates(
    run: AngioRun, small: FloatArray, frames: tuple[int, ...], factor: int, *, params: MotionParams
) -> MaskSet:
    """Return the candidates laid upon the last one, each with an equal share: breathing must not blur the mask.

    Parameters
    ----------
    small : ndarray, (T, h, w) float32
        The run in attenuation units, smaller by `factor`.
    """
    images = np.empty((len(frames), run.shape[1], run.shape[2]), np.float32)
    images[-1] = linear_frame(run, frames[-1])
    inside, core = shrink(run.valid.astype(np.float32), factor) == 1, readable(run.valid)

    def one(k: int) -> None:
        frame = linear_frame(run, frames[k])
        if params.enabled:
            field = estimate_motion(small[frames[-1]][None], small[frames[k]], inside, params=params)[0]
            moved, seen = sample_lattice(frame, factor * field, core)
            # What a candidate would read from behind a shutter is the last one's own.
            frame = np.where(seen, moved, images[-1])
        images[k] = frame

    each_in_threads(one, len(frames) - 1)
    shares = np.full((1, len(frames), 1, 1), 1 / len(frames), np.float32)
    return MaskSet(frames, images, MaskScope.RUN, shares)


def choose_by_residual(
    masks: MaskSet,
    frames: FloatArray,
    fields: FloatArray,
    weight: FloatArray,
    factor: int,
    *,
    whole: npt.NDArray[np.bool_],
    params: PatchMaskParams,
) -> MaskSet:
    """Return the masks with the shares that leave least outside vessels.

    Parameters
    ----------
    frames : ndarray, (T, h, w) float32
        The run in attenuation units, at working size.
    fields : ndarray, (T, a, b, 2) float32
        How each frame lies against the last candidate, in working pixels.
    weight : ndarray, (h, w) float32
        0 for vessels and outside the valid area, up to 1.
    factor : int
        How much smaller the working size is than the masks.
    whole : ndarray, (T,) bool
        Frames to choose for; broken ones get the choice of the run. A candidate never makes part of its own mask
        where frames or patches are chosen for: it would be subtracted from itself.
    """
    live = whole.copy()
    live[list(masks.frames)] = False
    if len(masks.frames) <= 1 or not live.any():
        return masks
    chosen = np.flatnonzero(whole)
    products = _residual_products(masks, frames[chosen], fields[chosen], weight, factor, params)
    is_live = live[chosen]
    by_run, run_energy = _best_means(products[is_live].sum(axis=(0, 1, 2), keepdims=True)[0, 0, 0][None], params)
    for row, t in enumerate(chosen):
        if t in masks.frames:
            own = masks.frames.index(int(t))
            products[row, :, :, own, own] += 1e6 * products.max()
    k = products.shape[-1]
    by_frame, _ = _best_means(products.sum(axis=(1, 2)), params)
    _, frame_energy = _best_means(products[is_live].sum(axis=(1, 2)), params)
    by_patch, _ = _best_means(products.reshape(-1, k, k), params)
    _, patch_energy = _best_means(products[is_live].reshape(-1, k, k), params)
    energies = {MaskScope.RUN: run_energy, MaskScope.FRAME: frame_energy, MaskScope.PATCH: patch_energy}
    scope = _scope_that_pays(energies, params)
    everywhere = by_run[:, :, None, None]
    if scope is MaskScope.RUN:
        return replace(masks, scope=scope, shares=everywhere)
    finer = by_frame[:, :, None, None]
    if scope is MaskScope.PATCH:
        finer = np.moveaxis(by_patch.reshape(*products.shape[:3], k), -1, 1)
    shares = np.empty((len(frames), *finer.shape[1:]), np.float32)
    shares[:] = everywhere
    shares[chosen] = finer
    return replace(masks, scope=scope, shares=shares)


def _scope_that_pays(energies: dict[MaskScope, float], params: PatchMaskParams) -> MaskScope:
    if params.scope is not MaskScope.AUTO:
        return params.scope
    best = MaskScope.RUN
    for finer in (MaskScope.FRAME, MaskScope.PATCH):
        if energies[finer] < (1 - params.least_gain) * energies[best]:
            best = finer
    return best


def _residual_products(
    masks: MaskSet,
    frames: FloatArray,
    fields: FloatArray,
    weight: FloatArray,
    factor: int,
    params: PatchMaskParams,
) -> npt.NDArray[np.float64]:
    """Return the products of the candidates' residuals summed over each patch, (T, rows, cols, K, K)."""
    shape = frames.shape[1:]
    half = max(1, round(max(shape) / 256))
    small = np.stack([shrink(shrink(image, factor), half) for image in masks.images])
    counts = shrink(weight, half)
    size = (small.shape[1], small.shape[2])
    patch = max(size) / params.patches
    grid = (max(1, round(size[0] / patch)), max(1, round(size[1] / patch)))
    noise = _noise_lost_by_shrinking(masks.images, small)
    area = size[0] * size[1] / (grid[0] * grid[1])
    per_patch = resize(counts, grid) * area
    out = np.empty((len(frames), *grid, len(small), len(small)), np.float64)
    seen = np.ones(size, np.bool_)

    def one(t: int) -> None:
        live = shrink(frames[t], half)
        left = [_slowly_cleared(live - sample_lattice(m, fields[t] / half, seen)[0], counts) for m in small]
        for a, first in enumerate(left):
            for b in range(a + 1):
                out[t, :, :, a, b] = out[t, :, :, b, a] = resize(first * left[b] * counts, grid) * area
            out[t, :, :, a, a] += noise * per_patch

    each_in_threads(one, len(frames))
    # A patch that shows nothing outside vessels chooses as its frame does.
    out += 0.01 * out.mean(axis=(1, 2), keepdims=True)
    return out


def _slowly_cleared(residual: FloatArray, counts: FloatArray) -> FloatArray:
    """Return the residual without exposure drift and parenchyma, and with what is left of vessels cut off."""
    sigma = 0.05 * max(residual.shape)
    slow = wide_gaussian(residual * counts, sigma) / np.maximum(wide_gaussian(counts, sigma), 1e-3)
    cleared = residual - slow
    limit = 4 * float(np.sqrt(np.mean(cleared**2 * counts) / max(float(counts.mean()), 1e-6)))
    return np.asarray(np.clip(cleared, -limit, limit), dtype=np.float32)


def _noise_lost_by_shrinking(images: FloatArray, small: FloatArray) -> float:
    """Return the variance of noise that a full-size candidate has and its small copy has not."""
    full = float(np.median([difference_noise_sd(image) for image in images]))
    kept = float(np.median([difference_noise_sd(image) for image in small]))
    return max(full**2 - kept**2, 0.0)


def _best_means(products: npt.NDArray[np.float64], params: PatchMaskParams) -> tuple[FloatArray, float]:
    """Return for each region the shares of the best mean of a few candidates, (N, K), and the energy left in all.

    Candidates join in the order of their own residual.
    """
    regions, count, _ = products.shape
    order = np.argsort(np.einsum("nkk->nk", products), axis=1)
    region = np.arange(regions)[:, None, None]
    ordered = products[region, order[:, :, None], order[:, None, :]]
    most = min(params.most_frames, count)
    energy = np.stack([ordered[:, :n, :n].sum(axis=(1, 2)) / n**2 for n in range(1, most + 1)], axis=1)
    chosen = np.argmin(energy, axis=1) + 1
    ranked = (np.arange(count)[None, :] < chosen[:, None]) / chosen[:, None]
    shares = np.zeros((regions, count), np.float32)
    np.put_along_axis(shares, order, ranked.astype(np.float32), axis=1)
    return shares, float(np.take_along_axis(energy, chosen[:, None] - 1, axis=1).sum())
