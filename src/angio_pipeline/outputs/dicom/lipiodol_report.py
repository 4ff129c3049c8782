"""The oil of one patient over time as a structured report: a group for every lesion and date, one for each washout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from angio_pipeline.outputs.dicom import codes
from angio_pipeline.outputs.dicom.codes import own
from angio_pipeline.outputs.dicom.origin import Origin
from angio_pipeline.outputs.dicom.report import Group, Number, TimePoint, answer, flag_codes, number, report_bytes
from angio_pipeline.outputs.schemas import (
    KineticsDocument,
    LesionDocument,
    LipiodolDocument,
    LiverDocument,
    StrayOilSearchDocument,
    TimepointDocument,
)

__all__ = ["lipiodol_report_bytes", "middle_image"]

_HOW_MUCH: Mapping[str, tuple[Code, Code]] = {
    "iodine_mg": (own("IODINE", "Mass of iodine"), codes.MILLIGRAMS),
    "oil_ml": (own("OIL", "Volume of iodized oil"), codes.MILLILITRES),
    "relative_amount": (own("RELATIVE_AMOUNT", "Amount relative to the patient's own reference"), codes.NO_UNITS),
    "volume_mm3": (codes.VOLUME, codes.CUBIC_MILLIMETRES),
    "retention": (own("RETENTION", "Share of the oil that is retained"), codes.NO_UNITS),
    "clipped_voxels": (own("CLIPPED_VOXELS", "Voxels at the top of the CT scale"), codes.NO_UNITS),
}
_INTERVALS: Mapping[str, tuple[Code, Code, Code]] = {
    "iodine_mg_interval": (
        own("IODINE_LOW", "Mass of iodine, lower end of 95% interval"),
        own("IODINE_HIGH", "Mass of iodine, upper end of 95% interval"),
        codes.MILLIGRAMS,
    ),
    "retention_interval": (
        own("RETENTION_LOW", "Share retained, lower end of 95% interval"),
        own("RETENTION_HIGH", "Share retained, upper end of 95% interval"),
        codes.NO_UNITS,
    ),
}
_QUESTIONS: Mapping[str, Code] = {
    "pattern": own("PATTERN", "Distribution of the oil"),
    "completeness": own("COMPLETENESS", "How much of the tumor holds oil"),
    "margin_grade": own("MARGIN_GRADE", "Technical grade by the margin"),
}
_HALF_LIFE = own("HALF_LIFE", "Half-life of the oil")
_HALF_LIFE_LOW = own("HALF_LIFE_LOW", "Half-life of the oil, lower end of 95% interval")
_HALF_LIFE_HIGH = own("HALF_LIFE_HIGH", "Half-life of the oil, upper end of 95% interval")
_MODEL = own("KINETICS_MODEL", "How the half-life was obtained")
_ENHANCEMENT = own("ARTERIAL_MINUS_PORTAL", "Arterial minus portal attenuation of what is left")
_ENHANCEMENT_LOW = own("ARTERIAL_LOW", "Arterial minus portal, lower end of 95% interval")
_ENHANCEMENT_HIGH = own("ARTERIAL_HIGH", "Arterial minus portal, upper end of 95% interval")
_LIVING = own("LIVING", "Volume that enhances beside the oil")
_PLACE = own("PLACE", "Where the oil lies")
_STRAY = own("STRAY_OIL", "Iodized oil outside the lesions")

OriginOf = Callable[[str, str], Origin | None]
"""From series and SOP instance UID of a scan to its origin; None where that is not at hand."""


def lipiodol_report_bytes(document: LipiodolDocument, origins: Sequence[Origin]) -> bytes | None:
    """Return the report of `lipiodol.json`, in the study of the latest scan; None where nothing was measured.

    Parameters
    ----------
    origins : sequence of Origin
        The scans, in order of their dates.
    """
    named = {(one.source.series_instance_uid, one.source.sop_instance_uid): one for one in origins}
    groups = [*_courses(document, lambda series, instance: named.get((series, instance)))]
    groups += [group for search in document.non_target for group in _strays(search)]
    if not groups or not origins:
        return None
    label = "Iodized oil over time"
    return report_bytes(groups, origins[::-1], procedure=codes.TOMOGRAPHY, label=label, series_number=9010)


def middle_image(origin: Origin | None) -> tuple[Dataset, ...]:
    """Return a reference to the middle one of a scan's files, which stands for the scan; none without its headers."""
    if origin is None or not origin.headers:
        return ()
    header = origin.headers[len(origin.headers) // 2]
    if "SOPClassUID" not in header or "SOPInstanceUID" not in header:
        return ()
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    return (made,)


def _courses(document: LipiodolDocument, origin_of: OriginOf) -> Iterator[Group]:
    for lesion in document.lesions:
        yield from _course(lesion.id, codes.LESION, lesion, origin_of)
    if document.liver is not None:
        yield from _course("liver", codes.LIVER, document.liver, origin_of)


def _course(name: str, finding: Code, course: LesionDocument | LiverDocument, origin_of: OriginOf) -> Iterator[Group]:
    for order, point in enumerate(course.timepoints, start=1):
        yield _timepoint(name, finding, point, order, origin_of(point.series_instance_uid, point.sop_instance_uid))
    if course.kinetics is not None:
        yield _kinetics(name, finding, course.kinetics, course.quality)


def _timepoint(name: str, finding: Code, point: TimepointDocument, order: int, origin: Origin | None) -> Group:
    asked = ((question, getattr(point, key)) for key, question in _QUESTIONS.items())
    return Group(
        name,
        finding,
        site=codes.LIVER,
        time=TimePoint(point.date, point.days, order),
        numbers=(
            *(one for key, (code, unit) in _HOW_MUCH.items() for one in number(code, getattr(point, key), unit)),
            *(one for key, interval in _INTERVALS.items() for one in _ends(getattr(point, key), interval)),
            *(one for hu, share in (point.coverage or {}).items() for one in _coverage(hu, share)),
            *_residual(point),
        ),
        evaluations=(
            *(answer(question, given.value) for question, given in asked if given is not None),
            *flag_codes(point.quality),
        ),
        images=middle_image(origin),
    )


def _ends(interval: tuple[float | None, float | None] | None, names: tuple[Code, Code, Code]) -> tuple[Number, ...]:
    if interval is None:
        return ()
    low, high, unit = names
    return (*number(low, interval[0], unit), *number(high, interval[1], unit))


def _coverage(hu: str, share: float | None) -> tuple[Number, ...]:
    return number(own(f"COVERAGE_{hu}", f"Share of the lesion above {hu} HU"), share, codes.PERCENT)


def _residual(point: TimepointDocument) -> tuple[Number, ...]:
    if point.residual is None:
        return ()
    return (
        *number(_ENHANCEMENT, point.residual.arterial_minus_portal_hu, codes.HOUNSFIELD),
        *_ends(point.residual.interval_hu, (_ENHANCEMENT_LOW, _ENHANCEMENT_HIGH, codes.HOUNSFIELD)),
        *number(_LIVING, point.residual.living_ml, codes.MILLILITRES),
    )


def _kinetics(name: str, finding: Code, kinetics: KineticsDocument, quality: Sequence[str]) -> Group:
    return Group(
        f"{name} washout",
        finding,
        site=codes.LIVER,
        numbers=(
            *number(_HALF_LIFE, kinetics.half_life_days, codes.DAYS),
            *_ends(kinetics.half_life_interval, (_HALF_LIFE_LOW, _HALF_LIFE_HIGH, codes.DAYS)),
        ),
        evaluations=(answer(_MODEL, kinetics.model.value), *flag_codes(quality)),
    )


def _strays(search: StrayOilSearchDocument) -> Iterator[Group]:
    for count, piece in enumerate(search.pieces, start=1):
        iodine = _INTERVALS["iodine_mg_interval"]
        yield Group(
            f"stray oil {search.date} {count}",
            _STRAY,
            time=TimePoint(search.date, search.days, 1),
            numbers=(
                *number(_HOW_MUCH["oil_ml"][0], piece.volume_ml, codes.MILLILITRES),
                *number(_HOW_MUCH["iodine_mg"][0], piece.iodine_mg, codes.MILLIGRAMS),
                *_ends(piece.iodine_mg_interval, iodine),
            ),
            evaluations=(answer(_PLACE, piece.place.value), *flag_codes(search.quality)),
        )
