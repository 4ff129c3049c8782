"""Associations with an archive: opened, told apart when they fail, closed; and the smallest use of one, C-ECHO."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from angio_pipeline.core.errors import PacsError
from angio_pipeline.pacs.retry import ConnectionLost
from angio_pipeline.pacs.settings import Server
from angio_pipeline.pacs.sop_classes import VERIFICATION
from angio_pipeline.pacs.transport import LARGEST_PDU, Entity, client_context

__all__ = ["associate", "echo", "status_of", "status_words"]

_AT_ONCE_S = 2.0

_REJECTED = {
    (1, 3): "it does not know the calling AE title; have it entered there, or set calling_aet",
    (1, 7): "it does not know the called AE title; set called_aet",
    (3, 1): "it is too busy; try again later",
    (3, 2): "it has as many associations as it takes; try again later, or set associations lower",
}
_STATUS = {
    0x0110: "processing failure",
    0x0111: "another instance of that UID is there",
    0x0117: "not a valid UID",
    0x0122: "class of object not supported",
    0x0124: "not authorised",
    0xA701: "out of resources to count matches",
    0xA702: "out of resources to send",
    0xA801: "the destination's AE title is not known there",
    0xA900: "the object does not match its class",
    0xFE00: "cancelled",
    0xB000: "some were not sent",
}


@contextmanager
def associate(
    server: Server,
    contexts: Sequence[PresentationContext],
    *,
    roles: Sequence[Any] = (),
    handlers: Sequence[tuple[Any, Callable[..., Any]]] = (),
    largest_bytes: int = 4 << 30,
) -> Iterator[Association]:
    """Yield an association; it is released when the block ends, aborted when it raises.

    Raises
    ------
    ConnectionLost
        When the server is not there, or the association was closed from the other side in the block.
    PacsError
        When the server does not want the association.
    """
    entity = _entity(server, largest_bytes)
    ask = partial(_ask, entity, server, list(contexts), list(roles) or None, list(handlers))
    began_s = monotonic()
    association = ask()
    # A rejection that comes at once may be missed by pynetdicom: its thread finds the connection closed already.
    missed = not association.is_established and association.acceptor.primitive is None
    if missed and monotonic() - began_s < _AT_ONCE_S:
        association = ask()
    if not association.is_established:
        raise _why_not(server, association)
    try:
        yield association
        if not association.is_established:
            raise _lost(server)
        association.release()
    finally:
        if association.is_established:
            association.abort()


def _ask(
    entity: Entity, server: Server, contexts: list[Any], roles: list[Any] | None, handlers: list[Any]
) -> Association:
    """Return an association, established or not."""
    assert server.host is not None
    try:
        return entity.associate(
            server.host,
            server.port,
            contexts=contexts,
            ae_title=server.called_aet,
            max_pdu=LARGEST_PDU,
            ext_neg=roles,
            evt_handlers=handlers,
            tls_args=(client_context(server.tls), server.host) if server.tls is not None else None,
        )
    except OSError:
        raise ConnectionLost(f"Expected a host named {server.host}, found none; check host.") from None


def _entity(server: Server, largest_bytes: int) -> Entity:
    entity = Entity(ae_title=server.calling_aet)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = server.timeout_s
    entity.connection_timeout = min(server.timeout_s, 15.0)
    entity.largest_bytes = largest_bytes
    return entity


def _lost(server: Server) -> ConnectionLost:
    return ConnectionLost(
        f"Expected {server.place(web=False)} to keep the association until all was done, found it closed from the "
        "other side; run the same command again to go on."
    )


def _why_not(server: Server, association: Association) -> PacsError:
    place, answer = server.place(web=False), association.acceptor.primitive
    if association.is_rejected and answer is not None:
        found = (int(answer.result_source or 0), int(answer.diagnostic or 0))
        kind = ConnectionLost if answer.result == 0x02 else PacsError  # rejected for now, or for good
        why = _REJECTED.get(found, f"source {found[0]}, reason {found[1]}")
        return kind(f"Expected {place} to accept an association from {server.calling_aet}, found it rejected: {why}.")
    if answer is not None and association.rejected_contexts and not association.accepted_contexts:
        return PacsError(
            f"Expected {place} to offer the service that was asked for, found that it offers none of it; "
            "see what it allows for this AE title."
        )
    return _unreachable(server)


def _unreachable(server: Server) -> PacsError:
    """Return why there is no connection: pynetdicom tells its log alone, so it is tried once more by hand."""
    place = server.place(web=False)
    assert server.host is not None
    try:
        with socket.create_connection((server.host, server.port), timeout=min(server.timeout_s, 15.0)) as plain:
            if server.tls is not None:
                client_context(server.tls).wrap_socket(plain, server_hostname=server.host).close()
    except ssl.SSLCertVerificationError as error:
        return PacsError(
            f"Expected a certificate of {place} that is trusted and names its host, found: {error.verify_message}; "
            "set tls.ca to the file of who signed it."
        )
    except ssl.SSLError:
        return PacsError(f"Expected TLS from {place}, found another answer; check the port and the tls settings.")
    except OSError as error:
        return ConnectionLost(
            f"Expected a DICOM server at {place}, found no connection ({type(error).__name__}); "
            "see that it runs and that host and port are right."
        )
    hint = "it may want a client certificate" if server.tls is not None else "it may want TLS"
    return ConnectionLost(f"Expected {place} to answer the request of an association, found it hanging up; {hint}.")


def status_of(server: Server, answer: Dataset) -> int:
    """Return the status of an answer.

    Raises
    ------
    ConnectionLost
        When there was none: the association is gone, or nothing came in time.
    """
    if "Status" not in answer:
        raise _lost(server)
    return int(answer.Status)


def status_words(status: int) -> str:
    """Return a status and what it means."""
    words = _STATUS.get(status)
    if words is None and 0xA700 <= status <= 0xA7FF:
        words = "out of resources"
    if words is None and 0xC000 <= status <= 0xCFFF:
        words = "it could not make sense of it"
    return f"0x{status:04X}" + (f", {words}" if words else "")


def echo(server: Server) -> float:
    """Return how many seconds a C-ECHO took, association included.

    Raises
    ------
    PacsError
        When the server cannot be reached, or does not answer with success.
    """
    from time import perf_counter

    start = perf_counter()
    with associate(server, [build_context(UID(VERIFICATION))]) as association:
        status = status_of(server, association.send_c_echo())
        if status != 0:
            place = server.place(web=False)
            raise PacsError(f"Expected {place} to answer a C-ECHO with success, found {status_words(status)}.")
    return perf_counter() - start
