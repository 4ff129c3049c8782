"""The response of one patient as a structured report: what each criterion calls each date, and the sizes behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from angio_pipeline.outputs.dicom import codes
from angio_pipeline.outputs.dicom.codes import own
from angio_pipeline.outputs.dicom.lipiodol_report import middle_image
from angio_pipeline.outputs.dicom.origin import Origin
from angio_pipeline.outputs.dicom.report import Group, Number, TimePoint, answer, number, report_bytes
from angio_pipeline.outputs.schemas import (
    BestResponseDocument,
    ExtentDocument,
    LesionHistoryDocument,
    MeasuredLesionDocument,
    NecrosisReferenceDocument,
    ReasonDocument,
    ResponseDocument,
    ResponseTimepointDocument,
)

__all__ = ["response_report_bytes"]

_METHODS: Mapping[str, Code] = {
    "recist": Code("126081", "DCM", "RECIST 1.1"),
    "who": Code("112029", "DCM", "WHO"),
    "mrecist": own("MRECIST", "mRECIST"),
    "easl": own("EASL", "EASL"),
    "qeasl": own("QEASL", "qEASL"),
    "choi": own("CHOI", "Choi"),
    "recicl": own("RECICL", "RECICL"),
}
_UNITS: Mapping[str, Code] = {
    "mm": codes.MILLIMETRES,
    "mm2": codes.SQUARE_MILLIMETRES,
    "ml": codes.MILLILITRES,
}
_SIZES: Mapping[str, tuple[str, str, Code]] = {
    "longest_mm": ("LONGEST", "Longest axial diameter", codes.MILLIMETRES),
    "across_mm": ("ACROSS", "Axial diameter across the longest", codes.MILLIMETRES),
    "product_mm2": ("PRODUCT", "Product of axial diameters", codes.SQUARE_MILLIMETRES),
    "longest_3d_mm": ("LONGEST_3D", "Longest diameter in space", codes.MILLIMETRES),
    "volume_ml": ("VOLUME", "Volume", codes.MILLILITRES),
}
_NECROSIS: Mapping[str, tuple[Code, Code]] = {
    "enhancing_ml": (own("ENHANCING", "Volume that enhances"), codes.MILLILITRES),
    "non_enhancing_ml": (own("NON_ENHANCING", "Volume that does not enhance"), codes.MILLILITRES),
    "covered_ml": (own("COVERED", "Volume covered by oil"), codes.MILLILITRES),
    "rim_ml": (own("RIM", "Volume of the outermost layer"), codes.MILLILITRES),
    "rim_enhancing_ml": (own("RIM_ENHANCING", "Volume of the outermost layer that enhances"), codes.MILLILITRES),
}
_OF_CALL: Mapping[str, tuple[Code, Code]] = {
    "change_from_baseline": (own("CHANGE_BASELINE", "Relative change from baseline"), codes.NO_UNITS),
    "change_from_nadir": (own("CHANGE_NADIR", "Relative change from nadir"), codes.NO_UNITS),
    "density_change": (own("DENSITY_CHANGE", "Relative change of attenuation"), codes.NO_UNITS),
    "effect": (own("EFFECT", "Share of the lesion that was treated with effect"), codes.NO_UNITS),
}
_SUMS: Mapping[str, Code] = {
    "value": own("SUM", "Sum over the targets"),
    "baseline": own("SUM_BASELINE", "Sum over the targets at baseline"),
    "nadir": own("SUM_NADIR", "Least sum over the targets so far"),
}
_CALLS: Mapping[str, Code] = {
    "call": own("CALL", "Response"),
    "target_call": own("TARGET_CALL", "Response of the targets"),
    "non_target_call": own("NON_TARGET_CALL", "Response of other lesions"),
}
_CALL_WORDS: Mapping[str, str] = {
    "CR": "Complete response",
    "PR": "Partial response",
    "SD": "Stable disease",
    "PD": "Progressive disease",
    "NE": "Not evaluable",
    "non-CR/non-PD": "Neither complete response nor progressive disease",
}
_RESPONSE = own("RESPONSE", "Response to treatment")
_BEST = own("BEST_CALL", "Best overall response")
_REACHED = own("BEST_DAYS", "When the best response was reached")
_ROLE, _RULE = own("ROLE", "Role of the lesion"), own("RULE", "Rule that made the call")
_NEW, _MISSING = own("NEW_LESIONS", "New lesions"), own("MISSING", "Why it was not evaluated")
_MEAN_HU = own("MEAN_HU", "Mean attenuation")
_THRESHOLD = own("THRESHOLD_HU", "Enhancement from which on tissue counts as viable")
_PERCENT = own("NECROSIS_REFERENCE", "Necrosis by the reference standard")
_IMAGING_PERCENT = own("NECROSIS_IMAGING", "Necrosis by imaging beside the reference standard")
_STANDARD = own("STANDARD", "Reference standard of necrosis")


def response_report_bytes(document: ResponseDocument, origins: Sequence[Origin]) -> bytes | None:
    """Return the report of `response.json`, in the study of the latest scan; None where nothing was judged.

    Parameters
    ----------
    origins : sequence of Origin
        The scans, in order of their dates.
    """
    scans = {origin.source.date: middle_image(origin) for origin in origins}
    groups = [
        *(_lesion(one, at, order, scans) for one in document.lesions for order, at in enumerate(one.timepoints, 1)),
        *(group for order, point in enumerate(document.timepoints, 1) for group in _date(point, order, scans)),
        *(_best(one) for one in document.best),
        *(_necrosis_reference(one) for one in document.necrosis),
    ]
    if not groups or not origins:
        return None
    label = "Response to treatment"
    return report_bytes(groups, origins[::-1], procedure=codes.TOMOGRAPHY, label=label, series_number=9011)


_Scans = Mapping[str, tuple[Dataset, ...]]


def _lesion(lesion: LesionHistoryDocument, at: MeasuredLesionDocument, order: int, scans: _Scans) -> Group:
    return Group(
        lesion.id,
        codes.LESION,
        site=codes.LIVER if lesion.organ == "liver" else None,
        time=TimePoint(at.date, at.days, order),
        numbers=(
            *(() if at.whole is None else _extent(at.whole, "", "")),
            *(
                one
                for convention, extent in at.viable.items()
                for one in _extent(extent, f"_VIABLE_{convention.value.upper()}", f", viable, {convention.value}")
            ),
            *number(_MEAN_HU, at.mean_hu, codes.HOUNSFIELD),
            *number(_THRESHOLD, at.threshold_hu, codes.HOUNSFIELD),
            *_necrosis(at),
        ),
        evaluations=(answer(_ROLE, lesion.role.value),) if lesion.role is not None else (),
        texts=((_MISSING, at.missing),) if at.missing else (),
        images=scans.get(at.date, ()),
    )


def _extent(extent: ExtentDocument, suffix: str, words: str) -> Iterator[Number]:
    for key, (name, meaning, unit) in _SIZES.items():
        yield from number(own(f"{name}{suffix}", f"{meaning}{words}"), getattr(extent, key), unit)


def _necrosis(at: MeasuredLesionDocument) -> Iterator[Number]:
    if at.necrosis is None:
        return
    for key, (code, unit) in _NECROSIS.items():
        yield from number(code, getattr(at.necrosis, key), unit)
    for convention, share in at.necrosis.necrotic_percent.items():
        name = own(f"NECROTIC_{convention.value.upper()}", f"Share that does not enhance, {convention.value}")
        yield from number(name, share, codes.PERCENT)


def _date(point: ResponseTimepointDocument, order: int, scans: _Scans) -> Iterator[Group]:
    for reason in point.reasons:
        yield Group(
            reason.name,
            _RESPONSE,
            method=_METHODS.get(reason.criterion.value),
            time=TimePoint(point.date, point.days, order),
            numbers=tuple(_call_numbers(reason)),
            evaluations=tuple(
                _called(question, str(getattr(reason, key).value))
                for key, question in _CALLS.items()
                if getattr(reason, key) is not None
            ),
            texts=(
                *(((_RULE, reason.rule),) if reason.rule else ()),
                *(((codes.COMMENT, reason.sentence),) if reason.sentence else ()),
                *(((_NEW, ", ".join(reason.new_lesions)),) if reason.new_lesions else ()),
            ),
            images=scans.get(point.date, ()),
        )


def _call_numbers(reason: ReasonDocument) -> Iterator[Number]:
    unit = _UNITS.get(reason.unit, codes.NO_UNITS)
    for key, code in _SUMS.items():
        yield from number(code, getattr(reason, key), unit)
    for key, (code, share) in _OF_CALL.items():
        yield from number(code, getattr(reason, key), share)


def _called(question: Code, call: str) -> tuple[Code, Code]:
    return question, own(call, _CALL_WORDS.get(call, f"Response {call}"))


def _best(best: BestResponseDocument) -> Group:
    return Group(
        f"best {best.name}",
        _RESPONSE,
        numbers=number(_REACHED, best.days, codes.DAYS),
        evaluations=(_called(_BEST, "NE" if best.call is None else best.call.value),),
        texts=((codes.COMMENT, best.sentence),) if best.sentence else (),
    )


def _necrosis_reference(one: NecrosisReferenceDocument) -> Group:
    return Group(
        f"{one.lesion} necrosis",
        codes.LESION,
        numbers=(
            *number(_PERCENT, one.percent, codes.PERCENT),
            *number(_IMAGING_PERCENT, one.imaging_percent, codes.PERCENT),
        ),
        evaluations=(answer(_STANDARD, one.standard.value),),
    )
