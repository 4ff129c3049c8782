"""Measure how long one run's segmentation takes, and how much memory, beside a ridge filter and a plain U-Net.

Each contestant has a process of its own. Ours is given a subtracted run of 1024 x 1024 pixels and its maps, makes its
pictures of them at the working size of 512, resampling included, and gives four probabilities at full size. Sato's
filter (scikit-image, three scales) and MONAI's BasicUNet of standard width, with as many input channels, are given
noise: what they take does not depend on what is in the picture. The U-Net is measured at the run's own size,
which is what one would give it, and at our working size. Written: `benchmarks/segmentation.json` and a section of
`docs/networks.md`. Needs the extra `[benchmark]`; with `[fast]`, OpenVINO is measured, too.

    .venv/bin/python benchmarks/segmentation.py [--repeats N] [--size PX] [--frames N]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from pages import ROOT, machine, state, write_figures, write_section

SCRIPT = "benchmarks/segmentation.py"
FIGURES = ROOT / "benchmarks" / "segmentation.json"
PAGE = ROOT / "docs" / "networks.md"
WORDS = {
    "torch": "run network, torch",
    "openvino": "run network, OpenVINO",
    "sato": "Sato filter, three scales",
    "monai": "MONAI BasicUNet, standard width, at the run's size",
    "monai_512": "the same at 512²",
}


def contestant(name: str, size_px: int, frames: int) -> Callable[[], Any]:
    """Return a function that segments the run once."""
    rng = np.random.default_rng(0)
    if name.startswith("monai"):
        size_px = 512 if name == "monai_512" else size_px
        import torch
        from monai.networks.nets import BasicUNet

        from angio_pipeline.vessels import CHANNELS

        network = BasicUNet(spatial_dims=2, in_channels=len(CHANNELS), out_channels=4).eval()
        image = torch.from_numpy(rng.standard_normal((1, len(CHANNELS), size_px, size_px), dtype=np.float32))

        def predict() -> Any:
            with torch.inference_mode():
                return torch.sigmoid(network(image)).numpy()

        return predict
    if name == "sato":
        from skimage.filters import sato

        picture = rng.standard_normal((size_px, size_px), dtype=np.float32)
        return lambda: sato(picture, sigmas=(1.0, 2.0, 3.0), black_ridges=False)
    from angio_pipeline.networks.prediction import load_run_predictor
    from angio_pipeline.vessels import picture_run

    sub, maps = subtracted_run(size_px, frames)
    predictor = load_run_predictor(engine=name, threads=os.cpu_count())
    return lambda: predictor(picture_run(sub, maps))


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


def measure_alone(name: str, size_px: int, frames: int, repeats: int) -> dict[str, float]:
    """Return the least and the median time of one contestant in this process, and the process's peak memory."""
    work = contestant(name, size_px, frames)
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return {"least_s": min(times), "median_s": float(np.median(times)), "peak_gb": peak_gb}


def measure(size_px: int, frames: int, repeats: int) -> dict[str, Any]:
    """Return every contestant's figures, each from a process of its own, one after the other."""
    names = [name for name in WORDS if name != "openvino" or find_spec("openvino") is not None]
    found = {}
    for name in names:
        numbers = ("--size", str(size_px), "--frames", str(frames), "--repeats", str(repeats))
        command = [sys.executable, __file__, "--alone", name, *numbers]
        found[name] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return {
        "schema": "angio-pipeline/segmentation/1",
        "size_px": size_px,
        "frames": frames,
        "repeats": repeats,
        "machine": machine(),
        "measured_with": state(),
        "contestants": found,
    }


def section(figures: dict[str, Any]) -> str:
    """Return what is said of speed in `docs/networks.md`."""
    found = figures["contestants"]
    lines = [
        f"Measured with {figures['measured_with']} on {figures['machine']}: one run of {figures['size_px']}² pixels,",
        f"{figures['frames']} frames, median of {figures['repeats']}. Ours includes the pictures and their resampling.",
        "",
        "| what | time, s | over the U-Net's | peak memory, GB |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, row in found.items():
        ratio = row["median_s"] / found["monai"]["median_s"]
        lines.append(f"| {WORDS[name]} | {row['median_s']:.2f} | {ratio:.3f} | {row['peak_gb']:.2f} |")
    return "\n".join(lines)


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description="Write benchmarks/segmentation.json and its section of the page.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--alone", choices=list(WORDS), help="measure one in this process and print it")
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(measure_alone(given.alone, given.size, given.frames, given.repeats)))
        return 0
    figures = measure(given.size, given.frames, given.repeats)
    write_figures(FIGURES, figures)
    write_section(PAGE, "segmentation", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
