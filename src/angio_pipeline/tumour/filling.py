"""How contrast fills a course: how much, how dense for its breadth, how much later than the arteries, how long.

A vein behind a shunt holds blood of its own beside what the shunt brings: it is wide for its contrast. Its blood is
slow: it fills a little later than the arteries beside it and empties later, but long before any tissue gives
contrast to a vein.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from angio_pipeline.core.runs import PerfusionMaps, SubtractedRun
from angio_pipeline.core.vessels import VesselGraph, VesselSegmentation
from angio_pipeline.numerics.curves import first_crossing
from angio_pipeline.numerics.filters import gaussian, shrink
from angio_pipeline.numerics.logistic import logit
from angio_pipeline.tumour.courses import Course

__all__ = ["Filling", "features", "measure_filling"]

FloatArray = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
_ACROSS = (-0.7, -0.35, 0.0, 0.35, 0.7)
_STEP = 2
_LATE_S = 3.0
_TREE_ALONE = ("over_parent", "supply")


@dataclass(frozen=True, slots=True, eq=False)
class Filling:
    """What is measured of each of N courses, and when contrast arrives there.

    Attributes
    ----------
    evidence : tuple of mapping
        Of each course its named measurements; NaN where one is not known.
    arrival_s : ndarray, (N,) float64
        When half of the course's early contrast has come, in the run's own time.

    Notes
    -----
    The measurements:

    radius_px, length_px : of the course, for a frame of 512 pixels
    contrast_in_noise, contrast_share : early, in standard deviations of noise, and of what the widest arteries hold
    density : early contrast over diameter, against that of the widest arteries
    evenness : early contrast of the least filled quarter of the section, over that of its middle
    arrival_s, emptying_s, passage_s : how much later than in the widest arteries contrast comes and goes, and its mean
        time, of what is seen up to the end of the arterial phase
    late : contrast three seconds after onset and later, over the greatest up to the end of the arterial phase
    vein, artery : what the network says along it
    over_parent : logarithm of the branch's radius over that of the one it comes from
    supply : logarithm of its radius, less what the length of all that it flows into lets expect (a third power)
    """

    evidence: tuple[Mapping[str, float], ...]
    arrival_s: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Curves:
    # Of N courses and T frames: contrast of the middle above the tissue beside it, and the least filled quarter's.
    contrast: FloatArray
    unfilled: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Passage:
    # Of N courses: when half of the contrast has come, when half has gone, its mean time, and the most of it.
    come_s: Floats
    gone_s: Floats
    mean_s: Floats
    most: Floats


def measure_filling(
    courses: Sequence[Course],
    sub: SubtractedRun,
    maps: PerfusionMaps,
    vessels: VesselSegmentation,
    graph: VesselGraph,
    factor: int,
    *,
    early_s: tuple[float, float],
) -> Filling | None:
    """Return how every course fills against the widest arteries; None without arteries or without early frames.

    Parameters
    ----------
    courses : sequence of Course
        At a size smaller than the run's by `factor`; those of the tree's branches first.
    early_s : tuple of float
        From when to when after onset arteries are full and veins are not yet, seconds.
    """
    usable, begins_s = np.flatnonzero(sub.usable), sub.times_s[maps.phases.arterial.first]
    since_s = sub.times_s[usable] - begins_s
    early = (since_s >= early_s[0]) & (since_s <= early_s[1])
    if not early.any() or not any(course.branch is not None for course in courses):
        return None
    curves = _curves(courses, [gaussian(shrink(sub.frames[t], factor), 0.8) for t in usable])
    vein, artery = (_along(courses, shrink(seen, factor)) for seen in (_vein_probability(vessels), vessels.probability))
    radius = np.array([float(np.median(course.radius_px)) for course in courses])
    wide = _widest(courses, radius, vein)
    arterial = sub.times_s[usable] <= sub.times_s[maps.phases.arterial.last] + 1.1
    passage = _passage(curves.contrast[arterial], since_s[arterial])
    trunk = _passage(np.median(curves.contrast[arterial][:, wide], axis=1)[:, None], since_s[arterial])
    # Lengths are told for a frame of 512 pixels.
    scale = max(sub.valid.shape) / factor / 512
    columns = {
        "radius_px": radius / scale,
        "length_px": np.array([course.length_px for course in courses]) / scale,
        **_contrast_columns(curves, early, since_s >= _LATE_S, radius, wide, passage, trunk),
        "contrast_in_noise": curves.contrast[early].mean(axis=0) / (max(sub.noise_sd, 1e-6) / factor),
        "arrival_s": passage.come_s - trunk.come_s,
        "emptying_s": passage.gone_s - trunk.gone_s,
        "passage_s": passage.mean_s - trunk.mean_s,
        "vein": vein,
        "artery": artery,
        **_place_in_tree(courses, graph, radius / scale, factor * scale),
    }
    evidence = tuple({name: float(values[k]) for name, values in columns.items()} for k in range(len(courses)))
    return Filling(evidence, passage.come_s + begins_s)


def _contrast_columns(
    curves: _Curves,
    early: npt.NDArray[np.bool_],
    late: npt.NDArray[np.bool_],
    radius: Floats,
    wide: npt.NDArray[np.bool_],
    passage: _Passage,
    trunk: _Passage,
) -> dict[str, Floats]:
    """Return how much contrast each course holds early and late, against the widest arteries and its own most."""
    held = curves.contrast[early].mean(axis=0).astype(np.float64)
    density = held / (2 * radius)
    most = max(float(trunk.most[0]), 1e-6)
    stays = curves.contrast[late].mean(axis=0) if late.any() else np.full(len(radius), np.nan)
    return {
        "contrast_share": held / most,
        "density": density / max(float(np.median(density[wide])), 1e-6),
        "evenness": curves.unfilled[early].mean(axis=0) / most,
        "late": stays / np.maximum(passage.most, 1e-6),
    }


def _vein_probability(vessels: VesselSegmentation) -> FloatArray:
    if vessels.vein_probability is None:
        raise ValueError("Expected vein_probability, found None: a network has to tell veins first.")
    return vessels.vein_probability


def _along(courses: Sequence[Course], image: FloatArray) -> Floats:
    """Return (N,) the mean of an image along each course."""
    points, first = _joined(courses)
    return np.add.reduceat(_read(image, points), first) / np.diff([*first.tolist(), len(points)])


def _joined(courses: Sequence[Course]) -> tuple[Floats, npt.NDArray[np.intp]]:
    # Every second point: they lie closer than the picture is sharp.
    parts = [course.points[::_STEP] for course in courses]
    return np.vstack(parts), np.cumsum([0, *(len(part) for part in parts[:-1])])


def _read(image: FloatArray, points: Floats) -> Floats:
    out: Floats = ndimage.map_coordinates(image, points.T, order=1, mode="nearest").astype(np.float64)
    return out


def _normals(line: Floats) -> Floats:
    """Return (K, 2) unit vectors across a line, from the points four before and four behind."""
    padded = np.pad(line, ((4, 4), (0, 0)), mode="edge")
    tangent = padded[8:] - padded[:-8]
    across = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    return np.asarray(across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6))


def _curves(courses: Sequence[Course], frames: Sequence[FloatArray]) -> _Curves:
    """Return how the contrast of each course runs over the frames, the median along it."""
    points, first = _joined(courses)
    across = np.vstack([_normals(course.points)[::_STEP] for course in courses])
    radius = np.concatenate([course.radius_px[::_STEP] for course in courses])
    beside = (1.5 * radius + 2.0)[:, None] * across
    places = np.concatenate(
        [points + beside, points - beside, *(points + (share * radius)[:, None] * across for share in _ACROSS)]
    )
    middle = np.empty((len(frames), len(points)), dtype=np.float32)
    least = np.empty_like(middle)
    for t, frame in enumerate(frames):
        seen = _read(frame, places).reshape(len(_ACROSS) + 2, -1)
        section = np.sort(seen[2:], axis=0)
        # The side with less: the other may lie in another vessel.
        tissue = seen[:2].min(axis=0)
        middle[t], least[t] = section[len(_ACROSS) // 2] - tissue, section[1] - tissue
    parts = [slice(low, high) for low, high in zip(first, [*first[1:], len(points)], strict=True)]
    contrast, unfilled = (np.stack([np.median(v[:, part], axis=1) for part in parts], axis=1) for v in (middle, least))
    return _Curves(contrast, unfilled)


def _widest(courses: Sequence[Course], radius: Floats, vein: Floats) -> npt.NDArray[np.bool_]:
    """Return (N,) which courses are the widest branches that are no vein: a sixth of the tree's length."""
    length = np.array([course.length_px for course in courses])
    branch = np.array([course.branch is not None for course in courses])
    artery = branch & (vein < 0.5) if (branch & (vein < 0.5)).any() else branch
    order = np.argsort(np.where(artery, radius, -1.0))[::-1]
    # The widest of all counts, however long.
    count = max(1, int((np.cumsum(length[order]) <= 0.15 * length[artery].sum()).sum()))
    wide = np.zeros(len(courses), np.bool_)
    wide[order[:count]] = True
    return wide & artery


def _passage(curves: FloatArray, times_s: Floats) -> _Passage:
    """Return the times of the first passage in (T, N) curves that end with the arterial phase."""
    most = curves.max(axis=0)
    half = np.float32(0.5) * most
    come = first_crossing(curves, times_s, half)
    # Looked at from its end a curve comes when it goes.
    gone = -first_crossing(curves[::-1], -times_s[::-1], half)
    held = np.maximum(curves, 0)
    mean = (held * times_s[:, None]).sum(axis=0) / np.maximum(held.sum(axis=0), 1e-9)
    come, gone = np.where(np.isfinite(come), come, times_s[0]), np.where(np.isfinite(gone), gone, times_s[-1])
    return _Passage(*(np.asarray(part, dtype=np.float64) for part in (come, gone, mean, most)))


def _place_in_tree(courses: Sequence[Course], graph: VesselGraph, radius: Floats, unit_px: float) -> dict[str, Floats]:
    """Return what a branch's breadth is worth where it stands in the tree; NaN for veins."""
    found = {name: np.full(len(courses), np.nan) for name in _TREE_ALONE}
    parents, beyond = graph.parents(), _lengths_beyond(graph) / unit_px
    for k, course in enumerate(courses):
        if course.branch is None:
            continue
        parent = parents[course.branch]
        above = radius[k] if parent is None else float(np.median(graph.branches[parent].radius_px)) / unit_px
        found["over_parent"][k] = np.log(max(radius[k], 0.1) / max(above, 0.1))
        found["supply"][k] = np.log(max(radius[k], 0.1)) - np.log(20.0 + beyond[course.branch]) / 3
    return found


def _lengths_beyond(graph: VesselGraph) -> Floats:
    """Return (B,) the length of each branch and of all that it flows into."""
    parents, total = graph.parents(), np.zeros(len(graph.branches))
    for number, branch in enumerate(graph.branches):
        here: int | None = number
        way: set[int] = set()
        while here is not None and here not in way:
            total[here] += branch.length_px
            way.add(here)
            here = parents[here]
    return total


def features(evidence: Mapping[str, float]) -> dict[str, float]:
    """Return what the probability is a logistic of, from the evidence of one course; NaN where it is not known."""
    share, even = (float(np.log(np.clip(evidence[name], 0.02, 3.0))) for name in ("contrast_share", "evenness"))
    return {
        "radius": float(np.log(max(evidence["radius_px"], 0.3))),
        "length": float(np.log(evidence["length_px"])),
        "contrast_in_noise": float(np.log(np.clip(evidence["contrast_in_noise"], 1.0, 200.0))),
        "contrast_share": share,
        "density": float(np.log(np.clip(evidence["density"], 0.02, 3.0))),
        "evenness": even - share,
        **{name: float(np.clip(evidence[f"{name}_s"], -1.0, 2.0)) for name in ("arrival", "emptying", "passage")},
        "late": float(np.clip(evidence["late"], -0.5, 2.0)),
        "vein": logit(evidence["vein"], least=0.01),
        "artery": logit(evidence["artery"], least=0.01),
        **{name: evidence[name] for name in _TREE_ALONE},
    }
