"""What one run costs from file to page: wall time, time of each stage and peak memory, measured on this machine.

The sample's first run is resampled to the size and the number of frames asked for, written as
DICOM, and analysed by the real command in a process of its own. What each stage took stands in that command's log.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian

from angio_pipeline.core.errors import AngioError
from angio_pipeline.numerics.filters import difference_noise_sd

__all__ = ["BenchmarkCase", "BenchmarkResult", "measure_case"]


@dataclass(frozen=True, slots=True)
class BenchmarkCase:
    """One size to measure."""

    size_px: int
    frames: int


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """What a case cost; `peak_gb` is the memory of all processes together, NaN where it cannot be read.

    Pages that processes share count once (proportional set size). `stages_s` has the seconds of each stage in the order
    in which they ran; what is missing to `wall_s` is the start of the program and of its worker, and the worklist.
    """

    case: BenchmarkCase
    wall_s: float
    peak_gb: float
    file_mb: float
    stages_s: dict[str, float]


def measure_case(case: BenchmarkCase, sample: Path) -> BenchmarkResult:
    """Return the cost of analysing one run of the given size with one worker.

    Raises
    ------
    AngioError
        When the sample holds no run, or the command fails.
    """
    with tempfile.TemporaryDirectory(prefix="angio-benchmark-") as folder:
        source = Path(folder) / "run.dcm"
        write_resampled(_first_run(sample), source, case)
        out = Path(folder) / "out"
        command = [sys.executable, "-m", "angio_pipeline", "run", str(source), "--out", str(out)]
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--workers", "1", "--quiet"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        peak = _watch(process)
        wall = time.perf_counter() - started
        if process.returncode != 0:
            message = (process.stderr.read() if process.stderr else "").strip().splitlines()
            raise AngioError(
                f"Expected the benchmark run to succeed, found: {message[-1] if message else 'no message'}"
            )
        return BenchmarkResult(case, wall, peak, source.stat().st_size / 1e6, _stages(out))


def _stages(out: Path) -> dict[str, float]:
    """Return the seconds of each stage of every task that the log of a batch tells."""
    seconds: dict[str, float] = {}
    for log in sorted(out.glob("logs/*.jsonl")):
        for line in log.read_text(encoding="utf-8").splitlines():
            for name, took in json.loads(line).get("stages", {}).items():
                seconds[name] = seconds.get(name, 0.0) + took
    return seconds


def write_resampled(source: Path, target: Path, case: BenchmarkCase) -> None:
    """Write the run at `source` again with another size and number of frames, uncompressed."""
    dataset = pydicom.dcmread(source)
    pixels = dataset.pixel_array
    rng = np.random.default_rng(0)
    out = np.empty((case.frames, case.size_px, case.size_px), dtype=np.uint16)
    for t, nearest in enumerate(np.linspace(0, len(pixels) - 1, case.frames).round().astype(int)):
        frame = pixels[nearest].astype(np.float32)
        # Resampling smooths the noise away that a real frame of this size would have.
        noise = rng.normal(0, difference_noise_sd(frame), (case.size_px, case.size_px))
        out[t] = np.clip(np.round(cv2.resize(frame, (case.size_px, case.size_px)) + noise), 0, 65535)
    dataset.Rows = dataset.Columns = case.size_px
    dataset.NumberOfFrames = case.frames
    dataset.FrameTimeVector = [0.0, *([300.0] * (case.frames - 1))]
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.PixelData = out.tobytes()
    dataset["PixelData"].is_undefined_length = False
    dataset.save_as(target, enforce_file_format=True)


def _first_run(sample: Path) -> Path:
    candidates: Sequence[Path] = sorted(p for p in sample.rglob("*") if p.is_file() and "truth" not in p.parts)
    for path in candidates:
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except (pydicom.errors.InvalidDicomError, OSError):
            continue
        if header.get("Modality") == "XA" and int(header.get("NumberOfFrames") or 1) > 1:
            return path
    raise AngioError(f"Expected a run in the sample folder {sample.name}, found none; reinstall the package.")


def _watch(process: subprocess.Popen[str]) -> float:
    """Return the greatest memory of a process and its children together, in GB, once it has ended."""
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, sum(_proportional_bytes(pid) for pid in _family(process.pid)) / 1e9)
        time.sleep(0.05)
    return peak or float("nan")


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(member for child in children for member in _family(int(child)))]


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
