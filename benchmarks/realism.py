"""Measure simulated angiograms beside real ones, draw both, and write down what differs.

    .venv/bin/python benchmarks/realism.py [--real DIR] [--simulated DIR] [--cases N] [--seed S]

Written: `benchmarks/realism.json`, the pictures `docs/images/realism-*.png`, and the table in
`docs/simulator.md` between its markers. The real files are no part of the project: `--real` names their
folder, by default the one that the tests read (`ANGIO_REAL_DATA`, or `shared/data` beside the project).
`--simulated` names a folder with one subfolder a preset that `angio simulate` wrote; without it patients
are made for the occasion.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels.processing import apply_modality_lut
from scipy import ndimage

from image_measures import (
    BAND_WIDTHS,
    FREQUENCY_BINS,
    background_slope,
    band_structure,
    contrast_curve,
    dark_ridges,
    fine_over_coarse,
    grey_levels,
    log_grey,
    measure_crossings,
    noise_spectrum,
    open_area,
    pixel_noise,
    rise_and_width_s,
    widths_px,
)
from pages import ROOT, angio, state, write_section
from realism_pictures import draw_pictures

SCRIPT = "benchmarks/realism.py"
PRESETS = ("easy", "clinical", "hard")
REAL = ("xa_phantom", "xa_coronary", "vessels_dca", "vessels_arcade", "XA1")
SEED = 7000  # apart from those of other benchmarks
MASKS = 3
SEEN = 2.5  # depth over clutter that three quarters of the vessels drawn by hand in vessels_dca reach
QUANTILES = (5, 25, 50, 75, 95)

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Picture:
    """One run or one still, as it is stored.

    Attributes
    ----------
    group, name : where it is from
    frames : (T, H, W) grey, white is high; a logarithm is undone where the file says how
    times_s : (T,)
    shown : frame with most contrast in the arteries
    mask : (H, W) vessels in that frame, if someone drew them
    still : the patient or phantom holds still between neighbouring frames
    """

    group: str
    name: str
    frames: Array
    times_s: Array
    shown: int
    mask: BoolArray | None
    still: bool


def simulate_into(out: Path, cases: int, seed: int) -> None:
    """Write patients of each preset into a subfolder of its name."""
    for preset in PRESETS:
        angio("simulate", str(out / preset), "--cases", str(cases), "--seed", str(seed), "--preset", preset)


def load_simulated(folder: Path, preset: str) -> list[Picture]:
    """Return the runs of one preset that are stored unsubtracted, each with its truth.

    Runs after embolisation are left out: they hold oil, and hardly any tumour vessel.
    """
    found = []
    for path in sorted((folder / preset).glob("case-*/dicom/**/*.dcm")):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        truth = path.parents[2] / "truth" / str(header.SOPInstanceUID)
        if int(header.get("NumberOfFrames", 1)) < 4 or path.stem.startswith("post"):
            continue
        document = json.loads((truth / "truth.json").read_text())
        mask = _read(truth / document["artery_mask"]) > 127
        name = f"{path.parents[2].name} {path.stem}"
        run = _run(path, preset, name, int(document["reference_frame"]), mask, still=False)
        if not _subtracted_already(run.frames[0]):
            found.append(run)
    return found


def _subtracted_already(grey: Array) -> bool:
    # Before contrast such an export is one even grey, whatever its header says of it.
    low, high = np.percentile(grey[open_area(grey)], (10, 90))
    return bool(high < 1.1 * low)


def _run(path: Path, group: str, name: str, shown: int | None, mask: BoolArray | None, *, still: bool) -> Picture:
    data = pydicom.dcmread(path)
    logarithmic = "ModalityLUTSequence" in data  # which is the way back
    frames = np.asarray(apply_modality_lut(data.pixel_array, data) if logarithmic else data.pixel_array, float)
    frames = frames[None] if frames.ndim == 2 else frames
    if data.PhotometricInterpretation == "MONOCHROME1" and not logarithmic:
        frames = 2**data.BitsStored - 1 - frames
    if "FrameTimeVector" in data:
        times = np.cumsum(np.asarray(data.FrameTimeVector, float)) / 1000
    else:
        times = np.arange(len(frames)) * float(data.get("FrameTime", 0) or 0) / 1000
    return Picture(group, name, frames, times - times[0], len(frames) // 2 if shown is None else shown, mask, still)


def load_real(folder: Path, group: str) -> list[Picture]:
    """Return the pictures of one group of real files."""
    if group == "xa_phantom":
        runs = [_run(folder / group / f"IM{k}", group, f"IM{k}", None, None, still=True) for k in (1, 2, 3, 4)]
        return [replace(run, mask=_dark_tubes(run.frames)) for run in runs]
    if group == "xa_coronary":
        return [_with_ridges(_run(folder / group / "0002.DCM", group, "0002", 50, None, still=False))]
    if group == "XA1":
        return [_with_ridges(_run(folder / "codecs" / "XA1_UNC", group, "XA1", 0, None, still=True))]
    if group == "vessels_dca":
        return [_still(path, group, _read(path) > 127) for path in sorted((folder / group).glob("*_gt.png"))]
    return [_still(path, group, None) for path in sorted((folder / group / "images").glob("*.png"))]


def _still(path: Path, group: str, mask: BoolArray | None) -> Picture:
    name = path.stem.removesuffix("_gt")
    grey = _read(path.with_name(f"{name}.png"))
    if group == "vessels_arcade":
        mask = _polygons(path.parents[1] / "labels" / f"{name}.txt", (grey.shape[0], grey.shape[1]))
    return Picture(group, name, grey[None], np.zeros(1), 0, mask, True)


def _with_ridges(picture: Picture) -> Picture:
    grey = picture.frames[picture.shown]
    return replace(picture, mask=dark_ridges(grey, open_area(grey)))


def _read(path: Path) -> Array:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise OSError(f"Expected {path.name} to be a picture, could not read it.")
    return np.asarray(image, float)


def _polygons(path: Path, shape: tuple[int, int]) -> BoolArray:
    image = np.zeros(shape, np.uint8)
    for line in path.read_text().splitlines():
        xy = np.array(line.split()[1:], float).reshape(-1, 2) * [shape[1], shape[0]]
        cv2.fillPoly(image, [np.rint(xy).astype(np.int32)], 1)
    return image > 0


def _dark_tubes(frames: Array) -> BoolArray:
    # The phantom stands alone before an even ground: a threshold halfway down finds its tubes.
    grey = frames.mean(axis=0)
    area = open_area(grey)
    flat = log_grey(grey) - cv2.GaussianBlur(log_grey(grey), (0, 0), 40)
    smooth = cv2.GaussianBlur(flat, (0, 0), 1.0)
    limit = 0.5 * (np.median(smooth[area]) + np.percentile(smooth[area], 1))
    labels, _ = ndimage.label((smooth < limit) & area)
    return np.asarray((np.bincount(labels.ravel()) > 300)[labels] & (labels > 0))


def measure(picture: Picture, rng: np.random.Generator) -> dict[str, Any]:
    """Return everything measured on one picture; lists for distributions."""
    plain, shown = picture.frames[0], picture.frames[picture.shown]
    area = open_area(plain)
    mask = picture.mask if picture.mask is not None else np.zeros_like(area)
    before = picture.frames if picture.still else picture.frames[:MASKS]
    pairs = len(before) > 1
    power, sigma = noise_spectrum(before[:8], area, pairs=pairs)
    noise = (log_grey(before[1]) - log_grey(before[0])) / np.sqrt(2) if pairs else None
    filled_from_start = len(picture.frames) == 1 or picture.group == "xa_phantom"
    hidden = mask if filled_from_start else np.zeros_like(area)
    spread, kurtosis = band_structure(plain, area, hidden, noise)
    found: dict[str, Any] = {
        "grey": np.percentile(grey_levels(plain, area), np.arange(1, 100)).tolist(),
        "noise_power": power.tolist(),
        "frame_noise": 100 * sigma if pairs else float("nan"),
        "pixel_noise": 100 * pixel_noise(plain, area),
        "noise_fine_over_coarse": fine_over_coarse(power) if pairs else float("nan"),
        "slope": background_slope(plain, area, hidden),
        "bands": spread.tolist(),
        "band_kurtosis": kurtosis.tolist(),
        "open_percent": float(100 * area.mean()),
    }
    if mask.any():
        found |= _vessels(shown, mask, area, rng)
    if mask.any() and (len(picture.frames) > 20 or picture.group in PRESETS):
        near = ndimage.binary_dilation(mask, iterations=12) & area
        curve = contrast_curve(picture.frames, near, MASKS)
        rise, width = rise_and_width_s(curve, picture.times_s)
        found["curve"] = [picture.times_s.tolist(), curve.tolist()]
        found |= {"rise_s": rise, "above_half_s": width}
    return found


def _vessels(grey: Array, mask: BoolArray, area: BoolArray, rng: np.random.Generator) -> dict[str, Any]:
    across, columns = measure_crossings(grey, mask, area, rng), grey.shape[1]
    wide = (across.width_px >= 0.012 * columns) & (across.width_px < 0.03 * columns)
    seen = across.to_clutter >= SEEN
    return {
        "width_seen_share": (1000 * across.width_px[seen] / columns).tolist(),
        "width_px": widths_px(mask).tolist(),
        "width_share": (1000 * widths_px(mask) / columns).tolist(),
        "depth": across.depth.tolist(),
        "depth_middling": across.depth[wide].tolist(),
        "to_noise": across.to_noise.tolist(),
        "to_clutter": across.to_clutter.tolist(),
        "edge_px": across.edge_px[wide].tolist(),
        "edge_share": (across.edge_px[wide] / across.width_px[wide]).tolist(),
        "vessel_percent": float(100 * mask[area].mean()),
    }


def summarise(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one group's summary: quantiles of pooled distributions, medians of single values."""
    summary: dict[str, Any] = {"pictures": len(measured)}
    for key in sorted({key for found in measured for key in found} - {"curve"}):
        values = [found[key] for found in measured if key in found]
        if key in ("grey", "noise_power", "bands", "band_kurtosis"):
            summary[key] = _rounded(np.nanmedian(np.array(values), axis=0))
        elif isinstance(values[0], list):
            pooled = np.concatenate([np.asarray(v, float) for v in values])
            pooled = pooled[np.isfinite(pooled)]
            summary[key] = _rounded(np.percentile(pooled, QUANTILES)) if len(pooled) else None
        else:
            known = np.asarray(values, float)[np.isfinite(values)]
            summary[key] = _rounded(np.percentile(known, (25, 50, 75))) if len(known) else None
    return summary


def _rounded(values: Array) -> list[float]:
    return [float(f"{v:.4g}") for v in np.asarray(values).ravel()]


LINES: tuple[tuple[str, str, str], ...] = (
    ("pictures", "pictures", "{:d}"),
    ("vessel width, thousandths of the picture's width", "width_share", "{:.1f}"),
    ("the same, of vessels plain to see unsubtracted", "width_seen_share", "{:.1f}"),
    ("vessel width, px", "width_px", "{:.1f}"),
    ("share of the picture that is vessel, %", "vessel_percent", "{:.1f}"),
    ("depth of vessels, ln grey", "depth", "{:.2f}"),
    ("the same, of vessels 12 to 30 thousandths wide", "depth_middling", "{:.2f}"),
    ("depth over noise of a pixel", "to_noise", "{:.1f}"),
    ("depth over clutter", "to_clutter", "{:.1f}"),
    ("edge of those, 10 to 90 %, share of their width", "edge_share", "{:.2f}"),
    ("noise from pixel to pixel, % of grey", "pixel_noise", "{:.2f}"),
    ("noise from frame to frame, % of grey", "frame_noise", "{:.2f}"),
    ("fine over coarse noise (white: 1)", "noise_fine_over_coarse", "{:.2f}"),
    ("slope of the background's spectrum", "slope", "{:.2f}"),
    ("open share of the picture, %", "open_percent", "{:.0f}"),
    ("rise of contrast, s", "rise_s", "{:.1f}"),
    ("contrast above half its peak, s", "above_half_s", "{:.1f}"),
)


def table(groups: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the Markdown table: medians, with the middle half in brackets."""
    lines = ["| | " + " | ".join(groups) + " |", "| --- |" + " ---: |" * len(groups)]
    for words, key, form in LINES:
        lines.append(f"| {words} | " + " | ".join(_cell(g.get(key), form) for g in groups.values()) + " |")
    scales = [f"1/{round(1 / share)}" for share in BAND_WIDTHS]
    for words, key, factor in (("structure, % of grey", "bands", 100), ("kurtosis of structure", "band_kurtosis", 1)):
        for k, scale in enumerate(scales):
            cells = " | ".join(f"{factor * g[key][k]:.1f}" for g in groups.values())
            lines.append(f"| {words}, at {scale} of the width | {cells} |")
    for percentile in (5, 25, 50, 75, 95):
        cells = " | ".join(f"{g['grey'][percentile - 1]:.2f}" for g in groups.values())
        lines.append(f"| grey, percentile {percentile}, share of white | {cells} |")
    return "\n".join(lines)


def section(document: Mapping[str, Any]) -> str:
    """Return the page's section: the table, and of what it was made."""
    return f"{table(document['groups'])}\n\nMeasured with version {document['measured_with']}; {document['simulated']}."


def _cell(value: Any, form: str) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return form.format(value)
    low, middle, high = value if len(value) == 3 else value[1:4]
    words = form.format(middle)
    return words if low == high else f"{words} ({form.format(low)}–{form.format(high)})"


def collect(real: Path, simulated: Path) -> Iterator[tuple[str, list[Picture]]]:
    """Yield each group's name and pictures, simulated ones first; groups without files are left out."""
    for preset in PRESETS:
        yield preset, load_simulated(simulated, preset)
    for group in REAL:
        if (real / ("codecs" if group == "XA1" else group)).is_dir():
            yield group, load_real(real, group)


def run(real: Path, simulated: Path, words: str, out: Path, images: Path | None) -> dict[str, Any]:
    """Return the document, also written to `out`; pictures go to `images` unless that is None.

    `words` say which patients are in `simulated`.
    """
    groups, examples, measured = {}, {}, {}
    for name, pictures in collect(real, simulated):
        if pictures:
            rng = np.random.default_rng(SEED)
            measured[name] = [measure(picture, rng) for picture in pictures]
            groups[name], examples[name] = summarise(measured[name]), pictures
    document = {
        "schema": "angio-pipeline/realism/1",
        "measured_with": state(),
        "simulated": words,
        "quantiles": list(QUANTILES),
        "band_widths": list(BAND_WIDTHS),
        "frequency_bins": np.round(FREQUENCY_BINS, 3).tolist(),
        "groups": groups,
    }
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if images is not None:
        draw_pictures(examples, measured, images)
    return document


def main() -> None:
    """Read the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("ANGIO_REAL_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--real", type=Path, default=default, help="folder of the real files")
    parser.add_argument("--simulated", type=Path, help="folder with easy/, clinical/, hard/ already simulated")
    parser.add_argument(
        "--cases", type=int, default=3, help="patients of each preset; with --simulated, how many there are"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of the patients, also of those given")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "realism.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "simulator.md")
    parser.add_argument("--no-pages", action="store_true", help="write only the document")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        simulated = given.simulated or Path(folder)
        if given.simulated is None:
            simulate_into(simulated, given.cases, given.seed)
        words = f"{given.cases} patients of each preset, seed {given.seed}"
        images = None if given.no_pages else given.page.parent / "images"
        document = run(given.real, simulated, words, given.out, images)
    print(section(document))
    if not given.no_pages:
        write_section(given.page, "realism", SCRIPT, section(document))


if __name__ == "__main__":
    main()
