"""How the run itself is to be shown: an XA/XRF grayscale softcopy presentation state.

It tells a viewer to subtract the run's own mask frames with the pixel shift that was found for each frame, in which
window, and to draw tumours, feeders and targets over the reference frame, where they stand. The shift is the mean of
the correction that the analysis applied: a viewer that shifts has less of the motion out than the subtracted run.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import XAXRFGrayscaleSoftcopyPresentationStateStorage

from angio_pipeline.core.results import RunResult
from angio_pipeline.core.runs import Background, Quantity
from angio_pipeline.core.tumours import CannulationTarget, Feeder, Tumour
from angio_pipeline.outputs.dicom.elements import decimal, graphic_points, item
from angio_pipeline.outputs.dicom.origin import Origin, describe, object_bytes, tell_body_part
from angio_pipeline.outputs.pictures import mask_outlines, vessel_window

__all__ = ["presentation_bytes"]

_LAYERS = {
    "TUMORS": ("Tumor blush, or the region given", (35000, 53000, 33000)),
    "FEEDERS": ("Feeders, from where they leave what feeds something else", (42000, 42000, 48000)),
    "TARGETS": ("Positions for superselective cannulation", (56000, 34000, 53000)),
}
"""Description, and colour in scaled CIELab (PS3.3 C.10.7.1.1), of each layer."""

_RING_PX = 6.0


def presentation_bytes(result: RunResult, origin: Origin) -> bytes:
    """Return the presentation state of a run."""
    ds = Dataset()
    describe(ds, origin, modality="PR", number=9005, label="Feeders and targets")
    tell_body_part(ds, origin)
    ds.PresentationCreationDate, ds.PresentationCreationTime = origin.content_date, origin.content_time
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "FEEDERS", "Feeders and targets over the run", ""
    ds.ReferencedSeriesSequence = [item(SeriesInstanceUID=origin.series, ReferencedImageSequence=[origin.image()])]
    ds.PresentationLUTShape = "INVERSE" if _inverted(origin) else "IDENTITY"
    _show_whole(ds, result)
    if result.subtracted.background is Background.MASK and result.subtracted.mask_frames:
        ds.MaskSubtractionSequence = [_subtraction(result, origin)]
        ds.MultiFramePresentationSequence = [_cine(result)]
    if _as_stored(result, origin):
        ds.SoftcopyVOILUTSequence = [_window(result, origin)]
    _draw(ds, result, origin)
    return object_bytes(ds, XAXRFGrayscaleSoftcopyPresentationStateStorage)


def _inverted(origin: Origin) -> bool:
    return str(origin.header.get("PhotometricInterpretation", "")) == "MONOCHROME1"


def _show_whole(ds: Dataset, result: RunResult) -> None:
    _, rows, columns = result.run.shape
    area = item(PresentationSizeMode="SCALE TO FIT", PresentationPixelAspectRatio=["1", "1"])
    area.DisplayedAreaTopLeftHandCorner, area.DisplayedAreaBottomRightHandCorner = [1, 1], [columns, rows]
    ds.DisplayedAreaSelectionSequence = [area]


# --- subtraction --------------------------------------------------------------------------------


def _subtraction(result: RunResult, origin: Origin) -> Dataset:
    subtracted = result.subtracted
    made = item(MaskOperation="AVG_SUB", MaskFrameNumbers=[k + 1 for k in subtracted.mask_frames])
    made.ApplicableFrameRange = [1, len(subtracted.frames)]
    made.ContrastFrameAveraging = 1
    made.PixelShiftSequence = [
        item(
            PixelShiftFrameRange=[first + 1, last + 1],
            # Positive columns go to the left, by PS3.3 C.7.6.10.1.2, though positive rows go down.
            RegionPixelShiftSequence=[item(MaskSubPixelShift=[float(row), 0.0 - float(col)])],
        )
        for first, last, (row, col) in _shifts(subtracted.motion_px)
    ]
    if _has_table(result, origin):
        made.PixelIntensityRelationshipLUTSequence = [_to_log(result, origin)]
    return made


def _shifts(motion_px: npt.NDArray[np.float64]) -> list[tuple[int, int, tuple[float, float]]]:
    """Return (first, last, shift of the mask) for runs of frames that share one; none where motion is unknown."""
    known = np.where(np.isfinite(motion_px), np.round(motion_px, 3), 0.0) + 0.0
    out = []
    for shift, frames in groupby(range(len(known)), key=lambda k: (float(known[k, 0]), float(known[k, 1]))):
        members = list(frames)
        out.append((members[0], members[-1], shift))
    return out


def _has_table(result: RunResult, origin: Origin) -> bool:
    """Whether stored values are proportional to the beam, so that a viewer needs the way to their logarithm."""
    return result.run.quantity is Quantity.INTENSITY and _as_stored(result, origin)


def _as_stored(result: RunResult, origin: Origin) -> bool:
    """Whether the run's values are those that its file stores: not turned over, not led back by a table."""
    table = result.run.quantity is Quantity.INTENSITY and origin.header.get("PixelIntensityRelationship") == "LOG"
    falling = origin.header.get("PixelIntensityRelationshipSign") == -1
    return not (table or falling or _inverted(origin))


def _bits(origin: Origin, result: RunResult) -> int:
    told = origin.header.get("BitsStored")
    return int(told) if told else int(np.ceil(np.log2(max(float(result.run.frames.max()), 1.0) + 1)))


def _logarithm(values: npt.NDArray[np.floating], bits: int) -> npt.NDArray[np.float64]:
    """Return the logarithm of stored values over the whole range of 16 bits."""
    return np.asarray(65535 * np.log1p(np.maximum(values, 0)) / np.log(2.0**bits))


def _to_log(result: RunResult, origin: Origin) -> Dataset:
    bits = _bits(origin, result)
    table = np.rint(_logarithm(np.arange(2**bits, dtype=np.float64), bits)).astype("<u2")
    made = item(LUTDescriptor=[len(table) % 65536, 0, 16], LUTFunction="TO_LOG")
    made.LUTFrameRange = [1, len(result.subtracted.frames)]
    made.LUTData = table.tobytes()
    made["LUTData"].VR = "OW"
    return made


def _cine(result: RunResult) -> Dataset:
    interval = result.maps.frame_interval_s
    rate = 1 / interval if np.isfinite(interval) and interval > 0 else 1.0
    shown = item(
        StartTrim=1,
        StopTrim=len(result.subtracted.frames),
        RecommendedDisplayFrameRateInFloat=float(np.float32(rate)),
        SkipFrameRangeFlag="DISPLAY",
        RecommendedViewingMode="SUB",
        DisplayFilterPercentage=None,
        MaskVisibilityPercentage=0.0,
    )
    return item(FrameDisplaySequence=[shown], PreferredPlaybackSequencing=0)


def _window(result: RunResult, origin: Origin) -> Dataset:
    """Return the window, in the values that a viewer has after it subtracted."""
    shown, valid = _as_viewed(result, origin), result.subtracted.valid
    # Contrast takes from the beam: least is darkest.
    low, high = vessel_window(-shown, valid)
    return item(
        WindowCenter=decimal(-(low + high) / 2),
        WindowWidth=decimal(max(high - low, 1.0)),
        WindowCenterWidthExplanation="Contrast",
    )


def _as_viewed(result: RunResult, origin: Origin) -> npt.NDArray[np.float32]:
    """Return the reference frame (H, W) as a viewer has it before the window, brighter meaning more X-rays."""
    subtracted = result.subtracted
    shown = _stored(result, origin, [subtracted.reference_frame])[0]
    if subtracted.background is Background.MASK and subtracted.mask_frames:
        shown = shown - _stored(result, origin, list(subtracted.mask_frames)).mean(axis=0)
    return np.asarray(shown, dtype=np.float32)


def _stored(result: RunResult, origin: Origin, frames: list[int]) -> npt.NDArray[np.float64]:
    """Return some frames of the run as they are stored, or as the table to the logarithm makes them."""
    values = result.run.frames[frames].astype(np.float64)
    return _logarithm(values, _bits(origin, result)) if _has_table(result, origin) else values


# --- graphics -----------------------------------------------------------------------------------


def _draw(ds: Dataset, result: RunResult, origin: Origin) -> None:
    place = origin.image(result.subtracted.reference_frame)
    drawn = {
        "TUMORS": [part for tumour in result.tumours for part in _outline(tumour)],
        "FEEDERS": [part for tumour in result.tumours for one in tumour.feeders for part in _feeder(one)],
        "TARGETS": [part for tumour in result.tumours for one in tumour.targets for part in _target(one)],
    }
    kept = {name: parts for name, parts in drawn.items() if parts}
    if not kept:
        return
    ds.GraphicLayerSequence = [
        item(
            GraphicLayer=name,
            GraphicLayerOrder=order,
            GraphicLayerDescription=_LAYERS[name][0],
            GraphicLayerRecommendedDisplayCIELabValue=list(_LAYERS[name][1]),
        )
        for order, name in enumerate(kept, start=1)
    ]
    ds.GraphicAnnotationSequence = [_annotation(name, parts, place) for name, parts in kept.items()]


def _annotation(layer: str, parts: Sequence[Dataset], place: Dataset) -> Dataset:
    made = item(ReferencedImageSequence=[place], GraphicLayer=layer)
    words = [part for part in parts if "UnformattedTextValue" in part]
    if words:
        made.TextObjectSequence = words
    lines = [part for part in parts if "GraphicType" in part]
    if lines:
        made.GraphicObjectSequence = lines
    return made


def _graphic(kind: str, points: npt.ArrayLike, *, filled: bool | None = None) -> Dataset:
    data = graphic_points(points)
    made = item(GraphicAnnotationUnits="PIXEL", GraphicDimensions=2, NumberOfGraphicPoints=len(data))
    made.GraphicData, made.GraphicType = [float(value) for value in data.ravel()], kind
    if filled is not None:
        made.GraphicFilled = "Y" if filled else "N"
    return made


def _text(words: str, point: npt.ArrayLike) -> Dataset:
    column, row = (float(value) for value in graphic_points(point)[0])
    return item(
        UnformattedTextValue=words,
        AnchorPointAnnotationUnits="PIXEL",
        AnchorPoint=[column, row],
        AnchorPointVisibility="N",
    )


def _outline(tumour: Tumour) -> list[Dataset]:
    rings = [ring[:, ::-1] for ring in mask_outlines(tumour.mask, 1.0) if len(ring) > 2]
    closed = [_graphic("POLYLINE", np.vstack([ring, ring[:1]]), filled=False) for ring in rings]
    return [*closed, _text(tumour.id, tumour.centroid)]


def _feeder(feeder: Feeder) -> list[Dataset]:
    line = feeder.centreline[feeder.own_start :]
    if not feeder.worth_showing or len(line) < 2:
        return []
    said = f"{feeder.probability:.2f}" if feeder.corrected is None else f"{feeder.corrected.value} by hand"
    unsure = " overlap: cannot decide" if feeder.overlap_ambiguous else ""
    graphic = _graphic("POLYLINE", line, filled=False if np.array_equal(line[0], line[-1]) else None)
    return [graphic, _text(f"{feeder.id} {said}{unsure}", line[len(line) * 3 // 5])]


def _target(target: CannulationTarget) -> list[Dataset]:
    centre = (target.row, target.col)
    ring = _graphic("CIRCLE", [centre, (target.row, target.col + _RING_PX)], filled=False)
    return [_graphic("POINT", [centre]), ring, _text("Target " + ", ".join(target.covers), centre)]
