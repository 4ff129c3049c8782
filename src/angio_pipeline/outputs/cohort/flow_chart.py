"""The flow of a cohort as a figure, in the manner of CONSORT: planned, left out on the way, analysed by arm."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from angio_pipeline.response.cohort.data import Table

__all__ = ["flow_chart"]

_WIDTH, _LINE, _PAD, _GAP = 640, 17, 10, 26
_MAIN = (20, 300)  # left edge and width of the boxes down the way
_SIDE = (380, 240)  # and of what is left out
_MOST_LETTERS = 72


def flow_chart(flow: Table) -> Markup:
    """Return the flow of `response.cohort.describe.flow` as an SVG element.

    Boxes down the left are patients, boxes on the right those who are left out; arms stand in the last box, a line an
    arm, as names of regimens are long and their number is not known.
    """
    planned, unplanned, without, refused, analysed, flagged = (row[1:] for row in flow.rows)
    parts: list[str] = []
    y = _box(parts, 8, _MAIN, [f"In the records: {planned[0]}", f"In the results only: {unplanned[0]}"])
    seen = int(planned[0]) + int(unplanned[0]) - int(without[0])
    y = _step(parts, y, [f"No images found: {without[0]}"])
    y = _box(parts, y, _MAIN, [f"With images: {seen}"])
    y = _step(parts, y, ["Refused, nothing could be", f"analysed: {refused[0]}"])
    y = _box(parts, y, _MAIN, [f"Analysed: {analysed[0]}", f"of these flagged: {flagged[0]}"])
    y = _arrow(parts, y, _GAP)
    arms = [
        _short(f"{name}: {count} analysed, {marked} of these flagged")
        for name, count, marked in zip(flow.headings[2:], analysed[1:], flagged[1:], strict=True)
    ]
    y = _box(parts, y, (_MAIN[0], _WIDTH - 2 * _MAIN[0]), arms or ["No arms"])
    head = (
        f'<svg class="chart flow" viewBox="0 0 {_WIDTH} {y + 8:.0f}" role="img"><title>{escape(flow.caption)}</title>'
    )
    return Markup("\n".join([head, *parts, "</svg>"]))  # built from numbers and escaped words


def _short(words: str) -> str:
    return (
        words if len(words) <= _MOST_LETTERS else f"{words[: _MOST_LETTERS // 2 - 1]} … {words[-_MOST_LETTERS // 2 :]}"
    )


def _box(parts: list[str], top: float, place: tuple[int, int], lines: Sequence[str]) -> float:
    """Draw a box of lines and return where it ends."""
    left, width = place
    height = 2 * _PAD + _LINE * len(lines) - 4
    parts.append(f'<rect class="axis" x="{left}" y="{top:.0f}" width="{width}" height="{height}" rx="3"/>')
    for i, words in enumerate(lines):
        parts.append(f'<text x="{left + _PAD}" y="{top + _PAD + 10 + _LINE * i:.0f}">{escape(words)}</text>')
    return top + height


def _step(parts: list[str], top: float, left_out: Sequence[str]) -> float:
    """Draw the way down with a box beside it, and return where it ends."""
    length = 2 * _PAD + _LINE * len(left_out) + _GAP
    middle, centre = top + length / 2, _MAIN[0] + _MAIN[1] / 2
    height = 2 * _PAD + _LINE * len(left_out) - 4
    parts.append(f'<path class="axis" d="M{centre} {middle:.0f}H{_SIDE[0]}m-6 -4l6 4l-6 4"/>')
    _box(parts, middle - height / 2, _SIDE, left_out)
    return _arrow(parts, top, length)


def _arrow(parts: list[str], top: float, length: float) -> float:
    centre = _MAIN[0] + _MAIN[1] / 2
    parts.append(f'<path class="axis" d="M{centre} {top:.0f}v{length:.0f}m-4 -6l4 6l4 -6"/>')
    return top + length
