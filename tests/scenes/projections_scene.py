"""A tree in space, seen in two views: a feeder of a tumour, and a branch that only one view shows over it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

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
from angio_pipeline.simulate.radiograph.projection import CArm

Array = npt.NDArray[np.float64]

SIZE, PIXEL = 384, 0.9
TUMOUR, RADIUS = np.array([35.0, -20.0, 30.0]), 14.0
CORNERS = {
    "trunk": [(-10, 0, -60), (-5, 2, -30), (0, 0, -15)],
    "feeder": [(0, 0, -15), (12, -6, 0), (24, -16, 14), (29, -18, 20)],
    # From the front it ends over the tumour, 60 mm behind it.
    "behind": [(0, 0, -15), (10, 22, -2), (22, 38, 14), (34, 42, 27)],
    # Two vessels at the same heights, into the two sides of the tumour.
    "right": [(0, 0, -15), (16, -6, 0), (34, -16, 14), (46, -20, 20)],
    "left": [(0, 0, -15), (8, -6, 0), (18, -12, 14), (25, -13, 20)],
    "liver": [(0, 0, -15), (-22, -8, 8), (-40, 4, 34)],
    "lower": [(-5, 2, -30), (-30, 10, -32), (-52, 6, -22)],
}
RADII = {"trunk": 3.0, "feeder": 1.6, "behind": 1.6, "right": 1.6, "left": 1.6, "liver": 2.0, "lower": 1.8}
ARRIVAL = {
    "trunk": (1.0, 1.1),
    "feeder": (1.1, 1.5),
    "behind": (1.1, 1.5),
    "right": (1.1, 1.5),
    "left": (1.1, 1.5),
    "liver": (1.1, 1.4),
    "lower": (1.05, 1.3),
}
JOINS = {
    "trunk": (0, 1),
    "feeder": (1, 2),
    "behind": (1, 3),
    "right": (1, 2),
    "left": (1, 2),
    "liver": (1, 4),
    "lower": (0, 5),
}


@dataclass(frozen=True)
class Seen:
    """How a run was taken: angles, where the patient lay (mm), what fills, what one view calls a feeder."""

    angles: tuple[float, float] = (0.0, 0.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    fills: tuple[str, ...] = ("trunk", "feeder", "behind", "liver", "lower")
    calls: tuple[tuple[str, float], ...] = (("feeder", 0.6), ("behind", 0.6))
    mirrored: bool = False
    tip_off_mm: float = 0.0
    minutes: int = 0


FRONT = Seen()
SIDE = Seen(angles=(-35.0, 5.0), calls=(("feeder", 0.6),), minutes=10)


def course(name: str, seen: Seen) -> Array:
    """(K, 3) mm along a branch, a point each half millimetre."""
    corners = np.array(CORNERS[name], dtype=np.float64)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    where = np.linspace(0, length[-1], int(2 * length[-1]))
    points = np.stack([np.interp(where, length, corners[:, k]) for k in range(3)], axis=1)
    # Another tree: upside down.
    return np.asarray((points * (1, 1, -1) if seen.mirrored else points) + np.array(seen.shift))


def make_run(seen: Seen = FRONT, *, spacing: PixelSpacing | None = None, pose: CArmPose | None = None) -> RunResult:
    """A run of the scene as its analysis would tell it; `pose` replaces what the file says of the angles."""
    carm = CArm(SIZE, SIZE, PIXEL, 1100.0, 750.0, *seen.angles)
    lines = {name: carm.project(course(name, seen)) for name in seen.fills}
    image, artery = np.zeros((SIZE, SIZE), np.float32), np.zeros((SIZE, SIZE), bool)
    for name, line in lines.items():
        width = max(1, round(2 * RADII[name] / carm.isocentre_pixel_mm))
        drawn = np.zeros((SIZE, SIZE), np.uint8)
        cv2.polylines(drawn, [np.rint(line[:, ::-1]).astype(np.int32)], False, 1, width)
        # Contrast is iodine along the ray: a vessel that comes towards the detector shows more of it.
        long_px = np.linalg.norm(np.diff(line, axis=0), axis=1).sum()
        long_mm = np.linalg.norm(np.diff(course(name, seen), axis=0), axis=1).sum()
        image += drawn * np.float32(0.1 * RADII[name] * long_mm / (long_px * carm.isocentre_pixel_mm))
        artery |= drawn > 0
    rows, cols = np.mgrid[:SIZE, :SIZE]
    centre = carm.project((TUMOUR + np.array(seen.shift))[None])[0]
    ball = np.hypot(rows - centre[0], cols - centre[1]) <= RADIUS / carm.isocentre_pixel_mm
    return _result(seen, image, artery, lines, ball, spacing, pose or CArmPose(*seen.angles, 1100.0, 750.0))


def _result(
    seen: Seen,
    image: npt.NDArray[np.float32],
    artery: npt.NDArray[np.bool_],
    lines: dict[str, Array],
    ball: npt.NDArray[np.bool_],
    spacing: PixelSpacing | None,
    pose: CArmPose,
) -> RunResult:
    frames = np.stack([np.zeros_like(image), image, image])
    times, valid = np.arange(3.0), np.ones(image.shape, bool)
    uid = f"1.2.3.{seen.minutes}"
    source = Source(uid, "1.2.3", "1.2", "P1", "20250102", datetime(2025, 1, 2, 10, seen.minutes), "XA", "run.dcm")
    size = PIXEL * 750 / 1100
    spacing = spacing or PixelSpacing(size, size, SpacingPlane.ISOCENTRE, "drawn")
    run = AngioRun(frames, times, Quantity.ATTENUATION, valid, source, spacing, pose)
    sub = subtracted(run, 1, mask_frames=(0,), noise_sd=0.01, attenuation=image)
    phases = Phases(PhaseRange(0, 0), PhaseRange(1, 2), None, None)
    tip = lines["trunk"][0] + (seen.tip_off_mm / size, 0)
    return RunResult(
        run=run,
        subtracted=sub,
        maps=flat_maps(image.shape, phases, 1.0),
        vessels=VesselSegmentation(artery.astype(np.float32), artery),
        graph=_graph(lines, size),
        tip=CatheterTip(float(tip[0]), float(tip[1]), 0.9),
        tumours=(_tumour(seen, lines, ball, size),),
        shunts=(),
    )


def _graph(lines: dict[str, Array], size: float) -> VesselGraph:
    nodes = np.zeros((6, 2))
    for name, line in lines.items():
        nodes[JOINS[name][0]], nodes[JOINS[name][1]] = line[0], line[-1]
    branches = tuple(
        Branch(
            k,
            *JOINS[name],
            line,
            np.full(len(line), RADII[name] / size),
            np.linspace(*ARRIVAL[name], len(line)),
        )
        for k, (name, line) in enumerate(lines.items())
    )
    return VesselGraph(nodes, branches, 0)


def _tumour(seen: Seen, lines: dict[str, Array], ball: npt.NDArray[np.bool_], size: float) -> Tumour:
    feeders = []
    for rank, (name, probability) in enumerate(seen.calls, start=1):
        own = lines[name]
        target = CannulationTarget(own[10, 0], own[10, 1], 4.0, 90.0, 1, 1.0, 0.0)
        feeders.append(
            Feeder(
                f"T1-F{rank}",
                rank,
                probability,
                1 / len(seen.calls),
                np.vstack([lines["trunk"], own[1:]]),
                (own[0, 0], own[0, 1]),
                2 * RADII[name] / size,
                1.2,
                False,
                target,
            )
        )
    return Tumour("T1", ball, 0.9, LesionOrigin.DETECTED, tuple(feeders))


def without_tumour(result: RunResult) -> RunResult:
    """The same run in which no tumour was found."""
    return replace(result, tumours=())
