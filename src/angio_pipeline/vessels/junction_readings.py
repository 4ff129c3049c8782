"""What may happen at a place where vessels meet, and how likely each possibility is.

A reading says of each arm of a junction whether flow comes in by it or goes out, and from which
incoming arm each outgoing one is fed: an incoming arm that feeds one other passes through (over or
under whatever else is there), one that feeds two or more divides, one that feeds none ends here. So a
crossing is two arms that pass, a bifurcation one that divides, and two close bifurcations one that
divides in three.

Every reading is measured by the same named quantities, and their weighted sum is its log-likelihood:
turn, lateral offset, calibre, contrast and arrival from arm to arm; Murray's law where an arm divides
(doi:10.1073/pnas.12.3.207), of radii and of attenuation; and whether the middle attenuates what the
vessels that run through it attenuate together, since attenuation adds where they overlap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product

import numpy as np
import numpy.typing as npt

from angio_pipeline.numerics.compiled import compiled
from angio_pipeline.vessels.junctions import MOST_ARMS, Arms, Junction

__all__ = ["FEATURES", "Readings", "readings_of"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# A multinomial logistic model of what `readings_of` measures, in its order. Fitted with a ridge penalty of 1 by
# `benchmarks/graph_weights.py`: see there for the trees, their seeds and how the true reading is known. No patient
# took part.
_WEIGHTS: Mapping[str, float] = {
    "pass": 1.47,
    "pass_turn": -0.53,
    "pass_angle": -2.02,
    "pass_offset": -1.19,
    "pass_contrast": -0.56,
    "pass_calibre": -0.47,
    "pass_untimely": 0.35,
    "pass_early": -1.73,
    "pass_late": -0.34,
    "fork": -0.06,
    "fork_turn_main": -3.12,
    "fork_turn_side": -2.84,
    "fork_opening": 0.84,
    "fork_contrast": -0.73,
    "fork_widening": -1.67,
    "fork_calibre": -1.81,
    "fork_untimely": 3.29,
    "fork_early": -4.27,
    "fork_late": -0.67,
    "fork_more": -0.35,
    "end": -2.41,
    "end_contrast": -0.35,
    "sum_under": -0.0,
    "sum_over": -1.32,
    "empty": -0.27,
    "single": 0.35,
}

_WEIGHT_OF = np.array(list(_WEIGHTS.values()))
FEATURES = tuple(_WEIGHTS)
"""What is measured of a reading; sums over its arms, so that a reading with two forks counts both.

pass, fork, end, fork_more : arms that pass, divide or end here; children of forks beyond two
pass_turn, pass_angle : 1 - cos of the turn from arm to arm, and the angle, radians
pass_offset : how far the two lie beside each other, in widths
pass_contrast, pass_calibre : absolute log ratios from arm to arm
fork_turn_main, fork_turn_side, fork_opening : 1 - cos of the turns into the child that carries the vessel on and into
    the others, and of the angle between them
fork_contrast, fork_calibre : absolute log of what the children come to by Murray's law over the parent's
fork_widening : log of the widest child's contrast over the parent's, where it is greater
..._untimely, _early, _late : how far arrival is from what the speed on both sides lets expect, in standard deviations:
    up to one either way, up to five before, up to five after
end_contrast : log of an ending arm's contrast over the greatest of all arms
sum_under, sum_over : log of what the middle attenuates over what is expected of it, below and above nothing
empty : share of the middle through which nothing runs
single : one vessel comes in
"""

_SUREST_S = 0.02
_UNSURE_S = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """All readings of a junction of K arms.

    Attributes
    ----------
    fed_by : ndarray, (C, K) int64
        For each arm the arm that feeds it; -1 where flow comes in.
    pattern : ndarray, (C,) int64
        Bit k is set where flow comes in by arm k.
    features : ndarray, (C, F) float64
    """

    fed_by: IntArray
    pattern: IntArray
    features: Array

    def cost(self) -> Array:
        """Return (C,) the negative log-likelihood of each reading, up to a constant of the junction."""
        return np.asarray(-self.features @ _WEIGHT_OF)


def readings_of(junction: Junction, arms: Arms, scale: float) -> Readings:
    """Return the readings of a junction with what speaks for and against each.

    Parameters
    ----------
    scale : float
        Frame size over 512.
    """
    fed_by, pattern = _all_readings(len(junction.arms))
    features = _features(
        fed_by,
        arms.place,
        arms.heading,
        np.maximum(arms.radius_px, 0.3),
        np.maximum(arms.contrast, 1e-4),
        arms.arrival_s,
        arms.slowness,
        arms.arrival_sd_s,
        arms.way_px,
        np.maximum(arms.middle, 1e-4),
        junction.beyond,
        scale,
        len(FEATURES),
    )
    return Readings(fed_by, pattern, features)


@lru_cache(maxsize=16)
def _all_readings(arms: int) -> tuple[IntArray, IntArray]:
    """Return who feeds whom in every reading, and by which arms flow comes in; of many arms only by few."""
    fed_by, pattern = [], []
    most = arms if arms <= MOST_ARMS else 2 if arms <= 9 else 1
    for count in range(1, most + 1):
        for inward in combinations(range(arms), count):
            outward = [k for k in range(arms) if k not in inward]
            for parents in product(inward, repeat=len(outward)):
                row = np.full(arms, -1, dtype=np.int64)
                row[outward] = parents
                fed_by.append(row)
                pattern.append(sum(1 << k for k in inward))
    return np.array(fed_by, dtype=np.int64).reshape(-1, arms), np.array(pattern, dtype=np.int64)


@compiled
def _lateness(place: Array, arrival: Array, slowness: Array, spread: Array, way: Array) -> Array:
    # Of each step from arm to arm: by how many standard deviations contrast comes later than it should, as
    # fast as it moves on either side; 0 when unknown.
    arms = len(place)
    out = np.zeros((arms, arms))
    for i in range(arms):
        for o in range(arms):
            gap = arrival[o] - arrival[i]
            if i == o or gap != gap:
                continue
            between = np.hypot(place[o, 0] - place[i, 0], place[o, 1] - place[i, 1])
            before, after = max(-slowness[i], 0.0), max(slowness[o], 0.0)
            expected = before * (way[i] + 0.5 * between) + after * (way[o] + 0.5 * between)
            one = spread[i] if spread[i] == spread[i] else _UNSURE_S
            two = spread[o] if spread[o] == spread[o] else _UNSURE_S
            out[i, o] = (gap - expected) / np.sqrt(one * one + two * two + _SUREST_S**2)
    return out


@compiled
def _log_ratio(a: float, b: float) -> float:
    return float(min(max(np.log(a / b), -1.5), 1.5))


@compiled
def _features(
    fed_by: IntArray, place: Array, heading: Array, radius: Array, contrast: Array, arrival: Array, slowness: Array,
    spread: Array, way: Array, middle: Array, beyond: npt.NDArray[np.bool_], scale: float, width: int,
) -> Array:  # fmt: skip
    count, arms = fed_by.shape
    late = _lateness(place, arrival, slowness, spread, way)
    out = np.zeros((count, width))
    turn = np.empty((arms, arms))
    for i in range(arms):
        for o in range(arms):
            turn[i, o] = 1.0 + heading[i, 0] * heading[o, 0] + heading[i, 1] * heading[o, 1]
    children = np.empty(arms, dtype=np.int64)
    for c in range(count):
        inward = 0
        for i in range(arms):
            if fed_by[c, i] >= 0:
                continue
            inward += 1
            used = 0
            for o in range(arms):
                if fed_by[c, o] == i:
                    children[used] = o
                    used += 1
            if used == 0:
                out[c, 20] += 1.0
                out[c, 21] += _log_ratio(contrast[i], contrast.max())
            elif used == 1:
                _add_pass(out[c], i, children[0], turn, place, heading, radius, contrast, late, scale)
            else:
                _add_fork(out[c], i, children[:used], turn, heading, radius, contrast, late)
        _add_sum(out[c], fed_by[c], contrast, middle, beyond)
        out[c, 25] = 1.0 if inward == 1 else 0.0
    return out


@compiled
def _add_pass(
    row: Array, i: int, o: int, turn: Array, place: Array, heading: Array, radius: Array, contrast: Array,
    late: Array, scale: float,
) -> None:  # fmt: skip
    row[0] += 1.0
    row[1] += turn[i, o]
    row[2] += np.arccos(min(1.0, max(-1.0, 1.0 - turn[i, o])))
    # Seen along the mean direction: nothing on a straight line or an arc.
    br, bc = heading[o, 0] - heading[i, 0], heading[o, 1] - heading[i, 1]
    norm = np.hypot(br, bc)
    vr, vc = place[o, 0] - place[i, 0], place[o, 1] - place[i, 1]
    side = abs(vr * bc - vc * br) / norm if norm > 0.2 else np.hypot(vr, vc)
    row[3] += min(side / (radius[i] + radius[o] + scale), 3.0)
    row[4] += abs(_log_ratio(contrast[o], contrast[i]))
    row[5] += abs(_log_ratio(radius[o], radius[i]))
    row[6] += min(abs(late[i, o]), 1.0)
    row[7] += min(max(-late[i, o], 0.0), 5.0)
    row[8] += min(max(late[i, o], 0.0), 5.0)


@compiled
def _add_fork(
    row: Array, i: int, children: IntArray, turn: Array, heading: Array, radius: Array, contrast: Array, late: Array
) -> None:
    # The child that carries the vessel on is wide and straight.
    main, most = children[0], -1.0
    for o in children:
        worth = contrast[o] * (1.5 - 0.5 * turn[i, o])
        if worth > most:
            main, most = o, worth
    side = opening = cubes = radii = widest = 0.0
    for o in children:
        cubes += contrast[o] ** 3
        radii += radius[o] ** 3
        widest = max(widest, contrast[o])
        row[16] += min(abs(late[i, o]), 1.0) / len(children)
        row[17] += min(max(-late[i, o], 0.0), 5.0) / len(children)
        row[18] += min(max(late[i, o], 0.0), 5.0) / len(children)
        if o != main:
            side += turn[i, o]
            opening += 1.0 - heading[o, 0] * heading[main, 0] - heading[o, 1] * heading[main, 1]
    others = len(children) - 1
    row[9] += 1.0
    row[10] += turn[i, main]
    row[11] += side / others
    row[12] += opening / others
    row[13] += abs(_log_ratio(cubes ** (1.0 / 3.0), contrast[i]))
    row[14] += max(0.0, _log_ratio(widest, contrast[i]))
    row[15] += abs(_log_ratio(radii ** (1.0 / 3.0), radius[i]))
    row[19] += others - 1.0


@compiled
def _add_sum(row: Array, fed_by: IntArray, contrast: Array, middle: Array, beyond: npt.NDArray[np.bool_]) -> None:
    # What the vessels that run through the middle attenuate together, against what is seen there.
    arms = len(fed_by)
    for s in range(len(middle)):
        expected = 0.0
        for i in range(arms):
            across = here = 0
            cubes = 0.0
            for o in range(arms):
                if fed_by[i] >= 0 or fed_by[o] != i:
                    continue
                if len(beyond) == 0 or beyond[s, o] != beyond[s, i]:
                    across += 1
                    cubes += contrast[o] ** 3
                else:
                    here += 1
            if across > 0:
                expected += contrast[i] if here == 0 else cubes ** (1.0 / 3.0)
        if expected <= 0.0:
            row[24] += 1.0 / len(middle)
            continue
        gap = _log_ratio(middle[s], expected)
        row[22] += max(-gap, 0.0) / len(middle)
        row[23] += max(gap, 0.0) / len(middle)
