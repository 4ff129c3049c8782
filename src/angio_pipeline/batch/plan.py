"""What there is to do: one task a run, one a patient's follow-ups, its projections, its comparisons; and what cannot.

A plan holds paths, identifiers and what a reader said only, so that it can cross to another process or machine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from angio_pipeline import ingest, outputs
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.readings import Reading
from angio_pipeline.core.results import Refusal
from angio_pipeline.core.words import counted

__all__ = [
    "ComparisonTask",
    "FollowUpTask",
    "Plan",
    "ProjectionTask",
    "ReportTask",
    "RunTask",
    "make_plan",
    "relative_folder",
]


@dataclass(frozen=True, slots=True)
class RunTask:
    """One DSA run to analyse."""

    item: ingest.RunItem
    rois: tuple[Path, ...] = ()
    corrections: tuple[Path, ...] = ()

    @property
    def subject(self) -> str:
        """The patient's pseudonym."""
        return self.item.source.subject

    @property
    def folder(self) -> str:
        """Where the results go, below the subject's folder."""
        return relative_folder(self.item.source)


@dataclass(frozen=True, slots=True)
class FollowUpTask:
    """All follow-ups of one patient."""

    subject: str
    volumes: tuple[ingest.VolumeItem, ...]
    films: tuple[ingest.FilmItem, ...]
    rois: tuple[Path, ...] = ()
    treated: datetime | None = None
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True)
class ComparisonTask:
    """All runs of one patient that share a day with another: before and after embolisation, perhaps."""

    subject: str
    runs: tuple[RunTask, ...]

    @property
    def folder(self) -> str:
        """Where the results go, below the subject's folder."""
        return outputs.EMBOLISATION


@dataclass(frozen=True, slots=True)
class ProjectionTask:
    """All runs of one patient that share a day with another: two projections of one injection, perhaps."""

    subject: str
    runs: tuple[RunTask, ...]

    @property
    def folder(self) -> str:
        """Where the results go, below the subject's folder."""
        return outputs.PROJECTIONS


@dataclass(frozen=True, slots=True)
class ReportTask:
    """The page of one patient, when all else of it is written; no part of a plan, and never left out."""

    subject: str

    @property
    def folder(self) -> str:
        """The page's name, below the subject's folder."""
        return "report.html"


@dataclass(frozen=True, slots=True)
class Plan:
    """Tasks, and the inputs refused before anything was computed; projections and comparisons wait for all runs."""

    runs: tuple[RunTask, ...]
    follow_ups: tuple[FollowUpTask, ...]
    refusals: tuple[Refusal, ...] = field(default=())
    comparisons: tuple[ComparisonTask, ...] = field(default=())
    projections: tuple[ProjectionTask, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.runs) + len(self.follow_ups) + len(self.comparisons) + len(self.projections)


def relative_folder(source: Source) -> str:
    """Return `<YYYYMMDD>/<series>`, the place of one input's results below its subject."""
    return f"{source.date}/{ingest.series_folder(source)}"


def make_plan(
    found: ingest.Discovery,
    extra_rois: Sequence[Path] = (),
    corrections: Sequence[Path] = (),
    readings: Sequence[Path] = (),
) -> Plan:
    """Return what to do with what was found.

    Parameters
    ----------
    extra_rois : sequence of Path
        Regions given on the command line, beside those found among the sources.
    corrections : sequence of Path
        Files with a reader's corrections; each run is given those that hold edits of it.
    readings : sequence of Path
        Tables of what a reader says of lesions; each patient's follow-ups are given what is said of them.

    Raises
    ------
    InputRefused
        When a region, a file of corrections or one of readings cannot be read.
    """
    corrected = {path: ingest.corrected_runs(path) for path in corrections}
    among = [path for item in found.rois if not item.source.sop_instance_uid for path in item.paths]
    loose = {path: _projections(path) for path in (*among, *extra_rois)}
    drawn: dict[str, list[Path]] = defaultdict(list)
    for item in found.rois:
        if item.source.sop_instance_uid:
            drawn[item.source.subject] += item.paths
    runs = tuple(RunTask(item, _regions_for(item, drawn, loose), _edits_for(item, corrected)) for item in found.runs)
    treated = _treatment_times(found.runs)
    follow_ups, lonely = [], []
    for subject in sorted({item.source.subject for item in (*found.volumes, *found.films)}):
        volumes = tuple(v for v in found.volumes if v.source.subject == subject)
        films = tuple(f for f in found.films if f.source.subject == subject)
        if not volumes and len(films) < 2:
            lonely += [_single_frame(f) for f in films]
            continue
        rois = tuple(dict.fromkeys(p for item in (*volumes, *films) for p in _regions_for(item, drawn, loose)))
        follow_ups.append(FollowUpTask(subject, volumes, films, rois, treated.get(subject)))
    used = {p for run in runs for p in run.rois} | {p for later in follow_ups for p in later.rois}
    unused = [_unmatched(path) for path in loose if path not in used]
    unused += _uncorrected(found.runs, corrected)
    follow_ups, unread = _with_readings(follow_ups, found, readings)
    unused += unread
    return Plan(runs, tuple(follow_ups), (*found.refusals, *lonely, *unused), *_together(runs))


def _together(runs: Sequence[RunTask]) -> tuple[tuple[ComparisonTask, ...], tuple[ProjectionTask, ...]]:
    """Return for each patient the runs that have another of the same day beside them, to compare and to join."""
    days: dict[tuple[str, str], list[RunTask]] = defaultdict(list)
    for task in runs:
        days[task.subject, task.item.source.date].append(task)
    shared: dict[str, list[RunTask]] = defaultdict(list)
    for (subject, _), members in days.items():
        shared[subject] += members if len(members) > 1 else []
    found = [(subject, tuple(members)) for subject, members in sorted(shared.items()) if members]
    return tuple(ComparisonTask(*one) for one in found), tuple(ProjectionTask(*one) for one in found)


def _edits_for(item: ingest.RunItem, corrected: Mapping[Path, Mapping[str, int]]) -> tuple[Path, ...]:
    return tuple(path for path, runs in corrected.items() if item.source.sop_instance_uid in runs)


def _uncorrected(runs: Sequence[ingest.RunItem], corrected: Mapping[Path, Mapping[str, int]]) -> list[Refusal]:
    """Return a line for each run that a file corrects and that is not there."""
    known = {item.source.sop_instance_uid for item in runs}
    return [
        Refusal(
            str(path),
            "correction_not_matched",
            f"Expected corrections of the runs given, found {count} of run {uid}, which is not among them.",
        )
        for path, edited in corrected.items()
        for uid, count in edited.items()
        if uid not in known
    ]


def _with_readings(
    tasks: Sequence[FollowUpTask], found: ingest.Discovery, paths: Sequence[Path]
) -> tuple[list[FollowUpTask], list[Refusal]]:
    """Return the follow-ups with what a reader says of each patient, and a line for each row that fits none."""
    said, refused = ingest.read_readings(paths)
    patients = {item.source.subject for item in (*found.runs, *found.volumes, *found.films)}
    alone = next(iter(patients)) if len(patients) == 1 else ""
    own: dict[str, list[Reading]] = {task.subject: [] for task in tasks}
    unread = list(refused)
    for one in said:
        subject = one.subject or alone
        if subject in own:
            own[subject].append(replace(one, subject=subject))
            continue
        unread.append(ingest.refuse_reading(one.file, one.row, _unplaced(one.subject, patients)))
    return [replace(task, readings=tuple(own[task.subject])) for task in tasks], unread


def _unplaced(named: str, patients: Collection[str]) -> str:
    """Return why a row goes to nobody's follow-ups, without the name in it."""
    if named in patients or (not named and len(patients) == 1):
        return "Expected a patient with follow-ups, found one without; give the scans as well."
    found = "found another name" if named else f"found no name in the row and {counted(len(patients), 'patient')}"
    return f"Expected a patient with follow-ups, {found}; name the patient as the folder of the results is named."


def _projections(path: Path) -> frozenset[str] | None:
    """Return the projections that a loose DICOM region names; None for one that names none."""
    return None if path.name.lower().endswith((".png", ".nii", ".nii.gz")) else ingest.projections_of(path)


def _regions_for(
    item: ingest.Item, drawn: Mapping[str, Sequence[Path]], loose: Mapping[Path, frozenset[str] | None]
) -> tuple[Path, ...]:
    """Return the region files that may concern an input.

    A DICOM region among the sources belongs to its patient, one that was given beside them to the projections it was
    drawn on, or to all scans; a PNG to the image it is named by; a NIfTI names nothing and is matched by its place in
    space, among scans alone.
    """
    own = list(drawn.get(item.source.subject, ()))
    for path in loose:
        name = path.name.lower()
        if name.endswith(".png"):
            uid = path.name[:-4].split("-")[0]
            if uid and uid == item.source.sop_instance_uid:
                own.append(path)
        elif name.endswith((".nii", ".nii.gz")):
            own += [path] if isinstance(item, ingest.VolumeItem) else []
        else:
            named = loose[path]
            own += [path] if named is None or item.source.sop_instance_uid in named else []
    return tuple(own)


def _unmatched(path: Path) -> Refusal:
    sentence = "Expected a region drawn on one of the images given, found none that it fits; give the image as well."
    return Refusal(str(path), "roi_not_matched", sentence)


def _single_frame(film: ingest.FilmItem) -> Refusal:
    sentence = (
        "Expected a run of at least 2 frames, or a film with another follow-up to compare it with; "
        "found one single frame. Add the patient's other images."
    )
    return Refusal(film.shown[0], "single_frame", sentence)


def _treatment_times(runs: Sequence[ingest.RunItem]) -> dict[str, datetime]:
    """Return for each subject when its first session of angiography ended: the follow-up starts there."""
    by_subject: dict[str, list[datetime]] = defaultdict(list)
    for item in runs:
        if item.source.acquired is not None:
            by_subject[item.source.subject].append(item.source.acquired)
    first_day = {subject: min(times).date() for subject, times in by_subject.items()}
    return {s: max(t for t in times if t.date() == first_day[s]) for s, times in by_subject.items()}
