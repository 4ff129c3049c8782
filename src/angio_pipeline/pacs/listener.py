"""A station that others send to: it says hello, stores what it is sent, and vouches for what it has stored."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import AllStoragePresentationContexts, evt

from angio_pipeline.core.errors import ConfigError, PacsError
from angio_pipeline.pacs.inbox import Inbox
from angio_pipeline.pacs.settings import Listener, Server
from angio_pipeline.pacs.transport import LARGEST_PDU, BoundedServer, Entity, server_context
from angio_pipeline.pacs.vouching import COMMITMENT, VERIFICATION, Report, answer_commitment, report_of

__all__ = ["SYNTAXES", "listening", "only_for", "store_handler"]

# Uncompressed first: where a sender offers several for one object, it is not made to compress.
SYNTAXES: tuple[UID, ...] = (
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLosslessSV1, JPEGLossless, JPEGLSLossless, JPEG2000Lossless,
    RLELossless, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K, JPEG2000, JPEGLSNearLossless, JPEGBaseline8Bit,
    JPEGExtended12Bit, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian,
)  # fmt: skip


@contextmanager
def listening(
    settings: Listener,
    inbox: Inbox | None,
    *,
    peers: Mapping[str, Server] | None = None,
    on_report: Callable[[Report], None] | None = None,
) -> Iterator[int]:
    """Yield the port at which a station listens; it hangs up on everybody when the block ends.

    Parameters
    ----------
    inbox : Inbox or None
        Where what is sent is stored; None where only reports of commitment are waited for.
    peers : mapping of str to Server
        By AE title, where reports of commitment are sent; to others they go over the association that asked.

    Raises
    ------
    ConfigError
        When the lists let nobody in, or a certificate cannot be read.
    PacsError
        When the port cannot be opened.
    """
    _refuse_nobody(settings)
    entity = Entity(ae_title=settings.aet)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = settings.timeout_s
    entity.maximum_pdu_size = LARGEST_PDU
    entity.maximum_associations = settings.associations
    entity.require_called_aet = True
    entity.require_calling_aet = list(settings.calling_aets)
    entity.largest_bytes = inbox.largest_bytes if inbox is not None else 1 << 20
    _support(entity, stores=inbox is not None)
    handlers = _handlers(inbox, peers or {}, settings, on_report)
    tls = server_context(settings.tls) if settings.tls is not None else None
    station = _open(entity, settings, handlers, tls)
    thread = threading.Thread(target=station.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield int(station.server_address[1])
    finally:
        station.shutdown()
        thread.join()
        for association in station.active_associations:
            association.abort()


def only_for(server: Server, listener: Listener) -> Listener:
    """Return a listener that lets in nobody but one server, under the title that it knows us by.

    Raises
    ------
    PacsError
        When the server's host has no address.
    """
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)}
    except OSError:
        raise PacsError(f"Expected a host named {server.host}, found none; check host.") from None
    only = {"aet": server.calling_aet, "calling_aets": (server.called_aet,), "hosts": tuple(sorted(found))}
    return listener.model_copy(update=only)


def _refuse_nobody(settings: Listener) -> None:
    for name, allowed in (("calling_aets", settings.calling_aets), ("hosts", settings.hosts)):
        if not allowed:
            raise ConfigError(
                f"Expected to be told who may connect, found no {name}: an empty list lets nobody in; "
                f"name them in [listener] {name} or with the option."
            )


def _open(entity: Entity, settings: Listener, handlers: list[Any], tls: Any) -> BoundedServer:
    networks = [ipaddress.ip_network(text, strict=False) for text in settings.hosts]

    def allowed(host: str) -> bool:
        address: Any = ipaddress.ip_address(host.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in networks)

    try:
        return BoundedServer(
            entity,
            (settings.bind, settings.port),
            allowed=allowed,
            tls=tls,
            handlers=handlers,
        )
    except OSError as error:
        raise PacsError(
            f"Expected to listen at {settings.bind}:{settings.port}, found that it cannot be opened "
            f"({error.strerror}); choose another port."
        ) from None


def _support(entity: Entity, *, stores: bool) -> None:
    entity.add_supported_context(VERIFICATION)
    # Both roles: the one who vouches may call in this role too.
    entity.add_supported_context(COMMITMENT, scu_role=True, scp_role=True)
    if stores:
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(str(context.abstract_syntax), list(SYNTAXES))


def _handlers(
    inbox: Inbox | None,
    peers: Mapping[str, Server],
    settings: Listener,
    on_report: Callable[[Report], None] | None,
) -> list[Any]:
    handlers: list[Any] = [(evt.EVT_C_ECHO, lambda event: 0x0000)]
    if inbox is not None:
        handlers.append((evt.EVT_C_STORE, store_handler(inbox)))
        handlers.append((evt.EVT_N_ACTION, lambda event: answer_commitment(event, inbox, peers, settings.aet)))
    if on_report is not None:

        def take(event: Any) -> tuple[int, Dataset | None]:
            on_report(report_of(event))
            return 0x0000, None

        handlers.append((evt.EVT_N_EVENT_REPORT, take))
    return handlers


def store_handler(inbox: Inbox) -> Callable[[Any], int]:
    """Return what answers a C-STORE: the status of putting the bytes, as they came, into the inbox."""

    def store(event: Any) -> int:
        request = event.request
        with request.DataSet.getbuffer() as encoded:
            return inbox.store(
                encoded,
                syntax=str(event.context.transfer_syntax),
                sop_class=str(request.AffectedSOPClassUID),
                uid=str(request.AffectedSOPInstanceUID),
            )

    return store
