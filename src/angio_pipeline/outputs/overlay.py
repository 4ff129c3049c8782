"""The picture that a radiologist looks at first.

Strategy: everything that is an area (grey subtraction, vessels coloured by arrival, a halo along
the feeders) is painted on an array at the size it will be seen; everything that is a line, a symbol
or a word is drawn on top by matplotlib. The halo lies below the vessels, so a feeder's path never
hides its own calibre or arrival. Colours: arrival in viridis (uniform, safe for colour-blind
readers) cut before its palest end, feeders in orange, the blush in magenta: warm against cool.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.geometry import CArmPose, PixelSpacing
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.tumours import Feeder
from angio_pipeline.outputs.documents import run_quality
from angio_pipeline.outputs.labels import Box, LabelBoard, write_label
from angio_pipeline.outputs.pictures import Pixels, grey_vessels, mask_outlines, vessel_window

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

__all__ = ["angulation", "overlay_picture", "scale_words"]

_LONGEST_PX = 1024
_HEADER_PX = 34
_PANEL_PX = 216
_LINE_PX = 19
_BLEED_PX = 8
"""How far from a vessel its colour is asked for, more than an enlarged pixel reaches."""
_LEAST_WIDTH_PX = 640
_DPI = 100

_INK = "#e8ebef"
_MUTED = "#aab4c0"
_PAPER = "#12151a"
_FEEDER = "#e8710a"
_TUMOUR = "#d81b60"
_TARGET = "#ffd60a"
_TIP = "#00b4d8"
_SHUNT = "#7b2cbf"
_VEIN = "#4a6fa5"
_UNTIMED = (0.17, 0.44, 0.56)
_DRAWN = (0, (4, 1.5))
"""The line of what was drawn by hand."""

Floats = npt.NDArray[np.float32]


def angulation(pose: CArmPose | None) -> str | None:
    """Return the angulation in the words of the suite, such as `RAO 30° CRA 10°`."""
    if pose is None:
        return None
    primary = "LAO" if pose.primary_deg > 0 else "RAO"
    secondary = "CRA" if pose.secondary_deg > 0 else "CAU"
    first, second = round(abs(pose.primary_deg)), round(abs(pose.secondary_deg))
    parts = [f"{primary} {first}°"] if first else []
    parts += [f"{secondary} {second}°"] if second else []
    return " ".join(parts) or "AP 0°"


@dataclass(frozen=True, slots=True)
class _Scene:
    """One run on its canvas: `scale` display pixels to a frame pixel."""

    result: RunResult
    quality: Quality
    width: int
    height: int
    scale: float
    arrival: Floats | None
    limits_s: tuple[float, float] | None

    @property
    def feeders(self) -> list[Feeder]:
        return [feeder for tumour in self.result.tumours for feeder in tumour.feeders if feeder.worth_showing]


def overlay_picture(result: RunResult) -> Pixels:
    """Return the annotated reference frame, (H, W, 3) RGB; its longer picture side has 1024 pixels.

    Shown are what `result` holds and no more: no colour bar without arrival times, no scale bar
    without a calibration in the patient, no angulation without a pose.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scene = _scene(result)
    panel = _PANEL_PX if _legend_entries(scene) else 0
    width = max(scene.width + panel, _LEAST_WIDTH_PX)
    columns = _footer_columns(scene, width)
    footer = _LINE_PX * (max(len(column) for column in columns) + 1) + 14
    size = (width, scene.height + _HEADER_PX + footer)
    figure = Figure(figsize=(size[0] / _DPI, size[1] / _DPI), dpi=_DPI, facecolor=_PAPER)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, footer / size[1], scene.width / size[0], scene.height / size[1]))
    _draw_picture(axes, scene)
    _draw_words(figure, scene, columns, size)
    _draw_panel(figure, scene, size)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[..., :3].copy()


def _scene(result: RunResult) -> _Scene:
    rows, columns = result.subtracted.valid.shape
    scale = _LONGEST_PX / max(rows, columns)
    quality = run_quality(result)
    arrival, limits = _arrival(result, quality)
    return _Scene(result, quality, round(columns * scale), round(rows * scale), scale, arrival, limits)


def _arrival(result: RunResult, quality: Quality) -> tuple[Floats | None, tuple[float, float] | None]:
    """Arrival inside the arteries and the range to colour; None where times mean nothing."""
    arrival = np.where(result.vessels.artery, result.maps.arrival_s, np.nan)
    known = arrival[np.isfinite(arrival)]
    if Quality.TIMES_UNKNOWN in quality or known.size < 2:
        return None, None
    low, high = (float(v) for v in np.percentile(known, (1, 99)))
    least = result.maps.frame_interval_s
    if np.isfinite(least) and high - low < least:  # do not stretch noise below a frame to full colour
        low, high = 0.5 * (low + high - least), 0.5 * (low + high + least)
    return arrival.astype(np.float32), (low, max(high, low + 1e-3))


# --- areas --------------------------------------------------------------------------------------


def _draw_picture(axes: Axes, scene: _Scene) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, scene.width)
    axes.set_ylim(scene.height, 0)
    axes.imshow(
        _painted(scene),
        extent=(0, scene.width, scene.height, 0),
        interpolation="none",
        aspect="auto",
    )
    _draw_outlines(axes, scene)
    board = LabelBoard(_label_costs(scene))
    _draw_scale_bar(axes, scene, board)
    labels = [*_mark_targets(axes, scene, board), *_mark_tip(axes, scene, board), *_mark_shunts(axes, scene, board)]
    for text, anchor, colour in [*_feeder_labels(scene), *labels]:
        write_label(axes, board, text, anchor, colour, size_pt=10)


def _painted(scene: _Scene) -> Pixels:
    """The grey frame, then the feeders' halo, then the vessels in the colour of their arrival."""
    subtracted = scene.result.subtracted
    live = subtracted.frames[subtracted.reference_frame]
    grey = grey_vessels(live, subtracted.valid, vessel_window(live, subtracted.valid))
    picture = np.repeat(_enlarged(grey.astype(np.float32), scene)[..., None] / 255.0, 3, axis=2)
    cover = np.clip(_enlarged(scene.result.vessels.artery.astype(np.float32), scene) * 1.6 - 0.3, 0, 1)
    picture = _blend(picture, np.array(_rgb(_FEEDER)), 0.9 * _halo(scene) * (1 - cover))
    if cover.any():
        picture = _blend(picture, _vessel_colours(scene), 0.82 * cover)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _enlarged(values: Floats, scene: _Scene) -> Floats:
    import cv2

    method = cv2.INTER_AREA if scene.scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(values, (scene.width, scene.height), interpolation=method), dtype=np.float32)


def _blend(below: Floats, colour: npt.NDArray[Any], cover: Floats) -> Floats:
    share = cover[..., None].astype(np.float32)
    return np.asarray(below * (1 - share) + colour.astype(np.float32) * share, dtype=np.float32)


def _vessel_colours(scene: _Scene) -> npt.NDArray[Any]:
    if scene.arrival is None or scene.limits_s is None:
        return np.array(_UNTIMED)
    low, high = scene.limits_s
    smooth = _enlarged(_filled(scene.arrival, scene.result.vessels.artery), scene)
    return np.asarray(_arrival_colours()(np.clip((smooth - low) / (high - low), 0, 1))[..., :3])


def _filled(values: Floats, vessels: npt.NDArray[np.bool_]) -> Floats:
    """Values with each NaN on or near vessels replaced by its nearest neighbour, so that edges do not bleed."""
    from scipy.ndimage import distance_transform_edt

    rows, cols = np.flatnonzero(vessels.any(axis=1)), np.flatnonzero(vessels.any(axis=0))
    near = tuple(slice(max(0, int(n[0]) - _BLEED_PX), int(n[-1]) + _BLEED_PX + 1) for n in (rows, cols))
    indices = distance_transform_edt(np.isnan(values[near]), return_distances=False, return_indices=True)
    filled = np.zeros_like(values)
    filled[near] = values[near][indices[0], indices[1]]
    return filled


def _arrival_colours() -> Colormap:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.88, 256)))


def _rgb(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(colour)


def _halo(scene: _Scene) -> Floats:
    """Cover (0..1) of a band beside the feeders: wide along a feeder's own branch, thin on the way to it."""
    import cv2

    halo = np.zeros((scene.height, scene.width), np.uint8)
    if not scene.feeders:
        return halo.astype(np.float32)
    inside = cv2.distanceTransform(scene.result.vessels.artery.astype(np.uint8), cv2.DIST_L2, 3)
    for feeder in scene.feeders:
        radii = _sampled(inside, feeder.centreline) * scene.scale
        own = feeder.own_start
        _paint_band(halo, _display(feeder.centreline[: own + 1], scene), radii[: own + 1] + 1.5, dashed=False)
        beside = 3.5 if feeder.overlap_ambiguous else 5.0
        line = _display(feeder.centreline[own:], scene)
        _paint_band(halo, line, radii[own:] + beside, dashed=feeder.overlap_ambiguous)
    return halo.astype(np.float32) / np.float32(255)


def _sampled(image: npt.NDArray[Any], line: npt.NDArray[np.float64]) -> Floats:
    rows = np.clip(np.rint(line[:, 0]).astype(int), 0, image.shape[0] - 1)
    cols = np.clip(np.rint(line[:, 1]).astype(int), 0, image.shape[1] - 1)
    return np.asarray(image[rows, cols], dtype=np.float32)


def _display(points: npt.NDArray[np.float64], scene: _Scene) -> npt.NDArray[np.float64]:
    """(row, col) of the frame as (x, y) on the canvas; pixel centres are integers in the frame."""
    return (np.asarray(points, dtype=np.float64).reshape(-1, 2)[:, ::-1] + 0.5) * scene.scale


def _paint_band(halo: Pixels, points: npt.NDArray[np.float64], radii: Floats, *, dashed: bool) -> None:
    import cv2

    travelled = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    for i in range(len(points) - 1):
        if dashed and travelled[i] % 42 > 20:  # round ends lengthen each dash by its width
            continue
        ends = [(round(float(x) * 16), round(float(y) * 16)) for x, y in points[i : i + 2]]
        cv2.line(halo, ends[0], ends[1], 255, max(1, round(2 * float(radii[i]))), cv2.LINE_AA, 4)


# --- lines, symbols, words ----------------------------------------------------------------------


def _draw_outlines(axes: Axes, scene: _Scene) -> None:
    result = scene.result
    for tumour in result.tumours:
        for outline in mask_outlines(tumour.mask, scene.scale):
            closed = np.vstack([outline, outline[:1]])
            axes.plot(*closed.T, color="white", linewidth=3.6, alpha=0.8, solid_joinstyle="round")
            drawn = _DRAWN if tumour.corrected is not None else "-"
            axes.plot(*closed.T, color=_TUMOUR, linewidth=2.0, solid_joinstyle="round", linestyle=drawn)
    if result.vessels.vein is not None:
        for outline in mask_outlines(result.vessels.vein, scene.scale):
            axes.plot(*outline.T, color=_VEIN, linewidth=1.3, linestyle=(0, (1, 1.6)))


def _label_costs(scene: _Scene) -> Floats:
    result = scene.result
    costs = 1.0 * result.vessels.artery
    if result.vessels.vein is not None:
        costs = costs + 0.5 * result.vessels.vein
    for tumour in result.tumours:
        costs = costs + 0.5 * tumour.mask
    return np.maximum(_enlarged(costs.astype(np.float32), scene), 0)


Label = tuple[str, tuple[float, float], str]


def _feeder_labels(scene: _Scene) -> list[Label]:
    labels: list[Label] = []
    for feeder in sorted(scene.feeders, key=lambda f: -f.probability):
        told = f"{feeder.probability:.2f}" if feeder.corrected is None else f"{feeder.corrected.value} by hand"
        words = f"{_short(feeder.id, scene)}  {told}"
        if feeder.overlap_ambiguous:
            words += "\noverlap: cannot decide"
        own = feeder.centreline[feeder.own_start :]
        if len(own):
            x, y = _display(own[len(own) * 3 // 5], scene)[0]
            labels.append((words, (float(x), float(y)), _FEEDER))
    return labels


def _short(feeder_id: str, scene: _Scene) -> str:
    """`F1` where there is one tumour, `T1-F1` where there are several."""
    return feeder_id if len(scene.result.tumours) > 1 else feeder_id.rsplit("-", 1)[-1]


def _mark_targets(axes: Axes, scene: _Scene, board: LabelBoard) -> list[Label]:
    """Ring with crosshair at each position of the covering sets; the words say what it reaches."""
    labels: list[Label] = []
    targets = [target for tumour in scene.result.tumours for target in tumour.targets]
    for number, target in enumerate(targets, start=1):
        x, y = _display(np.array([[target.row, target.col]]), scene)[0]
        for colour, width in (("black", 5.0), (_TARGET, 2.4)):
            axes.plot(x, y, marker="o", markersize=17, markerfacecolor="none", markeredgecolor=colour, mew=width)
            for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                axes.plot([x + 8 * dx, x + 19 * dx], [y + 8 * dy, y + 19 * dy], color=colour, linewidth=width)
        board.take(Box(float(x) - 20, float(y) - 20, 40, 40))
        words = "target" if len(targets) == 1 else f"target {number}"
        words += f" {target.corrected.value} by hand" if target.corrected is not None else ""
        reached = ", ".join(_short(name, scene) for name in target.covers)
        labels.append((f"{words}: {reached}" if reached else words, (float(x), float(y)), _TARGET))
    return labels


def _mark_tip(axes: Axes, scene: _Scene, board: LabelBoard) -> list[Label]:
    tip = scene.result.tip
    if tip is None:
        return []
    x, y = _display(np.array([[tip.row, tip.col]]), scene)[0]
    axes.plot(x, y, marker="D", markersize=10, markerfacecolor=_TIP, markeredgecolor="black", mew=1.6)
    board.take(Box(float(x) - 10, float(y) - 10, 20, 20))
    return [("catheter tip", (float(x), float(y)), _TIP)]


def _mark_shunts(axes: Axes, scene: _Scene, board: LabelBoard) -> list[Label]:
    labels: list[Label] = []
    for shunt in scene.result.shunts:
        x, y = _display(np.array([[shunt.row, shunt.col]]), scene)[0]
        axes.plot(x, y, marker="^", markersize=13, markerfacecolor=_SHUNT, markeredgecolor="white", mew=1.6)
        board.take(Box(float(x) - 12, float(y) - 12, 24, 24))
        labels.append((f"{shunt.kind.value} shunt  {shunt.probability:.2f}", (float(x), float(y)), _SHUNT))
    return labels


def scale_words(length_mm: int, spacing: PixelSpacing) -> str:
    """Return what stands on a scale bar: its length, and how millimetres are known."""
    return f"{length_mm} mm, {spacing.how or spacing.plane.value}"


def _draw_scale_bar(axes: Axes, scene: _Scene, board: LabelBoard) -> None:
    from matplotlib.patches import Rectangle

    spacing = scene.result.run.spacing
    if spacing is None or not spacing.in_patient:
        return
    display_mm = spacing.col_mm / scene.scale
    length = max((mm for mm in (1, 2, 5, 10, 20, 50, 100) if mm / display_mm <= 0.22 * scene.width), default=1)
    bar = length / display_mm
    words = scale_words(length, spacing)
    width = max(bar, 6.9 * len(words)) + 20
    top = scene.height - 58.0
    box = board.best([Box(12, top, width, 46), Box(scene.width - width - 12, top, width, 46)])
    corner, left = (box.left, box.top), box.left + 10
    axes.add_patch(Rectangle(corner, box.width, box.height, facecolor="white", edgecolor="none", alpha=0.85))
    ends = [left, left, left + bar, left + bar]
    axes.plot(ends, [box.top + y for y in (27, 37, 37, 27)], color="black", linewidth=2.2, solid_joinstyle="miter")
    axes.text(left, box.top + 20, words, color="black", fontsize=8.5, va="bottom", parse_math=False)


def _footer_columns(scene: _Scene, width: int) -> list[list[str]]:
    """The quality sentences as wrapped lines, in two columns when they are more than three."""
    sentences = scene.quality.sentences()
    count = 1 if len(sentences) <= 3 else 2
    letters = int((width - 24) / count / 7.0)
    wrapped = [textwrap.wrap(text, letters, initial_indent="• ", subsequent_indent="   ") for text in sentences]
    total = sum(len(block) for block in wrapped)
    columns: list[list[str]] = [[] for _ in range(count)]
    for block in wrapped:
        first_is_full = 2 * len(columns[0]) >= total
        columns[-1 if first_is_full else 0].extend(block)
    return columns


def _draw_words(figure: Figure, scene: _Scene, columns: list[list[str]], size: tuple[int, int]) -> None:
    width, height = size
    result = scene.result
    top = _LINE_PX * (max(len(column) for column in columns) + 1) + 8
    for number, lines in enumerate(columns):
        left = 12 / width + number / len(columns)
        for row, line in enumerate(lines):
            y = (top - _LINE_PX * row) / height
            figure.text(left, y, line, color=_MUTED, fontsize=9, va="top", parse_math=False)
    figure.text(12 / width, 6 / height, "Research software, not a medical device.", color=_MUTED, fontsize=9)
    middle = 1 - _HEADER_PX / 2 / height
    corner = angulation(result.run.pose) or "angulation unknown"
    figure.text(12 / width, middle, corner, color=_INK, fontsize=12, va="center", weight="bold")
    frame, (count, _, _) = result.subtracted.reference_frame, result.run.shape
    words = f"frame {frame + 1} of {count}"
    if Quality.TIMES_UNKNOWN not in scene.quality:
        words += f", {result.run.times_s[frame]:.2f} s"
    figure.text((scene.width - 12) / width, middle, words, color=_INK, fontsize=10, va="center", ha="right")


# --- the panel on the right ---------------------------------------------------------------------


def _draw_panel(figure: Figure, scene: _Scene, size: tuple[int, int]) -> None:
    width, height = size
    top = height - _HEADER_PX - 12
    if scene.limits_s is not None:
        _draw_colour_bar(figure, scene, size)
        top -= 420
    entries = _legend_entries(scene)
    if entries:
        handles = [handle for handle, _ in entries]
        legend = figure.legend(
            handles,
            [words for _, words in entries],
            loc="upper left",
            bbox_to_anchor=((scene.width + 8) / width, top / height),
            bbox_transform=figure.transFigure,
            frameon=False,
            fontsize=9,
            labelcolor=_INK,
            handlelength=1.9,
            labelspacing=1.0,
            borderaxespad=0,
        )
        legend.set_in_layout(False)


def _draw_colour_bar(figure: Figure, scene: _Scene, size: tuple[int, int]) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    assert scene.limits_s is not None
    width, height = size
    top = height - _HEADER_PX - 44
    axes = figure.add_axes(((scene.width + 20) / width, (top - 290) / height, 22 / width, 290 / height))
    bar = figure.colorbar(ScalarMappable(Normalize(*scene.limits_s), _arrival_colours()), cax=axes)
    bar.ax.invert_yaxis()  # early at the top, as the contrast flows
    bar.ax.tick_params(colors=_INK, labelsize=9)
    bar.outline.set_edgecolor(_MUTED)
    left = (scene.width + 14) / width
    figure.text(left, (top + 12) / height, "Arrival of contrast, s", color=_INK, fontsize=10, va="bottom")
    interval = scene.result.maps.frame_interval_s
    if np.isfinite(interval):
        note = f"since the first frame;\ninterpolated below\n{interval:.2g} s (frame interval)"
        figure.text(left, (top - 300) / height, note, color=_MUTED, fontsize=8.5, va="top", linespacing=1.35)


def _legend_entries(scene: _Scene) -> list[tuple[Any, str]]:
    from matplotlib.lines import Line2D

    result, feeders = scene.result, scene.feeders
    present: list[tuple[bool, dict[str, Any], str]] = [
        (scene.limits_s is None and bool(result.vessels.artery.any()), {"color": _UNTIMED, "lw": 6}, "artery, untimed"),
        (any(not f.overlap_ambiguous for f in feeders), {"color": _FEEDER, "lw": 6}, "feeder, probability"),
        (
            any(f.overlap_ambiguous for f in feeders),
            {"color": _FEEDER, "lw": 6, "ls": (0, (0.9, 0.6))},
            "feeder? overlap:\ncannot decide",
        ),
        (bool(feeders), {"color": _FEEDER, "lw": 2}, "way to the feeder"),
        (
            any(t.corrected is None for t in result.tumours),
            {"color": _TUMOUR, "lw": 2.4},
            "tumour blush or region",
        ),
        (
            any(t.corrected is not None for t in result.tumours),
            {"color": _TUMOUR, "lw": 2.4, "ls": _DRAWN},
            "tumour, drawn by hand",
        ),
        (
            any(t.targets for t in result.tumours),
            {"color": _TARGET, "marker": "o", "ls": "", "mfc": "none", "mew": 2.4, "ms": 12},
            "place for the catheter",
        ),
        (result.tip is not None, {"color": _TIP, "marker": "D", "ls": "", "ms": 8, "mec": "white"}, "catheter tip"),
        (
            bool(result.shunts),
            {"color": _SHUNT, "marker": "^", "ls": "", "ms": 10, "mec": "white"},
            "early vein: shunt",
        ),
        (result.vessels.vein is not None, {"color": _VEIN, "lw": 1.6, "ls": ":"}, "vein"),
    ]
    return [(Line2D([], [], **style), words) for shown, style, words in present if shown]
