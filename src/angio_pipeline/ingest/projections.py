"""What runs and films share: the projection as read, linear or not, with its valid area and its calibration."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom.dataset import Dataset

from angio_pipeline.core.geometry import CArmPose, PixelSpacing
from angio_pipeline.core.quality import Quality
from angio_pipeline.ingest.calibration import pixel_spacing, pose
from angio_pipeline.ingest.headers import Header, items, text, texts
from angio_pipeline.ingest.intensity import Frames, IntensityMap, Showing, intensity_map
from angio_pipeline.ingest.pixels import PixelFormat, read_frames
from angio_pipeline.ingest.shutters import ValidArea, spoilt_pixels, valid_area

__all__ = ["Projection", "already_subtracted", "read_projection", "storage_quality"]

_SUBTRACTED = re.compile(
    r"(?<!UN)(?<!UN-)(?<!NON)(?<!NON[- ])(?<!NOT )(?<!NO )(?<!WITHOUT )"
    r"(SUBTRACTED|SUBTRACTION|DIGITAL[_ ]SUBTR\w*|\bDSA\b|\bSUB\b)"
)
_LOSSY_SYNTAXES = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81"}
_PERHAPS_LOSSY = {"1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"}


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """One projection object; `frames` is (T, H, W) uint16 or float32, brighter meaning more X-rays."""

    frames: Frames
    values: IntensityMap
    area: ValidArea
    spacing: PixelSpacing | None
    pose: CArmPose | None
    subtracted: bool
    quality: Quality


def read_projection(header: Header, found: PixelFormat, showing: Showing) -> Projection:
    """Return the projection of an opened header.

    Raises
    ------
    InputRefused
        When the pixel data cannot be read.
    """
    ds = header.dataset
    quality = storage_quality(header, found)
    values = intensity_map(ds, found, showing)
    frames = read_frames(header, found)
    spoilt = spoilt_pixels(ds, frames, found)
    frames = values.apply(frames)
    area = valid_area(ds, frames, spoilt, lossy=Quality.LOSSY_COMPRESSION in quality)
    spacing, subtracted = pixel_spacing(ds), already_subtracted(ds)
    quality |= values.quality | area.quality
    quality |= Quality.ALREADY_SUBTRACTED if subtracted else Quality.NONE
    quality |= Quality.NONE if spacing is not None and spacing.in_patient else Quality.NOT_CALIBRATED
    return Projection(frames, values, area, spacing, pose(ds), subtracted, quality)


def storage_quality(header: Header, found: PixelFormat) -> Quality:
    """Return the flags that follow from how the pixels are stored."""
    quality = Quality.EIGHT_BIT if found.stored <= 8 else Quality.NONE
    ds, syntax = header.dataset, str(header.transfer_syntax)
    declared = text(ds, "LossyImageCompression") or text(ds, "LossyImageCompressionRetired")
    lossy = declared in ("01", "1") or syntax in _LOSSY_SYNTAXES
    if lossy or (syntax in _PERHAPS_LOSSY and declared not in ("00", "0")):
        quality |= Quality.LOSSY_COMPRESSION
    return quality


def already_subtracted(dataset: Dataset) -> bool:
    """Return whether the header says that the frames were subtracted before export.

    A Mask Subtraction Sequence or a Recommended Viewing Mode of SUB only says how to show
    unsubtracted frames, and is no evidence.
    """
    evidence = [*texts(dataset, "ImageType"), *texts(dataset, "ImageProcessingApplied"), *texts(dataset, "FrameType")]
    evidence.append(text(dataset, "DerivationDescription"))
    evidence += [text(item, "CodeMeaning") for item in items(dataset, "DerivationCodeSequence")]
    return any(_SUBTRACTED.search(value.upper()) for value in evidence)
