"""What one worker does with one task: read, analyse, write, and leave a record last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import angio_pipeline
from angio_pipeline import ingest, outputs
from angio_pipeline.batch.comparisons import compare_task
from angio_pipeline.batch.plan import ComparisonTask, FollowUpTask, ProjectionTask, RunTask, relative_folder
from angio_pipeline.batch.projections import join_task
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.corrections import CorrectionOutcome
from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.results import Refusal
from angio_pipeline.networks.manifest import model_entry, verified_weights
from angio_pipeline.vessels import SegmentParams
from angio_pipeline.workers import import_ahead

if TYPE_CHECKING:
    from angio_pipeline.pipeline import Networks

Item = TypeVar("Item", ingest.VolumeItem, ingest.FilmItem)
Noun = TypeVar("Noun")
Task = RunTask | FollowUpTask | ComparisonTask | ProjectionTask
_RECORD = {"schema": "angio-pipeline/record/1"}

__all__ = ["Outcome", "Settings", "Task", "check_weights", "code_version", "refuse", "run_task", "task_digest"]


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
    """What became of one task."""

    subject: str
    analysed: bool
    resumed: bool = False
    refusals: tuple[Refusal, ...] = ()


def run_task(task: Task, settings: Settings) -> Outcome:
    """Return what became of a task; nothing that goes wrong with one task reaches another."""
    folder = _folder(task, settings)
    try:
        digest = task_digest(task, settings.config, settings.objects)
        if settings.resume and (record := _read_record(folder)).get("digest") == digest:
            again = tuple(Refusal(*row) for row in record.get("refusals", ()))
            return Outcome(task.subject, analysed=True, resumed=True, refusals=again)
        if isinstance(task, RunTask):
            refusals = _analyse_run(task, folder, settings)
        elif isinstance(task, ComparisonTask):
            compare_task(task, folder, settings.config)
            refusals = ()
        elif isinstance(task, ProjectionTask):
            join_task(task, folder, settings.config)
            refusals = ()
        else:
            refusals = _analyse_follow_ups(task, folder, settings)
        rows = [[r.path, r.reason, r.sentence] for r in refusals]
        outputs.write_record(folder, {**_RECORD, "digest": digest, "code": code_version(), "refusals": rows})
        return Outcome(task.subject, analysed=True, refusals=refusals)
    except AngioError as error:
        return _failed(task, folder, error.reason, error.sentence)
    except MemoryError:
        sentence = "Expected the input to fit in memory, found that it does not; use fewer workers or a larger machine."
        return _failed(task, folder, "out_of_memory", sentence)
    except Exception as error:
        if settings.debug:
            raise
        # The message of an unforeseen error may quote a header; only its kind is safe to pass on.
        sentence = f"Analysis stopped with an unforeseen {type(error).__name__}; run again with --debug and report it."
        return _failed(task, folder, "internal_error", sentence)


def _failed(task: Task, folder: Path, reason: str, sentence: str) -> Outcome:
    """Return the refusal of a task, after what an earlier analysis left there is gone."""
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
    if isinstance(task, ComparisonTask | ProjectionTask):
        # Its runs were analysed; what failed is the last one's comparison with the others.
        return (Refusal(task.runs[-1].item.shown[0], reason, sentence),)
    return tuple(Refusal(_shown(item), reason, sentence) for item in (*task.volumes, *task.films))


def _shown(item: ingest.Item) -> str:
    more = len(item.shown) - 1
    return f"{item.shown[0]} (and {more} more of its series)" if more else item.shown[0]


def _analyse_run(task: RunTask, folder: Path, settings: Settings) -> tuple[Refusal, ...]:
    from angio_pipeline.pipeline import process_run

    # Drawing and prediction come last: their libraries load while the run is read and subtracted.
    import_ahead("matplotlib.backends.backend_agg", "matplotlib.figure", "openvino")
    if settings.objects.kinds:
        import_ahead("highdicom")
    run = ingest.read_run(task.item)
    uid, size = run.source.sop_instance_uid, (run.shape[1], run.shape[2])
    result = process_run(
        run,
        config=settings.config,
        rois=ingest.read_rois(task.rois).drawn_on(uid, size),
        corrections=ingest.read_corrections(task.corrections, uid),
        networks=_loaded_networks(settings.config.segment, settings.config.feeders.network),
    )
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


@lru_cache(maxsize=1)
def _loaded_networks(params: SegmentParams, feeder_network: str) -> Networks:
    """Return the networks that the settings ask for; a process loads each once, and only those that it needs."""
    from angio_pipeline.pipeline import Networks

    names = (params.network, params.frame_network) if params.method == "network" else ("", "")
    if not any((*names, feeder_network)):
        return Networks()
    import cv2

    from angio_pipeline.networks.prediction import load_feeder_predictor, load_frame_predictor, load_run_predictor

    # The threads that this process was given (`hold_threads`) hold for the networks, too.
    threads, engine = max(1, cv2.getNumThreads()), params.engine
    # A run needs one or two of them, which one shows once it has been read.
    loaders: list[Callable[..., Callable[..., Any]]]
    loaders = [load_run_predictor, load_frame_predictor, load_feeder_predictor]
    return Networks(
        *(
            _loaded_when_asked(partial(load, name, threads=threads, engine=engine)) if name else None
            for load, name in zip(loaders, (*names, feeder_network), strict=True)
        )
    )


def _loaded_when_asked(load: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """Return a network that is loaded when it is first shown something."""
    loaded = lru_cache(maxsize=1)(load)
    return lambda *shown: loaded()(*shown)


def _analyse_follow_ups(task: FollowUpTask, folder: Path, settings: Settings) -> tuple[Refusal, ...]:
    from angio_pipeline.pipeline import process_follow_ups

    refusals: list[Refusal] = []
    volumes = _read_each(task.volumes, ingest.read_volume, refusals)
    films = _read_each(task.films, ingest.read_film, refusals)
    if not volumes and not films:
        first = refusals[0]
        raise AngioError(first.sentence, reason=first.reason)
    given = ingest.read_rois(task.rois)
    fitting = [roi for film in films for roi in given.drawn_on(film.source.sop_instance_uid, film.valid.shape)]
    drawn = [*fitting, *(roi for roi in given.films if roi not in fitting)]
    result = process_follow_ups(
        volumes, given.volumes, films, drawn, treated=task.treated, readings=task.readings, config=settings.config
    )
    if not result.lesions and len(result.left_out) >= len(volumes) + len(films):
        raise AngioError(result.left_out[0].sentence, reason=result.left_out[0].reason)
    items = {item.source: item for item in (*task.volumes, *task.films)}
    outputs.write_follow_up(
        result,
        folder,
        folder_of=relative_folder,
        origin_of=lambda source: _origin(items[source], settings.objects),
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


def task_digest(task: Task, config: PipelineConfig, objects: outputs.ObjectChoice = outputs.DEFAULT_OBJECTS) -> str:
    """Return the resume key of a task: code, settings, objects, input, regions, and what a reader said of it.

    That of a comparison, or of projections, holds those of its runs.
    """
    if isinstance(task, ComparisonTask | ProjectionTask):
        return hashlib.sha256("\n".join(task_digest(run, config, objects) for run in task.runs).encode()).hexdigest()
    items = (task.item,) if isinstance(task, RunTask) else (*task.volumes, *task.films)
    parts = [code_version(), config.model_dump_json(), repr(objects), *(ingest.digest(item) for item in items)]
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
