"""The injection in the arteries: what fills each segment, and what reaches the tissue at each node."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.anatomy.courses import Courses
from angio_pipeline.simulate.anatomy.tree import Tree
from angio_pipeline.simulate.circulation.contrast import ContrastParams, Injection, Pulse
from angio_pipeline.simulate.circulation.flows import Supply, embolise, node_times, segment_ml, time_from_root
from angio_pipeline.simulate.circulation.mixtures import Filling
from angio_pipeline.simulate.circulation.reflux import Spread, spread_injection
from angio_pipeline.simulate.circulation.signals import Signals, Terms
from angio_pipeline.simulate.circulation.streaming import streaming_factor

__all__ = ["ArterialPhase", "fill_arteries"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ArterialPhase:
    """Arteries in which an injection has spread.

    Attributes
    ----------
    flowing, filling : Filling
        What passes the segments, and what they hold; delays count from the root, in the aorta.
    group_at, strength_at : (N,)
        Group and strength of the filling at each node, from which its tissue draws.
    arrival_s : (N,) seconds from the root to each node
    """

    supply: Supply
    spread: Spread
    flowing: Filling
    filling: Filling
    group_at: IntArray
    strength_at: Array
    arrival_s: Array

    def at(self, nodes: IntArray, flow_ml_s: Array) -> Terms:
        """Return the iodine (mg/s) that blood of `flow_ml_s` (K,) takes off at `nodes` (K,), owned by 0 to K - 1."""
        return self.flowing.terms.of(self.group_at[nodes], self.arrival_s[nodes], self.strength_at[nodes] * flow_ml_s)


def fill_arteries(
    tree: Tree,
    courses: Courses,
    injection: Injection,
    params: ContrastParams,
    kept: Array,
    signals: Signals,
    returned: Array | None,
) -> ArterialPhase:
    """Return the arteries with one injection in them; `returned` is what the aorta brings (mg/ml), if anything."""
    supply = embolise(tree, kept)
    volume = segment_ml(courses)
    spread = spread_injection(injection, supply, courses, volume)
    ancestor, share = _stumps(courses, supply, spread, params.stump_mm)
    # A closed branch that exchanges with its parent belongs to the parent's volume: iodine is kept.
    tank = volume * (share == 0)
    np.add.at(tank, ancestor, share * volume)
    middle, end = time_from_root(courses, tank, supply.flow)
    arrival = node_times(courses, end, len(tree))
    zone = _tip_zone(courses, supply, spread, injection, params, volume)
    group, terms = _groups(spread, courses, arrival, zone.passage_s, signals)
    factor = _factor(tree, supply, injection, params)
    strength = np.where(supply.flow[courses.edge] > 0, factor[courses.edge], share * factor[courses.edge[ancestor]])
    shift = middle[ancestor]
    if returned is not None:
        terms = Terms.join([terms, _coming_round(spread, middle, signals.add(returned))])
    # Refluxed columns stand: their times are their own, not a transit from the root.
    columns = list(spread.columns)
    strength[columns], shift[columns] = 1.0, 0.0
    strength[zone.segments], group[zone.segments] = zone.share, 0
    shift[zone.segments] = arrival[injection.tip_node] - 0.5 * zone.passage_s
    flowing = Filling(terms, group[ancestor], shift, strength)
    at = np.where(spread.source_at >= 0, spread.source_at, len(spread.sources))
    return ArterialPhase(supply, spread, flowing, flowing.held(signals), at, factor, arrival)


@dataclass(frozen=True, slots=True, eq=False)
class _TipZone:
    # Segments above the tip into which contrast mixes, how much of it, and how long that holds it up.
    segments: IntArray
    share: Array
    passage_s: float


def _tip_zone(
    courses: Courses, supply: Supply, spread: Spread, injection: Injection, params: ContrastParams, volume_ml: Array
) -> _TipZone:
    flow, segment = float(supply.flow[injection.tip_node]), courses.last_of_node[injection.tip_node]
    found: list[int] = []
    share: list[float] = []
    deep = 0.0
    while segment >= 0 and flow > 0 and not spread.columns and params.tip_mixing_diameters > 0:
        length = float(np.linalg.norm(courses.tubes.end[segment] - courses.tubes.start[segment]))
        reach = params.tip_mixing_diameters * 2 * float(courses.tubes.radius[segment])
        mixed = float(np.exp(-(deep + 0.5 * length) / (0.5 * reach)))
        if mixed < 0.05:
            break
        found.append(segment)
        share.append(mixed)
        deep += length
        segment = int(courses.parent[segment])
    segments, shares = np.array(found, np.int64), np.array(share)
    # The zone is a tank that contrast passes on its way down: what it holds comes out of the injection.
    return _TipZone(segments, shares, float(shares @ volume_ml[segments]) / max(flow, 1e-9))


def _coming_round(spread: Spread, middle: Array, signal: int) -> Terms:
    # To every group, from the root; a refluxed segment's shift is its own time, so that its way is told here.
    late = np.zeros(len(spread.sources) + 1 + len(spread.columns))
    late[len(spread.sources) + 1 :] = middle[list(spread.columns)]
    return Terms(np.arange(len(late)), np.full(len(late), signal), late, np.ones(len(late)))


def _stumps(courses: Courses, supply: Supply, spread: Spread, depth_mm: float) -> tuple[IntArray, Array]:
    # For each segment of a closed branch the open segment it hangs on, and how far it shares that one's contrast.
    closed = supply.flow[courses.edge] <= 0
    ancestor, share, deep = np.arange(len(closed)), np.zeros(len(closed)), np.zeros(len(closed))
    length = courses.length_mm()
    for k in np.flatnonzero(closed) if depth_mm > 0 else []:
        above = courses.parent[k]
        if above < 0 or k in spread.columns or ancestor[above] in spread.columns:
            continue
        if closed[above] and ancestor[above] == above:
            continue
        deep[k] = deep[above] + length[k]
        mixed = np.exp(-(deep[k] - 0.5 * length[k]) / depth_mm)
        if mixed > 0.05:
            ancestor[k], share[k] = ancestor[above], mixed
    return ancestor, share


def _factor(tree: Tree, supply: Supply, injection: Injection, params: ContrastParams) -> Array:
    own = float(supply.flow[injection.tip_node])
    if params.streaming <= 0 or own <= 0:
        return np.ones(len(tree))
    filled = min(1.0, injection.rate_ml_s / own)
    return streaming_factor(tree, supply, injection.tip_node, params.streaming_forks, params.streaming, filled)


def _groups(
    spread: Spread, courses: Courses, arrival: Array, held_up_s: float, signals: Signals
) -> tuple[IntArray, Terms]:
    # A group for each source, one for arteries that contrast does not reach, one for each refluxed segment.
    dark = len(spread.sources)
    group = np.where(spread.source_of >= 0, spread.source_of, dark)[courses.edge]
    parts = []
    for number, source in enumerate(spread.sources):
        signal = signals.add(source.pulse.at(signals.times_s))
        late = held_up_s if number == 0 else 0.0
        parts.append(_term(number, signal, late - float(arrival[source.node]), 1.0))
    if spread.columns:
        rise = Pulse(np.ones(1), np.zeros(1), np.full(1, np.inf), spread.aorta.ramp_s)
        step = signals.add(rise.at(signals.times_s), standing=True)
        for number, (segment, pulse) in enumerate(spread.columns.items(), start=dark + 1):
            group[segment] = number
            parts += _boxes(number, step, pulse)
    return group, Terms.join(parts)


def _boxes(number: int, step: int, pulse: Pulse) -> list[Terms]:
    # A box is a step less a later one.
    parts = []
    for level, begin, end in zip(pulse.level, pulse.begin, pulse.end, strict=True):
        parts.append(_term(number, step, 0.0, level, begin))
        if np.isfinite(end):
            parts.append(_term(number, step, 0.0, -level, end))
    return parts


def _term(owner: int, signal: int, delay_s: float, weight: float, wait_s: float = 0.0) -> Terms:
    def one(x: float) -> Array:
        return np.array([x])

    return Terms(np.array([owner]), np.array([signal]), one(delay_s), one(weight), one(wait_s))
