"""Simulated follow-up radiographs: DX for processing, DX for presentation, and CR."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)

from angio_pipeline.simulate.dicom.common import Case, code, common, identify, place_pixels, save
from angio_pipeline.simulate.dicom.vendors import HABITS
from angio_pipeline.simulate.dicom.xa import tell_opening
from angio_pipeline.simulate.radiograph.collimation import CollimationParams, draw_opening
from angio_pipeline.simulate.radiograph.exports import ExportParams, Storage
from angio_pipeline.simulate.radiograph.projection import CArm

__all__ = ["FilmKind", "film_export", "write_dx"]


class FilmKind(StrEnum):
    """What a follow-up radiograph is stored as."""

    XA = "xa"
    DX_PROCESSING = "dx-processing"
    DX_PRESENTATION = "dx-presentation"
    CR = "cr"


_SOP_CLASS = {
    FilmKind.DX_PROCESSING: DigitalXRayImageStorageForProcessing,
    FilmKind.DX_PRESENTATION: DigitalXRayImageStorageForPresentation,
    FilmKind.CR: ComputedRadiographyImageStorage,
}


def film_export(kind: FilmKind, export: ExportParams) -> ExportParams:
    """Return how a film of one kind is stored: what `acquire` and `write_dx` are to be given.

    For processing values follow the beam; for presentation and CR its logarithm. Films are shown with
    bones white: either stored values rise with attenuation (`inverted`), or the file is MONOCHROME1.
    """
    plain = {"already_subtracted": False, "edge_enhancement": 0.0}
    if kind is FilmKind.DX_PROCESSING:
        return export.model_copy(update={**plain, "storage": Storage.LIN, "bits": 14, "inverted": False})
    if kind is FilmKind.DX_PRESENTATION:
        return export.model_copy(update={**plain, "storage": Storage.LOG, "bits": 12, "inverted": True})
    if kind is FilmKind.CR:
        return export.model_copy(update={**plain, "storage": Storage.LOG, "bits": 10, "inverted": False})
    return export.model_copy(update={"already_subtracted": False})


def write_dx(
    path: Path,
    case: Case,
    *,
    kind: FilmKind,
    study: str,
    series: str,
    number: int,
    when: datetime,
    frame: npt.NDArray[np.uint16],
    carm: CArm,
    export: ExportParams,
    collimation: CollimationParams | None = None,
) -> UID:
    """Write one radiograph (H, W) as DX or CR; return its SOP Instance UID.

    `export` is what `film_export` gave for the same kind; XA films are `write_xa`'s.

    Raises
    ------
    ValueError
        For an XA film.
    """
    if kind is FilmKind.XA:
        raise ValueError("Expected a kind of DX or CR, found xa; write it by write_xa.")
    ds = common(case, study, series, when, number)
    uid = case.uid("dx", study, series)
    identify(ds, _SOP_CLASS[kind], uid)
    ds.SeriesDescription = series
    ds.InstanceNumber = ds.AcquisitionNumber = 1
    ds.BodyPartExamined = "ABDOMEN"
    ds.ViewPosition = "AP"
    ds.PatientOrientation = ["L", "F"]
    ds.ImageLaterality = "U"
    ds.KVP, ds.XRayTubeCurrent, ds.ExposureTime = 80, 400, 60
    ds.ImagerPixelSpacing = [round(carm.pixel_mm, 6)] * 2
    ds.DistanceSourceToDetector, ds.DistanceSourceToPatient = carm.sid_mm, carm.sod_mm
    ds.EstimatedRadiographicMagnificationFactor = round(carm.sid_mm / carm.sod_mm, 6)
    ds.BurnedInAnnotation, ds.LossyImageCompression = "NO", "00"
    opening = draw_opening(frame.shape[0], frame.shape[1], collimation or CollimationParams())
    if kind is not FilmKind.DX_PROCESSING:
        low, high = np.percentile(frame[opening.open], [0.5, 99.5])
        ds.WindowCenter, ds.WindowWidth = float(round((low + high) / 2)), float(max(round(high - low), 1))
    (_cr if kind is FilmKind.CR else _dx)(ds, kind, export)
    if kind is not FilmKind.CR:
        tell_opening(ds, opening, HABITS[export.vendor])
    place_pixels(ds, frame, export.bits, inverted=not export.inverted)
    save(ds, path, compress=True)
    return uid


def _dx(ds: Dataset, kind: FilmKind, export: ExportParams) -> None:
    processing = kind is FilmKind.DX_PROCESSING
    ds.Modality = "DX"
    ds.PresentationIntentType = "FOR PROCESSING" if processing else "FOR PRESENTATION"
    ds.ImageType = ["ORIGINAL" if processing else "DERIVED", "PRIMARY", ""]
    ds.PixelIntensityRelationship = export.storage.value
    ds.PixelIntensityRelationshipSign = -1 if export.inverted else 1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.PresentationLUTShape = "IDENTITY" if export.inverted else "INVERSE"
    ds.DetectorType, ds.DetectorConfiguration = "SCINTILLATOR", "AREA"
    ds.DetectorID, ds.DetectorDescription = "", ""
    ds.DateOfLastDetectorCalibration = ds.TimeOfLastDetectorCalibration = ""
    ds.PositionerType = "COLUMN"
    ds.AcquisitionContextSequence = DicomSequence([])
    ds.AnatomicRegionSequence = DicomSequence([code("818981001", "SCT", "Abdomen")])
    ds.ViewCodeSequence = DicomSequence([code("399348003", "SCT", "Antero-posterior projection")])
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = DicomSequence([])


def _cr(ds: Dataset, kind: FilmKind, export: ExportParams) -> None:
    ds.Modality = "CR"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.PlateType, ds.CassetteSize = "PHOSPHOR", "35CMX43CM"
    ds.PixelIntensityRelationship = export.storage.value
    ds.PixelIntensityRelationshipSign = -1 if export.inverted else 1
    del ds.ImageLaterality
