"""Measure how fast compressed runs decode: by one process, and by a worker that was given all cores.

Runs are made here, encoded, and decoded as a batch does it: in a worker from the server that has imported
the libraries, by a process beside it where it has several cores. Cold is the first run of such a worker,
start of that process included; warm is every later one. Every result is compared bit by bit with the
frames that were encoded. Written: `benchmarks/decode.json` and a section of `docs/hostile-input.md`.

    .venv/bin/python benchmarks/decode.py [--repeats N]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.uid import UID, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

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


def timed_decode(path: Path, truth: Path) -> float:
    """Return seconds from opened header to frames; called in a worker.

    Raises
    ------
    ValueError
        When a single bit differs from what was encoded.
    """
    header = read_header(path)
    found = pixel_format(header)
    began = time.perf_counter()
    frames = read_frames(header, found)
    seconds = time.perf_counter() - began
    if not np.array_equal(frames, np.load(truth)):
        raise ValueError(f"{path.name} decoded to other values than were encoded")
    return seconds


def _nothing() -> int:
    return os.getpid()


def measure(path: Path, truth: Path, cores: int, repeats: int) -> tuple[float, float]:
    """Return the seconds of a worker's first decode and the median of its later ones."""
    with process_pool(1, initializer=partial(hold_threads, cores), preload=PRELOAD) as pool:
        pool.submit(_nothing).result()
        seconds = [pool.submit(timed_decode, path, truth).result() for _ in range(repeats + 1)]
    return seconds[0], statistics.median(seconds[1:])


def row(folder: Path, size: int, count: int, name: str, repeats: int) -> dict[str, Any]:
    """Return what one run costs: by one process, and by all cores, cold and warm."""
    syntax, encode = ENCODERS[name]
    frames, truth = made_frames(size, count), folder / f"{size}.npy"
    np.save(truth, frames)
    path = write_run(folder / f"{size}-{name}.dcm", frames, syntax, encode)
    cores = os.cpu_count() or 1
    alone_cold, alone = measure(path, truth, 1, repeats)
    cold, warm = measure(path, truth, cores, repeats)
    return {
        "codec": name,
        "size_px": size,
        "frames": count,
        "alone_s": alone,
        "warm_s": warm,
        "gain_warm": alone / warm,
        "alone_cold_s": alone_cold,
        "cold_s": cold,
        "gain_cold": alone_cold / cold,
    }


def section(rows: list[dict[str, Any]], told: str) -> str:
    """Return the table of the page."""
    lines = [
        f"{told}. Medians; every frame equal to what was encoded, bit by bit.",
        "",
        "| | frames | one process, s | all cores, s | gain | first run: one process, s | all cores, s | gain |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['codec']} | {r['size_px']}² × {r['frames']} | {r['alone_s']:.3f} | {r['warm_s']:.3f} | "
        f"{r['gain_warm']:.2f} | {r['alone_cold_s']:.3f} | {r['cold_s']:.3f} | {r['gain_cold']:.2f} |"
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
