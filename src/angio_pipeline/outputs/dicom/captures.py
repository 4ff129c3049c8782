"""Pictures for viewers that show nothing else: the overlay as a secondary capture, the run with it as a colour cine.

The cine is compressed with loss (JPEG, quality 95), and says so: it is for looking at; masks and numbers are in the
segmentation and the report.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEGBaseline8Bit,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from angio_pipeline.core.quality import Quality
from angio_pipeline.core.results import RunResult
from angio_pipeline.outputs.dicom.elements import decimal
from angio_pipeline.outputs.dicom.origin import MANUFACTURER, Origin, describe, object_bytes, own_uid, tell_body_part
from angio_pipeline.outputs.documents import run_quality
from angio_pipeline.outputs.overlay import overlay_picture
from angio_pipeline.outputs.pictures import Pixels, grey_vessels, mask_outlines, vessel_window

__all__ = ["cine_bytes", "place_times", "summary_bytes"]

_JPEG_QUALITY = 95
_FEEDER, _TUMOUR, _TARGET = (232, 113, 10), (216, 27, 96), (255, 214, 10)


def summary_bytes(result: RunResult, origin: Origin, drawn: Path) -> bytes:
    """Return the overlay as a secondary capture, RGB; taken from the picture `drawn` where that is there."""
    from highdicom.sc import SCImage

    made: Any = SCImage(
        pixel_array=_read_picture(drawn) if drawn.is_file() else overlay_picture(result),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),
        study_instance_uid=origin.study,
        series_instance_uid=own_uid("series"),
        series_number=9006,
        sop_instance_uid=own_uid("instance"),
        instance_number=1,
        manufacturer=MANUFACTURER,
    )
    ds = Dataset(made)
    describe(ds, origin, modality="OT", number=9006, label="Summary")
    ds.PatientOrientation = origin.header.get("PatientOrientation", "")
    ds.ConversionType = "WSD"
    _say_derived(ds, origin, "Reference frame with vessels, tumors, feeders and targets drawn over it")
    return object_bytes(ds, SecondaryCaptureImageStorage)


def _read_picture(path: Path) -> Pixels:
    import cv2

    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise OSError("Expected the overlay as it was just written, found a damaged picture; check the disk.")
    return np.ascontiguousarray(picture[..., ::-1], dtype=np.uint8)


def cine_bytes(result: RunResult, origin: Origin) -> bytes:
    """Return the subtracted run with tumours, feeders and targets drawn over every frame."""
    frames = _painted(result)
    streams = [_jpeg(frame) for frame in frames]
    ds = Dataset()
    describe(ds, origin, modality="OT", number=9007, label="Cine with feeders")
    ds.ConversionType = "WSD"
    ds.PatientOrientation = origin.header.get("PatientOrientation", "")
    ds.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    _say_derived(ds, origin, "Subtracted run with tumors, feeders and targets drawn over it")
    ds.NumberOfFrames, ds.Rows, ds.Columns = len(frames), *frames[0].shape[:2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "YBR_FULL_422", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    place_times(ds, result)
    ratio = sum(frame.nbytes for frame in frames) / sum(len(stream) for stream in streams)
    ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", f"{ratio:.2f}"
    ds.LossyImageCompressionMethod = "ISO_10918_1"
    ds.PixelData = encapsulate(streams)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    return object_bytes(ds, MultiFrameTrueColorSecondaryCaptureImageStorage, syntax=JPEGBaseline8Bit)


def place_times(ds: Dataset, result: RunResult) -> None:
    """Say when each frame is, as the source told; a frame a second where the source told nothing."""
    times = result.run.times_s
    unknown = Quality.TIMES_UNKNOWN in run_quality(result)
    steps_ms = np.diff(times) * 1000 if not unknown else np.full(len(times) - 1, 1000.0)
    ds.FrameIncrementPointer = 0x00181065
    ds.FrameTimeVector = ["0", *(decimal(float(step)) for step in steps_ms)]


def _say_derived(ds: Dataset, origin: Origin, words: str) -> None:
    tell_body_part(ds, origin)
    ds.BurnedInAnnotation = "YES"
    ds.DerivationDescription = words
    ds.SourceImageSequence = [origin.image(purpose=True)]
    ds.ContentDate, ds.ContentTime = origin.content_date, origin.content_time


def _painted(result: RunResult) -> list[Pixels]:
    """Return each subtracted frame, (H, W, 3) RGB, all in one window, with what was found drawn over it."""
    subtracted = result.subtracted
    window = vessel_window(subtracted.frames[subtracted.reference_frame], subtracted.valid)
    grey = (grey_vessels(frame, subtracted.valid, window) for frame in subtracted.frames)
    return [_drawn_over(np.repeat(frame[..., None], 3, axis=2), result) for frame in grey]


def _drawn_over(picture: Pixels, result: RunResult) -> Pixels:
    import cv2

    picture = np.ascontiguousarray(picture)
    for tumour in result.tumours:
        cv2.polylines(picture, list(mask_outlines(tumour.mask, 1.0)), True, _TUMOUR, 1, cv2.LINE_AA)
        for feeder in tumour.feeders:
            if feeder.worth_showing:
                line = _fixed(feeder.centreline[feeder.own_start :]).reshape(-1, 1, 2)
                cv2.polylines(picture, [line], False, _FEEDER, 1, cv2.LINE_AA, 4)
        for target in tumour.targets:
            column, row = _fixed(np.array([[target.row, target.col]]))[0]
            cv2.circle(picture, (int(column), int(row)), 6 * 16, _TARGET, 1, cv2.LINE_AA, 4)
    return picture


def _fixed(points: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """Return (row, col) points as (x, y) in sixteenths of a pixel."""
    return np.asarray(np.rint(points[:, ::-1] * 16), dtype=np.int32)


def _jpeg(picture: Pixels) -> bytes:
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422]
    done, encoded = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), options)
    if not done:
        raise OSError(f"Expected to encode a picture of {picture.shape}, the JPEG encoder failed; check memory.")
    return bytes(encoded.tobytes())
