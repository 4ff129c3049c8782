"""Veins that fill with the arteries, where a network has told which pixels are vein.

Strategy: every branch of the arterial tree and every piece of a told vein is asked how likely it is a vein that fills
early, by a logistic of how contrast fills it (`filling`). Pieces that lie together are one drainage; how much length
of it is likely decides whether it is a shunt. One likely piece alone is none: an artery that fills late looks so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from angio_pipeline.core.params import Params
from angio_pipeline.core.runs import PerfusionMaps, SubtractedRun
from angio_pipeline.core.tumours import Shunt, ShuntKind
from angio_pipeline.core.vessels import VesselGraph, VesselSegmentation
from angio_pipeline.tumour.courses import Course, branch_courses, vein_courses
from angio_pipeline.tumour.filling import Filling, features, measure_filling

__all__ = [
    "Drainage",
    "EarlyVeinParams",
    "drainage_features",
    "drainages",
    "early_veins",
    "fill_courses",
    "vein_probability",
    "working_factor",
]

Table = tuple[float, Mapping[str, tuple[float, float, float]]]

# Bias, and for each feature its middle, its spread and its weight, as scripts/fit_shunts.py prints them: for branches
# of the arterial tree, for told veins, and for what they drain into together.
_BRANCH: Table = (
    -6.602,
    {
        "radius": (0.556, 0.437, 1.344),
        "length": (3.015, 0.585, 0.066),
        "contrast_in_noise": (2.469, 0.718, -1.259),
        "contrast_share": (-0.976, 0.731, 1.627),
        "density": (-0.394, 0.500, -0.045),
        "evenness": (-0.154, 0.102, 0.561),
        "arrival": (0.237, 0.279, 0.919),
        "emptying": (0.252, 0.318, 0.034),
        "passage": (0.161, 0.205, 1.130),
        "late": (0.140, 0.132, -1.051),
        "vein": (-2.430, 1.861, 1.339),
        "artery": (2.542, 1.280, -0.390),
        "over_parent": (-0.282, 0.402, -0.877),
        "supply": (-0.962, 0.327, 0.733),
    },
)
_TOLD: Table = (
    -4.839,
    {
        "radius": (1.970, 0.446, -0.064),
        "length": (3.079, 0.401, 0.805),
        "contrast_in_noise": (2.395, 0.704, 0.008),
        "contrast_share": (-1.032, 0.743, 0.422),
        "density": (-1.824, 0.892, -0.287),
        "evenness": (-0.731, 0.615, 0.797),
        "arrival": (0.335, 0.578, -0.107),
        "emptying": (0.391, 0.688, 0.952),
        "passage": (0.257, 0.442, 0.736),
        "late": (0.714, 0.487, -4.320),
        "vein": (2.021, 0.998, 0.522),
        "artery": (-0.047, 2.066, 0.009),
    },
)
_DRAINAGE: Table = (
    -2.130,
    {
        "length": (3.478, 1.488, 3.258),
    },
)
# Hepatic veins are wider than branches of the portal vein, and told as veins more often.
_HEPATIC: Table = (
    -1.289,
    {
        "radius": (1.514, 0.313, 1.551),
        "told": (0.339, 0.266, 0.259),
    },
)


class EarlyVeinParams(Params):
    """Settings of `early_veins`; lengths are for a 512-pixel frame and grow with it."""

    vein: float = Field(0.5, gt=0, lt=1, description="probability from which on a pixel is vein here")
    least_radius_px: float = Field(2.5, ge=1, description="narrower told veins cannot be measured across")
    early_s: tuple[float, float] = Field((0.6, 1.7), description="after onset: arteries are full, veins are not yet")
    over_noise: float = Field(4.5, ge=0, description="contrast in standard deviations of noise that counts at all")
    least_length_px: float = Field(8.0, ge=1, description="shorter pieces cannot be measured along")
    catheter_px: float = Field(6.0, ge=0, description="how near the catheter no told vein is looked for")
    likely: float = Field(0.1, gt=0, lt=1, description="probability of a piece from which on it is part of a drainage")
    together_px: float = Field(12.0, gt=0, description="how near each other pieces are one drainage")


@dataclass(frozen=True, slots=True, eq=False)
class Drainage:
    """Pieces that lie together and are likely veins that fill early.

    Attributes
    ----------
    pieces : tuple of int
        Indices of the courses.
    evidence : mapping of str to float
        `length_px`, each piece's weighted by its probability; `radius_px` and `told`, averages over it of the
        radius and of whether a piece is a told vein and no branch.
    """

    pieces: tuple[int, ...]
    evidence: Mapping[str, float]


def early_veins(
    sub: SubtractedRun, maps: PerfusionMaps, vessels: VesselSegmentation, graph: VesselGraph, *, params: EarlyVeinParams
) -> tuple[Shunt, ...]:
    """Return veins that fill with the arteries, the likeliest first; each stands where its contrast comes first.

    Raises
    ------
    ValueError
        When no network has told veins.
    """
    factor = working_factor(sub)
    courses, filling = fill_courses(sub, maps, vessels, graph, params=params)
    if filling is None:
        return ()
    likely = np.array([vein_probability(course, seen) for course, seen in zip(courses, filling.evidence, strict=True)])
    found = drainages(courses, filling, likely, params=params, scale=max(sub.valid.shape) / factor / 512)
    shunts = [_shunt(one, courses, filling, likely, factor) for one in found]
    return tuple(sorted(shunts, key=lambda s: -s.probability))


def working_factor(sub: SubtractedRun) -> int:
    """Return by how much the pictures are made smaller: half a large frame's size shows veins as well."""
    return max(1, round(int(max(sub.valid.shape)) / 512))


def fill_courses(
    sub: SubtractedRun, maps: PerfusionMaps, vessels: VesselSegmentation, graph: VesselGraph, *, params: EarlyVeinParams
) -> tuple[list[Course], Filling | None]:
    """Return what may be a vein that fills early, and how it fills; no filling where arteries or frames are missing.

    Raises
    ------
    ValueError
        When no network has told veins.
    """
    if vessels.vein_probability is None:
        raise ValueError("Expected vein_probability, found None: a network has to tell veins first.")
    factor = working_factor(sub)
    scale = max(sub.valid.shape) / factor / 512
    veins = vein_courses(
        vessels,
        np.where(sub.valid, vessels.vein_probability, 0).astype(np.float32),
        factor,
        threshold=params.vein,
        least_radius_px=params.least_radius_px * scale,
        catheter_px=params.catheter_px * scale,
    )
    courses = [*branch_courses(graph, factor), *veins]
    least = params.least_length_px * scale
    courses = [course for course in courses if course.length_px >= least]
    return courses, measure_filling(courses, sub, maps, vessels, graph, factor, early_s=params.early_s)


def vein_probability(course: Course, evidence: Mapping[str, float]) -> float:
    """Return how likely a course is a vein that fills early, by how it fills."""
    return _logistic(_BRANCH if course.branch is not None else _TOLD, features(evidence))


def _logistic(table: Table, known: Mapping[str, float]) -> float:
    score, weights = table
    for name, (middle, spread, weight) in weights.items():
        # What is not known speaks neither for nor against.
        if np.isfinite(known[name]):
            score += weight * (known[name] - middle) / spread
    return float(1 / (1 + np.exp(-score)))


def drainages(
    courses: Sequence[Course],
    filling: Filling,
    likely: npt.NDArray[np.float64],
    *,
    params: EarlyVeinParams,
    scale: float,
) -> list[Drainage]:
    """Return the likely pieces by what lies together, the longest drainage first.

    Parameters
    ----------
    likely : ndarray, (N,) float64
        How likely each course is a vein that fills early.
    scale : float
        Size of the working frame over 512 pixels.
    """
    seen = np.array([one["contrast_in_noise"] for one in filling.evidence]) >= params.over_noise
    chosen = np.flatnonzero(seen & (likely >= params.likely))
    if not len(chosen):
        return []
    label = _together([courses[int(k)].points for k in chosen], params.together_px * scale)
    groups = [chosen[label == number] for number in range(label.max() + 1)]
    found = [_drainage(group, courses, filling, likely, scale) for group in groups]
    return sorted(found, key=lambda one: -one.evidence["length_px"])


def _together(lines: Sequence[npt.NDArray[np.float64]], reach_px: float) -> npt.NDArray[np.intp]:
    """Return for each line the number of the group of lines, within reach of each other, that it belongs to."""
    owner = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    pairs = cKDTree(np.vstack(lines)).query_pairs(reach_px, output_type="ndarray")
    a, b = owner[pairs[:, 0]], owner[pairs[:, 1]]
    joined = coo_matrix((np.ones(len(a), np.bool_), (a, b)), shape=(len(lines), len(lines)))
    return np.asarray(connected_components(joined, directed=False)[1])


def _drainage(
    pieces: npt.NDArray[np.intp],
    courses: Sequence[Course],
    filling: Filling,
    likely: npt.NDArray[np.float64],
    scale: float,
) -> Drainage:
    length = np.array([courses[k].length_px for k in pieces]) * likely[pieces]

    def mean(values: Sequence[float]) -> float:
        return float(np.dot(length, values) / length.sum())

    evidence = {
        "length_px": float(length.sum() / scale),
        "radius_px": mean([filling.evidence[k]["radius_px"] for k in pieces]),
        "told": mean([float(courses[k].branch is None) for k in pieces]),
    }
    return Drainage(tuple(pieces.tolist()), evidence)


def _shunt(
    drainage: Drainage, courses: Sequence[Course], filling: Filling, likely: npt.NDArray[np.float64], factor: int
) -> Shunt:
    arrival = filling.arrival_s[list(drainage.pieces)]
    sure = likely[list(drainage.pieces)] >= min(0.5, float(likely[list(drainage.pieces)].max()))
    # It opens where its contrast comes first: at the beginning of a branch; a told vein does not say where it begins.
    first = int(np.argmin(np.where(sure, arrival, np.inf)))
    course = courses[drainage.pieces[first]]
    row, col = course.points[0 if course.branch is not None else len(course.points) // 2] * factor
    known = drainage_features(drainage.evidence)
    kind = ShuntKind.ARTERIOVENOUS if _logistic(_HEPATIC, known) >= 0.5 else ShuntKind.ARTERIOPORTAL
    return Shunt(kind, _logistic(_DRAINAGE, known), float(row), float(col), float(arrival[first]))


def drainage_features(evidence: Mapping[str, float]) -> dict[str, float]:
    """Return what the probability of a shunt, and that of a hepatic vein, are logistics of."""
    return {
        "length": float(np.log1p(evidence["length_px"])),
        "radius": float(np.log(max(evidence["radius_px"], 0.3))),
        "told": evidence["told"],
    }
