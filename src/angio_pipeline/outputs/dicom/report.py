"""What all measurement reports share: SR template TID 1500, groups of measurements, who observed, what the evidence is.

The numbers are those of the JSON documents, taken from them and not measured again; what is `null` there is left out
here. Reports are unverified: no person has read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import ComprehensiveSRStorage

import angio_pipeline
from angio_pipeline.outputs.dicom import codes
from angio_pipeline.outputs.dicom.described import MANUFACTURER, Origin, describe, object_bytes, own_uid
from angio_pipeline.outputs.dicom.elements import graphic_points

__all__ = ["Group", "Number", "TimePoint", "answer", "flag_codes", "number", "report_bytes"]

_DEVICE_NAME = f"{MANUFACTURER} {angio_pipeline.__version__}"


@dataclass(frozen=True, slots=True)
class Number:
    """One measurement: what, how much, in which unit, and where, as ("POINT" or "POLYLINE", points (row, col))."""

    name: Code
    value: float
    unit: Code
    places: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class TimePoint:
    """When a group was measured; `days` since the event when they are known."""

    date: str
    days: float | None
    order: int


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The measurements of one thing, at one time.

    Attributes
    ----------
    tracking_id : str
        The thing's own name, the same at all times.
    images : tuple of Dataset
        References (class, instance, frame) of the images behind the numbers.
    """

    tracking_id: str
    finding: Code
    numbers: tuple[Number, ...] = ()
    evaluations: tuple[tuple[Code, Code], ...] = ()
    texts: tuple[tuple[Code, str], ...] = ()
    images: tuple[Dataset, ...] = ()
    site: Code | None = None
    method: Code | None = None
    time: TimePoint | None = None
    algorithms: Mapping[str, str] = field(default_factory=dict)


def number(name: Code, value: float | None, unit: Code, *places: tuple[str, npt.ArrayLike]) -> tuple[Number, ...]:
    """Return a measurement, none where its value is unknown."""
    return () if value is None else (Number(name, value, unit, tuple(places)),)


def flag_codes(names: Iterable[str]) -> tuple[tuple[Code, Code], ...]:
    """Return quality flags as answers to what is at issue."""
    return tuple((codes.QUALITY_ISSUE, codes.own(name, name.replace("_", " ").capitalize())) for name in names)


def answer(question: Code, value: str) -> tuple[Code, Code]:
    """Return one of a few words as a coded answer."""
    return question, codes.own(value.upper().replace(" ", "_"), value[:1].upper() + value[1:])


def report_bytes(
    groups: Sequence[Group], origins: Sequence[Origin], *, procedure: Code, label: str, series_number: int
) -> bytes:
    """Return a Comprehensive SR of the groups; it belongs to the study of the first origin.

    Raises
    ------
    ValueError
        When there is no group: a report has one at least.
    """
    home = origins[0]
    content = sr.MeasurementReport(
        observation_context=_observer(),
        procedure_reported=procedure,
        imaging_measurements=[_measured(group, home) for group in groups],
        title=codes.MEASUREMENT_REPORT,
    )
    made: Any = sr.ComprehensiveSR(
        evidence=[one for origin in origins for one in _evidence(origin)],
        content=content[0],
        series_instance_uid=own_uid("series"),
        series_number=series_number,
        sop_instance_uid=own_uid("instance"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        record_evidence=True,
    )
    ds = Dataset(made)
    describe(ds, home, modality="SR", number=series_number, label=label)
    ds.ContentDate, ds.ContentTime = home.content_date, home.content_time
    ds.ReferencedPerformedProcedureStepSequence = []
    return object_bytes(ds, ComprehensiveSRStorage)


def _observer() -> sr.ObservationContext:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=own_uid("device", _DEVICE_NAME),
        name=_DEVICE_NAME,
        manufacturer_name=MANUFACTURER,
        model_name=MANUFACTURER,
    )
    context = sr.ObserverContext(
        observer_type=sr.CodedConcept.from_code(codes.DEVICE_OBSERVER), observer_identifying_attributes=device
    )
    return sr.ObservationContext(observer_device_context=context)


def _evidence(origin: Origin) -> list[Dataset]:
    """Return what highdicom wants to know of the images behind a report; `describe` says who the patient is."""
    instances = origin.referenced_series().ReferencedInstanceSequence
    out = []
    for one in instances:
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID = origin.study, origin.series
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
            setattr(ds, keyword, "")
        ds.StudyDate = ds.StudyTime = None
        out.append(ds)
    return out


def _measured(group: Group, home: Origin) -> sr.MeasurementsAndQualitativeEvaluations:
    made = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=own_uid("tracking", home.source.subject, home.source.sop_instance_uid, group.tracking_id),
            identifier=group.tracking_id,
        ),
        finding_type=group.finding,
        time_point_context=None if group.time is None else _time(group.time),
        method=group.method,
        algorithm_id=_algorithm(group.algorithms),
        finding_sites=None if group.site is None else [sr.FindingSite(group.site)],
        measurements=[_measurement(one, group) for one in group.numbers],
        qualitative_evaluations=[sr.QualitativeEvaluation(name, value) for name, value in group.evaluations],
        source_images=[_source(image) for image in group.images],
    )
    made[0].ContentSequence.extend(
        sr.TextContentItem(name=name, value=words, relationship_type=sr.RelationshipTypeValues.CONTAINS)
        for name, words in group.texts
    )
    return made


def _time(when: TimePoint) -> sr.TimePointContext:
    offset = None
    if when.days is not None:
        offset = sr.LongitudinalTemporalOffsetFromEvent(when.days, codes.DAYS, codes.TREATMENT_OR_FIRST_SCAN)
    return sr.TimePointContext(when.date, time_point_order=when.order, temporal_offset_from_event=offset)


def _algorithm(weights: Mapping[str, str]) -> sr.AlgorithmIdentification:
    told = [f"network {name}, weights sha256 {digest}" for name, digest in sorted(weights.items())]
    return sr.AlgorithmIdentification(
        name=MANUFACTURER, version=angio_pipeline.__version__, parameters=told or None, manufacturer=MANUFACTURER
    )


def _measurement(one: Number, group: Group) -> sr.Measurement:
    places = [
        sr.CoordinatesForMeasurement(
            graphic_type=kind,
            graphic_data=graphic_points(points),
            source_image=sr.SourceImageForRegion(
                group.images[0].ReferencedSOPClassUID,
                group.images[0].ReferencedSOPInstanceUID,
                _frames(group.images[0]),
            ),
        )
        for kind, points in one.places
    ]
    return sr.Measurement(name=one.name, value=one.value, unit=one.unit, referenced_coordinates=places or None)


def _source(image: Dataset) -> sr.SourceImageForMeasurementGroup:
    return sr.SourceImageForMeasurementGroup(
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID, _frames(image)
    )


def _frames(image: Dataset) -> list[int] | None:
    return [int(image.ReferencedFrameNumber)] if "ReferencedFrameNumber" in image else None
