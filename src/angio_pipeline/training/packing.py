"""What a network is shown, ready for reading in crops: pictures and labels of each example as plain arrays.

An example (`examples`) holds a whole subtracted run; its pictures are made once and lie beside it, so that
training reads a crop in a millisecond and a change of pictures does not ask for another simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from skimage.morphology import skeletonize

from angio_pipeline import perfusion, vessels
from angio_pipeline.config import PipelineConfig
from angio_pipeline.training.examples import Label, TumourLabels, load_labels, load_subtracted, load_tumours

__all__ = ["Packed", "load_packed_tumours", "pack_run", "packed_paths"]

CENTRELINE = 64
# As OpenCV counts, which draws two pixels more.
_LINE_PX = 3


@dataclass(frozen=True, slots=True)
class Packed:
    """Where one example's arrays lie.

    Pictures (C, h, w) float16; labels (h, w) uint8; frame (3, H, W) float16: the reference frame's attenuation, its
    contrast, and how far that stands out of the noise; tumours (N, 3, h, w) bool in bits along the last axis
    (`load_packed_tumours`): each tumour that is visible at this size, what feeds it alone, and what may, if it is seen.
    """

    pictures: Path
    labels: Path
    frame: Path
    tumours: Path

    @property
    def complete(self) -> bool:
        """Whether all are there."""
        return all(path.is_file() for path in (self.pictures, self.labels, self.frame, self.tumours))


def packed_paths(folder: Path, example: Path) -> Packed:
    """Return where the arrays of an example lie in `folder`."""
    stem = example.stem
    return Packed(*(folder / f"{stem}.{part}.npy" for part in ("pictures", "labels", "frame", "tumours")))


def pack_run(example: Path, folder: Path, *, config: PipelineConfig | None = None) -> Packed:
    """Write the arrays of one example into `folder` and return where; what is there already stays."""
    packed = packed_paths(folder, example)
    if packed.complete:
        return packed
    folder.mkdir(parents=True, exist_ok=True)
    sub = load_subtracted(example)
    maps = perfusion.measure(sub, params=(config or PipelineConfig()).perfusion)
    pictures = vessels.picture_run(sub, maps).channels
    contrast = sub.frames[sub.reference_frame]
    frame = np.stack([sub.attenuation, contrast, contrast / max(sub.noise_sd, 1e-6)])
    _save(packed.tumours, np.packbits(_tumours_at(load_tumours(example), pictures.shape[1:]), axis=-1))
    # Labels last: a stopped run leaves an example incomplete, never half-labelled.
    _save(packed.pictures, pictures.astype(np.float16))
    _save(packed.frame, np.clip(frame, -60000, 60000).astype(np.float16))
    _save(packed.labels, _labels_at(load_labels(example), pictures.shape[1:]))
    return packed


def _labels_at(labels: npt.NDArray[np.uint8], shape: Sequence[int]) -> npt.NDArray[np.uint8]:
    if labels.shape != tuple(shape):
        labels = np.asarray(cv2.resize(labels, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST), np.uint8)
    out = labels.copy()
    out[skeletonize((labels & Label.ARTERY) > 0)] |= CENTRELINE
    return out


def load_packed_tumours(packed: Packed, columns: int) -> npt.NDArray[np.bool_]:
    """Return (N, 3, h, w) tumours, feeders and faint feeders of pictures that are `columns` wide."""
    return np.unpackbits(np.load(packed.tumours), axis=-1, count=columns).astype(np.bool_)


def _tumours_at(tumours: Sequence[TumourLabels], shape: Sequence[int]) -> npt.NDArray[np.bool_]:
    rows, columns = shape
    out = np.zeros((len(tumours), 3, rows, columns), np.bool_)
    for k, tumour in enumerate(tumours):
        mask = cv2.resize(tumour.mask.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST)
        scale = (columns / tumour.mask.shape[1], rows / tumour.mask.shape[0])
        out[k] = np.stack([mask, *(_drawn(lines, scale, (rows, columns)) for lines in (tumour.feeders, tumour.faint))])
    # At the edge of a frame there may be one of few pixels, and none of them at this size.
    return out[out[:, 0].any(axis=(1, 2))]


def _drawn(
    lines: Sequence[npt.NDArray[np.float64]], scale: tuple[float, float], shape: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Return the lines, (row, col) each, as wide as a vessel of the working size."""
    image = np.zeros(shape, np.uint8)
    for line in lines:
        # Drawn to a sixteenth of a pixel.
        points = np.rint(16 * ((line[:, ::-1] + 0.5) * scale - 0.5)).astype(np.int32)
        cv2.polylines(image, [points], isClosed=False, color=1, thickness=_LINE_PX, lineType=cv2.LINE_8, shift=4)
    return image


def _save(path: Path, array: npt.NDArray[np.generic]) -> None:
    hidden = path.with_suffix(".unfinished")
    with hidden.open("wb") as stream:
        np.save(stream, array)
    hidden.rename(path)
