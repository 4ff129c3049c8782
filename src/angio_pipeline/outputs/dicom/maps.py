"""Arrival and peak of contrast as DICOM parametric maps: floating point, with unit and meaning.

A pixel whose value is undefined is NaN, as in `maps.npz`; nothing else stands for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import ParametricMapStorage

from angio_pipeline.core.quality import Quality
from angio_pipeline.core.results import RunResult
from angio_pipeline.outputs.dicom import codes
from angio_pipeline.outputs.dicom.codes import coded
from angio_pipeline.outputs.dicom.elements import decimal, item, tell_dimension
from angio_pipeline.outputs.dicom.origin import Origin, describe, object_bytes, own_uid, tell_body_part
from angio_pipeline.outputs.dicom.segmentation import frame_source
from angio_pipeline.outputs.documents import run_quality

__all__ = ["arrival_bytes", "peak_bytes"]

_QUANTITY = Code("246205007", "SCT", "Quantity")


@dataclass(frozen=True, slots=True, eq=False)
class _Map:
    """Values (H, W) float32, NaN where undefined, under which label, and what they are of, in which unit."""

    values: npt.NDArray[np.float32]
    label: str
    quantity: Code
    unit: Code


def arrival_bytes(result: RunResult, origin: Origin) -> bytes | None:
    """Return the map of arrival in seconds after the first frame; None where the file gave no times."""
    if Quality.TIMES_UNKNOWN in run_quality(result):
        return None
    shown = _Map(result.maps.arrival_s, "ARRIVAL", codes.ARRIVAL, codes.SECONDS)
    return _map_bytes(result, origin, shown, number=9003)


def peak_bytes(result: RunResult, origin: Origin) -> bytes:
    """Return the map of the greatest attenuation above background."""
    shown = _Map(result.maps.peak, "PEAK", codes.PEAK_CONTRAST, codes.NO_UNITS)
    return _map_bytes(result, origin, shown, number=9004)


def _map_bytes(result: RunResult, origin: Origin, shown: _Map, *, number: int) -> bytes:
    ds = Dataset()
    describe(ds, origin, modality="OT", number=number, label=shown.quantity.meaning)
    ds.ContentDate, ds.ContentTime = origin.content_date, origin.content_time
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = shown.label, shown.quantity.meaning, ""
    ds.ImageType = ["DERIVED", "PRIMARY", "PERFUSION", "NONE"]
    ds.PatientOrientation = origin.header.get("PatientOrientation", "")
    ds.PixelPresentation = "MONOCHROME"
    tell_body_part(ds, origin)
    ds.BurnedInAnnotation, ds.RecognizableVisualFeatures = "NO", "NO"
    ds.LossyImageCompression, ds.PresentationLUTShape = "00", "IDENTITY"
    ds.ContentQualification = "RESEARCH"
    ds.AcquisitionContextSequence = []
    # The object has to lie somewhere, a projection lies nowhere in the patient: its plane is a frame of reference of
    # its own, with the pixels' axes as the arm stood and its middle at the origin.
    ds.FrameOfReferenceUID = own_uid("plane", origin.sop_instance)
    ds.PositionReferenceIndicator = ""
    _place_pixels(ds, shown.values)
    _place_frame(ds, result, origin, shown)
    return object_bytes(ds, ParametricMapStorage)


def _place_pixels(ds: Dataset, values: npt.NDArray[np.float32]) -> None:
    ds.Rows, ds.Columns = values.shape
    ds.NumberOfFrames, ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, 1, "MONOCHROME2"
    ds.BitsAllocated = 32
    ds.FloatPixelData = values.astype("<f4").tobytes()


def _place_frame(ds: Dataset, result: RunResult, origin: Origin, shown: _Map) -> None:
    known = shown.values[np.isfinite(shown.values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    shared, corner = _plane(result)
    shared.ParametricMapFrameTypeSequence = [item(FrameType=ds.ImageType)]
    window = item(WindowCenter=decimal((low + high) / 2), WindowWidth=decimal(max(high - low, 1e-3)))
    window.VOILUTFunction = "LINEAR_EXACT"
    shared.FrameVOILUTSequence = [window]
    shared.PixelValueTransformationSequence = [item(RescaleIntercept="0", RescaleSlope="1", RescaleType="US")]
    shared.RealWorldValueMappingSequence = [_meaning(shown, low, high)]
    ds.SharedFunctionalGroupsSequence = [shared]
    organization = own_uid("dimensions", origin.sop_instance, shown.label)
    tell_dimension(ds, organization, pointer=0x00209057, group=0x00209111, label="In-Stack Position Number")
    content = item(DimensionIndexValues=[1], StackID="1", InStackPositionNumber=1)
    ds.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[content],
            PlanePositionSequence=[corner],
            DerivationImageSequence=[frame_source(result, origin, codes.SUBTRACTED)],
        )
    ]
    ds.ReferencedSeriesSequence = [origin.referenced_series()]


def _plane(result: RunResult) -> tuple[Dataset, Dataset]:
    """Return how the pixels lie in the map's own frame of reference, and where the first of them does.

    They are one millimetre apart where no scale is known.
    """
    rows, columns = result.maps.peak.shape
    spacing, pose = result.run.spacing, result.run.pose
    row_mm, col_mm = (spacing.row_mm, spacing.col_mm) if spacing is not None and spacing.in_patient else (1.0, 1.0)
    p, s = (np.deg2rad(pose.primary_deg), np.deg2rad(pose.secondary_deg)) if pose is not None else (0.0, 0.0)
    right = np.array([np.cos(p), np.sin(p), 0.0])
    to_detector = np.array([np.sin(p) * np.cos(s), -np.cos(p) * np.cos(s), np.sin(s)])
    down = np.cross(right, to_detector)
    corner = -right * col_mm * (columns - 1) / 2 - down * row_mm * (rows - 1) / 2
    shared = item(
        PixelMeasuresSequence=[item(PixelSpacing=[decimal(row_mm), decimal(col_mm)], SliceThickness="1")],
        PlaneOrientationSequence=[item(ImageOrientationPatient=[decimal(float(v)) for v in (*right, *down)])],
    )
    return shared, item(ImagePositionPatient=[decimal(float(v)) for v in corner])


def _meaning(shown: _Map, low: float, high: float) -> Dataset:
    concept = [coded(shown.quantity)]
    named = item(ValueType="CODE", ConceptNameCodeSequence=[coded(_QUANTITY)], ConceptCodeSequence=concept)
    return item(
        LUTLabel=shown.label,
        LUTExplanation=shown.quantity.meaning,
        MeasurementUnitsCodeSequence=[coded(shown.unit)],
        DoubleFloatRealWorldValueFirstValueMapped=low,
        DoubleFloatRealWorldValueLastValueMapped=high,
        RealWorldValueIntercept=0.0,
        RealWorldValueSlope=1.0,
        QuantityDefinitionSequence=[named],
    )
