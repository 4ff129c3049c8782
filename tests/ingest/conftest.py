"""Small DICOM files, made in memory: an angiographic run, a film, CT slices, enhanced objects, segmentations."""

from __future__ import annotations

import gc
import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from dicom_items import set_tags
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.fileset import FileSet
from pydicom.uid import UID, ExplicitVRLittleEndian

from angio_pipeline import ingest

XA = "1.2.840.10008.5.1.4.1.1.12.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
CR = "1.2.840.10008.5.1.4.1.1.1"


def uid(*words: object) -> str:
    """A UID that follows from its words."""
    return "2.25." + str(int(hashlib.sha256(repr(words).encode()).hexdigest()[:24], 16))


def noisy_frames(
    frames: int = 4, rows: int = 32, columns: int = 48, *, bits: int = 12, seed: int = 1
) -> npt.NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    return rng.integers((1 << bits) // 4, (1 << bits) - 1, (frames, rows, columns)).astype(np.uint16)


@dataclass
class DicomFiles:
    """A folder of DICOM files; every method writes one and returns its path."""

    folder: Path
    count: int = field(default=0)

    def base(self, sop_class: str, modality: str) -> Dataset:
        self.count += 1
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid(str(self.folder), self.count)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = uid("study"), uid("series", modality)
        ds.PatientName, ds.PatientID, ds.PatientBirthDate = "SECRET^PATIENT", "MRN-0042", "19500101"
        ds.Modality, ds.SeriesNumber, ds.InstanceNumber = modality, 3, self.count
        ds.StudyID = "1"
        ds.StudyDate, ds.StudyTime = "20260102", "101112"
        return ds

    def save(self, ds: Dataset, name: str, *, syntax: str = ExplicitVRLittleEndian, force: bool = False) -> Path:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
        meta.TransferSyntaxUID = UID(syntax)
        meta.ImplementationClassUID = uid("implementation")
        ds.file_meta = meta
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        plain = UID(syntax)
        little = plain.is_little_endian if not plain.is_private else True
        ds.save_as(path, enforce_file_format=True, **({} if not force else {"little_endian": little}))
        return path

    def projection(
        self,
        pixels: npt.NDArray[np.generic],
        name: str,
        *,
        sop_class: str = XA,
        modality: str = "XA",
        syntax: str = ExplicitVRLittleEndian,
        encode: Callable[[npt.NDArray[np.generic]], bytes] | None = None,
        bits: int = 12,
        **tags: Any,
    ) -> Path:
        """Write (H, W) or (T, H, W) stored values; tags given as None are left out."""
        ds = self.base(sop_class, modality)
        stack = pixels if pixels.ndim == 3 else pixels[None]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Rows, ds.Columns = stack.shape[1:]
        if pixels.ndim == 3:
            ds.NumberOfFrames = len(stack)
        width = pixels.dtype.itemsize
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * width, min(bits, 8 * width), min(bits, 8 * width) - 1
        ds.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
        ds.PixelIntensityRelationship = "LIN"
        if pixels.ndim == 3:
            ds.FrameIncrementPointer, ds.FrameTime = 0x00181063, 250.0
        if encode is None:
            order = "<" if UID(syntax).is_little_endian else ">"
            raw = stack.astype(stack.dtype.newbyteorder(order)).tobytes()
            ds.PixelData = raw + b"\0" * (len(raw) % 2)
        else:
            ds.PixelData = encapsulate([encode(frame) for frame in stack])
        ds["PixelData"].VR = "OW" if width > 1 else "OB"
        set_tags(ds, tags)
        return self.save(ds, name, syntax=syntax)

    def run(self, name: str = "run.dcm", pixels: npt.NDArray[np.generic] | None = None, **tags: Any) -> Path:
        return self.projection(noisy_frames() if pixels is None else pixels, name, **tags)

    def film(self, name: str = "film.dcm", pixels: npt.NDArray[np.generic] | None = None, **tags: Any) -> Path:
        return self.projection(noisy_frames(1)[0] if pixels is None else pixels, name, **tags)

    def ct_slice(
        self,
        name: str,
        position: Sequence[float],
        hu: npt.NDArray[np.generic],
        *,
        orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
        spacing: Sequence[float] = (0.8, 0.7),
        **tags: Any,
    ) -> Path:
        ds = self.base(CT, "CT")
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Rows, ds.Columns = hu.shape
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.ImagePositionPatient, ds.ImageOrientationPatient = list(position), list(orientation)
        ds.PixelSpacing, ds.FrameOfReferenceUID = list(spacing), uid("frame of reference")
        ds.RescaleSlope, ds.RescaleIntercept, ds.KVP = 1, -1024, 100
        ds.PixelData = (np.asarray(hu) + 1024).astype("<u2").tobytes()
        set_tags(ds, tags)
        return self.save(ds, name)

    def ct_series(self, places_mm: Sequence[float], *, folder: str = "ct", **tags: Any) -> list[Path]:
        """Write axial slices whose value in HU is their place in millimetres."""
        return [
            self.ct_slice(f"{folder}/{index:03d}.dcm", (-10, -20, z), np.full((8, 9), z), **tags)
            for index, z in enumerate(places_mm)
        ]


@pytest.fixture
def dicom(tmp_path: Path) -> DicomFiles:
    """A writer of small DICOM files into `tmp_path / "in"`."""
    folder = tmp_path / "in"
    folder.mkdir()
    return DicomFiles(folder)


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., ingest.Discovery]:
    """Discover the given paths, unpacking into `tmp_path / "work"`."""

    def discovered(*sources: Path) -> ingest.Discovery:
        return ingest.discover(sources, workspace=tmp_path / "work")

    return discovered


@pytest.fixture
def read_one(look: Callable[..., ingest.Discovery]) -> Callable[[Path], Any]:
    """Read the one run, film or volume that a path holds."""

    def read(path: Path) -> Any:
        found = look(path)
        assert not found.refusals, found.refusals
        (one,) = (*found.runs, *found.films, *found.volumes)
        if isinstance(one, ingest.RunItem):
            return ingest.read_run(one)
        return ingest.read_film(one) if isinstance(one, ingest.FilmItem) else ingest.read_volume(one)

    return read


@pytest.fixture
def disc(dicom: DicomFiles, tmp_path: Path) -> Path:
    """A DICOMDIR set of two runs."""
    paths = [dicom.run(f"{index}.dcm") for index in range(2)]
    folder = tmp_path / "disc"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # pydicom leaves its staging folder to the garbage collector
        files = FileSet()
        for path in paths:
            files.add(path)
        files.write(folder)
        del files
        gc.collect()
    return folder
