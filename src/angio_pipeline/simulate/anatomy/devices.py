"""Metal and plastic inside the patient: the catheter, coils of an old embolisation, surgical clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.anatomy.tree import Tree
from angio_pipeline.simulate.radiograph.projection import Tubes

__all__ = ["Catheter", "DeviceParams", "Devices", "History", "draw_history", "lay_devices", "lead_catheter"]

Array = npt.NDArray[np.float64]

# Orders of the arteries on the way to the liver; what has no order of its own is passed through.
_ORDER = {
    "celiac": 0, "superior mesenteric": 0, "left gastric": 0, "common hepatic": 1, "proper hepatic": 2,
    "right hepatic": 3, "left hepatic": 3, "replaced right hepatic": 3, "replaced left hepatic": 3,
    "accessory right hepatic": 3, "accessory left hepatic": 3, "right anterior": 4, "right posterior": 4,
    "left lateral": 4,
} | {f"segment {k}": 4 for k in range(1, 9)}  # fmt: skip
_BELOW_MM = -180.0


class DeviceParams(Params):
    """What earlier treatment left behind."""

    coils_probability: float = Field(0.0, ge=0, le=1, description="chance that coils closed the gastroduodenal artery")
    clips_probability: float = Field(0.0, ge=0, le=1, description="chance that the gallbladder is out and clips are in")


@dataclass(frozen=True, slots=True)
class History:
    """Whether coils closed the gastroduodenal artery, and whether the gallbladder is out."""

    coiled: bool
    gallbladder_out: bool


@dataclass(frozen=True, slots=True, eq=False)
class Devices:
    """Coils and clips as thin tubes, LPS mm; both may be empty."""

    coils: Tubes
    clips: Tubes


@dataclass(frozen=True, slots=True, eq=False)
class Catheter:
    """A catheter from below the aorta to its tip.

    Attributes
    ----------
    tip_node : int
        Node of the arteries at which the tip stands.
    course_mm : (K, 3) LPS, the last point is the tip
    order : int
        Of the artery it stands in: 0 celiac (or superior mesenteric where that feeds), 1 common hepatic,
        2 proper hepatic, 3 lobar, 4 segmental.
    """

    tip_node: int
    course_mm: Array
    order: int


def draw_history(params: DeviceParams, rng: np.random.Generator) -> History:
    """Return what was done to the patient before."""
    coiled, out = rng.random(2)
    return History(bool(coiled < params.coils_probability), bool(out < params.clips_probability))


def lay_devices(history: History, arteries: Tree, rng: np.random.Generator) -> Devices:
    """Return coils in the gastroduodenal stump and clips in the gallbladder's bed, where there are any."""
    none = Tubes(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    stump = np.array([arteries.position[n] for n in arteries.named("gastroduodenal")])
    coils = _coils(stump, rng) if history.coiled else none
    return Devices(coils, _clips(rng) if history.gallbladder_out else none)


def _coils(stump: Array, rng: np.random.Generator) -> Tubes:
    # Wire wound into loops that lie askew along the stump and a little beyond it.
    along = stump[-1] - stump[0]
    along = along / np.linalg.norm(along)
    turns = int(rng.integers(6, 11))
    t = np.linspace(0, 1, 14 * turns)
    side = np.cross(along, [0.3, 1.0, 0.2])
    side /= np.linalg.norm(side)
    tilt = np.cumsum(rng.normal(0, 0.12, len(t)))
    size = 1.9 + 0.6 * np.sin(2 * np.pi * 1.3 * t + rng.uniform(0, 6))
    angle = 2 * np.pi * turns * t
    ring = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * np.cross(along, side)
    lean = np.sin(tilt)[:, None] * along * np.cos(angle)[:, None]
    wire = stump[-1] + (12.0 * t[:, None] - 4.0) * along + size[:, None] * (ring + lean)
    return Tubes(wire[:-1], wire[1:], np.full(len(wire) - 1, 0.22))


def _clips(rng: np.random.Generator) -> Tubes:
    count = int(rng.integers(2, 6))
    middle = np.array([-28.0, -12.0, -20.0]) + rng.normal(0, 6.0, (count, 3))
    half = rng.normal(size=(count, 3))
    half *= 3.2 / np.linalg.norm(half, axis=1)[:, None]
    # Each clip is two legs a millimetre apart.
    apart = np.cross(half, rng.normal(size=(count, 3)))
    apart *= 0.5 / np.linalg.norm(apart, axis=1)[:, None]
    start = np.vstack([middle - half + apart, middle - half - apart])
    end = np.vstack([middle + half + apart, middle + half - apart])
    return Tubes(start, end, np.full(2 * count, 0.45))


def lead_catheter(arteries: Tree, goal: int, order: int) -> Catheter:
    """Return a catheter whose tip stands on the way to node `goal`, in the artery of `order`.

    Where a variant has no artery of that order on the way, the next deeper one takes its place, and
    the last one on the way where there is none deeper.
    """
    way = arteries.way(goal)
    orders = [_order_of(arteries, node) for node in way]
    reached = [o for o in orders if o is not None]
    found = min((o for o in reached if o >= order), default=max(reached))
    # The deepest name of that order: a segment rather than its sector.
    name = [arteries.name[n] for n, o in zip(way, orders, strict=True) if o == found][-1 if found == 4 else 0]
    tip = _middle([n for n in way if arteries.name[n] == name], arteries)
    return Catheter(tip, _course(arteries, tip), found)


def _order_of(arteries: Tree, node: int) -> int | None:
    return _ORDER.get(arteries.name[node]) if node else None


def _middle(nodes: list[int], arteries: Tree) -> int:
    # The node nearest to half the length of an artery, its end left out where there is a choice.
    if len(nodes) < 2:
        return nodes[0]
    points = np.array([arteries.position[arteries.parent[nodes[0]]], *[arteries.position[n] for n in nodes]])
    along = np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))
    return nodes[int(np.argmin(np.abs(along[:-1] - 0.5 * along[-1])))]


def _course(arteries: Tree, tip: int) -> Array:
    # Up along the aorta's left wall, over the ostium in one round bend, then inside the arteries.
    inside = np.array([arteries.position[n] for n in arteries.way(tip)[1:]])
    ostium = inside[0]
    x, y = arteries.position[0][:2]
    height = np.arange(_BELOW_MM, ostium[2] - 20.0, 30.0)
    lean = (height - _BELOW_MM) / (ostium[2] - _BELOW_MM)
    across = x - 3.0 + 10.0 * lean + 2.5 * np.sin(2.5 * np.pi * lean)
    rise = np.stack([across, y + 3.0 - 2.0 * np.sin(3.0 * np.pi * lean), height], axis=1)
    over = np.array([[8.0, 3.0, -10.0], [7.5, 1.0, 1.0], [4.5, -2.5, 6.5], [1.0, -7.0, 5.0]])
    return np.vstack([rise, over + np.array([x, y, ostium[2]]), _thinned(inside)])


def _thinned(points: Array, least_mm: float = 6.0) -> Array:
    # A catheter is stiffer than the vessel: it follows only points well apart, and ends at the last.
    kept = [points[0]]
    for point in points[1:-1]:
        if min(np.linalg.norm(point - kept[-1]), np.linalg.norm(point - points[-1])) >= least_mm:
            kept.append(point)
    return np.array([*kept, points[-1]] if len(points) > 1 else kept)
