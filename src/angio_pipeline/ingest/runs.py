"""From a multi-frame file to an `AngioRun`: the numbers, what they mean, when and where."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.provenance import Provenance
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import AngioRun
from angio_pipeline.ingest.calibration import pixel_spacing, pose, table_position
from angio_pipeline.ingest.headers import Header, items, read_header, text, texts
from angio_pipeline.ingest.intensity import Showing, intensity_map
from angio_pipeline.ingest.items import RunItem
from angio_pipeline.ingest.masking import mask_hint
from angio_pipeline.ingest.pixels import PixelFormat, pixel_format, read_frames
from angio_pipeline.ingest.shutters import spoilt_pixels, valid_area
from angio_pipeline.ingest.timing import frame_times

__all__ = ["already_subtracted", "read_run", "storage_quality"]

_SUBTRACTED = re.compile(
    r"(?<!UN)(?<!UN-)(?<!NON)(?<!NON[- ])(?<!NOT )(?<!NO )(?<!WITHOUT )"
    r"(SUBTRACTED|SUBTRACTION|DIGITAL[_ ]SUBTR\w*|\bDSA\b|\bSUB\b)"
)
_LOSSY_SYNTAXES = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81"}
_PERHAPS_LOSSY = {"1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"}


def read_run(item: RunItem) -> AngioRun:
    """Return the run of a multi-frame file, brighter meaning more X-rays.

    Raises
    ------
    InputRefused
        When header, timing or pixel data cannot be used; `reason` says why.
    """
    header = read_header(item.paths[0])
    found = pixel_format(header)
    if found.frames < 2:
        raise InputRefused("Expected a run of at least 2 frames, found 1.", reason="single_frame")
    ds = header.dataset
    times = frame_times(ds, found.frames)
    values = intensity_map(ds, found, Showing.ANGIOGRAM)
    quality = storage_quality(header, found)
    frames = read_frames(header, found)
    spoilt = spoilt_pixels(ds, frames, found)
    values.apply(frames)
    area = valid_area(ds, frames, spoilt, lossy=Quality.LOSSY_COMPRESSION in quality)
    spacing = pixel_spacing(ds)
    subtracted = already_subtracted(ds)
    quality |= times.quality | values.quality | area.quality
    quality |= Quality.ALREADY_SUBTRACTED if subtracted else Quality.NONE
    quality |= Quality.NONE if spacing is not None and spacing.in_patient else Quality.NOT_CALIBRATED
    return AngioRun(
        frames=frames,
        times_s=times.times_s,
        quantity=values.quantity,
        valid=area.valid,
        source=item.source,
        spacing=spacing,
        pose=pose(ds),
        mask_hint=mask_hint(ds, found.frames),
        already_subtracted=subtracted,
        white_level=values.white_level,
        table_mm=table_position(ds),
        provenance=Provenance().then("read", values=values.how, times=times.how, area=area.how),
        quality=quality,
    )


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
    for item in items(dataset, "DerivationCodeSequence"):
        evidence.append(text(item, "CodeMeaning"))
    return any(_SUBTRACTED.search(value.upper()) for value in evidence)
