"""Measure how well blush and feeders after embolisation are told, where it is known what was left of them.

Each simulated patient has one run before and, for each share of flow that embolisation is to leave, one after it,
written as DICOM and read again as any other. Arteries, tumours and feeders are the truth's, so that the
comparison of two runs is judged and not what found them. What is true: the iodine that a tumour holds at its
peak, over the concentration in the artery at the catheter's tip, after over before; and the flow through each feeder
likewise. Written: `benchmarks/embolisation.json` and a section of `docs/embolisation.md`.

    .venv/bin/python benchmarks/embolisation.py [--cases N] [--seed S] [--preset P] [--left SHARE ...]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt
from scipy.stats import spearmanr

from angio_pipeline import ingest, vessels
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.embolisation import FeederChange, RunComparison, TumourChange
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.tumours import CannulationTarget, Feeder, LesionOrigin, Tumour
from angio_pipeline.core.vessels import VesselSegmentation
from angio_pipeline.evaluate.documents import TumourTruth, truth_in_frame
from angio_pipeline.pipeline import compare_pair, subtract_run
from angio_pipeline.simulate.aftermath.treatment import draw_treatment
from angio_pipeline.simulate.angiography import stage, write_run
from angio_pipeline.simulate.patient import Patient, make_patient
from angio_pipeline.simulate.population import make_case
from angio_pipeline.simulate.presets import load_preset
from angio_pipeline.simulate.runs import RunScene
from angio_pipeline.simulate.truth import edge_flow
from pages import ROOT, state, write_figures, write_section

SCRIPT = "benchmarks/embolisation.py"
FIGURES = ROOT / "benchmarks" / "embolisation.json"
PAGE = ROOT / "docs" / "embolisation.md"
CONFIG = PipelineConfig()
Array = npt.NDArray[np.float64]


def embolised(patient: Patient, left: float) -> Patient:
    """Return the patient after a treatment that leaves about this share of the flow in each feeder."""
    params = patient.params.treatment.model_copy(update={"residual_flow": left, "missed_feeder": 0.0})
    plan = replace(patient.plan, stasis=1.0)
    rng = patient.rng("treatment", f"{left:g}")
    treatment = draw_treatment(patient.anatomy, plan, params, rng, deposit=patient.params.deposit, body=patient.body)
    return replace(patient, plan=plan, treatment=treatment)


@dataclass(frozen=True, slots=True)
class Held:
    """What is true of one run: iodine in each tumour at its peak over the artery's, and flow through each entry."""

    stain: Array
    flow: tuple[tuple[float, ...], ...]


def held(scene: RunScene, until_s: float) -> Held:
    """Return the truth of a run up to a time after the injection's beginning."""
    start = scene.injection.start_s
    times = np.arange(start, start + until_s, 0.1)
    courses = scene.courses("arteries")
    beyond = np.flatnonzero(courses.parent == courses.last_of_node[scene.plan.catheter.tip_node])
    artery = max(float(scene.circulation.concentration("arteries", t)[beyond].max()) for t in times)
    flow = edge_flow(scene)
    stains, flows = [], []
    for index, body in enumerate(scene.anatomy.tumours):
        beds = [bed for bed in scene.circulation.beds if bed.tumour == index]
        stains.append(max(sum(float(bed.mass_mg(t).sum()) for bed in beds) for t in times) / artery)
        flows.append(tuple(float(flow[entry]) for entry in body.entries))
    return Held(np.array(stains), tuple(flows))


def told(folder: Path, name: str) -> RunResult:
    """Return a written run, subtracted by the pipeline, with arteries, tumours and feeders of its truth."""
    (item,) = ingest.discover([folder / "dicom" / "day000" / f"{name}.dcm"], workspace=folder / "work").runs
    run = ingest.read_run(item)
    sub, maps = subtract_run(run, config=CONFIG)
    truth = truth_in_frame(folder / "truth" / item.source.sop_instance_uid / "truth.json", sub.reference_frame)
    artery = truth.truth_mask(truth.truth.artery_mask)
    catheter = truth.truth_mask("catheter.png")
    segmentation = VesselSegmentation(artery.astype(np.float32), artery, catheter=catheter)
    tumours = tuple(tumour(one, truth.truth_mask(one.mask), artery) for one in truth.truth.tumours)
    region = np.logical_or.reduce([one.mask for one in tumours], axis=0) if tumours else np.zeros_like(artery)
    graph, tip = vessels.build_graph(segmentation, sub, maps, params=CONFIG.graph, tumours=region)
    return RunResult(run, sub, maps, segmentation, graph, tip, tumours, ())


def tumour(truth: TumourTruth, mask: npt.NDArray[np.bool_], artery: npt.NDArray[np.bool_]) -> Tumour:
    """Return a true tumour with its true visible feeders; an id ends in the feeder's place in the document."""
    inside = distance_transform_edt(artery)
    feeders = []
    for place, one in enumerate(truth.feeders):
        line = np.array(one.centreline, dtype=np.float64)
        rows, cols = (np.clip(np.rint(line[:, k]).astype(int), 0, artery.shape[k] - 1) for k in (0, 1))
        start = int(np.argmin(np.linalg.norm(line - np.array(one.branch_start), axis=1)))
        width = 2 * max(1.0, float(np.median(inside[rows, cols][start:])))
        target = CannulationTarget(line[start, 0], line[start, 1], width, 0.0, 0, 1.0, 0.0)
        name = f"{truth.id}-F{place + 1}"
        feeders.append(
            Feeder(name, place + 1, 1.0, one.contribution, line, one.branch_start, width, 0.0, False, target)
        )
    return Tumour(truth.id, mask, 1.0, LesionOrigin.ROI, tuple(feeders))


def measured(patient: Patient, lefts: Sequence[float]) -> Iterator[dict[str, Any]]:
    """Yield a row for each share that embolisation was to leave: truth beside what was told."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_run(folder, patient, "frontal")
        before, untouched = told(folder, "frontal"), held(stage(patient, "frontal"), 7.0)
        for left in lefts:
            treated = embolised(patient, left)
            write_run(folder, treated, "post")
            truth = held(stage(treated, "post"), 7.0)
            row: dict[str, Any] = {"case": patient.case.name, "left": left}
            try:
                found = compare_pair(before, told(folder, "post"), config=CONFIG)
            except InputRefused as error:
                yield row | {"refused": error.reason}
                continue
            yield row | {"tumours": rows_of(found, untouched, truth), "vessel_match": found.alignment.vessel_match}


def rows_of(found: RunComparison, before: Held, after: Held) -> list[dict[str, Any]]:
    """Return for each tumour what is true and what was told."""
    return [tumour_row(one, before, after) for one in found.tumours]


def tumour_row(one: TumourChange, before: Held, after: Held) -> dict[str, Any]:
    """Return one tumour's truth and what was told of it."""
    index = int(one.id[1:]) - 1
    flows = before.flow[index], after.flow[index]
    blush = one.blush
    row = {
        "id": one.id,
        "true_residual": float(after.stain[index] / before.stain[index]),
        "true_flow": sum(flows[1]) / sum(flows[0]),
        "sace": one.sace and one.sace.value,
        "feeders": [feeder_row(feeder, flows) for feeder in one.feeders],
    }
    if blush is None or not np.isfinite(blush.residual):
        return row
    ratios = {
        f"{name}_ratio": getattr(blush.after, name) / getattr(blush.before, name) for name in ("peak", "auc", "wash_in")
    }
    return (
        row
        | {"residual": blush.residual, "interval": list(blush.residual_interval), "area": blush.residual_area}
        | ratios
    )


def feeder_row(feeder: FeederChange, flows: tuple[tuple[float, ...], tuple[float, ...]]) -> dict[str, Any]:
    """Return one feeder's truth and what was told; its entry is the one with its share of the tumour's flow."""
    shares = np.array(flows[0]) / sum(flows[0])
    entry = int(np.argmin(np.abs(shares - feeder.contribution)))
    return {
        "id": feeder.id,
        "true_flow": flows[1][entry] / flows[0][entry],
        "patency": feeder.patency.value,
        "ratio": finite(feeder.ratio),
        "later_s": finite(feeder.delay_after_s - feeder.delay_before_s),
    }


def finite(value: float) -> float | None:
    """Return a number, None for NaN."""
    return float(value) if np.isfinite(value) else None


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return rank correlations, bias and coverage over all tumours and feeders that were told."""
    tumours = [t for row in rows for t in row.get("tumours", ())]
    blush = [t for t in tumours if "residual" in t]
    feeders = [f for t in tumours for f in t["feeders"]]
    timed = [f for f in feeders if f["later_s"] is not None]
    out: dict[str, Any] = {
        "pairs": len(rows),
        "refused": sum("refused" in row for row in rows),
        "tumours": len(tumours),
        "tumours_told": len(blush),
        "feeders": len(feeders),
        "feeders_told": sum(f["patency"] != "cannot tell" for f in feeders),
        "in_interval": float(np.mean([t["interval"][0] <= t["true_residual"] <= t["interval"][1] for t in blush])),
    }
    for name in ("residual", "area", "auc_ratio", "wash_in_ratio"):
        out[name] = agreement([t["true_residual"] for t in blush], [t[name] for t in blush])
    out["later_s"] = agreement([f["true_flow"] for f in timed], [f["later_s"] for f in timed])
    known = [f for f in feeders if f["ratio"] is not None]
    out["ratio"] = agreement([f["true_flow"] for f in known], [f["ratio"] for f in known])
    return out


def agreement(true: list[float], answer: list[float]) -> dict[str, float]:
    """Return Spearman's rank correlation, mean and root-mean-square of answer minus truth."""
    apart = np.array(answer) - np.array(true)
    rank = float(spearmanr(true, answer).statistic) if len(true) > 2 else float("nan")
    return {"rank": rank, "bias": float(apart.mean()), "rms": float(np.sqrt(np.mean(apart**2))), "n": len(true)}


def patency_table(rows: list[dict[str, Any]]) -> str:
    """Return how often each patency was told, by the flow that was left, as Markdown."""
    feeders = [f for row in rows for t in row.get("tumours", ()) for f in t["feeders"]]
    bands = ((0.0, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.01))
    kinds = ("open", "slowed", "closed", "cannot tell")
    lines = ["| flow left | " + " | ".join(kinds) + " |", "| --- | ---: | ---: | ---: | ---: |"]
    for low, high in bands:
        here = [f["patency"] for f in feeders if low <= f["true_flow"] < high]
        if here:
            counts = " | ".join(str(here.count(kind)) for kind in kinds)
            lines.append(f"| {100 * low:.0f} to {min(100, 100 * high):.0f} % | {counts} |")
    return "\n".join(lines)


def section(figures: dict[str, Any]) -> str:
    """Return what is said of the figures in `docs/embolisation.md`."""
    s, rows = figures["summary"], figures["rows"]
    words = {
        "residual": "residual blush against iodine left",
        "area": "area that stains against iodine left",
        "auc_ratio": "area under the blush's curve against iodine left",
        "wash_in_ratio": "wash-in against iodine left",
        "later_s": "longer transit of a feeder, s, against its flow left",
        "ratio": "contrast of a feeder against its flow left",
    }
    lines = ["| what | rank correlation | bias | RMS error | n |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, what in words.items():
        a = s[name]
        told = ("–", "–") if name == "later_s" else (f"{a['bias']:+.2f}", f"{a['rms']:.2f}")
        lines.append(f"| {what} | {a['rank']:.2f} | {told[0]} | {told[1]} | {a['n']} |")
    head = (
        f"Measured with {state()}: {figures['cases']} simulated patients, preset `{figures['preset']}`, "
        f"seed {figures['seed']},\n{s['pairs']} pairs of runs, {s['refused']} refused; arteries, tumours and feeders "
        f"are the truth's. Of {s['tumours']} tumours {s['tumours_told']} have a\nresidual blush, of {s['feeders']} "
        f"feeders {s['feeders_told']} a patency. The interval of the residual blush holds the truth in\n"
        f"{100 * s['in_interval']:.0f} %."
    )
    tail = f"Feeders by what was told and what flow was left:\n\n{patency_table(rows)}\n"
    return "\n\n".join([head, "\n".join(lines), tail])


def main() -> int:
    """Measure, and write figures and section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--seed", type=int, default=9201)
    parser.add_argument("--preset", default="clinical")
    parser.add_argument("--left", type=float, nargs="+", default=[0.0, 0.1, 0.3, 0.6, 1.0])
    given = parser.parse_args()
    cv2.setNumThreads(1)
    params, rows = load_preset(given.preset), []
    for number in range(given.cases):
        for row in measured(make_patient(make_case(given.seed, number), params), given.left):
            print(json.dumps(row), flush=True)
            rows.append(row)
    figures = {"cases": given.cases, "seed": given.seed, "preset": given.preset, "summary": summary(rows), "rows": rows}
    write_figures(FIGURES, figures)
    write_section(PAGE, "truth", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
