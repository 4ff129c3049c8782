"""`angio pacs`: find, fetch and send instances, and listen to those who send."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from angio_pipeline.cli.ending import end_failed, end_not_writable, end_wrong_usage, need_no_file_at, stoppable
from angio_pipeline.core.words import counted

if TYPE_CHECKING:
    from angio_pipeline.pacs.find import Archive
    from angio_pipeline.pacs.journal import Journal
    from angio_pipeline.pacs.push import Outgoing
    from angio_pipeline.pacs.queries import Query
    from angio_pipeline.pacs.settings import Listener, PacsSettings, Server

__all__ = ["app"]

app = typer.Typer(
    help="Find, fetch and send DICOM by DIMSE and DICOMweb, and listen to those who send.", no_args_is_help=True
)

_SETTINGS, _TOKEN, _LOGIN = "ANGIO_PACS_SETTINGS", "ANGIO_PACS_TOKEN", "ANGIO_PACS_LOGIN"

ServerName = Annotated[str | None, typer.Option("--server", metavar="NAME", help="A server of the settings.")]
Settings = Annotated[
    Path | None, typer.Option("--settings", envvar=_SETTINGS, help="TOML of servers, as configs/pacs.example.toml.")
]
Host = Annotated[str | None, typer.Option("--host", help="A server by its host, in place of --server.")]
Port = Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Its port.")]
CalledAet = Annotated[str | None, typer.Option("--called-aet", help="Its AE title.")]
CallingAet = Annotated[str | None, typer.Option("--calling-aet", help="Our AE title.")]
Url = Annotated[str | None, typer.Option("--url", help="A server by its DICOMweb address.")]
Web = Annotated[bool, typer.Option("--web", help="By DICOMweb, where a server has both.")]
PatientId = Annotated[str | None, typer.Option(help="One patient's number; others on this machine can see it.")]
StudyUid = Annotated[str | None, typer.Option(help="One study.")]
From = Annotated[str | None, typer.Option("--from", metavar="DATE", help="Studies from this day on, 2024-03-31.")]
To = Annotated[str | None, typer.Option("--to", metavar="DATE", help="Studies up to this day.")]
Modality = Annotated[str | None, typer.Option(help="Only series of these, such as XA,CT.")]
Queries = Annotated[Path | None, typer.Option("--query", help="CSV or TOML with a line for each patient.")]


@app.command("echo")
def echo(
    server: ServerName = None,
    settings: Settings = None,
    host: Host = None,
    port: Port = None,
    called_aet: CalledAet = None,
    calling_aet: CallingAet = None,
) -> None:
    """Ask a server whether it is there and knows us (C-ECHO).

    Example: angio pacs echo --host pacs.example.org --port 104 --called-aet ARCHIVE
    """
    from angio_pipeline.pacs.dimse import echo as send_echo

    _, chosen = _server(settings, server, host, port, called_aet, calling_aet, None)
    _need_host(chosen)
    typer.echo(f"{chosen.place(web=False)} answered in {send_echo(chosen):.3f} s.")


@app.command("find")
def find(
    server: ServerName = None,
    settings: Settings = None,
    host: Host = None,
    port: Port = None,
    called_aet: CalledAet = None,
    calling_aet: CallingAet = None,
    url: Url = None,
    web: Web = False,
    patient_id: PatientId = None,
    study_uid: StudyUid = None,
    first: From = None,
    last: To = None,
    modality: Modality = None,
    query: Queries = None,
    level: Annotated[Literal["patient", "study", "series", "image"], typer.Option(help="What is listed.")] = "study",
    show_patients: Annotated[bool, typer.Option("--show-patients", help="List patients' numbers too.")] = False,
) -> None:
    """List what an archive has, as CSV (C-FIND, or QIDO by DICOMweb).

    Patients' numbers are listed when asked for alone; names never are.

    Example: angio pacs find --server archive --from 2024-01-01 --modality XA
    """
    from angio_pipeline.pacs.pull import archive_of

    _, chosen = _server(settings, server, host, port, called_aet, calling_aet, url)
    queries = _queries(query, patient_id, study_uid, first, last, modality)
    with archive_of(chosen, _way("web" if web else None, chosen)) as archive:
        rows = list(_rows(archive, queries, level, show_patients=show_patients))
    for row in rows:
        typer.echo(",".join(row))


@app.command("pull")
def pull(
    out: Annotated[Path, typer.Option(help="Folder for what is fetched; made when missing.")],
    server: ServerName = None,
    settings: Settings = None,
    host: Host = None,
    port: Port = None,
    called_aet: CalledAet = None,
    calling_aet: CallingAet = None,
    url: Url = None,
    by: Annotated[
        Literal["get", "move", "web"] | None,
        typer.Option(help="C-GET, C-MOVE to a port of ours, or WADO; as the settings say when left out."),
    ] = None,
    listen_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Our port for C-MOVE.")] = None,
    patient_id: PatientId = None,
    study_uid: StudyUid = None,
    first: From = None,
    last: To = None,
    modality: Modality = None,
    query: Queries = None,
) -> None:
    """Fetch studies into OUT/<study>/<series>/; given again, it fetches what is not there whole.

    Example: angio pacs pull --server archive --query cohort.csv --out studies

    Exit status 0: all that was found is there; 1: something is missing, and a sentence says why; 2: usage.
    """
    from angio_pipeline.pacs.pull import list_instances
    from angio_pipeline.pacs.pull import pull as fetch

    told, chosen = _server(settings, server, host, port, called_aet, calling_aet, url)
    queries = _queries(query, patient_id, study_uid, first, last, modality)
    way = _way(by, chosen)
    listener = told.listener if listen_port is None else told.listener.model_copy(update={"port": listen_port})
    with stoppable(), _bar("Searching", len(queries)) as advance:
        instances = list_instances(chosen, queries, way=way, on_query=advance)
    if not instances:
        end_failed("Expected studies that fit what was asked for, found none in the archive; check numbers and dates.")
    with stoppable(), _bar("Fetching", len(instances)) as advance:
        done = fetch(chosen, instances, _journal(out), way=way, listener=listener, on_instance=advance)
    if done.missing:
        why = f" ({done.why})" if done.why else ""
        end_failed(
            f"Expected {counted(len(instances), 'instance')}, found that {len(done.missing)} did not come{why}; "
            "run the same command again for those."
        )
    kept = f", {done.kept} there already" if done.kept else ""
    typer.echo(f"Fetched {counted(done.fetched, 'instance')}{kept}: {out}")


@app.command("push")
def push(
    source: Annotated[list[Path], typer.Argument(help="DICOM files, folders, archives, DICOMDIR sets.")],
    server: ServerName = None,
    settings: Settings = None,
    host: Host = None,
    port: Port = None,
    called_aet: CalledAet = None,
    calling_aet: CallingAet = None,
    url: Url = None,
    web: Web = False,
    out: Annotated[Path | None, typer.Option(help="Folder that remembers what a server has taken.")] = None,
    commit: Annotated[
        bool, typer.Option("--commit", help="Ask the server to vouch for it (storage commitment).")
    ] = False,
    listen_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Our port for its report.")] = None,
    check: Annotated[bool, typer.Option(help="Ask afterwards what it holds: some say yes and drop.")] = True,
) -> None:
    """Send files as they are (C-STORE, or STOW by DICOMweb); with --out, each is sent once.

    Example: angio pacs push results/subjects --server archive --out sent

    Exit status 0: the server has taken all; 1: it has not, and a sentence says why; 2: usage.
    """
    from angio_pipeline.ingest.workspace import temporary_workspace
    from angio_pipeline.pacs.push import push as send

    told, chosen = _server(settings, server, host, port, called_aet, calling_aet, url)
    by_web = _way("web" if web else None, chosen) == "web"
    if commit and by_web:
        end_wrong_usage("Expected a host for --commit, as DICOMweb has no storage commitment; leave one of them out.")
    journal = _journal(out) if out is not None else None
    with temporary_workspace() as workspace:
        files, others = _outgoing(source, workspace)
        with stoppable(), _bar("Sending", len(files)) as advance:
            done = send(chosen, files, web=by_web, journal=journal, on_file=advance)
    if done.refused:
        end_failed(
            f"Expected {chosen.place(web=by_web)} to take {counted(len(files), 'instance')}, found that it refused "
            f"{len(done.refused)} ({done.why_refused()}); see why there, and run the same command again for those."
        )
    if commit:
        _commit(chosen, told.listener, files, listen_port, journal)
    elif check:
        _check(chosen, files, by_web, journal)
    kept = f", {len(done.kept)} sent earlier" if done.kept else ""
    strange = counted(others, "file that is no DICOM object", "files that are no DICOM objects")
    left = f", left out {strange}" if others else ""
    vouched = " It vouches for all of them." if commit else ""
    typer.echo(f"Sent {counted(len(done.sent), 'instance')} to {chosen.place(web=by_web)}{kept}{left}.{vouched}")


@app.command("listen")
def listen(
    out: Annotated[Path, typer.Option(help="Folder: what is received in received/, results beside it.")],
    settings: Settings = None,
    port: Port = None,
    bind: Annotated[str | None, typer.Option(help="Address to listen at; this machine alone when left out.")] = None,
    aet: Annotated[str | None, typer.Option(help="Our AE title.")] = None,
    calling_aet: Annotated[list[str] | None, typer.Option(help="An AE title that may send; may be repeated.")] = None,
    allow_host: Annotated[list[str] | None, typer.Option(help="An address or network that may connect.")] = None,
    run: Annotated[bool, typer.Option("--run", help="Analyse each study once it has been quiet.")] = False,
    quiet_s: Annotated[float, typer.Option(min=0.5, help="Seconds without an arrival that make a study quiet.")] = 60.0,
    config: Annotated[str | None, typer.Option(help="As for angio run.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="As for angio run.")] = None,
) -> None:
    """Store what is sent to us, and with --run analyse it; ended by Ctrl-C or SIGTERM.

    Who may send is named: an empty list of AE titles or of hosts lets nobody in.

    Example: angio pacs listen --run --out OUT --calling-aet ANGIO_SUITE --allow-host 10.1.0.0/16
    """
    from angio_pipeline.cli.pacs_listen import Analyses, keep_listening

    told = _settings(settings)
    given = {"port": port, "bind": bind, "aet": aet, "calling_aets": calling_aet, "hosts": allow_host}
    listener = _changed(told.listener, {name: value for name, value in given.items() if value is not None})
    options = [*(["--config", config] if config else []), *(["--workers", str(workers)] if workers else [])]
    analyses = Analyses(out, options) if run else None
    peers = {server.called_aet: server for server in told.servers.values() if server.host is not None}
    keep_listening(listener, _journal(out / "received"), peers, analyses, quiet_s=quiet_s)


def _settings(path: Path | None) -> PacsSettings:
    from angio_pipeline.pacs.settings import PacsSettings, load_settings

    return load_settings(path) if path is not None else PacsSettings()


def _server(
    settings: Path | None,
    name: str | None,
    host: str | None,
    port: int | None,
    called_aet: str | None,
    calling_aet: str | None,
    url: str | None,
) -> tuple[PacsSettings, Server]:
    """Return the settings, and the server that is named in them or put together from the options."""
    from angio_pipeline.pacs.settings import Server

    told = _settings(settings)
    given = {"host": host, "port": port, "called_aet": called_aet, "calling_aet": calling_aet, "url": url}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if name is None and host is None and url is None:
        end_wrong_usage("Expected a server, found none; give --server NAME with --settings, or --host, or --url.")
    if name is not None:
        chosen = _changed(told.server(name), changes)
    else:
        if url is not None:
            changes |= _login_of_environment()
        chosen = _changed(None, changes, kind=Server)
    if chosen.tls is not None and not chosen.tls.verify:
        typer.echo("angio: tls.verify is off: whoever answers is believed to be the server.", err=True)
    return told, chosen


def _login_of_environment() -> dict[str, Any]:
    names = {"bearer_env": _TOKEN, "basic_env": _LOGIN}
    found = [{"login": {kind: name}} for kind, name in names.items() if os.environ.get(name)]
    return found[0] if found else {}


def _changed(model: Any, changes: dict[str, Any], kind: Any = None) -> Any:
    """Return settings with some of them from options, checked as those of a file are."""
    from pydantic import ValidationError

    from angio_pipeline.core.params import wrong_setting

    told = model.model_dump(exclude_unset=True) if model is not None else {}
    try:
        return (kind or type(model)).model_validate(told | changes)
    except ValidationError as error:
        raise wrong_setting(error, "the options") from None


def _way(asked: str | None, server: Server) -> Literal["get", "move", "web"]:
    way = asked or server.way
    if way == "web" and server.url is None:
        end_wrong_usage("Expected a DICOMweb address, found none; give --url or set url.")
    if way != "web":
        _need_host(server)
    return cast('Literal["get", "move", "web"]', way)


def _need_host(server: Server) -> None:
    if server.host is None:
        end_wrong_usage("Expected a host, found a DICOMweb address alone; give --host or set host.")


def _queries(
    file: Path | None,
    patient_id: str | None,
    study_uid: str | None,
    first: str | None,
    last: str | None,
    modality: str | None,
) -> list[Query]:
    from angio_pipeline.pacs.queries import make_query, read_queries

    given = {"patient_id": patient_id, "study_uid": study_uid, "from": first, "to": last, "modality": modality}
    told = {name: text for name, text in given.items() if text}
    if file is not None and told:
        end_wrong_usage("Expected either --query or options that say what is looked for, found both.")
    return read_queries(file) if file is not None else [make_query(told, place="the options")]


def _rows(archive: Archive, queries: Sequence[Query], level: str, *, show_patients: bool) -> Iterator[list[str]]:
    """Yield the table of what fits, its head first."""
    head, rows = {
        "patient": (["studies"], _patient_rows),
        "study": (["study_uid", "date", "modalities", "series", "instances"], _study_rows),
        "series": (["study_uid", "series_uid", "modality", "instances"], _series_rows),
        "image": (["study_uid", "series_uid", "sop_instance_uid", "sop_class_uid"], _image_rows),
    }[level]
    with_patient = show_patients and level in ("patient", "study")
    yield [*head, *(["patient_id"] if with_patient else [])]
    for query in queries:
        for *row, patient in rows(archive, query):
            yield [*map(_cell, row), *([_cell(patient)] if with_patient else [])]


# Each row ends with the patient's number, or with nothing where the level has none.
def _patient_rows(archive: Archive, query: Query) -> Iterator[list[object]]:
    from angio_pipeline.pacs.find import find_patients

    for patient in find_patients(archive, query):
        yield [patient.studies, patient.patient_id]


def _study_rows(archive: Archive, query: Query) -> Iterator[list[object]]:
    from angio_pipeline.pacs.find import find_studies

    for study in find_studies(archive, query):
        yield [study.uid, study.date, "+".join(study.modalities), study.series, study.instances, study.patient_id]


def _series_rows(archive: Archive, query: Query) -> Iterator[list[object]]:
    from angio_pipeline.pacs.find import find_series, find_studies

    for study in find_studies(archive, query):
        for series in find_series(archive, study, query.modalities):
            yield [series.study, series.uid, series.modality, series.instances, ""]


def _image_rows(archive: Archive, query: Query) -> Iterator[list[object]]:
    from angio_pipeline.pacs.find import find_all

    for one in find_all(archive, query):
        yield [one.study, one.series, one.uid, one.sop_class, ""]


def _cell(value: object) -> str:
    # Texts of the archive: no control characters for the terminal, no comma for the table, no formula for a sheet.
    plain = "".join(c for c in str("" if value is None else value) if c.isprintable())
    plain = f"'{plain}" if plain[:1] in "=+-@" and plain else plain
    return '"' + plain.replace('"', '""') + '"' if any(c in plain for c in ',"') else plain


def _outgoing(sources: list[Path], workspace: Path) -> tuple[list[Outgoing], int]:
    from angio_pipeline.ingest.files import list_files
    from angio_pipeline.pacs.push import read_outgoing

    candidates, refusals = list_files(sources, workspace=workspace)
    read = [read_outgoing(candidate.path) for candidate in candidates]
    files = list({file.uid: file for file in read if file is not None}.values())
    if not files:
        end_failed("Expected DICOM files to send, found none; check the paths.")
    return files, read.count(None) + len(refusals)


def _commit(
    server: Server, listener: Listener, files: list[Outgoing], port: int | None, journal: Journal | None
) -> None:
    from angio_pipeline.pacs.commitment import request_commitment
    from angio_pipeline.pacs.push import forget

    if port is not None:
        listener = listener.model_copy(update={"port": port})
    report = request_commitment(server, [(file.sop_class, file.uid) for file in files], listener)
    lacking = [file for file in files if file.uid not in report.committed]
    forget(journal, server.place(web=False), lacking)
    _fail_for_lacking(server.place(web=False), files, lacking, "vouch for")


def _check(server: Server, files: list[Outgoing], web: bool, journal: Journal | None) -> None:
    from angio_pipeline.pacs.push import find_lacking

    lacking = find_lacking(server, files, web=web, journal=journal)
    _fail_for_lacking(server.place(web=web), files, lacking, "list")


def _fail_for_lacking(place: str, files: list[Outgoing], lacking: list[Outgoing], what: str) -> None:
    if lacking:
        end_failed(
            f"Expected {place} to {what} the {counted(len(files), 'instance')} that it took, found that it does "
            f"not for {len(lacking)}: see what it filters, and run the same command again for those."
        )


def _journal(folder: Path) -> Journal:
    from angio_pipeline.pacs.journal import Journal

    need_no_file_at(folder)
    try:
        return Journal(folder)
    except OSError as error:
        end_not_writable(folder, error)


@contextmanager
def _bar(words: str, total: int) -> Iterator[Callable[[], object]]:
    from angio_pipeline.cli.progress import progress_bar

    with progress_bar(transient=True) as bar:
        task = bar.add_task(words, total=total)
        yield lambda: bar.advance(task)
