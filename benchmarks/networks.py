"""Measure the networks on held-out patients beside filters, and on real angiograms; write docs/networks.md.

Fifty simulated patients of each of `clinical` and `hard`, and ten at a matrix of 1024, of seeds that no training ever
sees, are analysed by `angio run` and compared with their truth by `angio evaluate`. Plain filters (at one smoothing,
one set of scales) are given the same subtracted pictures, and for each run the threshold of the best Dice for that run,
which nobody would know beforehand. What is told without a mask is measured by taking it from every run: by the frame
network, which sees one frame, and by the ridge filter. On real angiograms the frame networks are measured where they
were not trained. Written: `benchmarks/networks.json` and `docs/networks.md`.

    .venv/bin/python benchmarks/networks.py --real FOLDER [--cases N] [--workers W] [--work FOLDER] [--only PART]

`--real` holds `vessels_dca` (N.png, N_gt.png), `vessels_arcade` (images/N.png, labels/N.txt: polygons of the main
branches) and `ct_liver/example_ct.nii.gz`, of which every image should be called unfamiliar.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from angio_pipeline import dsa, ingest, perfusion
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.runs import AngioRun, Background
from angio_pipeline.evaluate.documents import truth_in_frame
from angio_pipeline.evaluate.vessels import mask_scores
from angio_pipeline.numerics.filters import gaussian
from angio_pipeline.pipeline import subtract_run
from angio_pipeline.training import RealParams, load_recipe
from angio_pipeline.vessels import PredictFrame, arterial_image, segment
from pages import ROOT, angio, keeping_work, state, uid_of, value_of, write_parts, write_section

SCRIPT = "benchmarks/networks.py"
FIGURES = ROOT / "benchmarks" / "networks.json"
PAGE = ROOT / "docs" / "networks.md"
SEEDS = {"clinical": 5001, "hard": 5002, "clinical-1024": 5003}
# A fifth of the patients before the larger detector: their simulation takes four times as long.
SHARE = {"clinical-1024": 0.2}
SIGMAS_PX = (1.0, 1.5, 2.2, 3.3)
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


def measure_preset(preset: str, cases: int, workers: int, work: Path, *, filtered: int) -> dict[str, Any]:
    """Return the metrics of the network on one preset, and of plain filters on the first patients of it."""
    patients, results = work / preset / "patients", work / preset / "network"
    own = ROOT / "benchmarks" / f"{preset}.toml"
    settings = ("--seed", str(SEEDS[preset]), "--preset", str(own) if own.is_file() else preset)
    angio("simulate", str(patients), "--cases", str(cases), *settings, "--workers", str(workers), "--runs-only")
    # Other measurements may have made more patients of the same seed.
    folders = sorted(patients.glob("case-*"))[:cases]
    files = [file for folder in folders for file in sorted(folder.glob("dicom/day000/*.dcm"))]
    angio("run", *map(str, files), "--out", str(results), "--quiet", "--workers", str(workers))
    runs = [word for file in files for word in ("--run", uid_of(file))]
    # The evaluation is one process; the filters have the other cores.
    with ThreadPoolExecutor(1) as beside:
        judge = ("evaluate", "--truth", str(patients), "--results", str(results), *runs, "--json")
        asked = beside.submit(angio, *judge)
        baselines = measure_baselines(patients, max(1, workers - 1), cases=filtered)
        said = json.loads(asked.result())
    # What every run scored stays in the results' folder: the page speaks of means.
    (results / "per-run.json").write_text(json.dumps(said.pop("per_run"), indent=1) + "\n", encoding="utf-8")
    return {"network": {**said, "unfamiliar": unfamiliar_share(results)}, **baselines}


def unfamiliar_share(results: Path) -> dict[str, float | None]:
    """Return the share of analysed runs that are flagged as unlike what the network was trained on."""
    files = sorted(results.glob("subjects/*/*/*/analysis.json"))
    flagged = ["UNFAMILIAR" in json.loads(file.read_text(encoding="utf-8"))["quality"] for file in files]
    return {"share": float(np.mean(flagged)) if flagged else None, "runs": len(flagged)}


Scores = dict[str, dict[str, float]]


def measure_baselines(patients: Path, workers: int, *, cases: int) -> dict[str, Scores]:
    """Return mean Dice and clDice of filters, and of what is told without a mask; no answer is 0."""
    folders = sorted(patients.glob("case-*"))[:cases]
    files = [file for folder in folders for file in sorted(folder.glob("dicom/day000/*.dcm"))]
    with ProcessPoolExecutor(workers) as pool:
        rows = list(pool.map(score_baselines, files, chunksize=4))
    filters = {name: _mean_of(rows, name) for name in (*FILTERS, RIDGES)}
    return {"baselines": filters, "without_mask": {name: _mean_of(rows, name) for name in WITHOUT_MASK}}


def _mean_of(rows: Sequence[Scores], name: str) -> dict[str, float]:
    have = [row[name] for row in rows if name in row]
    return {key: float(np.mean([row[key] for row in have])) for key in ("dice", "cldice")} | {"runs": len(have)}


def score_baselines(file: Path) -> Scores:
    """Return the scores of one run."""
    cv2.setNumThreads(1)
    out = {name: {"dice": 0.0, "cldice": 0.0} for name in (*FILTERS, RIDGES, *WITHOUT_MASK)}
    try:
        run = read(file)
        sub, maps = subtract_run(run, config=PipelineConfig())
    except AngioError:
        return out
    if sub.background is Background.ALREADY_SUBTRACTED:
        # There is no frame that shows anatomy.
        for name in WITHOUT_MASK:
            del out[name]
    truth = file.parents[2] / "truth" / sub.source.sop_instance_uid / "truth.json"
    artery, ignore = true_arteries(truth, sub.reference_frame)
    image = arterial_image(sub, maps, smoothing_px=1.0)
    for name, filtered in FILTERS.items():
        out[name] = best(filtered(image), artery, ignore, sub.valid)
    ridges = np.array(segment(sub, maps, params=PipelineConfig().segment).artery)
    out[RIDGES] = both_dice(ridges, artery, ignore)
    if WITHOUT_MASK[0] in out:
        masks, frame = without_mask(run)
        out |= {name: both_dice(told, *true_arteries(truth, frame)) for name, told in masks.items()}
    return out


def true_arteries(truth: Path, frame: int) -> tuple[BoolArray, BoolArray]:
    """Return where the arteries are in a frame, and where they need not be known."""
    there = truth_in_frame(truth, frame)
    return there.truth_mask("artery.png"), there.truth_mask("ignore.png")


def both_dice(told: BoolArray, artery: BoolArray, ignore: BoolArray) -> dict[str, float]:
    """Return Dice and clDice of a mask."""
    scores = mask_scores(told, artery, ignore)
    return {"dice": scores["dice"], "cldice": scores["cldice"]}


RIDGES = "our ridge filter"
WITHOUT_MASK = ("frame network without a mask", "our ridge filter without a mask")


def without_mask(run: AngioRun) -> tuple[dict[str, BoolArray], int]:
    """Return the masks of arteries that the pipeline makes of a run from which no frame can be subtracted.

    Beside them stands the frame that they are drawn in.
    """
    config = PipelineConfig()
    choice = replace(dsa.choose_mask(run, params=config.mask), background=Background.SPATIAL, frames=())
    sub = dsa.subtract(run, choice, params=config.subtract)
    maps = perfusion.measure(sub, params=config.perfusion)
    masks = {
        name: np.array(segment(sub, maps, params=config.segment, predict_frame=predict).artery)
        for name, predict in zip(WITHOUT_MASK, (_frame_network(), None), strict=True)
    }
    return masks, sub.reference_frame


@cache
def _frame_network() -> PredictFrame:
    from angio_pipeline.networks.prediction import load_frame_predictor

    return load_frame_predictor("frame", threads=1, engine="torch")


def _grey(path: Path) -> FloatArray:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise SystemExit(f"Expected a picture at {path}, found none that can be read.")
    return np.asarray(image, dtype=np.float32)


def read(file: Path) -> AngioRun:
    """Return a run as the pipeline reads it, without what is broken."""
    found = ingest.discover([file], workspace=file.parent)
    if not found.runs:
        raise AngioError(found.refusals[0].sentence, reason=found.refusals[0].reason)
    return dsa.set_aside_broken(ingest.read_run(found.runs[0]))


def _frangi(image: FloatArray) -> FloatArray:
    from skimage.filters import frangi

    return np.asarray(frangi(image, sigmas=SIGMAS_PX, black_ridges=False), dtype=np.float32)


def _sato(image: FloatArray) -> FloatArray:
    from skimage.filters import sato

    return np.asarray(sato(image, sigmas=SIGMAS_PX, black_ridges=False), dtype=np.float32)


FILTERS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "smoothed subtraction": lambda image: image,
    "Frangi": _frangi,
    "Sato": _sato,
}


def best(response: FloatArray, truth: BoolArray, ignore: BoolArray, valid: BoolArray) -> dict[str, float]:
    """Return the scores at the threshold of the best Dice among 60 quantiles of the response."""
    judged = valid & ~(ignore & ~truth)
    levels = np.quantile(response[valid], 1 - np.geomspace(0.002, 0.4, 60))
    scored = [(_dice((response >= level) & judged, truth), level) for level in levels]
    level = max(scored)[1]
    return both_dice((response >= level) & valid, truth, ignore)


def _dice(told: BoolArray, truth: BoolArray) -> float:
    return 2 * float(np.count_nonzero(told & truth)) / max(1.0, float(np.count_nonzero(told) + np.count_nonzero(truth)))


def measure_unfamiliar(real: Path) -> dict[str, dict[str, float]]:
    """Return the share of several kinds of images that the frame network flags."""
    from angio_pipeline.networks.prediction import load_frame_predictor

    predictor = load_frame_predictor("frame", engine="torch")
    rng = np.random.default_rng(0)
    kinds = {
        "coronary angiograms, held out (frame)": [image for _, image, _ in _pairs(real, _real_params().held_out)],
        "coronary angiograms of ARCADE (frame)": [_grey(f) for f in sorted((real / "vessels_arcade/images").glob("*"))],
        "slices of CT (frame)": _slices(real / "ct_liver" / "example_ct.nii.gz"),
        "white noise (frame)": [rng.standard_normal((512, 512), dtype=np.float32) for _ in range(20)],
    }
    out = {}
    for name, images in kinds.items():
        flagged = [predictor(image).unfamiliar for image in images]
        out[name] = {"share": float(np.mean(flagged)), "images": len(flagged)}
    return out


def _real_params() -> RealParams:
    """Return which real images the frame network learns from, and which it never sees."""
    real = load_recipe("frame").real
    assert real is not None
    return real


def _slices(path: Path) -> list[FloatArray]:
    import SimpleITK as sitk

    volume = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return [np.asarray(image, np.float32) for image in volume[:: max(1, len(volume) // 20)]]


def measure_real(real: Path) -> dict[str, Any]:
    """Return what the frame networks reach on real coronary angiograms."""
    from angio_pipeline.networks.prediction import load_frame_predictor

    split = _real_params()
    held, learned = split.held_out, len(split.train) + len(split.calibrate)
    every = sorted((p.stem.removesuffix("_gt") for p in (real / "vessels_dca").glob("*_gt.png")), key=int)
    out: dict[str, Any] = {
        "held_out": len(held),
        "learned_from": learned,
        "trained_on": len(split.train),
        "images": len(every),
    }
    for name in ("frame", "frame-simulation"):
        predictor = load_frame_predictor(name, engine="torch")
        rows = {k: _real_scores(predictor(read).mask, truth) for k, read, truth in _pairs(real, every)}
        parts = {"held_out": held} if name == "frame" else {"held_out": held, "every": every}
        out[name] = {part: _means([rows[k] for k in names]) for part, names in parts.items()}
        out[name]["arcade_recall"] = _arcade_recall(real / "vessels_arcade", predictor)
    out["unfamiliar"] = measure_unfamiliar(real)
    out["Frangi"] = {"held_out": _means([_best_frangi(read, truth) for _, read, truth in _pairs(real, held)])}
    return out


def _pairs(real: Path, names: Sequence[str]) -> list[tuple[str, FloatArray, BoolArray]]:
    folder = real / "vessels_dca"
    pairs = []
    for name in names:
        image, truth = (_grey(folder / f"{name}{end}.png") for end in ("", "_gt"))
        pairs.append((name, image, truth > 127))
    return pairs


def _real_scores(told: BoolArray, truth: BoolArray) -> dict[str, float]:
    """Return Dice and clDice of a mask."""
    scores = mask_scores(told, truth)
    return {key: scores[key] for key in ("dice", "cldice", "precision", "recall")}


def _best_frangi(image: FloatArray, truth: BoolArray) -> dict[str, float]:
    response = _frangi(-gaussian(image, 1.0))
    return best(response, truth, np.zeros_like(truth), np.ones_like(truth))


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]} | {"images": len(rows)}


def _arcade_recall(folder: Path, predictor: Any) -> dict[str, float]:
    """Return the share of the labelled main branches that is found; polygons label no others, so no precision."""
    shares = []
    for file in sorted((folder / "images").glob("*.png")):
        labels = folder / "labels" / f"{file.stem}.txt"
        if not labels.is_file():
            continue
        image = _grey(file)
        truth = np.zeros(image.shape, np.uint8)
        for line in labels.read_text(encoding="utf-8").splitlines():
            values = np.array([float(value) for value in line.split()[1:]]).reshape(-1, 2)
            cv2.fillPoly(truth, [np.rint(values * image.shape[::-1]).astype(np.int32)], 1)
        if truth.any():
            told = predictor(image).mask
            shares.append(np.count_nonzero(told & (truth > 0)) / np.count_nonzero(truth))
    return {"recall": float(np.mean(shares)), "images": len(shares)}


def section(figures: dict[str, Any]) -> str:
    """Return what is said of accuracy in `docs/networks.md`; it follows from the figures alone."""
    parts = [preset_words(preset, figures[preset]) for preset in SEEDS if preset in figures]
    if "real" in figures:
        parts.append(real_words(figures["real"]))
    return "\n\n".join(parts)


def preset_words(preset: str, found: dict[str, Any]) -> str:
    """Return the tables of one preset."""
    network = found["network"]["metrics"]
    lines = [
        f"### {found['cases']} patients of preset `{preset}`",
        "",
        f"Measured with {found['measured_with']}; seed {found['seed']}, {found['network']['runs']} runs,"
        f" {found['network']['runs_without_result']} without a result, which count as 0. Intervals are 95 % bootstrap"
        " over patients.",
        "",
        "| what | Dice | clDice |",
        "| --- | ---: | ---: |",
        f"| artery, run network | {value_of(network['vessels']['dice'])} | {value_of(network['vessels']['cldice'])} |",
    ]
    for name, row in found["baselines"].items():
        how = f" ({row['runs']} runs)" if name == RIDGES else f", each run's best threshold ({row['runs']} runs)"
        lines.append(f"| artery, {name}{how} | {row['dice']:.3f} | {row['cldice']:.3f} |")
    for name, row in found["without_mask"].items():
        lines.append(f"| artery, {name} ({row['runs']} unsubtracted runs) | {row['dice']:.3f} | {row['cldice']:.3f} |")
    both = (network["vessels"]["dice"]["value"] + network["veins"]["dice"]["value"]) / 2
    lines += [
        f"| vein, run network | {value_of(network['veins']['dice'])} | – |",
        f"| mean of artery and vein | {both:.3f} | – |",
        f"| blush, run network, mean over true tumours | {value_of(network['tumours']['dice'])} | – |",
        "",
        f"{_percent(found['network']['unfamiliar']['share'])} of the {found['network']['unfamiliar']['runs']} runs that"
        " were analysed are flagged as unfamiliar.",
        "",
        "| what | |",
        "| --- | ---: |",
    ]
    lines += [f"| {words} | {value_of(network[group][key])} |" for group, key, words in MORE]
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


MORE = (
    ("vessels", "precision", "artery, precision"),
    ("vessels", "recall", "artery, recall"),
    ("vessels", "dice_3px", "artery, Dice within 3 px"),
    ("vessels", "betti0_error", "artery, pieces too many or too few"),
    ("tumours", "sensitivity", "tumours found"),
    ("tumours", "false_positives_per_run", "tumours wrongly called, a run"),
    ("catheter", "found", "catheter's tip found"),
)


def real_words(found: dict[str, Any]) -> str:
    """Return the table of real angiograms."""
    lines = [
        "### Real coronary angiograms",
        "",
        f"Measured with {found['measured_with']}. Forty images of 300² pixels with pixel truth (fercer/Coronary): Dice"
        f" over the {found['held_out']} that no training saw, and over all {found['images']} for the network that"
        " learned from simulation alone (but for how far out readers draw a vessel, measured on"
        f" {found['trained_on']} of them). What came out on the held-out images was looked at while the recipes were"
        " being made: they are no independent test. Recall is of the labelled main branches of ARCADE, whose polygons"
        " label no others: precision would mean nothing there.",
        "",
        "| what | Dice, held out | clDice, held out | Dice, all | ARCADE, recall |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, words in (
        ("frame", f"frame network, gone on with {found['learned_from']} of the images"),
        ("frame-simulation", "simulation only"),
    ):
        row = found[name]
        whole = f"{row['every']['dice']:.3f}" if "every" in row else "–"
        held, arcade = row["held_out"], row["arcade_recall"]["recall"]
        lines.append(f"| {words} | {held['dice']:.3f} | {held['cldice']:.3f} | {whole} | {arcade:.3f} |")
    held = found["Frangi"]["held_out"]
    lines.append(f"| Frangi, each image's best threshold | {held['dice']:.3f} | {held['cldice']:.3f} | – | – |")
    lines += ["", "### What is flagged as unfamiliar", "", "| images | flagged | n |", "| --- | ---: | ---: |"]
    for name, row in found["unfamiliar"].items():
        lines.append(f"| {name} | {row['share']:.2f} | {row['images']} |")
    return "\n".join(lines)


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description="Write benchmarks/networks.json and docs/networks.md.")
    parser.add_argument("--cases", type=int, default=50)
    parser.add_argument("--filter-cases", type=int, default=50, help="patients that the filters are measured on")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "networks-test", help="patients and results, kept")
    parser.add_argument("--real", type=Path, help="folder with vessels_dca and vessels_arcade")
    parser.add_argument("--only", choices=[*SEEDS, "real"], help="measure one part and leave the others' figures")
    given = parser.parse_args()
    figures: dict[str, Any] = {}
    given.work.mkdir(parents=True, exist_ok=True)
    for preset in SEEDS:
        if given.only in (None, preset):
            cases = max(1, round(SHARE.get(preset, 1.0) * given.cases))
            with keeping_work(given.work):
                found = measure_preset(preset, cases, given.workers, given.work, filtered=given.filter_cases)
            figures[preset] = {**found, "cases": cases, "seed": SEEDS[preset], "measured_with": state()}
    if given.only in (None, "real"):
        if given.real is not None:
            figures["real"] = {**measure_real(given.real), "measured_with": state()}
        elif given.only == "real":
            raise SystemExit("Expected --real FOLDER with vessels_dca and vessels_arcade, found none.")
        else:
            print("No real angiograms were given (--real): their figures stay as they are.")
    figures = write_parts(FIGURES, figures)
    write_section(PAGE, "networks", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
