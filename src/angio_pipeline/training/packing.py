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
from angio_pipeline.training.examples import Label, load_labels, load_subtracted

__all__ = ["Packed", "pack_run", "packed_paths"]

CENTRELINE = 64


@dataclass(frozen=True, slots=True)
class Packed:
    """Where one example's arrays lie.

    Pictures (C, h, w) float16; labels (h, w) uint8; frame (3, H, W) float16: the reference frame's attenuation, its
    contrast, and how far that stands out of the noise.
    """

    pictures: Path
    labels: Path
    frame: Path

    @property
    def complete(self) -> bool:
        """Whether all three are there."""
        return self.pictures.is_file() and self.labels.is_file() and self.frame.is_file()


def packed_paths(folder: Path, example: Path) -> Packed:
    """Return where the arrays of an example lie in `folder`."""
    stem = example.stem
    return Packed(folder / f"{stem}.pictures.npy", folder / f"{stem}.labels.npy", folder / f"{stem}.frame.npy")


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


def _save(path: Path, array: npt.NDArray[np.generic]) -> None:
    hidden = path.with_suffix(".unfinished")
    with hidden.open("wb") as stream:
        np.save(stream, array)
    hidden.rename(path)
