"""How much a way into a tumour looks like its feeder, by named measurements.

A feeder heads for the tumour's middle, goes on inside it, gives its flow to it, fills before the blush does, and is
the strongest of the vessels that come in; where a network has told what feeds the tumour, that says most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from angio_pipeline.core.runs import SubtractedRun
from angio_pipeline.core.tumours import Tumour
from angio_pipeline.core.vessels import Branch, VesselGraph
from angio_pipeline.numerics.curves import first_crossing
from angio_pipeline.tumour.ways import TreeFlow, Way

__all__ = ["Surroundings", "features", "feeder_probability", "mean_arrival_s", "measure_way"]

# Bias, and for each feature of `features` its middle, its spread and its weight, as scripts/fit_feeders.py fits them to
# 34 simulated patients that no test uses; ways were ranked by one fit and fitted again until that changed little.
_MAPPED: tuple[float, Mapping[str, tuple[float, float, float]]] = (
    -3.617,
    {
        "mapped": (-3.175, 2.520, 0.817),
        "mapped_least": (-3.784, 2.379, 1.256),
        "own_length": (0.563, 0.797, 0.468),
        "gap_over_reach": (0.224, 0.309, -0.487),
        "heading": (0.746, 0.319, 0.254),
        "length_inside": (0.851, 1.096, 0.268),
        "inside_share": (0.342, 0.346, -0.150),
        "own_share": (0.900, 0.262, 0.250),
        "calibre": (0.224, 0.116, 0.083),
        "contrast": (0.386, 0.322, 0.101),
        "blush_delay": (0.408, 0.393, -0.641),
        "rooted": (0.993, 0.086, 0.357),
        "beside_likelier": (0.229, 0.175, -1.096),
    },
)
_BY_TREE: tuple[float, Mapping[str, tuple[float, float, float]]] = (
    -3.287,
    {
        "own_length": (0.552, 0.801, 0.460),
        "gap_over_reach": (0.214, 0.295, -0.135),
        "heading": (0.743, 0.321, 2.020),
        "length_inside": (0.909, 1.136, 0.407),
        "inside_share": (0.350, 0.347, 0.303),
        "own_share": (0.928, 0.208, 0.220),
        "calibre": (0.225, 0.117, -0.038),
        "contrast": (0.398, 0.331, 0.408),
        "blush_delay": (0.420, 0.395, -0.060),
        "rooted": (0.992, 0.088, -0.022),
        "beside_likelier": (0.221, 0.173, -0.894),
    },
)


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What the evidence of all ways into one tumour is measured against.

    Attributes
    ----------
    distance : ndarray, (H, W) float64
        Distance from the tumour, pixels; 0 inside.
    blush_arrival_s : float
        When the tumour's mean curve rises through half its peak; NaN when it never does.
    strongest, widest : float
        Greatest contrast of a branch that comes in, and greatest radius in the tree.
    feeding : ndarray, (H, W) float32, or None
        Probability of belonging to a branch that feeds this tumour alone, from a network.
    """

    tumour: Tumour
    graph: VesselGraph
    flow: TreeFlow
    distance: npt.NDArray[np.float64]
    reach_px: float
    blush_arrival_s: float
    strongest: float
    widest: float
    feeding: npt.NDArray[np.float32] | None

    @classmethod
    def of(
        cls,
        tumour: Tumour,
        graph: VesselGraph,
        flow: TreeFlow,
        sub: SubtractedRun,
        ways: Sequence[Way],
        *,
        distance: npt.NDArray[np.float64],
        reach_px: float,
        feeding: npt.NDArray[np.float32] | None,
    ) -> Surroundings:
        """Return what the ways are measured against."""
        strongest = max((_contrast(graph.branches[way.branches[-1]]) for way in ways if way.branches), default=0.0)
        widest = max(float(np.median(branch.radius_px)) for branch in graph.branches)
        arrival = _blush_arrival(tumour, sub)
        return cls(tumour, graph, flow, distance, reach_px, arrival, strongest, max(widest, 0.5), feeding)


def measure_way(way: Way, around: Surroundings) -> dict[str, float]:
    """Return named measurements of a way; NaN where nothing of the tree lies under it, so that they are not known.

    mapped, mapped_least : what the network says on average, and at the least likely tenth, of the tumour's own part;
        NaN without a network
    own_length_over_reach : how long the tumour's own part is, in reaches
    gap_over_reach : how far from the tumour the way ends, in reaches
    heading : cosine between the way's end and the direction to the tumour's middle
    length_inside_over_radius, inside_share : what goes on inside the tumour, in its radii, and as a share of all that
        the way flows into
    own_share : share of the last branch's flow that ends in the tumour
    calibre_over_widest, contrast_over_strongest : of the last branch
    blush_delay_s : how much later the blush fills
    rooted : whether the way begins at the tree's root
    beside_likelier : share of the whole way that runs beside a likelier one; NaN until the ways are ranked
    """
    line, distance = way.own, around.distance
    heading = line[-1] - line[max(0, len(line) - 11)]
    to_centre = np.array(around.tumour.centroid) - line[-1]
    sizes = float(np.linalg.norm(heading) * np.linalg.norm(to_centre))
    return {
        **_mapped(way, around),
        "own_length_over_reach": float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) / around.reach_px,
        "gap_over_reach": float(distance[tuple(np.round(line[-1]).astype(int))] / around.reach_px),
        "heading": float(heading @ to_centre / sizes) if sizes > 0 else 0.0,
        **_inside(way, around),
        **_of_last_branch(way, around),
        "rooted": float(_rooted(way, around.graph)) if (*way.before, *way.branches) else float("nan"),
        "beside_likelier": float("nan"),
    }


def _mapped(way: Way, around: Surroundings) -> dict[str, float]:
    if around.feeding is None:
        return {"mapped": float("nan"), "mapped_least": float("nan")}
    # Nearby counts: a centreline may run a pixel beside the map's ridge.
    near = ndimage.maximum_filter(around.feeding, size=3)
    said = ndimage.map_coordinates(near, way.own.T, order=1, mode="nearest")
    outside = said[ndimage.map_coordinates(around.distance, way.own.T, order=1, mode="nearest") >= 1]
    said = outside if len(outside) else said
    return {"mapped": float(said.mean()), "mapped_least": float(np.percentile(said, 10))}


def _inside(way: Way, around: Surroundings) -> dict[str, float]:
    radius = max(float(np.sqrt(around.tumour.area_px / np.pi)), 1.0)
    if not way.branches:
        return dict.fromkeys(("length_inside_over_radius", "inside_share"), float("nan"))
    beyond = np.vstack([around.graph.branches[k].centreline for k in around.graph.beyond(way.branches[-1])])
    inside = ndimage.map_coordinates(around.distance, beyond.T, order=1, mode="nearest") < 1
    return {
        "length_inside_over_radius": float(inside.sum() / radius),
        "inside_share": float(inside.sum() / max(len(inside), 1)),
    }


def _of_last_branch(way: Way, around: Surroundings) -> dict[str, float]:
    if not way.branches:
        # Nothing of the tree lies under it: nothing is known of it.
        names = ("own_share", "calibre_over_widest", "contrast_over_strongest", "blush_delay_s")
        return dict.fromkeys(names, float("nan"))
    last = around.graph.branches[way.branches[-1]]
    return {
        "own_share": float(around.flow.share[way.branches[-1]]),
        "calibre_over_widest": float(np.median(last.radius_px)) / around.widest,
        "contrast_over_strongest": _contrast(last) / max(around.strongest, 1e-6),
        "blush_delay_s": around.blush_arrival_s - mean_arrival_s(last),
    }


def _rooted(way: Way, graph: VesselGraph) -> bool:
    first = (*way.before, *way.branches)[:1]
    return (
        graph.root is not None
        and bool(first)
        and len(way.upstream) > 0
        and (graph.branches[first[0]].start == graph.root)
    )


def features(evidence: Mapping[str, float]) -> dict[str, float]:
    """Return what the probability is a logistic of; NaN where it is not known."""
    return {
        "mapped": _logit(evidence["mapped"]),
        "mapped_least": _logit(evidence["mapped_least"]),
        # Twice as long says as much from one reach to two as from two to four.
        "own_length": float(np.log(max(evidence["own_length_over_reach"], 0.2))),
        "gap_over_reach": min(evidence["gap_over_reach"], 3.0),
        "heading": evidence["heading"],
        "length_inside": float(np.minimum(evidence["length_inside_over_radius"], 3.0)),
        "inside_share": evidence["inside_share"],
        "own_share": evidence["own_share"],
        "calibre": evidence["calibre_over_widest"],
        "contrast": evidence["contrast_over_strongest"],
        "blush_delay": float(np.clip(evidence["blush_delay_s"], -3.0, 6.0)),
        "rooted": evidence["rooted"],
        # Most ways share their beginning: only what is more than half is beside another.
        "beside_likelier": float(np.maximum(evidence["beside_likelier"] - 0.5, 0.0)),
    }


def _logit(probability: float) -> float:
    inside = float(np.clip(probability, 0.005, 0.995))
    return float(np.log(inside / (1 - inside)))


def feeder_probability(evidence: Mapping[str, float]) -> float:
    """Return how likely a way feeds the tumour, if that is one, from what `measure_way` returns."""
    known = features(evidence)
    score, weights = _MAPPED if np.isfinite(known["mapped"]) else _BY_TREE
    for name, (middle, scale, weight) in weights.items():
        # What is not known speaks neither for nor against.
        if np.isfinite(known[name]):
            score += weight * (known[name] - middle) / scale
    return float(1 / (1 + np.exp(-score)))


def _contrast(branch: Branch) -> float:
    return float(np.median(branch.contrast)) if branch.contrast is not None and len(branch.contrast) else 0.0


def mean_arrival_s(branch: Branch) -> float:
    """Return the mean arrival of a branch, seconds; NaN when unknown."""
    return float(np.nanmean(branch.arrival_s)) if np.isfinite(branch.arrival_s).any() else float("nan")


def _blush_arrival(tumour: Tumour, sub: SubtractedRun) -> float:
    curve = sub.frames[:, tumour.mask].mean(axis=1)[sub.usable].astype(np.float32)
    level = np.array(0.5 * curve.max(), dtype=np.float32)
    return float(first_crossing(curve[:, None], sub.times_s[sub.usable], level[None])[0])
