"""Frames, masks and maps as the page asks for them: PNG to look at, or 16 bits to window in the browser."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from angio_pipeline.outputs.schemas import FeederDocument, RunDocument
from angio_pipeline.review.answers import CurveAnswer, CurveLine, Layer, Window
from angio_pipeline.review.frames import Prepared
from angio_pipeline.review.problems import not_found, unusable
from angio_pipeline.review.results import below

__all__ = [
    "MAPS",
    "curve_at",
    "grey_png",
    "map_picture",
    "mask_names",
    "mask_of",
    "mask_png",
    "region_curves",
    "stored_frame",
]

MAPS = ("arrival_s", "time_to_peak_s", "peak", "auc", "wash_in")
_SHUNT_PX = 8 / 512
_LEVELS = 65535
Mask = npt.NDArray[np.bool_]
Stored = npt.NDArray[np.uint16]


def _png(pixels: npt.NDArray[Any]) -> bytes:
    import cv2

    done, encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not done:
        raise OSError("Expected to encode a picture, found that the encoder failed; check memory.")
    return bytes(encoded.tobytes())


def stored_frame(prepared: Prepared, layer: Layer, number: int, shift_px: tuple[float, float]) -> Stored:
    """Return one frame of a layer, (H, W) uint16; the mask of a subtraction is moved down and right by `shift_px`.

    Raises
    ------
    ReviewProblem
        404, when the run has no such layer or frame.
    """
    told = prepared.info["layers"].get(layer.value)
    if told is None:
        raise not_found("this layer")
    frames = prepared.array("attenuation" if layer is Layer.SUBTRACTED else layer.value)
    if not 0 <= number < len(frames):
        raise not_found("this frame")
    if layer is not Layer.SUBTRACTED:
        return np.asarray(frames[number])
    live = frames[number] * np.float32(told["attenuation_slope"]) + np.float32(told["attenuation_intercept"])
    difference = live - _moved(np.asarray(prepared.array("mask")), shift_px)
    return np.asarray(np.clip(np.rint((difference - told["intercept"]) / told["slope"]), 0, _LEVELS), dtype=np.uint16)


def _moved(mask: npt.NDArray[np.float32], shift_px: tuple[float, float]) -> npt.NDArray[np.float32]:
    if shift_px == (0.0, 0.0):
        return mask
    import cv2

    row, col = shift_px
    matrix = np.array([[1, 0, col], [0, 1, row]], dtype=np.float64)
    moved = cv2.warpAffine(mask, matrix, mask.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.float32)


def grey_png(stored: Stored, slope: float, intercept: float, window: Window, *, inverted: bool) -> bytes:
    """Return (H, W) values as an 8-bit PNG: the window's ends black and white, or white and black."""
    low = window.center - window.width / 2
    share = (stored * np.float32(slope) + np.float32(intercept - low)) / np.float32(max(window.width, 1e-9))
    grey = np.clip(share, 0, 1) * 255
    return _png((255 - grey if inverted else grey).astype(np.uint8))


def mask_png(mask: Mask) -> bytes:
    """Return a mask as PNG, 0 and 255."""
    return _png(mask.astype(np.uint8) * np.uint8(255))


# --- masks ---------------------------------------------------------------------------------------


def mask_names(document: RunDocument) -> list[str]:
    """Return what masks can be asked for; each tumour and each feeder has its own beside that of all of them."""
    vessels = document.vessels
    names = ["artery"]
    names += ["vein"] if vessels.vein_mask else []
    names += ["catheter"] if vessels.catheter_mask else []
    names += ["tumours", *(tumour.id for tumour in document.tumours)] if document.tumours else []
    feeders = [feeder.id for tumour in document.tumours for feeder in tumour.feeders]
    names += ["feeders", *feeders] if feeders else []
    return names + (["shunts"] if document.shunts else [])


def mask_of(document: RunDocument, folder: Path, name: str) -> Mask:
    """Return one mask, (H, W) bool. A feeder is drawn as wide as it was measured; a shunt is a disc of fixed size.

    Raises
    ------
    ReviewProblem
        404, when there is none of that name.
    """
    size, vessels = (document.image.rows, document.image.columns), document.vessels
    files = {"artery": vessels.artery_mask, "vein": vessels.vein_mask, "catheter": vessels.catheter_mask}
    if name in files:
        return _read_mask(folder, files[name], size)
    tumours = [one for one in document.tumours if name in ("tumours", one.id)]
    feeders = [one for tumour in document.tumours for one in tumour.feeders if name in ("feeders", one.id)]
    if tumours:
        return np.asarray(np.any([_read_mask(folder, one.mask, size) for one in tumours], axis=0))
    if feeders:
        return np.asarray(np.any([_drawn(one, size) for one in feeders], axis=0))
    if name == "shunts" and document.shunts:
        return _discs([(one.row, one.col) for one in document.shunts], size, _SHUNT_PX * max(size))
    raise not_found("this mask")


def _read_mask(folder: Path, name: str | None, size: tuple[int, int]) -> Mask:
    import cv2

    if name is None:
        raise not_found("this mask")
    content = np.frombuffer(below(folder, name).read_bytes(), np.uint8)
    pixels = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if content.size else None
    if pixels is None or pixels.shape != size:
        raise not_found("a mask that can be read")
    return np.asarray(pixels > 127)


def _drawn(feeder: FeederDocument, size: tuple[int, int]) -> Mask:
    import cv2

    canvas = np.zeros(size, np.uint8)
    points = np.rint(np.array(feeder.centreline).reshape(-1, 2)[:, ::-1] * 16).astype(np.int32)
    width = max(1, round(feeder.diameter_px or 1))
    cv2.polylines(canvas, [points], False, 255, width, cv2.LINE_8, shift=4)
    return np.asarray(canvas > 0)


def _discs(points: list[tuple[float, float]], size: tuple[int, int], radius_px: float) -> Mask:
    rows, cols = np.ogrid[: size[0], : size[1]]
    mask = np.zeros(size, dtype=np.bool_)
    for row, col in points:
        mask |= np.hypot(rows - row, cols - col) <= radius_px
    return mask


# --- maps ----------------------------------------------------------------------------------------


def map_picture(folder: Path, name: str, *, raw: bool) -> tuple[bytes, dict[str, str]]:
    """Return a map of perfusion with the headers that tell how to read it; undefined pixels are clear, or 0.

    Raises
    ------
    ReviewProblem
        404, when there is no such map.
    """
    import cv2

    values = _read_map(folder, name)
    known = np.isfinite(values)
    low, high = (float(v) for v in np.percentile(values[known], (1, 99))) if known.any() else (0.0, 1.0)
    high = max(high, low + 1e-9)
    share = np.clip((np.nan_to_num(values, nan=low) - low) / (high - low), 0, 1)
    told = {"X-Rows": str(values.shape[0]), "X-Columns": str(values.shape[1]), "X-Low": repr(low), "X-High": repr(high)}
    if raw:
        slope = (high - low) / (_LEVELS - 1)
        stored = np.where(known, np.rint(share * (_LEVELS - 1)) + 1, 0).astype("<u2")
        return stored.tobytes(), {**told, "X-Slope": repr(slope), "X-Intercept": repr(low - slope)}
    colours = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return _png(np.dstack([colours, known.astype(np.uint8) * np.uint8(255)])), told


def _read_map(folder: Path, name: str) -> npt.NDArray[np.float32]:
    path = folder / "maps.npz"
    if name not in MAPS or not path.is_file():
        raise not_found("this map")
    try:
        with np.load(path, allow_pickle=False) as maps:
            return np.asarray(maps[name], dtype=np.float32)
    except (OSError, ValueError, KeyError):
        raise not_found("a map that can be read") from None


# --- curves --------------------------------------------------------------------------------------


def curve_at(document: RunDocument, prepared: Prepared, point: tuple[float, float], radius_px: float) -> CurveAnswer:
    """Return the curve of the disc about a point, at least of the pixel itself.

    Raises
    ------
    ReviewProblem
        422, when the point lies outside the frame.
    """
    size = (document.image.rows, document.image.columns)
    row, col = point
    if not (-0.5 <= row < size[0] - 0.5 and -0.5 <= col < size[1] - 0.5):
        raise unusable("Expected a point in the frame, found one outside it.")
    mask = _discs([point], size, radius_px)
    mask[math.floor(row + 0.5), math.floor(col + 0.5)] = True
    return region_curves(document, prepared, {f"({row:.0f}, {col:.0f})": mask})


def region_curves(document: RunDocument, prepared: Prepared, regions: dict[str, Mask]) -> CurveAnswer:
    """Return the mean of the motion-corrected frames over each region, attenuation; pixels out of view do not count."""
    told, frames = prepared.info["layers"]["corrected"], prepared.array("corrected")
    valid = np.asarray(prepared.array("valid"))
    curves, pixels = [], 0
    for label, mask in regions.items():
        rows, cols = np.nonzero(mask & valid)
        pixels += len(rows)
        means = [float(frame[rows, cols].mean()) if len(rows) else math.nan for frame in frames]
        values = [told["slope"] * mean + told["intercept"] for mean in means]
        curves.append(CurveLine(label=label, values=[round(v, 6) if math.isfinite(v) else None for v in values]))
    unit = "relative contrast" if "DISPLAY_VALUES" in document.quality else "attenuation (natural logarithm)"
    return CurveAnswer(times_s=document.image.times_s, unit=unit, pixels=pixels, curves=curves)
