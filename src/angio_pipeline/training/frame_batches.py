"""Crops of single frames: simulated ones with their contrast made stronger or weaker, and real ones where given.

A frame is taken apart into anatomy and contrast, which the subtraction knows, and put together again
with another amount of contrast, another display, blur, noise and size. Arteries that contrast does not show in
that one frame are neither right nor wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.networks.frames import local_contrast, picture_frame
from angio_pipeline.numerics.filters import gaussian, resize, wide_gaussian
from angio_pipeline.training.batches import Batch, CropParams, ahead, crop_matrix, warped
from angio_pipeline.training.examples import Label
from angio_pipeline.training.packing import CENTRELINE, Packed
from angio_pipeline.vessels import WORKING_PX

if TYPE_CHECKING:
    from angio_pipeline.training.recipe import RealParams

__all__ = ["RealFrames", "frame_batches", "frame_pictures"]

FloatArray = npt.NDArray[np.float32]
# What is taken to be drawn by a reader of one frame, chosen, not measured: contrast over its noise, smoothed a little;
# of the clutter around; of the main vessels' contrast. Half of that, and nobody would; between the two it is open.
_FAINT, _OF_CLUTTER, _OF_STRONGEST = 1.5, 0.5, 0.12
# A vessel is drawn out to this share of the contrast on its centreline (benchmarks/reader_edges.py).
_EDGE = 0.7
_TRUTH_LEVEL = 127
# Broader than any vessel in a crop.
_BROADEST_PX = 41


@dataclass(frozen=True, slots=True, eq=False)
class RealFrames:
    """Real angiograms at the working size: image (H, W), or its pictures (2, H, W), and truth (H, W) bool."""

    train: tuple[tuple[FloatArray, npt.NDArray[np.bool_]], ...]
    calibrate: tuple[tuple[FloatArray, npt.NDArray[np.bool_]], ...]
    share: float

    @classmethod
    def read(cls, folder: Path, params: RealParams) -> RealFrames:
        """Return NAME.png with NAME_gt.png of the names to train on, and as pictures of those to calibrate on.

        Raises
        ------
        ConfigError
            When one of them is missing or unreadable.
        """
        train = tuple(_read_pair(folder, name) for name in params.train)
        held = (_read_pair(folder, name) for name in params.calibrate)
        pictured = tuple((picture_frame(image, working_px=WORKING_PX), truth) for image, truth in held)
        return cls(train, pictured, params.share)


def _read_pair(folder: Path, name: str) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    parts = [cv2.imread(str(folder / f"{name}{end}.png"), cv2.IMREAD_GRAYSCALE) for end in ("", "_gt")]
    if any(part is None for part in parts):
        raise ConfigError(f"Expected {name}.png and {name}_gt.png among the real angiograms, found no such pair.")
    image, truth = (np.asarray(part, dtype=np.float32) for part in parts)
    size = tuple(round(side * WORKING_PX / min(image.shape)) for side in image.shape)
    return resize(image, size), resize(truth, size) > _TRUTH_LEVEL


def frame_pictures(packed: Packed) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return pictures (2, H, W), targets and what is known of them (2, H, W) of an example's frame as it is."""
    attenuation, contrast, over_noise = np.load(packed.frame).astype(np.float32)
    labels = np.load(packed.labels)
    if labels.shape != attenuation.shape:
        # Labels are at the working size already.
        attenuation, contrast, over_noise = (resize(part, labels.shape) for part in (attenuation, contrast, over_noise))
    targets, known = _targets(labels, contrast, over_noise, attenuation, gain=1.0)
    return local_contrast(-attenuation), targets, known


def _targets(
    labels: npt.NDArray[np.uint8], contrast: FloatArray, over_noise: FloatArray, attenuation: FloatArray, *, gain: float
) -> tuple[FloatArray, FloatArray]:
    artery, vein = (labels & Label.ARTERY) > 0, (labels & Label.VEIN) > 0
    unsure = ((labels & Label.ARTERY_UNSURE) > 0) & ~artery
    centreline = (labels & CENTRELINE) > 0
    core, alone = _cores(gaussian(contrast, 1.0) * np.float32(gain), centreline)
    mean = wide_gaussian(attenuation, 12.0)
    clutter = np.sqrt(np.maximum(wide_gaussian((attenuation - mean) ** 2, 12.0), 0))
    strongest = float(np.percentile(alone[centreline], 95)) if centreline.any() else 0.0
    noise = gaussian(over_noise, 1.0) * np.float32(gain / _FAINT)
    # How far above what a reader would still draw: in that frame's noise, its clutter, and beside its main vessels.
    plain = np.minimum(np.minimum(core / np.maximum(_OF_CLUTTER * clutter, 1e-6), noise), 1e3)
    plain = np.minimum(plain, core / max(_OF_STRONGEST * strongest, 1e-6))
    drawn = artery & (plain > 1) & (alone >= _EDGE * core)
    known = ~(artery & (plain > 0.5) & (plain <= 1)) & ~(unsure & (plain > 0.5)) & ~(vein & ~artery)
    both = np.stack([known, known]).astype(np.float32)
    return np.stack([drawn, centreline & (plain > 1)]).astype(np.float32), both


def _cores(contrast: FloatArray, centreline: npt.NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Return the contrast of the nearest centreline, and contrast itself, without what lies below vessels (H, W)."""
    around = np.ones((_BROADEST_PX, _BROADEST_PX), np.uint8)
    alone: FloatArray = np.asarray(cv2.morphologyEx(contrast, cv2.MORPH_TOPHAT, around), dtype=np.float32)
    if not centreline.any():
        return np.zeros_like(alone), alone
    nearest = distance_transform_edt(~centreline, return_distances=False, return_indices=True)
    return np.asarray(alone[tuple(nearest)]), alone


def frame_batches(
    packed: Sequence[Packed], real: RealFrames | None, params: CropParams, *, seed: int, first_step: int, steps: int
) -> Iterator[Batch]:
    """Yield the batches of steps from `first_step` on; what a step sees depends on seed and step only."""
    return ahead(lambda step: _frame_batch(packed, real, params, seed, step), first_step, steps)


def _frame_batch(packed: Sequence[Packed], real: RealFrames | None, params: CropParams, seed: int, step: int) -> Batch:
    rng = np.random.default_rng([seed, step])
    parts = []
    for _ in range(params.batch):
        if real is not None and rng.random() < real.share:
            image, truth = real.train[int(rng.integers(len(real.train)))]
            parts.append(_crop_real(image, truth, params, rng))
        else:
            parts.append(_crop_simulated(packed[int(rng.integers(len(packed)))], params, rng))
    return Batch(*(np.stack(arrays) for arrays in zip(*parts, strict=True)))


def _crop_real(
    image: FloatArray, truth: npt.NDArray[np.bool_], params: CropParams, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    from skimage.morphology import skeletonize

    where = rng.uniform(0, 1, 2) * image.shape
    matrix = crop_matrix((where[0], where[1]), (image.shape[0], image.shape[1]), params, rng)
    # Beyond the frame there is nothing to learn; a mirror keeps local contrast honest.
    cut = _mirrored(image, matrix, params.size_px)
    inside = _cut(np.ones(image.shape, np.float32), matrix, params.size_px) > 0.5
    mask = _cut(truth.astype(np.float32), matrix, params.size_px) > 0.5
    shown = _displayed(cut, params, rng)
    targets = np.stack([mask, skeletonize(mask)]).astype(np.float32)
    known = np.stack([inside, inside]).astype(np.float32)
    return local_contrast(shown), targets, known


def _crop_simulated(
    packed: Packed, params: CropParams, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    attenuation, contrast, over_noise = np.load(packed.frame, mmap_mode="r")
    labels = np.load(packed.labels)
    artery = np.flatnonzero(labels.ravel() & Label.ARTERY)
    if len(artery) and rng.random() < params.on_target:
        row, column = divmod(int(artery[int(rng.integers(len(artery)))]), labels.shape[1])
        scale = attenuation.shape[0] / labels.shape[0]
        row, column = row * scale, column * scale
    else:
        row, column = rng.uniform(0, 1, 2) * attenuation.shape
    matrix = crop_matrix((row, column), (attenuation.shape[0], attenuation.shape[1]), params, rng)
    size = params.size_px
    frame, contrast, over_noise = (
        _mirrored(np.asarray(part, np.float32), matrix, size) for part in (attenuation, contrast, over_noise)
    )
    cut = np.asarray(warped(_same_size(labels, attenuation.shape), matrix, size, nearest=True), dtype=np.uint8)
    inside = _cut(np.ones(attenuation.shape, np.float32), matrix, size) > 0.5
    gain = float(np.exp(rng.uniform(np.log(0.8), np.log(5.0))))
    targets, known = _targets(cut, contrast, over_noise, frame, gain=gain)
    frame = np.asarray(frame + np.float32(gain - 1) * np.maximum(gaussian(contrast, 0.8), 0), dtype=np.float32)
    return local_contrast(_displayed(-frame, params, rng)), targets, known * inside


def _same_size(labels: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    if labels.shape == shape:
        return labels
    return np.asarray(cv2.resize(labels, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def _mirrored(image: FloatArray, matrix: npt.NDArray[np.float64], size: int) -> FloatArray:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(
            np.ascontiguousarray(image), matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101
        )
    )


def _cut(image: FloatArray, matrix: npt.NDArray[np.float64], size: int) -> FloatArray:
    return warped(image, matrix, size, nearest=False)


def _displayed(image: FloatArray, params: CropParams, rng: np.random.Generator) -> FloatArray:
    """Return the crop (contrast dark) through another display: curve, sharpness, noise, eight bits."""
    low, high = np.percentile(image, [0.5, 99.5])
    shown = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1)
    shown = shown ** np.float32(np.exp(rng.uniform(np.log(0.55), np.log(1.8))))
    if rng.random() < params.disturbed:
        soft = gaussian(shown, float(rng.uniform(0.5, 2.0)))
        # Between softer (-1) and sharper than it was.
        shown = shown + np.float32(rng.uniform(-1, 0.8)) * (shown - soft)
    if rng.random() < params.disturbed:
        grain = rng.standard_normal(shown.shape, dtype=np.float32)
        grain = gaussian(grain, float(rng.uniform(0, 1.2)))
        shown = shown + np.float32(rng.uniform(0, 0.07) / max(float(grain.std()), 1e-6)) * grain
    return np.asarray(np.rint(np.clip(shown, 0, 1) * 255), dtype=np.float32)
