"""Fetching instances from an archive: by C-GET, by C-MOVE to a station of our own, or by WADO; each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import build_context, build_role, evt
from pynetdicom.association import Association

from angio_pipeline.core.errors import PacsError
from angio_pipeline.pacs.dimse import associate, status_of, status_words
from angio_pipeline.pacs.find import Archive, Instance, dimse_archive, find_all
from angio_pipeline.pacs.inbox import NO_ROOM, Arrival, Inbox
from angio_pipeline.pacs.journal import Journal
from angio_pipeline.pacs.listener import SYNTAXES, listening, only_for, store_handler
from angio_pipeline.pacs.queries import Query
from angio_pipeline.pacs.retry import work_through
from angio_pipeline.pacs.settings import Listener, Server
from angio_pipeline.pacs.sop_classes import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from angio_pipeline.pacs.web import WebArchive, web_archive

__all__ = ["Pulled", "archive_of", "list_instances", "pull"]

Way = Literal["get", "move", "web"]

_BATCH = 32
_MOST_CONTEXTS = 127
_USUAL_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.12.1",  # XA
    "1.2.840.10008.5.1.4.1.1.12.2",  # radiofluoroscopy
    "1.2.840.10008.5.1.4.1.1.2",  # CT
    "1.2.840.10008.5.1.4.1.1.1",  # CR
    "1.2.840.10008.5.1.4.1.1.1.1",  # DX for presentation
    "1.2.840.10008.5.1.4.1.1.7",  # secondary capture
    "1.2.840.10008.5.1.4.1.1.66.4",  # segmentation
)


@dataclass(frozen=True, slots=True)
class Pulled:
    """What became of the instances.

    Attributes
    ----------
    fetched, kept : int
        Fetched now; whole in the folder before, and so left out.
    missing : tuple of Instance
        Asked for and not there in the end.
    why : str
        What the archive or the folder said of those that are missing; empty when nothing was said.
    """

    fetched: int
    kept: int
    missing: tuple[Instance, ...]
    why: str


def archive_of(server: Server, way: Way) -> AbstractContextManager[Archive]:
    """Return what can be searched: by QIDO where instances come by WADO, by C-FIND else."""
    return web_archive(server) if way == "web" else dimse_archive(server)


def list_instances(
    server: Server, queries: Sequence[Query], *, way: Way, on_query: Callable[[], object] = lambda: None
) -> list[Instance]:
    """Return every instance that fits one of the queries, each once, in the order of the queries.

    Raises
    ------
    PacsError
        When the server cannot be searched, or was lost more often than is tried again.
    """
    found: dict[int, list[Instance]] = {}

    def look(archive: Archive, job: tuple[int, Query]) -> None:
        found[job[0]] = find_all(archive, job[1])
        on_query()

    workers, retry = server.associations, server.retry
    work_through(enumerate(queries), connect=lambda: archive_of(server, way), do=look, workers=workers, retry=retry)
    return list({one.uid: one for number in sorted(found) for one in found[number]}.values())


def pull(
    server: Server,
    instances: Sequence[Instance],
    journal: Journal,
    *,
    way: Way,
    listener: Listener,
    on_instance: Callable[[], object] = lambda: None,
) -> Pulled:
    """Fetch the instances that are not whole in the folder and return what became of all of them.

    Raises
    ------
    PacsError
        When the server cannot be reached, does not want us, or was lost more often than is tried again, and
        when there is no room. What came before stands in the journal.
    """
    probe = Inbox(journal)
    lacking = [one for one in instances if not probe.holds(one.uid)]
    for _ in range(len(instances) - len(lacking)):
        on_instance()

    def tell(arrival: Arrival) -> None:
        if arrival.new:
            on_instance()

    inbox = Inbox(
        journal,
        largest_mb=listener.largest_mb,
        reserve_mb=listener.reserve_mb,
        wanted=frozenset(one.uid for one in lacking),
        on_arrival=tell,
    )
    said = _WAYS[way](server, lacking, inbox, listener)
    missing = tuple(one for one in lacking if one.uid not in inbox.arrived)
    why = said if missing else ""
    return Pulled(len(lacking) - len(missing), len(instances) - len(lacking), missing, why)


def _by_web(server: Server, lacking: Sequence[Instance], inbox: Inbox, listener: Listener) -> str:
    def fetch(archive: WebArchive, one: Instance) -> None:
        archive.fetch(one, inbox)
        _refuse_full(inbox)

    work_through(
        lacking, connect=lambda: web_archive(server), do=fetch, workers=server.associations, retry=server.retry
    )
    return inbox.why_refused()


def _by_get(server: Server, lacking: Sequence[Instance], inbox: Inbox, listener: Listener) -> str:
    said = Counter[int]()
    for classes, group in _groups(lacking):
        contexts = [build_context(UID(STUDY_ROOT_GET))]
        contexts += [build_context(name, syntax) for name in classes for syntax in SYNTAXES][:_MOST_CONTEXTS]
        connect: Callable[[], AbstractContextManager[Association]] = partial(
            associate,
            server,
            contexts,
            roles=[build_role(name, scp_role=True) for name in classes],
            handlers=[(evt.EVT_C_STORE, store_handler(inbox))],
            largest_bytes=inbox.largest_bytes,
        )
        _ask_all(server, group, inbox, connect, said, lambda line, wanted: line.send_c_get(wanted, _GET))
    return _why(said, inbox)


def _by_move(server: Server, lacking: Sequence[Instance], inbox: Inbox, listener: Listener) -> str:
    said = Counter[int]()
    connect = partial(associate, server, [build_context(UID(_MOVE))])
    ours, title = only_for(server, listener), server.calling_aet
    with listening(ours, inbox):
        _ask_all(server, lacking, inbox, connect, said, lambda line, wanted: line.send_c_move(wanted, title, _MOVE))
    return _why(said, inbox)


_GET: Any = STUDY_ROOT_GET
_MOVE: Any = STUDY_ROOT_MOVE
_WAYS: dict[Way, Callable[[Server, Sequence[Instance], Inbox, Listener], str]] = {
    "get": _by_get, "move": _by_move, "web": _by_web,
}  # fmt: skip


def _ask_all(
    server: Server,
    instances: Sequence[Instance],
    inbox: Inbox,
    connect: Callable[[], AbstractContextManager[Association]],
    said: Counter[int],
    ask: Callable[[Association, Dataset], Iterator[tuple[Dataset, Dataset | None]]],
) -> None:
    def fetch(association: Association, batch: list[Instance]) -> None:
        left = [one for one in batch if one.uid not in inbox.arrived]  # a lost connection gave some of them
        if not left:
            return
        try:
            for answer, _ in ask(association, _identifier(left)):
                status = status_of(server, answer)
                if status not in (0x0000, 0xFF00):
                    said[status] += 1
        except ValueError:
            place = server.place(web=False)
            raise PacsError(f"Expected {place} to offer this way of fetching, found none; try another --by.") from None
        _refuse_full(inbox)

    workers, retry = server.associations, server.retry
    work_through(_batches(instances), connect=connect, do=fetch, workers=workers, retry=retry)


def _identifier(batch: Sequence[Instance]) -> Dataset:
    wanted = Dataset()
    wanted.QueryRetrieveLevel = "IMAGE"
    wanted.StudyInstanceUID = batch[0].study
    wanted.SeriesInstanceUID = batch[0].series
    wanted.SOPInstanceUID = [one.uid for one in batch]
    return wanted


def _batches(instances: Sequence[Instance]) -> list[list[Instance]]:
    """Return the instances in lists of one series each, short enough to be shared by the connections."""
    series: dict[tuple[str, str], list[Instance]] = {}
    for one in instances:
        series.setdefault((one.study, one.series), []).append(one)
    return [all_[start : start + _BATCH] for all_ in series.values() for start in range(0, len(all_), _BATCH)]


def _groups(instances: Sequence[Instance]) -> Iterator[tuple[list[str], list[Instance]]]:
    """Yield the instances with their classes, as many as an association has contexts for."""
    at_once = _MOST_CONTEXTS // len(SYNTAXES)
    classes = sorted({one.sop_class for one in instances if one.sop_class})
    for start in range(0, len(classes), at_once):
        chosen = classes[start : start + at_once]
        yield chosen, [one for one in instances if one.sop_class in chosen]
    unknown = [one for one in instances if not one.sop_class]
    if unknown:
        yield list(_USUAL_CLASSES), unknown


def _refuse_full(inbox: Inbox) -> None:
    if inbox.refused[NO_ROOM]:
        raise PacsError(
            f"Expected room for what is fetched in {inbox.journal.folder}, found too little (or an instance above "
            "largest_mb); make room and run the same command again to go on."
        )


def _why(said: Counter[int], inbox: Inbox) -> str:
    answers = "; ".join(status_words(status) for status, _ in said.most_common(3))
    return "; ".join(part for part in (answers, inbox.why_refused()) if part)
