"""Contrast in the veins: from spleen and bowel into the portal vein, from the liver into the hepatic veins.

Where veins join, their curves are mixed in proportion to flow, term by term, so that iodine and its
times are kept. The portal vein brings the blood that dilutes what the hepatic artery gave; a shunt
opens into a vein without any tissue between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.anatomy.courses import Courses
from angio_pipeline.simulate.anatomy.tree import Tree
from angio_pipeline.simulate.circulation.flows import (
    Drains,
    carried,
    node_times,
    order_of,
    segment_ml,
    shed,
    time_from_root,
)
from angio_pipeline.simulate.circulation.mixtures import Filling
from angio_pipeline.simulate.circulation.signals import BIN_S, Signals, Terms

__all__ = ["Joined", "Opening", "Outflow", "Portal", "fill_joining", "fill_portal"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Opening:
    """A shunt that opens into `node` with `flow_ml_s`; `terms` (owner 0) are the iodine it brings, mg/s."""

    node: int
    flow_ml_s: float
    terms: Terms


@dataclass(frozen=True, slots=True, eq=False)
class Outflow:
    """What leaves some places: their points (K, 3) mm, blood (K,) ml/s, and iodine (owners 0 to K - 1), mg/s."""

    at_mm: Array
    flow_ml_s: Array
    terms: Terms


@dataclass(frozen=True, slots=True, eq=False)
class Portal:
    """The portal tree: its filling, the flow through each segment (S,), and what its ends hand to the liver."""

    filling: Filling
    flow_ml_s: Array
    leaving: Outflow


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Veins that join: filling, flow through each segment (S,) ml/s, and the iodine at the root (mg/s, owner 0)."""

    filling: Filling
    flow_ml_s: Array
    at_root: Terms


def fill_portal(
    tree: Tree, courses: Courses, scale: float, collected: Terms, openings: list[Opening], signals: Signals
) -> Portal:
    """Return the portal tree, its native flow scaled by `scale`, with what is collected at its root (mg/s, owner 0).

    Below a shunt's opening flow grows by the shunt's own, and its blood mixes with the vein's.
    """
    parent = np.asarray(tree.parent, np.int64)
    order = order_of(parent)
    drawn = shed(parent, scale * np.asarray(tree.flow, float))
    native = carried(parent, order, drawn)
    regions = _regions(parent, order, native, openings)
    flow = native * regions.growth_of
    middle, end = time_from_root(courses, segment_ml(courses), flow)
    arrival = node_times(courses, end, len(tree))
    # Concentrations from here on: a fork hands on its own to every branch.
    mixed = [signals.binned(collected.scaled(1 / max(float(flow[0]), 1e-9)))]
    for above, opening, share in regions.made:
        brought = opening.terms.scaled(share / opening.flow_ml_s, -float(arrival[opening.node]))
        mixed.append(Terms.join([mixed[above].scaled(1 - share), brought]))
    terms = Terms.join([part.given_to(number) for number, part in enumerate(mixed)])
    filling = Filling(terms, regions.region_of[courses.edge], middle, (flow[courses.edge] > 0).astype(float))
    nodes = np.flatnonzero(drawn > 0)
    leaving = drawn[nodes] * regions.growth_at[nodes]
    iodine = terms.of(regions.region_at[nodes], arrival[nodes], leaving)
    filling = filling.held(signals)
    return Portal(filling, flow[courses.edge], Outflow(np.asarray(tree.position, float)[nodes], leaving, iodine))


@dataclass(frozen=True, slots=True, eq=False)
class _Regions:
    # Parts of the portal tree between shunts: of each edge, and at each node below any shunt there.
    region_of: IntArray
    region_at: IntArray
    growth_of: Array
    growth_at: Array
    made: list[tuple[int, Opening, float]]


def _regions(parent: IntArray, order: IntArray, native: Array, openings: list[Opening]) -> _Regions:
    region_of, region_at = np.zeros(len(parent), np.int64), np.zeros(len(parent), np.int64)
    growth_of, growth_at = np.ones(len(parent)), np.ones(len(parent))
    made: list[tuple[int, Opening, float]] = []
    for node in order.tolist():
        if parent[node] >= 0:
            region_of[node], growth_of[node] = region_at[parent[node]], growth_at[parent[node]]
        region_at[node], growth_at[node] = region_of[node], growth_of[node]
        for opening in openings:
            if opening.node == node and opening.flow_ml_s > 0:
                before = max(float(native[node] * growth_at[node]), 1e-9)
                made.append((int(region_at[node]), opening, opening.flow_ml_s / (before + opening.flow_ml_s)))
                region_at[node] = len(made)
                growth_at[node] *= (before + opening.flow_ml_s) / before
    return _Regions(region_of, region_at, growth_of, growth_at, made)


def fill_joining(
    tree: Tree, courses: Courses, drained: list[tuple[Outflow, Drains]], openings: list[Opening], signals: Signals
) -> Joined:
    """Return veins whose blood runs to the root, filled with what drains into them.

    Each vein's flow is that of all that joins above it.
    """
    parent = np.asarray(tree.parent, np.int64)
    order = order_of(parent)
    drawn = np.zeros(len(tree))
    for outflow, (who, node, share) in drained:
        np.add.at(drawn, node, outflow.flow_ml_s[who] * share)
    for opening in openings:
        drawn[opening.node] += opening.flow_ml_s
    flow = carried(parent, order, drawn)
    middle, end = time_from_root(courses, segment_ml(courses), flow)
    to_root = node_times(courses, end, len(tree))
    parts = [opening.terms.scaled(1.0, float(to_root[opening.node])).given_to(opening.node) for opening in openings]
    for outflow, (who, node, share) in drained:
        parts.append(outflow.terms.of(who, to_root[node], share).given_to(node))
    terms = _confluence(signals.binned(Terms.join(parts)), parent, order)
    through = flow[courses.edge]
    strength = np.divide(1.0, through, out=np.zeros_like(through), where=through > 0)
    at_root = terms.of(np.zeros(1, np.int64), np.zeros(1), np.ones(1))
    return Joined(Filling(terms, courses.edge, -middle, strength).held(signals), through, at_root)


def _confluence(terms: Terms, parent: IntArray, order: IntArray) -> Terms:
    # Every edge carries the terms of all that joins at or above its end: summed on one grid of signal and delay.
    if len(terms.weight) == 0:
        return terms
    bins = np.rint(terms.delay_s / BIN_S).astype(np.int64)
    columns, column = np.unique(np.stack([terms.signal, bins]), axis=1, return_inverse=True)
    total: Array = np.zeros((len(parent), columns.shape[1]))
    np.add.at(total, (terms.owner, column.ravel()), terms.weight)
    _add_up(parent, order, total)
    owner, place = np.nonzero(total)
    return Terms(owner, columns[0, place], columns[1, place].astype(float) * BIN_S, total[owner, place])


def _add_up(parent: IntArray, order: IntArray, total: Array) -> None:
    for k in range(len(order) - 1, 0, -1):
        total[parent[order[k]]] += total[order[k]]


_add_up = numba.njit(cache=True)(_add_up)
