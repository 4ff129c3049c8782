"""Which way flow runs along every edge, and which reading every junction has: the likeliest of all together.

Each edge runs one way or the other; each junction then has one of the readings that fit. The sum of
their costs (negative log-likelihoods) is made small, under the condition that everything is fed from
the root and nothing feeds itself. Away from loops the root alone decides; in loops it is a search.
It begins with the cheapest ways from the root (Dijkstra's algorithm, where a step from arm to arm
costs what the best reading with that step costs more than the best of all), and goes on by turning
round pieces of the way that leads to a place where two vessels come in, as long as that is cheaper.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from angio_pipeline.numerics.compiled import compiled
from angio_pipeline.vessels.junctions import Junction

__all__ = ["SOURCE", "Choice", "Place", "solve"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SOURCE = -2
"""What feeds an arm that leaves the root."""

_NEVER = 1e6
_BACK_INTO_ROOT = 3.0
_LONGEST_TURN = 8
_ROUNDS = 6
_CIRCLES_BROKEN = 12


@dataclass(slots=True, eq=False)
class Place:
    """A junction with the cost of each of its readings.

    Attributes
    ----------
    fed_by, pattern, cost : ndarray
        As of `Readings`.
    best : ndarray, (2^K,) int64
        The cheapest reading of each pattern, -1 where there is none.
    least : list of float
        What it costs; as plain numbers, which are quicker than an array's where they are read one by one.
    """

    junction: Junction
    fed_by: IntArray
    pattern: IntArray
    cost: Array
    best: IntArray
    least: list[float]

    @classmethod
    def of(cls, junction: Junction, fed_by: IntArray, pattern: IntArray, cost: Array) -> Place:
        """Return the place with its cheapest readings looked up."""
        best = np.full(1 << len(junction.arms), -1, dtype=np.int64)
        order = np.argsort(-cost, kind="stable")
        best[pattern[order]] = order
        return cls(junction, fed_by, pattern, cost, best, np.where(best >= 0, cost[best], _NEVER).tolist())

    def add(self, fed_by: IntArray, pattern: int) -> int:
        """Return the number of a new reading: of junctions of many arms not all are told."""
        self.fed_by = np.vstack([self.fed_by, fed_by])
        self.pattern = np.append(self.pattern, pattern)
        self.cost = np.append(self.cost, float(self.cost.max()) + 1.0)
        self.best[pattern] = len(self.cost) - 1
        self.least[pattern] = float(self.cost[-1])
        return len(self.cost) - 1

    @classmethod
    def end(cls, junction: Junction) -> Place:
        """Return an open end: flow comes in by its one arm."""
        return cls.of(junction, np.array([[-1]]), np.array([1]), np.zeros(1))

    @classmethod
    def root(cls, junction: Junction) -> Place:
        """Return the root: all arms are fed by the source, save what happens to pass over it."""
        arms = len(junction.arms)
        pattern = np.arange(1 << arms, dtype=np.int64)
        inward = (pattern[:, None] >> np.arange(arms)) & 1
        cost = _BACK_INTO_ROOT * inward.sum(axis=1).astype(np.float64)
        return cls.of(junction, np.where(inward > 0, -1, SOURCE), pattern, cost)


@dataclass(slots=True, eq=False)
class Choice:
    """A way to run for every edge and a reading for every place.

    Attributes
    ----------
    reversed : dict of int to bool
        Edges that are settled; True where flow runs from b to a.
    reading : dict of int to int
        For each place the reading that was chosen.
    doubt : dict of int to float
        For each place the probability of all other readings together.
    unsure : dict of int to (K,) array
        For each arm of a place the probability that another arm feeds it, or that flow runs the other way in it.
    cost : float
    """

    reversed: dict[int, bool] = field(default_factory=dict)
    reading: dict[int, int] = field(default_factory=dict)
    doubt: dict[int, float] = field(default_factory=dict)
    unsure: dict[int, Array] = field(default_factory=dict)
    cost: float = 0.0


class _Board:
    """The places, and where the two ends of every edge are arms of them."""

    def __init__(self, places: Sequence[Place], along: Array) -> None:
        # Read one by one, plain numbers are quicker than an array's.
        self.along: list[list[float]] = along.tolist()
        self.places = places
        self.edges = [[arm.edge for arm in place.junction.arms] for place in places]
        self.ends: dict[int, list[tuple[int, int]]] = {}
        for number, place in enumerate(places):
            for bit, arm in enumerate(place.junction.arms):
                self.ends.setdefault(arm.edge, [(-1, -1), (-1, -1)])[arm.end] = (number, bit)

    def head(self, edge: int, turned: bool) -> tuple[int, int]:
        """Return the place into which an edge runs, and which of its arms it is."""
        return self.ends[edge][0 if turned else 1]

    def tail(self, edge: int, turned: bool) -> tuple[int, int]:
        """Return the place from which an edge runs, and which of its arms it is."""
        return self.ends[edge][1 if turned else 0]


def solve(places: Sequence[Place], along: Array, root: int) -> Choice:
    """Return the likeliest choice for all that hangs together with the place `root`.

    Parameters
    ----------
    along : ndarray, (E, 2) float64
        Cost of each edge's running from a to b, and from b to a.
    """
    board = _Board(places, along)
    choice = Choice()
    feeders = _grow(board, root, choice)
    members = sorted({number for edge in choice.reversed for number, _ in board.ends[edge]} | {root})
    state = _State(board, choice, members)
    state.begin(feeders)
    state.improve()
    choice.cost = state.cost()
    choice.reading = state.reading
    choice.doubt = state.doubts()
    choice.unsure = state.unsure()
    return choice


def _grow(board: _Board, root: int, choice: Choice) -> dict[int, int]:
    """Let every edge run away from the root by the cheapest way that reaches it; return which edge feeds each."""
    queue: list[tuple[float, int, bool, int]] = []
    for arm in board.places[root].junction.arms:
        heapq.heappush(queue, (board.along[arm.edge][arm.end], arm.edge, arm.end == 1, SOURCE))
    regrets: dict[int, Array] = {}
    feeders: dict[int, int] = {}
    while queue:
        cost, edge, turned, feeder = heapq.heappop(queue)
        if edge in choice.reversed:
            continue
        choice.reversed[edge], feeders[edge] = turned, feeder
        number, bit = board.head(edge, turned)
        place = board.places[number]
        if number == root or len(place.junction.arms) < 2:
            continue
        if number not in regrets:
            regrets[number] = _regrets(place.fed_by, place.cost)
        for other, arm in enumerate(place.junction.arms):
            if arm.edge not in choice.reversed:
                step = float(regrets[number][bit, other]) + board.along[arm.edge][arm.end]
                heapq.heappush(queue, (cost + step, arm.edge, arm.end == 1, edge))
    return feeders


@compiled
def _regrets(fed_by: IntArray, cost: Array) -> Array:
    # Of each step from arm to arm: what the best reading with it costs more than the best of all.
    arms = fed_by.shape[1]
    out = np.full((arms, arms), 50.0)
    least = cost.min()
    for c in range(len(fed_by)):
        for o in range(arms):
            i = fed_by[c, o]
            if i >= 0:
                out[i, o] = min(out[i, o], cost[c] - least)
    return out


class _State:
    """The search: directions of edges, patterns of places, and the readings chosen."""

    def __init__(self, board: _Board, choice: Choice, members: list[int]) -> None:
        self.board, self.turned, self.members = board, choice.reversed, members
        self.pattern = dict.fromkeys(members, 0)
        for edge, turned in self.turned.items():
            number, bit = board.head(edge, turned)
            self.pattern[number] |= 1 << bit
        self.reading: dict[int, int] = {}
        self.fed_by: dict[int, list[int]] = {}
        self.close: dict[int, float] = {}
        self.close_edge: dict[int, float] = {}

    # --- costs -----------------------------------------------------------------------------------

    def _choose(self, number: int, reading: int) -> None:
        place = self.board.places[number]
        self.reading[number] = reading
        self.fed_by[number] = place.fed_by[reading].tolist() if reading >= 0 else [SOURCE] * len(place.junction.arms)

    def cost(self) -> float:
        """Return the cost of the whole choice."""
        total = sum(self.board.along[edge][turned] for edge, turned in self.turned.items())
        for number in self.members:
            chosen = self.reading[number]
            total += float(self.board.places[number].cost[chosen]) if chosen >= 0 else _NEVER
        return total

    def _gain(self, edges: Sequence[int]) -> float:
        """Return by how much turning these edges round changes the cost, circles aside."""
        change = 0.0
        masks: dict[int, int] = {}
        for edge in edges:
            turned = self.turned[edge]
            change += self.board.along[edge][not turned] - self.board.along[edge][turned]
            for number, bit in self.board.ends[edge]:
                masks[number] = masks.get(number, 0) ^ (1 << bit)
        for number, mask in masks.items():
            if change > _NEVER / 2:
                break
            least, pattern = self.board.places[number].least, self.pattern[number]
            change += least[pattern ^ mask] - least[pattern]
        return change

    # --- readings without circles ----------------------------------------------------------------

    def begin(self, feeders: dict[int, int]) -> None:
        """Choose the readings in which every edge has the feeder given, then better ones that make no circle."""
        for number in self.members:
            self._choose(number, self._reading_with(number, feeders))
        for number in self.members:
            now, best = self.reading[number], int(self.board.places[number].best[self.pattern[number]])
            if best != now:
                self._choose(number, best)
                # There was none before: one that is new passes here.
                arms = self.board.places[number].junction.arms
                if self._circle(arm.edge for arm in arms if arm.edge in self.turned) is not None:
                    self._choose(number, now)

    def _reading_with(self, number: int, feeders: dict[int, int]) -> int:
        place, pattern, arms = self.board.places[number], self.pattern[number], self.board.edges[number]
        fed_by = np.full(len(arms), -1, dtype=np.int64)
        for bit, edge in enumerate(arms):
            if not pattern >> bit & 1:
                fed_by[bit] = self._arm_in(arms, feeders[edge], pattern)
        same = np.flatnonzero(place.pattern == pattern)
        right = same[(place.fed_by[same] == fed_by).all(axis=1)]
        return int(right[0]) if len(right) else place.add(fed_by, pattern)

    @staticmethod
    def _arm_in(arms: list[int], edge: int, pattern: int) -> int:
        # The arm by which an edge comes in; one that leaves and comes back is an arm twice.
        found = [bit for bit, other in enumerate(arms) if other == edge and pattern >> bit & 1]
        return found[0] if found else SOURCE

    def _settle(self, touched: Sequence[int]) -> bool:
        """Give places whose pattern has changed their best reading, and break what circles that makes, if possible."""
        for number in touched:
            self._choose(number, int(self.board.places[number].best[self.pattern[number]]))
        # There was none before: one that is new passes where something has changed.
        arms = (arm.edge for number in touched for arm in self.board.places[number].junction.arms)
        if self._circle(edge for edge in arms if edge in self.turned) is None:
            return True
        for _ in range(_CIRCLES_BROKEN):
            circle = self._circle()
            if circle is None:
                return True
            if not self._break(circle):
                return False
        return self._circle() is None

    def feeder(self, edge: int) -> int | None:
        """Return the edge that feeds an edge; None at the root."""
        number, bit = self.board.ends[edge][1 if self.turned[edge] else 0]
        by = self.fed_by[number][bit]
        return None if by < 0 else self.board.edges[number][by]

    def _circle(self, starts: Iterable[int] | None = None) -> list[int] | None:
        """Return edges that feed each other in a circle, looked for from some edges, or from all."""
        done: set[int] = set()
        for start in self.turned if starts is None else starts:
            way: list[int] = []
            on_way: set[int] = set()
            edge: int | None = start
            while edge is not None and edge not in done:
                if edge in on_way:
                    return way[way.index(edge) :]
                way.append(edge)
                on_way.add(edge)
                edge = self.feeder(edge)
            done.update(way)
        return None

    def _break(self, circle: list[int]) -> bool:
        """Take, of all readings that feed one edge of the circle from elsewhere, the one that costs least more."""
        best: tuple[float, int, int] | None = None
        inside = set(circle)
        for edge in circle:
            number, bit = self.board.tail(edge, self.turned[edge])
            place = self.board.places[number]
            now = self.reading[number]
            for other in np.flatnonzero(place.pattern == self.pattern[number]):
                by = int(place.fed_by[other, bit])
                if by >= 0 and place.junction.arms[by].edge in inside:
                    continue
                more = float(place.cost[other] - place.cost[now])
                if best is None or more < best[0]:
                    best = (more, number, int(other))
        if best is None:
            return False
        self._choose(best[1], best[2])
        return True

    # --- search ----------------------------------------------------------------------------------

    def improve(self) -> None:
        """Turn round ways that lead to where two vessels come in, while that is cheaper."""
        refused: set[tuple[int, ...]] = set()
        least = self.cost()
        for _ in range(_ROUNDS):
            self.close, self.close_edge = {}, {}
            better = False
            for number in self.members:
                for edges in self._turns(number):
                    gain = self._gain(edges)
                    if gain >= -1e-6:
                        self._note(edges, gain)
                    elif edges not in refused:
                        cost = self._try(edges, least)
                        if cost < least:
                            least, better = cost, True
                            break
                        refused.add(edges)
            if not better:
                return

    def _turns(self, number: int) -> list[tuple[int, ...]]:
        """Return the ways up from each arm by which flow comes in, where at least two do."""
        pattern = self.pattern[number]
        inward = [edge for bit, edge in enumerate(self.board.edges[number]) if pattern >> bit & 1]
        if len(inward) < 2:
            return []
        found = []
        for start in inward:
            way = [start]
            while len(way) <= _LONGEST_TURN:
                found.append(tuple(way))
                above = self.feeder(way[-1])
                if above is None or above in way:
                    break
                way.append(above)
        return found

    def _try(self, edges: tuple[int, ...], before: float) -> float:
        """Turn edges round if that is cheaper with circles broken; return the cost, which is that before if not."""
        kept = dict(self.turned), dict(self.pattern), dict(self.reading), dict(self.fed_by)
        for edge in edges:
            for number, bit in self.board.ends[edge]:
                self.pattern[number] ^= 1 << bit
            self.turned[edge] = not self.turned[edge]
        touched = {number for edge in edges for number, _ in self.board.ends[edge]}
        if self._settle(sorted(touched)) and (cost := self.cost()) < before - 1e-6:
            return cost
        self.turned.clear()
        self.turned.update(kept[0])
        self.pattern, self.reading, self.fed_by = kept[1], kept[2], kept[3]
        return before

    def _note(self, edges: Sequence[int], gain: float) -> None:
        for edge in edges:
            if gain < self.close_edge.get(edge, np.inf):
                self.close_edge[edge] = gain
            for number, _ in self.board.ends[edge]:
                if gain < self.close.get(number, np.inf):
                    self.close[number] = gain

    def doubts(self) -> dict[int, float]:
        """Return for each place how likely it is that another reading is right."""
        found = {}
        for number in self.members:
            place, chosen = self.board.places[number], self.reading[number]
            if chosen < 0:
                found[number] = 1.0
                continue
            same = place.cost[place.pattern == self.pattern[number]]
            other = 1.0 - 1.0 / float(np.exp(np.clip(place.cost[chosen] - same, -50, 50)).sum())
            found[number] = max(other, _probability(self.close.get(number, np.inf)))
        return found

    def unsure(self) -> dict[int, Array]:
        """Return for each arm of each place how likely it is that it is fed otherwise."""
        found = {}
        for number in self.members:
            place, chosen = self.board.places[number], self.reading[number]
            arms = place.junction.arms
            if chosen < 0:
                found[number] = np.ones(len(arms))
                continue
            same = np.flatnonzero(place.pattern == self.pattern[number])
            likely = np.exp(np.clip(place.cost[chosen] - place.cost[same], -50, 50))
            other = likely @ (place.fed_by[same] != place.fed_by[chosen]) / likely.sum()
            turned = [_probability(self.close_edge.get(arm.edge, np.inf)) for arm in arms]
            found[number] = np.maximum(other, turned)
        return found


def _probability(gain: float) -> float:
    """Return how likely the other of two choices is that costs so much more."""
    return 1.0 / (1.0 + float(np.exp(min(max(gain, 0.0), 50.0))))
