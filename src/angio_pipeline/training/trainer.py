"""From a recipe to weights: simulate, picture, train, calibrate, write. Each step goes on where it ended."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from skimage.morphology import skeletonize
from torch import nn

import angio_pipeline
from angio_pipeline.core.errors import AngioError, ConfigError
from angio_pipeline.networks.definition import SmallUNet
from angio_pipeline.networks.frames import picture_frame
from angio_pipeline.networks.weights import Architecture, Calibration, read_weights, save_model
from angio_pipeline.training.batches import Batch
from angio_pipeline.training.calibrate import HeldOut, fit_calibration, reliability
from angio_pipeline.training.examples import begin_worker, make_examples
from angio_pipeline.training.frame_batches import RealFrames
from angio_pipeline.training.kinds import KINDS
from angio_pipeline.training.loop import Trained, train_loop
from angio_pipeline.training.packing import Packed, pack_run
from angio_pipeline.training.recipe import DataParams, Recipe
from angio_pipeline.vessels import CHANNELS, WORKING_PX
from angio_pipeline.workers import one_image_thread, process_pool

__all__ = ["Progress", "prepare", "train"]

FloatArray = npt.NDArray[np.float32]
Progress = Callable[[str, int, int], None]
# Pictures for the description of what is familiar, and pictures that are looked at while training.
_FAMILIAR, _WATCHED = 240, 12
# What an example, and what its packed pictures, come from: with other code they would be others.
_MAKES_EXAMPLES = (
    "core",
    "numerics",
    "simulate",
    "ingest",
    "dsa",
    "evaluate/lines.py",
    "training/examples.py",
    "training/randomise.py",
)
_MAKES_PICTURES = ("perfusion", "vessels/pictures.py", "training/packing.py")
# The weights that see the inputs.
_FROM_INPUTS = {"down.0.first.weight", "down.0.skip.weight"}


@dataclass(frozen=True, slots=True)
class _Job:
    examples: Path
    packed: Path
    seed: int
    number: int
    shares: Mapping[str, float]
    randomised: bool
    runs: int


def prepare(data: DataParams, folder: Path, *, workers: int, progress: Progress) -> tuple[list[Packed], list[Packed]]:
    """Return the packed examples to learn from and those held out, after making what is missing.

    Raises
    ------
    AngioError
        When no example could be made.
    ConfigError
        When the folder holds examples of that seed and other settings.
    """
    _claim_examples(folder / f"examples-{data.seed}", data.preset_shares, data.runs_each, randomised=True)
    _claim_examples(folder / f"examples-{data.held_out_seed}", data.held_out_shares, 2, randomised=False)
    for seed in (data.seed, data.held_out_seed):
        _claim_packed(folder / f"packed-{seed}")
    learn = _jobs(folder, data.seed, data.patients, data.preset_shares, data.runs_each, randomised=True)
    hold = _jobs(folder, data.held_out_seed, data.held_out_patients, data.held_out_shares, 2, randomised=False)
    found: dict[tuple[int, int], list[Packed]] = {}
    jobs = [*hold, *learn]
    for done, (key, packed) in enumerate(_made(jobs, workers), start=1):
        found[key] = packed
        progress("patients", done, len(jobs))
    out = [[one for job in jobs for one in found[job.seed, job.number]] for jobs in (learn, hold)]
    if not out[0] or not out[1]:
        raise AngioError("Expected examples to train on and to hold out, found none.", reason="no_examples")
    return out[0], out[1]


def _claim_examples(folder: Path, shares: Mapping[str, float], runs: int, *, randomised: bool) -> None:
    # Examples are found by seed and number: those of other settings, or of another simulator, must not be taken.
    told = {"preset_shares": dict(sorted(shares.items())), "runs_each": runs, "randomised": randomised}
    _claim_cache(folder, {**told, "code": code_digest(*_MAKES_EXAMPLES)})


def _claim_packed(folder: Path) -> None:
    _claim_cache(folder, {"channels": list(CHANNELS), "code": code_digest(*_MAKES_PICTURES)})


def _claim_cache(folder: Path, settings: Mapping[str, Any]) -> None:
    path = folder / "settings.json"
    text = json.dumps(settings, indent=1) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        path.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"Expected {folder.name} to be of these settings and this version, found others; name another --data."
        )


def code_digest(*places: str) -> str:
    """Return a short hash of the package's source in the rooms or files named."""
    package = Path(angio_pipeline.__file__).parent
    files = [file for place in places for file in _sources(package / place)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _sources(place: Path) -> list[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]


def _jobs(
    folder: Path, seed: int, patients: int, shares: Mapping[str, float], runs: int, *, randomised: bool
) -> list[_Job]:
    examples, packed = folder / f"examples-{seed}", folder / f"packed-{seed}"
    return [_Job(examples, packed, seed, number, shares, randomised, runs) for number in range(patients)]


def _made(jobs: Sequence[_Job], workers: int) -> Iterator[tuple[tuple[int, int], list[Packed]]]:
    with process_pool(max(1, workers), initializer=begin_worker, preload=__name__) as pool:
        for future in as_completed([pool.submit(_make, job) for job in jobs]):
            yield future.result()


def _make(job: _Job) -> tuple[tuple[int, int], list[Packed]]:
    made = make_examples(
        job.examples,
        seed=job.seed,
        number=job.number,
        preset_shares=job.shares,
        randomised=job.randomised,
        runs=job.runs,
    )
    return (job.seed, job.number), [pack_run(path, job.packed) for path in made]


def train(
    recipe: Recipe,
    folder: Path,
    *,
    data: Path | None = None,
    real: Path | None = None,
    workers: int = 1,
    progress: Progress = lambda what, done, total: None,
) -> Path:
    """Return the weights of a recipe, made in `folder` with their log; go on where an earlier call ended.

    Parameters
    ----------
    data : Path, optional
        Where simulated examples lie or are put, `folder`/data when None; recipes may share it.
    real : Path, optional
        Folder of real angiograms with pixel truth (NAME.png, NAME_gt.png), for recipes that learn from some.

    Raises
    ------
    ConfigError
        When the recipe needs real angiograms and there is no folder of them, or `folder` is of another recipe.
    """
    _claim(folder, recipe)
    frames = _real_frames(recipe, real)
    learn, held = prepare(recipe.data, data or folder / "data", workers=workers, progress=progress)
    torch.manual_seed(recipe.loop.seed)
    network = _architecture(recipe).build()
    if recipe.start_from is not None:
        before = folder.parent / recipe.start_from / f"{recipe.start_from}.safetensors"
        _start_from(network, _architecture(recipe), before)
    # Crops are cut beside the learning, which has the cores.
    with one_image_thread():
        trained = train_loop(
            network,
            _batches(recipe, learn, frames),
            partial(_validate, recipe=recipe, held=held[:: max(1, len(held) // _WATCHED)], frames=frames),
            params=recipe.loop,
            loss=recipe.loss,
            folder=folder,
            tell=lambda step, values: progress("steps", step, recipe.loop.steps),
        )
    return _finish(recipe, folder, trained, learn, held, frames)


def _finish(
    recipe: Recipe,
    folder: Path,
    trained: Trained,
    learn: Sequence[Packed],
    held: Sequence[Packed],
    frames: RealFrames | None,
) -> Path:
    """Return the weights of a trained network, calibrated on what was held out, with `summary.json` beside them."""
    network, rng = trained.network, np.random.default_rng(recipe.loop.seed)
    shown = [picture for one in held for picture in _held_out(network, recipe, one)]
    drawn = [learn[int(k)] for k in rng.permutation(len(learn))[:_FAMILIAR]]
    familiar = [picture.description for one in drawn for picture in _held_out(network, recipe, one)]
    if frames is not None:
        # Real images are few: repeated, they have the same say as the simulated ones.
        real_shown = [_real_held_out(network, recipe, *pair) for pair in frames.calibrate]
        shown += real_shown * max(1, len(shown) // len(real_shown))
        pictures = [picture_frame(image, working_px=WORKING_PX) for image, _ in frames.train]
        familiar += [_forward(network, one, _architecture(recipe).multiple_px)[1] for one in pictures]
    calibration = fit_calibration(shown, np.stack(familiar), rng=rng)
    path = folder / f"{recipe.name}.safetensors"
    digest = save_model(path, _architecture(recipe), network, calibration)
    counts = {"examples": len(learn), "held_out": len(held)}
    _write_summary(folder, recipe, digest, trained.seconds, calibration, shown, counts)
    return path


def _claim(folder: Path, recipe: Recipe) -> None:
    path = folder / "recipe.json"
    text = recipe.model_dump_json(indent=1) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"Expected {folder.name} to hold a training of this recipe, found another; name another folder."
        )
    path.write_text(text, encoding="utf-8")


def _real_frames(recipe: Recipe, real: Path | None) -> RealFrames | None:
    if recipe.real is None:
        return None
    if real is None or not real.is_dir():
        raise ConfigError(f"Expected --real FOLDER with real angiograms for the recipe {recipe.name!r}, found none.")
    return RealFrames.read(real, recipe.real)


def _architecture(recipe: Recipe) -> Architecture:
    kind = KINDS[recipe.kind]
    return Architecture(
        kind=recipe.kind,
        channels=kind.channels,
        classes=kind.classes,
        widths=recipe.widths,
        working_px=WORKING_PX,
    )


def _start_from(network: SmallUNet, architecture: Architecture, path: Path) -> None:
    """Take the weights of a trained network of the same widths.

    Inputs that it was not given count for nothing at first, and other classes begin anew.
    """
    if not path.is_file():
        raise ConfigError(f"Expected {path.name} beside this training, found none; train {path.stem!r} first.")
    told, tensors = read_weights(path)
    own = network.state_dict()
    told_of = {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}
    theirs = {name: torch.from_numpy(np.array(value)) for name, value in told_of.items()}
    fits = told.widths == architecture.widths and set(told.channels) <= set(architecture.channels)
    # A first block as wide as its inputs has no weights for those that pass it by.
    if not fits or theirs.keys() != own.keys():
        raise ConfigError(f"Expected {path.name} to be of the same widths and inputs, found another network.")
    for name in theirs.keys() & _FROM_INPUTS:
        theirs[name] = _placed(theirs[name], told.channels, architecture.channels)
    same = {name: value for name, value in theirs.items() if value.shape == own[name].shape}
    network.load_state_dict(own | same)


def _placed(weights: torch.Tensor, before: Sequence[str], now: Sequence[str]) -> torch.Tensor:
    """Return weights (outputs, inputs, 3, 3) with the inputs `before` where they are `now`, and 0 for the others."""
    placed = weights.new_zeros(len(weights), len(now), *weights.shape[2:])
    placed[:, [now.index(name) for name in before]] = weights
    return placed


def _batches(recipe: Recipe, learn: Sequence[Packed], frames: RealFrames | None) -> Callable[[int], Iterator[Batch]]:
    kind = KINDS[recipe.kind]
    return lambda step: kind.batches(learn, frames, recipe.crops, recipe.loop.seed, step, recipe.loop.steps)


@torch.inference_mode()
def _held_out(network: nn.Module, recipe: Recipe, packed: Packed) -> list[HeldOut]:
    """Return what the network says of an example's pictures, and what is so."""
    out = []
    for pictures, targets, known in KINDS[recipe.kind].pictures(packed):
        logits, description = _forward(network, pictures, _architecture(recipe).multiple_px)
        out.append(HeldOut(logits, targets > 0.5, known > 0.5, description))
    return out


@torch.inference_mode()
def _forward(network: nn.Module, pictures: FloatArray, multiple_px: int) -> tuple[FloatArray, FloatArray]:
    rows, columns = pictures.shape[1:]
    # Padded as in prediction: the description is a mean over all pixels.
    padded = np.pad(pictures, ((0, 0), (0, -rows % multiple_px), (0, -columns % multiple_px)))
    device = next(network.parameters()).device
    given = torch.from_numpy(padded[None]).to(device).contiguous(memory_format=torch.channels_last)
    logits, description = network(given)
    return logits[0, :, :rows, :columns].float().cpu().numpy(), description[0].float().cpu().numpy()


def _validate(
    network: nn.Module, *, recipe: Recipe, held: Sequence[Packed], frames: RealFrames | None
) -> dict[str, float]:
    """Return the mean Dice at 0.5 of each class over some held-out pictures that show it."""
    names = KINDS[recipe.kind].classes
    found: dict[str, list[float]] = {name: [] for name in names}
    for one in (picture for packed in held for picture in _held_out(network, recipe, packed)):
        for k, name in enumerate(names):
            if (one.truth[k] & one.known[k]).any():
                found[name].append(_dice(one, k))
    figures = {f"dice_{name}": float(np.mean(values)) if values else float("nan") for name, values in found.items()}
    if frames is not None:
        real = [_real_held_out(network, recipe, *pair) for pair in frames.calibrate]
        figures["dice_real"] = float(np.mean([_dice(one, 0) for one in real]))
    return figures


def _real_held_out(network: nn.Module, recipe: Recipe, picture: FloatArray, truth: npt.NDArray[np.bool_]) -> HeldOut:
    logits, description = _forward(network, picture, _architecture(recipe).multiple_px)
    both = np.stack([truth, skeletonize(truth)])
    return HeldOut(logits, both, np.ones_like(both), description)


def _dice(one: HeldOut, k: int) -> float:
    """Return the Dice of one class at an uncalibrated probability of one half, where it is known."""
    truth, told = (part[k] & one.known[k] for part in (one.truth, one.logits > 0))
    return 2 * float(np.count_nonzero(truth & told)) / max(1.0, float(truth.sum() + told.sum()))


def _write_summary(
    folder: Path,
    recipe: Recipe,
    digest: str,
    seconds: float,
    calibration: Calibration,
    shown: Sequence[HeldOut],
    counts: Mapping[str, int],
) -> None:
    """Write what the model card is made from."""
    names = KINDS[recipe.kind].classes
    curves = {}
    for k, name in enumerate(names):
        known = [one.known[k] for one in shown]
        scaled = [
            calibration.scale[k] * one.logits[k][a] + calibration.offset[k] for one, a in zip(shown, known, strict=True)
        ]
        probability = 1 / (1 + np.exp(-np.clip(np.concatenate(scaled), -60, 60)))
        truth = np.concatenate([one.truth[k][a] for one, a in zip(shown, known, strict=True)])
        curves[name] = reliability(probability, truth)
    document = {
        "schema": "angio-pipeline/training/1",
        "name": recipe.name,
        "sha256": digest,
        **counts,
        "parameters": sum(p.numel() for p in _architecture(recipe).build().parameters()),
        "seconds": round(seconds, 1),
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, {_device()}",
        "thresholds": {name: float(calibration.threshold[k]) for k, name in enumerate(names)},
        "calibration": {
            name: [float(calibration.scale[k]), float(calibration.offset[k])] for k, name in enumerate(names)
        },
        "reliability": curves,
    }
    (folder / "summary.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _device() -> str:
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
