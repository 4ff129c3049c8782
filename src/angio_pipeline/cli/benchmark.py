"""`angio benchmark`: what a run costs on this machine."""

from __future__ import annotations

import json as json_format
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from angio_pipeline.cli.ending import end_wrong_usage

if TYPE_CHECKING:
    from angio_pipeline.benchmark import BenchmarkCase

__all__ = ["benchmark"]


def benchmark(
    case: Annotated[list[str] | None, typer.Option(help="SIZExFRAMES, for example 1024x60; may be repeated.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure wall time and peak memory of a whole analysis, from file to page.

    Example: angio benchmark --case 512x20 --case 1024x60
    """
    from rich.console import Console
    from rich.table import Table

    from angio_pipeline.assets import sample_dir
    from angio_pipeline.benchmark import measure_case

    results = []
    for wanted in [_parse(text) for text in case or ["512x20", "1024x24", "1024x60"]]:
        if sys.stderr.isatty():
            typer.echo(f"Measuring {wanted.size_px} x {wanted.size_px}, {wanted.frames} frames ...", err=True)
        results.append(measure_case(wanted, sample_dir()))
    if json:
        rows = [
            {"size_px": r.case.size_px, "frames": r.case.frames, "wall_s": r.wall_s, "peak_gb": r.peak_gb}
            for r in results
        ]
        typer.echo(json_format.dumps(rows))
        return
    table = Table("frame", "frames", "file, MB", "wall, s", "peak memory, GB")
    for r in results:
        size = f"{r.case.size_px} x {r.case.size_px}"
        table.add_row(size, str(r.case.frames), f"{r.file_mb:.0f}", f"{r.wall_s:.1f}", f"{r.peak_gb:.2f}")
    Console().print(table)


def _parse(text: str) -> BenchmarkCase:
    from angio_pipeline.benchmark import BenchmarkCase

    size, _, frames = text.partition("x")
    if not (size.isdigit() and frames.isdigit() and 64 <= int(size) <= 4096 and 2 <= int(frames) <= 500):
        end_wrong_usage(f"Expected SIZExFRAMES with 64 to 4096 pixels and 2 to 500 frames, found {text!r}.")
    return BenchmarkCase(int(size), int(frames))
