"""The run that subtraction is measured on: drawn from formulas, so that motion and contrast are known exactly.

A body with spine, ribs, bowel gas and fine texture; a branching tree that fills after the first frames; breathing,
smooth in space and time, with a jerk; Poisson noise; 12 bits. It borrows nothing from the program it judges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import expit

FloatArray = npt.NDArray[np.float32]
Array = npt.NDArray[np.floating]

WHITE_LEVEL = 4095
_PAD = 40
_SUPERSAMPLING = 2


@dataclass(frozen=True, slots=True)
class CaseParams:
    """What the case is like; lengths are in pixels of a 1024-pixel frame and shrink with it."""

    size_px: int = 1024
    frames: int = 20
    mask_frames: int = 3
    photons_behind_body: float = 20000.0
    smooth_px: float = 8.0
    jerk_px: float = 6.0
    bending: float = 1.2
    period_frames: float = 13.0
    still_bone: bool = False
    seed: int = 4


@dataclass(frozen=True, slots=True, eq=False)
class DsaCase:
    """A run and its truth.

    Attributes
    ----------
    stored : ndarray, (T, H, W) uint16
        Proportional to the beam, 0 to `WHITE_LEVEL`.
    field : ndarray, (T, H, W, 2) float32
        Where in frame 0 (row, col offset) the anatomy stands that each pixel of a frame shows.
    contrast : ndarray, (T, H, W) float32
        Attenuation by contrast in each frame.
    filled : ndarray, (T,) bool
        Frames whose contrast is measured.
    """

    stored: npt.NDArray[np.uint16]
    field: FloatArray
    contrast: FloatArray
    filled: npt.NDArray[np.bool_]
    mask_frames: tuple[int, ...]


def make_case(params: CaseParams, *, translation_only: bool = False) -> DsaCase:
    """Return the case; with `translation_only` all of the anatomy moves alike, by the mean of the field."""
    rng = np.random.default_rng(params.seed)
    size = params.size_px
    soft, bone = _anatomy(size, rng)
    trees = list(_tree(size, rng))
    level = float(np.median(soft + bone))
    gain = params.photons_behind_body / (WHITE_LEVEL * np.exp(-level))
    stored = np.empty((params.frames, size, size), np.uint16)
    fields = np.empty((params.frames, size, size, 2), np.float32)
    contrast = np.empty((params.frames, size, size), np.float32)
    for t in range(params.frames):
        fields[t] = _field(t, params, translation_only=translation_only)
        at = _grid(size) + fields[t]
        drawn = np.sum([amount * image for image, amount in _filling(trees, t, params)], axis=0)
        contrast[t] = _sample(drawn, at)
        behind = _sample(bone, _grid(size) if params.still_bone else at)
        beam = WHITE_LEVEL * np.exp(-(_sample(soft, at) + behind + contrast[t]))
        stored[t] = np.clip(np.round(rng.poisson(beam * gain) / gain), 0, WHITE_LEVEL)
    mean = contrast.mean(axis=(1, 2))
    return DsaCase(stored, fields, contrast, mean > 0.3 * mean.max(), tuple(range(params.mask_frames)))


def _grid(size: int) -> FloatArray:
    rows, cols = np.mgrid[:size, :size].astype(np.float32)
    return np.stack([rows, cols], axis=-1)


def _sample(padded: FloatArray, at: FloatArray) -> FloatArray:
    """Return a drawing, sharper than a frame, as a pixel grid at `at` sees it."""
    scaled = (at + _PAD + 0.5) * _SUPERSAMPLING - 0.5
    # A pixel is a little wider than the drawing's: the blur of a detector, and no aliasing.
    blurred = cv2.GaussianBlur(padded, (0, 0), 0.6 * _SUPERSAMPLING)
    return np.asarray(cv2.remap(blurred, scaled[..., 1], scaled[..., 0], cv2.INTER_CUBIC), np.float32)


def _canvas(size: int) -> tuple[FloatArray, FloatArray]:
    """Return rows and columns of the drawing in frame pixels, 0 at the frame's first pixel."""
    n = (size + 2 * _PAD) * _SUPERSAMPLING
    line = (np.arange(n, dtype=np.float32) + 0.5) / _SUPERSAMPLING - 0.5 - _PAD
    return np.meshgrid(line, line, indexing="ij", sparse=True)


def _anatomy(size: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return the attenuation of soft parts and of bone, on the padded, finer grid."""
    rows, cols = _canvas(size)
    scale = size / 1024
    x, y = (cols / size - 0.5), (rows / size - 0.5)
    body = 2.0 + 0.5 * np.sqrt(np.clip(1 - (x / 0.75) ** 2 - (y / 1.1) ** 2, 0, None))
    liver = 0.35 * expit((1 - np.hypot((x + 0.12) / 0.42, (y + 0.1) / 0.36)) * 40)
    soft = body + liver + _gas(x, y, rng)
    soft = soft + _texture(soft.shape, scale, rng)
    return np.asarray(soft, dtype=np.float32), np.add(_spine(x, y), _ribs(x, y), dtype=np.float32)


def _spine(x: Array, y: Array) -> FloatArray:
    width = 0.075 * (1 + 0.12 * np.cos(2 * np.pi * y / 0.19))
    column = expit((width - np.abs(x - 0.16)) / 0.003)
    discs = expit((0.078 - np.abs(np.mod(y, 0.19) - 0.095)) / 0.004)
    return np.asarray(0.45 * column * (0.55 + 0.45 * discs), dtype=np.float32)


def _ribs(x: Array, y: Array) -> FloatArray:
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    for k in range(6):
        centre = -0.55 + 0.2 * k + 0.55 * (x - 0.1) ** 2 + 0.18 * np.abs(x - 0.16)
        off = np.abs(y - centre)
        # A shell with a denser rim, as a tube of cortical bone shows.
        inside = expit((0.024 - off) / 0.0025)
        rim = np.exp(-(((off - 0.021) / 0.005) ** 2))
        total += 0.16 * inside + 0.12 * rim
    return total


def _gas(x: Array, y: Array, rng: np.random.Generator) -> FloatArray:
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    for _ in range(7):
        r, c, a = rng.uniform(0.22, 0.45), rng.uniform(-0.4, 0.35), rng.uniform(0.03, 0.07)
        distance = np.hypot((x - c) / (1.4 * a), (y - r) / a)
        total -= (0.35 * expit((1 - distance) * 18)).astype(np.float32)
    return total


def _texture(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> FloatArray:
    """Return fat planes and trabeculae: fields of several grains, 2 to 40 px."""
    total = np.zeros(shape, np.float32)
    for grain_px, amplitude in ((2.0, 0.012), (6.0, 0.02), (16.0, 0.03), (40.0, 0.05)):
        sigma = grain_px * scale * _SUPERSAMPLING
        step = max(1, int(sigma / 3))
        small = rng.standard_normal((shape[0] // step + 8, shape[1] // step + 8)).astype(np.float32)
        smooth = cv2.GaussianBlur(small, (0, 0), sigma / step)
        grown = cv2.resize(smooth / smooth.std(), None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += amplitude * grown[: shape[0], : shape[1]]
    return total


def _tree(size: int, rng: np.random.Generator) -> Iterator[tuple[FloatArray, float]]:
    """Yield an image of contrast for each order of branches, and its delay in frames."""
    n = (size + 2 * _PAD) * _SUPERSAMPLING
    stack = [((0.80 * size, 0.56 * size), -np.pi / 2, 0.0105 * size, 0)]
    images = [np.zeros((n, n), np.float32) for _ in range(7)]
    while stack:
        start, angle, width, order = stack.pop()
        if order >= len(images) or width < 1.2 * size / 1024:
            continue
        length = size * (0.2 * 0.76**order) * rng.uniform(0.8, 1.2)
        points, heading = [start], angle
        for _ in range(12):
            heading += rng.normal(0, 0.09)
            r, c = points[-1]
            points.append((r + length / 12 * np.sin(heading), c + length / 12 * np.cos(heading)))
        _draw(images[order], points, width)
        for side in (-1, 1):
            stack.append(
                (points[-1], heading + side * rng.uniform(0.3, 0.65), width * rng.uniform(0.68, 0.82), order + 1)
            )
    for order, image in enumerate(images):
        yield image, 0.55 * order


def _draw(image: FloatArray, points: list[tuple[float, float]], width_px: float) -> None:
    """Draw a round vessel: the chord through a cylinder, 0.055 attenuation a pixel of depth at full filling."""
    path = np.array(
        [[(c + _PAD + 0.5) * _SUPERSAMPLING - 0.5, (r + _PAD + 0.5) * _SUPERSAMPLING - 0.5] for r, c in points]
    )
    reach = int(np.ceil(width_px * _SUPERSAMPLING)) + 3
    low = np.maximum(np.floor(path.min(axis=0)).astype(int) - reach, 0)
    high = np.minimum(np.ceil(path.max(axis=0)).astype(int) + reach, image.shape[0])
    if (high <= low).any():
        return
    line = np.full((high[1] - low[1], high[0] - low[0]), 255, np.uint8)
    cv2.polylines(line, [np.round((path - low) * 16).astype(np.int32)], False, 0, 1, cv2.LINE_8, 4)
    distance = cv2.distanceTransform(line, cv2.DIST_L2, 5) / _SUPERSAMPLING
    chord = 2 * np.sqrt(np.clip((width_px / 2) ** 2 - distance**2, 0, None))
    window = image[low[1] : high[1], low[0] : high[0]]
    np.maximum(window, (0.055 * chord).astype(np.float32), out=window)


def _filling(trees: list[tuple[FloatArray, float]], t: int, params: CaseParams) -> Iterator[tuple[FloatArray, float]]:
    for image, delay in trees:
        since = t - params.mask_frames - delay
        amount = 0.0 if since <= 0 else (1 - np.exp(-since / 0.8)) * np.exp(-max(0.0, since - 5) / 5)
        yield image, float(amount)


def _field(t: int, params: CaseParams, *, translation_only: bool) -> FloatArray:
    """Return where in frame 0 the anatomy of frame t stands: breathing that fades upwards, and a jerk."""
    size, scale = params.size_px, params.size_px / 1024
    swing = params.smooth_px * scale * (1 - np.cos(2 * np.pi * t / params.period_frames)) / 2
    jerk = params.jerk_px * scale * (1.0 if t in (8, 9) else 0.35 if t == 10 else 0.0)
    y, x = np.meshgrid(*(np.linspace(-0.5, 0.5, size, dtype=np.float32),) * 2, indexing="ij", sparse=True)
    bend = 0.0 if translation_only else params.bending
    rows = swing * (1 + bend * (1.2 * y - 0.5 * np.cos(3 * x + 1) + 0.4 * np.sin(5 * y))) + 0.6 * jerk
    cols = 0.35 * swing * (1 + bend * (2.0 * x - np.sin(4 * y))) + jerk * (0.8 + 0.3 * bend * np.cos(3 * y))
    return -np.stack(np.broadcast_arrays(rows, cols), axis=-1).astype(np.float32)
