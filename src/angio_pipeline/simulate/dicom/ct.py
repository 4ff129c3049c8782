"""Simulated scans as CT series, one file a slice."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from angio_pipeline.simulate.aftermath.ct import CtPhase, CtScan, Kernel
from angio_pipeline.simulate.dicom.common import Case, common, identify, place_pixels, save

__all__ = ["write_ct"]

_KERNEL = {Kernel.SOFT: "B30f", Kernel.SHARP: "B60f"}
_PHASE = {CtPhase.PLAIN: "NON-CONTRAST", CtPhase.ARTERIAL: "ARTERIAL PHASE", CtPhase.PORTAL: "PORTAL VENOUS PHASE"}


def write_ct(
    directory: Path, case: Case, *, study: str, series: str, number: int, when: datetime, scan: CtScan
) -> list[Dataset]:
    """Write one file a slice, feet to head; return the headers (without pixels) in that order."""
    headers = []
    for k, plane in enumerate(scan.hu):
        ds = common(case, study, series, when, number)
        identify(ds, CTImageStorage, case.uid("ct", study, series, str(k)))
        _describe(ds, scan)
        ds.FrameOfReferenceUID = case.uid("frame", study)
        ds.PositionReferenceIndicator = ""
        ds.AcquisitionNumber = 1
        ds.InstanceNumber = k + 1
        z = scan.origin_mm[2] + k * scan.spacing_mm[0]
        ds.ImagePositionPatient = [round(float(v), 4) for v in (scan.origin_mm[0], scan.origin_mm[1], z)]
        ds.SliceLocation = round(float(z), 4)
        place_pixels(ds, plane.astype(np.int32) + 1024, 12)
        save(ds, directory / f"{k + 1:03d}.dcm", compress=True)
        del ds.PixelData
        headers.append(ds)
    return headers


def _describe(ds: Dataset, scan: CtScan) -> None:
    ds.Modality = "CT"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SeriesDescription = f"LIVER {_PHASE[scan.phase]}"
    ds.BodyPartExamined = "LIVER"
    ds.PatientPosition = "HFS"
    if scan.phase is not CtPhase.PLAIN:
        ds.ContrastBolusAgent, ds.ContrastBolusRoute = "IODINATED CONTRAST", "IV"
    ds.KVP = float(scan.kvp)
    ds.ConvolutionKernel = _KERNEL[scan.kernel]
    ds.ReconstructionDiameter = round(scan.spacing_mm[2] * scan.hu.shape[2], 3)
    ds.SliceThickness = round(float(scan.slice_mm), 4)
    ds.SpacingBetweenSlices = round(float(scan.spacing_mm[0]), 4)
    ds.PixelSpacing = [scan.spacing_mm[1], scan.spacing_mm[2]]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
    ds.WindowCenter, ds.WindowWidth = 50, 400
