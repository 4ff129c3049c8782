"""Two runs of one view, before embolisation and after it, compared from geometry to endpoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.embolisation import (
    BlushChange,
    ReferenceArtery,
    RunAlignment,
    RunComparison,
    SaceLevel,
    TumourChange,
)
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.tumours import Tumour
from angio_pipeline.core.vessels import VesselGraph
from angio_pipeline.embolisation.alignment import AlignmentParams, align_runs, arterial_mean, laid_upon
from angio_pipeline.embolisation.blush import BlushParams, blush_change, dilated, mean_about
from angio_pipeline.embolisation.endpoint import SaceParams, flow_to, sace_level
from angio_pipeline.embolisation.geometry import GeometryParams, check_geometry
from angio_pipeline.embolisation.pairing import PairingParams
from angio_pipeline.embolisation.patency import (
    ArterialWindow,
    FrameSet,
    PatencyParams,
    arterial_window,
    feeder_change,
)
from angio_pipeline.embolisation.reference_artery import (
    Clock,
    ReferenceParams,
    choose_reference,
    reference_artery,
    set_clock,
    trunk_branches,
)
from angio_pipeline.embolisation.strips import StripParams, read_strip

__all__ = ["EmbolisationParams", "compare_runs"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class EmbolisationParams(Params):
    """Settings of `compare_runs`, and of which runs are compared at all."""

    pairing: PairingParams = PairingParams()
    geometry: GeometryParams = GeometryParams()
    alignment: AlignmentParams = AlignmentParams()
    strips: StripParams = StripParams()
    reference: ReferenceParams = ReferenceParams()
    patency: PatencyParams = PatencyParams()
    blush: BlushParams = BlushParams()
    sace: SaceParams = SaceParams()
    tip_probability: float = Field(0.6, ge=0, le=1, description="of both catheter tips, to compare where they stand")
    tip_mm: float = Field(15.0, gt=0, description="farther along the tree than this, the catheter is more selective")
    tip_px: float = Field(36.0, gt=0, description="the same without calibration, for a 512-pixel frame")


@dataclass(frozen=True, slots=True, eq=False)
class _Laid:
    """Two runs laid upon each other; `elsewhere` says that the catheter was more selective after, if it was."""

    frames: FrameSet
    clock: Clock
    reference: ReferenceArtery
    window: ArterialWindow
    graph: VesselGraph
    placed: bool
    elsewhere: str


def compare_runs(before: RunResult, after: RunResult, *, params: EmbolisationParams) -> RunComparison:
    """Return what became of each tumour of the run before, of its feeders and of its blush.

    Raises
    ------
    InputRefused
        When the runs cannot be compared; `reason` names why (see `check_geometry`, `align_runs`,
        `choose_reference` and `set_clock`), or `no_tumour` when the run before shows none.
    """
    check_geometry(before, after, params=params.geometry)
    if not before.tumours:
        raise InputRefused(
            "Expected a tumour in the run before embolisation, found none; draw one on that run (--roi).",
            reason="no_tumour",
        )
    alignment = align_runs(before, after, _trunk(before, params), params=params.alignment)
    frames = _frames(before, after, alignment)
    reference, clock = _reference(before, after, frames, alignment, params)
    elsewhere = _more_selective(before, after, alignment, params)
    window = arterial_window(frames, clock, reference, params=params.patency)
    laid = _Laid(frames, clock, reference, window, before.graph, alignment.by_vessels, elsewhere)
    every = np.logical_or.reduce([tumour.mask for tumour in before.tumours])
    if _displayed(before, after):
        # Through an unknown display curve nothing is sure of what liver takes away, so all of it makes the interval.
        params = params.model_copy(update={"blush": params.blush.model_copy(update={"share_spread": 1.0})})
    tumours = tuple(_tumour(tumour, every, laid, params) for tumour in before.tumours)
    at_s = _picture_time(tumours, clock)
    pictures = _pictures(frames, clock, reference, at_s, params)
    return RunComparison(
        before=before.run.source,
        after=after.run.source,
        alignment=alignment,
        reference=reference,
        times_s=clock.times_s,
        tumours=tumours,
        picture_before=pictures[0],
        picture_after=pictures[1],
        picture_time_s=at_s,
        cautions=_cautions(before, after, alignment, reference, elsewhere),
        quality=before.subtracted.quality | after.subtracted.quality,
    )


def _trunk(before: RunResult, params: EmbolisationParams) -> BoolArray:
    """Return the centrelines of the arteries near the root, or all arteries of a run without a tree, (H, W)."""
    out = np.zeros(before.vessels.artery.shape, np.bool_)
    reach_px = params.reference.reach * max(out.shape)
    for index in trunk_branches(before.graph, before.tumours, reach_px, params=params.reference):
        places = np.rint(before.graph.branches[index].centreline).astype(int)
        rows, cols = (np.clip(places[:, k], 0, out.shape[k] - 1) for k in (0, 1))
        out[rows, cols] = True
    return out if out.any() else before.vessels.artery


def _frames(before: RunResult, after: RunResult, alignment: RunAlignment) -> FrameSet:
    one, other = before.subtracted, after.subtracted
    moved, seen = laid_upon(other.frames[other.usable], alignment, other.valid)
    artery, _ = laid_upon(after.vessels.artery[None].astype(np.float32), alignment, other.valid)
    return FrameSet(
        before=one.frames[one.usable],
        after=moved,
        noise_sd=(one.noise_sd, other.noise_sd),
        seen=one.valid & seen,
        vessels=before.vessels.artery | (artery[0] > 0.5),
        pixel_mm=one.spacing.mean_mm if one.spacing is not None and one.spacing.in_patient else None,
    )


def _reference(
    before: RunResult, after: RunResult, frames: FrameSet, alignment: RunAlignment, params: EmbolisationParams
) -> tuple[ReferenceArtery, Clock]:
    """Return the reference artery and the shared times.

    Raises
    ------
    InputRefused
        As `choose_reference` and `set_clock` say.
    """
    arterial = arterial_mean(before), laid_upon(arterial_mean(after)[None], alignment, after.subtracted.valid)[0][0]
    strip, index, how = choose_reference(
        before.graph,
        before.tumours,
        arterial,
        frames.noise_sd,
        frames.vessels,
        _blocked(before, after, frames, alignment),
        strips=params.strips,
        params=params.reference,
    )
    curves = tuple(np.array([read_strip(frame, strip) for frame in stack]) for stack in (frames.before, frames.after))
    times = [result.subtracted.times_s[result.subtracted.usable] for result in (before, after)]
    clock = set_clock((curves[0], curves[1]), (times[0], times[1]), params=params.reference)
    diameter = before.graph.branches[index].diameter_px
    return reference_artery(strip, diameter, (curves[0], curves[1]), clock, how), clock


def _blocked(before: RunResult, after: RunResult, frames: FrameSet, alignment: RunAlignment) -> BoolArray:
    """Return where no artery may be read: where a catheter lies in either run, or one of them shows nothing."""
    out = ~frames.seen
    if before.vessels.catheter is not None:
        out |= dilated(before.vessels.catheter, 2 * frames.scale)
    if after.vessels.catheter is not None:
        lying = after.vessels.catheter[None].astype(np.float32)
        moved, _ = laid_upon(lying, alignment, after.subtracted.valid)
        out |= dilated(moved[0] > 0.5, 2 * frames.scale)
    return out


def _more_selective(before: RunResult, after: RunResult, alignment: RunAlignment, params: EmbolisationParams) -> str:
    """Return a sentence that the catheter stood farther down the tree after embolisation; empty when it did not.

    Without a tip that was surely found in both runs nothing is said: whether the arteries near the root are
    filled tells as much.
    """
    tips = before.tip, after.tip
    if tips[0] is None or tips[1] is None or min(tip.probability for tip in tips if tip) < params.tip_probability:
        return ""
    shift = alignment.mean_shift_px
    place = np.array([tips[1].row - shift[0], tips[1].col - shift[1]])
    root = np.array([tips[0].row, tips[0].col])
    spacing, scale = before.subtracted.spacing, max(before.subtracted.valid.shape) / 512
    per_px = spacing.mean_mm if spacing is not None and spacing.in_patient else None
    farthest = params.tip_mm / per_px if per_px else params.tip_px * scale
    apart = float(np.linalg.norm(place - root))
    lines = [branch.centreline for branch in before.graph.branches]
    on_tree = min((float(np.linalg.norm(line - place, axis=1).min()) for line in lines), default=np.inf)
    # A tip that lies on no artery of the run before was drawn back, or stands in a vessel that was not filled then.
    if apart <= farthest or on_tree > 6 * scale:
        return ""
    told = f"{apart * per_px:.0f} mm" if per_px else f"{apart:.0f} pixels"
    return (
        f"The catheter's tip stood {told} farther down the tree after embolisation: what it did not fill looks closed."
    )


def _tumour(tumour: Tumour, every: BoolArray, laid: _Laid, params: EmbolisationParams) -> TumourChange:
    """Return what became of one tumour; `every` are all of them together."""
    feeders = tuple(
        feeder_change(
            feeder,
            laid.frames,
            laid.window,
            laid.graph,
            placed=laid.placed,
            avoid=laid.frames.vessels | every,
            strips=params.strips,
            params=params.patency,
        )
        for feeder in tumour.feeders
        if feeder.worth_showing
    )
    read = blush_change(tumour, every, laid.frames, laid.clock, laid.reference, params=params.blush)
    blush, problem = (None, read) if isinstance(read, str) else (read, read.reason)
    flow, flow_words = flow_to(feeders, params=params.sace)
    level: SaceLevel | None = None
    if laid.elsewhere:
        reason = laid.elsewhere
    elif blush is not None and _peaks_late(blush, laid.clock):
        reason = "A run ends before the blush reaches its peak."
    else:
        level, reason = sace_level(flow, flow_words, blush, problem, params=params.sace)
    return TumourChange(tumour.id, tumour.mask, blush, feeders, flow, level, reason)


def _peaks_late(blush: BlushChange, clock: Clock) -> bool:
    """Return whether the blush before still rises when the shared times end."""
    return bool(np.isfinite(blush.residual)) and blush.before.time_to_peak_s >= clock.times_s[-1] - 1e-9


def _picture_time(tumours: tuple[TumourChange, ...], clock: Clock) -> float:
    """Return when the blushes before are greatest, by their median; the end of the shared times without any."""
    known = [t.blush.before.time_to_peak_s for t in tumours if t.blush is not None and np.isfinite(t.blush.residual)]
    return float(np.median(known)) if known else float(clock.times_s[-1])


def _pictures(
    frames: FrameSet, clock: Clock, reference: ReferenceArtery, at_s: float, params: EmbolisationParams
) -> tuple[FloatArray, FloatArray]:
    """Return the contrast of both runs about one time over the reference artery's units, (H, W); NaN out of view."""
    images = []
    for stack, taking, unit in (
        (frames.before, clock.before, reference.unit_before),
        (frames.after, clock.after, reference.unit_after),
    ):
        mean = mean_about(stack, taking, clock, at_s, params.blush.about_s) / np.float32(unit)
        images.append(np.where(frames.seen, mean, np.float32(np.nan)).astype(np.float32))
    return images[0], images[1]


def _displayed(before: RunResult, after: RunResult) -> bool:
    """Return whether values of either run went through a display transform."""
    return Quality.DISPLAY_VALUES in before.subtracted.quality | after.subtracted.quality


def _cautions(
    before: RunResult, after: RunResult, alignment: RunAlignment, reference: ReferenceArtery, elsewhere: str
) -> tuple[str, ...]:
    told = []
    lasted = reference.durations_s
    if not 0.8 <= lasted[1] / lasted[0] <= 1.25:
        told.append(
            f"The injections lasted {lasted[0]:.1f} s and {lasted[1]:.1f} s: residual blush and areas allow for it, "
            "peak and wash-in over the artery's do not."
        )
    if not alignment.by_vessels:
        told.append("The runs were aligned by bone alone: vessels may stand elsewhere, and no feeder is judged.")
    if alignment.anatomy_shift_px is None:
        told.append("No anatomy without contrast could be compared: that both runs show one view rests on their files.")
    if elsewhere:
        told.append(elsewhere)
    if _displayed(before, after):
        told.append("Values went through a display transform: ratios are rough, most of all where contrast is strong.")
    if before.run.table_mm is None or after.run.table_mm is None:
        told.append("The files do not tell the table's position: it was judged by the anatomy alone.")
    return tuple(told)
