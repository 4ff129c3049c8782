"""Oil in the liver outside the lesions: what its attenuation is above the liver's own.

Only a scan without oil tells the liver's own attenuation: one before treatment, or one so late
that normal liver has shed its oil. Without such a scan there is no course.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from angio_pipeline.core.followups import LesionCourse, LipiodolTimepoint
from angio_pipeline.core.params import Params
from angio_pipeline.core.quality import Quality
from angio_pipeline.lipiodol.lesions import Lesion
from angio_pipeline.lipiodol.mass import OIL_IODINE_MG_PER_ML, MassParams, iodine_slope
from angio_pipeline.lipiodol.scans import Scan
from angio_pipeline.numerics import volumes as space

__all__ = ["LiverParams", "follow_liver"]


class LiverParams(Params):
    """Settings of the liver's course."""

    clear_days: float = Field(21.0, gt=0.0, description="when normal liver is taken to have shed its oil, days")
    away_mm: float = Field(12.0, ge=0.0, description="distance from lesions, mm")
    least_ml: float = Field(100.0, ge=0.0, description="liver that must be seen, ml")
    calibration_sd_hu: float = Field(2.5, ge=0.0, description="how far the scales of two scans may differ, HU")


@dataclass(frozen=True, slots=True)
class _Level:
    hu: float
    volume_ml: float
    at_edge: bool


def follow_liver(
    scans: Sequence[Scan], lesions: Sequence[Lesion], *, mass: MassParams, params: LiverParams
) -> LesionCourse | None:
    """Return the iodine in normal liver against a scan without oil, None when there is no such scan."""
    plain = [scan for scan in scans if not scan.contrast]
    before = [scan for scan in plain if scan.baseline]
    after = [scan for scan in plain if not scan.baseline]
    clear = before[-1] if before else (after[-1] if after and after[-1].days >= params.clear_days else None)
    oiled = [scan for scan in after if scan is not clear]
    if clear is None or not oiled:
        return None
    zero = _level(clear, lesions, params)
    levels = [(scan, _level(scan, lesions, params)) for scan in oiled]
    known = [(scan, level) for scan, level in levels if level is not None]
    if zero is None or not known:
        return None
    points = [_point(scan, level, zero, mass, params) for scan, level in known]
    return LesionCourse("liver", tuple(_with_retention(points)), None)


def _level(scan: Scan, lesions: Sequence[Lesion], params: LiverParams) -> _Level | None:
    tissue = scan.tissue
    normal = tissue.liver.copy()
    away = tissue.bright & tissue.liver
    for lesion in lesions:
        away |= lesion.mask_on(normal.shape, tissue.affine, scan.motion_to(lesion))
    normal &= ~space.dilate(away, tissue.affine, params.away_mm)
    core = normal & space.dilate(tissue.liver, tissue.affine, -2 * float(space.spacing_mm(tissue.affine)[0]))
    if np.count_nonzero(core) * tissue.voxel_ml < params.least_ml:
        return None
    at_edge = bool(tissue.liver[[0, -1]].any())
    return _Level(float(np.median(tissue.hu[core])), float(np.count_nonzero(normal)) * tissue.voxel_ml, at_edge)


def _point(scan: Scan, level: _Level, zero: _Level, mass: MassParams, params: LiverParams) -> LipiodolTimepoint:
    slope, quality = iodine_slope(scan.volume.kvp, params=mass)
    mg = (level.hu - zero.hu) * level.volume_ml / slope
    half = 1.96 * params.calibration_sd_hu * np.sqrt(2.0) * level.volume_ml / slope
    quality |= scan.volume.quality | scan.alignment.quality
    quality |= Quality.LESION_AT_EDGE if level.at_edge else Quality.NONE
    # What cannot be told from nothing is no amount, only a bound: less than the interval's upper end.
    seen = bool(mg > half)
    quality |= Quality.NONE if seen else Quality.NO_LIPIODOL
    return LipiodolTimepoint(
        scan.volume.source,
        scan.days,
        None,
        None,
        iodine_mg=mg if seen else None,
        iodine_mg_interval=(max(float(mg - half), 0.0), max(float(mg + half), 0.0)),
        oil_ml=mg / OIL_IODINE_MG_PER_ML if seen else None,
        quality=quality,
    )


def _with_retention(points: list[LipiodolTimepoint]) -> list[LipiodolTimepoint]:
    # A ratio of two amounts that may both be nothing says nothing: without oil at first there is none.
    first = points[0]
    if first.iodine_mg is None or first.iodine_mg_interval is None or first.iodine_mg_interval[0] <= 0:
        return points
    low, high = first.iodine_mg_interval
    out = [replace(first, retention=1.0, retention_interval=(1.0, 1.0))]
    for point in points[1:]:
        if point.iodine_mg is None or point.iodine_mg_interval is None:
            out.append(point)
            continue
        bounds = [end / start for end in point.iodine_mg_interval for start in (low, high)]
        interval = (min(bounds), max(bounds))
        out.append(replace(point, retention=point.iodine_mg / first.iodine_mg, retention_interval=interval))
    return out
