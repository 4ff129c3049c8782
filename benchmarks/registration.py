"""Measure the alignment of follow-ups beside what others offer, all in one run, and write down what came out.

Each competitor works in a process of its own, on the same pair of scans of 256 x 256 x 100 voxels; counted is all
the time from the scans to the displacement, and the memory it adds. The error is that of points all over the liver,
whose way the simulator knows. Written: `benchmarks/registration.json` and the section of `docs/registration.md`.

    .venv/bin/pip install -e '.[benchmark]'
    .venv/bin/python benchmarks/registration.py [--case KIND:SEED:MM]... [--only NAME]... [--real FOLDER]
"""

from __future__ import annotations

import argparse
import json
import pickle
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from angio_pipeline.core.followups import CtVolume
from angio_pipeline.lipiodol.deforming import seen_parts
from angio_pipeline.lipiodol.matching import Compared
from angio_pipeline.lipiodol.registration import RegistrationParams, align
from angio_pipeline.lipiodol.tissue import TissueParams, survey
from pages import ROOT, machine, state, write_figures, write_section
from processes import forget_peak_memory, hold_threads, in_its_own_process, peak_memory_mb
from registration_case import RegistrationCase, make_registration_case
from registration_peers import PEERS, Seen

SCRIPT = "benchmarks/registration.py"
FIGURES = ROOT / "benchmarks" / "registration.json"
PAGE = ROOT / "docs" / "registration.md"
OURS, OURS_RIGID = "angio-pipeline", "angio-pipeline, rigid only"
NAMES = ("none", *PEERS, OURS_RIGID, OURS)
BOX_MARGIN_MM = 25.0  # about the liver, for the peers: more than the rigid motion leaves
CASES = ("breath:1:5", "breath:2:15", "swelling:4:15", "breath:5:10", "real:1:10")
Row = dict[str, Any]


def compete(name: str, path: Path, answer: Any) -> None:
    """Send what one competitor reaches on one case, or the sentence that says why there is nothing."""
    hold_threads()
    case: RegistrationCase = pickle.loads(path.read_bytes())
    try:
        warm_up(name)
        before = forget_peak_memory()
        started, busy = time.perf_counter(), time.process_time()
        place, told = solve(name, case)
        seconds, cpu = time.perf_counter() - started, time.process_time() - busy
        added = peak_memory_mb() - before
        answer.put(
            {**judged(case, place(case.targets)), "seconds": seconds, "cpu_seconds": cpu, "added_mb": added, **told}
        )
    except ImportError as problem:
        answer.put(f"not installed ({problem.name})")
    except Exception as problem:
        answer.put(f"failed ({type(problem).__name__}: {problem})")


def solve(name: str, case: RegistrationCase) -> tuple[Any, Row]:
    """Return the function that places points, and what a method says of itself."""
    params = RegistrationParams()
    if name == "none":
        return (lambda points: points), {}
    looked = [survey(volume, params=TissueParams()) for volume in (case.fixed, case.moving)]
    bent = params.deformation.model_copy(update={"enabled": name == OURS})
    found = align(looked[0], looked[1], params=params.model_copy(update={"deformation": bent}))
    if name in PEERS:
        both = [Compared.of(t, window_hu=params.window_hu, avoid_mm=params.avoid_mm) for t in looked]
        parts = seen_parts(both[0], both[1], params=params.deformation)
        fixed, moving = (
            Seen(c.grey, c.tissue.affine, part).boxed(BOX_MARGIN_MM) for c, part in zip(both, parts, strict=True)
        )
        return PEERS[name](fixed, moving, found.motion), {}
    told = {"correlation": found.score, "edge_gap_mm": found.edge_gap_mm[1]}
    return found.place, told | ({"volume_change": found.bend.volume_change} if found.bend is not None else {})


def judged(case: RegistrationCase, found: Any) -> Row:
    """Return the errors over the liver's points, and over those near oil."""
    error = np.linalg.norm(np.asarray(found) - case.truth, axis=1)
    near = float(np.median(error[case.oil])) if case.oil.any() else None
    return {"median_mm": float(np.median(error)), "p95_mm": float(np.percentile(error, 95)), "oil_mm": near}


def warm_up(name: str) -> None:
    """Load and compile what is loaded and compiled once a process: not counted."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 30, (40, 40, 40)).astype(np.float32)
    small = Seen(noise, np.diag([1.0, 1, 1, 1])[[2, 1, 0, 3]], np.ones(noise.shape, np.bool_))
    if name == "none":
        return
    if name in PEERS:
        PEERS[name](small, small, np.eye(4))
        return
    from angio_pipeline.numerics.deformation import Deformation, fit_deformation, lattice_over
    from angio_pipeline.numerics.rigid import moving_image

    shape, grid = lattice_over(np.ones(small.grey.shape, np.bool_), small.affine, 8.0)
    points = np.argwhere(np.ones(small.grey.shape, np.bool_))[:, ::-1].astype(float)
    image = moving_image(small.grey, np.ones(small.grey.shape, np.bool_), small.affine, blur_mm=1.0)
    rest = Deformation(np.eye(4), np.zeros((*shape, 3)), grid)
    fit_deformation(small.grey.ravel(), points, image, rest, bending=1.0, stretching=1.0, rounds=1)


# --- writing


def section(figures: Row) -> str:
    """Return the section of the page: one table of all cases, one a case."""
    lines = [f"Measured by `{SCRIPT}` on {figures['machine']}; {figures['state']}.", ""]
    lines += summary(figures["cases"])
    missing = [name for name in NAMES if not any(name in case["rows"] for case in figures["cases"])]
    lines += ["", f"Not measured yet: {', '.join(missing)}."] if missing else []
    for case in figures["cases"]:
        lines += ["", f"### {case['name'][0].upper()}{case['name'][1:]}", "", f"Voxels: {case['voxels']}.", ""]
        lines += table(case["rows"])
    return "\n".join(lines)


def summary(cases: list[Row]) -> list[str]:
    """Return the medians over all cases, with the time over ours in the same run."""
    told = []
    for name in NAMES:
        rows = [case["rows"].get(name) for case in cases]
        known = [row for row in rows if isinstance(row, dict)]
        ours = [case["rows"].get(OURS) for case in cases if isinstance(case["rows"].get(name), dict)]
        if not known:
            continue
        ratios = [
            row["cpu_seconds"] / mine["cpu_seconds"]
            for row, mine in zip(known, ours, strict=True)
            if isinstance(mine, dict)
        ]
        middle = {
            key: float(np.median([row[key] for row in known]))
            for key in ("median_mm", "p95_mm", "seconds", "cpu_seconds", "added_mb")
        }
        ratio = f"{np.median(ratios):.2f}" if ratios else "–"
        told.append(
            f"| {name} | {len(known)} | {middle['median_mm']:.2f} | {middle['p95_mm']:.2f} | {middle['seconds']:.1f} "
            f"| {middle['cpu_seconds']:.1f} | {ratio} | {middle['added_mb']:.0f} |"
        )
    head = "| method, medians over cases | n | median error, mm | 95th, mm | s | processor s | of ours | added MB |"
    return [head, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", *told]


def table(rows: dict[str, Row | str]) -> list[str]:
    """Return one case's table."""
    lines = [
        "| method | median error, mm | 95th percentile, mm | near oil, mm | s | processor s | added MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in rows.items():
        if isinstance(row, str):
            lines.append(f"| {name} | {row} | | | | | |")
            continue
        near = "–" if row["oil_mm"] is None else f"{row['oil_mm']:.2f}"
        lines.append(
            f"| {name} | {row['median_mm']:.2f} | {row['p95_mm']:.2f} | {near} | {row['seconds']:.1f} "
            f"| {row['cpu_seconds']:.1f} | {row['added_mb']:.0f} |"
        )
    return lines


def size(volume: CtVolume) -> str:
    """Return the size of a scan as a reader writes it."""
    z, y, x = volume.hu.shape
    return f"{x} × {y} × {z}"


def main() -> None:
    """Measure all and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help="KIND:SEED:MM, may be repeated", metavar="KIND:SEED:MM")
    parser.add_argument("--only", action="append", choices=NAMES, help="this method alone; may be repeated")
    parser.add_argument("--real", type=Path, default=Path("../shared/data/ct_liver"), help="folder of the real scan")
    parser.add_argument("--keep", type=Path, help="folder in which pairs of scans are kept for the next time")
    asked = parser.parse_args()
    figures = measured_before()
    with tempfile.TemporaryDirectory() as folder:
        for spec in asked.case or CASES:
            path = (asked.keep or Path(folder)) / f"{spec.replace(':', '-')}.pickle"
            try:
                case = kept_case(spec, path, asked.real)
            except FileNotFoundError as problem:
                print(problem)
                continue
            rows = rows_of(figures, case)
            for name in asked.only or NAMES:
                rows[name] = in_its_own_process(compete, name, path)
                print(case.name, name, rows[name], flush=True)
                # After every method: what was measured is not lost when a later one fails.
                write_figures(FIGURES, figures)
                write_section(PAGE, "figures", SCRIPT, section(figures))


def measured_before() -> Row:
    """Return what is written of this very code, else nothing but where and of what the figures will be."""
    here = {"machine": machine(), "state": state(), "cases": []}
    before: Row = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else here
    return before if before["state"] == here["state"] else here


def rows_of(figures: Row, case: RegistrationCase) -> dict[str, Row | str]:
    """Return the rows of a case among the figures, none of them yet when it is new."""
    for known in figures["cases"]:
        if known["name"] == case.name:
            found: dict[str, Row | str] = known["rows"]
            return found
    rows: dict[str, Row | str] = {}
    figures["cases"].append({"name": case.name, "voxels": size(case.fixed), "rows": rows})
    return rows


def kept_case(spec: str, path: Path, real: Path) -> RegistrationCase:
    """Return a pair of scans, made unless it was kept, and leave it at `path`."""
    if path.is_file():
        kept: RegistrationCase = pickle.loads(path.read_bytes())
        return kept
    kind, seed, breath = spec.split(":")
    case = make_registration_case(kind, int(seed), float(breath), real=real)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(case))
    return case


if __name__ == "__main__":
    main()
