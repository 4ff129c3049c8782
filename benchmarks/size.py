"""Measure how the cost of a whole analysis grows with the size of a frame and with the number of frames.

Every case is the sample's first run, resampled, through the real command with one worker. Two exponents are fitted to
the logarithms by least squares: time ~ pixels of a frame to the one, frames to the other. Written:
`benchmarks/size.json`, `docs/images/size.svg` and a section of `docs/performance.md`.

    .venv/bin/python benchmarks/size.py [--sizes 512 1024 2048] [--frames 10 30 60] [--print]
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from angio_pipeline.assets import sample_dir
from angio_pipeline.benchmark import BenchmarkCase, measure_case
from pages import ROOT, machine, state, write_parts, write_section

SCRIPT = "benchmarks/size.py"
FIGURES = ROOT / "benchmarks" / "size.json"
PICTURE = ROOT / "docs" / "images" / "size.svg"
PAGE = ROOT / "docs" / "performance.md"
SIZES_PX, FRAMES = (512, 1024, 2048), (10, 30, 60)


def measured(sizes_px: list[int], frames: list[int]) -> list[dict[str, Any]]:
    """Return what each case cost, after one that is thrown away: it compiles what is compiled once a machine."""
    measure_case(BenchmarkCase(256, 6), sample_dir())
    rows = []
    for size_px, count in product(sizes_px, frames):
        result = measure_case(BenchmarkCase(size_px, count), sample_dir())
        rows.append({**asdict(result.case), "wall_s": result.wall_s, "peak_gb": result.peak_gb})
        print(f"{size_px} x {size_px} x {count}: {result.wall_s:.1f} s, {result.peak_gb:.2f} GB", flush=True)
    return rows


def fitted(rows: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Return the exponents of pixels and of frames, and the greatest factor by which a case lies off the fit."""
    pixels = np.log([row["size_px"] ** 2 for row in rows])
    frames = np.log([row["frames"] for row in rows])
    values = np.log([row[name] for row in rows])
    design = np.stack([np.ones(len(rows)), pixels, frames], axis=1)
    found, *_ = np.linalg.lstsq(design, values, rcond=None)
    off = float(np.exp(np.abs(design @ found - values).max()))
    return {"pixels": float(found[1]), "frames": float(found[2]), "worst_factor": off}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw time and memory against frames, a line a size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, name, label in zip(
        figure.subplots(1, 2), ("wall_s", "peak_gb"), ("time, s", "greatest memory, GB"), strict=True
    ):
        for size_px in sorted({row["size_px"] for row in rows}):
            line = sorted((row["frames"], row[name]) for row in rows if row["size_px"] == size_px)
            axes.plot(*zip(*line, strict=True), marker="o", label=f"{size_px} × {size_px}")
        axes.set(xscale="log", yscale="log", xlabel="frames", ylabel=label)
        axes.set_xticks(sorted({row["frames"] for row in rows}), labels=sorted({row["frames"] for row in rows}))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    # No date in the file, so that the same figures give the same file.
    figure.savefig(path, metadata={"Date": None})


def section(figures: dict[str, Any]) -> str:
    """Return what is said of the cost; it follows from the figures alone."""
    rows, fits = figures["cases"], figures["fits"]
    lines = ["| frame | frames | time, s | greatest memory, GB |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {r['size_px']}² | {r['frames']} | {r['wall_s']:.1f} | {r['peak_gb']:.2f} |" for r in rows]
    said = {"wall_s": "Time", "peak_gb": "Memory"}
    words = " ".join(
        f"{said[name]} grows with the pixels of a frame to the power {fit['pixels']:.2f} and with the frames to the "
        f"power {fit['frames']:.2f} (no case is off by more than a factor {fit['worst_factor']:.2f})."
        for name, fit in fits.items()
    )
    told = f"Measured with {figures['measured_with']}, on {figures['machine']}; whole command, one worker, all cores."
    return f"{told}\n\n" + "\n".join(lines) + f"\n\n{words}\n\n![Time and memory against frames](images/size.svg)"


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES_PX)
    parser.add_argument("--frames", type=int, nargs="+", default=FRAMES)
    parser.add_argument("--print", action="store_true", help="print the section and write nothing")
    given = parser.parse_args()
    told = {"schema": "angio-pipeline/size-cost/1", "measured_with": state(), "machine": machine()}
    rows = measured(list(given.sizes), list(given.frames))
    figures = told | {"cases": rows, "fits": {name: fitted(rows, name) for name in ("wall_s", "peak_gb")}}
    print(section(figures))
    if not given.print:
        write_parts(FIGURES, figures)
        draw(rows, PICTURE)
        write_section(PAGE, "cost against size", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
