"""Sending files to an archive: each as its bytes lie on the disk, over several connections, each once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pydicom
from pydicom.uid import MediaStorageDirectoryStorage
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from angio_pipeline.core.errors import PacsError
from angio_pipeline.pacs.dimse import associate, status_of, status_words
from angio_pipeline.pacs.find import Archive, Series, dimse_archive, find_instances
from angio_pipeline.pacs.inbox import is_uid
from angio_pipeline.pacs.journal import Journal, digest_of
from angio_pipeline.pacs.retry import ConnectionLost, work_through
from angio_pipeline.pacs.settings import Server
from angio_pipeline.pacs.web import WebArchive, web_archive

__all__ = ["Outgoing", "Pushed", "find_lacking", "forget", "push", "read_outgoing"]

_STORED_WITH_REMARK = {0xB000, 0xB006, 0xB007}
_NOT_ACCEPTED = 0x0122
_MOST_CONTEXTS = 128


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One file that can be sent."""

    path: Path
    study: str
    series: str
    uid: str
    sop_class: str
    syntax: str


@dataclass(slots=True)
class Pushed:
    """What became of the files.

    Attributes
    ----------
    sent, kept : list of Outgoing
        Taken by the server now; taken by it earlier, and so left out.
    refused : dict of str to int
        By UID, the status that the server answered with.
    """

    sent: list[Outgoing] = field(default_factory=list)
    kept: list[Outgoing] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)

    def why_refused(self) -> str:
        """Return the statuses of what was refused, the most frequent first."""
        found = Counter(self.refused.values()).most_common(3)
        return "; ".join(f"{count} × {status_words(status)}" for status, count in found)


def read_outgoing(path: Path) -> Outgoing | None:
    """Return what a file holds, or None where it is no DICOM object that can be sent."""
    try:
        head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "SeriesInstanceUID"])
        names = ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
        sop_class, uid, syntax = (str(head.file_meta.get(name, "")) for name in names)
        study, series = (str(head.get(name, "")) for name in ("StudyInstanceUID", "SeriesInstanceUID"))
    except (pydicom.errors.InvalidDicomError, OSError, ValueError, EOFError, AttributeError):
        return None
    if not all(map(is_uid, (study, series, uid, sop_class, syntax))) or sop_class == MediaStorageDirectoryStorage:
        return None
    return Outgoing(path, study, series, uid, sop_class, syntax)


def push(
    server: Server,
    files: Sequence[Outgoing],
    *,
    web: bool = False,
    journal: Journal | None = None,
    on_file: Callable[[], object] = lambda: None,
) -> Pushed:
    """Send the files and return what became of them; what the journal remembers is not sent again.

    Raises
    ------
    PacsError
        When the server cannot be reached, does not want us, or was lost more often than is tried again. What it
        took before stands in the journal.
    """
    result, digests = Pushed(), dict[str, str]()
    place, lock = server.place(web=web), threading.Lock()
    waiting = []
    for file in files:
        digests[file.uid] = digest_of(file.path) if journal is not None else ""
        if journal is not None and journal.was_pushed(place, file.uid, digests[file.uid]):
            result.kept.append(file)
            on_file()
        else:
            waiting.append(file)

    def note(file: Outgoing, status: int | None) -> None:
        with lock:
            if status is not None:
                result.refused[file.uid] = status
            else:
                result.sent.append(file)
                if journal is not None:
                    journal.note_pushed(place, file.uid, digests[file.uid])
        on_file()

    if web:
        _push_web(server, waiting, note)
    else:
        for group in _groups(waiting):
            _push_dimse(server, group, note)
    return result


def find_lacking(
    server: Server, files: Sequence[Outgoing], *, web: bool = False, journal: Journal | None = None
) -> list[Outgoing]:
    """Return the files that the archive does not list, although it may have answered that it took them.

    The journal forgets that these were sent.

    Raises
    ------
    PacsError
        When the archive cannot be asked.
    """
    held: set[str] = set()

    def look(archive: Archive, series: tuple[str, str]) -> None:
        held.update(one.uid for one in find_instances(archive, Series(*series, "", None)))

    work_through(
        sorted({(file.study, file.series) for file in files}),
        connect=lambda: web_archive(server) if web else dimse_archive(server),
        do=look,
        workers=server.associations,
        retry=server.retry,
    )
    lacking = [file for file in files if file.uid not in held]
    forget(journal, server.place(web=web), lacking)
    return lacking


def forget(journal: Journal | None, place: str, files: Sequence[Outgoing]) -> None:
    """Let the journal forget that these were sent, so that they are sent again."""
    if journal is not None:
        for file in files:
            journal.forget_pushed(place, file.uid)


Note = Callable[[Outgoing, int | None], None]


def _push_web(server: Server, files: Sequence[Outgoing], note: Note) -> None:
    def send(archive: WebArchive, file: Outgoing) -> None:
        note(file, archive.send(pydicom.dcmread(file.path)))

    work_through(
        files, connect=lambda: web_archive(server), do=send, workers=server.associations, retry=server.retry
    )  # fmt: skip


def _push_dimse(server: Server, files: Sequence[Outgoing], note: Note) -> None:
    connect: Callable[[], AbstractContextManager[Association]] = partial(associate, server, _contexts(files))

    def send(association: Association, file: Outgoing) -> None:
        note(file, _send(server, association, file))

    work_through(files, connect=connect, do=send, workers=server.associations, retry=server.retry)


def _groups(files: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Yield the files in groups whose kinds fit into one association."""
    kinds: dict[tuple[str, str], list[Outgoing]] = {}
    for file in files:
        kinds.setdefault((file.sop_class, file.syntax), []).append(file)
    names = list(kinds)
    for start in range(0, len(names), _MOST_CONTEXTS):
        chosen = set(names[start : start + _MOST_CONTEXTS])
        yield [file for file in files if (file.sop_class, file.syntax) in chosen]


def _contexts(files: Sequence[Outgoing]) -> list[PresentationContext]:
    # A context for each kind: one for several syntaxes would be granted only one of them.
    return [build_context(*kind) for kind in sorted({(file.sop_class, file.syntax) for file in files})]


def _send(server: Server, association: Association, file: Outgoing) -> int | None:
    try:
        status = status_of(server, association.send_c_store(file.path))
    except ValueError:  # no context for this kind of object in this transfer syntax
        return _NOT_ACCEPTED
    except RuntimeError:
        raise ConnectionLost(
            f"Expected {server.place(web=False)} to take all files, found the association closed; "
            "run the same command again to go on."
        ) from None
    except OSError as error:
        raise PacsError(f"Expected to read {file.path.name}, found {type(error).__name__}; check the file.") from None
    return None if status == 0 or status in _STORED_WITH_REMARK else status
