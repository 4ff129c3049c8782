"""Outline and weigh the oil of simulated patients beside fixed thresholds and multi-Otsu, all in one run.

Each contestant has a process of its own with the same threads and the same patients as `lipiodol.py` (its first ones).
Thresholds and scikit-image's multi-Otsu (three classes, of which the brightest is oil) are given what a reader would
have to give them: the true lesion of every date, and look within 10 mm of it. Their iodine is the sum over what they
outline above the median of liver 10 to 15 mm away, by the slope of the tube voltage that this program uses. This
program is given the lesions' regions of one date and finds them on the others. Its processor time holds reading,
alignment, intervals and writing; theirs begins with the scan in memory. What has no answer is wrong: an error of 1, a
Dice of 0. Written: `benchmarks/lipiodol_peers.json` and a section of `docs/lipiodol.md`.

    .venv/bin/python benchmarks/lipiodol_peers.py [--cases N] [--work FOLDER] [--print]
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from angio_pipeline import ingest
from angio_pipeline.core.followups import CtVolume
from angio_pipeline.evaluate.documents import CasePair, TimepointTruth, pair_cases
from angio_pipeline.lipiodol.mass import MassParams, iodine_slope
from lipiodol import Choice, Row, analysed, overlap, read_mask, rows_of, task_of
from lipiodol_patients import write_patients
from lipiodol_tables import mass_error
from pages import ROOT, machine, state, write_section
from processes import THREADS, forget_peak_memory, hold_threads, in_its_own_process, peak_memory_mb

SCRIPT = "benchmarks/lipiodol_peers.py"
FIGURES = ROOT / "benchmarks" / "lipiodol_peers.json"
PAGE = ROOT / "docs" / "lipiodol.md"
CASES = 6
OURS, OTSU = "angio-pipeline", "multi-Otsu, three classes (scikit-image)"
# The tiers of coverage in the literature, of which none is agreed upon.
TIERS_HU = {f"threshold of {limit} HU": float(limit) for limit in (75, 160, 215)}
NAMES = (*TIERS_HU, OTSU, OURS)
REACH_MM, LIVER_MM = 10.0, 15.0

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


def by_threshold(limit_hu: float) -> Callable[[FloatArray], BoolArray]:
    """Return an outline of whatever lies above a limit."""
    return lambda hu: np.asarray(hu > limit_hu)


def by_multi_otsu(hu: FloatArray) -> BoolArray:
    """Return the brightest of three classes.

    Raises
    ------
    ValueError
        When the values do not part into three.
    """
    from skimage.filters import threshold_multiotsu

    return np.asarray(hu > threshold_multiotsu(hu, classes=3)[-1])


def outline_of(name: str) -> Callable[[FloatArray], BoolArray]:
    """Return a peer by its name."""
    return by_threshold(TIERS_HU[name]) if name in TIERS_HU else by_multi_otsu


def compete(name: str, cases: list[Path], work: Path, answer: Any) -> None:
    """Send what one contestant says of every lesion and date, the processor time of one, and the memory it adds."""
    hold_threads()
    answer.put(ours(cases, work) if name == OURS else peer(outline_of(name), cases, work))


def ours(cases: list[Path], work: Path) -> Row:
    """Return the figures of this program; what it loads once is counted."""
    shutil.rmtree(work, ignore_errors=True)
    before, started = forget_peak_memory(), time.process_time()
    pairs = [analysed(case, work / case.name, regions=True) for case in cases]
    seconds, peak_mb = time.process_time() - started, peak_memory_mb()
    dates = [row for pair in pairs for row in rows_of(pair)["dates"] if row["dice"] is not None]
    return {"dates": dates, "seconds": seconds / len(dates), "peak_mb": peak_mb, "added_mb": peak_mb - before}


def peer(outline: Callable[[FloatArray], BoolArray], cases: list[Path], work: Path) -> Row:
    """Return the figures of a way to outline the oil where the lesion is known."""
    dates: list[Row] = []
    spent, added_mb, peak_mb = 0.0, 0.0, 0.0
    # What is imported once is not counted.
    outline(np.linspace(0, 300, 8000, dtype=np.float32))
    for case in cases:
        for volume, about, liver, row, truth in sights(case, work):
            before, started = forget_peak_memory(), time.process_time()
            deposit, told = weighed(volume, about, liver, outline)
            spent += time.process_time() - started
            peak_mb = max(peak_mb, peak_memory_mb())
            added_mb = max(added_mb, peak_memory_mb() - before)
            dates.append({**row, "mg": told, **overlap(truth, deposit)})
    return {"dates": dates, "seconds": spent / len(dates), "peak_mb": peak_mb, "added_mb": added_mb}


def weighed(
    volume: CtVolume, about: BoolArray, liver: BoolArray, outline: Callable[[FloatArray], BoolArray]
) -> tuple[BoolArray | None, float | None]:
    """Return the oil that a peer outlines among the voxels about a lesion, and its iodine in mg; None: no answer."""
    deposit = np.zeros(volume.hu.shape, np.bool_)
    try:
        deposit[about] = outline(volume.hu[about])
    except ValueError:
        return None, None
    slope, _ = iodine_slope(volume.kvp, params=MassParams())
    excess = volume.hu[deposit] - float(np.median(volume.hu[liver]))
    return deposit, float(excess.sum()) * volume.voxel_mm3 / 1000 / slope


def sights(case: Path, work: Path) -> Iterator[tuple[CtVolume, BoolArray, BoolArray, Row, sitk.Image]]:
    """Yield each lesion with oil at each date: scan, voxels about it, liver farther off, what is true, true deposit."""
    pair = pair_cases(case, work / "no-results").cases[0]
    workspace = work / "unpacked"
    workspace.mkdir(parents=True, exist_ok=True)
    scans = {v.source.series_instance_uid: v for v in task_of(case, workspace, regions=False).volumes}
    for name, point in _points(pair):
        truth = read_mask(pair.truth_dir / str(point.deposit_mask))
        if not sitk.GetArrayFromImage(truth).any():
            continue
        away = _distance_mm(read_mask(pair.truth_dir / str(point.lesion_mask)))
        row = {"patient": pair.name, "lesion": name, "days": point.days, "true_mg": point.iodine_mg}
        # Simulated scans lie along the patient's axes: the truth's voxels are the scan's.
        volume = ingest.read_volume(scans[point.series_instance_uid])
        yield volume, away <= REACH_MM, (away > REACH_MM) & (away <= LIVER_MM), row, truth


def _points(pair: CasePair) -> Iterator[tuple[str, TimepointTruth]]:
    for lesion in pair.lipiodol.lesions if pair.lipiodol else ():
        for point in lesion.timepoints:
            if point.modality in ("CT", "CBCT") and point.deposit_mask is not None:
                yield lesion.id, point


def _distance_mm(mask: sitk.Image) -> FloatArray:
    away = sitk.SignedMaurerDistanceMap(mask, squaredDistance=False, useImageSpacing=True)
    return np.asarray(sitk.GetArrayFromImage(away), dtype=np.float32)


def summary(found: Row) -> Row:
    """Return what a contestant is worth over all lesions and dates."""
    dates = found["dates"]
    errors = [mass_error(row) for row in dates]
    off = [abs(row["volume_ratio"] - 1) for row in dates]
    return {
        "n": len(dates),
        "mass_error": float(np.median(errors)),
        "mass_error_p90": float(np.percentile(errors, 90)),
        "volume_error": float(np.median(off)),
        "volume_ratio": float(np.mean([row["volume_ratio"] for row in dates])),
        "dice": float(np.mean([row["dice"] for row in dates])),
        **{name: found[name] for name in ("seconds", "peak_mb", "added_mb")},
    }


def section(figures: Row) -> str:
    """Return what is said of the figures; it follows from them alone."""
    rows = figures["contestants"]
    lines = [
        f"Measured with {figures['measured_with']} on {figures['machine']}: {figures['cases']} patients of seed "
        f"{figures['seed']},",
        f"{rows[OURS]['n']} lesions with oil at dates on CT; {THREADS} threads each.",
        "",
        "| way | iodine mass, relative error, median | 90th percentile | volume, relative error, median "
        "| volume over the true one, mean | Dice, mean | processor time of one, s | peak memory, MB | added, MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['mass_error']:.3f} | {row['mass_error_p90']:.3f} | {row['volume_error']:.3f} "
            f"| {row['volume_ratio']:.2f} | {row['dice']:.3f} | {row['seconds']:.3g} | {row['peak_mb']:.0f} "
            f"| {row['added_mb']:.0f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "lipiodol", help="patients and results, kept")
    parser.add_argument("--print", action="store_true", help="print the section and write nothing")
    given = parser.parse_args()
    choice = Choice()
    patients = given.work / "patients"
    cases = write_patients(patients, seed=choice.seed, preset=choice.preset, numbers=range(given.cases))
    figures: Row = {
        "schema": "angio-pipeline/lipiodol-peers/1",
        "cases": given.cases,
        "seed": choice.seed,
        "measured_with": state(),
        "machine": machine(),
        "contestants": {},
    }
    for name in NAMES:
        figures["contestants"][name] = summary(in_its_own_process(compete, name, cases, given.work / "peers"))
        print(name, figures["contestants"][name], flush=True)
    if given.print:
        print(section(figures))
        return 0
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    write_section(PAGE, "lipiodol peers", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
