"""Fifth step: how much of a tumour's blush is left.

In projection a tumour is seen through liver that stains as well. Its own curve is what the region's mean
holds above a share b of the mean of a ring around it,

    B(t) = T(t) - b R(t),      b = min(1 - 4/3 r / L, the largest b with B >= 0 in both runs while R stains)

with r the radius of a disc of the tumour's area and L the thickness of liver that the rays pass: a ball of radius r
has a mean chord of 4/3 r, and liver that the tumour has displaced does not stain. With b = 1 an
embolised tumour would take contrast away from the picture. The share is one for both runs, as the
geometry is. What remains unknown of it makes most of the interval.

A longer injection stains more. Tissue is a linear system, B = a * h with a the reference artery and h the
tissue's own response; so each run's stain is convolved with the other run's artery, which shows both as
one and the same injection would:

    residual = max (B_after * a_before) / max (B_before * a_after)

The area that stains counts pixels whose stain, averaged about the time of the peak, reaches half the median of
the tumour before embolisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.embolisation import BlushChange, Passage, ReferenceArtery
from angio_pipeline.core.params import Params
from angio_pipeline.core.tumours import Tumour
from angio_pipeline.embolisation.patency import FrameSet
from angio_pipeline.embolisation.reference_artery import Clock
from angio_pipeline.numerics.curves import steepest_rise
from angio_pipeline.numerics.filters import gaussian

__all__ = ["BlushParams", "blush_change", "dilated", "mean_about"]

Curve = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
# An artery that reaches half its contrast at 0 begins to fill less than this before.
_RISE_S = 0.7


class BlushParams(Params):
    """Settings of `blush_change`; pixel lengths are for a 512-pixel frame and grow with it, all chosen by hand."""

    gap_px: float = Field(3.0, ge=0, description="between tumour and ring: a blush has no sharp edge")
    ring_px: tuple[float, ...] = Field(
        (8.0, 12.0, 20.0),
        min_length=1,
        description="outer edge of the ring; the middle one counts, all make the interval",
    )
    least_ring_px: float = Field(100.0, gt=0, description="pixels that a ring needs")
    vessel_margin_px: float = Field(1.0, ge=0, description="about arteries, left out of tumour and ring")
    least_tissue: float = Field(0.25, gt=0, le=1, description="share of a tumour that no artery covers, to be read")
    in_view: float = Field(0.7, gt=0, le=1, description="share of a tumour that both runs have to show")
    liver_mm: float = Field(
        100.0, gt=0, description="thickness of liver that the rays pass, for what a tumour displaces"
    )
    usual_share: float = Field(0.85, ge=0, le=1, description="of the ring, where no calibration tells a tumour's size")
    share_spread: float = Field(0.2, ge=0, le=1, description="by which the share of the ring may be too large")
    stains: float = Field(0.3, gt=0, lt=1, description="of its peak: the ring stains enough to tell the share")
    least_share: float = Field(0.2, ge=0, le=1, description="of the region's peak; a fainter blush does not stand out")
    least_in_noise: float = Field(5.0, gt=0, description="the blush before, over its noise before contrast comes")
    repeat_error: float = Field(0.08, ge=0, le=1, description="relative standard error between two runs of one blush")
    uneven_error: float = Field(
        0.04, ge=0, le=1, description="standard error of a residual from uneven liver; set on simulated patients"
    )
    about_s: float = Field(1.0, gt=0, description="on both sides of the peak, for the picture of the stain")
    area_level: float = Field(0.5, gt=0, lt=1, description="of the median stain before: such a pixel stains")
    smoothing_px: float = Field(1.5, ge=0, description="of the picture of the stain")


@dataclass(frozen=True, slots=True, eq=False)
class _Curves:
    """Mean attenuation in the tumour and in its ring, each before and after, over the reference artery's units."""

    tumour: tuple[Curve, Curve]
    ring: tuple[Curve, Curve]

    def share(self, stains: float, most: float = 1.0) -> float:
        """Return the largest share of the ring, up to `most`, that leaves no stain below 0 while the ring stains."""
        found = [most]
        for tumour, ring in zip(self.tumour, self.ring, strict=True):
            enough = ring >= stains * ring.max()
            # Where the liver of one run hardly stains, as in stasis, noise would decide.
            if ring.max() > 0 and ring.max() >= stains * self.ring[0].max():
                found.append(float((tumour[enough] / ring[enough]).min()))
        return max(0.0, min(found))

    def above(self, share: float) -> tuple[Curve, Curve]:
        """Return the tumour's own curves before and after."""
        before, after = (tumour - share * ring for tumour, ring in zip(self.tumour, self.ring, strict=True))
        return before, after


def dilated(mask: BoolArray, px: float) -> BoolArray:
    """Return the mask (H, W) grown by about `px` on all sides."""
    size = 2 * round(px) + 1
    if size <= 1:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)


def blush_change(
    tumour: Tumour,
    all_tumours: BoolArray,
    frames: FrameSet,
    clock: Clock,
    reference: ReferenceArtery,
    *,
    params: BlushParams,
) -> BlushChange | str:
    """Return how a tumour's blush changed, or why it cannot be read at all.

    Parameters
    ----------
    all_tumours : ndarray, (H, W) bool
        Every tumour of the run, whose stain is no surroundings.
    """
    vessels = dilated(frames.vessels, params.vessel_margin_px * frames.scale)
    seen = tumour.mask & frames.seen
    if seen.sum() < params.in_view * tumour.area_px:
        return "it lies outside what both runs show"
    tissue = seen & ~vessels
    if tissue.sum() < params.least_tissue * tumour.area_px:
        return "arteries lie over most of it"
    rings = _rings(tumour, all_tumours, vessels, frames, params)
    every = [_curves(tissue, ring, frames, clock, reference, params) for ring in rings]
    known = [curves for curves in every if curves is not None]
    middle = every[len(every) // 2] or (known[0] if known else None)
    if middle is None:
        return "there is no tissue around it to compare with"
    return _changed(tissue, middle, known, _expected_share(tumour, frames, params), frames, clock, reference, params)


def _changed(
    tissue: BoolArray,
    middle: _Curves,
    known: list[_Curves],
    most: float,
    frames: FrameSet,
    clock: Clock,
    reference: ReferenceArtery,
    params: BlushParams,
) -> BlushChange:
    """Return the change of a blush from its curves with the middle ring, and with all of them."""
    share = middle.share(params.stains, most)
    own = middle.above(share)
    stains = _stains(tissue, middle, own, share, frames, clock, reference, params)
    faint = _too_faint(middle, own, clock, params)
    unknown = float("nan")
    return BlushChange(
        residual=unknown if faint else _residual(own, clock, reference),
        residual_interval=(unknown, unknown) if faint else _interval(known, own, most, clock, reference, params),
        residual_area=unknown if faint or not stains[0] else stains[1] / stains[0],
        area_before_px=stains[0],
        area_after_px=stains[1],
        surroundings_share=share,
        before=_passage(own[0] * reference.unit_before, reference.before, clock),
        after=_passage(own[1] * reference.unit_after, reference.after, clock),
        curve_before=own[0],
        curve_after=own[1],
        reason=faint,
    )


def _expected_share(tumour: Tumour, frames: FrameSet, params: BlushParams) -> float:
    """Return the share of the liver's thickness that lies in front of the tumour and behind it, at least a half."""
    if frames.pixel_mm is None:
        return params.usual_share
    radius_mm = float(np.sqrt(tumour.area_px / np.pi)) * frames.pixel_mm
    return max(0.5, 1 - 4 / 3 * radius_mm / params.liver_mm)


def _rings(
    tumour: Tumour, all_tumours: BoolArray, vessels: BoolArray, frames: FrameSet, params: BlushParams
) -> list[BoolArray]:
    kept_off = dilated(all_tumours, params.gap_px * frames.scale) | vessels
    return [dilated(tumour.mask, edge * frames.scale) & ~kept_off & frames.seen for edge in params.ring_px]


def _curves(
    tissue: BoolArray,
    ring: BoolArray,
    frames: FrameSet,
    clock: Clock,
    reference: ReferenceArtery,
    params: BlushParams,
) -> _Curves | None:
    if ring.sum() < params.least_ring_px * frames.scale**2:
        return None
    runs = _runs(frames, clock, reference)
    pairs = [
        [taking @ stack[:, region].mean(axis=1, dtype=np.float64) / unit for stack, taking, unit in runs]
        for region in (tissue, ring)
    ]
    return _Curves((pairs[0][0], pairs[0][1]), (pairs[1][0], pairs[1][1]))


def _runs(
    frames: FrameSet, clock: Clock, reference: ReferenceArtery
) -> tuple[tuple[FloatArray, npt.NDArray[np.float64], float], ...]:
    """Return of each run its frames, how the clock takes them, and what its stain is given over."""
    return (
        (frames.before, clock.before, reference.unit_before),
        (frames.after, clock.after, reference.unit_after),
    )


def _residual(own: tuple[Curve, Curve], clock: Clock, reference: ReferenceArtery) -> float:
    """Return the peak after over the peak before, each as the other run's injection would show it too."""
    # Long before the artery fills there is noise alone, which would only delay both alike.
    filled = clock.times_s >= -_RISE_S
    others = (reference.after[filled] / reference.areas_s[1], reference.before[filled] / reference.areas_s[0])
    before, after = (float(np.convolve(one, other)[: len(one)].max()) for one, other in zip(own, others, strict=True))
    return max(0.0, after) / before if before > 0 else float("nan")


def _interval(
    known: list[_Curves],
    own: tuple[Curve, Curve],
    most: float,
    clock: Clock,
    reference: ReferenceArtery,
    params: BlushParams,
) -> tuple[float, float]:
    """Return what other rings, more or less of them, noise, uneven liver, and repeating a run leave possible."""
    found = [_residual(own, clock, reference)]
    for curves in known:
        largest, expected = curves.share(params.stains), curves.share(params.stains, most)
        for less in (largest, expected, max(0.0, expected - params.share_spread)):
            value = _residual(curves.above(less), clock, reference)
            found += [value] if np.isfinite(value) else []
    noise = _noise(own, clock) / max(float(own[0].max()), 1e-9)
    always = float(np.hypot(noise, params.uneven_error))
    low, high = (1.96 * float(np.hypot(always, params.repeat_error * value)) for value in (min(found), max(found)))
    return max(0.0, min(found) - low), max(found) + high


def _noise(own: tuple[Curve, Curve], clock: Clock) -> float:
    """Return the spread of both curves before contrast comes; at least two times are needed, else 0."""
    early = clock.times_s < -max(clock.frame_s, 0.5)
    if early.sum() < 2:
        return 0.0
    return float(max(curve[early].std() for curve in own))


def _too_faint(curves: _Curves, own: tuple[Curve, Curve], clock: Clock, params: BlushParams) -> str:
    top, whole = float(own[0].max()), float(curves.tumour[0].max())
    if top >= params.least_share * whole and top >= params.least_in_noise * _noise(own, clock):
        return ""
    part = 100 * top / max(whole, 1e-9)
    return f"its blush before does not stand out of its surroundings ({part:.0f} % of what is seen)"


def _passage(own: Curve, artery: Curve, clock: Clock) -> Passage:
    times = clock.times_s
    rises = [float(steepest_rise(curve[:, None].astype(np.float32), times)[0]) for curve in (own, artery)]
    return Passage(
        peak=max(0.0, float(own.max())) / float(artery.max()),
        auc=float(np.trapezoid(own, times)) / float(np.trapezoid(artery, times)),
        wash_in=max(0.0, rises[0]) / rises[1],
        time_to_peak_s=float(times[int(np.argmax(own))]),
    )


def mean_about(
    stack: FloatArray, taking: npt.NDArray[np.float64], clock: Clock, at_s: float, about_s: float
) -> FloatArray:
    """Return the mean of a run's frames over the shared times within `about_s` of `at_s`, (H, W)."""
    near = np.abs(clock.times_s - at_s) <= about_s + 1e-9
    if not near.any():
        near = np.abs(clock.times_s - at_s) <= np.abs(clock.times_s - at_s).min() + 1e-9
    weights = taking[near].mean(axis=0)
    used = weights != 0
    return np.asarray(np.tensordot(weights[used], stack[used], axes=1), dtype=np.float32)


def _stains(
    tissue: BoolArray,
    curves: _Curves,
    own: tuple[Curve, Curve],
    share: float,
    frames: FrameSet,
    clock: Clock,
    reference: ReferenceArtery,
    params: BlushParams,
) -> tuple[int, int]:
    """Return how many pixels of the tumour stain before and after."""
    images = []
    runs = _runs(frames, clock, reference)
    for (stack, taking, unit), curve, ring in zip(runs, own, curves.ring, strict=True):
        at_s = float(clock.times_s[int(np.argmax(curve))])
        near = np.abs(clock.times_s - at_s) <= params.about_s + 1e-9
        image = mean_about(stack, taking, clock, at_s, params.about_s) / np.float32(unit)
        images.append(gaussian(image, params.smoothing_px * frames.scale) - np.float32(share * ring[near].mean()))
    level = params.area_level * float(np.median(images[0][tissue]))
    if level <= 0:
        return 0, 0
    return int((images[0][tissue] >= level).sum()), int((images[1][tissue] >= level).sum())
