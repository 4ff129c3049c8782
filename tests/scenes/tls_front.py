"""TLS in front of a server that speaks plain HTTP, as most hospitals have it: bytes go through as they are.

Orthanc can speak HTTPS by itself, but Debian's 1.10.1 dies (SIGSEGV) at the first connection.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def tls_front(behind: int, *, certificate: Path, key: Path, ca: Path) -> Iterator[int]:
    """The port of a front that wants a certificate of `ca` and hands on to a port of this machine."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as front:
        ended = threading.Event()
        threads: list[threading.Thread] = []

        def serve() -> None:
            while not ended.is_set():
                client, _ = front.accept()
                threads.append(threading.Thread(target=_serve, args=(client, context, behind)))
                threads[-1].start()

        server = threading.Thread(target=serve)
        server.start()
        port = int(front.getsockname()[1])
        yield port
        ended.set()
        socket.create_connection(("127.0.0.1", port)).close()
        for thread in (server, *threads):
            thread.join(10)


def _serve(client: socket.socket, context: ssl.SSLContext, behind: int) -> None:
    try:
        secured = context.wrap_socket(client, server_side=True)
    except OSError:
        client.close()
        return
    with secured, socket.create_connection(("127.0.0.1", behind)) as plain:
        back = threading.Thread(target=_hand_on, args=(plain, secured))
        back.start()
        _hand_on(secured, plain)
        back.join(10)


def _hand_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(1 << 16):
            target.sendall(content)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
