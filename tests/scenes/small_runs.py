"""Many small runs that are analysed in a fraction of a second, for tests and benchmarks of whole batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SIZE_PX, FRAMES = 128, 10
FAST = """
[segment]
method = "filter"
[feeders]
network = ""
"""


def write_small_runs(folder: Path, count: int, *, seed: int = 0) -> list[Path]:
    """Return `count` XA files, each of a patient of its own: one vessel that fills over a texture."""
    return [_write_run(folder / f"run{k:04d}.dcm", k, np.random.default_rng([seed, k])) for k in range(count)]


def _write_run(path: Path, number: int, rng: np.random.Generator) -> Path:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = XRayAngiographicImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = f"1.2.3.{number + 1}"
    ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.Modality = f"1.2.4.{number + 1}", f"1.2.5.{number + 1}", "XA"
    ds.PatientID, ds.PatientName = f"CANARY-{number}", "Canary^Name"
    ds.StudyDate = ds.AcquisitionDate = "20250102"
    ds.StudyTime = ds.AcquisitionTime = "101500"
    ds.SeriesNumber, ds.InstanceNumber = 3, 4
    counts = _counts(rng)
    ds.Rows = ds.Columns = SIZE_PX
    ds.NumberOfFrames = FRAMES
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelIntensityRelationship = "LIN"
    ds.FrameIncrementPointer = 0x00181063
    ds.FrameTime = 500.0
    ds.PixelData = counts.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def _counts(rng: np.random.Generator) -> np.ndarray:
    rows, cols = np.mgrid[:SIZE_PX, :SIZE_PX]
    course = 64 + 18 * np.sin(rows / 25 + rng.uniform(0, 6))
    vessel = np.exp(-(((cols - course) / 3.0) ** 2))
    blob = np.exp(-((np.hypot(rows - 30, cols - course[30, 0]) / 12) ** 4))
    filled = 1 / (1 + np.exp(-(np.arange(FRAMES) - 4) * 2))
    late = 1 / (1 + np.exp(-(np.arange(FRAMES) - 6) * 2))
    contrast = 0.5 * filled[:, None, None] * vessel + 0.2 * late[:, None, None] * blob
    texture = 0.05 * np.sin(rows / 9) * np.cos(cols / 7)
    noise = 0.01 * rng.standard_normal((FRAMES, SIZE_PX, SIZE_PX))
    return np.round(3000 * np.exp(-(texture + contrast + noise) / 1.5)).astype(np.uint16)
