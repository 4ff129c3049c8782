"""What the server is made of, and what is asked of more than one part of it."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.core.locks import try_lock
from angio_pipeline.outputs.files import write_bytes, write_json
from angio_pipeline.outputs.nifti import nifti_bytes
from angio_pipeline.outputs.schemas import RunDocument
from angio_pipeline.review.answers import CaseKind, CaseRow, ResultKind, ReviewState
from angio_pipeline.review.export import corrections_document
from angio_pipeline.review.frames import PreparedStore
from angio_pipeline.review.index import CaseEntry, CaseIndex
from angio_pipeline.review.jobs import Job, Jobs
from angio_pipeline.review.journal import Journal
from angio_pipeline.review.orders import Order
from angio_pipeline.review.preparing import warm_up
from angio_pipeline.review.problems import ReviewProblem, not_found
from angio_pipeline.review.readings import Readings, masks_of
from angio_pipeline.review.results import ResultFiles
from angio_pipeline.review.sessions import Sessions
from angio_pipeline.review.sources import Sources
from angio_pipeline.review.workshop import Workshop
from angio_pipeline.workers import warm_up as start_worker_server

__all__ = ["Review", "ReviewSettings"]


@dataclass(frozen=True, slots=True)
class ReviewSettings:
    """What the owner of the server said on the command line."""

    out: Path
    sources: tuple[Path, ...] = ()
    rois: tuple[Path, ...] = ()
    corrections: tuple[Path, ...] = ()
    readings: tuple[Path, ...] = ()
    tokens: dict[str, str] = field(default_factory=dict, repr=False)
    unblinded: bool = False

    @property
    def folder(self) -> Path:
        """Where the server keeps its own files."""
        return self.out / "review"


class Review:
    """The parts of a running server.

    Raises
    ------
    ConfigError
        When the folder holds no results, or another server reviews them.
    """

    def __init__(self, settings: ReviewSettings) -> None:
        self.settings = settings
        if not (settings.out / "subjects").is_dir():
            raise ConfigError("Expected a folder that angio run wrote, found one without subjects; check OUT.")
        folder = settings.folder
        folder.mkdir(exist_ok=True, mode=0o700)
        self._lock_file = _locked(folder / "lock")
        self.index = CaseIndex(settings.out, folder / "index.json")
        self.journal = Journal(folder / "review.sqlite")
        self.readings = Readings(self.journal)
        self.sessions = Sessions(settings.tokens)
        # Two workers: what a reader waits for at once never stands behind work of many seconds.
        self.quick, self.workshop = Workshop(), Workshop(polite=True)
        self.store = PreparedStore(folder / "cache")
        self.sources = Sources(settings.sources, folder / "cache" / "archives")
        self.files = ResultFiles()
        self.jobs = Jobs()
        self._writing = threading.Lock()

    def start(self) -> None:
        """Begin to read the results and to look for their sources."""
        self.journal.append("", "", "started", after={"unblinded": self.settings.unblinded})
        threading.Thread(target=self.index.refresh, daemon=True).start()
        if self.sources.given:
            start_worker_server()
        self.sources.start(self.workshop)
        if self.sources.given:
            self.quick.submit(warm_up)

    def close(self) -> None:
        """End everything that was started."""
        self.jobs.close()
        self.quick.close()
        self.workshop.close()
        self.store.close()
        self.journal.close()
        self._lock_file.close()

    # --- results -------------------------------------------------------------------------------------

    def own_results(self, reader: str) -> Path:
        """Return the folder of the re-analyses of a reader; the name stays out of the path."""
        return self.settings.folder / "results" / ("r" + hashlib.sha256(reader.encode()).hexdigest()[:16])

    def folder(self, entry: CaseEntry, reader: str, result: ResultKind) -> Path:
        """Return the folder of a case's results.

        Raises
        ------
        ReviewProblem
            404, when this reader has no result of their own.
        """
        if result is ResultKind.ORIGINAL:
            return self.settings.out / entry.folder
        folder = self.own_results(reader) / entry.folder
        if not (folder / "record.json").is_file():
            raise not_found("an analysis with your corrections")
        return folder

    def row(self, entry: CaseEntry, summary: dict[str, tuple[ReviewState, int]]) -> CaseRow:
        """Return a case as its line of the worklist."""
        state, edits = summary.get(entry.id, (ReviewState.NEW, 0))
        return CaseRow(
            id=entry.id,
            kind=CaseKind(entry.kind),
            subject=entry.subject,
            date=entry.date,
            label=entry.label,
            analysed=entry.analysed,
            problem=entry.problem,
            findings=entry.findings,
            likely_feeders=entry.likely_feeders,
            flags=list(entry.flags),
            state=state,
            edits=edits,
            thumbnail=entry.thumbnail,
        )

    # --- what a reader takes away, and what is analysed with it -----------------------------------------

    def edits_of_runs(self, reader: str, subject: str | None = None) -> list[tuple[RunDocument, list[dict[str, Any]]]]:
        """Return a reader's edits of runs, with the analyses that they were made on."""
        told = []
        for case in sorted(self.readings.cases_of(reader)):
            entry = self._run_entry(case)
            if entry is not None and subject in (None, entry.subject):
                held = [edit.model_dump(mode="json") for edit in self.readings.of(reader, case).edits]
                told.append((self.files.run(self.settings.out / entry.folder), held))
        return told

    def _run_entry(self, case: str) -> CaseEntry | None:
        try:
            entry = self.index.entry(case, CaseKind.RUN)
        except ReviewProblem:  # a run that is not among the results any more: its edits stay in the journal
            return None
        return entry if entry.analysed else None

    def corrections(self, reader: str, subject: str | None = None) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return the document of a reader's edits of runs, and the masks that it names."""
        edits = self.edits_of_runs(reader, subject)
        masks = {name for _, held in edits for name in masks_of(held)}
        found = {name: png for name in sorted(masks) if (png := self.journal.mask(name)) is not None}
        return corrections_document(edits), found

    def order(self, reader: str, entry: CaseEntry) -> Job:
        """Return the analysis of a case with this reader's corrections, ready to be carried out.

        Raises
        ------
        ReviewProblem
            409, when its source cannot be reached.
        """
        found = self.sources.of_subject(entry.subject, runs=entry.kind == CaseKind.RUN)
        if found is None:
            told = self.sources.availability(found=False)
            raise ReviewProblem(409, "no_source", f"Expected the source images to analyse again. {told.sentence}")
        target = self.own_results(reader)
        paths = (*self._write_corrections(reader, entry.subject, target), *self.settings.corrections)
        rois = (*self._write_regions(reader, entry, target), *self.settings.rois)
        order = Order(self.settings.out, target, entry.folder, found, paths, rois, self.settings.readings)
        return Job(reader, entry.id, self.readings.of(reader, entry.id).revision, order)

    def _write_corrections(self, reader: str, subject: str, target: Path) -> tuple[Path, ...]:
        document, masks = self.corrections(reader, subject)
        folder = target / "corrections"
        if not document["runs"]:
            return ()
        with self._writing:
            for name, png in masks.items():
                write_bytes(folder / name, png)
            path = folder / f"corrections-{hashlib.sha256(subject.encode()).hexdigest()[:16]}.json"
            write_json(path, document)
        return (path,)

    def _write_regions(self, reader: str, entry: CaseEntry, target: Path) -> tuple[Path, ...]:
        if entry.kind != CaseKind.FOLLOW_UP:
            return ()
        folder = target / "regions" / entry.id
        paths = []
        for name, content in self.regions(reader, entry).items():
            write_bytes(folder / name, content)
            paths.append(folder / name)
        return tuple(paths)

    def regions(self, reader: str, entry: CaseEntry) -> dict[str, bytes]:
        """Return the lesions that a reader outlined on the reference scan, as NIfTI by file name.

        Raises
        ------
        ReviewProblem
            409, when lesions are outlined and the scan's grid is not known, as its source cannot be reached.
        """
        from angio_pipeline.review.follow_ups import lesion_masks, prepared_follow_up

        held = [edit.model_dump(mode="json") for edit in self.readings.of(reader, entry.id).edits]
        drawn = [edit for edit in held if edit["kind"] == "redraw_lesion"]
        if not drawn:
            return {}
        prepared = prepared_follow_up(self, self.settings.out / entry.folder)
        if isinstance(prepared, str) or prepared is None:
            raise ReviewProblem(
                409, "no_source", "Expected the reference scan that the lesion was drawn on, found none."
            )
        masks, affine = lesion_masks(drawn, prepared)
        return {f"{lesion}.nii.gz": nifti_bytes(mask, affine) for lesion, mask in masks.items()}


def _locked(path: Path) -> Any:
    """Return the open file that keeps a second server away.

    Raises
    ------
    ConfigError
        When another server holds it.
    """
    stream = path.open("w")
    # Where the system has no such lock, the journal's own holds.
    if try_lock(stream) is False:
        stream.close()
        raise ConfigError("Expected results that nobody else reviews, found another server; use that one.")
    return stream
