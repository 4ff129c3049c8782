"""Put what every stage reaches beside what others reach into one table, one document and one picture.

Nothing is measured here: the rows follow from the stored figures (`benchmarks/<name>.json`) of the benchmarks that
measure a stage and its peers in one run. Ratios are this program over the peer, so that below 1 is better, of time (of
the processor, but for motion and the scan of a disk), error and memory alike. Written: `benchmarks/peers.json`,
`docs/images/peers.svg` and a section of `docs/performance.md`.

    .venv/bin/python benchmarks/peers.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pages import ROOT, write_section

SCRIPT = "benchmarks/peers.py"
FIGURES = ROOT / "benchmarks" / "peers.json"
PICTURE = ROOT / "docs" / "images" / "peers.svg"
PAGE = ROOT / "docs" / "performance.md"
SHIFT, FIELD = "angio-pipeline, shift", "angio-pipeline, field"
# What the picture has no room to draw: from here on a dot stands at the edge.
EDGES = (1e-3, 1e3)

Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Beside:
    """One stage beside one peer; None where there is none: an error of decoding, of a network without weights."""

    stage: str
    peer: str
    time_ratio: float
    error_of: str
    error: float | None
    error_peer: float | None
    memory_mb: float
    memory_peer_mb: float

    @property
    def error_ratio(self) -> float | None:
        """This program's error over the peer's."""
        return self.error / self.error_peer if self.error is not None and self.error_peer else None

    @property
    def memory_ratio(self) -> float | None:
        """This program's memory over the peer's; what adds less than a tenth of a megabyte adds nothing."""
        return self.memory_mb / self.memory_peer_mb if self.memory_peer_mb >= 0.1 else None


def _mean_ratio(ratios: list[float]) -> float:
    # Ratios are averaged so that being twice as fast and half as fast cancel.
    return float(np.exp(np.mean(np.log(ratios))))


def decode(found: Found) -> Iterator[Beside]:
    """Yield decoding, one thread each, over all codecs and sizes."""
    runs = found["peers"]
    for peer in runs[0]["one_thread_over"]:
        ratio = _mean_ratio([run["one_thread_over"][peer] for run in runs])
        mine, theirs = (max(run["ways"][way]["added_mb"] for run in runs) for way in ("one_thread", peer))
        yield Beside("decode", peer, ratio, "", None, None, mine, theirs)


def ingest(found: Found) -> Iterator[Beside]:
    """Yield the first scan of a disk."""
    mine = found["first"]
    for name, peer in (("loops", "pydicom in loops, two processes"), ("gdcm", "gdcm.Scanner")):
        if name in found:
            ratio, memory = mine["wall_s"] / found[name]["wall_s"], found[name]["peak_mb"]
            yield Beside("headers of a disk", peer, ratio, "", None, None, mine["peak_mb"], memory)


def motion(found: Found) -> Iterator[Beside]:
    """Yield one shift a frame, and a field a frame."""
    for kind, stage, ours in (("shift", "motion, one shift", SHIFT), ("field", "motion, a field", FIELD)):
        mine, error = found[kind][ours], "shift_error_px" if kind == "shift" else "error_px"
        for peer, row in found[kind].items():
            if peer not in ("none", ours) and isinstance(row, dict):
                ratio = mine["seconds_a_frame"] / row["seconds_a_frame"]
                memory = mine["added_mb"], row["added_mb"]
                yield Beside(stage, peer, ratio, "RMSE, px", mine[error], row[error], *memory)


def segmentation(found: Found) -> Iterator[Beside]:
    """Yield the run network, by torch."""
    rows = found["contestants"]
    mine = rows["torch"]
    names = {
        "frangi": "scikit-image Frangi", "sato": "scikit-image Sato", "objectness": "SimpleITK objectness",
        "monai": "MONAI BasicUNet", "monai_512": "MONAI BasicUNet, 512²",
    }  # fmt: skip
    for name, peer in names.items():
        if name not in rows:
            continue
        row = rows[name]
        error, of_peer = (None if one["dice"] is None else 1 - one["dice"] for one in (mine, row))
        memory = 1024 * mine["peak_gb"], 1024 * row["peak_gb"]
        yield Beside("vessels", peer, mine["processor_s"] / row["processor_s"], "1 − Dice", error, of_peer, *memory)


def graph(found: Found) -> Iterator[Beside]:
    """Yield the vessel tree, over all sets of trees."""
    sets = [one["contestants"] for one in found["sets"].values()]
    for peer in ("skan", "sknw"):
        ratio = _mean_ratio([one["angio"]["median_s"] / one[peer]["median_s"] for one in sets])
        mine, theirs = (float(np.mean([one[who]["edge_error"] for one in sets])) for who in ("angio", peer))
        memory = [max(one[who] for one in found["memory"]["added_mb"].values()) for who in ("angio", peer)]
        yield Beside("graph", peer, ratio, "error of the number of edges", mine, theirs, *memory)


def registration(found: Found) -> Iterator[Beside]:
    """Yield the alignment of follow-ups, medians over the cases that both solved."""
    ours = "angio-pipeline"
    for peer in ("SimpleITK B-spline", "SimpleITK B-spline, masked", "dipy SyN"):
        rows = [(one["rows"].get(ours), one["rows"].get(peer)) for one in found["cases"]]
        both = [(mine, theirs) for mine, theirs in rows if isinstance(mine, dict) and isinstance(theirs, dict)]
        if both:
            ratio = _mean_ratio([mine["cpu_seconds"] / theirs["cpu_seconds"] for mine, theirs in both])
            error, memory = (
                [float(np.median([pair[who][name] for pair in both])) for who in (0, 1)]
                for name in ("median_mm", "added_mb")
            )
            yield Beside("registration", peer, ratio, "median over the liver, mm", *error, *memory)


def lipiodol(found: Found) -> Iterator[Beside]:
    """Yield the oil of a lesion at a date: ours aligns scans and tells intervals, which a threshold does not."""
    rows = found["contestants"]
    mine = rows["angio-pipeline"]
    for peer, row in rows.items():
        if peer != "angio-pipeline":
            ratio, memory = mine["seconds"] / row["seconds"], (mine["added_mb"], row["added_mb"])
            words = "iodine mass, relative", mine["mass_error"], row["mass_error"]
            yield Beside("lipiodol", peer, ratio, *words, *memory)


STAGES: dict[str, Callable[[Found], Iterator[Beside]]] = {
    "decode": decode,
    "ingest": ingest,
    "dsa": motion,
    "segmentation": segmentation,
    "graph": graph,
    "registration": registration,
    "lipiodol_peers": lipiodol,
}


def stored(name: str) -> Found | None:
    """Return the figures of a benchmark; None where it was not run."""
    path = ROOT / "benchmarks" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def collected() -> tuple[list[Beside], list[str]]:
    """Return all rows, and the benchmarks that were not run."""
    found = {name: stored(name) for name in STAGES}
    rows = [row for name, figures in found.items() if figures is not None for row in STAGES[name](figures)]
    return rows, [name for name, figures in found.items() if figures is None]


def draw(rows: list[Beside]) -> None:
    """Draw the ratios of time, error and memory, a line a peer; left of the line at 1 is better."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    heights = _heights(rows)
    figure = Figure(figsize=(11, 0.27 * (max(heights) + 3)), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for axes, name in zip(panels, ("time", "error", "memory"), strict=True):
        _draw_panel(axes, [getattr(row, f"{name}_ratio") for row in rows], heights, f"{name}, over the peer's")
    panels[0].set_yticks(heights, [row.peer for row in rows], fontsize=8)
    panels[0].set_ylim(max(heights) + 1, -1.6)
    for stage in dict.fromkeys(row.stage for row in rows):
        first = next(height for row, height in zip(rows, heights, strict=True) if row.stage == stage)
        beside = {"transform": panels[0].get_yaxis_transform(), "ha": "right", "va": "center"}
        panels[0].text(-0.02, first - 0.95, stage, weight="bold", fontsize=8.5, **beside)
    # No date and no random names in the file, so that the same figures give the same file.
    with rc_context({"svg.hashsalt": "peers"}):
        figure.savefig(PICTURE, metadata={"Date": None})


def _heights(rows: list[Beside]) -> list[float]:
    """Return where each row stands; above each stage there is room for its name."""
    heights, at = [], 0.0
    for k, row in enumerate(rows):
        at += 1.0 if k and rows[k - 1].stage == row.stage else 2.0
        heights.append(at - 2)
    return heights


def _draw_panel(axes: Any, ratios: list[float | None], heights: list[float], label: str) -> None:
    low, high = EDGES
    for ratio, height in zip(ratios, heights, strict=True):
        if ratio is None:
            axes.text(1, height, "–", ha="center", va="center", color="0.5")
            continue
        shown = min(max(ratio, low), high)
        colour = "#1b7837" if ratio <= 1 else "#b2182b"
        axes.plot([1, shown], [height, height], color=colour, lw=2, alpha=0.4, solid_capstyle="butt")
        axes.plot(shown, height, marker="o" if shown == ratio else "D", ms=5, color=colour)
        side, gap = ("right", -6) if ratio <= 1 else ("left", 6)
        place = {"textcoords": "offset points", "ha": side, "va": "center"}
        axes.annotate(_number(ratio), (shown, height), (gap, 0), fontsize=7, **place)
    axes.axvline(1, color="0.3", lw=0.8)
    axes.set(xscale="log", xlim=(low / 12, high * 12), xlabel=label)
    ticks = [10.0**power for power in range(-3, 4)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=7)
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def section(document: Found) -> str:
    """Return what stands on the page; it follows from the document alone."""
    lines = [
        "![Time, error and memory of each stage over those of its peers](images/peers.svg)",
        "",
        "Below 1 (green) this program is better; ratios beyond a thousand stand at the edge. Each stage and its peers "
        "were timed in one run",
        "with the same threads (the scan of a disk by two processes each, but for gdcm's one), each in a process of "
        "its own but for the graph.",
        "Time is that of the processor, but for motion and the scan of a disk. Memory is the peak of the whole process "
        "for vessels and the scan",
        "of a disk, and what is added to it for the others; of the oil, this program's holds the reading of the scans, "
        "too. Decoding that differs in a value",
        "ends its benchmark.",
        "Ratios over several cases are geometric means; how each was measured is told on the page of its stage.",
        "",
        "| stage | peer | time, over the peer's | error of | here | the peer's | memory, MB | the peer's |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in document["rows"]:
        errors = " | ".join(_number(row[name]) if row[name] != 0 else "0" for name in ("error", "error_peer"))
        lines.append(
            f"| {row['stage']} | {row['peer']} | {_number(row['time_ratio'])} | {row['error_of'] or '–'} | {errors} "
            f"| {row['memory_mb']:.0f} | {row['memory_peer_mb']:.0f} |"
        )
    if document["not_measured"]:
        lines += ["", f"Not measured: {', '.join(document['not_measured'])}."]
    return "\n".join(lines)


def main() -> int:
    """Return 0 when all was written."""
    rows, missing = collected()
    document: Found = {
        "schema": "angio-pipeline/peers/1",
        "rows": [{**asdict(row), "error_ratio": row.error_ratio, "memory_ratio": row.memory_ratio} for row in rows],
        "not_measured": missing,
    }
    FIGURES.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if rows:
        draw(rows)
    write_section(PAGE, "peers", SCRIPT, section(document))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
