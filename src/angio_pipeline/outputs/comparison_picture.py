"""Before, after, and what was lost: two runs of one view side by side, with the curves below.

Both runs are shown at one time after the reference artery fills, over its peak (after: over what it
would be with the injection of before), in one grey window, so that what looks fainter is fainter. The
third panel is the difference in the same unit: blue where stain was lost, orange where it was gained. A
feeder's patency has a colour and a dash of its own.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.embolisation import FeederChange, Patency, RunComparison, TumourChange
from angio_pipeline.core.provenance import Source
from angio_pipeline.outputs.labels import LabelBoard, write_label
from angio_pipeline.outputs.pictures import Pixels, Window, grey_vessels, mask_outlines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["comparison_picture"]

_DPI = 100
_PANEL_PX, _GAP_PX, _HEADER_PX, _CURVES_PX, _LINE_PX = 520, 10, 56, 330, 19
_LEAST_SHARE = 0.45

_INK = "#e8ebef"
_MUTED = "#aab4c0"
_PAPER = "#12151a"
_RAISED = "#1b2027"
_TUMOUR = "#d81b60"
_REFERENCE = "#00b4d8"
_SERIES = ("#f08a2c", "#5cc8a8", "#7cc4ff", "#e48ac0", "#f5e663", "#b8b8ff")
_PATENCY: dict[Patency, tuple[str, Any]] = {
    Patency.OPEN: ("#e8710a", "-"),
    Patency.SLOWED: ("#ffd60a", (0, (3.2, 1.4))),
    Patency.CLOSED: ("#9d4edd", (0, (1.0, 1.0))),
    Patency.UNKNOWN: ("#8a94a0", (0, (0.8, 2.2))),
}


@dataclass(frozen=True, slots=True)
class _Crop:
    """The part of the frame that is shown, in display pixels of `scale` to a frame pixel."""

    row: int
    col: int
    rows: int
    cols: int
    scale: float

    def cut(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return image[self.row : self.row + self.rows, self.col : self.col + self.cols]

    def display(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(row, col) of the frame as (x, y) in the panel; pixel centres are integers in the frame."""
        inside = np.asarray(points, dtype=np.float64).reshape(-1, 2) - (self.row, self.col)
        return np.asarray((inside[:, ::-1] + 0.5) * self.scale)


def comparison_picture(comparison: RunComparison) -> Pixels:
    """Return before, after, difference and curves as one picture, (H, W, 3) RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    crop = _crop(comparison)
    words = _words(comparison)
    width = 3 * _PANEL_PX + 4 * _GAP_PX
    height = _HEADER_PX + _PANEL_PX + 34 + max(_CURVES_PX, _LINE_PX * (len(words) + 3)) + 20
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=_PAPER)
    canvas = FigureCanvasAgg(figure)
    window = _window(comparison)
    panels = (
        _grey(comparison.picture_before, window, crop),
        _grey(comparison.picture_after, window, crop),
        _difference(comparison, window, crop),
    )
    for place, (panel, title) in enumerate(zip(panels, _titles(comparison), strict=True)):
        axes = _panel_axes(figure, place, (width, height))
        axes.imshow(panel, extent=(0, _PANEL_PX, _PANEL_PX, 0), interpolation="bilinear", aspect="auto")
        _draw_tumours(axes, comparison, crop, labelled=place == 0)
        if place < 2:
            _draw_feeders(axes, comparison, crop, plain=place == 0)
        left = (_GAP_PX + place * (_PANEL_PX + _GAP_PX)) / width
        figure.text(
            left, 1 - 30 / height, title, color=_INK, fontsize=11.5, weight="bold", va="center", parse_math=False
        )
    below = _HEADER_PX + _PANEL_PX + 14
    _draw_scales(figure, comparison, crop, window, (width, height), below)
    _draw_curves(figure, comparison, (width, height), below + 26)
    _draw_words(figure, words, (width, height), below + 30)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[..., :3].copy()


def _crop(comparison: RunComparison) -> _Crop:
    """Return a square about all tumours and the feeders' own parts."""
    size = comparison.picture_before.shape
    points = [np.argwhere(tumour.mask).astype(np.float64) for tumour in comparison.tumours]
    points += [feeder.line for tumour in comparison.tumours for feeder in tumour.feeders]
    shown = np.vstack([p for p in points if len(p)]) if points else np.array([[0, 0], size])
    low, high = shown.min(axis=0), shown.max(axis=0)
    longest = max(size)
    side = int(min(max((high - low).max() + 0.16 * longest, _LEAST_SHARE * longest), longest))
    middle = (low + high) / 2
    start = [int(np.clip(middle[k] - side / 2, 0, max(0, size[k] - side))) for k in (0, 1)]
    return _Crop(start[0], start[1], min(side, size[0]), min(side, size[1]), _PANEL_PX / side)


def _window(comparison: RunComparison) -> Window:
    """Return one window for both runs: set by what stains in the tumours before, and by the frame."""
    picture = comparison.picture_before
    values = picture[np.isfinite(picture)]
    if not values.size:
        return -1.0, 1.0
    stained = [
        float(np.nanpercentile(picture[t.mask], 90)) for t in comparison.tumours if np.isfinite(picture[t.mask]).any()
    ]
    low = float(np.percentile(values, 5))
    high = max([float(np.percentile(values, 97)), *stained])
    return low - 0.1 * (high - low), low + 1.15 * max(high - low, 1e-6)


def _squared(panel: Pixels, crop: _Crop) -> Pixels:
    """Return the panel enlarged to the panel's size, with what the frame does not cover in dark."""
    import cv2

    height, width = (max(1, round(side * crop.scale)) for side in panel.shape[:2])
    large = cv2.resize(panel, (width, height), interpolation=cv2.INTER_CUBIC if crop.scale > 1 else cv2.INTER_AREA)
    out = np.full((_PANEL_PX, _PANEL_PX, 3), 24, np.uint8)
    out[: min(height, _PANEL_PX), : min(width, _PANEL_PX)] = large[:_PANEL_PX, :_PANEL_PX]
    return out


def _grey(picture: npt.NDArray[np.float32], window: Window, crop: _Crop) -> Pixels:
    part = crop.cut(picture)
    grey = grey_vessels(part, np.isfinite(part), window)
    return _squared(np.repeat(grey[..., None], 3, axis=2), crop)


def _difference(comparison: RunComparison, window: Window, crop: _Crop) -> Pixels:
    change = crop.cut(comparison.picture_after - comparison.picture_before)
    reach = 0.7 * (window[1] - window[0])
    share = np.clip(np.nan_to_num(change) / reach, -1, 1)[..., None]
    paper, lost, gained = (np.array(c, np.float32) for c in ((245, 245, 245), (11, 61, 145), (190, 74, 0)))
    colour = np.where(share < 0, paper + (lost - paper) * -share, paper + (gained - paper) * share)
    colour = np.where(np.isfinite(change)[..., None], colour, 24)
    return _squared(colour.astype(np.uint8), crop)


def _titles(comparison: RunComparison) -> tuple[str, str, str]:
    def told(source: Source) -> str:
        when = "" if source.acquired is None else f"{source.acquired:%H:%M}"
        parts = [part for part in (source.description, when) if part]
        return f" ({', '.join(parts)})" if parts else ""

    at = f"{comparison.picture_time_s:.1f} s after the reference artery"
    return f"Before{told(comparison.before)}", f"After{told(comparison.after)}", f"After minus before, {at}"


def _panel_axes(figure: Figure, place: int, size: tuple[int, int]) -> Axes:
    width, height = size
    left = (_GAP_PX + place * (_PANEL_PX + _GAP_PX)) / width
    axes = figure.add_axes((left, 1 - (_HEADER_PX + _PANEL_PX) / height, _PANEL_PX / width, _PANEL_PX / height))
    axes.set_axis_off()
    axes.set_xlim(0, _PANEL_PX)
    axes.set_ylim(_PANEL_PX, 0)
    return axes


def _draw_tumours(axes: Axes, comparison: RunComparison, crop: _Crop, *, labelled: bool) -> None:
    costs = np.zeros((_PANEL_PX, _PANEL_PX), np.float32)
    outlines = {t.id: mask_outlines(crop.cut(t.mask), crop.scale) for t in comparison.tumours}
    for found in outlines.values():
        for outline in found:
            closed = np.vstack([outline, outline[:1]])
            axes.plot(*closed.T, color="white", linewidth=3.2, alpha=0.8, solid_joinstyle="round")
            axes.plot(*closed.T, color=_TUMOUR, linewidth=1.7, solid_joinstyle="round")
            _cover(costs, outline)
    if not labelled:
        return
    board = LabelBoard(costs)
    for name, found in outlines.items():
        if not found:
            continue
        largest = max(found, key=len).astype(np.float64)
        anchor = (float(largest[:, 0].mean()), float(largest[:, 1].mean()))
        write_label(axes, board, name, anchor, _TUMOUR)


def _cover(costs: npt.NDArray[np.float32], outline: npt.NDArray[np.int32]) -> None:
    import cv2

    cv2.fillPoly(costs, [outline], 1.0)


def _draw_feeders(axes: Axes, comparison: RunComparison, crop: _Crop, *, plain: bool) -> None:
    """Draw each feeder's own part beside the vessel, not over it: its contrast is what is to be seen."""
    artery = crop.display(comparison.reference.line)
    for feeder in (f for t in comparison.tumours for f in t.feeders):
        points = crop.display(_beside(feeder, 5.0 / crop.scale))
        colour, dash = (_INK, "-") if plain else _PATENCY[feeder.patency]
        axes.plot(*points.T, color="black", linewidth=3.4 if not plain else 2.6, alpha=0.55, clip_on=True)
        axes.plot(*points.T, color=colour, linewidth=2.2 if not plain else 1.2, linestyle=dash, clip_on=True)
    inside = _in_panel(comparison, crop)
    if inside.any():
        axes.plot(*artery[inside].T, color=_REFERENCE, linewidth=2.0, linestyle=(0, (1.2, 1.2)))


def _in_panel(comparison: RunComparison, crop: _Crop) -> npt.NDArray[np.bool_]:
    """Return which points of the reference artery the panels show."""
    artery = crop.display(comparison.reference.line)
    return np.asarray((artery >= 0).all(axis=1) & (artery < _PANEL_PX).all(axis=1))


def _beside(feeder: FeederChange, px: float) -> npt.NDArray[np.float64]:
    line = feeder.line
    if len(line) < 3:
        return line
    reach = min(5, len(line) - 1)
    ahead = np.minimum(np.arange(len(line)) + reach, len(line) - 1)
    along = line[ahead] - line[np.maximum(np.arange(len(line)) - reach, 0)]
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    return np.asarray(line + px * np.stack([-along[:, 1], along[:, 0]], axis=1))


def _draw_scales(
    figure: Figure, comparison: RunComparison, crop: _Crop, window: Window, size: tuple[int, int], top: int
) -> None:
    from matplotlib.lines import Line2D

    width, height = size
    present = {feeder.patency for tumour in comparison.tumours for feeder in tumour.feeders}
    entries = [(Line2D([], [], color=_TUMOUR, lw=2), "tumour")]
    entries += [(Line2D([], [], color=_INK, lw=1.6), "feeder (before)")] if present else []
    entries += [
        (Line2D([], [], color=colour, lw=2.4, ls=dash), f"feeder {kind.value}")
        for kind, (colour, dash) in _PATENCY.items()
        if kind in present
    ]
    if _in_panel(comparison, crop).any():
        entries.append((Line2D([], [], color=_REFERENCE, lw=2, ls=(0, (1.2, 1.2))), "reference artery"))
    figure.legend(
        [handle for handle, _ in entries],
        [words for _, words in entries],
        loc="upper left",
        bbox_to_anchor=(_GAP_PX / width, 1 - (top - 10) / height),
        bbox_transform=figure.transFigure,
        frameon=False,
        fontsize=8.8,
        labelcolor=_MUTED,
        ncols=len(entries),
        handlelength=2.4,
        columnspacing=1.4,
        borderaxespad=0,
    )
    span = f"{window[0]:.2f} to {window[1]:.2f} of the reference artery's peak"
    told = f"Both runs in one window: {span}. Blue: lost. Orange: gained."
    figure.text(1 - _GAP_PX / width, 1 - (top + 5) / height, told, color=_MUTED, fontsize=8.8, ha="right", va="top")


def _draw_curves(figure: Figure, comparison: RunComparison, size: tuple[int, int], top: int) -> None:
    """Draw each tumour's stain over the reference artery's peak: solid before, dashed after."""
    width, height = size
    box = (88 / width, 1 - (top + _CURVES_PX - 46) / height, 622 / width, (_CURVES_PX - 66) / height)
    axes = figure.add_axes(box, facecolor=_RAISED)
    times = comparison.times_s
    read = [t for t in comparison.tumours if t.blush is not None]
    for colour, tumour in zip(_SERIES, read, strict=False):
        assert tumour.blush is not None
        axes.plot(times, tumour.blush.curve_before, color=colour, lw=2.2, label=f"{tumour.id} before")
        axes.plot(times, tumour.blush.curve_after, color=colour, lw=2.2, ls=(0, (4, 2)), label=f"{tumour.id} after")
    highest = max((float(np.max(t.blush.curve_before)) for t in read if t.blush is not None), default=1.0)
    for run, dash in (("before", "-"), ("after", (0, (4, 2)))):
        artery = getattr(comparison.reference, run)
        axes.plot(
            times, artery / artery.max() * highest, color=_REFERENCE, lw=1.0, ls=dash, alpha=0.7, label=f"artery {run}*"
        )
    axes.axhline(0, color=_MUTED, lw=0.6)
    axes.set_xlabel("seconds after the reference artery fills", color=_MUTED, fontsize=9)
    axes.set_ylabel("stain above surroundings /\npeak of the reference artery", color=_MUTED, fontsize=9)
    axes.tick_params(colors=_MUTED, labelsize=8.5)
    for spine in axes.spines.values():
        spine.set_color("#2f3842")
    axes.set_xlim(float(times[0]), float(times[-1]))
    axes.legend(
        frameon=False, fontsize=8.2, labelcolor=_INK, loc="upper left", bbox_to_anchor=(1.005, 1.02), borderaxespad=0
    )


def _words(comparison: RunComparison) -> list[str]:
    lines = []
    for tumour in comparison.tumours:
        lines += textwrap.wrap(_tumour_words(tumour), 96, subsequent_indent="    ")
        lines += textwrap.wrap(f"    {tumour.reason}", 96, subsequent_indent="    ")
        for feeder in tumour.feeders:
            lines += textwrap.wrap(
                f"    {feeder.id} {feeder.patency.value}: {feeder.reason}", 96, subsequent_indent="        "
            )
    return lines


def _tumour_words(tumour: TumourChange) -> str:
    level = f"SACE {tumour.sace.value}" if tumour.sace is not None else "SACE: cannot decide"
    blush = tumour.blush
    if blush is None or not np.isfinite(blush.residual):
        return f"{tumour.id}  {level}"
    low, high = (100 * end for end in blush.residual_interval)
    area = f", {100 * blush.residual_area:.0f} % of the area" if np.isfinite(blush.residual_area) else ""
    return f"{tumour.id}  {level}; residual blush {100 * blush.residual:.0f} % ({low:.0f} to {high:.0f} %){area}"


def _draw_words(figure: Figure, words: list[str], size: tuple[int, int], top: int) -> None:
    width, height = size
    left = (70 + 640 + 150) / width
    for row, line in enumerate(words):
        colour = _INK if line and not line.startswith(" ") else _MUTED
        y = 1 - (top + _LINE_PX * row) / height
        figure.text(left, y, line, color=colour, fontsize=9.2, va="top", parse_math=False)
    notes = "* scaled to the highest stain. Research software, not a medical device."
    figure.text(_GAP_PX / width, 8 / height, notes, color=_MUTED, fontsize=8.8)
