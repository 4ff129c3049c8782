"""Measure on simulated patients how often calls of response agree with the truth, and how well lesions are measured.

The CT of each patient is read, followed and judged as in an analysis; its runs and films are left out, and the date
of treatment is the truth's. A patient's lesions are drawn on one scan, the first plain one after treatment; at every
other date they are what the software makes of them. Written: `benchmarks/response.json` and a section of
`docs/response.md`.

    .venv/bin/python benchmarks/response.py [--cases N] [--work FOLDER]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from angio_pipeline import ingest
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.response import Call, CriterionCall, LesionAtDate, OutlineOrigin, ResponseResult
from angio_pipeline.pipeline import process_follow_ups
from lipiodol_patients import write_patients
from pages import ROOT, state, write_figures, write_section

SCRIPT = "benchmarks/response.py"
FIGURES = ROOT / "benchmarks" / "response.json"
PAGE = ROOT / "docs" / "response.md"
CASES, SEED, PRESET = 20, 2026, "clinical"
Document = dict[str, Any]


def judge(case: Path, truth: Document) -> ResponseResult:
    """Return the response of one simulated patient from its CT and the lesions that were drawn on it."""
    first = truth["timepoints"][0]
    treated = datetime.strptime(first["date"], "%Y%m%d") - timedelta(days=first["days"])
    with tempfile.TemporaryDirectory() as workspace:
        found = ingest.discover(sorted((case / "dicom").glob("*-ct")), workspace=Path(workspace))
        volumes = [ingest.read_volume(item) for item in found.volumes]
    rois = ingest.read_rois([case / "rois" / "lesions.dcm"]).volumes
    result = process_follow_ups(volumes, rois, (), (), treated=treated, config=PipelineConfig()).response
    assert result is not None
    return result


def each_call(result: ResponseResult, truth: Document) -> Iterator[Document]:
    """Yield every call that the truth holds beside the one that was made; `made` is None where none was."""
    told = {(date.date, call.name): call for date in result.dates for call in date.calls}
    for point in truth["timepoints"]:
        for reason in point["reasons"]:
            if point["calls"][reason["name"]] is None:
                continue
            call = told.get((point["date"], reason["name"]))
            made = None if call is None or call.call is Call.NE else call.call.value
            yield {
                "criterion": reason["criterion"],
                "name": reason["name"],
                "true": reason["call"],
                "made": made,
                "why": "no call" if call is None else call.sentence,
                "unseen_nadir": made is not None and _unseen_nadir(reason, call),
            }


def _unseen_nadir(reason: Document, call: CriterionCall | None) -> bool:
    """Return whether the truth rises from a least sum that no scan with the phases for it has shown."""
    if call is None or reason["because"] != "nadir" or call.nadir is None or call.baseline is None:
        return False
    share: float = call.nadir / call.baseline
    return share > 1.25 * float(reason["nadir"]) / float(reason["baseline"])


def each_size(result: ResponseResult, truth: Document) -> Iterator[Document]:
    """Yield what was measured of every lesion at every date beside what it was."""
    true = {(one["id"], at["date"]): at for one in truth["lesions"] for at in one["timepoints"]}
    for lesion in result.lesions:
        for at in lesion.dates:
            was = true.get((lesion.id, at.date))
            if was is not None and was["longest_mm"] > 0:
                yield _size(at, was)


def _size(at: LesionAtDate, was: Document) -> Document:
    found = {} if at.necrosis is None else at.necrosis.necrotic_percent
    row: Document = {"outline": None if at.outline is None else at.outline.value, "true_mm": was["longest_mm"]}
    row["longest_mm"] = None if at.whole is None else at.whole.longest_mm - was["longest_mm"]
    for name, extent in at.viable.items():
        row[f"viable_{name.value}_mm"] = extent.longest_mm - was["living"][name.value]["longest_mm"]
    for name, percent in found.items():
        if name.value == "tissue" and at.days >= 0:
            row["necrotic_percent"] = percent - 100 * was["necrotic_share"]
    return row


def summarise(calls: Sequence[Document], sizes: Sequence[Document], patients: int) -> Document:
    """Return the figures of all patients."""
    by_criterion = {name: _agreement([c for c in calls if c["criterion"] == name]) for name in _criteria(calls)}
    wrong = [c for c in calls if c["made"] is not None and c["made"] != c["true"]]
    reasons = Counter(_short(c["why"]) for c in calls if c["made"] is None)
    return {
        "measured": state(),
        "patients": patients,
        "agreement": {**by_criterion, "all": _agreement(calls)},
        "disagreements": [f"{name}: true {true}, told {made}: {count}" for (name, true, made), count in Counter(
            (c["name"], c["true"], c["made"]) for c in wrong).most_common()],
        "wrong": len(wrong),
        "wrong_for_a_nadir_that_no_scan_showed": sum(c["unseen_nadir"] for c in wrong),
        "not_made_because": dict(reasons.most_common()),
        "errors": _errors(sizes),
        "outlines": dict(Counter(str(row["outline"]) for row in sizes)),
    }  # fmt: skip


def _criteria(calls: Sequence[Document]) -> list[str]:
    return list(dict.fromkeys(call["criterion"] for call in calls))


def _agreement(calls: Sequence[Document]) -> Document:
    made = [call for call in calls if call["made"] is not None]
    agreed = sum(call["made"] == call["true"] for call in made)
    interval = [*binomtest(agreed, len(made)).proportion_ci(method="wilson")] if made else [None, None]
    return {"true": len(calls), "made": len(made), "agreed": agreed, "interval": interval}


def _short(why: str) -> str:
    words = why.removeprefix("Targets NE: ").split("; ")[0].rstrip(".")
    return words.rsplit(": ", 1)[-1]


def _errors(sizes: Sequence[Document]) -> Document:
    def of(name: str, rows: Sequence[Document]) -> Document:
        values = [row[name] for row in rows if row.get(name) is not None]
        spread = {"mean": float(np.mean(values)), "sd": float(np.std(values))} if values else {}
        return {"n": len(values), **spread}

    drawn = [row for row in sizes if row["outline"] == OutlineOrigin.DRAWN]
    fitted = [row for row in sizes if row["outline"] == OutlineOrigin.FITTED]
    names = sorted({name for row in sizes for name in row if name.startswith("viable") or name == "necrotic_percent"})
    return {
        "longest_mm, drawn": of("longest_mm", drawn),
        "longest_mm, fitted": of("longest_mm", fitted),
        **{name: of(name, sizes) for name in names},
    }


def section(figures: Document) -> str:
    """Return the figures as the page's section."""
    lines = [
        f"{figures['patients']} patients of the preset `{PRESET}` (seed {SEED}), drawn on one scan each; "
        f"{figures['measured']}.",
        "",
        "| criterion | calls of the truth | made | agree | 95 % interval |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for name, one in figures["agreement"].items():
        low, high = one["interval"]
        share = f"{100 * one['agreed'] / one['made']:.0f} %" if one["made"] else "–"
        between = "–" if low is None else f"{100 * low:.0f}–{100 * high:.0f} %"
        lines.append(f"| {name} | {one['true']} | {one['made']} | {share} | {between} |")
    lines += [
        "",
        "The intervals take calls for independent, which those of one patient are not: they are too narrow. "
        f"Of {figures['wrong']} calls that disagree, {figures['wrong_for_a_nadir_that_no_scan_showed']} are rises from "
        "a nadir on a date without the phases to measure it, which the truth knows and no reader could. Calls were not "
        "made because:",
        "",
        *(f"- {reason}: {count}" for reason, count in figures["not_made_because"].items()),
        "",
        "| measured less true | n | mean | SD |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, one in figures["errors"].items():
        if one["n"]:
            lines.append(f"| {name.replace('_', ' ')} | {one['n']} | {one['mean']:+.1f} | {one['sd']:.1f} |")
    outlines = ", ".join(f"{count} {name}" for name, count in figures["outlines"].items())
    return "\n".join([*lines, "", f"Outlines of lesions at dates: {outlines.replace('None', 'not evaluable')}."])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "response", help="patients, kept")
    chosen = parser.parse_args()
    calls: list[Document] = []
    sizes: list[Document] = []
    patients = 0
    for case in write_patients(chosen.work, seed=SEED, preset=PRESET, numbers=range(chosen.cases)):
        truth = json.loads((case / "truth" / "response.json").read_text(encoding="utf-8"))
        # Without a lesion there is nothing to judge.
        if not truth["timepoints"] or not (case / "rois" / "lesions.dcm").is_file():
            continue
        result = judge(case, truth)
        calls += each_call(result, truth)
        sizes += each_size(result, truth)
        patients += 1
        # Written after each, so that a measurement that is stopped has what it came to.
        figures = summarise(calls, sizes, patients)
        write_figures(FIGURES, figures)
        write_section(PAGE, "figures", SCRIPT, section(figures))


if __name__ == "__main__":
    main()
