"""Measure the vessel graph on trees whose truth is known, beside skan and sknw.

Scenes are those of `graph_trees.py`, with seeds that nothing was fitted to. skan and sknw make a graph of the skeleton
of the same mask; they know no flow, so a place where three or more of their edges meet is a fork. Time is processor
time of one thread, from the mask (and, for ours, the subtracted run) to the graph. The same time within the analysis of
runs is measured by `graph_runs.py`. Written: `benchmarks/graph.json` and a section of `docs/graph.md`. Needs the extra
`[benchmark]`.

    .venv/bin/python benchmarks/graph.py [--scenes N] [--only runs|memory]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import skeletonize

from angio_pipeline.vessels import GraphParams, build_graph
from graph_runs import measure_runs
from graph_scores import centreline_errors, count_edges, kept, match_forks, score
from graph_trees import Scene, make_scene
from pages import ROOT, machine, state, write_figures, write_section
from processes import forget_peak_memory, peak_memory_mb

Array = npt.NDArray[np.float64]

SCRIPT = "benchmarks/graph.py"
FIGURES = ROOT / "benchmarks" / "graph.json"
PAGE = ROOT / "docs" / "graph.md"
SAMPLE = ROOT / "data" / "sample"
RUN_PX, RUN_FRAMES = 1024, 24
FIRST_SEED = 0
# Of each set: kind of tree, frame size, gaps in the mask, share of the scenes asked for, and its words on the page.
SETS = {
    "clean": ("clean", 1024, 0, 1.0, "clean trees, 1024²"),
    "gaps": ("clean", 1024, 3, 0.5, "clean trees, three gaps in each mask, 1024²"),
    "dense": ("dense", 1024, 0, 1.0, "two trees one behind the other, 1024²"),
    "liver": ("liver", 512, 0, 0.5, "hepatic arteries down to one pixel, 512²"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Skeleton:
    """What a skeleton graph says: its edges' lines, and each place where more than two meet, once for each more."""

    lines: list[Array]
    forks: Array


def with_skan(mask: npt.NDArray[np.bool_]) -> Skeleton:
    """Return skan's graph of a mask."""
    import skan

    skeleton = skan.Skeleton(skeletonize(mask))
    table = skan.summarize(skeleton, separator="_")
    lines = [np.asarray(skeleton.path_coordinates(k), float) for k in range(skeleton.n_paths)]
    ends = np.concatenate([table["node_id_src"].to_numpy(), table["node_id_dst"].to_numpy()])
    nodes, degree = np.unique(ends, return_counts=True)
    places = np.asarray(skeleton.coordinates, float)[nodes]
    return Skeleton(lines, np.repeat(places, np.maximum(degree - 2, 0), axis=0))


def with_sknw(mask: npt.NDArray[np.bool_]) -> Skeleton:
    """Return sknw's graph of a mask."""
    import sknw

    graph = sknw.build_sknw(skeletonize(mask).astype(np.uint16), multi=True)
    lines = [np.asarray(data["pts"], float) for _, _, data in graph.edges(data=True)]
    places = np.array([graph.nodes[n]["o"] for n in graph.nodes], float).reshape(-1, 2)
    degree = np.array([graph.degree(n) for n in graph.nodes])
    return Skeleton(lines, np.repeat(places, np.maximum(degree - 2, 0), axis=0))


PEERS: dict[str, Callable[[npt.NDArray[np.bool_]], Skeleton]] = {"skan": with_skan, "sknw": with_sknw}


def measure_peer(make: Callable[[npt.NDArray[np.bool_]], Skeleton], scenes: Sequence[Scene]) -> dict[str, float]:
    """Return the counts of a skeleton graph over scenes; what it does not tell is missing."""
    totals: dict[str, float] = {}
    times, errors = [], []
    for scene in scenes:
        mask = np.array(scene.segmentation.artery)
        start = time.process_time()
        found = make(mask)
        times.append(time.process_time() - start)
        inside = ndimage.distance_transform_edt(mask)
        widths = [inside[tuple(np.rint(line).astype(int).T)] for line in found.lines]
        hit, left_over = match_forks(found.forks, scene.forks, scene.scale)
        clear = np.array([fork.clear for fork in scene.forks], bool)
        crossings = [c for c in scene.crossings if c.clear]
        true = count_edges(scene.tree.lines, scene.tree.radii_px, scene.scale)
        edges = count_edges(found.lines, widths, scene.scale)
        errors.append(abs(edges - true) / true)
        counts = {
            "edges": true,
            "edges_found": edges,
            "edges_listed": len(found.lines),
            "forks": int(clear.sum()),
            "forks_hit": int((hit & clear).sum()),
            "forks_all_hit": int(hit.sum()),
            "forks_found": len(found.forks),
            "crossings": len(crossings),
            "crossings_kept": sum(kept(c, left_over, scene.scale) for c in crossings),
        }
        for name, value in counts.items():
            totals[name] = totals.get(name, 0) + value
    return {**totals, "edge_error": float(np.mean(errors)), "median_s": float(np.median(times))}


def measure_ours(scenes: Sequence[Scene]) -> dict[str, float]:
    """Return the counts of the vessel graph over scenes, how far its lines lie aside, and how its radii do."""
    totals: dict[str, float] = {}
    times, errors, aside, ratio = [], [], [], []
    for scene in scenes:
        start = time.process_time()
        graph, _ = build_graph(scene.segmentation, scene.sub, scene.maps, params=GraphParams())
        times.append(time.process_time() - start)
        scores = score(graph, scene)
        errors.append(abs(scores.edges_found - scores.edges) / scores.edges)
        for name, value in {**asdict(scores), "edges_listed": len(graph.branches)}.items():
            totals[name] = totals.get(name, 0) + value
        away, width = centreline_errors(graph, scene)
        aside.append(away)
        ratio.append(width)
    apart, widths = np.concatenate(aside), np.concatenate(ratio)
    low, middle, high = np.percentile(widths, [25, 50, 75])
    return {
        **totals,
        "edge_error": float(np.mean(errors)),
        "median_s": float(np.median(times)),
        "centreline_rms_px": float(np.sqrt((apart**2).mean())),
        "radius_ratio": float(middle),
        "radius_ratio_iqr": float(high - low),
    }


def measure(count: int) -> dict[str, Any]:
    """Return the figures of every set and contestant."""
    cv2.setNumThreads(1)
    # Compiled once, before anything is timed.
    warm = make_scene("clean", FIRST_SEED + 999, 512)
    build_graph(warm.segmentation, warm.sub, warm.maps, params=GraphParams())
    for make in PEERS.values():
        make(np.array(warm.segmentation.artery))
    found: dict[str, Any] = {}
    for name, (kind, size_px, gaps, share, _) in SETS.items():
        seeds = range(FIRST_SEED, FIRST_SEED + max(1, round(share * count)))
        scenes = [make_scene(kind, seed, size_px, gaps=gaps) for seed in seeds]
        rows: dict[str, Any] = {"angio": measure_ours(scenes)}
        for peer, make in PEERS.items():
            rows[peer] = measure_peer(make, scenes)
        found[name] = {"scenes": len(scenes), "contestants": rows}
    return {
        "schema": "angio-pipeline/graph/1",
        "machine": machine(),
        "measured_with": state(),
        "sets": found,
    }


def measure_memory() -> dict[str, Any]:
    """Return the memory that each contestant adds on one scene of each set, MB, once all of them have run before."""

    def work(who: str, scene: Scene) -> object:
        if who in PEERS:
            return PEERS[who](np.array(scene.segmentation.artery))
        return build_graph(scene.segmentation, scene.sub, scene.maps, params=GraphParams())

    added: dict[str, dict[str, float]] = {}
    for name, (kind, size_px, gaps, _, _) in SETS.items():
        scene = make_scene(kind, FIRST_SEED, size_px, gaps=gaps)
        added[name] = {}
        for who in ("angio", *PEERS):
            work(who, scene)
            before = forget_peak_memory()
            work(who, scene)
            added[name][who] = peak_memory_mb() - before
    return {"measured_with": state(), "added_mb": added}


def time_runs() -> dict[str, Any]:
    """Return the time of the graph within the analysis of runs."""
    cv2.setNumThreads(1)
    figures = measure_runs(SAMPLE, RUN_PX, RUN_FRAMES)
    return {"machine": machine(), "measured_with": state(), "size_px": RUN_PX, "frames": RUN_FRAMES, **figures}


def _share(row: dict[str, float], part: str, whole: str) -> str:
    return f"{row[part] / row[whole]:.3f}" if row.get(whole) and part in row else "–"


def section(figures: dict[str, Any]) -> str:
    """Return what is said in `docs/graph.md`."""
    lines = [
        f"Measured with {figures['measured_with']} on {figures['machine']}. Time is of one thread, a median.",
        "",
        "| trees | what | edges, true | found | error a tree | forks found | of those told, true | crossings kept "
        "| passed right | ways right | time, ms |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, told in figures["sets"].items():
        for who, row in told["contestants"].items():
            lines.append(
                f"| {SETS[name][4]} ({told['scenes']}) | {who} | {row['edges']:.0f} | {row['edges_found']:.0f} "
                f"| {100 * row['edge_error']:.1f} % | {_share(row, 'forks_hit', 'forks')} "
                f"| {_share(row, 'forks_all_hit', 'forks_found')} | {_share(row, 'crossings_kept', 'crossings')} "
                f"| {_share(row, 'crossings_passed', 'crossings')} | {_share(row, 'ways_right', 'tips')} "
                f"| {1000 * row['median_s']:.0f} |"
            )
    lines += [
        "",
        "| trees | centreline, rms px | radius over the true one, median | quartiles apart | against the flow |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, told in figures["sets"].items():
        row = told["contestants"]["angio"]
        lines.append(
            f"| {SETS[name][4]} | {row['centreline_rms_px']:.2f} | {row['radius_ratio']:.2f} "
            f"| {row['radius_ratio_iqr']:.2f} | {100 * row['length_against_flow_px'] / row['length_px']:.1f} % |"
        )
    return "\n".join([*lines, "", memory_sentence(figures["memory"]), "", runs_sentence(figures["runs"])])


def memory_sentence(told: dict[str, Any]) -> str:
    """Return what is said of memory."""
    most = {who: max(one[who] for one in told["added_mb"].values()) for who in ("angio", *PEERS)}
    words = ", ".join(f"{who} {value:.0f}" for who, value in most.items())
    return (
        f"Memory that a graph adds at its peak, MB, the most of a scene of each set: {words} ({told['measured_with']})."
    )


def runs_sentence(told: dict[str, Any]) -> str:
    """Return what is said of the graph within the analysis of runs."""
    part = {name: f"{1000 * told[f'{name}_s']:.0f}" for name in ("graph", "network", "tip", "tree")}
    return (
        f"Within an analysis, the sample's {told['runs']:.0f} runs at {told['size_px']}² x {told['frames']} frames\n"
        f"({told['branches']:.0f} branches in the middle one): the graph takes {part['graph']} ms of one thread\n"
        f"once its loops are loaded, {part['network']} for the network, {part['tip']} for the root and {part['tree']}\n"
        f"for the tree (medians of runs, the least of several times; {told['measured_with']},\n{told['machine']})."
    )


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description="Write benchmarks/graph.json and its section of the page.")
    parser.add_argument("--scenes", type=int, default=12, help="of each set; of some sets half as many")
    parser.add_argument("--only", choices=("runs", "memory"), help="measure this and leave the rest as it stands")
    given = parser.parse_args()
    figures = json.loads(FIGURES.read_text(encoding="utf-8")) if given.only else measure(given.scenes)
    if given.only != "memory":
        figures["runs"] = time_runs()
    if given.only != "runs":
        figures["memory"] = measure_memory()
    write_figures(FIGURES, figures)
    write_section(PAGE, "graph", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
