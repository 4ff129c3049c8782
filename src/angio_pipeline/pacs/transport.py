"""What pynetdicom is given so that it is quiet, bounded and quick: its settings, sockets and messages.

It reads whatever length a peer names and keeps whatever a peer sends; here a PDU and an instance have a
greatest size. It reads sockets 4 kB at a time and copies what is left to send again and again; here neither.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import socketserver
import ssl
import warnings
from collections.abc import Callable
from typing import Any

import pynetdicom._config
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import DimseServiceType
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import (
    T_CONNECT,
    AddressInformation,
    AssociationSocket,
    RequestHandler,
    ThreadedAssociationServer,
)

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.pacs.settings import Tls

__all__ = ["LARGEST_PDU", "BoundedServer", "Entity", "be_quiet", "client_context", "server_context"]

LARGEST_PDU = 1 << 20
_HANDSHAKE_S = 10.0
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
_LOUD = ("pynetdicom", "pydicom", "dicomweb_client", "urllib3", "requests", "retrying")


def be_quiet() -> None:
    """Silence the libraries of this room: their logs and warnings quote what is sent, and that is patients' data."""
    pynetdicom._config.LOG_HANDLER_LEVEL = "none"
    pynetdicom._config.LOG_REQUEST_IDENTIFIERS = False
    pynetdicom._config.LOG_RESPONSE_IDENTIFIERS = False
    pynetdicom._config.STORE_SEND_CHUNKED_DATASET = True
    for name in _LOUD:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [logging.NullHandler()], False
        logger.setLevel(logging.CRITICAL + 1)
        warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")


def prepare(connection: socket.socket, timeout_s: float | None) -> None:
    """Send small messages at once (else each waits 40 ms for the peer's acknowledgement), wait for no peer for ever."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(timeout_s)


def _acknowledge_at_once(connection: socket.socket) -> None:
    # dcmtk, and with it most archives, writes the head of a PDU and its body apart and waits with the body until
    # the head was acknowledged, which a receiver puts off for 40 ms. The system forgets this wish: it is made anew.
    if _QUICKACK is not None:
        connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


class BoundedSocket(AssociationSocket):
    """A socket that reads no PDU above the size that was announced, and waits for no peer for ever."""

    def connect(self, primitive: T_CONNECT) -> None:
        """Connect, and give later reads and writes the network's time-out."""
        super().connect(primitive)
        if self.socket is not None:
            prepare(self.socket, self.assoc.network_timeout)

    def recv(self, nr_bytes: int) -> bytearray:
        """Return so many bytes, or fewer where the connection ended.

        Raises
        ------
        OSError
            When more is asked for than any PDU may hold; the association is closed then.
        """
        if nr_bytes > LARGEST_PDU + 4096 or self.socket is None:
            raise OSError("a PDU above the announced size")
        content, read = bytearray(nr_bytes), 0
        with memoryview(content) as view:
            while read < nr_bytes:
                _acknowledge_at_once(self.socket)
                count = self.socket.recv_into(view[read:])
                if not count:
                    break
                read += count
        del content[read:]
        return content

    def _shutdown_socket(self) -> None:
        # One that was never connected cannot be shut down, and has to be closed all the same.
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()

    def send(self, bytestream: bytes) -> None:
        """Send all of it; a connection that ends is told to the association."""
        try:
            if self.socket is None:
                raise OSError("closed")
            self.socket.sendall(bytestream)
        except Exception:
            self.event_queue.put("Evt17")


class BoundedMessages(DIMSEServiceProvider):
    """Messages that stop growing at a size, and that reach who asked for them.

    What comes beyond the size is counted as too large, and dropped.
    """

    def __init__(self, assoc: Association, largest_bytes: int) -> None:
        super().__init__(assoc)
        self._largest_bytes = largest_bytes

    def get_msg(self, block: bool = False) -> tuple[int, DimseServiceType] | tuple[None, None]:
        """Return the next message; an association's own thread, which does not wait, gets none that is not its own.

        pynetdicom halts that thread while a question is out, but one that has just passed the gate goes on: on a
        busy machine it took the first answer and dropped it, and an archive seemed to hold nothing.
        """
        if not block and not self.assoc._reactor_checkpoint.is_set():
            return None, None
        return super().get_msg(block)

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take one part of a message, without its content where there is too much of it already."""
        message = self.message
        content = message.data_set if message is not None else None
        if isinstance(content, io.BytesIO) and content.tell() > self._largest_bytes:
            parts = primitive.presentation_data_value_list
            parts[:] = [(context, data if data[0] & 1 else data[:1]) for context, data in parts]
        super().receive_primitive(primitive)


class Entity(AE):
    """An application entity whose connections are bounded.

    Attributes
    ----------
    largest_bytes : int
        The greatest instance that is received; longer ones arrive cut one PDU behind that size.
    """

    largest_bytes = 4 << 30

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[ssl.SSLContext, str] | None
    ) -> AssociationSocket:
        sock = BoundedSocket(assoc, address=address)
        sock.tls_args = tls_args
        assoc.dimse = BoundedMessages(assoc, self.largest_bytes)
        return sock


class BoundedHandler(RequestHandler):
    """One incoming connection."""

    def setup(self) -> None:
        """Shake hands in this connection's own thread, so that a slow peer holds up nobody else."""
        self.request.settimeout(_HANDSHAKE_S)
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        prepare(self.request, self.ae.network_timeout)

    def _create_association(self) -> Association:
        assoc = super()._create_association()
        entity = self.ae
        assert isinstance(entity, Entity)
        assert assoc.dul.socket is not None
        # Made inside pynetdicom, and a second one would tell of a second connection.
        assoc.dul.socket.__class__ = BoundedSocket
        assoc.dimse = BoundedMessages(assoc, entity.largest_bytes)
        return assoc


class BoundedServer(ThreadedAssociationServer):
    """A server that lets in some hosts alone.

    Attributes
    ----------
    allowed : callable
        Tells whether an address may connect.
    """

    daemon_threads = True
    request_queue_size = 50

    def __init__(
        self,
        entity: Entity,
        address: tuple[str, int],
        *,
        allowed: Callable[[str], bool],
        tls: ssl.SSLContext | None,
        handlers: list[Any],
    ) -> None:
        self.allowed = allowed
        super().__init__(entity, address, entity.ae_title, entity.supported_contexts, tls, handlers, BoundedHandler)

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection; its handshake comes later."""
        assert self.socket is not None
        client, address = self.socket.accept()
        if self.ssl_context is not None:
            client = self.ssl_context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        return client, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether the host may connect; one that may not is hung up on."""
        return bool(self.allowed(client_address[0]))

    def shutdown(self) -> None:
        """Stop and close the port; the entity keeps no list of servers that were not started by it."""
        socketserver.BaseServer.shutdown(self)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that failed: a traceback would quote what it sent."""


def client_context(tls: Tls) -> ssl.SSLContext:
    """Return how a server's certificate is verified and which one is shown to it.

    Raises
    ------
    ConfigError
        When a file of certificates cannot be read.
    """
    context = _filled(tls, ssl.Purpose.SERVER_AUTH)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def server_context(tls: Tls) -> ssl.SSLContext:
    """Return which certificate a listener shows, and that it asks for one where `tls.ca` is given.

    Raises
    ------
    ConfigError
        When a file of certificates cannot be read, or the listener has none to show.
    """
    if tls.certificate is None:
        raise ConfigError("Expected a certificate and a key for a listener with TLS, found none; set both.")
    context = _filled(tls, ssl.Purpose.CLIENT_AUTH)
    if tls.ca is not None and tls.verify:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _filled(tls: Tls, purpose: ssl.Purpose) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(purpose, cafile=tls.ca)
        if tls.certificate is not None:
            # Without this a key with a password would ask for it on the terminal.
            context.load_cert_chain(tls.certificate, tls.key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise ConfigError(f"Expected readable PEM files for TLS, found {type(error).__name__}; check them.") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


be_quiet()
