"""Where to write on a picture so that no label hides a vessel or another label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Box", "LabelBoard", "write_label"]

_ANGLES = np.deg2rad(np.arange(0, 360, 15))
_DISTANCES = (34, 50, 70, 95, 125, 160, 200, 250, 310)
_MARGIN = 4.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on the picture, display pixels from its upper left corner."""

    left: float
    top: float
    width: float
    height: float

    @property
    def middle(self) -> tuple[float, float]:
        """Centre as (x, y)."""
        return self.left + self.width / 2, self.top + self.height / 2

    def overlaps(self, other: Box, margin: float = _MARGIN) -> bool:
        """Return whether the two come closer than `margin`."""
        return (
            self.left < other.left + other.width + margin
            and other.left < self.left + self.width + margin
            and self.top < other.top + other.height + margin
            and other.top < self.top + self.height + margin
        )


class LabelBoard:
    """Finds places for labels, one after the other, greedily.

    Parameters
    ----------
    costs : ndarray, (H, W) float
        What it costs to cover each display pixel; 0 is free.
    """

    def __init__(self, costs: npt.NDArray[np.float32]) -> None:
        self._height, self._width = costs.shape
        self._costs = costs
        total = np.cumsum(np.cumsum(costs.astype(np.float64), axis=0), axis=1)
        self._integral = np.pad(total, ((1, 0), (1, 0)))
        self._taken: list[Box] = []

    def take(self, box: Box) -> None:
        """Keep `box` free of later labels."""
        self._taken.append(box)

    def place(self, anchor: tuple[float, float], size: tuple[float, float]) -> Box:
        """Return the best place for a label of `size` (width, height) near `anchor` (x, y), and take it.

        When every place collides, the least bad one is taken.
        """
        candidates = [
            Box(
                anchor[0] + distance * np.cos(angle) - size[0] * (0.5 - 0.5 * np.cos(angle)),
                anchor[1] + distance * np.sin(angle) - size[1] * (0.5 - 0.5 * np.sin(angle)),
                *size,
            )
            for distance in _DISTANCES
            for angle in _ANGLES
        ]
        return self.best(candidates, anchor)

    def best(self, candidates: Sequence[Box], anchor: tuple[float, float] | None = None) -> Box:
        """Return the cheapest of `candidates`, and take it."""
        costs = [self._cost(box, anchor) for box in candidates]
        chosen = candidates[int(np.argmin(costs))]
        self.take(chosen)
        return chosen

    def _cost(self, box: Box, anchor: tuple[float, float] | None) -> float:
        outside = (
            box.left < _MARGIN
            or box.top < _MARGIN
            or box.left + box.width > self._width - _MARGIN
            or box.top + box.height > self._height - _MARGIN
        )
        collisions = sum(box.overlaps(other) for other in self._taken)
        leader = 0.0 if anchor is None else self._leader(anchor, box.middle)
        return 1e6 * outside + 1e5 * collisions + 0.5 * self._covered(box) + leader

    def _leader(self, start: tuple[float, float], end: tuple[float, float]) -> float:
        """Length of the line to the label, and more for each stretch of it that crosses a vessel."""
        length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
        away = np.linspace(min(1.0, 14.0 / max(length, 1.0)), 1, 32)  # the first pixels lie on the vessel it names
        x = np.clip(start[0] + away * (end[0] - start[0]), 0, self._width - 1).astype(int)
        y = np.clip(start[1] + away * (end[1] - start[1]), 0, self._height - 1).astype(int)
        return length * (1 + 3 * float(self._costs[y, x].mean()))

    def _covered(self, box: Box) -> float:
        """Summed cost of the pixels below the box and just around it."""
        x0, x1 = (int(np.clip(v, 0, self._width)) for v in (box.left - 3, box.left + box.width + 3))
        y0, y1 = (int(np.clip(v, 0, self._height)) for v in (box.top - 3, box.top + box.height + 3))
        total = self._integral
        covered = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
        return float(covered)


def write_label(
    axes: Axes, board: LabelBoard, words: str, anchor: tuple[float, float], colour: str, *, size_pt: float = 9.5
) -> None:
    """Write words in a frame of a colour where the board has room, with a line to the (x, y) that they name."""
    lines = words.splitlines()
    size = (max(len(line) for line in lines) * 0.86 * size_pt + 16, len(lines) * 1.8 * size_pt + 8)
    axes.annotate(
        words,
        xy=anchor,
        xytext=board.place(anchor, size).middle,
        color="black",
        fontsize=size_pt,
        ha="center",
        va="center",
        bbox={"boxstyle": "round,pad=0.28", "facecolor": "white", "edgecolor": colour, "linewidth": 1.6, "alpha": 0.93},
        arrowprops={"arrowstyle": "-", "color": "black", "linewidth": 0.9, "shrinkA": 0, "shrinkB": 3},
        zorder=8,
    )
