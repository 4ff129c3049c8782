"""Look for oil outside the lesions and for living tumour beside oil in simulated patients, and write down what came.

The patients are ordinary ones (`benchmarks/stray-oil.toml`) in whom oil ran into every organ wall that a
branch leads to, and who are scanned in three phases later on; the regions of their lesions are given. A wall that
the scan does not hold, or that keeps less than 5 mg, is asked for nowhere and no false call where it is called.
Duodenum and gallbladder lie side by side: either is right for the duodenum.
Written: `benchmarks/stray_oil.json` and a section of `docs/lipiodol.md`.

    .venv/bin/python benchmarks/stray_oil.py [--cases N] [--seed S] [--work FOLDER]
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from angio_pipeline.batch.tasks import Settings, run_task
from angio_pipeline.config import PipelineConfig
from angio_pipeline.simulate import load_preset
from angio_pipeline.simulate.aftermath.deposits import OilGrid
from angio_pipeline.simulate.anatomy.lesions import TumourKind
from angio_pipeline.simulate.patient import Patient, make_patient
from angio_pipeline.simulate.population import make_case
from lipiodol import task_of
from lipiodol_patients import write_patients
from pages import ROOT, state, write_figures, write_section

SCRIPT = "benchmarks/stray_oil.py"
FIGURES = ROOT / "benchmarks" / "stray_oil.json"
PAGE = ROOT / "docs" / "lipiodol.md"
PRESET = ROOT / "benchmarks" / "stray-oil.toml"
CASES, SEED = 12, 7015
LEAST_MG, EDGE_MM = 5.0, 12.0
# The patient lies shifted between dates by some millimetres: a place is known by its neighbourhood.
NEAR_MM = 20.0
LEAST_LIVING_ML, DEAD_ML = 1.0, 0.05

Row = dict[str, Any]
PLACES = {
    "gallbladder": {"gallbladder"},
    "duodenum": {"stomach or bowel", "gallbladder"},
    "stomach": {"stomach or bowel"},
}


def measure(cases: int, seed: int, work: Path) -> dict[str, Any]:
    """Return a row for each wall with oil, each plain scan and each lesion at a date with two phases."""
    folders = write_patients(work / "patients", seed=seed, preset=str(PRESET), numbers=range(cases))
    rows: dict[str, list[Row]] = {"walls": [], "scans": [], "lesions": []}
    for number, case in enumerate(folders):
        document = _document(case, work / "results" / case.name)
        patient = make_patient(make_case(seed, number), load_preset(str(PRESET)))
        walls = list(_walls(patient, case.name, document))
        rows["walls"] += walls
        rows["scans"] += _scans(patient, case.name, document)
        rows["lesions"] += _lesions(patient, case.name, document)
    return {"patients": {"cases": cases, "seed": seed}, "measured_with": state(), **rows}


def _document(case: Path, out: Path) -> dict[str, Any]:
    # What was done by this very code is not done again.
    workspace = out / "unpacked"
    workspace.mkdir(parents=True, exist_ok=True)
    run_task(task_of(case, workspace, regions=True), Settings(out, PipelineConfig()))
    shutil.rmtree(workspace)
    found: dict[str, Any] = json.loads(next(out.rglob("lipiodol.json")).read_text(encoding="utf-8"))
    return found


def _called(document: dict[str, Any], days: float) -> list[dict[str, Any]]:
    searched = [search for search in document["non_target"] if abs(search["days"] - days) < 0.5]
    return [oil for search in searched for oil in search["pieces"]]


def _distance(called: dict[str, Any], oil: OilGrid) -> float:
    """Return how far a called piece lies from the nearest voxel of true oil, as the patient lay before treatment."""
    thick = np.argwhere(oil.mg_ml > 0.2 * oil.mg_ml.max())
    middle = 0.5 * (np.array(oil.mg_ml.shape) - 1)
    points = oil.centre_mm + ((thick - middle) * oil.step_mm)[:, ::-1]
    return float(np.linalg.norm(points - np.array(called["centroid_mm"]), axis=1).min())


def _held(patient: Patient, wall: OilGrid) -> bool:
    scanned = patient.params.ct
    return bool(scanned.low_mm + EDGE_MM < wall.centre_mm[2] < scanned.high_mm - EDGE_MM)


def _walls(patient: Patient, name: str, document: dict[str, Any]) -> Iterator[Row]:
    treatment = patient.treatment
    for days in patient.params.ct.days:
        for organ, mg in treatment.wall_iodine_mg(days).items():
            wall = treatment.walls[organ]
            if mg < LEAST_MG or not _held(patient, wall):
                continue
            near = min(_called(document, days), key=lambda oil: _distance(oil, wall), default=None)
            near = near if near is not None and _distance(near, wall) <= NEAR_MM else None
            yield {
                "patient": name,
                "days": days,
                "organ": organ,
                "true_mg": mg,
                "mg": None if near is None else near["iodine_mg"],
                "interval": None if near is None else near["iodine_mg_interval"],
                "place": None if near is None else near["place"],
            }


def _scans(patient: Patient, name: str, document: dict[str, Any]) -> Iterator[Row]:
    # Oil in the embolised segments of the liver is oil outside the lesions, too.
    strays = patient.treatment.stray_oil(1.0)
    for days in patient.params.ct.days:
        called = _called(document, days)
        false = [oil for oil in called if all(_distance(oil, stray) > NEAR_MM for stray in strays)]
        judged = any(abs(search["days"] - days) < 0.5 for search in document["non_target"])
        yield {"patient": name, "days": days, "judged": judged, "false": len(false)}


def _lesions(patient: Patient, name: str, document: dict[str, Any]) -> Iterator[Row]:
    told = {lesion["id"]: lesion for lesion in document["lesions"]}
    for lesion in patient.treatment.lesions:
        for days in (day for day in patient.params.ct.days if day > 7):
            points = told.get(lesion.id, {"timepoints": []})["timepoints"]
            found = [p["residual"] for p in points if p["residual"] is not None and abs(p["days"] - days) < 0.5]
            cell_ml = (lesion.grid.step_mm * lesion.scale(days)) ** 3 / 1000
            yield {
                "patient": name,
                "lesion": lesion.id,
                "days": days,
                "washes_out": lesion.body.kind is not TumourKind.HYPOVASCULAR,
                "true_ml": float(lesion.living(days).sum(dtype=float)) * cell_ml,
                "ml": found[0]["living_ml"] if found else None,
            }


def section(figures: dict[str, Any]) -> str:
    """Return what is said of the figures; it follows from them alone."""
    walls, scans, lesions = figures["walls"], figures["scans"], figures["lesions"]
    # What is not listed is off by all of it, and its interval holds nothing.
    errors = [1.0 if row["mg"] is None else abs(row["mg"] - row["true_mg"]) / row["true_mg"] for row in walls]
    held = [row["interval"] is not None and _holds(row["interval"], row["true_mg"]) for row in walls]
    placed = [row["place"] in PLACES[row["organ"]] for row in walls]
    living = [row for row in lesions if row["washes_out"] and row["true_ml"] >= LEAST_LIVING_ML]
    without = [row for row in lesions if row["true_ml"] < DEAD_ML or not row["washes_out"]]
    between = len(lesions) - len(living) - len(without)
    rows = [
        ("walls with oil, listed", sum(row["mg"] is not None for row in walls), len(walls)),
        ("walls with oil, listed at the right organ", sum(placed), len(walls)),
        ("their iodine, relative error, median", _median(errors), len(walls)),
        ("their iodine within its 95 % interval", sum(held), len(walls)),
        ("scans that were judged", sum(row["judged"] for row in scans), len(scans)),
        ("pieces listed farther than 20 mm from any oil of wall or liver", sum(row["false"] for row in scans), "–"),
        ("lesions at dates with living tumour that washes out, called", _called_of(living), len(living)),
        (
            "of its volume, told as certain, median",
            _median([(r["ml"] or 0) / r["true_ml"] for r in living]),
            len(living),
        ),
        ("dead, or of tumour that does not wash out, called", _called_of(without), len(without)),
        ("not judged of these two", sum(row["ml"] is None for row in (*living, *without)), len(living) + len(without)),
    ]
    head = [
        f"Measured with {figures['measured_with']}. {figures['patients']['cases']} simulated patients of seed "
        f"{figures['patients']['seed']},",
        f"regions given. A wall counts where the scan holds it and it keeps {LEAST_MG:g} mg or more, living tumour",
        f"from {LEAST_LIVING_ML:g} ml on; dead is less than {DEAD_ML:g} ml ({between} lesions at dates lie between).",
        "",
        "| what | reached | of |",
        "| --- | ---: | ---: |",
    ]
    return "\n".join(head + [f"| {what} | {value} | {count} |" for what, value, count in rows])


def _called_of(rows: list[Row]) -> int:
    return sum(bool(row["ml"]) for row in rows)


def _holds(interval: list[float], truth: float) -> bool:
    return interval[0] <= truth <= interval[1]


def _median(values: list[float]) -> str:
    return f"{np.median(values):.2f}" if values else "–"


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description="Write benchmarks/stray_oil.json and its section of a page.")
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "stray-oil", help="patients and results, kept")
    given = parser.parse_args()
    figures = measure(given.cases, given.seed, given.work)
    if (given.cases, given.seed) != (CASES, SEED):
        print(section(figures))
        return 0
    write_figures(FIGURES, figures)
    write_section(PAGE, "stray oil", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
