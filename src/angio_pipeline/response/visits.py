"""From what the follow-up shows of each lesion to its measures at every date.

A visit is what was scanned on one date: plain, arterial, portal venous. Its scans share a frame of reference,
so that one outline holds in all of them. The outline is the one a reader drew there, else one that is fitted
to the scan (`outline`); without either a lesion is not evaluable at that date, and its measures say why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.followups import VolumeRoi
from angio_pipeline.core.params import Params
from angio_pipeline.core.response import Extent, LesionAtDate, LesionHistory, LesionSight, OutlineOrigin
from angio_pipeline.numerics import volumes as space
from angio_pipeline.response.enhancement import EnhancementParams, enhancing_part, on_grid
from angio_pipeline.response.extent import add_pieces, measure_extent
from angio_pipeline.response.necrosis import NecrosisParams, by_convention, measure_necrosis
from angio_pipeline.response.outline import OutlineParams, fit_outline

__all__ = ["VisitParams", "measure_lesions"]

BoolArray = npt.NDArray[np.bool_]
_OIL_BLUR_MM = 0.8


class VisitParams(Params):
    """Settings of telling scans and outlines apart."""

    portal_gain_hu: float = Field(30.0, gt=0, le=100, description="liver gains this much by the portal venous phase")
    oil_hu: float = Field(75.0, ge=20, le=300, description="above liver in the plain scan: from there on oil is there")
    same_share: float = Field(0.25, gt=0, le=1, description="of the smaller of two outlines that is one lesion")
    piece_ml: float = Field(0.1, ge=0, le=5, description="smaller pieces of a drawn lesion are not counted apart")


class _Phase(StrEnum):
    PLAIN = "plain"
    ARTERIAL = "arterial"
    PORTAL = "portal venous"


@dataclass(frozen=True, slots=True, eq=False)
class _Visit:
    """What one date shows of one lesion; `drawn` holds a reader's outlines on the grid of `home`."""

    date: str
    days: float
    scans: dict[_Phase, LesionSight]
    home: LesionSight | None
    drawn: tuple[BoolArray, ...]
    names: tuple[str, ...]


def measure_lesions(
    sights: Sequence[LesionSight],
    rois: Sequence[VolumeRoi],
    *,
    visits: VisitParams,
    outline: OutlineParams,
    enhancement: EnhancementParams,
    necrosis: NecrosisParams,
) -> tuple[LesionHistory, ...]:
    """Return every lesion at every date at which the patient was scanned.

    Parameters
    ----------
    sights : sequence of LesionSight
        All lesions in all scans of one patient.
    rois : sequence of VolumeRoi
        What a reader drew, on any of the scans. A region that lies where an earlier one was carried to is
        that lesion again; one that first appears on a later scan than others do is a new lesion.
    """
    dates = _dates_of(sights)
    liver = _plain_liver_hu(sights)
    names = tuple(dict.fromkeys(sight.lesion_id for sight in sights))
    seen = {name: [_visit(name, names, date, sights, rois, liver, visits) for date in dates] for name in names}
    homes = {name: _home(name, own) for name, own in seen.items()}
    again, merged = _told_twice(seen, homes)
    first = min(homes.values())
    histories = []
    for name, own in seen.items():
        if name in again:
            continue
        home = homes[name]
        new_on = own[home].days if first < home < len(own) and own[home].days >= 0 else None
        measured = tuple(
            _not_yet(visit)
            if new_on is not None and visit.days < new_on
            else _at_date(visit, merged.get((name, k)), visits, outline, enhancement, necrosis)
            for k, visit in enumerate(own)
        )
        histories.append(LesionHistory(name, measured, new_on=new_on, slice_mm=_slice_mm(own)))
    return tuple(histories)


def _not_yet(visit: _Visit) -> LesionAtDate:
    reason = "nobody drew it before"
    return LesionAtDate(visit.date, visit.days, None, missing=reason, viable_missing=reason)


def _dates_of(sights: Sequence[LesionSight]) -> list[tuple[str, bool, float]]:
    """Return (date, baseline, days) of each visit in order; days are those of its plain scan where it has one."""
    days: dict[tuple[str, bool], list[tuple[bool, float]]] = {}
    for sight in sights:
        days.setdefault((sight.source.date, sight.baseline), []).append((sight.contrast, sight.days))
    visits = [(date, baseline, min(when)[1]) for (date, baseline), when in days.items()]
    return sorted(visits, key=lambda one: (not one[1], one[2]))


def _plain_liver_hu(sights: Sequence[LesionSight]) -> float:
    levels = [s.liver_hu for s in sights if not s.contrast and np.isfinite(s.liver_hu)]
    return float(np.median(levels)) if levels else float("nan")


def _phase(sight: LesionSight, liver_hu: float, params: VisitParams) -> _Phase | None:
    """Return the phase by how much the liver gained; None where that cannot be told."""
    if not sight.contrast:
        return _Phase.PLAIN
    gain = sight.liver_hu - liver_hu
    if not np.isfinite(gain):
        return None
    return _Phase.PORTAL if gain >= params.portal_gain_hu else _Phase.ARTERIAL


def _home(name: str, own: Sequence[_Visit]) -> int:
    """Return the first date at which a lesion was drawn under its own name, else at all; past the last if never."""
    drawn = [k for k, visit in enumerate(own) if visit.drawn]
    named = [k for k in drawn if name in own[k].names]
    return min(named or drawn, default=len(own))


def _visit(
    name: str,
    names: Sequence[str],
    date: tuple[str, bool, float],
    sights: Sequence[LesionSight],
    rois: Sequence[VolumeRoi],
    liver_hu: float,
    params: VisitParams,
) -> _Visit:
    own = [s for s in sights if s.lesion_id == name and (s.source.date, s.baseline) == date[:2]]
    scans: dict[_Phase, LesionSight] = {}
    for sight in own:
        phase = _phase(sight, liver_hu, params)
        if phase is not None:
            scans.setdefault(phase, sight)
    for sight in own:
        found = [(roi.id, mask) for roi in rois if (mask := _drawn_on(roi, sight, params)) is not None]
        if any(drawn == name for drawn, _ in found):
            # A neighbour's outline that reaches in here is the neighbour's.
            found = [(drawn, mask) for drawn, mask in found if drawn == name or drawn not in names]
        if found:
            return _Visit(date[0], date[2], scans, sight, tuple(m for _, m in found), tuple(n for n, _ in found))
    return _Visit(date[0], date[2], scans, own[0] if own else None, (), ())


def _drawn_on(roi: VolumeRoi, sight: LesionSight, params: VisitParams) -> BoolArray | None:
    """Return a region on the grid of a scan that it was drawn on and where it is this lesion, else None."""
    named = roi.series_instance_uid == sight.source.series_instance_uid
    framed = roi.frame_of_reference_uid is not None and roi.frame_of_reference_uid == sight.frame_of_reference_uid
    unnamed = roi.series_instance_uid is None and roi.frame_of_reference_uid is None
    if not (named or framed or unnamed) or not roi.mask.any():
        return None
    mask = space.resample_mask(roi.mask, roi.affine, sight.hu.shape, sight.affine)
    both, least = np.count_nonzero(mask & sight.carried), min(np.count_nonzero(mask), np.count_nonzero(sight.carried))
    if unnamed:
        # Nothing says which scan it belongs to: to the one where it is what was carried.
        same = 2 * both >= 0.98 * (np.count_nonzero(mask) + np.count_nonzero(sight.carried))
        return mask if same and both else None
    return mask if both and both >= params.same_share * least else None


def _told_twice(seen: dict[str, list[_Visit]], homes: dict[str, int]) -> tuple[set[str], dict[tuple[str, int], str]]:
    """Return lesions that are earlier ones drawn again, and which lesion each has grown together with, by date."""
    order = sorted(seen, key=lambda name: homes[name])
    again: set[str] = set()
    merged: dict[tuple[str, int], str] = {}
    for i, name in enumerate(order):
        earlier = [other for other in order[:i] if other not in again]
        home, last = homes[name], len(seen[name])
        if any(homes[other] < home < last and _shares(seen, name, other, home) for other in earlier):
            again.add(name)
            continue
        pairs = ((other, k) for other in earlier for k in range(home + 1, last) if _shares(seen, name, other, k))
        merged |= {(name, k): other for other, k in pairs}
    return again, merged


def _shares(seen: dict[str, list[_Visit]], name: str, other: str, k: int) -> bool:
    own, theirs = seen[name][k], seen[other][k]
    return bool(own.drawn) and bool(set(own.names) & set(theirs.names))


def _slice_mm(visits: Sequence[_Visit]) -> float:
    home = next((visit.home for visit in visits if visit.home is not None), None)
    return 0.0 if home is None else float(space.spacing_mm(home.affine)[0])


# --- one lesion at one date -------------------------------------------------------------------------


_Outlined = tuple[LesionSight, tuple[BoolArray, ...], OutlineOrigin]
"""The scan that a lesion is measured in, its pieces there, and who outlined it."""


def _at_date(
    visit: _Visit,
    merged_into: str | None,
    visits: VisitParams,
    outline: OutlineParams,
    enhancement: EnhancementParams,
    necrosis: NecrosisParams,
) -> LesionAtDate:
    if visit.home is None:
        return LesionAtDate(visit.date, visit.days, None, missing="the lesion lies beyond the scans of this date")
    if merged_into is not None:
        return LesionAtDate(visit.date, visit.days, None, merged_into=merged_into, missing=f"one with {merged_into}")
    missing = _cut_off(visit.home)
    found = None if missing else _outlined(visit, outline)
    if found is None:
        reason = missing or "nobody drew it on this date, and its edge does not stand out in the scan"
        return LesionAtDate(visit.date, visit.days, None, missing=reason, viable_missing=reason)
    return _measured(visit, found, visits, enhancement, necrosis)


def _measured(
    visit: _Visit, found: _Outlined, visits: VisitParams, enhancement: EnhancementParams, necrosis: NecrosisParams
) -> LesionAtDate:
    sight, pieces, origin = found
    mask = np.logical_or.reduce(pieces)
    arterial, plain = visit.scans.get(_Phase.ARTERIAL), visit.scans.get(_Phase.PLAIN)
    grid = arterial if arterial is not None else sight
    placed = _moved(mask, sight, grid)
    if placed is None:
        grid, placed, arterial = sight, mask, None
    enhancing = enhancing_part(arterial, plain, placed, params=enhancement)
    oil = _oil_on(grid, plain, visit, visits)
    viable = by_convention(enhancing, placed, oil)
    phase, level = _attenuation(visit, sight, mask)
    return LesionAtDate(
        date=visit.date,
        days=visit.days,
        whole=_extent_of(pieces, sight, visits),
        viable={name: measure_extent(part, grid.affine) for name, part in viable.items()},
        mean_hu=level,
        phase=phase,
        holds_oil=None if oil is None else bool((oil & placed).any()),
        pieces=len(_parts(pieces, sight, visits)),
        outline=origin,
        viable_by=enhancing.by,
        threshold_hu=enhancing.threshold_hu,
        necrosis=measure_necrosis(
            enhancing, placed, oil, _deposit_on(grid, plain, visit), grid.affine, params=necrosis
        ),
        viable_missing=enhancing.missing or ("" if oil is not None else "the oil cannot be told at this date"),
    )


def _cut_off(sight: LesionSight) -> str:
    """Return why a lesion that reaches beyond a scan is not measured there, nothing when it does not."""
    # A sight has a wide margin wherever the scan has one: what touches its faces is cut by the scan.
    inner = sight.carried[1:-1, 1:-1, 1:-1]
    cut = np.count_nonzero(inner) < np.count_nonzero(sight.carried)
    return "the lesion reaches beyond the scan" if cut else ""


def _outlined(visit: _Visit, params: OutlineParams) -> _Outlined | None:
    if visit.drawn and visit.home is not None:
        return visit.home, visit.drawn, OutlineOrigin.DRAWN
    for phase in (_Phase.ARTERIAL, _Phase.PORTAL, _Phase.PLAIN):
        sight = visit.scans.get(phase)
        if sight is None:
            continue
        fitted = fit_outline(sight.hu, sight.affine, sight.carried, sight.liver_hu, params=params)
        if fitted is not None and fitted.mask.any():
            return sight, (fitted.mask,), OutlineOrigin.FITTED
    return None


def _moved(mask: BoolArray, sight: LesionSight, grid: LesionSight) -> BoolArray | None:
    """Return a mask on the grid of another scan of the visit; None where they share no frame of reference."""
    if grid is sight:
        return mask
    if sight.frame_of_reference_uid is None or sight.frame_of_reference_uid != grid.frame_of_reference_uid:
        return None
    return space.resample_mask(mask, sight.affine, grid.hu.shape, grid.affine)


def _oil_on(grid: LesionSight, plain: LesionSight | None, visit: _Visit, params: VisitParams) -> BoolArray | None:
    """Return what holds oil, on a grid: nothing before treatment, else by the visit's plain scan.

    Where a deposit was found its outline lies half-way up its edge; fainter oil about it counts as well, from
    the least of the usual thresholds of coverage on.
    """
    deposit = _deposit_on(grid, plain, visit)
    if deposit is None or plain is None or not deposit.any() or not np.isfinite(plain.liver_hu):
        return deposit
    blurred = space.smooth(plain.hu, plain.affine, _OIL_BLUR_MM)
    faint = _moved(plain.carried & (blurred - np.float32(plain.liver_hu) >= params.oil_hu), plain, grid)
    return deposit if faint is None else deposit | faint


def _deposit_on(grid: LesionSight, plain: LesionSight | None, visit: _Visit) -> BoolArray | None:
    """Return the deposit on a grid: none before treatment, None where no plain scan tells it."""
    if visit.home is not None and visit.home.baseline:
        return np.zeros(grid.hu.shape, dtype=np.bool_)
    return None if plain is None or plain.oil is None else _moved(plain.oil, plain, grid)


def _parts(pieces: Sequence[BoolArray], sight: LesionSight, params: VisitParams) -> list[BoolArray]:
    """Return the lesion's separate pieces, the largest alone when none is large enough to count."""
    labels, count = ndimage.label(np.logical_or.reduce(pieces))
    voxel_ml = abs(float(np.linalg.det(sight.affine[:3, :3]))) / 1000
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    counted = [k for k in range(1, count + 1) if sizes[k] * voxel_ml >= params.piece_ml]
    return [labels == k for k in counted or ([int(sizes.argmax())] if count else [])]


def _extent_of(pieces: Sequence[BoolArray], sight: LesionSight, params: VisitParams) -> Extent:
    return add_pieces([measure_extent(part, sight.affine) for part in _parts(pieces, sight, params)])


def _attenuation(visit: _Visit, sight: LesionSight, mask: BoolArray) -> tuple[str | None, float | None]:
    """Return the phase in which mean attenuation was taken (portal venous before arterial), and its value."""
    for phase in (_Phase.PORTAL, _Phase.ARTERIAL):
        scan = visit.scans.get(phase)
        hu = None if scan is None else scan.hu if scan is sight else on_grid(sight, scan)
        if hu is not None and mask.any():
            return phase.value, float(hu[mask].mean())
    return None, None
