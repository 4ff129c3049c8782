"""Plain pictures: masks, grey frames before and after motion correction, thumbnails, aligned slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.followups import AlignedView
from angio_pipeline.outputs.files import write_bytes

__all__ = [
    "grey_picture",
    "grey_vessels",
    "mask_outlines",
    "resized",
    "slice_picture",
    "vessel_window",
    "write_mask",
    "write_png",
]

Pixels = npt.NDArray[np.uint8]
Window = tuple[float, float]


def write_png(path: Path, pixels: Pixels) -> None:
    """Write grey (H, W) or RGB (H, W, 3) pixels as PNG, whole or not at all."""
    write_bytes(path, png_bytes(pixels))


def png_bytes(pixels: Pixels) -> bytes:
    """Return grey (H, W) or RGB (H, W, 3) pixels as PNG.

    Raises
    ------
    OSError
        When the encoder fails.
    """
    import cv2

    ordered = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., ::-1])
    done, encoded = cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 4])
    if not done:
        raise OSError(f"Expected to encode a picture of {pixels.shape}, the PNG encoder failed; check memory.")
    return encoded.tobytes()


def write_mask(path: Path, mask: npt.NDArray[np.bool_]) -> None:
    """Write a mask as 8-bit PNG, 0 or 255, of the frame's size."""
    write_png(path, mask.astype(np.uint8) * np.uint8(255))


def vessel_window(contrast: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> Window:
    """Return the contrast shown as lightest and as darkest, in the units of `contrast`.

    The scale is set by the vessels (99.8th percentile) and by the spread of the background, so
    that an empty run shows its noise in light grey instead of stretching it to black.
    """
    values = contrast[valid & np.isfinite(contrast)]
    if not values.size:
        return -1.0, 1.0
    middle, dark = (float(v) for v in np.percentile(values, (50, 99.8)))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    reach = max(dark - middle, 8 * spread, 1e-6)
    return middle - 0.3 * reach, middle + reach


def grey_vessels(contrast: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], window: Window) -> Pixels:
    """Return (H, W) 8-bit grey with vessels dark on light, as classical subtraction shows them."""
    low, high = window
    share = np.clip((np.nan_to_num(contrast, nan=low) - low) / (high - low), 0, 1)
    grey = 245.0 - 225.0 * share
    return np.where(valid, grey, 12.0).astype(np.uint8)


def resized(pixels: Pixels, longest: int, *, enlarge: bool = False) -> Pixels:
    """Return the picture with its longer side at `longest` pixels; smaller ones stay unless `enlarge`."""
    import cv2

    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1 and not enlarge:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resampled = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return np.asarray(resampled, dtype=np.uint8)


def grey_picture(image: npt.NDArray[np.float32], window: Window, *, longest: int) -> Pixels:
    """Return (H, W) 8-bit grey, the window's ends black and white, NaN black; the longer side at `longest` pixels."""
    low, high = window
    share = np.clip((np.nan_to_num(image, nan=low) - low) / max(high - low, 1e-6), 0, 1)
    return resized((share * 255).astype(np.uint8), longest, enlarge=True)


def slice_picture(view: AlignedView, window: Window, *, longest: int = 360) -> Pixels:
    """Return (H, W, 3) RGB of an aligned slice: the deposit outlined in orange, the lesion in blue dots.

    Parameters
    ----------
    view : AlignedView
    window : (low, high)
        Shown as black and white; the same for every date of a lesion.
    longest : int
        Longer side of the picture, pixels.
    """
    import cv2

    grey = grey_picture(view.image, window, longest=longest)
    picture = np.repeat(grey[..., None], 3, axis=2)
    scale = picture.shape[0] / view.image.shape[0]
    for contour in mask_outlines(view.lesion, scale):
        for point in contour[::4]:
            cv2.circle(picture, (int(point[0]), int(point[1])), 1, (86, 180, 233), -1, cv2.LINE_AA)
    cv2.polylines(picture, mask_outlines(view.outline, scale), True, (230, 159, 0), 2, cv2.LINE_AA)
    return picture


def mask_outlines(mask: npt.NDArray[np.bool_], scale: float) -> Sequence[npt.NDArray[np.int32]]:
    """Return the outlines of a mask enlarged by `scale`, each as (K, 2) int32 points (x, y)."""
    import cv2

    height, width = (max(1, round(side * scale)) for side in mask.shape)
    large = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    if scale > 1:  # round off the steps of the small pixels
        large = cv2.GaussianBlur(large, (0, 0), 0.8 * scale)
    found, _ = cv2.findContours((large > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [np.asarray(contour, dtype=np.int32).reshape(-1, 2) for contour in found]
