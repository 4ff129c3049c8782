"""A patient's follow-up to its folder: document, deposit masks, aligned slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from angio_pipeline.core.followups import LesionCourse, LipiodolTimepoint, ScanAlignment
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.results import FollowUpResult
from angio_pipeline.outputs.dicom.choice import DEFAULT_OBJECTS, ObjectChoice, ObjectKind
from angio_pipeline.outputs.dicom.deposit import deposit_bytes
from angio_pipeline.outputs.dicom.origin import Origin
from angio_pipeline.outputs.documents import follow_up_document, shared_windows
from angio_pipeline.outputs.files import clear_results, write_bytes, write_json
from angio_pipeline.outputs.nifti import nifti_bytes
from angio_pipeline.outputs.pictures import Window, grey_picture, slice_picture, write_png
from angio_pipeline.outputs.responses import response_document
from angio_pipeline.outputs.schemas import LipiodolDocument, LiverDocument, ScanAlignmentDocument, TimepointDocument

__all__ = ["write_follow_up"]


def write_follow_up(
    result: FollowUpResult,
    subject_dir: Path,
    *,
    folder_of: Callable[[Source], str],
    origin_of: Callable[[Source], Origin] = lambda source: Origin(source, ()),
    choice: ObjectChoice = DEFAULT_OBJECTS,
) -> None:
    """Write `lipiodol.json`, `response.json`, and of each scan its deposits (`.dcm` unless empty) and pictures.

    The choice of DICOM objects holds for the deposits (`seg`) and for the reports `lipiodol-sr.dcm` and
    `response-sr.dcm` (`sr`); there are no others of follow-ups.

    Parameters
    ----------
    result : FollowUpResult
    subject_dir : Path
        The folder of the patient; nothing is written outside it.
    folder_of : callable
        Takes the source of a scan to its folder below `subject_dir`, `<YYYYMMDD>/<series>`.
    origin_of : callable
        Takes the source of a scan to what its DICOM objects say of it.

    Raises
    ------
    ValueError
        When `folder_of` names a folder outside `subject_dir`.
    OSError
        When the folder cannot be written.
    """
    document = follow_up_document(result, folder_of)
    clear_results(subject_dir)
    for course, described in _courses(result, document):
        windows = shared_windows(course)
        for point, names in zip(course.timepoints, described.timepoints, strict=True):
            _write_timepoint(point, names, subject_dir, windows)
            if ObjectKind.SEG in choice.kinds:
                _write_deposit(course.id, point, names, subject_dir, origin_of(point.source))
    for alignment, told in zip(result.alignments, document.alignments, strict=True):
        _write_alignment(alignment, told, subject_dir)
    if ObjectKind.SR in choice.kinds:
        _write_reports(result, document, subject_dir, origin_of)
    if result.response is not None:
        write_json(subject_dir / "response.json", response_document(result.response))
    write_json(subject_dir / "lipiodol.json", document)


def _courses(result: FollowUpResult, document: LipiodolDocument) -> Iterator[tuple[LesionCourse, LiverDocument]]:
    yield from zip(result.lesions, document.lesions, strict=True)
    if result.liver is not None and document.liver is not None:
        yield result.liver, document.liver


def _write_timepoint(
    point: LipiodolTimepoint, names: TimepointDocument, subject_dir: Path, windows: dict[str, Window]
) -> None:
    if point.deposit is not None and names.deposit_mask is not None:
        content = nifti_bytes(point.deposit.mask, point.deposit.affine)
        write_bytes(_below(subject_dir, names.deposit_mask), content)
    if point.views is not None and names.view is not None:
        write_png(_below(subject_dir, names.view), slice_picture(point.views, windows[point.views.unit]))


def _write_deposit(
    lesion: str, point: LipiodolTimepoint, names: TimepointDocument, subject_dir: Path, origin: Origin
) -> None:
    if point.deposit is not None and names.deposit_mask is not None and point.deposit.mask.any():
        name = names.deposit_mask.removesuffix(".nii.gz") + ".dcm"
        write_bytes(_below(subject_dir, name), deposit_bytes(point.deposit, origin, lesion))


def _write_reports(
    result: FollowUpResult, document: LipiodolDocument, subject_dir: Path, origin_of: Callable[[Source], Origin]
) -> None:
    from angio_pipeline.outputs.dicom.lipiodol_report import lipiodol_report_bytes
    from angio_pipeline.outputs.dicom.response_report import response_report_bytes

    courses = (*result.lesions, *(() if result.liver is None else (result.liver,)))
    sources = {point.source for course in courses for point in course.timepoints}
    sources |= {alignment.source for alignment in result.alignments}
    origins = [origin_of(source) for source in sorted(sources, key=_in_time)]
    judged = None if result.response is None else response_report_bytes(response_document(result.response), origins)
    for name, content in (("lipiodol-sr.dcm", lipiodol_report_bytes(document, origins)), ("response-sr.dcm", judged)):
        if content is not None:
            write_bytes(subject_dir / name, content)


def _in_time(source: Source) -> tuple[str, str, str, str]:
    acquired = source.acquired.isoformat() if source.acquired else ""
    return source.date, acquired, source.series_instance_uid, source.sop_instance_uid


def _write_alignment(alignment: ScanAlignment, names: ScanAlignmentDocument, subject_dir: Path) -> None:
    pictures = alignment.pictures
    if pictures is None:
        return
    views = (names.reference_view, names.before_view, names.after_view)
    for image, name in zip((pictures.reference, pictures.before, pictures.after), views, strict=True):
        if name is not None:
            write_png(_below(subject_dir, name), grey_picture(image, pictures.window, longest=640))


def _below(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"Expected a file below the subject's folder, found {name}; check folder_of.")
    return path
