"""A synthetic run and a synthetic follow-up, made by geometry, to write and to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from angio_pipeline.core.followups import (
    AlignedView,
    Completeness,
    Kinetics,
    KineticsModel,
    LesionCourse,
    LipiodolDeposit,
    LipiodolTimepoint,
    MarginGrade,
    Pattern,
)
from angio_pipeline.core.geometry import CArmPose, PixelSpacing, SpacingPlane
from angio_pipeline.core.measures import BranchMeasures, VelocityState
from angio_pipeline.core.provenance import Provenance, Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.results import FollowUpResult, RunResult, TimeDensityCurve
from angio_pipeline.core.runs import (
    AngioRun,
    Background,
    Correction,
    MotionReport,
    PerfusionMaps,
    PhaseRange,
    Phases,
    Quantity,
    SubtractedRun,
)
from angio_pipeline.core.tumours import CannulationTarget, Feeder, LesionOrigin, Shunt, ShuntKind, Tumour
from angio_pipeline.core.vessels import Branch, CatheterTip, VesselGraph, VesselSegmentation

cv2.setNumThreads(1)

MakeRun = Callable[..., RunResult]
MakeFollowUp = Callable[..., FollowUpResult]
FloatArray = npt.NDArray[np.float64]

ISOCENTRE = PixelSpacing(0.3, 0.3, SpacingPlane.ISOCENTRE, "isocentre: 720 / 1020 mm")


@dataclass
class Tree:
    """Branches as (start node, end node, points, radii), on a unit square scaled to the frame."""

    size: int
    nodes: list[tuple[float, float]] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)

    def node(self, row: float, col: float) -> int:
        self.nodes.append((row * self.size, col * self.size))
        return len(self.nodes) - 1

    def join(self, start: int, end: int, bend: float, radii: tuple[float, float], arrival: tuple[float, float]) -> int:
        a, b = np.array(self.nodes[start]), np.array(self.nodes[end])
        across = np.array([-(b - a)[1], (b - a)[0]])
        t = np.linspace(0, 1, max(8, int(np.linalg.norm(b - a) / 2)))[:, None]
        control = (a + b) / 2 + bend * across
        line = (1 - t) ** 2 * a + 2 * t * (1 - t) * control + t**2 * b
        radius = np.linspace(*radii, len(t)) * self.size / 512
        times = np.linspace(*arrival, len(t))
        self.branches.append(Branch(len(self.branches), start, end, line, radius, times))
        return len(self.branches) - 1


def _tree(size: int) -> Tree:
    tree = Tree(size)
    tip, trunk = tree.node(0.90, 0.36), tree.node(0.72, 0.42)
    left, right = tree.node(0.58, 0.62), tree.node(0.55, 0.30)
    a, b, c = tree.node(0.40, 0.56), tree.node(0.62, 0.82), tree.node(0.37, 0.36)
    ends = [tree.node(*p) for p in ((0.31, 0.71), (0.22, 0.52), (0.45, 0.88), (0.80, 0.90), (0.27, 0.22), (0.20, 0.40))]
    f3 = tree.node(0.46, 0.70)
    tree.join(tip, trunk, 0.1, (6, 5.5), (0.6, 0.9))
    tree.join(trunk, left, -0.15, (5, 4), (0.9, 1.3))
    tree.join(trunk, right, 0.2, (4.5, 3.5), (0.9, 1.25))
    tree.join(left, a, 0.2, (3.5, 2.6), (1.3, 1.7))
    tree.join(left, b, 0.2, (3.4, 2.6), (1.3, 1.65))
    tree.join(right, c, -0.2, (3.2, 2.4), (1.25, 1.7))
    tree.join(a, ends[0], -0.25, (2.4, 1.4), (1.7, 2.3))
    tree.join(a, ends[1], 0.2, (2.3, 1.0), (1.7, 2.4))
    tree.join(b, ends[2], 0.2, (2.2, 1.4), (1.65, 2.2))
    tree.join(b, ends[3], -0.2, (2.2, 1.0), (1.65, 2.4))
    tree.join(c, ends[4], 0.15, (2.2, 1.0), (1.7, 2.5))
    tree.join(c, ends[5], -0.15, (2.2, 1.0), (1.7, 2.5))
    tree.join(left, f3, 0.1, (1.8, 1.2), (1.3, 2.0))
    return tree


def _measures(tree: Tree) -> tuple[BranchMeasures, ...]:
    """What the tree's own lengths and times say; the last branch, faint, has no velocity."""
    found = []
    for branch in tree.branches:
        first, last = float(branch.arrival_s[0]), float(branch.arrival_s[-1])
        velocity = branch.length_px / (last - first)
        chord = float(np.linalg.norm(branch.centreline[-1] - branch.centreline[0]))
        shape = (branch.length_px, branch.length_px / chord, float(2 * branch.radius_px.mean()), 0.02)
        found.append(
            BranchMeasures(
                branch.id,
                1 + (branch.id < 6),
                min(branch.id, 3),
                *shape,
                first,
                last,
                velocity,
                (0.8 * velocity, 1.25 * velocity),
                VelocityState.MEASURED,
            )
        )
    unknown = {"velocity_px_s": np.nan, "velocity_interval_px_s": (np.nan, np.nan)}
    found[-1] = replace(found[-1], velocity_state=VelocityState.UNRESOLVED, **unknown)
    return tuple(found)


def _paint(tree: Tree) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Vessel thickness (pixels, smooth) and arrival (s, NaN outside)."""
    size = tree.size
    depth, arrival = np.zeros((size, size), np.float32), np.full((size, size), np.nan, np.float32)
    for branch in tree.branches:
        for (row, col), radius, time in zip(branch.centreline, branch.radius_px, branch.arrival_s, strict=True):
            r0, r1 = int(row - radius - 2), int(row + radius + 3)
            c0, c1 = int(col - radius - 2), int(col + radius + 3)
            r0, c0 = max(r0, 0), max(c0, 0)
            yy, xx = np.mgrid[r0 : min(r1, size), c0 : min(c1, size)]
            squared = radius**2 - (yy - row) ** 2 - (xx - col) ** 2
            here = 2 * np.sqrt(np.clip(squared, 0, None))
            patch = depth[r0:r1, c0:c1]
            first = np.isnan(arrival[r0:r1, c0:c1]) & (squared > 0)
            arrival[r0:r1, c0:c1][first] = time
            patch[...] = np.maximum(patch, here)
    return cv2.GaussianBlur(depth, (0, 0), 0.6), arrival


def _passage(times: FloatArray, arrival: npt.NDArray[np.float32], rise: float, fall: float) -> npt.NDArray[np.float32]:
    t = np.clip(times.reshape(-1, 1, 1) - np.nan_to_num(arrival, nan=1e3), 0, None)
    return np.asarray((1 - np.exp(-t / rise)) * np.exp(-t / fall) * 1.6, dtype=np.float32)


def _feeders(tree: Tree, ambiguous: bool) -> tuple[Feeder, ...]:
    routes = [([0, 1, 3, 6], 0.93, 0.61, False), ([0, 1, 4, 8], 0.71, 0.27, False), ([0, 1, 12], 0.38, 0.12, ambiguous)]
    feeders = []
    for rank, (route, probability, contribution, overlap) in enumerate(routes, start=1):
        line = np.concatenate([tree.branches[i].centreline for i in route])
        last = tree.branches[route[-1]]
        spot = last.centreline[len(last.centreline) // 4]
        name = f"T1-F{rank}"
        path = sum(tree.branches[i].length_px for i in route[:-1]) + last.length_px / 4
        target = CannulationTarget(spot[0], spot[1], last.diameter_px, path, len(route) - 1, 1.31, 0.04, (name,))
        evidence = {"reach_px": 3.2, "delay_s": 0.42, "mixture_weight": contribution, "taper": 0.6}
        feeders.append(
            Feeder(
                name,
                rank,
                probability,
                contribution,
                line,
                tuple(last.centreline[0]),
                last.diameter_px,
                float(last.arrival_s[0]),
                overlap,
                target,
                evidence,
            )
        )
    return tuple(feeders)


def _source(instance: int, modality: str = "XA", date: str = "20240311") -> Source:
    root = f"1.2.826.0.1.3680043.8.498.{instance}"
    return Source(
        sop_instance_uid=f"{root}.1",
        series_instance_uid=f"{root}.2",
        study_instance_uid=f"{root}.3",
        subject="S-7f3a",
        date=date,
        acquired=datetime(2024, 3, 11, 10, 5),
        modality=modality,
        file=f"study/{modality}-{instance}.dcm",
        description=f"series {instance}, instance 1",
    )


def make_run(
    size: int = 256,
    *,
    seed: int = 1,
    spacing: PixelSpacing | None = ISOCENTRE,
    tumour: bool = True,
    vessels: bool = True,
    quality: Quality = Quality.NONE,
    file: str | None = None,
    origin: LesionOrigin = LesionOrigin.DETECTED,
) -> RunResult:
    """A run with a known tree; `quality` is what the acquisition would have flagged."""
    rng = np.random.default_rng(seed)
    tree = _tree(size)
    depth, arrival = _paint(tree)
    times = np.concatenate([np.arange(0, 4, 0.25), 4 + np.arange(0, 8) * 0.5])
    yy, xx = np.mgrid[:size, :size] / size
    blush = np.exp(-((((yy - 0.36) / 0.085) ** 2 + ((xx - 0.80) / 0.10) ** 2) ** 2)).astype(np.float32)
    live = _passage(times, arrival, 0.25, 2.5) * depth * 0.03 * 512 / size if vessels else np.zeros((24, size, size))
    if tumour:
        live = live + _passage(times, np.full_like(depth, 2.4), 1.2, 9.0) * blush * 0.11
    texture = cv2.GaussianBlur(rng.normal(size=(size, size)).astype(np.float32), (0, 0), size / 40)
    frames = (live + rng.normal(0, 0.012, live.shape) + 0.4 * texture).astype(np.float32)
    source = replace(_source(100 + seed), **({"file": file} if file is not None else {}))
    return _assemble(tree, frames, times, arrival, blush, spacing, quality, source, tumour, vessels, origin)


def _assemble(
    tree: Tree,
    frames: npt.NDArray[np.float32],
    times: FloatArray,
    arrival: npt.NDArray[np.float32],
    blush: npt.NDArray[np.float32],
    spacing: PixelSpacing | None,
    quality: Quality,
    source: Source,
    with_tumour: bool,
    with_vessels: bool,
    origin: LesionOrigin,
) -> RunResult:
    size = tree.size
    valid = np.ones((size, size), bool)
    valid[: size // 40] = valid[-size // 40 :] = False
    run = AngioRun(
        frames=frames,
        times_s=times,
        quantity=Quantity.ATTENUATION,
        valid=valid,
        source=source,
        spacing=spacing,
        pose=CArmPose(-30.0, 10.0, 1020.0, 720.0),
        quality=quality,
        provenance=Provenance().then("linearise", relationship="LIN"),
    )
    artery = np.isfinite(arrival) if with_vessels else np.zeros_like(valid)
    feeders = _feeders(tree, True) if with_vessels else ()
    targets = tuple(f.target for f in feeders[:2])
    tumours = (Tumour("T1", blush > 0.5, 0.88, origin, feeders, targets),) if with_tumour else ()
    empty = VesselGraph(np.empty((0, 2)), (), None)
    graph = VesselGraph(np.array(tree.nodes), tuple(tree.branches), 0, np.array([[0.5 * size, 0.5 * size]]))
    flags = (Quality.NONE if with_vessels else Quality.NO_VESSELS) | (
        Quality.OVERLAP_AMBIGUOUS if with_tumour and with_vessels else Quality.NO_TUMOUR_BLUSH
    )
    return RunResult(
        run=run,
        subtracted=_subtracted(run),
        maps=_maps(frames, np.where(artery | (blush > 0.5), np.nan_to_num(arrival, nan=2.4), np.nan), with_tumour),
        vessels=VesselSegmentation(artery.astype(np.float32), artery),
        graph=graph if with_vessels else empty,
        tip=CatheterTip(0.90 * size, 0.36 * size, 0.9) if with_vessels else None,
        tumours=tumours,
        shunts=(Shunt(ShuntKind.ARTERIOPORTAL, 0.64, 0.48 * size, 0.16 * size, 2.1),) if with_tumour else (),
        curves=_curves(frames, artery, blush, with_tumour),
        measures=_measures(tree) if with_vessels else (),
        settings={"subtract": {"block_px": 32, "smooth": 1.5}, "perfusion": {"onset_fraction": 0.1}},
        quality=flags,
    )


def _subtracted(run: AngioRun) -> SubtractedRun:
    """The run subtracted, with motion, and one frame that cannot be used."""
    frames, times, count, reference = run.frames, run.times_s, len(run.times_s), 10
    motion = np.stack([1.5 * np.sin(times / 2), 0.4 * np.cos(times)], axis=1)
    motion[3] = np.nan
    return SubtractedRun(
        frames=frames,
        times_s=times,
        valid=run.valid,
        usable=np.arange(count) != 3,
        background=Background.MASK,
        mask_frames=(0, 1),
        reference_frame=reference,
        motion_px=motion,
        residual_before=0.031,
        residual_after=0.012,
        noise_sd=0.011,
        uncorrected=np.roll(frames[reference], 3, axis=0) * 0.6 + frames[reference] * 0.4,
        attenuation=frames[reference] + 1,
        source=run.source,
        spacing=run.spacing,
        motion=MotionReport(
            correction=Correction.AUTOMATIC,
            mask_shift_px=np.zeros((count, 2)),
            mask_scope="patch",
            residual_none=np.full(count, 0.031),
            residual_shift=np.full(count, 0.02),
            residual_field=np.full(count, 0.014),
            residual_masks=np.where(np.arange(count) == 3, np.nan, 0.012),
        ),
        provenance=run.provenance.then("subtract", mask_frames=(0, 1)),
    )


def _maps(frames: npt.NDArray[np.float32], seen: FloatArray, with_tumour: bool) -> PerfusionMaps:
    arrival = seen.astype(np.float32)
    return PerfusionMaps(
        arrival_s=arrival,
        time_to_peak_s=arrival + 0.8,
        peak=frames.max(0),
        auc=frames.sum(0) * 0.3,
        wash_in=frames.max(0) * 2,
        phases=Phases(PhaseRange(0, 2), PhaseRange(3, 12), PhaseRange(13, 19) if with_tumour else None, None),
        frame_interval_s=0.25,
    )


def _curves(
    frames: npt.NDArray[np.float32], artery: npt.NDArray[np.bool_], blush: npt.NDArray[np.float32], tumour: bool
) -> tuple[TimeDensityCurve, ...]:
    curves = []
    if artery.any():
        curves.append(TimeDensityCurve("vessel", frames[:, artery].mean(1).astype(np.float64)))
    if tumour:
        values = frames[:, blush > 0.5].mean(1).astype(np.float64)
        values[3] = np.nan
        curves.append(TimeDensityCurve("tumour T1", values))
    t = np.arange(len(frames))
    curves.append(TimeDensityCurve("liver", 0.03 / (1 + np.exp(-(t - 14) / 2.0))))
    return tuple(curves)


def _view(amount: float, seed: int) -> AlignedView:
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:96, :96].astype(np.float64)
    distance = np.hypot(yy - 48, xx - 50)
    body = np.where(np.hypot((yy - 48) / 1.1, xx - 48) < 46, 55.0, -80.0)
    oil = (distance < 15) * amount * np.clip(1.2 - distance / 22 + 0.25 * np.sin(yy / 2) * np.cos(xx / 3), 0, None)
    image = (body + oil + rng.normal(0, 12, body.shape)).astype(np.float32)
    return AlignedView(image, oil > 100, distance < 17, (-100.0, 500.0))


def _timepoint(days: float, retention: float, seed: int, *, modality: str = "CT") -> LipiodolTimepoint:
    film = modality in ("XA", "DX")
    date = np.datetime64("2024-03-11") + int(days)
    source = _source(200 + seed, modality, str(date).replace("-", ""))
    mask = np.zeros((6, 20, 20), bool)
    mask[2:4, 8:13, 9:14] = True
    affine = np.array([[0, 0, 0.8, -40.0], [0, 0.8, 0, 12.5], [3.0, 0, 0, 100.0], [0, 0, 0, 1]])
    return LipiodolTimepoint(
        source=source,
        days=days,
        retention=retention,
        retention_interval=(retention * 0.88, retention * 1.11),
        iodine_mg=None if film else 640 * retention,
        iodine_mg_interval=None if film else (580 * retention, 710 * retention),
        oil_ml=None if film else 640 * retention / 480,
        relative_amount=retention if film else None,
        volume_mm3=None if film else 5200 * retention,
        coverage=None if film else {"75": 97 * retention, "160": 83 * retention, "215": 66 * retention},
        pattern=None if film else Pattern.DEFECTIVE,
        completeness=None if film else Completeness.MODERATE,
        margin_grade=MarginGrade.B if days == 7 else None,
        clipped_voxels=None if film else 12,
        deposit=None if film else LipiodolDeposit(mask, affine),
        views=_view(420 * retention, seed),
        quality=Quality.PROJECTION_LIMIT | Quality.RELATIVE_ONLY if film else Quality.CLIPPED_HU,
    )


def make_follow_up(*, unbounded: bool = False) -> FollowUpResult:
    """A lesion seen on CT after 1, 7 and 35 days and on a film after 21."""
    days = np.linspace(1, 60, 30)
    points = (
        _timepoint(1, 1.0, 1),
        _timepoint(7, 0.86, 2),
        _timepoint(21, 0.7, 4, modality="DX"),
        _timepoint(35, 0.52, 3),
    )
    kinetics = Kinetics(
        KineticsModel.MONO,
        36.0,
        (29.0, np.inf if unbounded else 47.0),
        tuple(days),
        tuple(np.exp(-np.log(2) * (days - 1) / 36.0)),
    )
    lesion = LesionCourse("L1", points, kinetics, (-31.2, 14.0, 108.0), LesionOrigin.ROI)
    liver = LesionCourse(
        "liver",
        tuple(
            replace(_timepoint(d, r, s), deposit=None, views=None)
            for d, r, s in ((1, 1.0, 1), (7, 0.2, 2), (35, 0.02, 3))
        ),
        None,
        quality=Quality.FEW_TIMEPOINTS,
    )
    return FollowUpResult((lesion,), liver, {"lipiodol": {"pad_mm": 5.0}}, Quality.CLIPPED_HU)


@pytest.fixture(scope="session")
def run_maker() -> MakeRun:
    """A function that makes synthetic runs."""
    return make_run


@pytest.fixture(scope="session")
def run_result() -> RunResult:
    """One ordinary synthetic run."""
    return make_run()


@pytest.fixture(scope="session")
def follow_up_maker() -> MakeFollowUp:
    """A function that makes synthetic follow-ups."""
    return make_follow_up


@pytest.fixture
def folder_of() -> Callable[[Source], str]:
    """Folder of a scan below its subject."""
    return lambda source: f"{source.date}/{source.series_instance_uid}"
