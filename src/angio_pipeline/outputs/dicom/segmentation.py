"""A run's masks as DICOM segmentations: binary for the reference frame, fractional for what is known as a probability.

Written here, since general writers refuse a run of several frames without a frame of reference. Masks stand where the
anatomy stands in the reference frame, and each frame of the segmentation names that frame of the run as its source,
pixel upon pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import SegmentationStorage

from angio_pipeline.core.results import RunResult
from angio_pipeline.core.tumours import ByHand, Feeder, LesionOrigin, Tumour
from angio_pipeline.outputs.dicom import codes
from angio_pipeline.outputs.dicom.codes import coded
from angio_pipeline.outputs.dicom.elements import item, tell_dimension
from angio_pipeline.outputs.dicom.origin import (
    MANUFACTURER,
    Origin,
    describe,
    object_bytes,
    own_uid,
    tracking_uid,
)

__all__ = [
    "RunSegment",
    "Segments",
    "frame_source",
    "mask_segments",
    "probability_segments",
    "read_segments",
    "segmentation_bytes",
]

_FULL = 255


@dataclass(frozen=True, slots=True, eq=False)
class RunSegment:
    """One segment: (H, W) bool, or float32 from 0 to 1 of which a fractional segmentation is made."""

    label: str
    description: str
    kind: Code
    category: Code
    values: npt.NDArray[np.bool_] | npt.NDArray[np.float32]
    by_hand: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """A written segmentation of a run, one frame a segment: its UIDs, and the number of each segment by its label."""

    series: str
    instance: str
    numbers: Mapping[str, int]


def read_segments(path: Path) -> Segments:
    """Return what a report says of a segmentation that was written.

    Raises
    ------
    OSError
        When the file cannot be read.
    """
    ds = dcmread(path, specific_tags=["SeriesInstanceUID", "SOPInstanceUID", "SegmentSequence"])
    numbers = {str(one.SegmentLabel): int(one.SegmentNumber) for one in ds.SegmentSequence}
    return Segments(str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID), numbers)


def mask_segments(result: RunResult) -> list[RunSegment]:
    """Return what was outlined in a run: artery, vein, catheter, each tumour's blush, each feeder's own branch."""
    vessels = result.vessels
    found = [RunSegment("Artery", "Arteries with contrast", codes.ARTERY, codes.ANATOMY, vessels.artery)]
    if vessels.vein is not None:
        found.append(RunSegment("Vein", "Veins with contrast", codes.VEIN, codes.ANATOMY, vessels.vein))
    if vessels.catheter is not None:
        found.append(RunSegment("Catheter", "Catheter", codes.CATHETER, codes.DEVICE, vessels.catheter))
    for tumour in result.tumours:
        found.append(_blush(tumour))
        found += [_feeder(one, vessels.artery.shape) for one in sorted(tumour.feeders, key=lambda f: f.rank)]
    return found


def probability_segments(result: RunResult) -> list[RunSegment]:
    """Return what is known as a probability of each pixel, 0 to 1; what was not told is left out."""
    vessels = result.vessels
    told = (
        ("Artery", codes.ARTERY, codes.ANATOMY, vessels.probability),
        ("Vein", codes.VEIN, codes.ANATOMY, vessels.vein_probability),
        ("Blush", codes.NEOPLASM, codes.ABNORMAL, vessels.blush),
        ("Catheter", codes.CATHETER, codes.DEVICE, vessels.catheter_probability),
    )
    return [
        RunSegment(label, f"Probability of {label.lower()}", kind, category, values)
        for label, kind, category, values in told
        if values is not None
    ]


def _blush(tumour: Tumour) -> RunSegment:
    drawn = tumour.origin is LesionOrigin.ROI
    words = "Region as it was given" if drawn else f"Blush, probability {tumour.probability:.2f}"
    return RunSegment(tumour.id, words, codes.NEOPLASM, codes.ABNORMAL, tumour.mask, by_hand=drawn)


def _feeder(feeder: Feeder, shape: tuple[int, ...]) -> RunSegment:
    words = f"Feeder, probability {feeder.probability:.2f}, from where it leaves what feeds something else, too"
    by_hand = feeder.corrected is ByHand.ADDED
    return RunSegment(feeder.id, words[:64], codes.ARTERY, codes.ANATOMY, feeder_mask(feeder, shape), by_hand=by_hand)


def feeder_mask(feeder: Feeder, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return (H, W) a feeder's own branch: the pixels within half its diameter, a pixel's at least, of its line."""
    import cv2

    near = np.full(shape, _FULL, np.uint8)
    line = feeder.centreline[feeder.own_start :]
    ends = np.rint(line[:, ::-1] * 16).astype(np.int32)
    cv2.polylines(near, [ends.reshape(-1, 1, 2)], False, 0, 1, cv2.LINE_8, 4)
    distance = cv2.distanceTransform(near, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    diameter = feeder.diameter_px if np.isfinite(feeder.diameter_px) else 1.0
    return np.asarray(distance <= max(diameter / 2, 0.5))


def segmentation_bytes(result: RunResult, origin: Origin, segments: Sequence[RunSegment]) -> bytes:
    """Return a DICOM segmentation of a run, fractional when the segments hold probabilities; one frame a segment.

    Raises
    ------
    ValueError
        When there is no segment: a segmentation has one at least.
    """
    if not segments:
        raise ValueError("Expected at least one segment, found none; write no segmentation of this run.")
    fractional = segments[0].values.dtype != np.bool_
    ds = Dataset()
    label = "Probabilities" if fractional else "Vessels and tumors"
    describe(ds, origin, modality="SEG", number=9002 if fractional else 9001, label=label)
    ds.ContentDate, ds.ContentTime = origin.content_date, origin.content_time
    ds.ContentLabel = "PROBABILITIES" if fractional else "VESSELS"
    ds.ContentDescription, ds.ContentCreatorName = label, ""
    ds.ImageType, ds.LossyImageCompression = ["DERIVED", "PRIMARY"], "00"
    ds.PatientOrientation = origin.header.get("PatientOrientation", "")
    ds.SegmentationType = "FRACTIONAL" if fractional else "BINARY"
    if fractional:
        ds.SegmentationFractionalType, ds.MaximumFractionalValue = "PROBABILITY", _FULL
    ds.SegmentSequence = [_described(number, one, result) for number, one in enumerate(segments, start=1)]
    _place_pixels(ds, segments, fractional=fractional)
    _place_frames(ds, result, origin, len(segments))
    return object_bytes(ds, SegmentationStorage)


def _place_pixels(ds: Dataset, segments: Sequence[RunSegment], *, fractional: bool) -> None:
    values = np.stack([one.values for one in segments])
    ds.Rows, ds.Columns = values.shape[1:]
    ds.NumberOfFrames = len(values)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    bits = 8 if fractional else 1
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    if fractional:
        packed = np.rint(np.clip(values, 0, 1) * _FULL).astype(np.uint8).tobytes()
    else:
        packed = np.packbits(values.astype(np.bool_).ravel(), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    ds["PixelData"].VR = "OB"


def _place_frames(ds: Dataset, result: RunResult, origin: Origin, count: int) -> None:
    organization = own_uid("dimensions", origin.sop_instance)
    tell_dimension(ds, organization, pointer=0x0062000B, group=0x0062000A, label="Segment Number")
    # No pixel measures: they would have to name the thickness of a slice, and a projection has none.
    ds.SharedFunctionalGroupsSequence = [Dataset()]
    ds.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[item(DimensionIndexValues=[number])],
            DerivationImageSequence=[frame_source(result, origin, codes.SEGMENTED)],
            SegmentIdentificationSequence=[item(ReferencedSegmentNumber=number)],
        )
        for number in range(1, count + 1)
    ]
    ds.ReferencedSeriesSequence = [origin.referenced_series()]


def frame_source(result: RunResult, origin: Origin, derivation: Code) -> Dataset:
    """Return the derivation of a frame that lies pixel upon pixel on the run's reference frame."""
    image = origin.image(result.subtracted.reference_frame, purpose=True)
    image.SpatialLocationsPreserved = "YES"
    return item(DerivationCodeSequence=[coded(derivation)], SourceImageSequence=[image])


def _described(number: int, segment: RunSegment, result: RunResult) -> Dataset:
    made = item(SegmentNumber=number, SegmentLabel=segment.label, SegmentDescription=segment.description)
    # What was drawn is no algorithm's, and has no algorithm's name.
    made.SegmentAlgorithmType = "MANUAL" if segment.by_hand else "AUTOMATIC"
    if not segment.by_hand:
        network = result.vessels.network
        made.SegmentAlgorithmName = f"{MANUFACTURER} {network}"[:64] if network else MANUFACTURER
    made.SegmentedPropertyCategoryCodeSequence = [coded(segment.category)]
    made.SegmentedPropertyTypeCodeSequence = [coded(segment.kind)]
    made.TrackingID = segment.label
    source = result.run.source
    made.TrackingUID = tracking_uid(source.subject, segment.label, within=source.sop_instance_uid)
    return made
