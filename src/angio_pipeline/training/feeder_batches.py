"""Crops about tumours: the run's pictures, where the tumour is, and as truth what feeds that tumour alone.

The tumour is drawn as a user or a network would draw it: a little too large, too small, or aside. Now and then the
region is one that holds no tumour, which nothing feeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from angio_pipeline.core.errors import AngioError
from angio_pipeline.networks.feeders import around, picture_tumour
from angio_pipeline.training.batches import Batch, CropParams, ahead, crop_matrix, crop_pictures, disturbed, warped
from angio_pipeline.training.packing import Packed, load_packed_tumours

__all__ = ["feeder_batches", "feeder_pictures"]

FloatArray = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8]
_ELSEWHERE = 0.08
_RADIUS_PX = (8.0, 45.0)


def feeder_pictures(packed: Packed) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
    """Return pictures, target and what is known of it, (1, h, w) each, about every tumour of an example as it is."""
    pictures = np.load(packed.pictures).astype(np.float32)
    out = []
    for tumour, feeders, faint in load_packed_tumours(packed, pictures.shape[-1]):
        place = around(tumour)
        shown = picture_tumour(pictures[(slice(None), *place)], tumour[place])
        target = feeders[place][None].astype(np.float32)
        out.append((shown, target, _known(target, faint[place], shown)))
    return out


def _known(target: FloatArray, faint: npt.ArrayLike, shown: FloatArray) -> FloatArray:
    # A branch that may be too faint to be seen is neither right nor wrong; nor is what lies outside the picture.
    open_question = np.asarray(faint, np.float32)[None] * (1 - target)
    return np.asarray((1 - open_question) * (shown[-2:-1] > 0.5), dtype=np.float32)


def feeder_batches(
    packed: Sequence[Packed], params: CropParams, *, seed: int, first_step: int, steps: int
) -> Iterator[Batch]:
    """Yield the batches of steps from `first_step` on; what a step sees depends on seed and step only.

    Raises
    ------
    AngioError
        `no_examples` when none shows a tumour.
    """
    counts = [len(np.load(one.tumours, mmap_mode="r")) for one in packed]
    tumours = [(one, k) for one, count in zip(packed, counts, strict=True) for k in range(count)]
    if not tumours:
        sentence = "Expected examples that show a tumour, found none; simulate more patients."
        raise AngioError(sentence, reason="no_examples")
    return ahead(lambda step: _feeder_batch(tumours, params, seed, step), first_step, steps)


def _feeder_batch(tumours: Sequence[tuple[Packed, int]], params: CropParams, seed: int, step: int) -> Batch:
    rng = np.random.default_rng([seed, step])
    parts = [_crop_tumour(*tumours[int(k)], params, rng) for k in rng.integers(len(tumours), size=params.batch)]
    return Batch(*(np.stack(arrays) for arrays in zip(*parts, strict=True)))


def _crop_tumour(
    packed: Packed, k: int, params: CropParams, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    pictures = np.load(packed.pictures, mmap_mode="r")
    tumours = load_packed_tumours(packed, pictures.shape[-1]).astype(np.uint8)
    tumour, feeders, faint = tumours[k]
    if rng.random() < _ELSEWHERE:
        region = _region(tumour.shape, rng)
        if not (region & tumours[:, 0].any(axis=0)).any():
            tumour, feeders, faint = region, np.zeros_like(feeders), np.zeros_like(faint)
    middle = np.argwhere(tumour).mean(axis=0) + rng.uniform(-0.15, 0.15, 2) * params.size_px
    matrix = crop_matrix((middle[0], middle[1]), tumour.shape, params, rng)
    drawn, feeders, faint = (
        np.asarray(warped(image, matrix, params.size_px, nearest=True), np.float32)
        for image in (_redrawn(tumour, rng), feeders, faint)
    )
    inputs = disturbed(crop_pictures(pictures, matrix, params.size_px), params, rng)
    shown = picture_tumour(inputs, drawn > 0)
    return shown, feeders[None], _known(feeders[None], faint, shown)


def _region(shape: tuple[int, ...], rng: np.random.Generator) -> Mask:
    """Return an ellipse of a tumour's size somewhere in the picture."""
    image = np.zeros(shape, np.uint8)
    row, column = (round(float(rng.uniform(0.2, 0.8)) * side) for side in shape)
    axes = [round(float(radius)) for radius in rng.uniform(*_RADIUS_PX, 2)]
    cv2.ellipse(image, (column, row), axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return image


def _redrawn(tumour: Mask, rng: np.random.Generator) -> Mask:
    """Return the tumour as another hand would draw it."""
    radius = float(np.sqrt(tumour.sum() / np.pi))
    width = max(2, int(0.25 * radius * rng.random()))
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    how, drawn = rng.random(), tumour
    if how < 0.3:
        drawn = np.asarray(cv2.dilate(tumour, element), np.uint8)
    elif how < 0.6:
        smaller = np.asarray(cv2.erode(tumour, element), np.uint8)
        drawn = smaller if smaller.any() else tumour
    if rng.random() < 0.4:
        down, across = rng.normal(0, 0.15 * radius, 2)
        shift = np.array([[1, 0, across], [0, 1, down]], np.float32)
        aside = np.asarray(cv2.warpAffine(drawn, shift, tumour.shape[::-1]), np.uint8)
        # A thin one would leave its place, or the picture.
        drawn = aside if (aside & tumour).any() else drawn
    return drawn
