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
from pydicom.uid import ComprehensiveSRStorage, SegmentationStorage

import angio_pipeline
from angio_pipeline.outputs.dicom import codes
from angio_pipeline.outputs.dicom.elements import graphic_points, item
from angio_pipeline.outputs.dicom.origin import (
    MANUFACTURER,
    Origin,
    describe,
    object_bytes,
    own_uid,
    tracking_uid,
)
from angio_pipeline.outputs.dicom.segmentation import Segments

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
    within : str
        SOP Instance UID of the run in which that name holds; empty when it holds for the whole patient.
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
    within: str = ""


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
    groups: Sequence[Group],
    origins: Sequence[Origin],
    *,
    procedure: Code,
    label: str,
    series_number: int,
    segments: Segments | None = None,
) -> bytes:
    """Return a Comprehensive SR of the groups; it belongs to the study of the first origin.

    Parameters
    ----------
    segments : Segments, optional
        A segmentation of the first origin: groups whose names are among its labels refer to their segment.

    Raises
    ------
    ValueError
        When there is no group: a report has one at least.
    """
    home = origins[0]
    content = sr.MeasurementReport(
        observation_context=_observer(),
        procedure_reported=procedure,
        imaging_measurements=[_measured(group, home, segments) for group in groups],
        title=codes.MEASUREMENT_REPORT,
    )
    root = content[0]
    # Before the measurements, which are last.
    root.ContentSequence.insert(len(root.ContentSequence) - 1, _library(origins))
    ds = _document(root)
    _tell_evidence(ds, origins, segments)
    describe(ds, home, modality="SR", number=series_number, label=label)
    ds.ContentDate, ds.ContentTime = home.content_date, home.content_time
    return object_bytes(ds, ComprehensiveSRStorage)


def _document(root: Dataset) -> Dataset:
    """Return a document of this content.

    highdicom's own class copies and reads the whole tree once more, which takes longer than to build it.
    """
    ds = Dataset()
    for element in root:
        ds[element.tag] = element
    ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag = "COMPLETE", "UNVERIFIED", "PRELIMINARY"
    ds.PerformedProcedureCodeSequence = ds.ReferencedPerformedProcedureStepSequence = []
    return ds


def _tell_evidence(ds: Dataset, origins: Sequence[Origin], segments: Segments | None) -> None:
    """Name every file behind the report: those of its own study apart from others."""
    home, series = origins[0].study, [(origin.study, origin.referenced_series()) for origin in origins]
    if segments is not None:
        segmentation = item(ReferencedSOPClassUID=SegmentationStorage, ReferencedSOPInstanceUID=segments.instance)
        series.append((home, item(SeriesInstanceUID=segments.series, ReferencedInstanceSequence=[segmentation])))
    studies: dict[str, list[Dataset]] = {}
    for study, one in series:
        members = item(SeriesInstanceUID=one.SeriesInstanceUID)
        members.ReferencedSOPSequence = one.ReferencedInstanceSequence
        studies.setdefault(study, []).append(members)
    told = [item(StudyInstanceUID=study, ReferencedSeriesSequence=members) for study, members in studies.items()]
    ds.CurrentRequestedProcedureEvidenceSequence = told[:1]
    if told[1:]:
        ds.PertinentOtherEvidenceSequence = told[1:]


def _library(origins: Sequence[Origin]) -> sr.ContainerContentItem:
    """Return the image library (TID 1600): the images that were measured, one for each scan of many files."""
    contains = sr.RelationshipTypeValues.CONTAINS
    library = sr.ContainerContentItem(codes.IMAGE_LIBRARY, relationship_type=contains)
    group = sr.ContainerContentItem(codes.IMAGE_LIBRARY_GROUP, relationship_type=contains)
    group.ContentSequence = sr.ContentSequence([_entry(origin) for origin in origins])
    library.ContentSequence = sr.ContentSequence([group])
    return library


def _entry(origin: Origin) -> sr.ImageContentItem:
    header = origin.headers[len(origin.headers) // 2] if origin.headers else Dataset()
    entry = sr.ImageContentItem(
        codes.SOURCE,
        referenced_sop_class_uid=header.get("SOPClassUID") or origin.sop_class,
        referenced_sop_instance_uid=header.get("SOPInstanceUID") or origin.sop_instance,
        relationship_type=sr.RelationshipTypeValues.CONTAINS,
    )
    context = sr.RelationshipTypeValues.HAS_ACQ_CONTEXT
    told: list[sr.ContentItem] = []
    kind = codes.MODALITIES.get(origin.source.modality)
    if kind is not None:
        told.append(sr.CodeContentItem(codes.MODALITY, kind, context))
    told += [
        sr.NumContentItem(name, int(header[keyword].value), codes.PIXELS, relationship_type=context)
        for keyword, name in (("Rows", codes.ROWS), ("Columns", codes.COLUMNS))
        if keyword in header
    ]
    if told:
        entry.ContentSequence = sr.ContentSequence(told)
    return entry


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


def _measured(group: Group, home: Origin, segments: Segments | None) -> sr.MeasurementsAndQualitativeEvaluations:
    uid = tracking_uid(home.source.subject, group.tracking_id, within=group.within)
    made = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=uid, identifier=group.tracking_id),
        finding_type=group.finding,
        time_point_context=None if group.time is None else _time(group.time),
        method=group.method,
        algorithm_id=_algorithm(group.algorithms),
        finding_sites=None if group.site is None else [sr.FindingSite(group.site)],
        measurements=[_measurement(one, group) for one in group.numbers],
        qualitative_evaluations=[sr.QualitativeEvaluation(name, value) for name, value in group.evaluations],
        source_images=[_source(image) for image in group.images],
    )
    if segments is not None and group.tracking_id in segments.numbers:
        made[0].ContentSequence.extend(_segment(segments, segments.numbers[group.tracking_id], group.images[0]))
    made[0].ContentSequence.extend(
        sr.TextContentItem(name=name, value=words, relationship_type=sr.RelationshipTypeValues.CONTAINS)
        for name, words in group.texts
    )
    return made


def _segment(segments: Segments, segment: int, image: Dataset) -> tuple[sr.ImageContentItem, ...]:
    """Return a segment and the image that it is of, as groups about regions name them.

    The groups are of TID 1501, which may be extended: those of TID 1410, made for regions in a plane, must not hold
    the coordinates of a feeder's course and of positions.
    """
    contains = sr.RelationshipTypeValues.CONTAINS
    return (
        sr.ImageContentItem(
            codes.REFERENCED_SEGMENT,
            SegmentationStorage,
            segments.instance,
            referenced_segment_numbers=segment,
            relationship_type=contains,
        ),
        sr.SourceImageForSegmentation(image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID, _frames(image)),
    )


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
