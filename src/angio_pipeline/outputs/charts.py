"""Small charts as inline SVG: they take their colours from the page, so they print on white.

A chart is a list of `Series` on two linear axes; classes, not colours, are written into the SVG.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

__all__ = ["Band", "Series", "line_chart"]

_WIDTH, _HEIGHT = 640, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 118, 14, 44
_LABEL = 15  # least distance of two names of lines
_LETTERS = 14  # that fit beside the lines


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or points with intervals; None in `y` breaks the line.

    `style` is a class of the page's stylesheet: `s0` … `s5`, with dashes that tell them apart in grey.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    style: str
    line: bool = True
    points: bool = False
    intervals: Sequence[tuple[float | None, float | None] | None] = ()


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of the x axis with a name, such as a phase."""

    label: str
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        step = _nice((self.high - self.low) / 6)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def _nice(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9))


def line_chart(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    title: str,
    bands: Sequence[Band] = (),
    from_zero: bool = False,
) -> Markup | None:
    """Return an SVG element, or None when no series holds a number.

    Parameters
    ----------
    series : sequence of Series
    x_label, y_label : str
        With their units.
    title : str
        What a screen reader says.
    bands : sequence of Band
        Shaded behind the lines.
    from_zero : bool
        Whether the y axis starts at 0.
    """
    drawn = [s for s in series if any(v is not None for v in s.y)]
    if not drawn:
        return None
    x_axis, y_axis = _axes(drawn, from_zero)
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        *(_band(band, x_axis) for band in bands),
        *_frame(x_axis, y_axis, x_label, y_label),
        *(part for s in drawn for part in _series(s, x_axis, y_axis)),
        *_end_labels(drawn, x_axis, y_axis),
        "</svg>",
    ]
    return Markup("\n".join(parts))  # built from numbers, class names and escaped words


def _axes(series: Sequence[Series], from_zero: bool) -> tuple[_Axis, _Axis]:
    xs = [x for s in series for x in s.x]
    ys = [y for s in series for y in s.y if y is not None]
    ys += [end for s in series for pair in s.intervals if pair is not None for end in pair if end is not None]
    low, high = (min(0.0, *ys) if from_zero else min(ys)), max(ys)
    pad = 0.06 * (high - low or abs(high) or 1.0)
    y_low = low if from_zero and low == 0 else low - pad
    margin = 0.03 * (max(xs) - min(xs)) if any(s.points for s in series) else 0.0
    x_low, x_high = min(xs) - margin, max(xs) + margin
    if x_high <= x_low:
        x_low, x_high = x_low - 0.5, x_high + 0.5
    across = _Axis(x_low, x_high, _LEFT, _WIDTH - _RIGHT)
    return across, _Axis(y_low, high + pad, _HEIGHT - _BOTTOM, _TOP)


def _band(band: Band, axis: _Axis) -> str:
    left, right = (min(max(axis.at(v), axis.start), axis.end) for v in (band.first, band.last))
    return (
        f'<rect class="band" x="{left:.1f}" y="{_TOP}" width="{max(right - left, 1):.1f}" '
        f'height="{_HEIGHT - _TOP - _BOTTOM}"/>'
        f'<text class="band-label" x="{left + 4:.1f}" y="{_TOP + 12}">{escape(band.label)}</text>'
    )


def _frame(x_axis: _Axis, y_axis: _Axis, x_label: str, y_label: str) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for tick in x_axis.ticks():
        x = x_axis.at(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:.6g}</text>')
    for tick in y_axis.ticks():
        y = y_axis.at(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:.6g}</text>')
    parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>')
    middle = (_LEFT + right) / 2
    parts.append(
        f'<text class="axis-label" x="{middle:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'
    )
    turned = f'transform="translate(13 {(_TOP + bottom) / 2:.0f}) rotate(-90)"'
    parts.append(f'<text class="axis-label" {turned} text-anchor="middle">{escape(y_label)}</text>')
    return parts


def _series(series: Series, x_axis: _Axis, y_axis: _Axis) -> list[str]:
    parts = []
    if series.line:
        parts.append(f'<path class="line {series.style}" d="{_path(series, x_axis, y_axis)}"/>')
    for i, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
        if not series.points or y is None:
            continue
        across = x_axis.at(x)
        pair = series.intervals[i] if i < len(series.intervals) else None
        if pair is not None:
            low, high = (y_axis.at(v) if v is not None else edge for v, edge in zip(pair, _ends(y_axis), strict=True))
            whisker = f"M{across:.1f} {low:.1f}V{high:.1f}M{across - 5:.1f} {low:.1f}h10M{across - 5:.1f} {high:.1f}h10"
            parts.append(f'<path class="whisker {series.style}" d="{whisker}"/>')
        parts.append(f'<circle class="point {series.style}" cx="{across:.1f}" cy="{y_axis.at(y):.1f}" r="4.5"/>')
    return parts


def _ends(axis: _Axis) -> tuple[float, float]:
    return axis.start, axis.end


def _path(series: Series, x_axis: _Axis, y_axis: _Axis) -> str:
    """Moves and lines; a value that is missing lifts the pen."""
    steps, down = [], False
    for x, y in zip(series.x, series.y, strict=True):
        if y is not None:
            steps.append(f"{'L' if down else 'M'}{x_axis.at(x):.1f} {y_axis.at(y):.1f}")
        down = y is not None
    return "".join(steps)


def _end_labels(series: Sequence[Series], x_axis: _Axis, y_axis: _Axis) -> list[str]:
    """Each line's name at its right end, pushed apart where ends meet; a series without a name takes no place."""
    wanted = []
    for s in (one for one in series if one.label):
        last = max(i for i, y in enumerate(s.y) if y is not None)
        value = s.y[last]
        if value is not None:
            wanted.append((y_axis.at(value), s))
    wanted.sort(key=lambda pair: pair[0])
    places, floor = [], float(_TOP)
    for y, _ in wanted:
        places.append(max(y + 4, floor))
        floor = places[-1] + _LABEL
    ceiling = float(_HEIGHT - _BOTTOM + 4)
    for i in reversed(range(len(places))):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - _LABEL
    parts = []
    for place, (_, s) in zip(places, wanted, strict=True):
        words = s.label if len(s.label) <= _LETTERS else s.label[: _LETTERS - 1] + "…"
        parts.append(
            f'<text class="series-label {s.style}" x="{x_axis.end + 8:.0f}" y="{place:.1f}">{escape(words)}</text>'
        )
    return parts
