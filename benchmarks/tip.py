"""Fit the weights by which the catheter's tip is told, and measure them on patients that they were not fitted to.

Runs of held-out training examples (`angio train`, presets as they are) are segmented by the network; each point of
the catheter's middle line is an example, right within 1.5 mm of the true tip and wrong beyond 3 mm. The weights are
a logistic regression; what is printed is how often the point chosen lies within 3 mm when the patient's own runs
took no part, how often no tip is told where the picture was cut so that it is out of view, and the weights for
`vessels/catheter.py`.

    .venv/bin/python benchmarks/tip.py EXAMPLES [--seed 42] [--share clinical=0.5 --share hard=0.5] [--cut N]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from angio_pipeline import perfusion, vessels
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.runs import SubtractedRun
from angio_pipeline.networks.prediction import RunPredictor, load_run_predictor
from angio_pipeline.simulate.angiography import stage
from angio_pipeline.simulate.patient import make_patient
from angio_pipeline.simulate.population import make_case
from angio_pipeline.simulate.presets import load_preset
from angio_pipeline.training.examples import load_subtracted
from angio_pipeline.vessels.catheter import TipEvidence, TipWeights, find_tip, weigh_points

RIGHT_MM, WRONG_MM, FOUND_MM = 1.5, 3.0, 3.0
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Example:
    """A run, its true tip (row, col), millimetres a pixel, and the points with their evidence."""

    path: Path
    tip: Floats
    pixel_mm: float
    points: TipEvidence

    @property
    def away_mm(self) -> Floats:
        """How far each point lies from the true tip."""
        return np.asarray(np.hypot(*(self.points.points - self.tip).T) * self.pixel_mm)


def true_tips(folder: Path, seed: int, number: int, shares: dict[str, float]) -> list[tuple[Path, Floats, float]]:
    """Return the true tip of each run of one patient, from making the patient anew."""
    rng = np.random.default_rng([seed, number])
    names = sorted(shares)
    part = np.array([shares[name] for name in names])
    patient = make_patient(
        make_case(seed, number), load_preset(names[int(rng.choice(len(names), p=part / part.sum()))])
    )
    out = []
    for file, told in json.loads((folder / f"{number:05d}.json").read_text(encoding="utf-8")).items():
        if "refused" in told:
            continue
        scene = stage(patient, file.removesuffix(".npz").split("-")[1])
        tip = scene.plan.carm.project(scene.catheter_mm(told["reference_frame"])[-1:])[0]
        out.append((folder / file, np.asarray(tip, float), float(scene.plan.carm.isocentre_pixel_mm)))
    return out


def evidence(sub: SubtractedRun, predict: RunPredictor, config: PipelineConfig) -> tuple[TipEvidence, bool]:
    """Return a run's points, and whether the weights in use tell a tip."""
    maps = perfusion.measure(sub, params=config.perfusion)
    told = vessels.segment(sub, maps, params=config.segment, predict=predict)
    tip = find_tip(told, sub, maps, params=config.graph.catheter)
    called = tip is not None and tip.probability >= config.graph.tip.min_probability
    return weigh_points(told, sub, maps, params=config.graph.catheter), called


def fit(examples: list[Example]) -> Floats:
    """Return the weights, the offset last, of a logistic regression with a unit penalty on standardised evidence."""
    x = np.vstack([one.points.evidence for one in examples])
    away = np.concatenate([one.away_mm for one in examples])
    kept = (away <= RIGHT_MM) | (away > WRONG_MM)
    x, sign = x[kept], np.where(away[kept] <= RIGHT_MM, 1.0, -1.0)
    mean, sd = x.mean(axis=0), x.std(axis=0) + 1e-6
    z = np.column_stack([(x - mean) / sd, np.ones(len(x))])

    def loss(weights: Floats) -> tuple[float, Floats]:
        margin = sign * (z @ weights)
        slope = -sign / (1 + np.exp(margin))
        penalty = np.append(weights[:-1], 0)
        return float(np.logaddexp(0, -margin).sum() + 0.5 * penalty @ penalty), z.T @ slope + penalty

    found = minimize(loss, np.zeros(z.shape[1]), jac=True, method="L-BFGS-B").x
    scaled = found[:-1] / sd
    return np.append(scaled, found[-1] - scaled @ mean)


def left_out(examples: list[Example]) -> list[tuple[str, float, float]]:
    """Return file, distance in mm and log odds of the point chosen by weights that saw no run of that patient."""
    out = []
    for patient in sorted({one.path.name[:5] for one in examples}):
        weights = fit([one for one in examples if one.path.name[:5] != patient])
        for one in examples:
            if one.path.name[:5] == patient and len(one.points.points):
                score = one.points.evidence @ weights[:-1] + weights[-1]
                best = int(np.argmax(score))
                out.append((one.path.name, float(one.away_mm[best]), float(score[best])))
    return out


def out_of_view(examples: list[Example], predict: RunPredictor, config: PipelineConfig) -> list[bool]:
    """Return for pictures cut left of, below and above the tip whether none was told."""
    out = []
    for one in examples:
        sub = load_subtracted(one.path)
        row, col = (int(v) for v in one.tip)
        for here in (np.s_[..., :, : col - 25], np.s_[..., row + 25 :, :], np.s_[..., : row - 25, :]):
            cut = replace(
                sub,
                frames=np.ascontiguousarray(sub.frames[here]),
                valid=np.ascontiguousarray(sub.valid[here]),
                uncorrected=np.ascontiguousarray(sub.uncorrected[here]),
                attenuation=np.ascontiguousarray(sub.attenuation[here]),
            )
            if cut.timing_measurable:
                out.append(not evidence(cut, predict, config)[1])
    return out


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description="Fit and measure how the catheter's tip is told.")
    parser.add_argument("examples", type=Path)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--share", action="append", default=None, help="preset=share, as the examples were made")
    parser.add_argument("--cut", type=int, default=8, help="runs that are cut so that the tip is out of view")
    given = parser.parse_args()
    shares = dict(part.split("=") for part in given.share or ("clinical=0.5", "hard=0.5"))
    presets = {name: float(value) for name, value in shares.items()}
    config, predict = PipelineConfig(), load_run_predictor()
    examples = []
    for file in sorted(given.examples.glob("[0-9]*.json")):
        for path, tip, pixel_mm in true_tips(given.examples, given.seed, int(file.stem), presets):
            points, _ = evidence(load_subtracted(path), predict, config)
            examples.append(Example(path, tip, pixel_mm, points))
    chosen = left_out(examples)
    right = sum(away <= FOUND_MM for _, away, _ in chosen)
    print(f"within {FOUND_MM:g} mm, own patient left out: {right} of {len(examples)}")
    for name, away, score in chosen:
        if away > FOUND_MM:
            print(f"  {name}: {away:.1f} mm, log odds {score:.1f}")
    nothing = out_of_view(examples[: given.cut], predict, config)
    print(f"no tip told where it is out of view: {sum(nothing)} of {len(nothing)}")
    for name, value in zip(TipWeights.model_fields, fit(examples), strict=True):
        print(f"{name} = {value:.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
