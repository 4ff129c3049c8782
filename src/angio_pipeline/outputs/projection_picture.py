"""Two projections side by side, never upon each other, with each feeder's line in the other view.

Every feeder that either view calls has one colour in both: its end in the tumour as a ring with its id in its own
view, the line on which the other view must show that end, and its course there (solid where it ends in the tumour,
dotted where it passes by).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.geometry import CArmPose
from angio_pipeline.core.projections import FeederSight, ProjectionPair, Sight
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.tumours import WORTH_SHOWING
from angio_pipeline.outputs.labels import LabelBoard, write_label
from angio_pipeline.outputs.overlay import angulation
from angio_pipeline.outputs.pictures import Pixels, grey_vessels, mask_outlines, vessel_window

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["projection_picture"]

Masks = tuple[Mapping[str, npt.NDArray[np.bool_]], Mapping[str, npt.NDArray[np.bool_]]]

_DPI = 100
_PANEL_PX, _GAP_PX, _HEADER_PX, _LINE_PX = 760, 10, 44, 19
_INK, _MUTED, _PAPER, _TUMOUR = "#e8ebef", "#aab4c0", "#12151a", "#d81b60"
_COLOURS = ("#e8710a", "#0077b6", "#2a9d8f", "#9d4edd", "#bc6c25", "#577590", "#c9184a", "#6a994e")
# More lines than this hide what they are drawn for; the likeliest are shown, the document holds all.
_MOST = 8


@dataclass(frozen=True, slots=True, eq=False)
class _Panel:
    """One view: its axes, how many display pixels a frame pixel takes, where labels may go."""

    axes: Axes
    scale: float
    board: LabelBoard

    def display(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(row, col) of the frame as (x, y); pixel centres are integers in the frame."""
        return np.asarray((np.asarray(points, np.float64).reshape(-1, 2)[:, ::-1] + 0.5) * self.scale)


def projection_picture(pair: ProjectionPair, tumours: Masks) -> Pixels:
    """Return both views with tumours, feeders and lines, (H, W, 3) RGB.

    Parameters
    ----------
    tumours : two mappings
        Masks of either view's tumours by id, (H, W) bool.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = _shown(pair)
    words = _words(shown)
    width = 2 * _PANEL_PX + 3 * _GAP_PX
    height = _HEADER_PX + _PANEL_PX + 20 + _LINE_PX * (len(words) + 2)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=_PAPER)
    canvas = FigureCanvasAgg(figure)
    panels = [_panel(figure, k, (width, height), pair, tumours[k]) for k in (0, 1)]
    for (side, sight), colour in zip(shown, _colours(shown), strict=True):
        _draw(panels[side], panels[1 - side], sight, colour)
    for row, (line, colour) in enumerate(words):
        y = 1 - (_HEADER_PX + _PANEL_PX + 12 + _LINE_PX * row) / height
        figure.text(_GAP_PX / width, y, line, color=colour, fontsize=9.2, va="top", parse_math=False)
    notes = (
        "Ring: end of a feeder in its own view. Dashed: the line on which the other view shows that end. Course in the "
        "other view solid where it ends in the tumour, dotted where it passes by. Research software, not a medical "
        "device."
    )
    figure.text(_GAP_PX / width, 8 / height, notes, color=_MUTED, fontsize=8.8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[..., :3].copy()


def _shown(pair: ProjectionPair) -> list[tuple[int, FeederSight]]:
    """Return the likeliest feeders, each with its view; a match that the first view shows is not shown again."""
    told = {(match.first, match.second) for match in pair.tumours}
    first = list(pair.feeders[0])
    known = {(m[1], s.match) for s in first for m in told if m[0] == s.tumour and s.match is not None}
    second = [s for s in pair.feeders[1] if (s.tumour, s.feeder) not in known]
    ranked = sorted(
        [(0, s) for s in first] + [(1, s) for s in second],
        key=lambda item: -max(item[1].probability, item[1].probability_alone),
    )
    worth = [item for item in ranked if max(item[1].probability, item[1].probability_alone) >= WORTH_SHOWING]
    return worth[:_MOST]


def _colours(shown: Sequence[tuple[int, FeederSight]]) -> list[str]:
    return [_COLOURS[k % len(_COLOURS)] for k in range(len(shown))]


def _panel(
    figure: Figure, place: int, size: tuple[int, int], pair: ProjectionPair, tumours: Mapping[str, Any]
) -> _Panel:
    width, height = size
    picture = pair.pictures[place]
    scale = _PANEL_PX / max(picture.shape)
    left = (_GAP_PX + place * (_PANEL_PX + _GAP_PX)) / width
    axes = figure.add_axes((left, 1 - (_HEADER_PX + _PANEL_PX) / height, _PANEL_PX / width, _PANEL_PX / height))
    axes.set_axis_off()
    axes.set_xlim(0, _PANEL_PX)
    axes.set_ylim(_PANEL_PX, 0)
    everywhere = np.ones(picture.shape, np.bool_)
    grey = grey_vessels(picture, everywhere, vessel_window(picture, everywhere))
    rows, cols = picture.shape
    axes.imshow(
        np.repeat(grey[..., None], 3, axis=2), extent=(0, cols * scale, rows * scale, 0), interpolation="bilinear"
    )
    axes.set_aspect("auto")
    axes.set_xlim(0, _PANEL_PX)
    axes.set_ylim(_PANEL_PX, 0)
    title = f"{_told((pair.first, pair.second)[place])} {angulation(CArmPose(*pair.angles_deg[place]))}"
    figure.text(left, 1 - 24 / height, title, color=_INK, fontsize=11.5, weight="bold", va="center", parse_math=False)
    panel = _Panel(axes, scale, LabelBoard(np.zeros((_PANEL_PX, _PANEL_PX), np.float32)))
    for name, mask in tumours.items():
        _outline(panel, name, mask)
    return panel


def _told(source: Source) -> str:
    when = "" if source.acquired is None else f"{source.acquired:%H:%M}"
    return ", ".join(part for part in (source.description, when) if part)


def _outline(panel: _Panel, name: str, mask: npt.NDArray[np.bool_]) -> None:
    found = mask_outlines(mask, panel.scale)
    for outline in found:
        closed = np.vstack([outline, outline[:1]])
        panel.axes.plot(*closed.T, color="white", linewidth=3.0, alpha=0.8)
        panel.axes.plot(*closed.T, color=_TUMOUR, linewidth=1.6)
    if found:
        largest = max(found, key=len).astype(np.float64)
        _label(panel, name, (float(largest[:, 0].mean()), float(largest[:, 1].mean())), _TUMOUR)


def _draw(own: _Panel, other: _Panel, sight: FeederSight, colour: str) -> None:
    at = own.display(np.array([sight.entry]))[0]
    own.axes.plot(*at, marker="o", markersize=9, markerfacecolor="none", markeredgecolor=colour, markeredgewidth=2.2)
    _label(own, sight.feeder, (float(at[0]), float(at[1])), colour)
    if len(sight.entry_line):
        other.axes.plot(*other.display(sight.entry_line).T, color=colour, linewidth=1.1, linestyle=(0, (5, 3)))
    if len(sight.course):
        dash = "-" if sight.sight is Sight.FEEDS else (0, (0.8, 1.8))
        points = other.display(sight.course)
        other.axes.plot(*points.T, color="white", linewidth=3.6, alpha=0.6)
        other.axes.plot(*points.T, color=colour, linewidth=2.4, linestyle=dash)
        name = sight.feeder if sight.match is None else f"{sight.match} (= {sight.feeder})"
        _label(other, name, (float(points[-1, 0]), float(points[-1, 1])), colour)


def _label(panel: _Panel, words: str, anchor: tuple[float, float], colour: str) -> None:
    write_label(panel.axes, panel.board, words, anchor, colour, size_pt=8.8)


def _words(shown: Sequence[tuple[int, FeederSight]]) -> list[tuple[str, str]]:
    lines = []
    for (side, sight), colour in zip(shown, _colours(shown), strict=True):
        view = ("left", "right")[side]
        told = (
            f"{sight.feeder} ({view})  {sight.probability_alone:.2f} by this view, {sight.probability:.2f} by both; "
            f"{sight.sight.value}. {sight.reason}"
        )
        lines += [(line, colour) for line in textwrap.wrap(told, 190, subsequent_indent="    ")]
    return lines
