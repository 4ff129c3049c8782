"""Shunts: veins that fill before the liver's own parenchyma could have filled them.

Strategy: where a network has told veins, every branch of the arterial tree and every piece of a told vein is asked
whether it fills as a vein behind a shunt does: with the arteries, but wide for its contrast and a little later. What
lies together of such pieces is one drainage, and its length decides (`early_veins`).

Without a network, ridges that are no artery are looked for while arteries fill; one that is wide, long
and fills before the liver tissue around it has reached half of its own peak drains something
else. Judged against the liver's own arrival, never against a fixed time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage
from skimage.filters import apply_hysteresis_threshold
from skimage.measure import label, regionprops
from skimage.morphology import skeletonize

from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Background, PerfusionMaps, SubtractedRun
from angio_pipeline.core.tumours import Shunt, ShuntKind, Tumour
from angio_pipeline.core.vessels import CatheterTip, VesselGraph, VesselSegmentation
from angio_pipeline.numerics.curves import first_crossing
from angio_pipeline.numerics.filters import resize, shrink
from angio_pipeline.numerics.ridges import bright_ridges
from angio_pipeline.tumour.early_veins import EarlyVeinParams, early_veins

__all__ = ["ShuntParams", "can_show_shunts", "find_shunts"]

BoolArray = npt.NDArray[np.bool_]


class ShuntParams(Params):
    """Settings of `find_shunts`; lengths are for a 512-pixel frame and grow with it."""

    sigmas_px: tuple[float, ...] = Field(
        (4.0, 6.0, 8.0), description="widths of veins that are looked for, SD in pixels"
    )
    seed_in_noise: float = Field(90.0, gt=0, description="ridge response that starts a vein, in noise SDs")
    follow_in_noise: float = Field(45.0, gt=0, description="ridge response that continues it")
    min_length_px: float = Field(50.0, gt=0, description="shorter pieces are no vein")
    reach_px: float = Field(30.0, gt=0, description="how far from an artery an early vein may begin")
    lead_s: float = Field(0.7, ge=0, description="how long before the liver's arrival counts as early")
    min_probability: float = Field(0.5, ge=0, le=1, description="below this none is listed")
    early: EarlyVeinParams = EarlyVeinParams()


def find_shunts(
    sub: SubtractedRun,
    maps: PerfusionMaps,
    vessels: VesselSegmentation,
    graph: VesselGraph,
    tumours: tuple[Tumour, ...],
    *,
    tip: CatheterTip | None,
    params: ShuntParams,
) -> tuple[tuple[Shunt, ...], Quality]:
    """Return early venous fillings; flagged as not assessed where the run has no mask or no tissue phase."""
    if not can_show_shunts(sub, maps):
        return (), Quality.SHUNT_NOT_ASSESSED
    if vessels.vein_probability is not None:
        told = early_veins(sub, maps, vessels, graph, params=params.early)
        return tuple(shunt for shunt in told if shunt.probability >= params.min_probability), Quality.NONE
    liver_arrival = _liver_arrival(sub, vessels, tumours)
    if not np.isfinite(liver_arrival):
        return (), Quality.SHUNT_NOT_ASSESSED
    found = []
    scale = max(sub.valid.shape) / 512
    beside = ndimage.distance_transform_edt(~vessels.artery) <= params.reach_px * scale
    for region in _wide_ridges(sub, maps, vessels, tumours, params):
        # A shunt is fed by an artery: what fills early far from all of them has moved, not filled.
        if not (region & beside).any():
            continue
        arrival = _mean_arrival(sub, region)
        shunt = _judge(region, arrival, liver_arrival, graph, tip, params, scale)
        if shunt is not None and shunt.probability >= params.min_probability:
            found.append(shunt)
    return tuple(sorted(found, key=lambda s: -s.probability)), Quality.NONE


def can_show_shunts(sub: SubtractedRun, maps: PerfusionMaps) -> bool:
    """Return whether early can be told from late: contrast is seen to come, at known times, and tissue to fill."""
    untimed = sub.background is Background.TEMPORAL or not sub.timing_measurable
    untimed |= Quality.TIMES_UNKNOWN in sub.quality
    return not untimed and maps.phases.parenchymal is not None


def _liver_arrival(sub: SubtractedRun, vessels: VesselSegmentation, tumours: tuple[Tumour, ...]) -> float:
    """Return when enhancing tissue, vessels and tumours left out, rises through half its peak."""
    away = ~ndimage.binary_dilation(vessels.artery, iterations=4) & sub.valid
    for tumour in tumours:
        away &= ~tumour.mask
    if not away.any():
        return float("nan")
    peak = sub.frames.mean(axis=0)
    tissue = away & (peak >= np.percentile(peak[away], 70))
    return _mean_arrival(sub, tissue)


def _mean_arrival(sub: SubtractedRun, region: BoolArray) -> float:
    curve = sub.frames[:, region].mean(axis=1)[sub.usable].astype(np.float32)
    return float(first_crossing(curve[:, None], sub.times_s[sub.usable], np.float32(0.5) * curve.max(keepdims=True))[0])


def _wide_ridges(
    sub: SubtractedRun,
    maps: PerfusionMaps,
    vessels: VesselSegmentation,
    tumours: tuple[Tumour, ...],
    params: ShuntParams,
) -> list[BoolArray]:
    """Return long wide ridges of the arterial and early parenchymal frames that are not artery."""
    scale = max(sub.valid.shape) / 512
    last = min(maps.phases.arterial.last + 2, len(sub.frames) - 1)
    frames = [t for t in range(maps.phases.arterial.first, last + 1) if sub.usable[t]]
    free = sub.valid & ~ndimage.binary_dilation(vessels.artery, iterations=max(1, round(3 * scale)))
    if vessels.catheter is not None:
        # Its lumen holds contrast before any vessel does.
        free &= ~ndimage.binary_dilation(vessels.catheter, iterations=max(1, round(6 * scale)))
    for tumour in tumours:
        free &= ~ndimage.binary_dilation(tumour.mask, iterations=max(1, round(4 * scale)))
    # Wide ridges lose nothing at half the size.
    factor = max(1, round(2 * scale))
    image = shrink(sub.frames[frames].mean(axis=0), factor)
    noise = max(sub.noise_sd, 1e-6) / factor / np.sqrt(len(frames))
    ridges = bright_ridges(image, [s * scale / factor for s in params.sigmas_px], noise_sd=noise)
    strength = np.where(shrink(free.astype(np.float32), factor) > 0.5, ridges.in_noise, 0)
    core = label(apply_hysteresis_threshold(strength, params.follow_in_noise, params.seed_in_noise))
    long_enough = []
    for found in regionprops(core):
        region = core == found.label
        if np.count_nonzero(skeletonize(region)) >= params.min_length_px * scale / factor:
            long_enough.append(resize(region.astype(np.float32), sub.valid.shape) > 0.5)
    return long_enough


def _judge(
    region: BoolArray,
    arrival_s: float,
    liver_arrival_s: float,
    graph: VesselGraph,
    tip: CatheterTip | None,
    params: ShuntParams,
    scale: float,
) -> Shunt | None:
    """Return the shunt with a hand-set probability, or None when the filling is not early.

    Which system it drains to is read from where it lies: the portal vein runs with the hepatic
    artery towards the hilum, hepatic veins run away from it.
    """
    lead = liver_arrival_s - arrival_s
    if not np.isfinite(lead) or lead < params.lead_s:
        return None
    points = np.argwhere(region)
    row, col = points.mean(axis=0)
    hilum = graph.nodes[graph.root] if graph.root is not None and len(graph.nodes) else np.array([row, col])
    if tip is not None:
        hilum = np.array([tip.row, tip.col])
    nearest = float(np.linalg.norm(points - hilum, axis=1).min()) / scale
    kind = ShuntKind.ARTERIOPORTAL if nearest < 120 else ShuntKind.ARTERIOVENOUS
    length = float(np.count_nonzero(skeletonize(region))) / scale
    score = 1.2 * (lead - params.lead_s) + 0.012 * (length - params.min_length_px) - 0.6
    return Shunt(kind, float(1 / (1 + np.exp(-score))), float(row), float(col), arrival_s)
