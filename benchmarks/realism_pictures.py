"""Draw simulated angiograms beside real ones: frames, details at full resolution, subtractions, distributions.

Real frames appear as reduced panels of a figure only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from image_measures import BAND_WIDTHS, FREQUENCY_BINS, log_grey, open_area

mpl.use("Agg")

Array = npt.NDArray[np.float64]
SIMULATED = {"easy": "#7fb8e6", "clinical": "#2171b5", "hard": "#08306b"}
REAL = {
    "xa_phantom": "#8c6d31",
    "xa_coronary": "#d62728",
    "vessels_dca": "#ff7f0e",
    "vessels_arcade": "#e377c2",
    "XA1": "#7a0177",
}
PANEL = 300


class Shown(Protocol):
    """What of a picture is drawn."""

    @property
    def frames(self) -> Array:
        """(T, H, W) grey."""

    @property
    def shown(self) -> int:
        """Frame with most contrast in the arteries."""

    @property
    def mask(self) -> npt.NDArray[np.bool_] | None:
        """(H, W) vessels in that frame."""


def draw_pictures(
    pictures: Mapping[str, Sequence[Shown]], measured: Mapping[str, Sequence[dict[str, Any]]], out: Path
) -> None:
    """Write realism-frames, -detail, -subtracted and -measures as PNG into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    first = {name: found[0] for name, found in pictures.items()}
    simulated, real = [n for n in SIMULATED if n in first], [n for n in REAL if n in first]
    rows = [[(f"simulated: {n}", _windowed(_frame(first[n]))) for n in simulated]]
    rows[0] += [(f"simulated: {n}, before contrast", _windowed(first[n].frames[0])) for n in simulated[1:]]
    rows += [[(f"real: {n}", _windowed(_frame(first[n]))) for n in real]]
    _save(rows, out / "realism-frames.png")
    details = [[(f"simulated: {n}", _detail(first[n])) for n in simulated]]
    details += [[(f"real: {n}", _detail(first[n])) for n in real]]
    _save(details, out / "realism-detail.png")
    _save([_subtractions(n, first[n]) for n in simulated] + _real_subtraction(first), out / "realism-subtracted.png")
    _draw_measures(measured, out / "realism-measures.png")


def _frame(picture: Shown) -> Array:
    return np.asarray(picture.frames[picture.shown])


def _windowed(grey: Array) -> Array:
    low, high = np.percentile(grey[open_area(grey)], (0.3, 99.7))
    return np.asarray(np.clip((grey - low) / (high - low), 0, 1))


def _detail(picture: Shown, size: int = 150) -> Array:
    # The crop of the open picture that holds most borders of vessels.
    grey = _frame(picture)
    area = cv2.blur(open_area(grey).astype(float), (size, size)) > 0.999
    drawn = np.zeros(grey.shape, np.uint8) if picture.mask is None else picture.mask.astype(np.uint8)
    vessels = (drawn - cv2.erode(drawn, np.ones((3, 3), np.uint8))).astype(float)
    half = size // 2
    inner = (cv2.blur(vessels, (size, size)) + 1e-3) * area
    inner = inner[half : half + grey.shape[0] - size + 1, half : half + grey.shape[1] - size + 1]
    row, col = np.unravel_index(np.argmax(inner), inner.shape)
    return _windowed(grey[row : row + size, col : col + size])


def _subtractions(name: str, picture: Shown) -> list[tuple[str, Array]]:
    last = len(picture.frames) - 1
    chosen = [picture.shown - 2, picture.shown, (picture.shown + last) // 2, last]
    return [(f"simulated: {name}, frame {k}", _subtracted(picture.frames, k, 3)) for k in chosen]


def _real_subtraction(first: Mapping[str, Shown]) -> list[list[tuple[str, Array]]]:
    if "xa_coronary" not in first:
        return []
    frames = first["xa_coronary"].frames
    return [[(f"real: xa_coronary, frame {k}", _subtracted(frames, k, 3)) for k in (20, 40, 60, 90) if k < len(frames)]]


def _subtracted(frames: Array, frame: int, masks: int) -> Array:
    logs = np.stack([log_grey(f) for f in frames[:masks]])
    area = open_area(frames[0])
    return np.where(area, np.clip((log_grey(frames[frame]) - logs.mean(axis=0) + 0.4) / 0.6, 0, 1), 0.0)


def _save(rows: Sequence[Sequence[tuple[str, Array]]], path: Path) -> None:
    # Written as plain greys of 64 levels: small files, and nothing resampled that need not be.
    wide = max(len(row) for row in rows)
    strips = []
    for row in rows:
        panels = [_panel(words, image) for words, image in row]
        panels += [np.full((PANEL + 18, PANEL + 4), 255, np.uint8)] * (wide - len(panels))
        strips.append(np.hstack(panels))
    if not cv2.imwrite(str(path), np.vstack(strips), [cv2.IMWRITE_PNG_COMPRESSION, 9]):
        raise OSError(f"Expected to write {path.name}, the encoder refused.")


def _panel(words: str, image: Array) -> npt.NDArray[np.uint8]:
    size = (PANEL, PANEL)
    # Reduced by areas; details, which are smaller than a panel, are enlarged pixel by pixel.
    how = cv2.INTER_AREA if image.shape[1] > PANEL else cv2.INTER_NEAREST
    square = image[: min(image.shape), : min(image.shape)]
    grey = np.round(np.round(cv2.resize(square, size, interpolation=how) * 63) * 255 / 63).astype(np.uint8)
    panel = np.full((PANEL + 18, PANEL + 4), 255, np.uint8)
    panel[18:, 2:-2] = grey
    cv2.putText(panel, words, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 0, 1, cv2.LINE_AA)
    return panel


def _draw_measures(measured: Mapping[str, Sequence[dict[str, Any]]], path: Path) -> None:
    figure = Figure(figsize=(13, 7.2), dpi=80, layout="constrained")
    axes = figure.subplots(2, 4).ravel()
    colours = {**SIMULATED, **REAL}
    for name, found in measured.items():
        style = {"color": colours[name], "label": name, "linestyle": "-" if name in SIMULATED else "--"}
        _histogram(axes[0], found, style)
        axes[1].loglog(0.5 * (FREQUENCY_BINS[1:] + FREQUENCY_BINS[:-1]), _normal_power(found), **style)
        axes[2].loglog([1 / b for b in BAND_WIDTHS], 100 * np.median([f["bands"] for f in found], axis=0), **style)
        axes[3].semilogx([1 / b for b in BAND_WIDTHS], np.median([f["band_kurtosis"] for f in found], axis=0), **style)
        _spread(axes[4], found, "width_share", np.geomspace(1.5, 60, 26), style)
        _spread(axes[5], found, "depth", np.linspace(0, 1.2, 31), style)
        _spread(axes[6], found, "to_noise", np.geomspace(0.5, 200, 26), style)
        _curve(axes[7], found, style)
    _name_axes(axes)
    figure.savefig(path)


def _histogram(axes: Axes, found: Sequence[dict[str, Any]], style: dict[str, Any]) -> None:
    # From percentiles to a density: each step holds a hundredth of the pixels.
    levels = np.median([f["grey"] for f in found], axis=0)
    grid = np.linspace(0, 1.05, 43)
    share = np.histogram(np.interp(np.linspace(1, 99, 4000), np.arange(1, 100), levels), grid, density=True)[0]
    axes.plot(0.5 * (grid[1:] + grid[:-1]), share, **style)


def _normal_power(found: Sequence[dict[str, Any]]) -> Array:
    power = np.nanmedian(np.array([f["noise_power"] for f in found]), axis=0)
    middle = 0.5 * (FREQUENCY_BINS[1:] + FREQUENCY_BINS[:-1])
    return np.asarray(power / np.nansum(power * middle) * np.sum(middle))


def _spread(axes: Axes, found: Sequence[dict[str, Any]], key: str, bins: Array, style: dict[str, Any]) -> None:
    values = np.concatenate([np.asarray(f.get(key, []), float) for f in found])
    values = values[np.isfinite(values)]
    if len(values):
        share = np.histogram(values, bins)[0] / len(values)
        axes.plot(0.5 * (bins[1:] + bins[:-1]), share, **style)


def _curve(axes: Axes, found: Sequence[dict[str, Any]], style: dict[str, Any]) -> None:
    if "curve" in found[0]:
        times, curve = (np.asarray(v) for v in found[0]["curve"])
        axes.plot(times, curve / curve.max(), **style)


def _name_axes(axes: Sequence[Axes]) -> None:
    names = (
        ("grey levels of open pixels", "share of the white", "density"),
        ("noise power spectrum, white = 1", "cycles a pixel", ""),
        ("structure, sd of ln grey, %", "scale: one part in ... of the width", ""),
        ("kurtosis of structure", "scale: one part in ... of the width", ""),
        ("vessel width", "thousandths of the picture's width", "share"),
        ("depth of vessels", "ln grey", "share"),
        ("depth over noise of a pixel", "", "share"),
        ("contrast in the run, peak = 1", "s", ""),
    )
    for ax, (title, horizontal, vertical) in zip(axes, names, strict=True):
        ax.set(title=title, xlabel=horizontal, ylabel=vertical)
    for ax, ticks in ((axes[4], (2, 5, 10, 20, 50)), (axes[6], (1, 3, 10, 30, 100))):
        ax.set_xscale("log")
        ax.set_xticks(ticks, [str(t) for t in ticks])
        ax.minorticks_off()
    axes[3].set_ylim(-2, 25)
    axes[0].legend(fontsize=7)
