"""Put trained weights into models/: the file, its entry in the manifest, and its card with the curves.

    .venv/bin/python scripts/ship_network.py TRAINING_FOLDER...

A training folder is what `angio train RECIPE --out FOLDER` leaves. Everything in a card comes from its files; what
independent tests say is in docs/networks.md.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from angio_pipeline.networks.manifest import ModelEntry, read_manifest

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "models"
LICENCE = "Apache-2.0"
PURPOSE = {
    "run": (
        "Tells artery, vein, tumour blush and catheter, and the arteries' centreline, in a subtracted angiographic run"
        " of the liver. One forward pass a run: the input is what the subtraction and the maps of the passage give"
        " (`vessels/pictures.py`)."
    ),
    "feeder": "Tells, about one tumour in a subtracted run, which vessels feed that tumour alone.",
    "frame": (
        "Tells vessels in a single, unsubtracted angiographic frame in which contrast is dark (`networks/frames.py`):"
        " for `angio segment`, and for runs that cannot be subtracted in time."
    ),
}
_RARE = 0.05
WORDS = {"dice_real": "vessel, real coronary angiograms kept for calibration"}
NOT_FOR = (
    "Research software: it measures and shows, and never advises treatment. It has not been tested on patients'"
    " hepatic angiograms, of which no public set could be found: the hepatic figures are the digital patient's. Images"
    " unlike those trained on are flagged `UNFAMILIAR`; the flag is a distance in the network's own features and"
    " misses what looks familiar to it."
)


def main() -> int:
    """Return 0 when every folder was shipped."""
    folders = [Path(text) for text in sys.argv[1:]]
    if not folders:
        raise SystemExit("Expected the folders of trainings, found none.")
    for folder in folders:
        ship(folder)
    return 0


def ship(folder: Path) -> None:
    """Copy one training's weights, and write its card and its entry."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    validation = rows(folder / "validation.csv")
    name = summary["name"]
    shutil.copyfile(folder / f"{name}.safetensors", MODELS / f"{name}.safetensors")
    found = hashlib.sha256((MODELS / f"{name}.safetensors").read_bytes()).hexdigest()
    if found != summary["sha256"]:
        raise SystemExit(f"Expected {name}.safetensors as its training left it, found it changed.")
    draw_curves(rows(folder / "log.csv"), validation, summary, MODELS / f"{name}-training.png")
    first = begun_from(folder, recipe["start_from"])
    (MODELS / f"{name}.md").write_text(card(summary, recipe, validation[-1], first), encoding="utf-8")
    entry = ModelEntry(
        name=name,
        file=f"{name}.safetensors",
        sha256=summary["sha256"],
        licence=LICENCE,
        training_data=trained_on(recipe, summary),
        card=f"{name}.md",
        metrics={k: round(v, 4) for k, v in validation[-1].items() if k.startswith("dice_")},
    )
    others = [one for one in read_manifest(MODELS) if one.name != name]
    write_manifest(sorted([*others, entry], key=lambda one: one.name))


def rows(path: Path) -> list[dict[str, float]]:
    """Return the rows of a log."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]


def trained_on(recipe: dict[str, Any], summary: dict[str, Any]) -> str:
    """Return in a sentence what was learned from."""
    data = recipe["data"]
    words = (
        f"{summary['examples']} runs of {data['patients']} digital patients (seed {data['seed']}), laboratories drawn"
        " at random"
    )
    if recipe["real"]:
        words += f"; {len(recipe['real']['train'])} coronary angiograms of fercer/Coronary (BSD-2-Clause)"
    return words


def begun_from(folder: Path, start_from: str | None) -> str:
    """Return in words what a training goes on from, and how long that took."""
    if not start_from:
        return ""
    before = json.loads((folder.parent / start_from / "summary.json").read_text(encoding="utf-8"))
    return f" It goes on from the weights of `{start_from}` ({before['seconds'] / 60:.0f} minutes before)."


def card(summary: dict[str, Any], recipe: dict[str, Any], last: dict[str, float], first: str) -> str:
    """Return the model card; `first` says what was gone on from."""
    parts = [
        card_head(summary, recipe, last, first),
        training_part(summary["name"], last),
        calibration_part(summary),
        "Independent tests: [docs/networks.md](../docs/networks.md).\n",
    ]
    return "\n\n".join(parts)


def card_head(summary: dict[str, Any], recipe: dict[str, Any], last: dict[str, float], first: str) -> str:
    """Return what a card says of the weights: their file, how they were learned, what they are not for."""
    name, data, loop = summary["name"], recipe["data"], recipe["loop"]
    real = watched = ""
    if recipe["real"]:
        kept, tuned = (", ".join(recipe["real"][part]) for part in ("held_out", "calibrate"))
        real = (
            f" Real images {kept} were learned from in no way; the recipe was changed after seeing how they came out."
        )
        watched = f" So were real images {tuned}, each as often as makes them as many as the simulated ones."
    lines = [
        f"# {name}",
        "",
        PURPOSE[recipe["kind"]],
        "",
        f"- **Weights**: `{name}.safetensors`, SHA-256 `{summary['sha256']}`, {summary['parameters']:,} parameters,"
        f" {LICENCE}.",
        f"- **Learned from**: {trained_on(recipe, summary)}.{first}{real}",
        f"- **Calibrated on**: {summary['held_out']} pictures of patients of seed {data['held_out_seed']}, presets as"
        f" they are; about a dozen of them were watched while training.{watched} Thresholds come from them, and while"
        " the recipe was being made its loss weights and pictures were chosen by what was seen on them. The weights are"
        " the average at the last step.",
        f"- **How**: `angio train {name}`, {steps_done(last, loop)} of {recipe['crops']['batch']} crops of"
        f" {recipe['crops']['size_px']}² pixels; {summary['seconds'] / 60:.0f} minutes with what was watched, on"
        f" {summary['hardware']}.",
        f"- **Not for**: {NOT_FOR}",
    ]
    return "\n".join(lines)


def training_part(name: str, last: dict[str, float]) -> str:
    """Return the curves of a training and what was watched after its last step."""
    lines = [
        "## While training",
        "",
        f"![loss and held-out Dice over the steps]({name}-training.png)",
        "",
        "Mean Dice over the watched pictures that show the class, at an uncalibrated probability of one half, after the"
        " last step. In frames, arteries that contrast does not show there count neither way:",
        "",
        "| pictures | Dice |",
        "| --- | ---: |",
        *(
            f"| {WORDS.get(key, key.removeprefix('dice_'))} | {value:.3f} |"
            for key, value in last.items()
            if "dice" in key
        ),
    ]
    return "\n".join(lines)


def calibration_part(summary: dict[str, Any]) -> str:
    """Return what was fitted to held-out pixels, a row for each class."""
    lines = [
        "## Calibration",
        "",
        "Probability is the logistic of scale × logit + offset, fitted to held-out pixels. The last column is the mean"
        " difference between what was said and what was so, weighted by pixels, of the fitted probabilities on the"
        f" pictures they were fitted to, over the pixels with a probability of at least {_RARE}: most of the others are"
        " plain background.",
        "",
        "| class | scale | offset | begins at | error |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for key, (scale, offset) in summary["calibration"].items():
        bins = [one for one in summary["reliability"][key] if one[0] >= _RARE]
        total = sum(count for _, _, count in bins)
        error = sum(abs(said - so) * count for said, so, count in bins) / max(total, 1)
        lines.append(f"| {key} | {scale:.3f} | {offset:+.3f} | {summary['thresholds'][key]:.3f} | {error:.4f} |")
    return "\n".join(lines)


def steps_done(last: dict[str, float], loop: dict[str, Any]) -> str:
    """Return in words how many steps were done, and whether that was all."""
    done = int(last["step"])
    return f"{done} steps" if done == loop["steps"] else f"{done} of {loop['steps']} steps, stopped before its end,"


def draw_curves(
    log: list[dict[str, float]], validation: list[dict[str, float]], summary: dict[str, Any], path: Path
) -> None:
    """Write the picture of a training: loss, held-out Dice, and how well probabilities are kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    loss, dice, kept = figure.subplots(1, 3)
    loss.plot([row["step"] for row in log], [row["loss"] for row in log], lw=0.8)
    loss.set(xlabel="step", ylabel="loss", yscale="log")
    for key in (name for name in validation[0] if name.startswith("dice_")):
        dice.plot(
            [row["step"] for row in validation], [row[key] for row in validation], label=key.removeprefix("dice_")
        )
    dice.set(xlabel="step", ylabel="Dice, held out", ylim=(0, 1))
    dice.legend(fontsize=7, loc="lower right")
    kept.plot([0, 1], [0, 1], color="0.7", lw=0.8)
    for key, bins in summary["reliability"].items():
        kept.plot([said for said, _, _ in bins], [so for _, so, _ in bins], marker=".", label=key)
    kept.set(xlabel="probability said", ylabel="share that is so", xlim=(0, 1), ylim=(0, 1))
    kept.legend(fontsize=7, loc="upper left")
    figure.savefig(path, dpi=110)


def write_manifest(entries: list[ModelEntry]) -> None:
    """Write `models/manifest.toml`."""
    lines = [
        "# The weights that travel with the package; README.md says what an entry holds. Written by",
        "# scripts/ship_network.py.",
        'schema = "angio-pipeline/models/1"',
    ]
    for entry in entries:
        lines += ["", "[[model]]"]
        lines += [
            f"{key} = {json.dumps(getattr(entry, key), ensure_ascii=False)}"
            for key in ("name", "file", "sha256", "licence", "training_data", "card")
        ]
        lines.append("metrics = { " + ", ".join(f"{key} = {value}" for key, value in entry.metrics.items()) + " }")
    (MODELS / "manifest.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
