"""Tumour blush: compact regions that enhance beyond the liver around them once the arteries have emptied.

Where a network has told the blush, its regions are taken, cut apart where they are narrow (`waists`).
Otherwise the arteries' curve tells when they have emptied; the frames that follow, before veins
fill, are averaged into a picture of tissue (`tissue`). Regions that stand out of their surroundings
are outlined (`candidates`), and how they look in that picture and run in time gives a probability
(`evidence`). What cannot be told from liver is not guessed at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.followups import FilmRoi
from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import PerfusionMaps, SubtractedRun
from angio_pipeline.core.tumours import LesionOrigin, Tumour
from angio_pipeline.core.vessels import VesselSegmentation
from angio_pipeline.numerics.filters import resize
from angio_pipeline.tumour.candidates import find_candidates
from angio_pipeline.tumour.evidence import measure_evidence, tumour_probability
from angio_pipeline.tumour.placing import place_region
from angio_pipeline.tumour.tissue import TissuePicture, picture_tissue
from angio_pipeline.tumour.waists import split_at_waists

__all__ = ["BlushParams", "find_blush", "tumours_from_rois"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Scored = tuple[float, BoolArray]

_SHARED = 0.3
_AS_LIKELY = 0.1


class BlushParams(Params):
    """Settings of `find_blush`; where a network tells the blush, the least radius, probability and count hold."""

    window_s: float = Field(2.5, gt=0, description="frames this long after the arteries have emptied show the blush")
    emptied_share: float = Field(0.3, gt=0, lt=1, description="left of what the arteries lose when they have emptied")
    seed_in_liver: float = Field(0.04, gt=0, description="least rise that starts a candidate, in liver enhancements")
    candidates_per_size: int = Field(6, ge=1, le=100, description="places looked at, a size")
    max_area_fraction: float = Field(
        0.1, gt=0, le=1, description="of the valid frame; larger is no tumour; without a network"
    )
    everywhere_fraction: float = Field(0.6, gt=0, le=1, description="of the valid frame that enhances: 'everywhere'")
    least_radius_px: float = Field(4.0, gt=0, description="smaller is no tumour; for a 512-pixel frame")
    min_probability: float = Field(0.5, ge=0, le=1, description="of a tumour")
    max_count: int = Field(6, ge=1, description="no more are listed, a run")


def find_blush(
    sub: SubtractedRun, maps: PerfusionMaps, vessels: VesselSegmentation, *, params: BlushParams
) -> tuple[tuple[Tumour, ...], Quality]:
    """Return the tumours found, likeliest first, and flags.

    A blush is told from a vessel by when it comes: where contrast is not seen to come none is
    looked for, and the flag says that none was found.
    """
    if not sub.timing_measurable or (maps.phases.parenchymal is None and len(sub.frames) < 4):
        return (), Quality.NO_TUMOUR_BLUSH
    if vessels.blush is not None:
        return _from_probability(vessels.blush, vessels.blush_threshold, sub.valid, params)
    picture = picture_tissue(sub, vessels, window_s=params.window_s, emptied_share=params.emptied_share)
    likely = [s for s in _scored(picture, params) if s[0] >= params.min_probability]
    apart = _apart(likely)[: params.max_count]
    masks = ((p, _enlarged(region, sub.valid)) for p, region in apart)
    seen = [(p, mask) for p, mask in masks if mask.any()]
    tumours = tuple(Tumour(f"T{k + 1}", mask, p, LesionOrigin.DETECTED) for k, (p, mask) in enumerate(seen))
    if tumours:
        return tumours, Quality.NONE
    everywhere = _enhancing_share(picture) > params.everywhere_fraction
    return (), Quality.NO_TUMOUR_BLUSH | (Quality.BLUSH_EVERYWHERE if everywhere else Quality.NONE)


def _from_probability(
    blush: FloatArray, threshold: float, valid: npt.NDArray[np.bool_], params: BlushParams
) -> tuple[tuple[Tumour, ...], Quality]:
    """Return the tumours that a network sees: connected blush, cut at its waists, likeliest first.

    The network's threshold outlines blush; whether there is one is said by a region's likeliest twentieth. Where
    most of what is in view blushes there is no telling what of it is tumour.
    """
    if np.mean(blush[valid] >= threshold) > params.everywhere_fraction:
        return (), Quality.NO_TUMOUR_BLUSH | Quality.BLUSH_EVERYWHERE
    scale = max(blush.shape) / 512
    regions = split_at_waists(blush >= threshold, least_px=params.least_radius_px * scale)
    found = [(float(np.percentile(blush[region], 95)), region) for region in regions]
    likely = sorted((s for s in found if s[0] >= params.min_probability), key=lambda s: -s[0])[: params.max_count]
    tumours = tuple(Tumour(f"T{k + 1}", mask, p, LesionOrigin.DETECTED) for k, (p, mask) in enumerate(likely))
    return tumours, Quality.NONE if tumours else Quality.NO_TUMOUR_BLUSH


def tumours_from_rois(rois: Sequence[FilmRoi], sub: SubtractedRun) -> tuple[tuple[Tumour, ...], Quality]:
    """Return the regions given for this run as tumours, laid where the anatomy stands in the reference frame.

    One of another size, or drawn on a frame whose motion is not known, is flagged, not stretched.
    """
    size = sub.frames.shape[1:]
    placed = [place_region(roi, sub) for roi in rois if roi.mask.shape == size]
    fitting = [roi for roi in placed if roi is not None and roi.mask.any()]
    names: list[str] = []
    for roi in fitting:
        taken = sum(name == roi.id or name.startswith(f"{roi.id}-") for name in names)
        names.append(f"{roi.id}-{taken + 1}" if roi.id in names else roi.id)
    tumours = tuple(Tumour(n, roi.mask, 1.0, LesionOrigin.ROI) for n, roi in zip(names, fitting, strict=True))
    return tumours, Quality.NONE if len(fitting) == len(rois) else Quality.ROI_NOT_MATCHED


def _scored(picture: TissuePicture, params: BlushParams) -> list[Scored]:
    """Return candidates small enough to be a tumour with their probability, likeliest first."""
    largest = params.max_area_fraction * np.count_nonzero(picture.valid)
    regions = find_candidates(
        picture,
        seed_in_liver=params.seed_in_liver,
        per_size=params.candidates_per_size,
    )
    scored: list[Scored] = []
    for region in regions:
        evidence = measure_evidence(region, picture) if np.count_nonzero(region) <= largest else None
        if evidence is not None:
            scored.append((tumour_probability(evidence), region))
    return sorted(scored, key=lambda s: -s[0])


def _apart(scored: Sequence[Scored]) -> list[Scored]:
    """Return those that share little with a likelier one, or with a larger one that is as likely, likeliest first."""
    kept: list[Scored] = []
    for p, region in sorted(scored, key=lambda s: (-round(s[0] / _AS_LIKELY), -np.count_nonzero(s[1]))):
        smaller = [(other, min(np.count_nonzero(region), np.count_nonzero(other))) for _, other in kept]
        if all(np.count_nonzero(region & other) <= _SHARED * least for other, least in smaller):
            kept.append((p, region))
    return sorted(kept, key=lambda s: -s[0])


def _enlarged(region: BoolArray, valid: BoolArray) -> BoolArray:
    return np.asarray((resize(region.astype(np.float32), valid.shape) > 0.5) & valid)


def _enhancing_share(picture: TissuePicture) -> float:
    """Return the share of valid pixels that enhance at least half as much as the brightest do."""
    stain = picture.stain[picture.valid]
    return float(np.mean(stain > 0.5 * np.percentile(stain, 99))) if stain.size else 0.0
