"""Measure how fast compressed runs decode: by pydicom, and here by one thread and by as many as there are cores.

Runs are made here, encoded, and decoded as a batch does it: in a worker from the server that has imported
the libraries. pydicom's worker may use one core alone, so that threads of its decoders' own do not hide.
Every result is compared bit by bit with the frames that were encoded. Written: `benchmarks/decode.json`
and a section of `docs/hostile-input.md`.

    .venv/bin/python benchmarks/decode.py [--repeats N]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, HTJ2KLossless, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from angio_pipeline.ingest.headers import read_header
from angio_pipeline.ingest.pixels import pixel_format, read_frames
from angio_pipeline.workers import hold_threads, process_pool
from pages import ROOT, machine, state, write_parts, write_section

SCRIPT = "benchmarks/decode.py"
SIZES = ((512, 20), (1024, 24))
PRELOAD = "angio_pipeline.pipeline"
Frames = npt.NDArray[np.uint16]


def made_frames(size: int, count: int) -> Frames:
    """Return frames of anatomy that drifts under noise, 12 bits, as hard to compress as a real run's."""
    rng = np.random.default_rng(size)
    anatomy = sum(
        scale**0.5 * cv2.GaussianBlur(rng.standard_normal((size, size)), (0, 0), scale) for scale in (3, 9, 30)
    )
    anatomy = anatomy / np.std(anatomy)
    frames = [2000 + 400 * np.roll(anatomy, index, axis=0) + rng.normal(0, 10, (size, size)) for index in range(count)]
    return np.clip(frames, 0, 4095).astype(np.uint16)


def _rle(frame: Frames) -> bytes:
    rows, columns = frame.shape
    size: dict[str, Any] = {"rows": rows, "columns": columns, "number_of_frames": 1, "samples_per_pixel": 1}
    kind = {"bits_allocated": 16, "bits_stored": 16, "pixel_representation": 0}
    size |= {"photometric_interpretation": "MONOCHROME2", **kind}
    return next(RLELosslessEncoder.iter_encode(frame.tobytes(), **size))


Encode = Callable[..., bytes | bytearray]
ENCODERS: dict[str, tuple[UID, Encode]] = {
    "JPEG lossless": (JPEGLosslessSV1, imagecodecs.ljpeg_encode),
    "JPEG-LS": (JPEGLSLossless, imagecodecs.jpegls_encode),
    "JPEG 2000": (JPEG2000Lossless, partial(imagecodecs.jpeg2k_encode, level=0, codecformat="j2k", reversible=True)),
    "HTJ2K": (HTJ2KLossless, partial(imagecodecs.htj2k_encode, reversible=True)),
    "RLE": (RLELossless, _rle),
}


def write_run(path: Path, frames: Frames, syntax: UID, encode: Encode) -> Path:
    """Write the frames as a compressed run and return its path."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.12.1", "1.2.3.4", "XA"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.NumberOfFrames, ds.Rows, ds.Columns = frames.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelData = encapsulate([bytes(encode(frame)) for frame in frames])
    ds["PixelData"].VR = "OB"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID, ds.file_meta.ImplementationClassUID = syntax, UID("1.2.3")
    ds.save_as(path, enforce_file_format=True)
    return path


def decoded_here(path: Path, truth: Path) -> float:
    """Return seconds from opened header to frames; called in a worker."""
    header = read_header(path)
    found = pixel_format(header)
    began = time.perf_counter()
    frames = read_frames(header, found)
    return _seconds(began, frames, truth)


def decoded_by_pydicom(path: Path, truth: Path) -> float:
    """Return seconds from opened file to frames, as pydicom decodes them; called in a worker."""
    ds = pydicom.dcmread(path)
    began = time.perf_counter()
    frames = pixel_array(ds, raw=True)
    return _seconds(began, frames, truth)


def _seconds(began: float, frames: npt.NDArray[Any], truth: Path) -> float:
    seconds = time.perf_counter() - began
    if not np.array_equal(frames, np.load(truth)):
        raise ValueError(f"a run decoded to other values than were encoded ({truth.name})")
    return seconds


def _on_one_core() -> None:
    hold_threads(1)
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])


def _nothing() -> int:
    return os.getpid()


def measure(
    begin: Callable[[], None], decode: Callable[[Path, Path], float], run: tuple[Path, Path], repeats: int
) -> Sequence[float]:
    """Return the seconds of the first and every later decode of a run in a worker of its own."""
    with process_pool(1, initializer=begin, preload=PRELOAD) as pool:
        pool.submit(_nothing).result()
        return [pool.submit(decode, *run).result() for _ in range(repeats + 1)]


def row(folder: Path, size: int, count: int, name: str, repeats: int) -> dict[str, Any]:
    """Return what one run costs."""
    syntax, encode = ENCODERS[name]
    frames, truth = made_frames(size, count), folder / f"{size}.npy"
    np.save(truth, frames)
    run = write_run(folder / f"{size}-{name}.dcm", frames, syntax, encode), truth
    theirs = measure(_on_one_core, decoded_by_pydicom, run, repeats)
    one = measure(partial(hold_threads, 1), decoded_here, run, repeats)
    cores = measure(partial(hold_threads, os.cpu_count() or 1), decoded_here, run, repeats)
    pydicom_s, one_s, cores_s = (statistics.median(seconds[1:]) for seconds in (theirs, one, cores))
    return {
        "codec": name,
        "size_px": size,
        "frames": count,
        "pydicom_s": pydicom_s,
        "one_thread_s": one_s,
        "all_threads_s": cores_s,
        "gain": one_s / cores_s,
        "gain_over_pydicom": pydicom_s / cores_s,
        "first_s": cores[0],
    }


def section(rows: list[dict[str, Any]], told: str) -> str:
    """Return the table of the page."""
    lines = [
        f"{told}. Medians; every frame equal to what was encoded, bit by bit.",
        "",
        "| | frames | pydicom, one core, s | here, one thread, s | here, all cores, s | gain by threads "
        "| gain over pydicom | first run of a worker, s |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['codec']} | {r['size_px']}² × {r['frames']} | {r['pydicom_s']:.3f} | {r['one_thread_s']:.3f} | "
        f"{r['all_threads_s']:.3f} | {r['gain']:.2f} | {r['gain_over_pydicom']:.2f} | {r['first_s']:.3f} |"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    told = f"Measured with {state()}, on {machine()}"
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(Path(folder), size, count, name, repeats) for size, count in SIZES for name in ENCODERS]
    write_parts(ROOT / "benchmarks" / "decode.json", {"measured": told, "runs": rows})
    text = section(rows, told)
    print(text)
    write_section(ROOT / "docs" / "hostile-input.md", "parallel decode", SCRIPT, text)


if __name__ == "__main__":
    main()
