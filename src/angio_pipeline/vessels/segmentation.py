"""Which pixels are artery, vein, blush or catheter: a network given as a function, or a ridge filter.

Strategy of the filter, which tells arteries only: the arterial phase is summed into one picture
(the darkest each pixel gets); a ridge filter with one polarity finds centres that stand out of that
run's noise; hysteresis follows them down; each pixel near a centre belongs to the vessel when it
holds at least half of the centre's contrast (full width at half maximum).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage
from skimage.filters import apply_hysteresis_threshold
from skimage.morphology import remove_small_objects, skeletonize

from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Background, PerfusionMaps, SubtractedRun
from angio_pipeline.core.vessels import FrameVessels, VesselProbabilities, VesselSegmentation
from angio_pipeline.numerics.filters import gaussian, masked_gaussian, robust_sd
from angio_pipeline.numerics.ridges import RidgeResponse, bright_ridges, ridge_noise_sd
from angio_pipeline.vessels.pictures import RunPictures, picture_run

__all__ = ["Predict", "PredictFrame", "SegmentParams", "arterial_image", "segment", "vessel_contrast"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class SegmentParams(Params):
    """Settings of `segment`; lengths are for a 512-pixel frame and grow with it."""

    method: Literal["network", "filter"] = Field("network", description="what tells vessels; filter: ridges, no veins")
    network: str = Field("run", description="network of models/manifest.toml that tells vessels and blush")
    frame_network: str = Field("frame", description="network for runs that do not show contrast coming; empty: ridges")
    engine: Literal["auto", "torch", "openvino"] = Field(
        "auto",
        description="what runs networks; auto: torch on a GPU, else OpenVINO if it is there and agrees, else torch",
    )
    least_area_px: float = Field(
        12.0, ge=0, description="pieces that a network finds and that are no larger are dropped"
    )
    sigmas_px: tuple[float, ...] = Field(
        (1.0, 1.5, 2.2, 3.3, 5.0),
        min_length=1,
        description="widths of vessels that the ridge filter looks for, SD in pixels",
    )
    smoothing_px: float = Field(0.7, ge=0, description="blur of the picture before it, SD in pixels")
    seed_in_noise: float = Field(9.0, gt=0, description="ridge response that starts a vessel, in noise SDs")
    follow_in_noise: float = Field(4.5, gt=0, description="ridge response that continues it")
    anatomy_factor: float = Field(1.5, ge=1, description="times both, where anatomy was not subtracted in time")
    min_length_px: float = Field(20.0, ge=0, description="shorter pieces are dropped")
    late_s: float = Field(1.0, gt=0, description="a piece that fills this much after the last artery is none")
    width_fraction: float = Field(0.5, gt=0, lt=1, description="share of the centre's contrast at the vessel's edge")
    widest_px: float = Field(25.0, gt=1, description="what is wider is blush or background, not vessel")


# A network for runs, and one for a single frame in which contrast is dark.
Predict = Callable[[RunPictures], VesselProbabilities]
PredictFrame = Callable[[FloatArray], FrameVessels]


def segment(
    sub: SubtractedRun,
    maps: PerfusionMaps,
    *,
    params: SegmentParams,
    predict: Predict | None = None,
    predict_frame: PredictFrame | None = None,
) -> VesselSegmentation:
    """Return which pixels are artery, and with a network also vein, blush and catheter.

    Parameters
    ----------
    predict : callable, optional
        Tells what each pixel is from the pictures of a run in which contrast is seen to come; the ridge filter when
        None.
    predict_frame : callable, optional
        Tells vessels from the reference frame alone, where contrast is not seen to come.
    """
    if predict_frame is not None and not sub.timing_measurable:
        return _from_frame(sub, predict_frame, params)
    if predict is not None and sub.timing_measurable:
        return _from_network(sub, predict(picture_run(sub, maps)), params)
    image = arterial_image(sub, maps, smoothing_px=params.smoothing_px * _scale(sub))
    ridges = _ridges(image, sub, params)
    mask = _mask_from_ridges(image, ridges, sub.valid, params)
    if Quality.TIMES_UNKNOWN not in sub.quality:
        mask = _without_late_pieces(mask, maps.arrival_s, params)
    # A logistic of the response in noise units: 0.5 where a vessel is followed, 0.95 where one starts.
    slope = (params.seed_in_noise - params.follow_in_noise) / 2.94
    probability = 1 / (1 + np.exp(-(ridges.in_noise - params.follow_in_noise) / slope))
    return _result(np.where(sub.valid, probability, 0).astype(np.float32), mask)


def _from_network(sub: SubtractedRun, told: VesselProbabilities, params: SegmentParams) -> VesselSegmentation:
    artery = _without_specks(told.mask("artery") & sub.valid, params.least_area_px * _scale(sub) ** 2)
    quality = Quality.NONE if artery.any() else Quality.NO_VESSELS
    return VesselSegmentation(
        np.where(sub.valid, told.artery, 0).astype(np.float32),
        artery,
        _without_specks(told.mask("vein") & sub.valid, params.least_area_px * _scale(sub) ** 2),
        quality=quality | (Quality.UNFAMILIAR if told.unfamiliar else Quality.NONE),
        blush=np.where(sub.valid, told.blush, 0).astype(np.float32),
        blush_threshold=told.thresholds.get("blush", 0.5),
        catheter=told.mask("catheter") & sub.valid,
        vein_probability=np.where(sub.valid, told.vein, 0).astype(np.float32),
        catheter_probability=np.where(sub.valid, told.catheter, 0).astype(np.float32),
        method="network",
        network=told.network or None,
    )


def _from_frame(sub: SubtractedRun, predict_frame: PredictFrame, params: SegmentParams) -> VesselSegmentation:
    # What stands behind a shutter is no frame; its edge would look like a vessel.
    inside = np.where(sub.valid, sub.attenuation, np.float32(np.nan))
    told = predict_frame(-inside)
    probability = np.where(sub.valid, told.probability, 0).astype(np.float32)
    artery = _without_specks(told.mask & sub.valid, params.least_area_px * _scale(sub) ** 2)
    quality = Quality.NONE if artery.any() else Quality.NO_VESSELS
    quality |= Quality.UNFAMILIAR if told.unfamiliar else Quality.NONE
    return VesselSegmentation(
        probability, artery, quality=quality, method="frame network", network=told.network or None
    )


def _without_specks(mask: BoolArray, area_px: float) -> BoolArray:
    return np.asarray(remove_small_objects(np.array(mask), max_size=int(area_px), connectivity=2))


def arterial_image(sub: SubtractedRun, maps: PerfusionMaps, *, smoothing_px: float) -> FloatArray:
    """Return the greatest (lightly smoothed) contrast of each pixel in the arterial phase, (H, W) float32.

    The mean, where the run does not show contrast coming.
    """
    scale = _scale(sub)
    first, last = maps.phases.arterial.first, maps.phases.arterial.last
    chosen = [t for t in range(first, last + 1) if sub.usable[t]] or [sub.reference_frame]
    if sub.timing_measurable:
        out = np.full(sub.frames.shape[1:], -np.inf, dtype=np.float32)
        for t in chosen:
            np.maximum(out, gaussian(sub.frames[t], smoothing_px), out=out)
    else:
        # Nothing comes or goes: the mean says the same with less noise.
        out = gaussian(sub.frames[chosen].mean(axis=0, dtype=np.float32), smoothing_px)
    # Contrast only adds: what is brighter than the background (a halo, a rim) is no valley between vessels.
    np.maximum(out, np.float32(-sub.noise_sd), out=out)
    # The step at the edge of the valid area is no vessel: go on with what lies beside it.
    surroundings = masked_gaussian(out, sub.valid, 8 * scale)
    return np.where(sub.valid, out, surroundings)


def _scale(sub: SubtractedRun) -> float:
    return float(max(sub.frames.shape[1:])) / 512


def _result(probability: FloatArray, mask: BoolArray) -> VesselSegmentation:
    quality = Quality.NONE if mask.any() else Quality.NO_VESSELS
    return VesselSegmentation(probability, mask, quality=quality)


def _ridges(image: FloatArray, sub: SubtractedRun, params: SegmentParams) -> RidgeResponse:
    """Return ridges in units of the noise that this picture really has.

    White noise sets the floor; anatomy left by motion and the grain of parenchyma raise it, and
    they show as the median response away from vessels, which are few.
    """
    sigmas = [s * _scale(sub) for s in params.sigmas_px]
    white = max(sub.noise_sd, 1e-6)
    inside = ndimage.binary_erosion(sub.valid, iterations=max(1, round(5 * _scale(sub))))
    raised = white
    middle = sigmas[len(sigmas) // 2]
    if inside.any():
        curvature = ndimage.gaussian_laplace(image, middle)[inside] * middle**2
        # The Laplacian sums two second derivatives: variance 8 / (16 pi) against 3 / (16 pi) for one.
        raised = robust_sd(curvature) / ridge_noise_sd(1.0, middle) / np.sqrt(8 / 3)
    factor = params.anatomy_factor if sub.background is Background.SPATIAL else 1.0
    response = bright_ridges(image, sigmas, noise_sd=factor * max(white, raised))
    response.strength[~inside] = 0
    response.in_noise[~inside] = 0
    return response


def _mask_from_ridges(image: FloatArray, ridges: RidgeResponse, valid: BoolArray, params: SegmentParams) -> BoolArray:
    scale = max(image.shape) / 512
    core = apply_hysteresis_threshold(ridges.in_noise, params.follow_in_noise, params.seed_in_noise)
    centre = skeletonize(core)
    centre = remove_small_objects(centre, max_size=int(params.min_length_px * scale), connectivity=2)
    if not centre.any():
        return np.zeros(image.shape, dtype=np.bool_)
    contrast = vessel_contrast(image, params.widest_px * scale)
    distance, nearest = ndimage.distance_transform_edt(~centre, return_indices=True)
    at = tuple(nearest)
    wide = contrast >= params.width_fraction * contrast[at]
    mask = valid & (centre | (wide & (distance <= 2.0 * ridges.sigma_px[at] + 1)))
    # A vote of the neighbours smooths the edge; the centre itself is never voted out.
    smooth = ndimage.uniform_filter(mask.astype(np.float32), 3) > 0.5
    return np.asarray((smooth | centre) & valid, dtype=np.bool_)


def _without_late_pieces(mask: BoolArray, arrival_s: FloatArray, params: SegmentParams) -> BoolArray:
    """Return the mask without pieces that fill after the arteries: what motion leaves at edges, mostly."""
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if count < 2 or not np.isfinite(arrival_s[mask]).any():
        return mask
    sizes = ndimage.sum_labels(mask, pieces, index=np.arange(1, count + 1))
    largest = arrival_s[pieces == 1 + int(np.argmax(sizes))]
    last = np.nanpercentile(largest, 95) + params.late_s if np.isfinite(largest).any() else np.inf
    times = np.where(np.isfinite(arrival_s), arrival_s, -np.inf)
    median = ndimage.median(times, pieces, index=np.arange(count + 1))
    return np.asarray(mask & ~(median > last)[pieces], dtype=np.bool_)


def vessel_contrast(image: FloatArray, width_px: float) -> FloatArray:
    """Return the picture (H, W) above whatever is wider than `width_px`: a top-hat on a smoothed base, in its units."""
    size = int(width_px) | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    base = cv2.morphologyEx(gaussian(image, 1.5), cv2.MORPH_OPEN, disc)
    return image - gaussian(np.asarray(base, dtype=np.float32), width_px / 4)
