"""Measure how fast compressed runs decode: by pydicom, gdcm and SimpleITK, here by one thread and by as many as cores.

Runs are made here, encoded, and decoded as a batch does it: in a worker from the server that has imported
the libraries. Beside peers, every worker may use one core alone, so that threads of the decoders' own do not hide, and
processor time is told, which other work on the machine changes little. pydicom decodes with the first of its decoders
that is installed; gdcm is asked directly, as SimpleITK asks the gdcm it was built with; these two read the file, too,
which lies in the system's cache. Every result is compared bit by bit with the frames that were encoded. Memory is what
a decode adds, the frames included. What threads gain is measured apart, by the clock. Written: `benchmarks/decode.json`
and a section of `docs/hostile-input.md`.

    .venv/bin/python benchmarks/decode.py [--repeats N] [--only peers|threads]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import gdcm
import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, HTJ2KLossless, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from angio_pipeline.ingest.headers import read_header
from angio_pipeline.ingest.pixels import pixel_format, read_frames
from angio_pipeline.workers import hold_threads, process_pool
from pages import ROOT, machine, state, write_parts, write_section
from processes import forget_peak_memory, peak_memory_mb

SCRIPT = "benchmarks/decode.py"
SIZES = ((512, 20), (1024, 24))
PRELOAD = "angio_pipeline.pipeline"
PEERS = ("pydicom", "gdcm", "SimpleITK")
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


Cost = tuple[float, float]


def opened_here(path: Path) -> Callable[[], npt.NDArray[Any]]:
    """Return what is left to do from the opened header to the frames."""
    header = read_header(path)
    return partial(read_frames, header, pixel_format(header))


def opened_by_pydicom(path: Path) -> Callable[[], npt.NDArray[Any]]:
    """Return what is left to do from the opened file to the frames, as pydicom decodes them."""
    return partial(pixel_array, pydicom.dcmread(path), raw=True)


def opened_by_gdcm(path: Path) -> Callable[[], npt.NDArray[Any]]:
    """Return what gdcm does from the file to the frames; its bytes reach Python as text."""

    def decode() -> npt.NDArray[Any]:
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        if not reader.Read():
            raise ValueError(f"Expected gdcm to read {path.name}, found that it does not.")
        image = reader.GetImage()
        columns, rows, frames = (image.GetDimension(axis) for axis in range(3))
        values = np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), np.uint16)
        return values.reshape(frames, rows, columns)

    return decode


def opened_by_simpleitk(path: Path) -> Callable[[], npt.NDArray[Any]]:
    """Return what SimpleITK does from the file to the frames."""
    return lambda: np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


def decoded(opened: Callable[[Path], Callable[[], npt.NDArray[Any]]], path: Path, truth: Path) -> Cost:
    """Return the seconds of one decode, by the clock and of the processor; called in a worker.

    Raises
    ------
    ValueError
        When it gives other values than were encoded.
    """
    decode = opened(path)
    began, busy = time.perf_counter(), time.process_time()
    frames = decode()
    spent = time.perf_counter() - began, time.process_time() - busy
    if not np.array_equal(frames, np.load(truth)):
        raise ValueError(f"a run decoded to other values than were encoded ({path.name})")
    return spent


def memory_added(opened: Callable[[Path], Callable[[], npt.NDArray[Any]]], path: Path) -> float:
    """Return the memory that one decode adds at its peak, MB; called in a worker that has decoded before."""
    decode = opened(path)
    before = forget_peak_memory()
    decode()
    return peak_memory_mb() - before


def _on_one_core() -> None:
    hold_threads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])


def _nothing() -> int:
    return os.getpid()


WAYS: dict[str, tuple[Callable[[], None], Callable[[Path], Callable[[], npt.NDArray[Any]]]]] = {
    "pydicom": (_on_one_core, opened_by_pydicom),
    "gdcm": (_on_one_core, opened_by_gdcm),
    "SimpleITK": (_on_one_core, opened_by_simpleitk),
    "one_thread": (_on_one_core, opened_here),
    "all_threads": (partial(hold_threads, os.cpu_count() or 1), opened_here),
}


@contextmanager
def worker(way: str) -> Iterator[Executor]:
    """Yield a worker that decodes in one of the ways and has started."""
    begin, _ = WAYS[way]
    with process_pool(1, initializer=begin, preload=PRELOAD) as pool:
        pool.submit(_nothing).result()
        yield pool


@dataclass(frozen=True, slots=True)
class Case:
    """One compressed run, and what has to come out of it."""

    codec: str
    size_px: int
    frames: int
    path: Path
    truth: Path

    @property
    def told(self) -> dict[str, Any]:
        """What stands at the head of a row."""
        return {"codec": self.codec, "size_px": self.size_px, "frames": self.frames}


def make_cases(folder: Path) -> Iterator[Case]:
    """Yield every run, written."""
    for size, count in SIZES:
        frames, truth = made_frames(size, count), folder / f"{size}.npy"
        np.save(truth, frames)
        for name, (syntax, encode) in ENCODERS.items():
            path = write_run(folder / f"{size}-{name}.dcm", frames, syntax, encode)
            yield Case(name, size, count, path, truth)


def timed(pool: Executor, way: str, case: Case, repeats: int) -> list[Cost]:
    """Return what each decode in a worker costs; the first pays for what is loaded once."""
    _, opened = WAYS[way]
    return [pool.submit(decoded, opened, case.path, case.truth).result() for _ in range(repeats + 1)]


def beside_peers(cases: list[Case], repeats: int) -> Iterator[dict[str, Any]]:
    """Yield a row a run: medians of processor time on one core, and the memory that a decode adds."""
    with ExitStack() as stack:
        pools = {way: stack.enter_context(worker(way)) for way in (*PEERS, "one_thread")}
        for case in cases:
            ways = {}
            for way, pool in pools.items():
                costs = timed(pool, way, case, repeats)[1:]
                added_mb = pool.submit(memory_added, WAYS[way][1], case.path).result()
                ways[way] = {"processor_s": statistics.median(busy for _, busy in costs), "added_mb": added_mb}
            over = {peer: ways["one_thread"]["processor_s"] / ways[peer]["processor_s"] for peer in PEERS}
            print(case.told, over, flush=True)
            yield case.told | {"ways": ways, "one_thread_over": over}


def by_threads(cases: list[Case], repeats: int) -> Iterator[dict[str, Any]]:
    """Yield a row a run: medians by the clock, each way in a worker of its own, whose first decode is told."""
    for case in cases:
        seconds = {}
        for way in ("pydicom", "one_thread", "all_threads"):
            with worker(way) as pool:
                first, *later = [spent for spent, _ in timed(pool, way, case, repeats)]
            seconds[f"{way}_s"], seconds["first_s"] = statistics.median(later), first
        gain = seconds["one_thread_s"] / seconds["all_threads_s"]
        print(case.told, seconds, flush=True)
        over = seconds["pydicom_s"] / seconds["all_threads_s"]
        yield case.told | seconds | {"gain": gain, "gain_over_pydicom": over}


def section(figures: dict[str, Any]) -> str:
    """Return what stands on the page; it follows from the figures alone, of which a part may not be measured."""
    parts = {"runs": threads_section, "peers": peers_section}
    return "\n\n".join(told(figures) for name, told in parts.items() if name in figures)


def threads_section(figures: dict[str, Any]) -> str:
    """Return what threads gain."""
    lines = [
        f"{figures['measured']}. Medians by the clock; every frame equal to what was encoded, bit by bit.",
        "",
        "| | frames | pydicom, one core, s | here, one thread, s | here, all cores, s | gain by threads "
        "| gain over pydicom | first run of a worker, s |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['codec']} | {r['size_px']}² × {r['frames']} | {r['pydicom_s']:.3f} | {r['one_thread_s']:.3f} | "
        f"{r['all_threads_s']:.3f} | {r['gain']:.2f} | {r['gain_over_pydicom']:.2f} | {r['first_s']:.3f} |"
        for r in figures["runs"]
    ]
    return "\n".join(lines)


def peers_section(figures: dict[str, Any]) -> str:
    """Return what a decode costs beside peers."""
    lines = [
        f"{figures['peers_measured']}. Beside peers, on one core each: processor time of a decode, and the memory that "
        "it adds.",
        "",
        "| | frames | pydicom, s | gdcm, s | SimpleITK, s | here, s | here over pydicom | over gdcm | over SimpleITK "
        "| memory, MB: pydicom | gdcm | SimpleITK | here |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in figures["peers"]:
        seconds = " | ".join(f"{one['processor_s']:.3f}" for one in r["ways"].values())
        over = " | ".join(f"{ratio:.2f}" for ratio in r["one_thread_over"].values())
        added = " | ".join(f"{one['added_mb']:.0f}" for one in r["ways"].values())
        lines.append(f"| {r['codec']} | {r['size_px']}² × {r['frames']} | {seconds} | {over} | {added} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", choices=("peers", "threads"), help="measure this, leave the other as it stands")
    given = parser.parse_args()
    told = f"Measured with {state()}, on {machine()}"
    parts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        cases = list(make_cases(Path(folder)))
        if given.only != "peers":
            parts |= {"measured": told, "runs": list(by_threads(cases, given.repeats))}
        if given.only != "threads":
            parts |= {"peers_measured": told, "peers": list(beside_peers(cases, given.repeats))}
    figures = write_parts(ROOT / "benchmarks" / "decode.json", parts)
    write_section(ROOT / "docs" / "hostile-input.md", "parallel decode", SCRIPT, section(figures))


if __name__ == "__main__":
    main()
