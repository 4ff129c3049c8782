"""Flow as a picture: where the contrast runs, how fast where that could be measured, and when it came where not.

Strategy: the subtraction stands back in light grey; every branch is a line as wide as the vessel, in the
colour of its velocity. Branches without a velocity are drawn as they are, in neutral blue-grey: a colour
would be a guess. What the root does not reach is a thin pale line: its direction would be one too. Arrow
heads lie only on branches long enough to carry them, and only the main branches are named, with the
numbers of the table in the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.results import RunResult
from angio_pipeline.core.vessels import Branch
from angio_pipeline.outputs.branches import main_branches
from angio_pipeline.outputs.documents import graph_document
from angio_pipeline.outputs.labels import Box, LabelBoard, write_label
from angio_pipeline.outputs.overlay import angulation
from angio_pipeline.outputs.pictures import Pixels, grey_vessels, resized, vessel_window
from angio_pipeline.outputs.schemas import GraphBranch, GraphDocument

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

__all__ = ["flow_picture"]

_LONGEST_PX = 1024
_HEADER_PX = 34
_PANEL_PX = 216
_FOOTER_PX = 50
_DPI = 100
_INK, _MUTED, _PAPER = "#e8ebef", "#aab4c0", "#12151a"
_TIP = "#00b4d8"
_PLAIN = "#6d7f92"
# Display pixels: the shortest branch that carries an arrow, and how far heads stay apart.
_LEAST_ARROW_PX, _APART_PX = 34.0, 46.0

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Quantity:
    """What colour means: the values of each branch (NaN where unknown), the words and the unit beside the bar."""

    values: Array
    title: str
    note: str
    unit: str
    velocity: bool


@dataclass(frozen=True, slots=True)
class _Canvas:
    """One run on its canvas: `scale` display pixels to a frame pixel."""

    result: RunResult
    document: GraphDocument
    quantity: _Quantity | None
    width: int
    height: int
    scale: float

    @property
    def reached(self) -> list[bool]:
        """Whether the root reaches each branch; all, where that was not measured."""
        branches = self.document.branches
        told = any(b.strahler_order is not None for b in branches)
        return [b.generation is not None or not told for b in branches]

    def display(self, points: npt.ArrayLike) -> Array:
        """(row, col) of the frame as (x, y) on the canvas; pixel centres are integers in the frame."""
        return np.asarray((np.asarray(points, float).reshape(-1, 2)[:, ::-1] + 0.5) * self.scale)


def flow_picture(result: RunResult) -> Pixels:
    """Return the tree with its flow, (H, W, 3) RGB; its longer picture side has 1024 pixels.

    Colour is velocity where any branch has one, arrival where times are known, and else only direction is shown.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas = _canvas(result)
    size = (canvas.width + _PANEL_PX, canvas.height + _HEADER_PX + _FOOTER_PX)
    figure = Figure(figsize=(size[0] / _DPI, size[1] / _DPI), dpi=_DPI, facecolor=_PAPER)
    agg = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, _FOOTER_PX / size[1], canvas.width / size[0], canvas.height / size[1]))
    _draw(axes, canvas)
    _words(figure, canvas, size)
    _panel(figure, canvas, size)
    agg.draw()
    return np.asarray(agg.buffer_rgba(), dtype=np.uint8)[..., :3].copy()


def _canvas(result: RunResult) -> _Canvas:
    rows, columns = result.subtracted.valid.shape
    scale = _LONGEST_PX / max(rows, columns)
    document = graph_document(result)
    return _Canvas(result, document, _quantity(document), round(columns * scale), round(rows * scale), scale)


def _quantity(document: GraphDocument) -> _Quantity | None:
    note = "of the leading edge,\nin projection"
    for name, unit in (("velocity_mm_s", "mm/s"), ("velocity_px_s", "px/s")):
        values = _values(document, name)
        if np.isfinite(values).any():
            return _Quantity(values, f"Velocity of flow, {unit}", note, unit, True)
    values = _values(document, "arrival_start_s")
    if np.isfinite(values).any():
        return _Quantity(values, "Arrival of contrast, s", "since the first frame;\nno velocity resolved", "s", False)
    return None


def _values(document: GraphDocument, name: str) -> Array:
    return np.array([np.nan if (v := getattr(b, name)) is None else v for b in document.branches], float)


# --- lines and arrows ---------------------------------------------------------------------------


def _draw(axes: Axes, canvas: _Canvas) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, canvas.width)
    axes.set_ylim(canvas.height, 0)
    ground = np.repeat(_ground(canvas)[..., None], 3, axis=2)
    axes.imshow(ground, extent=(0, canvas.width, canvas.height, 0), interpolation="none", aspect="auto")
    colours = _colours(canvas)
    _draw_lines(axes, canvas, colours)
    _draw_arrows(axes, canvas, colours)
    board = LabelBoard(_label_costs(canvas))
    _draw_tip(axes, canvas, board)
    _draw_labels(axes, canvas, board)


def _ground(canvas: _Canvas) -> Pixels:
    """The subtraction, pale enough for colours to stand out on it."""
    sub = canvas.result.subtracted
    live = sub.frames[sub.reference_frame]
    grey = resized(grey_vessels(live, sub.valid, vessel_window(live, sub.valid)), _LONGEST_PX, enlarge=True)
    seen = resized(sub.valid.astype(np.uint8) * 255, _LONGEST_PX, enlarge=True) > 127
    return np.where(seen, 170 + grey // 3, 18).astype(np.uint8)


def _norm(quantity: _Quantity) -> Normalize:
    from matplotlib.colors import LogNorm, Normalize

    known = quantity.values[np.isfinite(quantity.values)]
    low, high = (float(v) for v in np.percentile(known, (2, 98)))
    if not quantity.velocity:
        return Normalize(low, max(high, low + 1e-3), clip=True)
    # At least a factor of two from end to end: alike velocities look alike.
    middle, reach = np.sqrt(low * high), max(np.sqrt(high / low), np.sqrt(2.0))
    return LogNorm(middle / reach, middle * reach, clip=True)


def _map(quantity: _Quantity) -> Colormap:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    name, ends = ("plasma", (0.0, 0.82)) if quantity.velocity else ("viridis", (0.0, 0.88))
    return ListedColormap(colormaps[name](np.linspace(*ends, 256)))


def _colours(canvas: _Canvas) -> list[Any]:
    quantity = canvas.quantity
    if quantity is None:
        return [_PLAIN] * len(canvas.document.branches)
    norm, colours = _norm(quantity), _map(quantity)
    return [colours(norm(v)) if np.isfinite(v) else _PLAIN for v in quantity.values]


def _draw_lines(axes: Axes, canvas: _Canvas, colours: list[Any]) -> None:
    from matplotlib.collections import LineCollection

    # Widths on this canvas are points of 72 to 100 display pixels.
    widths = [max(2.2, 0.72 * canvas.scale * b.diameter_px) for b in canvas.result.graph.branches]
    reached = canvas.reached
    known = [reached[k] and colour != _PLAIN for k, colour in enumerate(colours)]
    kinds = (  # what is known lies on top
        ([k for k in range(len(widths)) if not reached[k]], 0.0, 0.35),
        ([k for k in range(len(widths)) if reached[k] and not known[k]], 0.7, 0.65),
        ([k for k in range(len(widths)) if known[k]], 1.0, 0.95),
    )
    for some, share, alpha in kinds:
        collection = LineCollection(
            [canvas.display(canvas.result.graph.branches[k].centreline) for k in some],
            colors=[colours[k] if share else _PLAIN for k in some],
            linewidths=[max(1.5, share * widths[k]) for k in some],
            capstyle="round",
            joinstyle="round",
            alpha=alpha,
        )
        axes.add_collection(collection)


def _draw_arrows(axes: Axes, canvas: _Canvas, colours: list[Any]) -> None:
    """Heads in the middle of branches that carry one, the larger branches first; never two close together."""
    from matplotlib.collections import PolyCollection

    branches, reached = canvas.result.graph.branches, canvas.reached
    order = sorted(np.flatnonzero(reached).tolist(), key=lambda k: -branches[k].length_px * branches[k].diameter_px)
    taken: list[Array] = []
    heads, faces = [], []
    for k in order:
        for at, along in _places(branches[k], canvas):
            if all(np.linalg.norm(at - other) >= _APART_PX for other in taken):
                taken.append(at)
                heads.append(_head(at, along, 5.5 + 0.45 * canvas.scale * branches[k].diameter_px))
                faces.append(colours[k])
    axes.add_collection(PolyCollection(heads, facecolors=faces, edgecolors="white", linewidths=1.3, zorder=4))


def _places(branch: Branch, canvas: _Canvas) -> list[tuple[Array, Array]]:
    """Return the points on a branch for arrow heads, about three heads' distance apart, with the way of the flow."""
    line = canvas.display(branch.centreline)
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    if len(line) < 3 or way[-1] < _LEAST_ARROW_PX:
        return []
    count = max(1, int(way[-1] // (3 * _APART_PX)))
    found = []
    for share in (np.arange(count) + 0.5) / count:
        before, at, after = (_at(line, way, share * way[-1] + d) for d in (-9.0, 0.0, 9.0))
        step = after - before
        found.append((at, step / max(float(np.linalg.norm(step)), 1e-9)))
    return found


def _at(line: Array, way: Array, place: float) -> Array:
    return np.array([np.interp(place, way, line[:, k]) for k in range(2)])


def _head(at: Array, along: Array, size: float) -> Array:
    across = np.array([-along[1], along[0]])
    back = at - 0.75 * size * along
    return np.array(
        [at + size * along, back + 0.8 * size * across, at - 0.35 * size * along, back - 0.8 * size * across]
    )


# --- words --------------------------------------------------------------------------------------


def _label_costs(canvas: _Canvas) -> npt.NDArray[np.float32]:
    artery = canvas.result.vessels.artery.astype(np.uint8) * 255
    return resized(artery, _LONGEST_PX, enlarge=True).astype(np.float32) / np.float32(255)


def _draw_tip(axes: Axes, canvas: _Canvas, board: LabelBoard) -> None:
    tip = canvas.result.tip
    if tip is None:
        return
    x, y = canvas.display([[tip.row, tip.col]])[0]
    axes.plot(x, y, marker="D", markersize=9, markerfacecolor=_TIP, markeredgecolor="black", mew=1.4, zorder=6)
    board.take(Box(float(x) - 10, float(y) - 10, 20, 20))


def _draw_labels(axes: Axes, canvas: _Canvas, board: LabelBoard) -> None:
    for number, k in enumerate(main_branches(canvas.document), start=1):
        words = f"{number}  {_value(canvas.document.branches[k], canvas.quantity)}".rstrip()
        line = canvas.display(canvas.result.graph.branches[k].centreline)
        anchor = float(line[len(line) // 2, 0]), float(line[len(line) // 2, 1])
        write_label(axes, board, words, anchor, "#3a4654")


def _value(branch: GraphBranch, quantity: _Quantity | None) -> str:
    if quantity is None:
        return ""
    if not quantity.velocity:
        return "" if branch.arrival_start_s is None else f"{branch.arrival_start_s:.2f} s"
    value = branch.velocity_mm_s if quantity.unit == "mm/s" else branch.velocity_px_s
    # Two figures are more than the intervals in the table bear.
    return "" if value is None else f"{float(f'{value:.2g}'):.0f} {quantity.unit}"


def _words(figure: Figure, canvas: _Canvas, size: tuple[int, int]) -> None:
    width, height = size
    run, maps = canvas.result.run, canvas.result.maps
    middle = 1 - _HEADER_PX / 2 / height
    title = f"Flow, {angulation(run.pose) or 'angulation unknown'}"
    figure.text(12 / width, middle, title, color=_INK, fontsize=12, va="center", weight="bold")
    lines = [_caution(canvas, maps.frame_interval_s), "Research software, not a medical device."]
    for row, words in enumerate(lines):
        figure.text(12 / width, (_FOOTER_PX - 10 - 19 * row) / height, words, color=_MUTED, fontsize=9, va="top")


def _caution(canvas: _Canvas, interval_s: float) -> str:
    if canvas.quantity is None:
        return "The run gives no arrival times: arrows show the way that the tree's shape suggests."
    words = f"Frames are {interval_s:.2g} s apart: times between them are interpolated."
    return words + (" Foreshortened branches are faster than they look." if canvas.quantity.velocity else "")


def _panel(figure: Figure, canvas: _Canvas, size: tuple[int, int]) -> None:
    from matplotlib.lines import Line2D

    width, height = size
    top = height - _HEADER_PX - 12
    if canvas.quantity is not None:
        _colour_bar(figure, canvas, size)
        top -= 420
    reached = np.array(canvas.reached)
    unknown = canvas.quantity is not None and not np.isfinite(canvas.quantity.values[reached]).all()
    velocity = canvas.quantity is not None and canvas.quantity.velocity
    entries: list[tuple[bool, dict[str, Any], str]] = [
        (unknown, {"color": _PLAIN, "lw": 3}, "no velocity resolved" if velocity else "no arrival seen"),
        (not reached.all(), {"color": _PLAIN, "lw": 1.2, "alpha": 0.6}, "not joined to the tree"),
        (True, {"color": _MUTED, "marker": ">", "ls": "", "ms": 9, "mec": "white"}, "direction of flow"),
        (
            canvas.result.tip is not None,
            {"color": _TIP, "marker": "D", "ls": "", "ms": 8, "mec": "white"},
            "catheter tip",
        ),
    ]
    legend = figure.legend(
        [Line2D([], [], **style) for shown, style, _ in entries if shown],
        [words for shown, _, words in entries if shown],
        loc="upper left",
        bbox_to_anchor=((canvas.width + 8) / width, top / height),
        bbox_transform=figure.transFigure,
        frameon=False,
        fontsize=9,
        labelcolor=_INK,
        labelspacing=1.0,
        borderaxespad=0,
    )
    legend.set_in_layout(False)
    note = "Numbers: the main branches,\nas in the report's table"
    y = (top - 34 - 27 * sum(shown for shown, _, _ in entries)) / height
    figure.text((canvas.width + 14) / width, y, note, color=_MUTED, fontsize=8.5, va="top", linespacing=1.35)


def _colour_bar(figure: Figure, canvas: _Canvas, size: tuple[int, int]) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

    assert canvas.quantity is not None
    width, height = size
    top = height - _HEADER_PX - 44
    axes = figure.add_axes(((canvas.width + 20) / width, (top - 290) / height, 22 / width, 290 / height))
    norm = _norm(canvas.quantity)
    bar = figure.colorbar(ScalarMappable(norm, _map(canvas.quantity)), cax=axes)
    if canvas.quantity.velocity:
        low, high = float(norm.vmin or 1), float(norm.vmax or 1)
        bar.set_ticks(
            [t for t in (2, 5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000, 2000) if low <= t <= high]
        )
        bar.ax.yaxis.set_major_formatter(ScalarFormatter())
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        bar.ax.yaxis.set_major_locator(MaxNLocator(6))
        bar.ax.invert_yaxis()  # early at the top, as the contrast flows
    bar.ax.tick_params(which="major", colors=_INK, labelsize=9)
    bar.ax.tick_params(which="minor", length=0)
    bar.outline.set_edgecolor(_MUTED)
    left = (canvas.width + 14) / width
    figure.text(left, (top + 12) / height, canvas.quantity.title, color=_INK, fontsize=10, va="bottom")
    figure.text(
        left, (top - 300) / height, canvas.quantity.note, color=_MUTED, fontsize=8.5, va="top", linespacing=1.35
    )
