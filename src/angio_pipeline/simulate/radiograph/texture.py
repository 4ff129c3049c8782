"""What simple solids lack: mottle, uneven outlines, the grain of bone, folds of skin and fat."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft

__all__ = ["folds", "grain", "mottle", "uneven"]

Image = npt.NDArray[np.float32]


def mottle(
    shape: tuple[int, int],
    pixel_mm: float,
    rng: np.random.Generator,
    *,
    slope: float = 3.0,
    longest_mm: float = 80.0,
    shortest_mm: float = 0.0,
    stretch: float = 1.0,
) -> Image:
    """Return (H, W) noise of mean 0 and standard deviation 1 whose power falls as frequency to the `slope`.

    Anatomical noise falls as about the cube (doi:10.1118/1.1355308); waves longer than `longest_mm` are
    held level, waves shorter than `shortest_mm` fade. `stretch` draws the pattern out down the picture.
    """
    down = scipy.fft.fftfreq(shape[0], pixel_mm)[:, None] * stretch
    along = scipy.fft.rfftfreq(shape[1], pixel_mm)
    frequency = np.sqrt(down**2 + along**2 + 1 / longest_mm**2)
    weight = frequency ** (-slope / 2) * np.exp(-2 * (frequency * shortest_mm) ** 2)
    white = scipy.fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    image = scipy.fft.irfft2(white * weight.astype(np.float32), s=shape)
    return np.asarray((image - image.mean()) / image.std(), np.float32)


def uneven(image: Image, pixel_mm: float, rng: np.random.Generator, *, sd_mm: float, wave_mm: float) -> Image:
    """Return `image` with its outlines displaced by smooth random waves of `wave_mm` and `sd_mm`."""
    rows, columns = image.shape
    step = max(1, round(wave_mm / 4 / pixel_mm))
    small = rows // step + 3, columns // step + 3
    field = []
    for _ in range(2):
        coarse = cv2.GaussianBlur(rng.standard_normal(small, dtype=np.float32), (0, 0), 1.3)
        coarse = coarse * np.float32(sd_mm / pixel_mm / max(float(coarse.std()), 1e-6))
        large = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
        field.append(large)
    at_row = np.arange(rows, dtype=np.float32)[:, None] + field[0]
    at_col = np.arange(columns, dtype=np.float32)[None] + field[1]
    return np.asarray(cv2.remap(image, at_col, at_row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def grain(shape: tuple[int, int], pixel_mm: float, rng: np.random.Generator, *, sd: float) -> Image:
    """Return (H, W) factors about 1 that make bone uneven: patches, and fine struts along the long axis."""
    struts = mottle(shape, pixel_mm, rng, slope=1.6, longest_mm=4.0, stretch=0.5)
    patches = mottle(shape, pixel_mm, rng, slope=3.0, longest_mm=25.0)
    return np.asarray(np.clip(1 + sd * (0.75 * struts + 0.65 * patches), 0.3, 1.9), np.float32)


def folds(shape: tuple[int, int], pixel_mm: float, rng: np.random.Generator, *, count: int, depth: float) -> Image:
    """Return (H, W) attenuation of `count` folds and fat planes: long arcs, sharp on one side, fading on the other."""
    rows, columns = shape
    row, col = np.ogrid[:rows, :columns]
    image = np.zeros(shape, np.float32)
    for _ in range(count):
        radius = rng.uniform(60, 260) / pixel_mm
        heading = rng.uniform(0, 2 * np.pi)
        through = rng.uniform(0.1, 0.9, 2) * [rows, columns]
        centre = through + radius * np.array([np.sin(heading), np.cos(heading)])
        inside = radius - np.sqrt((row - centre[0]) ** 2 + (col - centre[1]) ** 2).astype(np.float32)
        width, edge = rng.uniform(4, 16) / pixel_mm, rng.uniform(0.4, 1.2) / pixel_mm
        # Each arc comes and goes along its length.
        fade = mottle((rows // 8 + 1, columns // 8 + 1), 8 * pixel_mm, rng, longest_mm=60.0)
        fade = np.clip(cv2.resize(fade, (columns, rows), interpolation=cv2.INTER_LINEAR), 0, 1.5)
        image += depth * rng.uniform(0.4, 1.0) * fade * np.exp(-np.maximum(inside, 0) / width) * _step(inside / edge)
    return image


def _step(x: Image) -> Image:
    return np.asarray(0.5 * (1 + np.tanh(np.clip(x, -20, 20))), np.float32)
