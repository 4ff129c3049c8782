"""Measure how long one run's segmentation takes, how much memory, and how good it is, beside filters and a plain U-Net.

Each contestant has a process of its own with one thread, so that processor time is work and no waiting. Ours is given
a subtracted run of 1024 x 1024 pixels and its maps, makes its pictures of them at the working size of 512, resampling
included, and gives four probabilities at full size. Frangi's and Sato's filters (scikit-image) and ITK's objectness
(SimpleITK) at three scales, and MONAI's BasicUNet of standard width, with as many input channels, are given noise: what
they take does not depend on what is in the picture. The U-Net is measured at the run's own size, which is what one
would give it, and at our working size.

Error is Dice of the arteries over runs of held-out simulated patients, of the seed that `networks.py` uses. Filters are
given the same subtracted picture, and for each run the threshold of the best Dice for that run, which nobody would know
beforehand. MONAI brings no weights for angiograms, so that it has a cost and no error. Written:
`benchmarks/segmentation.json` and a section of `docs/networks.md`. Needs the extra `[benchmark]`; with `[fast]`,
OpenVINO is measured, too.

    .venv/bin/python benchmarks/segmentation.py [--repeats N] [--size PX] [--frames N] [--cases N]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pages import ROOT, angio, machine, state, write_figures, write_section
from processes import hold_threads

SCRIPT = "benchmarks/segmentation.py"
FIGURES = ROOT / "benchmarks" / "segmentation.json"
PAGE = ROOT / "docs" / "networks.md"
WORDS = {
    "torch": "run network, torch",
    "openvino": "run network, OpenVINO",
    "frangi": "Frangi filter (scikit-image), three scales",
    "sato": "Sato filter (scikit-image), three scales",
    "objectness": "objectness (SimpleITK), three scales",
    "monai": "MONAI BasicUNet, standard width, at the run's size",
    "monai_512": "the same at 512²",
}


THREADS = 1
FILTERS = ("frangi", "sato", "objectness")
SCALES_PX = (1.0, 2.0, 3.0)
SEED, PRESET, CASES = 5001, "clinical", 2
FloatArray = npt.NDArray[np.float32]


def filtered(name: str) -> Callable[[FloatArray], FloatArray]:
    """Return a filter that tells bright vessels from the rest of a picture."""
    if name == "objectness":
        return objectness
    import skimage.filters

    method = getattr(skimage.filters, name)
    return lambda image: np.asarray(method(image, sigmas=SCALES_PX, black_ridges=False), dtype=np.float32)


def objectness(image: FloatArray) -> FloatArray:
    """Return the greatest objectness of lines over the scales, as ITK measures it, each weighed by its own square."""
    import SimpleITK as sitk

    picture = sitk.GetImageFromArray(image)
    answers = []
    for scale in SCALES_PX:
        smooth = sitk.SmoothingRecursiveGaussian(picture, scale)
        lines = sitk.ObjectnessMeasure(smooth, objectDimension=1, brightObject=True)
        answers.append(scale**2 * sitk.GetArrayFromImage(lines))
    return np.asarray(np.max(answers, axis=0), dtype=np.float32)


def contestant(name: str, size_px: int, frames: int) -> Callable[[], Any]:
    """Return a function that segments the run once."""
    rng = np.random.default_rng(0)
    if name.startswith("monai"):
        return unet(512 if name == "monai_512" else size_px)
    if name in FILTERS:
        picture, method = rng.standard_normal((size_px, size_px), dtype=np.float32), filtered(name)
        return lambda: method(picture)
    from angio_pipeline.vessels import picture_run

    sub, maps = subtracted_run(size_px, frames)
    predictor = run_network(name)
    return lambda: predictor(picture_run(sub, maps))


def run_network(engine: str) -> Any:
    """Return the run network on an engine."""
    from angio_pipeline.networks.prediction import load_run_predictor

    return load_run_predictor(engine=engine, threads=THREADS)


def unet(size_px: int) -> Callable[[], Any]:
    """Return a plain U-Net without trained weights at work on a picture of a size."""
    import torch
    from monai.networks.nets import BasicUNet

    from angio_pipeline.vessels import CHANNELS

    torch.set_num_threads(THREADS)
    network = BasicUNet(spatial_dims=2, in_channels=len(CHANNELS), out_channels=4).eval()
    image = torch.randn((1, len(CHANNELS), size_px, size_px))

    def predict() -> Any:
        with torch.inference_mode():
            return torch.sigmoid(network(image)).numpy()

    return predict


def held_out(folder: Path, cases: int) -> list[Path]:
    """Return the runs of held-out patients, simulated unless they are there already."""
    if len(list(folder.glob("case-*"))) < cases:
        settings = ("--seed", str(SEED), "--preset", PRESET, "--workers", "1", "--runs-only")
        angio("simulate", str(folder), "--cases", str(cases), *settings)
    return [file for case in sorted(folder.glob("case-*"))[:cases] for file in sorted(case.glob("dicom/day000/*.dcm"))]


def dice_of(name: str, files: list[Path]) -> float | None:
    """Return the mean Dice of the arteries; a run that cannot be subtracted is 0, and what has no weights has none."""
    if name.startswith("monai") or not files:
        return None
    find = filtered(name) if name in FILTERS else run_network(name)
    return float(np.mean([dice_of_run(name, find, file) for file in files]))


def dice_of_run(name: str, find: Any, file: Path) -> float:
    """Return the Dice of one run."""
    import networks
    from angio_pipeline.config import PipelineConfig
    from angio_pipeline.core.errors import AngioError
    from angio_pipeline.pipeline import subtract_run
    from angio_pipeline.vessels import arterial_image, segment

    config = PipelineConfig()
    try:
        sub, maps = subtract_run(networks.read(file), config=config)
    except AngioError:
        return 0.0
    truth = file.parents[2] / "truth" / sub.source.sop_instance_uid / "truth.json"
    artery, ignore = networks.true_arteries(truth, sub.reference_frame)
    if name in FILTERS:
        return networks.best(find(arterial_image(sub, maps, smoothing_px=1.0)), artery, ignore, sub.valid)["dice"]
    told = np.array(segment(sub, maps, params=config.segment, predict=find).artery)
    return networks.both_dice(told, artery, ignore)["dice"]


def subtracted_run(size_px: int, frames: int) -> tuple[Any, Any]:
    """Return a subtracted run of that size with vessels that fill and empty, and its maps."""
    from angio_pipeline import perfusion
    from angio_pipeline.config import PipelineConfig
    from angio_pipeline.core.provenance import Source
    from angio_pipeline.core.runs import Background, SubtractedRun

    rng = np.random.default_rng(1)
    times = np.arange(frames) / 3.0
    rows, columns = np.mgrid[:size_px, :size_px].astype(np.float32)
    vessel = 0.3 * np.exp(-(((columns - size_px / 2 - 60 * np.sin(rows / 90)) / 6) ** 2))
    course = np.clip((times - 1.0) / 1.0, 0, 1) * np.exp(-np.clip(times - 3.0, 0, None))
    stack = np.stack([0.005 * rng.standard_normal(rows.shape, dtype=np.float32) + c * vessel for c in course])
    whole = np.ones(rows.shape, bool)
    sub = SubtractedRun(
        frames=stack.astype(np.float32),
        times_s=times,
        valid=whole,
        usable=np.ones(frames, bool),
        background=Background.MASK,
        mask_frames=(0, 1, 2),
        reference_frame=int(np.argmax(course)),
        motion_px=np.zeros((frames, 2)),
        residual_before=0.005,
        residual_after=0.005,
        noise_sd=0.005,
        uncorrected=stack[0],
        attenuation=stack[int(np.argmax(course))] + 2.0,
        source=Source("", ""),
    )
    return sub, perfusion.measure(sub, params=PipelineConfig().perfusion)


def measure_alone(name: str, size_px: int, frames: int, repeats: int, files: list[Path]) -> dict[str, float | None]:
    """Return the least and the median time of one contestant in this process, its peak memory, and its Dice."""
    hold_threads(THREADS)
    work = contestant(name, size_px, frames)
    work()
    times, busy = [], []
    for _ in range(repeats):
        start, spent = time.perf_counter(), time.process_time()
        work()
        times.append(time.perf_counter() - start)
        busy.append(time.process_time() - spent)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    cost = {"least_s": min(times), "median_s": float(np.median(times)), "peak_gb": peak_gb}
    cost["processor_s"] = float(np.median(busy))
    return {**cost, "dice": dice_of(name, files)}


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Return every contestant's figures, each from a process of its own, one after the other."""
    files = held_out(given.work / "patients", given.cases)
    extras = {"openvino": "openvino", "monai": "monai", "monai_512": "monai"}
    names = [name for name in WORDS if name not in extras or find_spec(extras[name]) is not None]
    if absent := set(WORDS) - set(names):
        print(f"Not installed, so not measured: {', '.join(sorted(absent))}.", flush=True)
    found = {}
    for name in names:
        numbers = ("--size", str(given.size), "--frames", str(given.frames), "--repeats", str(given.repeats))
        command = [sys.executable, __file__, "--alone", name, *numbers, "--runs", *map(str, files)]
        found[name] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(name, found[name], flush=True)
    return {
        "schema": "angio-pipeline/segmentation/1",
        "size_px": given.size,
        "frames": given.frames,
        "repeats": given.repeats,
        "threads": THREADS,
        "runs": len(files),
        "machine": machine(),
        "measured_with": state(),
        "contestants": found,
    }


def section(figures: dict[str, Any]) -> str:
    """Return what is said of speed in `docs/networks.md`."""
    found = figures["contestants"]
    lines = [
        f"Measured with {figures['measured_with']} on {figures['machine']}: one run of {figures['size_px']}² pixels,",
        f"{figures['frames']} frames, median of {figures['repeats']}, one thread each. Ours includes "
        f"the pictures and their resampling. Dice of the arteries is over {figures['runs']} runs",
        f"of simulated patients (`{PRESET}`, seed {SEED}); filters have the best threshold of each run.",
        "",
        "| what | time, s | processor time, s | of the U-Net's | peak memory, GB | Dice of the arteries |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in found.items():
        ratio = row["processor_s"] / found["monai"]["processor_s"] if "monai" in found else float("nan")
        dice = "–" if row["dice"] is None else f"{row['dice']:.3f}"
        times = f"{row['median_s']:.2f} | {row['processor_s']:.2f} | {ratio:.3f}"
        lines.append(f"| {WORDS[name]} | {times} | {row['peak_gb']:.2f} | {dice} |")
    return "\n".join(lines)


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description="Write benchmarks/segmentation.json and its section of the page.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--cases", type=int, default=CASES, help="held-out patients, of whose runs the error is told")
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "segmentation", help="patients, kept")
    parser.add_argument("--alone", choices=list(WORDS), help="measure one in this process and print it")
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="runs with a truth, for --alone")
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(measure_alone(given.alone, given.size, given.frames, given.repeats, given.runs)))
        return 0
    figures = measure(given)
    write_figures(FIGURES, figures)
    write_section(PAGE, "segmentation", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
