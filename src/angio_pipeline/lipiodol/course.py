"""The story of the oil: order the scans, align them, and follow every lesion through them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.followups import (
    CtVolume,
    FilmRoi,
    LesionCourse,
    LipiodolDeposit,
    LipiodolTimepoint,
    Radiograph,
    ResidualTumour,
    StrayOilSearch,
    VolumeRoi,
)
from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.response import LesionSight
from angio_pipeline.core.results import FollowUpResult
from angio_pipeline.core.tumours import LesionOrigin
from angio_pipeline.lipiodol.alignment_views import tell_alignment
from angio_pipeline.lipiodol.coverage import CoverageParams, describe_coverage, grade_margin
from angio_pipeline.lipiodol.deposit import Deposit, DepositParams, with_faint_oil
from angio_pipeline.lipiodol.films import FilmParams, add_films
from angio_pipeline.lipiodol.finding import FindingParams, OtherScan, find_lesions
from angio_pipeline.lipiodol.kinetics import KineticsParams, fit_kinetics
from angio_pipeline.lipiodol.lesions import Lesion, Patch, convex, cut_patch, lesion_from_deposit, lesion_from_roi
from angio_pipeline.lipiodol.liver import LiverParams, follow_liver
from angio_pipeline.lipiodol.mass import (
    OIL_IODINE_MG_PER_ML,
    Background,
    MassEstimate,
    MassParams,
    Offset,
    SharedDraws,
    estimate_offset,
    look_around,
    measure_mass,
    prepare,
    thin_oil,
)
from angio_pipeline.lipiodol.registration import RegistrationParams
from angio_pipeline.lipiodol.residual import ResidualParams, find_phases, measure_residual
from angio_pipeline.lipiodol.scans import (
    Scan,
    first_moment,
    made_alike,
    may_lie_on,
    moment_of,
    place_scans,
    set_refused_aside,
)
from angio_pipeline.lipiodol.selection import choose_images
from angio_pipeline.lipiodol.stray_oil import StrayOilParams, find_stray_oil
from angio_pipeline.lipiodol.tissue import TissueParams, liver_around
from angio_pipeline.lipiodol.views import ViewParams, aligned_view
from angio_pipeline.numerics import volumes as space

__all__ = ["LipiodolParams", "follow_lesions"]


class LipiodolParams(Params):
    """Settings of the whole follow-up, one section a step."""

    tissue: TissueParams = Field(default_factory=TissueParams)
    registration: RegistrationParams = Field(default_factory=RegistrationParams)
    finding: FindingParams = Field(default_factory=FindingParams)
    deposit: DepositParams = Field(default_factory=DepositParams)
    mass: MassParams = Field(default_factory=MassParams)
    coverage: CoverageParams = Field(default_factory=CoverageParams)
    kinetics: KineticsParams = Field(default_factory=KineticsParams)
    liver: LiverParams = Field(default_factory=LiverParams)
    residual: ResidualParams = Field(default_factory=ResidualParams)
    stray_oil: StrayOilParams = Field(default_factory=StrayOilParams)
    films: FilmParams = Field(default_factory=FilmParams)
    views: ViewParams = Field(default_factory=ViewParams)


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """One lesion in one scan, before and after its mass is known."""

    scan: Scan
    patch: Patch | None = None
    background: Background | None = None
    deposit: Deposit | None = None
    mass: MassEstimate | None = None


def follow_lesions(
    volumes: Sequence[CtVolume],
    rois: Sequence[VolumeRoi],
    films: Sequence[Radiograph],
    film_rois: Sequence[FilmRoi],
    *,
    treated: datetime | None,
    params: LipiodolParams,
) -> FollowUpResult:
    """Return the course of every lesion of one patient, and of the liver where it can be told.

    Parameters
    ----------
    volumes, films
        One patient's, in any order.
    rois, film_rois
        Lesions given by the reader. Without a region on any scan, lesions are the deposits
        found in the first scan after treatment. A region called `liver` is no lesion:
        it is where the liver lies in the scan it was drawn on.
    treated : datetime or None
        Days count from it; what is before it is a baseline. Without it the scans before the
        first plain one that shows oil are, and days count from the first image after them.

    Returns
    -------
    FollowUpResult
        Its `left_out` names what was not followed: series beside another of the same moment
        (`selection` says which is taken), undated images beside others, scans of
        fewer than three slices, scans that could not be aligned, and films without a region or a lesion.

    Raises
    ------
    InputRefused
        When no image remains that has a date and, for a scan, three slices.
    """
    livers = [r for r in rois if r.id == "liver"]
    rois, film_rois = [r for r in rois if r.id != "liver"], [r for r in film_rois if r.id != "liver"]
    volumes, films, left_out = choose_images(volumes, films, rois)
    zero = first_moment([*(v.source for v in volumes), *(f.source for f in films)])
    placed, reference = _place(volumes, rois, livers, films, treated, zero, params)
    alignments = tuple(tell_alignment(scan, placed[reference]) for scan in placed)
    scans, reference, refused = set_refused_aside(placed, reference)
    lesions, liver, stray, quality = _follow_scans(scans, reference, rois, params)
    zero = _zero_of(scans, zero) if treated is None else zero
    courses, film_quality, unfollowed = add_films(
        lesions, films, film_rois, treated=treated, zero=zero, params=params.films, kinetics=params.kinetics
    )
    settings = params.model_dump(mode="json")
    left_out = [*left_out, *refused, *unfollowed]
    return FollowUpResult(
        tuple(courses), liver, settings, quality | film_quality, tuple(left_out), alignments, stray_oil=stray
    )


def _place(
    volumes: Sequence[CtVolume],
    rois: Sequence[VolumeRoi],
    livers: Sequence[VolumeRoi],
    films: Sequence[Radiograph],
    treated: datetime | None,
    zero: datetime | None,
    params: LipiodolParams,
) -> tuple[list[Scan], int]:
    if not volumes:
        return [], 0
    later = [moment for moment in (moment_of(film.source) for film in films) if moment is not None]
    return place_scans(
        volumes,
        rois,
        treated,
        zero,
        later=later,
        livers=livers,
        tissue=params.tissue,
        finding=params.finding,
        registration=params.registration,
    )


def _zero_of(scans: Sequence[Scan], zero: datetime | None) -> datetime | None:
    """Return when the scans count their days from, so that films do the same."""
    first = moment_of(scans[0].volume.source) if scans else None
    return zero if first is None else first - timedelta(days=scans[0].days)


def _follow_scans(
    scans: list[Scan], reference: int, rois: Sequence[VolumeRoi], params: LipiodolParams
) -> tuple[list[LesionCourse], LesionCourse | None, tuple[StrayOilSearch, ...], Quality]:
    """Return the courses of the lesions and of the liver, oil outside them, and flags about them all."""
    if not scans:
        return [], None, (), Quality.NONE
    found, quality = _choose_lesions(scans, reference, rois, params)
    phases = find_phases(scans, params=params.residual)
    lesions = [
        _follow(lesion, [other for other in found if other is not lesion], scans, phases, params) for lesion in found
    ]
    liver = follow_liver(scans, found, mass=params.mass, params=params.liver)
    return lesions, liver, find_stray_oil(scans, found, mass=params.mass, params=params.stray_oil), quality


def _choose_lesions(
    scans: list[Scan], reference: int, rois: Sequence[VolumeRoi], params: LipiodolParams
) -> tuple[list[Lesion], Quality]:
    quality = Quality.NONE
    given: list[Lesion] = []
    for roi in rois:
        lesion = _match(roi, scans, reference)
        if lesion is None:
            quality |= Quality.ROI_NOT_MATCHED
        elif not any(_outlines_again(lesion, other) for other in given):
            given.append(replace(lesion, id=_free_id(lesion.id, {other.id for other in given})))
    if given:
        return given, quality
    # The first scan after treatment holds the most oil; a later one is asked when it shows none. What
    # enhances looks like oil: scans with contrast medium are asked only where there are no others.
    after = [k for k in range(len(scans)) if k != reference and not scans[k].baseline]
    for k in (reference, *(k for k in after if scans[k].contrast == scans[reference].contrast)):
        found = find_lesions(
            scans[k].tissue,
            np.eye(4),
            before=_others(scans, k, baseline=True),
            later=_others(scans, k, baseline=False),
            params=params.finding,
        )
        if found:
            found = tuple(_tied(lesion, scans[k]) for lesion in found)
            return [_refined(lesion, found, scans[k], params) for lesion in found], quality
    return [], quality | Quality.NO_LIPIODOL


def _others(scans: Sequence[Scan], k: int, *, baseline: bool) -> list[OtherScan]:
    """Return the scans before treatment, or the plain ones after a plain one, with the ways there.

    A scan with contrast medium is compared with none, and one before treatment with none before it: its oil is old.
    """
    own = scans[k]
    if own.contrast or (baseline and own.baseline):
        return []
    return [
        OtherScan(
            scan.tissue,
            scan.alignment.motion @ np.linalg.inv(own.alignment.motion),
            scan.alignment.of_bone @ np.linalg.inv(own.alignment.of_bone),
        )
        for j, scan in enumerate(scans)
        if (scan.baseline if baseline else j > k and not scan.contrast)
    ]


def _outlines_again(lesion: Lesion, other: Lesion) -> bool:
    """Return whether a region is the same lesion drawn once more: the same id at the same place."""
    # Two outlines of one lesion would each take the oil of the other away.
    if lesion.id != other.id:
        return False
    own = lesion.mask_on(other.mask.shape, other.affine, other.from_reference)
    return bool((own & other.mask).any())


def _free_id(name: str, taken: set[str]) -> str:
    """Return the id, numbered where another lesion has it: L1, L1-2, L1-3."""
    numbered = (f"{name}-{k}" for k in itertools.count(2))
    return name if name not in taken else next(other for other in numbered if other not in taken)


def _refined(lesion: Lesion, found: Sequence[Lesion], scan: Scan, params: LipiodolParams) -> Lesion:
    """Return a found lesion outlined on the voxels of the scan it was found in, not on the coarse grid."""
    sight = _look(lesion, [other for other in found if other is not lesion], scan, params)
    if sight.patch is None or sight.deposit is None:
        return lesion
    motion = scan.motion_to(lesion)
    return lesion_from_deposit(lesion, sight.patch, sight.deposit.mask, motion, closing_mm=params.finding.group_mm / 2)


def _tied(lesion: Lesion, scan: Scan) -> Lesion:
    """Return a lesion outlined in a scan with the way there from the reference."""
    own = space.to_world(lesion.affine, np.argwhere(lesion.mask))
    return replace(lesion, from_reference=scan.alignment.near_in_scan(own))


def _match(roi: VolumeRoi, scans: list[Scan], reference: int) -> Lesion | None:
    """Return a region as a lesion, tied to the scan it was drawn on; None when it lies on none of them.

    A region that names a series or a frame of reference lies on a scan of that name only; one
    that names neither goes by geometry.
    """
    if not roi.mask.any():
        return None
    points = space.to_world(roi.affine, np.argwhere(roi.mask))

    def holds(scan: Scan) -> bool:
        index = space.to_index(scan.volume.affine, points)
        inside = np.all((index > -0.5) & (index < np.array(scan.volume.hu.shape) - 0.5), axis=1)
        return bool(inside.mean() >= 0.5)

    def rank(scan: Scan) -> tuple[bool, bool, bool, bool]:
        volume = scan.volume
        named = roi.series_instance_uid == volume.source.series_instance_uid
        framed = roi.frame_of_reference_uid is not None and roi.frame_of_reference_uid == volume.frame_of_reference_uid
        same_grid = roi.mask.shape == volume.hu.shape and np.allclose(roi.affine, volume.affine, atol=1e-2)
        return named, framed, bool(same_grid), scan is scans[reference]

    possible = [scan for scan in scans if may_lie_on(roi, scan.volume) and holds(scan)]
    owner = max(possible, key=rank, default=None)
    return None if owner is None else _tied(lesion_from_roi(roi, np.eye(4)), owner)


def _follow(
    lesion: Lesion, others: list[Lesion], scans: list[Scan], phases: dict[int, int], params: LipiodolParams
) -> LesionCourse:
    """Return one lesion's course over all scans; `phases` are the arterial scans with their portal ones."""
    sights = _carried([_look(lesion, others, scan, params) for scan in scans], lesion, params)
    measured = _measure(sights, params.mass)
    first = next((s for s in measured if _may_be_first(s)), None)
    residuals = _residuals(lesion, measured, phases, params.residual)
    points = tuple(
        _timepoint(lesion, sight, first, residual, params) for sight, residual in zip(measured, residuals, strict=True)
    )
    after = [s for s in measured if s.mass is not None and not s.scan.baseline and not s.scan.contrast]
    days = [s.scan.days for s in after]
    masses = [s.mass.mg for s in after if s.mass is not None]
    kinetics, quality = fit_kinetics(days, masses, _own_errors(after, params.mass), params=params.kinetics)
    if all(s.mass is None or s.mass.interval_mg[0] <= 0 for s in measured):
        quality |= Quality.NO_LIPIODOL
    elif first is None:
        quality |= Quality.NO_PLAIN_REFERENCE
    shown = tuple(_sight(lesion, sight) for sight in measured if sight.patch is not None)
    return LesionCourse(lesion.id, points, kinetics, lesion.centroid_mm, lesion.origin, quality, shown)


def _sight(lesion: Lesion, sight: _Sight) -> LesionSight:
    """Return the scan around a lesion as the response is told of it; oil only where a plain scan tells it."""
    assert sight.patch is not None
    scan, patch, mass, oil = sight.scan, sight.patch, sight.mass, None
    if mass is not None and not scan.contrast:
        oil = mass.deposit.mask if mass.interval_mg[0] > 0 else np.zeros(patch.hu.shape, dtype=np.bool_)
    return LesionSight(
        lesion_id=lesion.id,
        source=scan.volume.source,
        days=scan.days,
        baseline=scan.baseline,
        contrast=scan.contrast,
        liver_hu=scan.tissue.liver_hu,
        hu=patch.hu,
        affine=patch.affine,
        carried=patch.lesion,
        oil=oil,
        frame_of_reference_uid=scan.volume.frame_of_reference_uid,
    )


def _may_be_first(sight: _Sight) -> bool:
    """Return whether retention may count from a scan: after treatment, plain, and surely holding oil."""
    if sight.mass is None or sight.deposit is None or sight.scan.baseline or sight.scan.contrast:
        return False
    return sight.mass.interval_mg[0] > 0 and bool(sight.deposit.mask.any())


def _look(lesion: Lesion, others: list[Lesion], scan: Scan, params: LipiodolParams) -> _Sight:
    margin = 2 * params.mass.padding_mm + params.mass.gap_mm + params.mass.shell_mm
    patch = cut_patch(
        scan.volume, scan.motion_to(lesion), lesion, others, margin_mm=margin, padding_mm=params.mass.padding_mm
    )
    if patch is None:
        return _Sight(scan)
    liver = _liver_on(patch, lesion, scan)
    tissue = scan.tissue
    ready = prepare(patch, liver, tissue.liver_hu, mass=params.mass, deposit=params.deposit)
    return _Sight(scan, patch) if ready is None else _Sight(scan, patch, *ready)


def _carried(sights: list[_Sight], lesion: Lesion, params: LipiodolParams) -> list[_Sight]:
    """Return the sights with faint oil outlined where the first plain scan with oil showed it."""
    after = [k for k, s in enumerate(sights) if s.deposit is not None and not s.scan.baseline]
    outlined = [k for k in after if (oil := sights[k].deposit) is not None and oil.mask.any()]
    first = next((k for k in outlined if not sights[k].scan.contrast), None)
    if first is None:
        return sights
    offset = _lesion_offset(sights, params.mass)
    return [
        # With contrast medium what is pale need not be oil: some must be outlined by itself.
        _with_faint(s, sights[first], lesion, offset, params)
        if k > first and k in (outlined if s.scan.contrast else after)
        else s
        for k, s in enumerate(sights)
    ]


def _with_faint(sight: _Sight, first: _Sight, lesion: Lesion, offset: Offset, params: LipiodolParams) -> _Sight:
    patch, background, deposit, before = sight.patch, sight.background, sight.deposit, first.deposit
    if patch is None or background is None or deposit is None or before is None or first.patch is None:
        return sight
    # From the first scan's deposit over the reference to this scan.
    back = first.scan.motion_to(lesion) @ np.linalg.inv(sight.scan.motion_to(lesion))
    held = space.resample_mask(before.mask, first.patch.affine, patch.hu.shape, patch.affine, motion=back)
    level = background.level_hu + offset.hu
    found = with_faint_oil(patch, deposit, held, level, offset.sd_hu, background.noise_hu, params=params.deposit)
    return replace(sight, deposit=found)


def _liver_on(patch: Patch, lesion: Lesion, scan: Scan) -> npt.NDArray[np.bool_]:
    """Return the liver on a patch, with what the lesion had parted from it."""
    tissue = scan.tissue
    own = lesion.mask_on(tissue.hu.shape, tissue.affine, scan.motion_to(lesion))
    if not own.any():
        return space.resample_mask(tissue.liver, tissue.affine, patch.hu.shape, patch.affine)
    liver, box = liver_around(tissue, own)
    return space.resample_mask(liver, space.crop_affine(tissue.affine, box), patch.hu.shape, patch.affine)


def _measure(sights: list[_Sight], params: MassParams) -> list[_Sight]:
    offset = _lesion_offset(sights, params)
    rng = np.random.default_rng(params.seed)
    shared_offset, shared_model = rng.normal(0, 1, (2, params.draws))
    # One slope error a tube voltage: scans at the same voltage share it.
    slopes: dict[float | None, npt.NDArray[np.float64]] = {}
    thin = _thin_oil(sights, params)
    out = []
    for k, sight in enumerate(sights):
        if sight.patch is None or sight.background is None or sight.deposit is None:
            out.append(sight)
            continue
        kvp = sight.scan.volume.kvp
        slope = slopes.setdefault(kvp, rng.normal(0, 1, params.draws))
        mass = measure_mass(
            sight.patch,
            sight.scan.volume,
            sight.background,
            sight.deposit,
            _in_scan(offset, sight.scan, params),
            SharedDraws(shared_offset, slope, shared_model),
            thin_oil_hu=thin[k],
            params=params,
            rng=rng,
        )
        out.append(replace(sight, mass=mass))
    return out


def _thin_oil(sights: list[_Sight], params: MassParams) -> list[float]:
    """Return for each scan what oil in the liver beside the lesion adds there, in HU; 0 unless plain and early."""
    around = [
        look_around(s.patch, s.background, s.deposit, params=params)
        if s.patch is not None and s.background is not None and s.deposit is not None and not s.scan.contrast
        else None
        for s in sights
    ]

    def told(k: int) -> float:
        own, scan = around[k], sights[k].scan
        if own is None or not 0 <= scan.days <= params.early_days:
            return 0.0
        # Blur can be compared between scans that were made alike, and only between those.
        alike = [
            a
            for a, s in zip(around, sights, strict=True)
            if a is not None and s.scan.days > params.early_days and made_alike(s.scan.volume, scan.volume)
        ]
        return thin_oil(own, alike)

    return [told(k) for k in range(len(sights))]


def _in_scan(offset: Offset, scan: Scan, params: MassParams) -> Offset:
    """Return the offset with what one scan adds to its error: change since, and contrast medium."""
    return replace(offset, own_sd_hu=float(np.hypot(params.change_sd_hu, params.enhancement_sd_hu * scan.contrast)))


def _lesion_offset(sights: list[_Sight], params: MassParams) -> Offset:
    # A scan before treatment tells how dark the lesion is by itself. After it oil too faint to be outlined may hide
    # anywhere, so that such scans only bound it.
    before: list[tuple[Patch, Background]] = []
    after: list[tuple[Patch, Background]] = []
    for sight in sights:
        if sight.patch is None or sight.background is None or sight.deposit is None or sight.scan.contrast:
            continue
        group = before if sight.scan.baseline else after
        group.append((sight.patch, sight.background))
    return estimate_offset(after, before, params=params)


def _own_errors(sights: list[_Sight], params: MassParams) -> list[float]:
    """Return each mass's standard deviation without what cancels in ratios: the slope only where voltages differ."""
    masses = [s.mass for s in sights if s.mass is not None]
    differ = len({s.scan.volume.kvp for s in sights}) > 1
    out = []
    for mass in masses:
        shared = np.hypot(params.model_sd, 0.0 if differ else mass.slope_sd) * mass.mg
        out.append(float(np.sqrt(max(np.var(mass.draws_mg) - shared**2, 0.0))))
    return out


def _residuals(
    lesion: Lesion, sights: list[_Sight], phases: dict[int, int], params: ResidualParams
) -> list[ResidualTumour | None]:
    """Return what enhances of a lesion, at each arterial scan that a portal one follows."""
    out: list[ResidualTumour | None] = [None] * len(sights)
    for early, late in phases.items():
        patch, background = sights[early].patch, sights[early].background
        if patch is not None and background is not None:
            scans = sights[early].scan, sights[late].scan
            out[early] = measure_residual(lesion, patch, background, *scans, params=params)
    return out


def _timepoint(
    lesion: Lesion, sight: _Sight, first: _Sight | None, residual: ResidualTumour | None, params: LipiodolParams
) -> LipiodolTimepoint:
    """Return what is reported of one lesion in one scan."""
    scan, mass = sight.scan, sight.mass
    quality = scan.volume.quality | scan.alignment.quality
    quality |= Quality.CONTRAST_ENHANCED if scan.contrast else Quality.NONE
    # What enhances before treatment is no oil: there is nothing to report, and nothing to outline.
    no_oil_yet = scan.baseline and scan.contrast
    view = aligned_view(scan, lesion, sight.patch, None if no_oil_yet else sight.deposit, params=params.views)
    if mass is not None and no_oil_yet:
        return LipiodolTimepoint(
            scan.volume.source, scan.days, None, None, residual=residual, views=view, quality=quality
        )
    if mass is None or sight.patch is None:
        missing = quality | (Quality.ROI_NOT_MATCHED if sight.patch is None else Quality.LESION_AT_EDGE)
        return LipiodolTimepoint(scan.volume.source, scan.days, None, None, views=view, quality=missing)
    low, high = mass.interval_mg
    quality |= mass.quality | (Quality.NO_LIPIODOL if low <= 0 else Quality.NONE)
    retention, interval = _retention(sight, first)
    point = LipiodolTimepoint(
        scan.volume.source,
        scan.days,
        retention,
        interval,
        iodine_mg=mass.mg,
        iodine_mg_interval=(low, high),
        oil_ml=mass.mg / OIL_IODINE_MG_PER_ML if low > 0 and mass.mg > 0 else None,
        volume_mm3=mass.deposit_mm3,
        clipped_voxels=mass.clipped_voxels,
        deposit=_whole_deposit(sight.patch, mass, scan.volume),
        residual=residual,
        views=view,
        quality=quality,
    )
    # Before treatment there is no oil to cover a lesion, well or poorly.
    return point if scan.baseline else _described(point, lesion, sight.patch, mass, params.coverage)


def _described(
    point: LipiodolTimepoint, lesion: Lesion, patch: Patch, mass: MassEstimate, params: CoverageParams
) -> LipiodolTimepoint:
    # Coverage is a share of the tumour: where only the oil was found, the tumour's extent is unknown. Its pattern
    # is told as if the tumour were round about the oil: a defect at the surface is a notch.
    holds_oil = mass.interval_mg[0] > 0
    if lesion.origin is LesionOrigin.DETECTED:
        patch = replace(patch, lesion=convex(patch.lesion))
    level, noise = mass.background.level_hu, mass.background.noise_hu
    found = describe_coverage(patch, mass.deposit, level, noise, holds_oil=holds_oil, params=params)
    point = replace(point, pattern=found.pattern)
    if lesion.origin is LesionOrigin.DETECTED:
        return point
    grade = None
    if holds_oil and params.margin_days[0] <= point.days <= params.margin_days[1]:
        grade = grade_margin(patch, mass.deposit, lesion.diameter_mm, params=params)
    return replace(point, coverage=found.percent, completeness=found.completeness, margin_grade=grade)


def _retention(sight: _Sight, first: _Sight | None) -> tuple[float | None, tuple[float, float] | None]:
    """Return the mass over the first one, with its interval; None before treatment, before the first, or without it.

    The first is the first plain scan after treatment in which the lesion surely held oil
    (`_may_be_first`), which need not be the first scan after treatment: its retention is 1.
    """
    if sight.mass is None or first is None or first.mass is None or sight.scan.baseline:
        return None, None
    if sight.scan.days < first.scan.days:
        return None, None
    if sight is first:
        return 1.0, (1.0, 1.0)
    ratio = sight.mass.draws_mg / first.mass.draws_mg
    low, high = np.percentile(ratio, [2.5, 97.5])
    return sight.mass.mg / first.mass.mg, (float(low), float(high))


def _whole_deposit(patch: Patch, mass: MassEstimate, volume: CtVolume) -> LipiodolDeposit:
    mask = np.zeros(volume.hu.shape, dtype=np.bool_)
    mask[patch.box] = mass.deposit.mask
    return LipiodolDeposit(mask, volume.affine, volume.frame_of_reference_uid)
