"""What one worker does with one task: read, analyse, write, and leave a record last."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import angio_pipeline
from angio_pipeline import ingest, outputs
from angio_pipeline.batch.comparisons import compare_task
from angio_pipeline.batch.plan import ComparisonTask, FollowUpTask, ProjectionTask, ReportTask, RunTask, relative_folder
from angio_pipeline.batch.projections import join_task
from angio_pipeline.batch.watch import Cost
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.corrections import CorrectionOutcome
from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.results import Refusal
from angio_pipeline.networks.manifest import model_entry, verified_weights
from angio_pipeline.workers import import_ahead

Item = TypeVar("Item", ingest.VolumeItem, ingest.FilmItem)
Noun = TypeVar("Noun")
Input = RunTask | FollowUpTask | ComparisonTask | ProjectionTask
Task = Input | ReportTask
_RECORD = {"schema": "angio-pipeline/record/1"}
_KINDS = {
    RunTask: "run",
    FollowUpTask: "follow-ups",
    ComparisonTask: "comparison",
    ProjectionTask: "projections",
    ReportTask: "report",
}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_LEAST_ROOM_BYTES = 2**20

__all__ = [
    "Outcome",
    "Settings",
    "Task",
    "check_weights",
    "code_version",
    "fail_task",
    "refuse",
    "run_task",
    "task_digest",
    "task_id",
    "task_kind",
    "told_full_disk",
]


@dataclass(frozen=True, slots=True)
class Settings:
    """What every task of a batch shares."""

    out: Path
    config: PipelineConfig
    resume: bool = True
    debug: bool = False
    objects: outputs.ObjectChoice = outputs.DEFAULT_OBJECTS


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task; `cost` is unknown where no worker told it."""

    subject: str
    analysed: bool
    resumed: bool = False
    refusals: tuple[Refusal, ...] = ()
    cost: Cost | None = None


def task_kind(task: Task) -> str:
    """Return what kind of task it is, in a word."""
    return _KINDS[type(task)]


def task_id(task: Task) -> str:
    """Return a task's name within its batch: the pseudonym and the folder of its results."""
    return f"{task.subject}/{'follow-ups' if isinstance(task, FollowUpTask) else task.folder}"


def run_task(task: Task, settings: Settings, begin: Callable[[str], None] = lambda stage: None) -> Outcome:
    """Return what became of a task; nothing that goes wrong with one task reaches another.

    Parameters
    ----------
    begin : callable
        Told the name of each stage as it begins.

    Raises
    ------
    OSError
        When there is no room for the results: that is not the task's fault, and the next would fare no better.
    """
    folder = _folder(task, settings)
    try:
        if isinstance(task, ReportTask):
            begin("write")
            if folder.parent.is_dir():
                outputs.write_report(folder.parent)
            return Outcome(task.subject, analysed=True)
        begin("digest")
        stamps = _stamps(task)
        digest = task_digest(task, settings.config, settings.objects)
        if settings.resume and (record := _read_record(folder)).get("digest") == digest:
            again = _refusals_again(task, record.get("refusals", ()))
            return Outcome(task.subject, analysed=True, resumed=True, refusals=again)
        _outdate_page(task, settings)
        refusals = _analyse(task, folder, settings, begin)
        begin("check")
        _check_unchanged(task, settings, digest, stamps)
        rows = _refusal_rows(task, refusals)
        outputs.write_record(folder, {**_RECORD, "digest": digest, "code": code_version(), "refusals": rows})
        return Outcome(task.subject, analysed=True, refusals=refusals)
    except AngioError as error:
        return fail_task(task, settings, error.reason, error.sentence)
    except MemoryError:
        sentence = "Expected the input to fit in memory, found that it does not; use fewer workers or a larger machine."
        return fail_task(task, settings, "out_of_memory", sentence)
    except Exception as error:
        if settings.debug or _disk_is_full(error, settings.out):
            raise
        # The message of an unforeseen error may quote a header; only its kind is safe to pass on.
        sentence = f"Analysis stopped with an unforeseen {type(error).__name__}; run again with --debug and report it."
        return fail_task(task, settings, "internal_error", sentence)


def _refusal_rows(task: Input, refusals: Sequence[Refusal]) -> list[list[str | int]]:
    """Return refusals as a record holds them: an input by its place in the task, as its path may name a patient."""
    places = {name: index for index, name in enumerate(_inputs(task))}
    return [[places.get(r.path, r.path), r.reason, r.sentence] for r in refusals]


def _refusals_again(task: Input, rows: Sequence[Sequence[str | int]]) -> tuple[Refusal, ...]:
    names = _inputs(task)
    told = ((names[path] if isinstance(path, int) else path, str(reason), str(said)) for path, reason, said in rows)
    return tuple(Refusal(*row) for row in told)


def _inputs(task: Input) -> list[str]:
    return [_shown(item) for item in _items(task)]


def _analyse(task: Input, folder: Path, settings: Settings, begin: Callable[[str], None]) -> tuple[Refusal, ...]:
    if isinstance(task, RunTask):
        return _analyse_run(task, folder, settings, begin)
    if isinstance(task, FollowUpTask):
        return _analyse_follow_ups(task, folder, settings, begin)
    begin("analyse")
    if isinstance(task, ComparisonTask):
        compare_task(task, folder, settings.config)
    else:
        reports = outputs.ObjectKind.SR in settings.objects.kinds
        join_task(task, folder, settings.config, partial(_origin, choice=settings.objects) if reports else None)
    return ()


def _stamps(task: Input) -> list[tuple[int, int, int]]:
    """Return what the disk says of a task's files; it differs when one was written, also to what it was before."""
    paths = [path for item in _items(task) for path in item.paths]
    return [(found.st_ino, found.st_size, found.st_mtime_ns) for found in (path.stat() for path in paths)]


def _items(task: Input) -> tuple[ingest.Item, ...]:
    if isinstance(task, RunTask):
        return (task.item,)
    if isinstance(task, FollowUpTask):
        return (*task.volumes, *task.films)
    return tuple(run.item for run in task.runs)


def _outdate_page(task: Input, settings: Settings) -> None:
    # A patient's page that is there tells what the results say: so a batch that changes nothing need not write it anew.
    (settings.out / "subjects" / task.subject / "report.html").unlink(missing_ok=True)


def _check_unchanged(task: Input, settings: Settings, digest: str, stamps: list[tuple[int, int, int]]) -> None:
    """Look at the input once more: a record must not vouch for other bytes than were analysed.

    Raises
    ------
    AngioError
        When it is not what it was when its digest was taken.
    """
    try:
        same = _stamps(task) == stamps and task_digest(task, settings.config, settings.objects) == digest
    except OSError:
        same = False
    if not same:
        raise AngioError(
            "Expected the files to stay as they are while they are read, found that they changed; "
            "run again when they are complete.",
            reason="changed_while_read",
        )


def _disk_is_full(error: Exception, out: Path) -> bool:
    """Return whether an error is for want of room; libraries that are not Python's own do not say so."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _NO_ROOM
    # A folder that is not there yet has the room of the one that it will be in.
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    return shutil.disk_usage(there).free < _LEAST_ROOM_BYTES


@contextmanager
def told_full_disk(out: Path) -> Iterator[None]:
    """Tell in one sentence when there is no room below `out`.

    Raises
    ------
    AngioError
        In place of the error that a full disk, or one that can no longer be written, gives rise to.
    """
    try:
        yield
    except AngioError:
        raise
    except Exception as error:
        if not _disk_is_full(error, out):
            raise
        told = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise AngioError(
            f"Expected room for the results on the disk of {out}, found none{told}; "
            "make room and run the same command again to go on.",
            reason="disk_full",
        ) from None


def fail_task(task: Task, settings: Settings, reason: str, sentence: str) -> Outcome:
    """Return the refusal of a task, after what an earlier analysis left there is gone."""
    if not isinstance(task, ReportTask):
        _outdate_page(task, settings)
        folder = _folder(task, settings)
        outputs.clear_results(folder)
        outputs.write_record(folder, {**_RECORD, "digest": None, "reason": reason, "sentence": sentence})
    return Outcome(task.subject, analysed=False, refusals=refuse(task, reason, sentence))


def _folder(task: Task, settings: Settings) -> Path:
    subject = settings.out / "subjects" / task.subject
    return subject if isinstance(task, FollowUpTask) else subject / task.folder


def refuse(task: Task, reason: str, sentence: str) -> tuple[Refusal, ...]:
    """Return one refusal for each input of a task."""
    if isinstance(task, RunTask):
        return (Refusal(task.item.shown[0], reason, sentence),)
    if isinstance(task, ReportTask):
        return (Refusal(f"subjects/{task.subject}/{task.folder}", reason, sentence),)
    if isinstance(task, ComparisonTask | ProjectionTask):
        # Its runs were analysed; what failed is the last one's comparison with the others.
        return (Refusal(task.runs[-1].item.shown[0], reason, sentence),)
    return tuple(Refusal(_shown(item), reason, sentence) for item in (*task.volumes, *task.films))


def _shown(item: ingest.Item) -> str:
    more = len(item.shown) - 1
    return f"{item.shown[0]} (and {more} more of its series)" if more else item.shown[0]


def _analyse_run(task: RunTask, folder: Path, settings: Settings, begin: Callable[[str], None]) -> tuple[Refusal, ...]:
    from angio_pipeline.pipeline import load_networks, process_run

    # Drawing and prediction come last: their libraries load while the run is read and subtracted.
    import_ahead("matplotlib.backends.backend_agg", "matplotlib.figure", "angio_pipeline.networks.quiet_openvino")
    begin("read")
    if settings.objects.kinds:
        import_ahead("highdicom")
    limits = settings.config.limits
    run = ingest.read_run(task.item, limits=limits)
    uid, size = run.source.sop_instance_uid, (run.shape[1], run.shape[2])
    result = process_run(
        run,
        config=settings.config,
        rois=ingest.read_rois(task.rois, limits=limits).drawn_on(uid, size),
        corrections=ingest.read_corrections(task.corrections, uid),
        networks=load_networks(settings.config.segment, settings.config.feeders.network),
        begin=begin,
    )
    begin("write")
    outputs.write_run(result, folder)
    weights = {name: model_entry(name).sha256 for name in _networks(settings.config)}
    origin = _origin(task.item, settings.objects)
    outputs.write_run_objects(result, origin, folder, choice=settings.objects, weights=weights)
    return tuple(_unapplied(one) for one in result.corrections if not one.applied)


def _origin(item: ingest.Item, choice: outputs.ObjectChoice) -> outputs.Origin:
    """Return an input as the objects name it; who the patient is, is read only where they are to carry it."""
    return outputs.Origin(item.source, ingest.object_headers(item, identity=choice.keep_identity))


def _unapplied(one: CorrectionOutcome) -> Refusal:
    sentence = f"Edit {one.edit.id} ({one.edit.kind}) was not applied. {one.sentence}"
    return Refusal(one.file, "correction_not_applied", sentence)


def _analyse_follow_ups(
    task: FollowUpTask, folder: Path, settings: Settings, begin: Callable[[str], None]
) -> tuple[Refusal, ...]:
    from angio_pipeline.pipeline import process_follow_ups

    begin("read")
    refusals: list[Refusal] = []
    limits = settings.config.limits
    volumes = _read_each(task.volumes, partial(ingest.read_volume, limits=limits), refusals)
    films = _read_each(task.films, partial(ingest.read_film, limits=limits), refusals)
    if not volumes and not films:
        first = refusals[0]
        raise AngioError(first.sentence, reason=first.reason)
    given = ingest.read_rois(task.rois, limits=limits)
    fitting = [roi for film in films for roi in given.drawn_on(film.source.sop_instance_uid, film.valid.shape)]
    drawn = [*fitting, *(roi for roi in given.films if roi not in fitting)]
    begin("analyse")
    result = process_follow_ups(
        volumes, given.volumes, films, drawn, treated=task.treated, readings=task.readings, config=settings.config
    )
    if not result.lesions and len(result.left_out) >= len(volumes) + len(films):
        raise AngioError(result.left_out[0].sentence, reason=result.left_out[0].reason)
    begin("write")
    items = {item.source: item for item in (*task.volumes, *task.films)}

    @cache  # several objects are of one scan, whose headers are hundreds of files
    def origin_of(source: Source) -> outputs.Origin:
        return _origin(items[source], settings.objects)

    outputs.write_follow_up(
        result,
        folder,
        folder_of=relative_folder,
        origin_of=origin_of,
        choice=settings.objects,
    )
    shown = {item.source.file: _shown(item) for item in (*task.volumes, *task.films)}
    unused = () if result.response is None else result.response.unused
    unread = (ingest.refuse_reading(one.reading.file, one.reading.row, one.sentence) for one in unused)
    return (*refusals, *(replace(r, path=shown.get(r.path, r.path)) for r in result.left_out), *unread)


def _read_each(items: Sequence[Item], read: Callable[[Item], Noun], refusals: list[Refusal]) -> list[Noun]:
    """Return what could be read; what could not is added to the refusals and its neighbours go on."""
    out = []
    for item in items:
        try:
            out.append(read(item))
        except AngioError as error:
            refusals.append(Refusal(_shown(item), error.reason, error.sentence))
    return out


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def task_digest(task: Input, config: PipelineConfig, objects: outputs.ObjectChoice = outputs.DEFAULT_OBJECTS) -> str:
    """Return the resume key of a task: code, settings, objects, input, regions, and what a reader said of it.

    That of a comparison, or of projections, holds those of its runs.
    """
    if isinstance(task, ComparisonTask | ProjectionTask):
        return hashlib.sha256("\n".join(task_digest(run, config, objects) for run in task.runs).encode()).hexdigest()
    digests = (ingest.digest(item) for item in _items(task))
    parts = [code_version(), config.model_dump_json(), repr(objects), *digests]
    if isinstance(task, RunTask):
        parts += [model_entry(name).sha256 for name in _networks(config)]
        if task.corrections:
            parts.append(
                ingest.edits_digest(ingest.read_corrections(task.corrections, task.item.source.sop_instance_uid))
            )
    parts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in task.rois]
    if isinstance(task, FollowUpTask):
        parts.append(str(task.treated))
        # The row is told where a statement fits nothing; where its file lies makes no difference.
        parts += [f"{one.row} {one.date} {one.lesion_id} {one.statement}" for one in task.readings]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _networks(config: PipelineConfig) -> tuple[str, ...]:
    params = config.segment
    names = () if params.method == "filter" else (params.network, params.frame_network)
    return tuple(name for name in (*names, config.feeders.network) if name)


def check_weights(config: PipelineConfig) -> None:
    """Look at the weights that the settings ask for before any work is done.

    Raises
    ------
    ModelError
        When the manifest does not list them, or their files are missing or changed.
    """
    for name in _networks(config):
        verified_weights(name)


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return the package's version and a short hash of its source, which changes when the code does."""
    hasher = hashlib.sha256()
    package = Path(angio_pipeline.__file__).parent
    for path in sorted(package.rglob("*.py")):
        hasher.update(path.read_bytes())
    return f"{angio_pipeline.__version__}+{hasher.hexdigest()[:12]}"
