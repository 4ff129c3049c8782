"""Simulated angiograms as XA objects: runs of frames and single films."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, XRayAngiographicImageStorage

from angio_pipeline.simulate.dicom.common import Case, common, identify, place_pixels, save
from angio_pipeline.simulate.dicom.vendors import HABITS, Habits, private_block
from angio_pipeline.simulate.radiograph.collimation import CollimationParams, Opening, Outside, draw_opening
from angio_pipeline.simulate.radiograph.exports import ExportParams, Storage, linear_table, stored_bits
from angio_pipeline.simulate.radiograph.projection import CArm

__all__ = ["tell_opening", "tells_spacing", "write_xa"]

Array = npt.NDArray[np.float64]


def write_xa(
    path: Path,
    case: Case,
    *,
    study: str,
    series: str,
    number: int,
    when: datetime,
    frames: npt.NDArray[np.uint16],
    times_s: Array,
    carm: CArm,
    export: ExportParams | None = None,
    collimation: CollimationParams | None = None,
    mask_frames: int = 1,
) -> UID:
    """Write a run (T, H, W) or, with one frame, a film; return its SOP Instance UID.

    `frames` are stored values as `acquire` returned them for the same `export` and `collimation`;
    the first `mask_frames` hold no contrast.
    """
    export, habits = export or ExportParams(), HABITS[(export or ExportParams()).vendor]
    ds = common(case, study, series, when, number)
    uid = case.uid("xa", study, series)
    identify(ds, XRayAngiographicImageStorage, uid)
    ds.ManufacturerModelName = f"digital patient, {habits.label}"
    ds.Modality = "XA"
    ds.SeriesDescription = series
    ds.InstanceNumber = 1
    ds.BodyPartExamined = "LIVER"
    ds.PatientOrientation = ["L", "F"] if carm.primary_deg == carm.secondary_deg == 0 else ""
    _origin(ds, export, habits, mask_frames)
    _acquisition(ds, carm, habits, derived=_derived(export))
    if len(frames) > 1:
        _multi_frame(ds, times_s, export, habits, mask_frames)
    _frame(ds, frames[0], collimation or CollimationParams(), habits)
    if ds.PixelIntensityRelationship == "LOG":
        ds.ModalityLUTSequence = DicomSequence([_to_linear(export)])
    private_block(ds, habits, "A run of the digital patient")
    stored = frames if len(frames) > 1 else frames[0]
    place_pixels(ds, stored, stored_bits(export.bits), inverted=export.inverted)
    save(ds, path, compress=True)
    return uid


def _frame(ds: Dataset, first: npt.NDArray[np.uint16], collimation: CollimationParams, habits: Habits) -> None:
    # The opening, what stands outside it, and a window for what is inside.
    opening = draw_opening(first.shape[0], first.shape[1], collimation)
    tell_opening(ds, opening, habits)
    if habits.padding and opening.shapes and collimation.outside is not Outside.BLADES:
        ds.PixelPaddingValue = int(first[~opening.open][0])
    low, high = np.percentile(first[opening.open], [0.5, 99.5])
    ds.WindowCenter, ds.WindowWidth = float(round((low + high) / 2)), float(max(round(high - low), 1))
    ds.LossyImageCompression = "00"


def _to_linear(export: ExportParams) -> Dataset:
    # A logarithmic run has to bring the way back to values proportional to the beam (PS3.3 C.8.7.1.1.2).
    value = linear_table(export)
    item = Dataset()
    item.LUTDescriptor = [len(value) % 65536, 0, 16]
    item.ModalityLUTType = "US"
    item.LUTData = value.astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    return item


def _derived(export: ExportParams) -> bool:
    return export.already_subtracted or export.storage is Storage.DISP


def _origin(ds: Dataset, export: ExportParams, habits: Habits, mask_frames: int) -> None:
    ds.ImageType = ["DERIVED" if _derived(export) else "ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    ds.PixelIntensityRelationship = "DISP" if export.already_subtracted else export.storage.value
    if not _derived(export):
        return
    if not export.already_subtracted:
        ds.DerivationDescription = "Processed for display"
    elif habits.says_subtracted:
        ds.DerivationDescription = f"Subtracted: logarithm, mean of frames 1 to {mask_frames} as mask"
    else:
        ds.DerivationDescription = "Processed on export"


def tells_spacing(export: ExportParams) -> bool:
    """Return whether a run exported so says how large the patient is: spacing at the detector and its magnification."""
    habits = HABITS[export.vendor]
    at_detector = habits.imager_spacing and (habits.derived_spacing or not _derived(export))
    return at_detector and (habits.source_to_patient or habits.magnification)


def _acquisition(ds: Dataset, carm: CArm, habits: Habits, *, derived: bool) -> None:
    ds.KVP = 80
    ds.XRayTubeCurrent = 400
    ds.ExposureTime = 60
    ds.RadiationSetting = "GR"
    if habits.imager_spacing and (habits.derived_spacing or not derived):
        ds.ImagerPixelSpacing = [round(carm.pixel_mm, 6)] * 2
    ds.DistanceSourceToDetector = carm.sid_mm
    if habits.source_to_patient:
        ds.DistanceSourceToPatient = carm.sod_mm
    if habits.magnification:
        ds.EstimatedRadiographicMagnificationFactor = round(carm.sid_mm / carm.sod_mm, 6)
    ds.PositionerMotion = "STATIC"
    ds.PositionerPrimaryAngle = carm.primary_deg
    ds.PositionerSecondaryAngle = carm.secondary_deg
    ds.TableMotion = "STATIC"
    ds.PatientPosition = "HFS"


def _multi_frame(ds: Dataset, times_s: Array, export: ExportParams, habits: Habits, mask_frames: int) -> None:
    ds.ContrastBolusAgent = "IODINATED CONTRAST"
    ds.NumberOfFrames = len(times_s)
    steps_ms = np.round(1000 * np.diff(times_s), 1)
    if habits.even_time and np.ptp(steps_ms) <= 0.2:
        ds.FrameIncrementPointer = 0x00181063
        ds.FrameTime = float(round(1000 * (times_s[-1] - times_s[0]) / (len(times_s) - 1), 3))
    else:
        ds.FrameIncrementPointer = 0x00181065
        ds.FrameTimeVector = [0.0, *(float(step) for step in steps_ms)]
    if habits.display_rate:
        ds.RecommendedDisplayFrameRate = max(1, round(1000 / float(np.median(steps_ms))))
    if habits.mask and not export.already_subtracted:
        mask = Dataset()
        mask.MaskOperation = "AVG_SUB"
        mask.ApplicableFrameRange = [1, len(times_s)]
        mask.MaskFrameNumbers = list(range(1, max(mask_frames, 1) + 1))
        ds.MaskSubtractionSequence = DicomSequence([mask])
        ds.RecommendedViewingMode = "SUB"


def tell_opening(ds: Dataset, opening: Opening, habits: Habits) -> None:
    """Write where blades stand: edges count from 1 and lie on the blade, or on the frame's own edge."""
    shapes = opening.shapes
    rows, columns = opening.open.shape
    left, right, upper, lower = opening.edges
    for kind, wanted in (("Shutter", habits.shutter), ("Collimator", habits.collimator)):
        if not wanted or not shapes:
            continue
        setattr(ds, f"{kind}Shape", shapes if len(shapes) > 1 else shapes[0])
        if "RECTANGULAR" in shapes:
            setattr(ds, f"{kind}LeftVerticalEdge", max(left, 1))
            setattr(ds, f"{kind}RightVerticalEdge", min(right + 2, columns))
            setattr(ds, f"{kind}UpperHorizontalEdge", max(upper, 1))
            setattr(ds, f"{kind}LowerHorizontalEdge", min(lower + 2, rows))
        if opening.circle is not None:
            row, col, radius = opening.circle
            setattr(ds, f"CenterOfCircular{kind}", [row + 1, col + 1])
            setattr(ds, f"RadiusOfCircular{kind}", radius)
