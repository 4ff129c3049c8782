"""`angio benchmark`: what a run and its stages cost on this machine."""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from angio_pipeline.cli.ending import end_wrong_usage

if TYPE_CHECKING:
    from rich.table import Table

    from angio_pipeline.benchmark import BenchmarkCase, BenchmarkResult

__all__ = ["benchmark"]


def benchmark(
    case: Annotated[list[str] | None, typer.Option(help="SIZExFRAMES, for example 1024x60; may be repeated.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure what this program costs here: a whole analysis, from file to page, and each of its stages.

    A run of the sample is resampled to each size and number of frames and analysed by `angio run` with one worker.
    Told are wall time, seconds of each stage, and the greatest memory of all processes together; the first case pays
    for what is compiled once a machine. Other programs are not measured beside it: they are no part of the package.
    That is done in a checkout, by `benchmarks/all.py`.

    Example: angio benchmark --case 512x20 --case 1024x60
    """
    from rich.console import Console

    from angio_pipeline.assets import sample_dir
    from angio_pipeline.benchmark import measure_case

    results = []
    for wanted in [_parse(text) for text in case or ["512x20", "1024x24", "1024x60"]]:
        if sys.stderr.isatty():
            typer.echo(f"Measuring {wanted.size_px} x {wanted.size_px}, {wanted.frames} frames ...", err=True)
        results.append(measure_case(wanted, sample_dir()))
    if json:
        rows = [
            {
                "size_px": r.case.size_px,
                "frames": r.case.frames,
                "wall_s": r.wall_s,
                "peak_gb": r.peak_gb,
                "stages_s": r.stages_s,
            }
            for r in results
        ]
        typer.echo(json_format.dumps(rows))
        return
    Console().print(_costs(results))
    Console().print(_stages(results))


def _costs(results: Sequence[BenchmarkResult]) -> Table:
    """Return what each case cost as a whole."""
    from rich.table import Table

    table = Table("frame", "frames", "file, MB", "wall, s", "peak memory, GB")
    for r in results:
        size = f"{r.case.size_px} x {r.case.size_px}"
        table.add_row(size, str(r.case.frames), f"{r.file_mb:.0f}", f"{r.wall_s:.1f}", f"{r.peak_gb:.2f}")
    return table


def _stages(results: Sequence[BenchmarkResult]) -> Table:
    """Return the seconds of each stage, a column a case; the last row is what no stage tells."""
    from rich.table import Table

    table = Table("stage, s", *(f"{r.case.size_px} x {r.case.size_px} x {r.case.frames}" for r in results))
    for name in dict.fromkeys(name for r in results for name in r.stages_s):
        table.add_row(name, *(f"{r.stages_s.get(name, 0.0):.2f}" for r in results))
    table.add_row("start and worklist", *(f"{r.wall_s - sum(r.stages_s.values()):.2f}" for r in results))
    return table


def _parse(text: str) -> BenchmarkCase:
    from angio_pipeline.benchmark import BenchmarkCase

    size, _, frames = text.partition("x")
    if not (size.isdigit() and frames.isdigit() and 64 <= int(size) <= 4096 and 2 <= int(frames) <= 500):
        end_wrong_usage(f"Expected SIZExFRAMES with 64 to 4096 pixels and 2 to 500 frames, found {text!r}.")
    return BenchmarkCase(int(size), int(frames))
