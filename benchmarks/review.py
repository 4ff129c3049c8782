"""Measure the review server: the worklist of thousands, its memory, and twenty readers who correct at once.

A real analysis of a small simulated run is laid out 5 000 times (its analysis written anew each time, its other files
linked), so that the index reads what it would read of as many patients. Then the server is started as its command does,
and browsers ask it over loopback. Written: `benchmarks/review.json` and the section of figures in `docs/review.md`.

    .venv/bin/python benchmarks/review.py [--cases N] [--readers N] [--corrections N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import psutil

from pages import ROOT, angio, machine, state, write_figures, write_section

sys.path.insert(0, str(ROOT / "tests" / "scenes"))
from review_server import Served, fill_worklist, make_edit, serve, wait_for

SCRIPT = "benchmarks/review.py"
FIGURES = ROOT / "benchmarks" / "review.json"
PAGE = ROOT / "docs" / "review.md"
RUN = ROOT / "data" / "sample" / "case-000" / "dicom" / "day000" / "frontal.dcm"


def analyse_one(folder: Path) -> Path:
    """Return the folder of one analysed run of the sample, with the ridge filter: networks would say no more here."""
    (folder / "filter.toml").write_text('[segment]\nmethod = "filter"\n', encoding="utf-8")
    angio("run", str(RUN), "--out", str(folder / "one"), "--config", str(folder / "filter.toml"), "--quiet")
    (path,) = (folder / "one").rglob("analysis.json")
    return path.parent


def timed_s(ask: Callable[[], Any]) -> float:
    """Return how long an answer takes."""
    begun = perf_counter()
    ask()
    return perf_counter() - begun


def tell(times_s: list[float]) -> dict[str, float]:
    """Return median, 95th percentile and worst, milliseconds."""
    found = np.array(times_s) * 1000
    return {
        "median_ms": float(np.median(found)),
        "p95_ms": float(np.percentile(found, 95)),
        "worst_ms": float(found.max()),
    }


def measure_worklist(served: Served) -> dict[str, Any]:
    """Return how long the first index took, and pages of it under filters and orders."""
    browser = served.browser("Reader 0")
    begun = perf_counter()
    wait_for(lambda: not browser.told("/worklist", limit=1)["indexing"], within_s=1200)
    indexed_s = perf_counter() - begun
    queries: list[dict[str, Any]] = [
        {"sort": sort, "descending": descending, "offset": offset}
        for sort in ("subject", "date", "flags", "state", "edits", "findings")
        for descending in (False, True)
        for offset in (0, 2000)
    ]
    queries += [{"q": "P0001"}, {"flag": "MOTION_LARGE"}, {"state": "new", "analysed": True}] * 4
    times = [timed_s(partial(browser.told, "/worklist", **query)) for query in queries]
    facets = [timed_s(lambda: browser.told("/worklist/facets")) for _ in range(10)]
    return {"indexed_s": indexed_s, "page": tell(times), "facets": tell(facets), "pages": len(times)}


def measure_load(served: Served, readers: int, corrections: int) -> dict[str, Any]:
    """Return what came of readers who correct at once, each their own cases: times, and how many were kept."""
    cases = [row["id"] for row in served.browser("Reader 0").cases()]

    def read(number: int) -> tuple[list[float], int]:
        browser = served.browser(f"Reader {number + 1}")
        times, kept = [], 0
        share = corrections // readers + (number < corrections % readers)
        for k in range(share):
            case, on = cases[(7 * number + k // 10) % len(cases)], k % 10
            edit = make_edit(k, text="What a reader has to say of a place. " * 5, point=[100.0, 120.0])
            begun = perf_counter()
            answer = browser.edit(case, on, **edit)
            times.append(perf_counter() - begun)
            assert answer.status_code == 201, answer.text
        for case in dict.fromkeys(cases[(7 * number + k // 10) % len(cases)] for k in range(share)):
            kept += len(browser.corrections(case)["edits"])
        return times, kept

    begun = perf_counter()
    with ThreadPoolExecutor(readers) as pool:
        told = list(pool.map(read, range(readers)))
    whole_s = perf_counter() - begun
    times = [one for found, _ in told for one in found]
    return {"sent": len(times), "kept": sum(kept for _, kept in told), "whole_s": whole_s, "answer": tell(times)}


def measure_frames(served: Served) -> dict[str, Any]:
    """Return how long the frames of one run take to be prepared, and one frame to come."""
    browser = served.browser("Reader 0")
    (row,) = browser.cases()
    prepared_s = timed_s(lambda: browser.frames(row["id"]))
    told = browser.frames(row["id"])
    path = f"/cases/{row['id']}/frames/corrected"
    times = [timed_s(partial(browser.get, f"{path}/{n}", raw=True)) for n in range(told["frames"])]
    moved = f"/cases/{row['id']}/frames/subtracted/{told['reference_frame']}"
    shifts = [timed_s(partial(browser.get, moved, raw=True, shift_row=k / 4)) for k in range(1, 21)]
    memory_frames = memory_mb(served)
    branch = max(browser.told(f"/cases/{row['id']}/graph")["branches"], key=lambda one: len(one["centreline"]))
    tumours = browser.told(f"/cases/{row['id']}/analysis")["tumours"]
    ask = {"tumour": tumours[0]["id"], "click": branch["centreline"][len(branch["centreline"]) // 2]}
    clicks = [timed_s(partial(browser.send, "POST", f"/cases/{row['id']}/snap", json=ask)) for _ in range(20)]
    size = f"{told['rows']} x {told['columns']}, {told['frames']} frames"
    return {
        "size": size, "prepared_s": prepared_s, "frame": tell(times), "pixel_shift": tell(shifts), "snap": tell(clicks),
        "memory_frames_mb": memory_frames, "memory_snap_mb": memory_mb(served),
    }  # fmt: skip


def memory_mb(served: Served) -> float:
    """Return what the server itself holds (its worker is a process of its own), megabytes."""
    return float(psutil.Process(served.pid).memory_info().rss / 1e6)


def measure(cases: int, readers: int, corrections: int) -> dict[str, Any]:
    """Return everything that is measured."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        template = analyse_one(folder)
        out = folder / "out"
        fill_worklist(out, template, cases)
        size_kb = (template / "analysis.json").stat().st_size / 1000
        figures: dict[str, Any] = {"cases": cases, "readers": readers, "analysis_kb": size_kb}
        with serve(out) as served:
            figures["worklist"] = measure_worklist(served)
            figures["memory_worklist_mb"] = memory_mb(served)
            figures["load"] = measure_load(served, readers, corrections)
            figures["memory_load_mb"] = memory_mb(served)
        with serve(out) as served:
            figures["again_s"] = measure_worklist(served)["indexed_s"]
        with serve(folder / "one", "--source", RUN.parent) as served:
            figures["frames"] = measure_frames(served)
    return figures


def section(figures: dict[str, Any]) -> str:
    """Return the section of `docs/review.md`."""
    work, load, frames = figures["worklist"], figures["load"], figures["frames"]

    def row(what: str, told: dict[str, float]) -> str:
        return f"| {what} | {told['median_ms']:.0f} | {told['p95_ms']:.0f} | {told['worst_ms']:.0f} |"

    rows = [
        row(f"a page of the worklist, {figures['cases']} cases ({work['pages']} pages)", work["page"]),
        row("what it can be filtered by", work["facets"]),
        row(f"a correction, {figures['readers']} readers at once, on the disk", load["answer"]),
        row(f"a frame, raw ({frames['size']})", frames["frame"]),
        row("a frame with the mask moved by hand", frames["pixel_shift"]),
        row("the way of a feeder through a click", frames["snap"]),
    ]
    return (
        f"Measured with {figures['measured_with']}, on {figures['machine']}.\n\n"
        "| answer | median, ms | 95th percentile, ms | worst, ms |\n| --- | ---: | ---: | ---: |\n"
        + "\n".join(rows)
        + f"\n\nThe first index of {figures['cases']} cases, {figures['analysis_kb']:.0f} kB each, was complete after "
        f"{work['indexed_s']:.1f} s, at the next start after {figures['again_s']:.1f} s.\n"
        f"Of {load['sent']} corrections by {figures['readers']} readers {load['kept']} were kept, in "
        f"{load['whole_s']:.1f} s. Frames were prepared in {frames['prepared_s']:.1f} s, libraries loaded\n"
        f"included. The server held "
        f"{figures['memory_worklist_mb']:.0f} MB with the worklist, {figures['memory_load_mb']:.0f} MB after the "
        f"corrections,\n{frames['memory_frames_mb']:.0f} MB with frames and {frames['memory_snap_mb']:.0f} MB after "
        "clicks; the worker beside it is not counted."
    )


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description="Write benchmarks/review.json and the figures in docs/review.md.")
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--corrections", type=int, default=1000)
    parser.add_argument("--print", action="store_true", help="print the section and write nothing")
    given = parser.parse_args()
    figures = {
        "schema": "angio-pipeline/review-figures/1",
        "measured_with": state(),
        "machine": machine(),
        **measure(given.cases, given.readers, given.corrections),
    }
    if given.print:
        print(section(figures))
        return 0
    write_figures(FIGURES, figures)
    write_section(PAGE, "figures", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
