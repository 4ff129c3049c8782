"""Single angiographic images for `angio segment`: PNG, TIFF, or DICOM, of which one frame is taken."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.runs import AngioRun, Quantity
from angio_pipeline.dsa import MaskParams, choose_mask, set_aside_broken
from angio_pipeline.ingest.discovery import discover
from angio_pipeline.ingest.films import read_film
from angio_pipeline.ingest.limits import Limits
from angio_pipeline.ingest.runs import read_run
from angio_pipeline.ingest.workspace import temporary_workspace

__all__ = ["SingleImage", "read_image"]

FloatArray = npt.NDArray[np.float32]
_PICTURES = {".png", ".tif", ".tiff"}


@dataclass(frozen=True, slots=True, eq=False)
class SingleImage:
    """One image (H, W) float32 in which contrast is dark, NaN where nothing is in view; `frame` counts from 0."""

    pixels: FloatArray
    frame: int | None = None


def read_image(path: Path, *, frame: int | None = None) -> SingleImage:
    """Return an image; of a DICOM run the given frame, or the one that holds the most contrast.

    Colour pictures are taken as grey. In PNG and TIFF contrast has to be dark, as in an ordinary angiogram.

    Raises
    ------
    InputRefused
        When the file cannot be read as an image; `reason` says why.
    """
    if not path.is_file():
        found = "a folder; name the files in it" if path.is_dir() else "nothing there"
        raise InputRefused(f"Expected an image, found {found}.", reason="not_found")
    if path.stat().st_size == 0:
        raise InputRefused("Expected an image, found an empty file.", reason="empty_file")
    if path.suffix.lower() in _PICTURES:
        return SingleImage(_read_picture(path))
    return _read_dicom(path, frame)


def _read_picture(path: Path) -> FloatArray:
    _check_picture_size(path, Limits().frame_px)
    content = np.fromfile(path, dtype=np.uint8)
    try:
        image = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise _undecoded()
    grey = np.asarray(image, dtype=np.float32)
    return grey[..., :3].mean(axis=2) if grey.ndim == 3 and grey.shape[2] >= 3 else grey.reshape(image.shape[:2])


def _check_picture_size(path: Path, most_px: int) -> None:
    """Refuse what a picture's header claims before anything of it is unpacked."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(path, formats=("PNG", "TIFF")) as picture:
                width, height = picture.size
    except PIL.Image.DecompressionBombError:
        raise _too_large(most_px, "a far larger one") from None
    except Exception:  # a broken picture makes Pillow raise errors of almost any type
        raise _undecoded() from None
    if width * height > most_px:
        raise _too_large(most_px, f"{height} x {width}")


def _too_large(most_px: int, found: str) -> InputRefused:
    return InputRefused(f"Expected an image of at most {most_px} pixels, found {found}.", reason="too_large")


def _undecoded() -> InputRefused:
    return InputRefused("Expected a PNG or TIFF image, found one that cannot be decoded.", reason="unreadable")


def _read_dicom(path: Path, frame: int | None) -> SingleImage:
    with temporary_workspace() as workspace:
        found = discover([path], workspace=workspace)
        if found.runs:
            run = read_run(found.runs[0])
            chosen = _fullest(run) if frame is None else _checked(frame, len(run.frames))
            return SingleImage(_contrast_dark(run.frames[chosen], run.quantity, run.valid), chosen)
        if found.films:
            film = read_film(found.films[0])
            return SingleImage(_contrast_dark(film.image, film.quantity, film.valid))
    if found.refusals and found.refusals[0].reason != "not_dicom":
        raise InputRefused(found.refusals[0].sentence, reason=found.refusals[0].reason)
    raise InputRefused(
        "Expected PNG, TIFF or a DICOM angiogram or film, found another kind of file.", reason="not_image"
    )


def _checked(frame: int, count: int) -> int:
    if not 0 <= frame < count:
        raise InputRefused(f"Expected a frame from 1 to {count}, found {frame + 1}.", reason="no_such_frame")
    return frame


def _contrast_dark(image: npt.NDArray[np.generic], quantity: Quantity, valid: npt.NDArray[np.bool_]) -> FloatArray:
    plain = np.asarray(image, dtype=np.float32)
    plain = -plain if quantity is Quantity.ATTENUATION else plain
    return np.where(valid, plain, np.float32(np.nan))


def _fullest(run: AngioRun) -> int:
    """Return the frame that holds the most contrast, as the subtraction finds it."""
    whole = set_aside_broken(run)
    filling = np.array(choose_mask(whole, params=MaskParams()).filling)
    filling[list(whole.broken)] = -np.inf
    return int(np.argmax(filling))
