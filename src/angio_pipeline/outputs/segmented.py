"""What `angio segment` writes: a mask and a probability for each image, and one table of all."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from angio_pipeline.core.vessels import FrameVessels
from angio_pipeline.outputs.files import write_text
from angio_pipeline.outputs.pictures import write_mask, write_png

__all__ = ["SegmentedImage", "write_segmentation", "write_segmented"]


@dataclass(frozen=True, slots=True)
class SegmentedImage:
    """One row of `segment.csv`; `frame` counts from 1 and is empty for a single image."""

    name: str
    file: str
    rows: int
    columns: int
    frame: int | None
    vessel_share: float
    quality: str


def write_segmentation(out: Path, name: str, found: FrameVessels, *, file: str, frame: int | None) -> SegmentedImage:
    """Write `NAME-probability.png` (16 bits) and `NAME.png` (0 or 255); return the row of the image of `file`."""
    mask, probability = found.mask, found.probability
    write_png(out / f"{name}-probability.png", np.rint(65535 * np.clip(probability, 0, 1)).astype(np.uint16))
    write_mask(out / f"{name}.png", mask)
    flags = (*(("NO_VESSELS",) if not mask.any() else ()), *(("UNFAMILIAR",) if found.unfamiliar else ()))
    rows, columns = mask.shape
    told = None if frame is None else frame + 1
    return SegmentedImage(name, file, rows, columns, told, round(float(mask.mean()), 5), ";".join(flags))


def write_segmented(out: Path, images: Sequence[SegmentedImage]) -> None:
    """Write `segment.csv`."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [field.name for field in fields(SegmentedImage)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(image) for image in images)
    write_text(out / "segment.csv", stream.getvalue())
