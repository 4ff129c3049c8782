"""Crops for training: cut, turned, stretched and disturbed at random, the same ones for the same seed and step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.training.examples import Label
from angio_pipeline.training.packing import CENTRELINE, Packed
from angio_pipeline.vessels import CHANNELS

__all__ = [
    "FEEDER_CLASSES",
    "FRAME_CLASSES",
    "RUN_CLASSES",
    "Batch",
    "CropParams",
    "ahead",
    "crop_matrix",
    "crop_pictures",
    "disturbed",
    "run_batches",
    "targets_of",
    "warped",
]

FloatArray = npt.NDArray[np.float32]
RUN_CLASSES = ("artery", "vein", "blush", "catheter", "centreline")
FRAME_CLASSES = ("vessel", "centreline")
FEEDER_CLASSES = ("feeder",)
_PLAIN = ("arterial", "reference", "last", "mean")
_TIMED = [k for k, name in enumerate(CHANNELS) if name.endswith("_s") or name in ("arrival", "time_to_peak", "timed")]
_CONTRAST = [k for k, name in enumerate(CHANNELS) if name.endswith("_s") or name in _PLAIN]
_ANATOMY = [CHANNELS.index("anatomy")]
_RESTLESS = [CHANNELS.index("restless")]
_OVER_NOISE = [CHANNELS.index("over_noise")]
# Between a time and none there is no time that means anything.
_NEAREST = {CHANNELS.index(name) for name in ("arrival", "time_to_peak", "timed")}

# Area of a blush from which on it has the weight of its pixels alone, and the most that a pixel of a smaller one has.
_MIDDLING_BLUSH_PX, _MOST_WEIGHT = 1800.0, 4.0
_BLUSH = RUN_CLASSES.index("blush")


class CropParams(Params):
    """How crops are cut and disturbed."""

    size_px: int = Field(256, ge=16, le=1024)
    batch: int = Field(8, ge=1, le=256)
    scale_min: float = Field(0.8, gt=0.1, le=10, description="least zoom")
    scale_max: float = Field(1.3, gt=0.1, le=10, description="greatest zoom")
    turn_deg: float = Field(20.0, ge=0, le=180, description="greatest turn to either side")
    on_target: float = Field(0.7, ge=0, le=1, description="share of crops about a vessel or a blush")
    disturbed: float = Field(0.6, ge=0, le=1, description="share of crops of another gain, and of more noise")
    gain_log_sd: float = Field(0.45, ge=0, le=2, description="scatter of the log of the gain")
    noise: float = Field(0.06, ge=0, le=1, description="greatest noise added to the contrast pictures")
    drop_timing: float = Field(0.1, ge=0, le=1, description="share of crops without any timing")
    drop_anatomy: float = Field(0.1, ge=0, le=1, description="share of crops without anatomy")


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Inputs (N, C, s, s), targets and the weight of each (N, classes, s, s), 0 where not known, all float32."""

    inputs: FloatArray
    targets: FloatArray
    known: FloatArray


def targets_of(labels: npt.NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
    """Return (5, H, W) targets in the order of `RUN_CLASSES` and where each is known, from bits of `Label`."""
    has = {bit: (labels & bit) > 0 for bit in (1, 2, 4, 8, 16, 32, CENTRELINE)}
    artery, vein = has[Label.ARTERY], has[Label.VEIN]
    targets = (artery, vein, has[Label.BLUSH], has[Label.CATHETER], has[CENTRELINE])
    sure = ~has[Label.ARTERY_UNSURE] | artery
    known = (
        sure,
        np.ones_like(vein),
        ~has[Label.BLUSH_UNSURE] | has[Label.BLUSH],
        np.ones_like(artery),
        sure,
    )
    return np.stack(targets).astype(np.float32), np.stack(known).astype(np.float32)


def _place(labels: npt.NDArray[np.uint8], params: CropParams, rng: np.random.Generator) -> tuple[float, float]:
    rows, columns = labels.shape
    if rng.random() < params.on_target:
        # About a blush half of the time, about an artery or a vein the other half, whatever their area.
        present = [bit for bit in (Label.ARTERY, Label.VEIN, Label.BLUSH, Label.BLUSH) if (labels & bit).any()]
        if present:
            bit = present[int(rng.integers(len(present)))]
            where = np.flatnonzero((_one_blush(labels, rng) if bit == Label.BLUSH else labels & bit).ravel())
            row, column = divmod(int(where[int(rng.integers(len(where)))]), columns)
            jitter = rng.uniform(-0.3, 0.3, 2) * params.size_px
            return float(row + jitter[0]), float(column + jitter[1])
    return float(rng.uniform(0, rows)), float(rng.uniform(0, columns))


def _one_blush(labels: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Return one blush, drawn so that small ones come as often as large ones."""
    count, number = cv2.connectedComponents((labels & Label.BLUSH), connectivity=8)
    return np.asarray(number == int(rng.integers(1, count)))


def _small_counts(known: FloatArray, labels: npt.NDArray[np.uint8]) -> FloatArray:
    """Return what is known with more weight on small blushes, which would be nothing beside large ones."""
    _, number, parts, _ = cv2.connectedComponentsWithStats(labels & Label.BLUSH, connectivity=8)
    weight = np.clip(np.sqrt(_MIDDLING_BLUSH_PX / np.maximum(parts[:, cv2.CC_STAT_AREA], 1)), 1, _MOST_WEIGHT)
    weight[0] = 1
    known[_BLUSH] *= weight[number]
    return known


def crop_matrix(
    centre: tuple[float, float], shape: tuple[int, int], params: CropParams, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return (2, 3) from pixels of the crop to pixels of the picture, (column, row), about a `centre` (row, column)."""
    scale = float(np.exp(rng.uniform(np.log(params.scale_min), np.log(params.scale_max))))
    angle = np.deg2rad(rng.uniform(-params.turn_deg, params.turn_deg))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    turn[:, 0] *= 1 if rng.random() < 0.5 else -1
    turn[:, 1] *= 1 if rng.random() < 0.75 else -1
    if rng.random() < 0.25:
        turn = turn[:, ::-1].copy()
    half = (params.size_px - 1) / 2
    reach = half / scale
    row, column = (
        float(np.clip(at, min(reach, (side - 1) / 2), max(side - 1 - reach, (side - 1) / 2)))
        for at, side in zip(centre, shape, strict=True)
    )
    shift = np.array([column, row]) - turn @ np.array([half, half])
    return np.hstack([turn, shift[:, None]])


def warped(image: npt.NDArray[np.generic], matrix: npt.NDArray[np.float64], size: int, *, nearest: bool) -> FloatArray:
    """Return a crop of size x size pixels through a matrix of `crop_matrix`."""
    order = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return np.asarray(
        cv2.warpAffine(
            np.ascontiguousarray(image), matrix, (size, size), flags=order | cv2.WARP_INVERSE_MAP, borderValue=0
        )
    )


def crop_pictures(pictures: npt.NDArray[np.float16], matrix: npt.NDArray[np.float64], size: int) -> FloatArray:
    """Return a crop (C, size, size) of a run's pictures through a matrix of `crop_matrix`; only what it needs is read.

    Times are not averaged.
    """
    corners = matrix @ np.array([[0, 0, 1], [size, 0, 1], [0, size, 1], [size, size, 1]]).T
    low = np.maximum(np.floor(corners.min(axis=1)).astype(int) - 2, 0)
    high = np.ceil(corners.max(axis=1)).astype(int) + 3
    window = tuple(slice(first, max(last, first + 1)) for first, last in zip(low[::-1], high[::-1], strict=True))
    moved = matrix - np.array([[0, 0, low[0]], [0, 0, low[1]]])
    part = np.asarray(pictures[(slice(None), *window)], dtype=np.float32)
    return np.stack([warped(channel, moved, size, nearest=k in _NEAREST) for k, channel in enumerate(part)])


def _crop_run(packed: Packed, params: CropParams, rng: np.random.Generator) -> tuple[FloatArray, ...]:
    labels = np.load(packed.labels)
    pictures = np.load(packed.pictures, mmap_mode="r")
    matrix = crop_matrix(_place(labels, params, rng), labels.shape, params, rng)
    inputs = crop_pictures(pictures, matrix, params.size_px)
    cut = np.asarray(warped(labels, matrix, params.size_px, nearest=True), dtype=np.uint8)
    targets, known = targets_of(cut)
    known = _small_counts(known, cut)
    # Behind a shutter there is nothing to be seen, whatever the truth holds there.
    return disturbed(inputs, params, rng), targets, known * (inputs[-1:] > 0.5)


def disturbed(inputs: FloatArray, params: CropParams, rng: np.random.Generator) -> FloatArray:
    """Return a crop of a run's pictures with another gain (what a display curve does), more noise, and kinds left out.

    It is changed in place.
    """
    if rng.random() < params.disturbed:
        gain = np.float32(np.exp(rng.normal(0, params.gain_log_sd)))
        for k in (*_CONTRAST, *_ANATOMY, *_RESTLESS):
            inputs[k] = np.arcsinh(np.sinh(np.clip(inputs[k], -6, 6)) * gain)
    if rng.random() < params.disturbed:
        level = np.float32(params.noise * rng.random() ** 2)
        for k in (*_CONTRAST, *_OVER_NOISE):
            inputs[k] += level * rng.standard_normal(inputs.shape[1:], dtype=np.float32)
    if rng.random() < params.drop_timing:
        inputs[_TIMED] = 0
    if rng.random() < params.drop_anatomy:
        inputs[_ANATOMY] = 0
    inputs[:-1] *= inputs[-1:] > 0.5
    return inputs


def run_batches(
    packed: Sequence[Packed], params: CropParams, *, seed: int, first_step: int, steps: int
) -> Iterator[Batch]:
    """Yield the batches of steps from `first_step` on; what a step sees depends on seed and step only."""
    return ahead(lambda step: _run_batch(packed, params, seed, step), first_step, steps)


def _run_batch(packed: Sequence[Packed], params: CropParams, seed: int, step: int) -> Batch:
    rng = np.random.default_rng([seed, step])
    chosen = rng.integers(len(packed), size=params.batch)
    parts = [_crop_run(packed[int(k)], params, rng) for k in chosen]
    return Batch(*(np.stack(arrays) for arrays in zip(*parts, strict=True)))


def ahead(make: Callable[[int], Batch], first: int, steps: int) -> Iterator[Batch]:
    """Yield what `make` gives for each step; one thread cuts the next batch while this one is learned from."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(make, first) if first < steps else None
        for step in range(first, steps):
            batch = waiting.result() if waiting is not None else make(step)
            waiting = pool.submit(make, step + 1) if step + 1 < steps else None
            yield batch
