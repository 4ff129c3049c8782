"""The scans of one patient in order of time, each surveyed and aligned with the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.followups import CtVolume, VolumeRoi
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.results import Refusal
from angio_pipeline.lipiodol.finding import FindingParams, find_lesions
from angio_pipeline.lipiodol.lesions import Lesion
from angio_pipeline.lipiodol.registration import Alignment, RegistrationParams, align
from angio_pipeline.lipiodol.tissue import Tissue, TissueParams, has_enhanced_aorta, survey, with_given_liver
from angio_pipeline.numerics import volumes as space

__all__ = [
    "Scan",
    "first_moment",
    "made_alike",
    "may_lie_on",
    "moment_of",
    "order_sources",
    "place_scans",
    "set_refused_aside",
]

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One scan in its place in the course.

    Attributes
    ----------
    days : float
        Since treatment, else since the first scan; negative before treatment.
    baseline : bool
        Acquired before the treatment; where its date is unknown, before the first scan that shows oil.
    contrast : bool
        Contrast medium was given into a vein: the header says so, or the aorta shows it.
    """

    volume: CtVolume
    days: float
    baseline: bool
    contrast: bool
    tissue: Tissue
    alignment: Alignment

    def motion_to(self, lesion: Lesion) -> npt.NDArray[np.float64]:
        """Return the rigid motion from the reference to this scan about a lesion, (4, 4)."""
        return self.alignment.near(lesion.points_in(np.eye(4)))


def first_moment(sources: Sequence[Source]) -> datetime | None:
    """Return the earliest acquisition among sources, None when none is dated."""
    moments = [moment for moment in map(moment_of, sources) if moment is not None]
    return min(moments, default=None)


def order_sources(
    sources: Sequence[Source], treated: datetime | None, zero: datetime | None
) -> list[tuple[int, float, bool]]:
    """Return (position in `sources`, days, baseline) of each scan or film, oldest first.

    Days count from treatment, else from `zero`. What was acquired on the day of treatment at
    an unknown time counts as after it.

    Raises
    ------
    InputRefused
        When a date is missing (one alone needs none).
    """
    moments = [moment_of(source) for source in sources]
    if moments == [None]:
        return [(0, 0.0, False)]
    known = sorted(((moment, i) for i, moment in enumerate(moments) if moment is not None), key=lambda item: item[0])
    if len(known) < len(moments):
        raise InputRefused(
            "Expected a date for every scan, found one without; add it or leave it out.", reason="undated"
        )
    start = _plain(treated) if treated is not None else (zero or known[0][0])
    out = []
    for moment, i in known:
        same_day = treated is not None and moment.date() == start.date() and moment.time() == time.min
        days = 0.0 if same_day else (moment - start).total_seconds() / DAY_S
        out.append((i, days, treated is not None and days < 0))
    return out


def moment_of(source: Source) -> datetime | None:
    """Return when an image was acquired, midnight where only its date is known, None where nothing is."""
    if source.acquired is not None:
        return _plain(source.acquired)
    try:
        return datetime.strptime(source.date, "%Y%m%d")
    except ValueError:
        return None


def _plain(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)


def place_scans(
    volumes: Sequence[CtVolume],
    rois: Sequence[VolumeRoi],
    treated: datetime | None,
    zero: datetime | None,
    *,
    later: Sequence[datetime] = (),
    livers: Sequence[VolumeRoi] = (),
    tissue: TissueParams,
    finding: FindingParams,
    registration: RegistrationParams,
) -> tuple[list[Scan], int]:
    """Return the scans, oldest first, and the position of the reference: the first plain one after treatment.

    Without a treatment date the treatment is taken to precede the first plain scan in which a
    deposit is found, and to follow the scan before that one; days count from the first image
    after that. A scan with contrast medium is the reference only where all after treatment are.

    Parameters
    ----------
    volumes
        One a moment, dated, of three slices or more (see `selection.choose_scans`).
    later
        Moments of other images of the patient, from one of which days may count.
    livers
        The liver as it was drawn on some of the scans; on others it is looked for.
    """
    order = order_sources([v.source for v in volumes], treated, zero)
    ordered = [volumes[i] for i, _, _ in order]
    looked = [_with_liver(survey(volume, params=tissue), volume, livers, tissue) for volume in ordered]
    contrast = [v.contrast or has_enhanced_aorta(seen) for v, seen in zip(ordered, looked, strict=True)]
    days, before = [day for _, day, _ in order], [baseline for _, _, baseline in order]
    if treated is None:
        first = _first_with_oil(looked, contrast, finding)
        before = [k < first for k in range(len(order))]
        days = _counted_from(days, first, zero, later)
    reference = min(range(len(order)), key=lambda k: (before[k], contrast[k], k))
    avoid = _given(rois, looked[reference], ordered[reference])
    scans = []
    for k, volume in enumerate(ordered):
        if k == reference:
            alignment = Alignment(np.eye(4), 1.0)
        else:
            same = _same_frame(volume, ordered[reference])
            alignment = align(looked[reference], looked[k], avoid=avoid, same_frame=same, params=registration)
        scans.append(Scan(volume, days[k], before[k], contrast[k], looked[k], alignment))
    return scans, reference


def set_refused_aside(scans: Sequence[Scan], reference: int) -> tuple[list[Scan], int, list[Refusal]]:
    """Return the scans that could be aligned, the reference's position there, and the others with their reasons."""
    kept = [scan for scan in scans if scan.alignment.refusal is None]
    refused = [
        Refusal(scan.volume.source.file, "not_aligned", scan.alignment.refusal)
        for scan in scans
        if scan.alignment.refusal is not None
    ]
    return kept, kept.index(scans[reference]) if kept else 0, refused


def _with_liver(seen: Tissue, volume: CtVolume, livers: Sequence[VolumeRoi], params: TissueParams) -> Tissue:
    """Return the first look with the liver drawn on this very scan: one that names it, or that has its voxels."""
    for roi in livers:
        named = roi.series_instance_uid == volume.source.series_instance_uid
        same_grid = roi.mask.shape == volume.hu.shape and np.allclose(roi.affine, volume.affine, atol=1e-2)
        if named or (same_grid and may_lie_on(roi, volume)):
            drawn = space.resample_mask(roi.mask, roi.affine, seen.hu.shape, seen.affine)
            return with_given_liver(seen, drawn, params=params)
    return seen


def _first_with_oil(looked: Sequence[Tissue], contrast: Sequence[bool], params: FindingParams) -> int:
    """Return the position of the first plain scan that shows a deposit, 0 when none does."""
    plain = (k for k, enhanced in enumerate(contrast) if not enhanced)
    return next((k for k in plain if find_lesions(looked[k], np.eye(4), params=params)), 0)


def _counted_from(days: Sequence[float], first: int, zero: datetime | None, others: Sequence[datetime]) -> list[float]:
    # `days` count from `zero`, the first image of all.
    if first == 0 or zero is None:
        return list(days)
    rest = [(_plain(moment) - zero).total_seconds() / DAY_S for moment in others]
    start = min([days[first], *(day for day in rest if day > days[first - 1])])
    return [day - start for day in days]


def _same_frame(a: CtVolume, b: CtVolume) -> bool:
    return a.frame_of_reference_uid is not None and a.frame_of_reference_uid == b.frame_of_reference_uid


def may_lie_on(roi: VolumeRoi, volume: CtVolume) -> bool:
    """Return whether a region names the scan (its series or its frame of reference), or names none at all."""
    series, frame = roi.series_instance_uid, roi.frame_of_reference_uid
    if series is None and frame is None:
        return True
    named = series is not None and series == volume.source.series_instance_uid
    return named or (frame is not None and frame == volume.frame_of_reference_uid)


def made_alike(one: CtVolume, other: CtVolume) -> bool:
    """Return whether two scans have one kernel and one voxel size: their blur can be compared."""
    return one.kernel == other.kernel and np.allclose(one.spacing_mm, other.spacing_mm, rtol=0.02)


def _given(rois: Sequence[VolumeRoi], tissue: Tissue, volume: CtVolume) -> npt.NDArray[np.bool_] | None:
    """Return the regions drawn on the reference, on its coarse grid; None when there is none."""
    own = [roi for roi in rois if may_lie_on(roi, volume)]
    if not own:
        return None
    out = np.zeros(tissue.hu.shape, dtype=np.bool_)
    for roi in own:
        out |= space.resample_mask(roi.mask, roi.affine, out.shape, tissue.affine)
    return out
