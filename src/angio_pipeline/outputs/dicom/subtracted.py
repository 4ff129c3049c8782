"""The subtracted run as an XA object of its own: logarithmic, vessels dark, derived from the run that it names.

Stored values fall with attenuation, 15000 a unit, from 30000 where nothing is added to the background: brighter means
more X-rays, as in every angiogram. They are proportional to the logarithm of transmission, so the object says LOG and
carries, as it has to, the table back to values proportional to transmission.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import XRayAngiographicImageStorage

from angio_pipeline.core.results import RunResult
from angio_pipeline.outputs.dicom import codes
from angio_pipeline.outputs.dicom.captures import place_times
from angio_pipeline.outputs.dicom.codes import coded
from angio_pipeline.outputs.dicom.elements import decimal, item
from angio_pipeline.outputs.dicom.origin import Origin, describe, object_bytes, tell_body_part
from angio_pipeline.outputs.pictures import vessel_window

__all__ = ["stored_values", "subtracted_bytes"]

_BACKGROUND = 30000
_PER_UNIT = 15000
_FULL = 65535
_REPEATED = (
    "DistanceSourceToDetector",
    "DistanceSourceToPatient",
    "EstimatedRadiographicMagnificationFactor",
    "ImagerPixelSpacing",
    "PixelSpacing",
    "RecommendedDisplayFrameRate",
)


def stored_values(attenuation: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Return attenuation above background as it is stored; beyond -2.37 and 2 units it is cut."""
    stored = _BACKGROUND - _PER_UNIT * np.nan_to_num(attenuation)
    return np.rint(np.clip(stored, 0, _FULL)).astype(np.uint16)


def subtracted_bytes(result: RunResult, origin: Origin) -> bytes:
    """Return the subtracted run, with every frame laid where the vessels stand in the reference frame."""
    ds = Dataset()
    describe(ds, origin, modality="XA", number=9008, label="Subtracted")
    ds.ContentDate, ds.ContentTime = origin.content_date, origin.content_time
    ds.ImageType = ["DERIVED", "PRIMARY", "SINGLE PLANE"]
    _tell_derivation(ds, result, origin)
    _tell_acquisition(ds, origin)
    _place_pixels(ds, stored_values(result.subtracted.frames))
    place_times(ds, result)
    ds.PixelIntensityRelationship = "LOG"
    ds.ModalityLUTSequence = [_to_linear()]
    low, high = vessel_window(result.subtracted.frames[result.subtracted.reference_frame], result.subtracted.valid)
    ds.WindowCenter = decimal(_BACKGROUND - _PER_UNIT * (low + high) / 2)
    ds.WindowWidth = decimal(max(_PER_UNIT * (high - low), 1.0))
    return object_bytes(ds, XRayAngiographicImageStorage)


def _tell_derivation(ds: Dataset, result: RunResult, origin: Origin) -> None:
    frames = ", ".join(str(k + 1) for k in result.subtracted.mask_frames)
    mask = f"mean of frames {frames} as mask" if frames else f"background: {result.subtracted.background.value}"
    ds.DerivationDescription = f"Subtracted after the logarithm, {mask}; motion corrected"[:1024]
    ds.DerivationCodeSequence = [coded(codes.SUBTRACTED)]
    ds.SourceImageSequence = [origin.image(purpose=True)]
    lossy = str(origin.header.get("LossyImageCompression", "00"))
    ds.LossyImageCompression = lossy
    if lossy == "01":  # once lost, always lost
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if keyword in origin.header:
                setattr(ds, keyword, origin.header.get(keyword))


def _tell_acquisition(ds: Dataset, origin: Origin) -> None:
    header = origin.header
    tell_body_part(ds, origin)
    for keyword in _REPEATED:
        if keyword in header:
            setattr(ds, keyword, header.get(keyword))
    for keyword in ("KVP", "PositionerPrimaryAngle", "PositionerSecondaryAngle"):
        setattr(ds, keyword, header.get(keyword))
    ds.XRayTubeCurrent = ds.ExposureTime = None
    ds.RadiationSetting = header.get("RadiationSetting") or "GR"
    ds.PositionerMotion = ds.TableMotion = "STATIC"
    ds.PatientOrientation = header.get("PatientOrientation", "")
    ds.ContrastBolusAgent = ""


def _place_pixels(ds: Dataset, stored: npt.NDArray[np.uint16]) -> None:
    ds.NumberOfFrames, ds.Rows, ds.Columns = stored.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelData = stored.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"


def _to_linear() -> Dataset:
    stored = np.arange(_FULL + 1, dtype=np.float64)
    transmission = _BACKGROUND * np.exp((stored - _BACKGROUND) / _PER_UNIT)
    made = item(LUTDescriptor=[0, 0, 16], ModalityLUTType="US")
    made.LUTData = np.rint(np.minimum(transmission, _FULL)).astype("<u2").tobytes()
    made["LUTData"].VR = "OW"
    return made
