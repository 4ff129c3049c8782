"""A front that lets in nobody without a bearer token, as hospitals have it before an archive that knows no tokens."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# They hold for one connection alone (RFC 9110, 7.6.1), or are set anew.
_OWN = {"connection", "keep-alive", "transfer-encoding", "content-length", "authorization", "host"}


@dataclass
class Front:
    """A front that runs: where it is, and how many requests it handed on and turned away."""

    port: int
    passed: int = 0
    refused: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, *, passed: bool) -> None:
        """Note what became of a request."""
        with self.lock:
            self.passed, self.refused = self.passed + passed, self.refused + (not passed)


@contextmanager
def bearer_front(behind: int, token: str) -> Iterator[Front]:
    """A front that hands requests with this token on to a port of this machine, and answers others with 401."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _hand_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            known = self.headers.get("Authorization") == f"Bearer {token}"
            front.count(passed=known)
            if known:
                self._answer(*_asked(behind, self.command, self.path, list(self.headers.items()), body))
            else:
                self._answer(401, [("WWW-Authenticate", 'Bearer realm="archive"')], b"")

        do_GET = do_POST = _hand_on

        def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in _OWN:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        front = Front(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield front
        finally:
            server.shutdown()
            thread.join(10)


def _asked(
    port: int, method: str, path: str, headers: list[tuple[str, str]], body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        link.request(method, path, body or None, {name: value for name, value in headers if name.lower() not in _OWN})
        answer = link.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    finally:
        link.close()
