"""Measure sending to and fetching from one Orthanc, beside dcmtk's programs.

A series of CT-like slices of noise (which no side can pack) goes to a real Orthanc on this machine and comes back:
by `angio_pipeline.pacs`, and by dcmtk's `storescu` and `movescu`, in turn and several times in one run, the
archive emptied before each push and the folder new for each pull. What is timed is everything from the first
connection on: reading headers, looking for what there is, files written and digests noted. Written:
`benchmarks/pacs.json` and the section of throughput in `docs/pacs.md`.

    .venv/bin/python benchmarks/pacs.py [--instances N] [--rounds N]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from angio_pipeline.pacs.journal import Journal
from angio_pipeline.pacs.pull import list_instances, pull
from angio_pipeline.pacs.push import push, read_outgoing
from angio_pipeline.pacs.queries import make_query
from angio_pipeline.pacs.settings import Listener, Server
from pages import ROOT, machine, state, write_figures, write_section

sys.path.insert(0, str(ROOT / "tests" / "scenes"))
from pacs_server import DCMTK, Archive, missing, orthanc

SCRIPT = "benchmarks/pacs.py"
FIGURES = ROOT / "benchmarks" / "pacs.json"
PAGE = ROOT / "docs" / "pacs.md"
SEED = 2026
SIZE_PX = 512
DCMTK_PDU = "131072"  # the greatest that dcmtk takes; its default is 16 kB


def write_series(folder: Path, instances: int) -> None:
    """Write slices of one series, each 512 × 512 × 16 bit."""
    rng = np.random.default_rng(SEED)
    study, series = generate_uid(), generate_uid()
    for number in range(1, instances + 1):
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series
        image.PatientID, image.PatientName, image.AccessionNumber, image.StudyID = "BENCHMARK", "", "", "1"
        image.StudyDate, image.StudyTime, image.Modality = "20240101", "120000", "CT"
        image.SeriesNumber, image.InstanceNumber = 1, number
        image.Rows = image.Columns = SIZE_PX
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit, image.PixelRepresentation, image.SamplesPerPixel = 15, 1, 1
        image.PhotometricInterpretation = "MONOCHROME2"
        image.PixelData = rng.integers(-1000, 1000, (SIZE_PX, SIZE_PX), dtype=np.int16).tobytes()
        image["PixelData"].VR = "OW"
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.save_as(folder / f"{number:04}.dcm", enforce_file_format=True)


def server_of(archive: Archive, associations: int) -> Server:
    """Return the archive as our side knows it."""
    return Server(
        host="127.0.0.1", port=archive.dicom_port, called_aet="ORTHANC", url=archive.url, associations=associations
    )


def our_push(archive: Archive, source: Path, associations: int, *, web: bool = False) -> None:
    """Send the folder as `angio pacs push` does."""
    files = [file for path in sorted(source.iterdir()) if (file := read_outgoing(path)) is not None]
    done = push(server_of(archive, associations), files, web=web)
    assert len(done.sent) == len(files)


def our_pull(archive: Archive, out: Path, associations: int, way: Any) -> None:
    """Find and fetch the patient as `angio pacs pull` does."""
    server, query = server_of(archive, associations), make_query({"patient_id": "BENCHMARK"}, place="here")
    instances = list_instances(server, [query], way=way)
    done = pull(server, instances, Journal(out), way=way, listener=Listener(port=archive.our_port))
    assert not done.missing


def dcmtk(program: str, archive: Archive, *arguments: str) -> None:
    """Run one of dcmtk's own programs against the archive."""
    peer = ["-aet", "ANGIO", "-aec", "ORTHANC", *arguments]
    subprocess.run([str(DCMTK / program), *peer], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def dcmtk_push(archive: Archive, source: Path) -> None:
    """Send the folder with `storescu`."""
    dcmtk("storescu", archive, "-pdu", DCMTK_PDU, "+sd", "127.0.0.1", str(archive.dicom_port), str(source))


def dcmtk_pull(archive: Archive, out: Path) -> None:
    """Fetch the patient with `movescu`, which listens at the port that the archive knows."""
    keys = ["-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=BENCHMARK"]
    place = ["-pdu", DCMTK_PDU, "-aem", "ANGIO", "+P", str(archive.our_port), "-od", str(out)]
    dcmtk("movescu", archive, "-P", *place, *keys, "127.0.0.1", str(archive.dicom_port))


def contestants(archive: Archive, source: Path) -> dict[str, Callable[[Path], None]]:
    """Return by name what is timed; each is given a new folder."""
    return {
        "push, dcmtk storescu": lambda out: dcmtk_push(archive, source),
        "push, C-STORE, 1 association": lambda out: our_push(archive, source, 1),
        "push, C-STORE, 3 associations": lambda out: our_push(archive, source, 3),
        "push, STOW, 3 connections": lambda out: our_push(archive, source, 3, web=True),
        "pull, dcmtk movescu": lambda out: dcmtk_pull(archive, out),
        "pull, C-GET, 1 association": lambda out: our_pull(archive, out, 1, "get"),
        "pull, C-GET, 3 associations": lambda out: our_pull(archive, out, 3, "get"),
        "pull, C-MOVE, 3 associations": lambda out: our_pull(archive, out, 3, "move"),
        "pull, WADO, 3 connections": lambda out: our_pull(archive, out, 3, "web"),
    }


def measure(folder: Path, instances: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each contestant in each round."""
    source = folder / "source"
    source.mkdir()
    write_series(source, instances)
    seconds: dict[str, list[float]] = {}
    with orthanc(folder / "orthanc") as archive:
        our_push(archive, source, 1)  # once, so that nobody is the first
        for turn in range(rounds):
            for number, (name, compete) in enumerate(contestants(archive, source).items()):
                if name.startswith("push"):
                    archive.empty()
                out = folder / f"out-{turn}-{number}"
                out.mkdir()
                start = perf_counter()
                compete(out)
                seconds.setdefault(name, []).append(perf_counter() - start)
                _check(archive, out, name, instances)
    return seconds


def _check(archive: Archive, out: Path, name: str, instances: int) -> None:
    # A contestant that loses files is not fast.
    if name.startswith("push"):
        held = len(archive.instances())
    else:
        held = len([path for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")])
    if held != instances:
        raise RuntimeError(f"Expected {instances} instances after {name}, found {held}.")


def section(figures: dict[str, Any]) -> str:
    """Return the table of throughput; it follows from the figures alone."""
    megabytes = figures["instances"] * SIZE_PX * SIZE_PX * 2 / 1e6
    lines = ["| what | seconds | MB/s | against dcmtk |", "| --- | ---: | ---: | ---: |"]
    middles = {name: statistics.median(times) for name, times in figures["seconds"].items()}
    for name, middle in middles.items():
        peer = middles["push, dcmtk storescu" if name.startswith("push") else "pull, dcmtk movescu"]
        lines.append(f"| {name} | {middle:.2f} | {megabytes / middle:.0f} | {peer / middle:.1f} × |")
    return (
        "\n".join(lines)
        + f"\n\n{figures['instances']} instances of {SIZE_PX}² × 16 bit ({megabytes:.0f} MB), medians of "
        f"{figures['rounds']} rounds, the archive's disk and the folders in\n`{figures['disk']}`; "
        f"{figures['orthanc']}, {figures['dcmtk']}. {figures['measured_with']}, on {figures['machine']}."
    )


def _first_line(*command: str) -> str:
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return (said.stdout or said.stderr).strip().splitlines()[0].strip()


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description="Write benchmarks/pacs.json and the throughput in docs/pacs.md.")
    parser.add_argument("--instances", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--disk", type=Path, default=Path(tempfile.gettempdir()), help="where all of it lies")
    parser.add_argument("--print", action="store_true", help="print the table and write nothing")
    given = parser.parse_args()
    lacking = missing()
    if lacking is not None:
        print(lacking, file=sys.stderr)
        return 1
    figures: dict[str, Any] = {
        "schema": "angio-pipeline/pacs-throughput/1",
        "measured_with": state(),
        "machine": machine(),
        "orthanc": "Orthanc " + _first_line("Orthanc", "--version").split()[-1],
        "dcmtk": "dcmtk " + _first_line(str(DCMTK / "storescu"), "--version").split()[2].lstrip("v"),
        "disk": str(given.disk),
        "instances": given.instances,
        "rounds": given.rounds,
    }
    with tempfile.TemporaryDirectory(dir=given.disk) as folder:
        figures["seconds"] = measure(Path(folder), given.instances, given.rounds)
    if given.print:
        print(section(figures))
        return 0
    write_figures(FIGURES, figures)
    write_section(PAGE, "throughput", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
