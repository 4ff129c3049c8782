"""Measure how fast a disk of small files is catalogued, beside a plain loop of pydicom over the same files.

Files are made with pydicom: headers of some ninety elements with sequences and private elements, pixels of
16 x 16, several hundred series. All are read once before anything is timed, so that every competitor finds them
in the system's cache; each competitor runs in processes of its own, whose memory is added up (proportional set
size) ten times a second. Written: `benchmarks/ingest.json` and a section of `docs/exports.md`.

    .venv/bin/python benchmarks/ingest.py [--files N]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from multiprocessing import Pool
from pathlib import Path
from time import perf_counter
from typing import Any

import gdcm
import numpy as np
import psutil
import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pages import ROOT, machine, state, write_figures, write_section

SCRIPT = "benchmarks/ingest.py"
FIGURES = ROOT / "benchmarks" / "ingest.json"
PAGE = ROOT / "docs" / "exports.md"
WORKERS = 2
REPEATS = 2
SLICES = 60
# What a catalogue needs of a header, asked for one by one as such a loop does.
ASKED = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "PatientName",
    "PatientBirthDate", "IssuerOfPatientID", "Modality", "Manufacturer", "ManufacturerModelName", "ImageType",
    "StudyDate", "StudyTime", "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime", "ContentDate",
    "ContentTime", "SeriesDescription", "ProtocolName", "SeriesNumber", "InstanceNumber", "AcquisitionNumber",
    "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "ContrastBolusAgent", "FrameOfReferenceUID",
)  # fmt: skip
_CT, _XA, _CAPTURE = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "12.1", "7"))


def make_files(folder: Path, count: int) -> dict[str, Any]:
    """Write the files, each series in a folder of its own; return how many there are of what."""
    series = written = 0
    while written < count:
        size = min(SLICES, count - written)
        _make_series(folder / f"P{series // 8:03d}" / f"S{series:04d}", series, size)
        series, written = series + 1, written + size
    return made_before(folder)


def made_before(folder: Path) -> dict[str, Any]:
    """Return how many files of how many series lie there, and the size of one."""
    files = sorted(folder.rglob("IM*"))
    elements = len(pydicom.dcmread(files[0], stop_before_pixels=True))
    series = len({path.parent for path in files})
    return {"files": len(files), "series": series, "elements": elements, "bytes_each": files[0].stat().st_size}


def _make_series(folder: Path, series: int, size: int) -> None:
    folder.mkdir(parents=True)
    kind = (_CT, _CT, _CT, _XA, _CAPTURE)[series % 5]
    header = _header(kind, series)
    # Every fourth series as an older archive writes it: implicit, without file names' ends.
    syntax = ImplicitVRLittleEndian if series % 4 == 3 else ExplicitVRLittleEndian
    for index in range(size):
        header.SOPInstanceUID = UID(f"1.2.826.0.1.3680043.10.999.{series}.{index + 1}")
        header.InstanceNumber = index + 1
        if kind == _CT:
            header.ImagePositionPatient, header.SliceLocation = [-180.5, -170.25, 1.5 * index], 1.5 * index
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(kind), header.SOPInstanceUID
        meta.TransferSyntaxUID, meta.ImplementationClassUID = syntax, UID("1.2.826.0.1.3680043.10.998")
        header.file_meta = meta
        header.save_as(folder / f"IM{index:05d}", enforce_file_format=True)


def _header(kind: str, series: int) -> Dataset:
    patient, study = series // 8, series // 4
    modality = {_CT: "CT", _XA: "XA", _CAPTURE: "OT"}[kind]
    ds = Dataset()
    ds.SpecificCharacterSet, ds.ImageType = "ISO_IR 100", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID, ds.Modality = kind, modality
    ds.StudyInstanceUID = f"1.2.826.0.1.3680043.10.997.{study}"
    ds.SeriesInstanceUID = f"1.2.826.0.1.3680043.10.996.{series}"
    ds.FrameOfReferenceUID = f"1.2.826.0.1.3680043.10.995.{study}"
    ds.PatientName, ds.PatientID = f"Family{patient}^Given", f"{100000 + patient}"
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge, ds.PatientWeight = "19560414", "M", "068Y", "71"
    ds.IssuerOfPatientID = "HOSPITAL"
    for name in ("Study", "Series", "Acquisition", "Content"):
        setattr(ds, f"{name}Date", f"2024{1 + study % 12:02d}{1 + study % 28:02d}")
        setattr(ds, f"{name}Time", f"10{series % 60:02d}12.250000")
    ds.AccessionNumber, ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber = "A1234567", "4711", series % 8 + 1, 1
    ds.Manufacturer = ("SIEMENS", "GE MEDICAL SYSTEMS", "Philips Medical Systems")[series % 3]
    ds.ManufacturerModelName, ds.DeviceSerialNumber, ds.SoftwareVersions = "Model 7", "12345", ["VA48A", "B2"]
    ds.InstitutionName, ds.InstitutionAddress, ds.StationName = "Hospital", "Street 1", "ROOM3"
    ds.ReferringPhysicianName, ds.PerformingPhysicianName, ds.OperatorsName = "Doe^J", "Roe^R", "Poe^P"
    ds.StudyDescription = "Liver"
    ds.SeriesDescription = ("Abdomen arterial 1.5", "Abdomen portal venous", "Abdomen native", "DSA liver", "Dose")[
        series % 5
    ]
    ds.ProtocolName, ds.BodyPartExamined, ds.PatientPosition = "Liver 3 phases", "ABDOMEN", "HFS"
    ds.ContrastBolusAgent, ds.ContrastBolusRoute, ds.ContrastBolusVolume = "Iodine 350", "IV", "90"
    ds.KVP, ds.ExposureTime, ds.XRayTubeCurrent, ds.Exposure = "120", "500", "210", "105"
    ds.FilterType, ds.GeneratorPower, ds.FocalSpots, ds.ConvolutionKernel = "FLAT", "60", "1.2", "B30f"
    ds.DistanceSourceToDetector, ds.DistanceSourceToPatient = "1040", "570"
    ds.SliceThickness, ds.SpacingBetweenSlices, ds.ReconstructionDiameter, ds.TableHeight = "1.5", "1.5", "360", "140"
    ds.ImageOrientationPatient, ds.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.7, 0.7]
    ds.PositionReferenceIndicator, ds.ImageComments = "XY", "none"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 16, 16
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth, ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 40, 400, -1024, 1, "HU"
    ds.SmallestImagePixelValue, ds.LargestImagePixelValue, ds.LossyImageCompression = 0, 4095, "00"
    frames = 1
    if kind == _XA:
        frames = 12
        ds.NumberOfFrames, ds.FrameTime, ds.FrameIncrementPointer = frames, "250", 0x00181063
        ds.PositionerPrimaryAngle, ds.PositionerSecondaryAngle, ds.PositionerMotion = "-12.5", "3.25", "STATIC"
        ds.RadiationSetting, ds.PixelIntensityRelationship = "GR", "LIN"
    _add_sequences(ds, series)
    ds.PixelData = np.full(frames * 256, series % 4096, np.uint16).tobytes()
    return ds


def _add_sequences(ds: Dataset, series: int) -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "T-62000", "SRT", "Liver"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = _CT, f"1.2.826.0.1.3680043.10.994.{series}"
    ds.ReferencedStudySequence, ds.ProcedureCodeSequence = Sequence([reference]), Sequence([code])
    request = Dataset()
    request.ScheduledProcedureStepID, request.ScheduledProtocolCodeSequence = "1", Sequence([code])
    ds.RequestAttributesSequence = Sequence([request])
    if series % 2:  # half of the archives write lengths, half of them marks
        ds["RequestAttributesSequence"].is_undefined_length = True
    block = ds.private_block(0x0019, "VENDOR HEADER 1.0", create=True)
    for element in range(16):
        block.add_new(element, ("LO", "DS", "SL")[element % 3], ("value", "1.25", 7)[element % 3])
    block.add_new(0x20, "OB", bytes(1024))


def loop(paths: list[str]) -> int:
    """Return how many values were found: each file read with pydicom, each value asked for."""
    found = 0
    for path in paths:
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        found += sum(ds.get(keyword) is not None for keyword in ASKED)
    return found


def loop_gdcm(paths: list[str]) -> int:
    """Return how many values were found by gdcm's scanner, told beforehand which are wanted."""
    scanner = gdcm.Scanner()
    tags = [gdcm.Tag(tag_for_keyword(keyword)) for keyword in ASKED]
    for tag in tags:
        scanner.AddTag(tag)
    scanner.Scan(gdcm.FilenamesType(paths))
    return sum(scanner.GetValue(path, tag) is not None for path in paths for tag in tags)


def compete(what: str, folder: Path) -> float:
    """Return the wall time of one competitor in this process, after all imports."""
    from angio_pipeline.ingest.catalogue import scan

    paths = sorted(str(path) for path in folder.rglob("IM*"))
    catalogue = folder.parent / "catalogue.duckdb"
    start = perf_counter()
    if what == "loop":
        loop(paths)
    elif what == "gdcm":
        loop_gdcm(paths)
    elif what == "loops":
        with Pool(WORKERS) as pool:
            pool.map(loop, [paths[k::WORKERS] for k in range(WORKERS)])
    else:
        found = scan([folder], catalogue, workers=WORKERS)
        expected = len(paths) if what == "first" else 0
        if found.read != expected:
            raise SystemExit(f"Expected {expected} files read, found {found.read}.")
    return perf_counter() - start


def measure(what: str, folder: Path) -> dict[str, float]:
    """Return the wall time of a competitor and the greatest memory of all its processes together, MB."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--child", what, "--folder", str(folder)], stdout=subprocess.PIPE, text=True
    )
    peak = _Peak(process.pid)
    peak.start()
    said, _ = process.communicate()
    peak.stopped.set()
    peak.join()
    if process.returncode:
        raise SystemExit(f"{what} failed")
    return {"wall_s": float(said), "peak_mb": peak.megabytes}


class _Peak(threading.Thread):
    """Adds up the memory of a process and of all its descendants, ten times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process, self.stopped, self.megabytes = psutil.Process(pid), threading.Event(), 0.0

    def run(self) -> None:
        while not self.stopped.wait(0.1):
            total = 0
            with suppress(psutil.Error):
                for process in (self.process, *self.process.children(recursive=True)):
                    with suppress(psutil.Error):
                        total += process.memory_full_info().pss
            self.megabytes = max(self.megabytes, total / 1e6)


def whole_command(folder: Path, catalogue: Path) -> float:
    """Return the wall time of the command itself where nothing changed, its start included."""
    start = perf_counter()
    command = [sys.executable, "-m", "angio_pipeline", "ingest", str(folder), "--catalogue", str(catalogue), "--quiet"]
    subprocess.run(command, check=True)
    return perf_counter() - start


def measure_all(count: int, disk: Path | None) -> dict[str, Any]:
    """Return the figures of all competitors; of each the best of its repeats."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "disk" if disk is None else disk / "disk"
        made = made_before(folder) if folder.is_dir() else make_files(folder, count)
        for path in folder.rglob("IM*"):
            path.read_bytes()
        catalogue = folder.parent / "catalogue.duckdb"
        runs: dict[str, list[dict[str, float]]] = {"loop": [], "loops": [], "gdcm": [], "first": [], "second": []}
        for _ in range(REPEATS):
            catalogue.unlink(missing_ok=True)
            for what, rows in runs.items():
                rows.append(measure(what, folder))
        command = min(whole_command(folder, catalogue) for _ in range(REPEATS))
        size = catalogue.stat().st_size
        catalogue.unlink()
    figures = {
        what: {"wall_s": min(row["wall_s"] for row in rows), "peak_mb": max(row["peak_mb"] for row in rows)}
        for what, rows in runs.items()
    }
    return {"made": made, **figures, "second_command_s": command, "catalogue_bytes": size}


def section(figures: dict[str, Any]) -> str:
    """Return the table of times; it follows from the figures alone."""
    made, loop_s = figures["made"], figures["loop"]["wall_s"]
    named = {
        "loop": f"a loop over `dcmread(stop_before_pixels=True)` that asks for {len(ASKED)} values, one process",
        "loops": f"the same loop in {WORKERS} processes",
        "gdcm": "`gdcm.Scanner`, told which values are wanted, one process",
        "first": f"first scan, {WORKERS} workers",
        "second": "second scan, nothing changed",
    }
    rows = [
        f"| {words} | {figures[what]['wall_s']:.2f} s | {made['files'] / figures[what]['wall_s']:,.0f} "
        f"| {loop_s / figures[what]['wall_s']:.1f} | {figures[what]['peak_mb']:.0f} MB |"
        for what, words in named.items()
    ]
    rows.append(
        f"| second scan, the whole command with its start | {figures['second_command_s']:.2f} s "
        f"| {made['files'] / figures['second_command_s']:,.0f} | {loop_s / figures['second_command_s']:.1f} | |"
    )
    return (
        "| what | time | files/s | times the loop | memory of all processes |\n| --- | ---: | ---: | ---: | ---: |\n"
        + "\n".join(rows)
        + f"\n\n{made['files']:,} files of {made['series']} series, {made['bytes_each'] / 1024:.1f} KiB and "
        f"{made['elements']} elements each at the top level, in the system's cache. Best time of {REPEATS} and "
        f"greatest memory (proportional set size, added over processes); imports are timed in the whole command alone. "
        f"The catalogue has {figures['catalogue_bytes'] / 1e6:.1f} MB. {figures['measured_with']}, on "
        f"{figures['machine']}."
    )


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description="Write benchmarks/ingest.json and its section of docs/exports.md.")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--disk", type=Path, help="folder for the files, kept and used again; else a temporary one")
    parser.add_argument("--print", action="store_true", help="print the table and write nothing")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        print(compete(given.child, given.folder))
        return 0
    os.environ["ANGIO_PSEUDONYM_KEY_FILE"] = str(Path(tempfile.mkdtemp()) / "pseudonym.key")
    measured = {"measured_with": state(), "machine": machine(), **measure_all(given.files, given.disk)}
    figures = {"schema": "angio-pipeline/ingest-speed/1", **measured}
    if given.print:
        print(section(figures))
        return 0
    write_figures(FIGURES, figures)
    write_section(PAGE, "speed", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
