"""What of each lesion died: by enhancement, beside the oil that covers it, and by histology where there is some.

The main tumour and the nodules beside it are kept apart: necrosis differs between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.response import (
    Histology,
    LesionAtDate,
    LesionHistory,
    LesionRole,
    Necrosis,
    NecrosisReference,
    OilConvention,
    ReferenceStandard,
)
from angio_pipeline.numerics import volumes as space
from angio_pipeline.response.enhancement import Enhancing

__all__ = ["NecrosisParams", "by_convention", "compare_with_histology", "measure_necrosis", "with_roles"]

BoolArray = npt.NDArray[np.bool_]


class NecrosisParams(Params):
    """Settings of necrosis."""

    rim_mm: float = Field(5.0, gt=0, le=20, description="thickness of the lesion's outermost layer")
    convention: OilConvention = Field(OilConvention.TISSUE, description="of the share that histology is compared with")


def by_convention(enhancing: Enhancing, outline: BoolArray, oil: BoolArray | None) -> dict[OilConvention, BoolArray]:
    """Return what is viable under each convention of the oil that can be told.

    Parameters
    ----------
    oil : ndarray, the outline's grid, bool, or None
        None where the oil cannot be told: then only `TISSUE` can.
    """
    if enhancing.mask is None:
        return {}
    out = {OilConvention.TISSUE: enhancing.mask}
    if oil is not None:
        out[OilConvention.OIL_NECROTIC] = enhancing.mask & ~oil
        out[OilConvention.OIL_ENHANCING] = enhancing.mask | (oil & outline)
    return out


def measure_necrosis(
    enhancing: Enhancing,
    outline: BoolArray,
    oil: BoolArray | None,
    deposit: BoolArray | None,
    affine: npt.NDArray[np.float64],
    *,
    params: NecrosisParams,
) -> Necrosis:
    """Return volumes of one lesion at one date.

    Parameters
    ----------
    outline : ndarray, (Z, Y, X) bool
        Not empty.
    oil, deposit : ndarray, the same grid, bool, or None
        All that holds oil, for the conventions; the deposit as it is outlined, for what it covers.
    """
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    rim = outline & ~space.dilate(outline, affine, -params.rim_mm)

    def ml(mask: BoolArray | None) -> float | None:
        return None if mask is None else float(np.count_nonzero(mask)) * voxel_ml

    parts = by_convention(enhancing, outline, oil)
    whole = float(np.count_nonzero(outline))
    alive = enhancing.mask
    return Necrosis(
        enhancing_ml=ml(alive),
        non_enhancing_ml=ml(None if alive is None else outline & ~alive),
        covered_ml=ml(None if deposit is None else outline & deposit),
        rim_ml=ml(rim),
        rim_enhancing_ml=ml(None if alive is None else rim & alive),
        necrotic_percent={name: 100 * (1 - float(np.count_nonzero(part)) / whole) for name, part in parts.items()},
        reason=enhancing.missing,
    )


def with_roles(
    lesions: Sequence[LesionHistory], baseline: int | None, roles: Mapping[str, LesionRole] | None = None
) -> tuple[LesionHistory, ...]:
    """Return the lesions as main tumour and daughter nodules: as given, else the largest before treatment is main.

    Each organ has one main tumour, and a node is neither. Where no size before treatment is known, the first known one
    stands in.
    """
    given = roles or {}
    largest: dict[str, tuple[float, str]] = {}
    for lesion in lesions:
        volume = _first_volume(lesion, baseline)
        candidate = lesion.new_on is None and not lesion.node and given.get(lesion.id) is not LesionRole.DAUGHTER
        if volume is not None and candidate:
            largest[lesion.organ] = max(largest.get(lesion.organ, (0.0, "")), (volume, lesion.id))
    main = {name for _, name in largest.values()}

    def role_of(lesion: LesionHistory) -> LesionRole | None:
        if lesion.id in given:
            return given[lesion.id]
        if lesion.organ not in largest:
            return None
        return LesionRole.MAIN if lesion.id in main else LesionRole.DAUGHTER

    return tuple(replace(lesion, role=role_of(lesion)) for lesion in lesions)


def _first_volume(lesion: LesionHistory, baseline: int | None) -> float | None:
    dates = lesion.dates if baseline is None else (lesion.dates[baseline], *lesion.dates)
    return next((at.whole.volume_ml for at in dates if at.whole is not None), None)


def compare_with_histology(
    lesions: Sequence[LesionHistory], histology: Sequence[Histology], *, params: NecrosisParams
) -> tuple[NecrosisReference, ...]:
    """Return each lesion's necrosis by its reference standard: histology where there is some, else the last imaging.

    A record that names a lesion goes before one that names its role. Imaging beside it is the last before the
    specimen, where the record tells when that was. Lesions with neither are left out.
    """
    out = []
    for lesion in lesions:
        record = _record_of(lesion, histology)
        seen = _last_imaging(lesion, None if record is None else record.days, params.convention)
        percent, days = (None, None) if seen is None or seen.necrosis is None else (
            seen.necrosis.necrotic_percent[params.convention], seen.days)  # fmt: skip
        if record is not None:
            standard, told = ReferenceStandard.HISTOLOGY, record.necrosis_percent
        elif percent is not None:
            standard, told = ReferenceStandard.IMAGING, percent
        else:
            continue
        out.append(NecrosisReference(lesion.id, lesion.role, standard, told, percent, days))
    return tuple(out)


def _record_of(lesion: LesionHistory, histology: Sequence[Histology]) -> Histology | None:
    named = [one for one in histology if one.lesion_id == lesion.id]
    by_role = [one for one in histology if one.role is not None and one.role is lesion.role]
    return next(iter([*named, *by_role]), None)


def _last_imaging(lesion: LesionHistory, until_days: float | None, convention: OilConvention) -> LesionAtDate | None:
    told = [
        at
        for at in lesion.dates
        if at.days >= 0 and at.necrosis is not None and convention in at.necrosis.necrotic_percent
        and (until_days is None or at.days <= until_days)
    ]  # fmt: skip
    return told[-1] if told else None
