"""A pair of runs drawn from formulas: a trunk, a branch to liver, a feeder, a tumour in a liver over bone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from drawn_runs import flat_maps, subtracted

from angio_pipeline.core.geometry import CArmPose, PixelSpacing, SpacingPlane
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.runs import (
    AngioRun,
    PhaseRange,
    Phases,
    Quantity,
)
from angio_pipeline.core.tumours import CannulationTarget, Feeder, LesionOrigin, Tumour
from angio_pipeline.core.vessels import Branch, CatheterTip, VesselGraph, VesselSegmentation

cv2.setNumThreads(1)

FloatArray = npt.NDArray[np.float64]

SIZE = 256
TIP, FORK = (236.0, 120.0), (156.0, 124.0)
LIVER_END, FEEDER_END = (60.0, 60.0), (96.0, 184.0)
BESIDE = ((149.0, 137.0), (110.0, 176.0))
TUMOUR, RADIUS = (78.0, 196.0), 22.0
RADII = {"trunk": 5.0, "liver": 3.0, "feeder": 2.2, "neighbour": 2.5}
POSE = CArmPose(0.0, 0.0, 1100.0, 750.0)
SPACING = PixelSpacing(0.6, 0.6, SpacingPlane.ISOCENTRE, "drawn")


@dataclass(frozen=True)
class Scene:
    """What was done between the runs, and how the second one was taken.

    Attributes
    ----------
    flow : share of the feeder's flow that is left: contrast comes later by `slow_s`, not at all at 0.
    blush : share of the tumour's stain that is left.
    moved : (row, col) by which everything stands elsewhere.
    breath : rows by which liver and vessels stand elsewhere beside bone.
    dose : strength of the injection.
    feeder : contrast in the middle of the full feeder.
    lasts_s : how long the injection lasts.
    stasis : only the trunk fills.
    neighbour : another vessel lies beside most of the feeder and over its edge.
    """

    flow: float = 1.0
    blush: float = 1.0
    slow_s: float = 0.0
    moved: tuple[float, float] = (0.0, 0.0)
    breath: float = 0.0
    dose: float = 1.0
    feeder: float = 0.2
    lasts_s: float = 3.0
    stasis: bool = False
    neighbour: bool = False
    noise: float = 0.004
    seed: int = 1
    late_s: float = 0.0
    frames: int = 30


def bolus(times: FloatArray, arrival_s: float, lasts_s: float = 3.0) -> FloatArray:
    """Contrast in an artery while the injection lasts."""
    rise = 1 / (1 + np.exp(-(times - arrival_s) / 0.12))
    return np.asarray(rise / (1 + np.exp((times - arrival_s - lasts_s) / 0.12)))


def stain(times: FloatArray, arrival_s: float, lasts_s: float = 3.0) -> FloatArray:
    """Contrast in tissue: the artery's through a response that rises at once and washes out slowly."""
    fine = np.arange(times[0] - 1, times[-1] + 0.01, 0.01)
    response = np.exp(-np.arange(0, 20, 0.01) / 6.0)
    held = np.convolve(bolus(fine, arrival_s, lasts_s), response)[: len(fine)] * 0.01
    return np.interp(times, fine, held / 2.4)


def segment(start: tuple[float, float], end: tuple[float, float], shift: tuple[float, float] = (0, 0)) -> FloatArray:
    """A straight centreline with a point a pixel."""
    a, b = np.array(start) + shift, np.array(end) + shift
    return a + np.linspace(0, 1, int(np.linalg.norm(b - a)) + 1)[:, None] * (b - a)


def tube(line: FloatArray, radius: float) -> FloatArray:
    """Chord length through a straight tube, 1 on its axis, a little blurred."""
    rows, cols = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    (row, col), along = line[0], line[-1] - line[0]
    share = np.clip(((rows - row) * along[0] + (cols - col) * along[1]) / (along @ along), 0, 1)
    away = np.hypot(rows - row - share * along[0], cols - col - share * along[1])
    chord = np.sqrt(np.clip(1 - (away / radius) ** 2, 0, None))
    return np.asarray(cv2.GaussianBlur(chord, (0, 0), 0.7))


def _anatomy(moved: tuple[float, float]) -> FloatArray:
    rng = np.random.default_rng(7)
    pad = 64
    fine = cv2.GaussianBlur(rng.standard_normal((SIZE + 2 * pad,) * 2), (0, 0), 2.5)
    bone = fine / fine.std() * 0.05 + 1.0
    shift = np.array([[1, 0, moved[1]], [0, 1, moved[0]]], np.float64)
    return cv2.warpAffine(bone, shift, bone.shape[::-1], flags=cv2.INTER_CUBIC)[pad:-pad, pad:-pad]


@cache
def make_run(scene: Scene | None = None, *, tumour: bool = True, minutes: int = 0, **changed: object) -> RunResult:
    """A run of the scene; `changed` replaces parts of the run (pose, spacing, table_mm, quantity)."""
    scene = scene or Scene()
    rng = np.random.default_rng(scene.seed)
    times = (
        np.concatenate([np.arange(20) / 3, 20 / 3 + np.arange(scene.frames - 20)])
        if scene.frames > 20
        else (np.arange(scene.frames) / 3)
    )
    start = 1.0 + scene.late_s
    place = (scene.moved[0] + scene.breath, scene.moved[1])
    lines = {
        "trunk": segment(TIP, FORK, place),
        "liver": segment(FORK, LIVER_END, place),
        "feeder": segment(FORK, FEEDER_END, place),
    }
    if scene.neighbour:
        lines["neighbour"] = segment(*BESIDE, place)
    tubes = {name: tube(line, RADII[name]) for name, line in lines.items()}
    rows, cols = np.mgrid[:SIZE, :SIZE]
    disc = np.hypot(rows - TUMOUR[0] - place[0], cols - TUMOUR[1] - place[1])
    body = cv2.GaussianBlur((disc <= RADIUS).astype(np.float64), (0, 0), 1.5)
    lobe = cv2.GaussianBlur(
        (np.hypot((rows - 110 - place[0]) / 100, (cols - 130 - place[1]) / 118) <= 1).astype(np.float64), (0, 0), 3
    )
    frames = np.zeros((len(times), SIZE, SIZE))
    shown = {
        "trunk": 0.5,
        "liver": 0.3 * (not scene.stasis),
        "feeder": scene.feeder * (scene.flow > 0),
        "neighbour": 0.25,
    }
    later = {"trunk": 0.0, "liver": 0.2, "feeder": 0.25 + scene.slow_s, "neighbour": 0.25}
    curves = {name: bolus(times, start + later[name], scene.lasts_s) for name in tubes}
    tissue = stain(times, start + 1.2, scene.lasts_s) * (not scene.stasis)
    blush = stain(times, start + 0.6, scene.lasts_s) * scene.blush
    for t in range(len(times)):
        drawn = np.max([shown[name] * curves[name][t] * tube_ for name, tube_ in tubes.items()], axis=0)
        tissue_t = 0.05 * tissue[t] * lobe * (1 - 0.15 * body)
        frames[t] = scene.dose * (drawn + tissue_t + 0.15 * blush[t] * body)
    frames += scene.noise * rng.standard_normal(frames.shape)
    return _result(scene, frames.astype(np.float32), times, lines, disc <= RADIUS, tumour, minutes, changed)


def _result(
    scene: Scene,
    frames: npt.NDArray[np.float32],
    times: FloatArray,
    lines: dict[str, FloatArray],
    body: npt.NDArray[np.bool_],
    tumour: bool,
    minutes: int,
    changed: dict[str, object],
) -> RunResult:
    valid = np.ones((SIZE, SIZE), bool)
    source = Source(
        f"1.2.3.{scene.seed}", "1.2.3", "1.2", "P1", "20250102", datetime(2025, 1, 2, 10, minutes), "XA", "run.dcm"
    )
    given: dict[str, Any] = {
        "spacing": SPACING,
        "pose": POSE,
        "quantity": Quantity.ATTENUATION,
        "table_mm": (0.0, 0.0, 0.0),
    } | changed
    run = AngioRun(frames, times, valid=valid, source=source, **given)
    reference = int(np.argmin(np.abs(times - 3.0 - scene.late_s)))
    attenuation = (frames[reference] + _anatomy(scene.moved)).astype(np.float32)
    sub = subtracted(run, reference, mask_frames=(0, 1), noise_sd=scene.noise, attenuation=attenuation)
    gone = {"feeder"} if scene.flow == 0 else set()
    gone |= {"liver", "feeder"} if scene.stasis else set()
    artery = np.max([tube(line, RADII[name]) for name, line in lines.items() if name not in gone], axis=0) > 0.3
    first = int(np.argmin(np.abs(times - 1.2 - scene.late_s)))
    last = min(first + 8, len(times) - 1)
    phases = Phases(PhaseRange(0, 1), PhaseRange(first, last), None, None)
    return RunResult(
        run=run,
        subtracted=sub,
        maps=flat_maps((SIZE, SIZE), phases, 1 / 3),
        vessels=VesselSegmentation(artery.astype(np.float32), artery),
        graph=_graph(lines),
        tip=CatheterTip(lines["trunk"][0, 0], lines["trunk"][0, 1], 0.9),
        tumours=(_tumour(lines, body),) if tumour else (),
        shunts=(),
    )


def _graph(lines: dict[str, FloatArray]) -> VesselGraph:
    ends = [lines["trunk"][0], lines["trunk"][-1], lines["liver"][-1], lines["feeder"][-1]]
    joins = {"trunk": (0, 1), "liver": (1, 2), "feeder": (1, 3)}
    if "neighbour" in lines:
        ends += [lines["neighbour"][0], lines["neighbour"][-1]]
        joins["neighbour"] = (4, 5)
    branches = [
        Branch(k, *nodes, lines[name], np.full(len(lines[name]), RADII[name]), np.zeros(len(lines[name])))
        for k, (name, nodes) in enumerate(joins.items())
    ]
    return VesselGraph(np.array(ends), tuple(branches), 0)


def _tumour(lines: dict[str, FloatArray], body: npt.NDArray[np.bool_]) -> Tumour:
    own = lines["feeder"]
    target = CannulationTarget(own[10, 0], own[10, 1], 4.4, 90.0, 1, 1.0, 0.0, ("T1-F1",))
    whole = np.vstack([lines["trunk"], own[1:]])
    feeder = Feeder("T1-F1", 1, 0.9, 1.0, whole, (own[0, 0], own[0, 1]), 4.4, 1.2, False, target)
    return Tumour("T1", body, 0.9, LesionOrigin.DETECTED, (feeder,))


def with_probability(result: RunResult, probability: float) -> RunResult:
    """The same run with feeders of another probability."""
    tumours = tuple(
        replace(t, feeders=tuple(replace(f, probability=probability) for f in t.feeders)) for t in result.tumours
    )
    return replace(result, tumours=tumours)
