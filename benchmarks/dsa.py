"""Measure subtraction beside what others offer, all in one run on one drawn case, and write down what came out.

Each competitor works in a process of its own, with the same two threads and the same images; what it costs is
the time between images and displacement (the best of two runs, after a warm-up) and the memory it adds. What
its displacement is worth is judged by one and the same subtraction. Written: `benchmarks/dsa.json`, the section
of `docs/subtraction.md`, and the picture beside it.

    .venv/bin/pip install -e '.[benchmark]'
    .venv/bin/python benchmarks/dsa.py [--only "NAME;NAME"] [--seed S] [--size PX] [--frames N] [--write]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

import dsa_peers as peers
from angio_pipeline import dsa
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.runs import AngioRun, Quantity, SubtractedRun
from angio_pipeline.dsa.alignment import align_anatomy
from angio_pipeline.dsa.linear import attenuation_table, linear_shrunk
from angio_pipeline.dsa.mask_frames import MaskScope
from angio_pipeline.numerics.compiled import each_in_threads
from angio_pipeline.numerics.fields import expand_field
from angio_pipeline.numerics.tables import look_up_minus
from dsa_case import WHITE_LEVEL, CaseParams, DsaCase, make_case
from pages import ROOT, machine, state, write_figures, write_section
from processes import THREADS, forget_peak_memory, hold_threads, in_its_own_process, peak_memory_mb

FloatArray = npt.NDArray[np.float32]
SCRIPT = "benchmarks/dsa.py"
FIGURES = ROOT / "benchmarks" / "dsa.json"
PAGE = ROOT / "docs" / "subtraction.md"
PICTURE = ROOT / "docs" / "images" / "subtraction.png"
BORDER_PX = 40
OURS_SHIFT, OURS_FIELD = "angio-pipeline, shift", "angio-pipeline, field"
ECC_HALF, BSPLINE_HALF = "OpenCV ECC, translation, at half size", "SimpleITK B-spline, at half size"
ECC, BSPLINE, DIS = "OpenCV ECC, translation", "SimpleITK B-spline, mutual information", "OpenCV DIS optical flow"


# --- competitors: what they get, and where they say the mask's anatomy stands


def ours_shift(case: DsaCase) -> FloatArray:
    """Return one shift a frame by this program, from stored values."""
    small = linear_shrunk(as_run(case), 2)
    inside = np.ones(small.shape[1:], np.bool_)
    shifts = 2 * dsa.estimate_shifts(small, small[0], inside, params=dsa.MotionParams())
    return np.asarray(-shifts[:, None, None, :], dtype=np.float32)


def ours_field(case: DsaCase) -> FloatArray:
    """Return fields by this program, from stored values: the step that `subtract` begins with."""
    run = as_run(case)
    factor = max(1, round(case.stored.shape[1] / dsa.SubtractParams().working_px))
    small = linear_shrunk(run, factor)
    inside = np.ones(small.shape[1:], np.bool_)
    filled = np.arange(len(small)) >= dsa.choose_mask(run, params=dsa.MaskParams()).onset
    found = align_anatomy(small, small[0], inside, filled=filled, params=dsa.MotionParams())
    return np.asarray(factor * found.fields, dtype=np.float32)


def on_attenuation(method: Callable[[FloatArray], FloatArray]) -> Callable[[DsaCase], FloatArray]:
    """Return a competitor that is given attenuation; taking the logarithm is not counted."""

    def run(case: DsaCase) -> FloatArray:
        return method(attenuation(case))

    return run


@lru_cache(maxsize=2)
def attenuation(case: DsaCase) -> FloatArray:
    """Return the case in attenuation units; that of the last two cases is kept."""
    return linear_shrunk(as_run(case), 1)


SHIFTS: dict[str, Callable[[DsaCase], FloatArray]] = {
    "none": on_attenuation(peers.none),
    ECC: on_attenuation(peers.ecc_translation),
    ECC_HALF: on_attenuation(peers.at_half_size(peers.ecc_translation)),
    "scikit-image phase correlation": on_attenuation(peers.phase_correlation),
    "pystackreg, translation": on_attenuation(peers.stackreg_translation),
    "SimpleITK translation, mutual information": on_attenuation(peers.mattes_translation),
    OURS_SHIFT: ours_shift,
}
FIELDS: dict[str, Callable[[DsaCase], FloatArray]] = {
    "none": on_attenuation(peers.none),
    "OpenCV ECC, affine": on_attenuation(peers.ecc_affine),
    DIS: on_attenuation(peers.dis_flow),
    BSPLINE: on_attenuation(peers.mattes_bspline),
    BSPLINE_HALF: on_attenuation(peers.at_half_size(peers.mattes_bspline)),
    OURS_FIELD: ours_field,
}


def as_run(case: DsaCase) -> AngioRun:
    """Return the case as the program would read it from a file."""
    times = np.linspace(0.0, 0.25 * (len(case.stored) - 1), len(case.stored))
    valid = np.ones(case.stored.shape[1:], np.bool_)
    return AngioRun(case.stored, times, Quantity.INTENSITY, valid, Source("1", "2"), white_level=float(WHITE_LEVEL))


# --- judging: one subtraction for all


@dataclass(frozen=True, slots=True)
class Score:
    """What a displacement is worth; means over the frames that hold contrast, errors over all."""

    error_px: float
    shift_error_px: float
    cnr: float
    contrast_kept: float
    seconds_a_frame: float = float("nan")
    peak_mb: float = float("nan")
    added_mb: float = float("nan")


def score(case: DsaCase, fields: FloatArray) -> Score:
    """Return what fields (T, h, w, 2) are worth: each frame minus the first one, warped by cubic splines."""
    frames, shape = attenuation(case), (case.stored.shape[1], case.stored.shape[2])
    inner = np.zeros(shape, np.bool_)
    inner[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = True
    near = cv2.dilate((case.contrast.max(axis=0) > 1e-3).astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    rows, cols = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    spline = ndimage.spline_filter(frames[0], order=3, mode="nearest").astype(np.float32)
    square, shift_square, cnr, kept = [], [], [], []
    for t in range(1, len(frames)):
        field = fields[t] if fields[t].shape[:2] == shape else expand_field(fields[t], shape)
        gap = (field - case.field[t])[inner]
        square.append(float((gap**2).sum(axis=-1).mean()))
        shift_square.append(float((gap.mean(axis=0) ** 2).sum()))
        if not case.filled[t]:
            continue
        at = [rows + field[..., 0], cols + field[..., 1]]
        left = frames[t] - ndimage.map_coordinates(spline, at, order=3, mode="nearest", prefilter=False)
        vessel = (case.contrast[t] > 0.05) & inner
        away = left[inner & ~near]
        height = float(left[vessel].mean() - away.mean())
        cnr.append(height / float(away.std()))
        kept.append(height / float(case.contrast[t][vessel].mean()))
    error, shift_error = (float(np.sqrt(np.mean(s))) for s in (square, shift_square))
    return Score(error, shift_error, float(np.mean(cnr)), float(np.mean(kept)))


def compete(name: str, kind: str, params: CaseParams, answer: Any) -> None:
    """Send the score of one competitor, or the sentence that says why there is none."""
    hold_threads()
    case = make_case(params, translation_only=kind == "shift")
    method = (SHIFTS if kind == "shift" else FIELDS)[name]
    attenuation(case)
    try:
        # What is loaded or compiled once is not counted.
        method(first_frames(case, 3))
        before = forget_peak_memory()
        spent, fields = np.inf, np.zeros((0,), np.float32)
        for _ in range(2):
            started = time.perf_counter()
            fields = method(case)
            spent = min(spent, time.perf_counter() - started)
            if spent > 20:
                break
        peak = peak_memory_mb()
        found = score(case, fields)
        cost = {"seconds_a_frame": spent / len(case.stored), "peak_mb": peak, "added_mb": peak - before}
        answer.put(replace(found, **cost))
    except ImportError as problem:
        answer.put(f"not installed ({problem.name})")
    except Exception as problem:
        answer.put(f"failed ({type(problem).__name__})")


def first_frames(case: DsaCase, count: int) -> DsaCase:
    """Return the case's first frames."""
    return DsaCase(
        case.stored[:count], case.field[:count], case.contrast[:count], case.filled[:count], case.mask_frames[:1]
    )


# --- the pass over memory


def throughput(case: DsaCase) -> dict[str, float]:
    """Return frames a second of log and subtract: by NumPy, by this program, and what only moving the data costs."""
    hold_threads()
    stored = case.stored
    table = attenuation_table(Quantity.INTENSITY, white_level=float(WHITE_LEVEL))
    mask, out = table[stored[0]], np.empty(stored.shape, np.float32)

    def by_numpy() -> None:
        for t, frame in enumerate(stored):
            out[t] = -np.log((frame.astype(np.float32) + np.float32(0.5)) * np.float32(1 / 4095.5)) - mask

    def moving_only() -> None:
        def one(part: int) -> None:
            frame, quarter = divmod(part, 4)
            rows = slice(quarter * stored.shape[1] // 4, (quarter + 1) * stored.shape[1] // 4)
            np.add(stored[frame, rows], mask[rows], out=out[frame, rows], casting="unsafe")

        each_in_threads(one, 4 * len(stored))

    def by_take() -> None:
        for t, frame in enumerate(stored):
            np.take(table, frame, out=out[t])
            out[t] -= mask

    ways = {
        "NumPy, logarithm": by_numpy,
        "NumPy, table": by_take,
        "angio-pipeline": lambda: look_up_minus(stored, table, mask, out=out),
        "adding the mask without a logarithm (NumPy, both cores)": moving_only,
    }
    return {name: len(stored) / best_of(way, 7) for name, way in ways.items()}


def best_of(way: Callable[[], object], times: int) -> float:
    """Return the least seconds of several calls, after one that is not counted."""
    way()
    spent = []
    for _ in range(times):
        started = time.perf_counter()
        way()
        spent.append(time.perf_counter() - started)
    return min(spent)


# --- the engine as a whole, and the choice of masks


def whole_engine(params: CaseParams) -> dict[str, float]:
    """Return what `choose_mask` and `subtract` make of the case, judged where the reference frame stands."""
    hold_threads()
    case = make_case(params)
    run = as_run(case)
    best_of(lambda: engine(run), 1)
    seconds = best_of(lambda: engine(run), 2)
    sub = engine(run)
    t = sub.reference_frame
    vessel, away = regions(case, t, sub.valid)
    frames = linear_shrunk(run, 1)
    true = frames[t] - np.mean([true_mask(case, frames, t, m) for m in sub.mask_frames], axis=0)
    cnr, height = cnr_of(sub.frames[t], vessel, away)
    return {
        "seconds_a_frame": seconds / len(case.stored),
        "contrast_kept": height / float(case.contrast[t][vessel].mean()),
        "cnr_share_of_true_fields": cnr / cnr_of(true, vessel, away)[0],
        "mask_frames": len(sub.mask_frames),
        "motion_error_px": motion_error(case, sub),
    }


def cnr_of(image: FloatArray, vessel: npt.NDArray[np.bool_], away: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return the contrast to noise of an image, and the contrast."""
    height = float(image[vessel].mean() - image[away].mean())
    return height / float(image[away].std()), height


def true_mask(case: DsaCase, frames: FloatArray, t: int, m: int) -> FloatArray:
    """Return frame m as the true fields lay it upon frame t."""
    rows, cols = np.mgrid[: frames.shape[1], : frames.shape[2]].astype(np.float32)
    wanted = np.stack([rows, cols], axis=-1) + case.field[t]
    at = wanted.copy()
    for _ in range(8):
        there = cv2.remap(case.field[m], at[..., 1], at[..., 0], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        at = wanted - there
    placed = ndimage.map_coordinates(frames[m], [at[..., 0], at[..., 1]], order=3, mode="nearest")
    return np.asarray(placed, dtype=np.float32)


def engine(run: AngioRun, **changes: Any) -> SubtractedRun:
    """Return the run as the pipeline subtracts it."""
    params = dsa.SubtractParams(**changes)
    return dsa.subtract(run, dsa.choose_mask(run, params=dsa.MaskParams()), params=params)


def regions(case: DsaCase, t: int, valid: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], ...]:
    """Return vessels of frame t, and where there never is any."""
    inner = np.array(valid)
    inner[:BORDER_PX], inner[-BORDER_PX:], inner[:, :BORDER_PX], inner[:, -BORDER_PX:] = (False,) * 4
    near = cv2.dilate((case.contrast.max(axis=0) > 1e-3).astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    return (case.contrast[t] > 0.05) & inner, inner & ~near


def motion_error(case: DsaCase, sub: SubtractedRun) -> float:
    """Return the mean error of the reported motion of the vessels, against the mask's mean position, px."""
    weight = case.contrast.max(axis=0)
    truth = -np.einsum("thwk,hw->tk", case.field, weight) / weight.sum()
    truth -= truth[list(sub.mask_frames)].mean(axis=0)
    return float(np.linalg.norm(sub.motion_px - truth, axis=1).mean())


def mask_choices(seed: int) -> dict[str, dict[str, float]]:
    """Return what is left outside vessels with masks chosen in several ways, in free breathing over still bone."""
    hold_threads()
    params = CaseParams(size_px=512, frames=28, mask_frames=10, jerk_px=0.0, period_frames=9.0, still_bone=True)
    case = make_case(replace(params, seed=seed))
    run = as_run(case)
    found = dsa.choose_mask(run, params=dsa.MaskParams())
    choice = replace(found, frames=case.mask_frames, onset=len(case.mask_frames))
    rows = {}
    single = [
        left_over(case, dsa.subtract(run, replace(choice, frames=(frame,)), params=scoped(MaskScope.RUN)))
        for frame in choice.frames
    ]
    rows["best single frame, known afterwards"] = min(single, key=lambda row: row["left_in_noise"])
    for name, scope in (
        ("best mean for the run", MaskScope.RUN),
        ("best mean for each frame", MaskScope.FRAME),
        ("best mean for each patch", MaskScope.PATCH),
        ("whichever of these pays", MaskScope.AUTO),
    ):
        rows[name] = left_over(case, dsa.subtract(run, choice, params=scoped(scope)))
    name = f"the same, of the {len(found.frames)} frames that the program finds by itself"
    rows[name] = left_over(case, dsa.subtract(run, found, params=scoped(MaskScope.AUTO)))
    return rows


def scoped(scope: MaskScope) -> dsa.SubtractParams:
    """Return the default settings with another scope of the mask's choice."""
    params = dsa.SubtractParams()
    return params.model_copy(update={"masks": params.masks.model_copy(update={"scope": scope})})


def left_over(case: DsaCase, sub: SubtractedRun) -> dict[str, float]:
    """Return what a subtraction leaves outside vessels, in SDs of one frame's noise, and contrast to noise, means."""
    vessel, away = regions(case, sub.reference_frame, sub.valid)
    live = [t for t in range(len(sub.frames)) if case.filled[t]]
    left = [float(sub.frames[t][away].std()) for t in live]
    noise = 1 / np.sqrt(CaseParams().photons_behind_body)
    cnr = [cnr_of(sub.frames[t], vessel, away)[0] for t in live]
    return {"left_in_noise": float(np.mean(left)) / noise, "cnr": float(np.mean(cnr))}


# --- writing down


def table(rows: dict[str, Any], true: dict[str, Any], kind: str) -> str:
    """Return competitors as a Markdown table."""
    error = "error, RMSE px" if kind == "shift" else "error, RMSE px (field)"
    lines = [
        f"| method | {error} | contrast to noise, share of the true field's | vessel contrast kept | ms a frame | "
        "peak memory, MB | added, MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in rows.items():
        if isinstance(row, str):
            lines.append(f"| {name} | {row} | | | | | |")
            continue
        px = row["shift_error_px"] if kind == "shift" else row["error_px"]
        lines.append(
            f"| {name} | {px:.3f} | {100 * row['cnr'] / true['cnr']:.1f} % | "
            f"{100 * row['contrast_kept'] / true['contrast_kept']:.1f} % | "
            f"{1000 * row['seconds_a_frame']:.1f} | {row['peak_mb']:.0f} | {row['added_mb']:.0f} |"
        )
    return "\n".join(lines)


def asked(figures: dict[str, Any]) -> str:
    """Return the figures asked of the engine and what was measured, as a Markdown table."""
    shift, field = figures["shift"], figures["field"]

    def time_share(rows: dict[str, Any], mine: str, other: str) -> str:
        return f"{rows[mine]['seconds_a_frame'] / rows[other]['seconds_a_frame']:.3f}"

    mine, true = field[OURS_FIELD], figures["true_field"]
    speed = figures["frames_a_second"]
    lines = ["| what | asked | measured |", "| --- | --- | --- |"]
    if all(isinstance(shift.get(name), dict) for name in (ECC, ECC_HALF, OURS_SHIFT)):
        lines.append(
            f"| translation error, RMSE | ≤ 0.05 px | {shift[OURS_SHIFT]['shift_error_px']:.3f} px |\n"
            f"| its time, of ECC's | ≤ 1/5 | {time_share(shift, OURS_SHIFT, ECC)} "
            f"({time_share(shift, OURS_SHIFT, ECC_HALF)} of ECC's at half size) |"
        )
    if all(isinstance(field.get(name), dict) for name in (BSPLINE, BSPLINE_HALF)):
        lines.append(
            f"| contrast to noise, of the true field's | ≥ 97 % | {100 * mine['cnr'] / true['cnr']:.1f} % |\n"
            f"| its time, of the B-spline's | ≤ 1/10 | {time_share(field, OURS_FIELD, BSPLINE)} "
            f"({time_share(field, OURS_FIELD, BSPLINE_HALF)} of the B-spline's at half size) |\n"
            f"| vessel contrast kept | ≥ 99 % | {100 * mine['contrast_kept'] / true['contrast_kept']:.1f} % |"
        )
    lines.append(f"| log and subtract, 1024² | ≥ 2000 frames/s | {speed['angio-pipeline']:.0f} frames/s |")
    return "\n".join(lines)


def section(figures: dict[str, Any]) -> str:
    """Return the section of `docs/subtraction.md`; it follows from the figures alone."""
    whole, masks = figures["engine"], figures["mask_choices"]
    speed = "\n".join(f"| {name} | {rate:.0f} |" for name, rate in figures["frames_a_second"].items())
    choices = "\n".join(f"| {n} | {r['left_in_noise']:.2f} | {r['cnr']:.2f} |" for n, r in masks.items())
    return (
        f"Measured with {figures['measured_with']} on {figures['machine']}. {THREADS} threads each; seed "
        f"{figures['case']['seed']}.\n\n{asked(figures)}\n\n"
        f"### One shift a frame\n\nAll of the anatomy moves alike.\n\n"
        f"{table(figures['shift'], figures['true_shift'], 'shift')}\n\n"
        f"### A field\n\nThe anatomy bends.\n\n{table(figures['field'], figures['true_field'], 'field')}\n\n"
        "The first frame alone is the mask here, so that only the displacement differs. The engine as a whole, "
        f"which chooses and averages masks: {1000 * whole['seconds_a_frame']:.0f} ms a frame, "
        f"{100 * whole['contrast_kept']:.1f} % of the vessels' contrast kept in the reference frame, "
        f"{100 * whole['cnr_share_of_true_fields']:.0f} % of the contrast to noise there that the true fields give "
        f"with the same {whole['mask_frames']} mask frames, motion reported with an error of "
        f"{whole['motion_error_px']:.2f} px.\n\n"
        "### Log and subtract\n\nWithout any motion to correct, as where it is switched off; into memory that is there "
        f"already.\n\n| way | frames of 1024² a second |\n| --- | ---: |\n{speed}\n\n"
        "### Which mask, in free breathing\n\nBone stands still, everything else breathes; ten frames before contrast, "
        "which are named to it but in the last row, 512². What is left outside vessels is in standard deviations of "
        "one frame's noise behind the body; "
        "1.0 to 1.4 is noise alone.\n\n"
        f"| mask | left outside vessels | contrast to noise |\n| --- | ---: | ---: |\n{choices}"
    )


def picture(params: CaseParams) -> None:
    """Write one frame as each way leaves it."""
    hold_threads()
    case = make_case(params)
    run = as_run(case)
    frames = linear_shrunk(run, 1)
    t = 9
    both = frames[[0, t]]
    shown = {"none": peers.none(both)[1], "DIS": peers.dis_flow(both)[1], "B-spline": peers.mattes_bspline(both)[1]}
    shown["angio-pipeline"] = ours_field(case)[t]
    shown["true field"] = case.field[t]
    size = (frames.shape[1], frames.shape[2])
    rows, cols = np.mgrid[: size[0], : size[1]].astype(np.float32)
    tiles = []
    for name, field in shown.items():
        dense = field if field.shape[:2] == size else expand_field(field, size)
        left = frames[t] - cv2.remap(frames[0], cols + dense[..., 1], rows + dense[..., 0], cv2.INTER_CUBIC)
        crop = left[330 : 330 + 420, 300 : 300 + 420]
        grey = np.clip(200 - crop / 0.45 * 200, 0, 255).astype(np.uint8)
        cv2.putText(grey, name, (10, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 0, 2, cv2.LINE_AA)
        tiles.append(grey)
    cv2.imwrite(str(PICTURE), np.hstack(tiles))


def without_nan(value: Any) -> Any:
    """Return figures with null where there is no number, as JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value


def measure(params: CaseParams, only: set[str]) -> dict[str, Any]:
    """Return all figures."""
    figures: dict[str, Any] = {
        "schema": "angio-pipeline/dsa-benchmark/1",
        "case": asdict(params),
        "measured_with": state(),
        "machine": machine(),
    }
    for kind, competitors in (("shift", SHIFTS), ("field", FIELDS)):
        figures[kind] = {}
        for name in competitors:
            if only and name not in only:
                continue
            print(f"{kind}: {name} ...", flush=True)
            found: Score | str = in_its_own_process(compete, name, kind, params)
            figures[kind][name] = found if isinstance(found, str) else asdict(found)
    for kind in ("shift", "field"):
        case = make_case(params, translation_only=kind == "shift")
        figures[f"true_{kind}"] = asdict(score(case, case.field))
    figures["frames_a_second"] = throughput(make_case(params))
    figures["engine"] = whole_engine(params)
    figures["mask_choices"] = mask_choices(params.seed)
    return figures


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description="Write benchmarks/dsa.json and its section of docs/subtraction.md.")
    parser.add_argument("--only", default="", help="names of competitors, with semicolons; prints and writes nothing")
    standard = CaseParams()
    parser.add_argument("--seed", type=int, default=standard.seed)
    parser.add_argument("--size", type=int, default=standard.size_px)
    parser.add_argument("--frames", type=int, default=standard.frames)
    parser.add_argument("--write", action="store_true", help="write figures of another case, too")
    given = parser.parse_args()
    only = {name for name in given.only.split(";") if name}
    params = CaseParams(seed=given.seed, size_px=given.size, frames=given.frames)
    figures = measure(params, only)
    if only or (params != standard and not given.write):
        print(section(figures) if OURS_FIELD in figures["field"] else json.dumps(figures, indent=1))
        return 0
    write_figures(FIGURES, without_nan(figures))
    write_section(PAGE, "figures", SCRIPT, section(figures))
    picture(params)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
