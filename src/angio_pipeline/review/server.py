"""Start and end of the server: where it listens, under which names, with TLS or without."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.review.app import make_app
from angio_pipeline.review.state import Review, ReviewSettings

__all__ = ["Listening", "serve"]

_MOST_REQUESTS = 200


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the server listens; `names` are those that browsers may know it by, beside the address itself."""

    host: str = "127.0.0.1"
    port: int = 8741
    names: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def scheme(self) -> str:
        """Either "https" or "http"."""
        return "http" if self.certificate is None else "https"

    def check(self, *, tokens: bool) -> None:
        """See that a server that others can reach is safe to reach.

        Raises
        ------
        ConfigError
            When it has no tokens, or no certificate with its key, or half of it.
        """
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("Expected --certificate and --key together, found one of them; give both.")
        if self.loopback or (tokens and self.certificate is not None):
            return
        raise ConfigError(
            f"Expected --tokens, --certificate and --key with --host {self.host}, as others could reach the patients' "
            "images there, found some missing; give all three, or leave --host out."
        )

    def hosts(self, port: int) -> list[str]:
        """Return what `Host` may say."""
        own = ["127.0.0.1", "localhost", "[::1]"] if self.loopback else []
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme]
        names = dict.fromkeys((host, *own, *self.names))
        return [f"{name}:{port}" for name in names] + (list(names) if port == usual else [])


def serve(settings: ReviewSettings, listening: Listening, *, tell: Callable[[str], None]) -> None:
    """Serve until it is interrupted; `tell` is given the address as soon as it answers there.

    Raises
    ------
    ConfigError
        When it may not listen there, cannot, or the folder holds no results.
    """
    listening.check(tokens=bool(settings.tokens))
    with _bound(listening) as bound:
        port = int(bound.getsockname()[1])
        review = Review(settings)
        hosts = listening.hosts(port)
        app = make_app(review, hosts=hosts, scheme=listening.scheme)
        config = uvicorn.Config(
            app,
            # Addresses hold pseudonyms and opaque ids alone; still nothing of them is written down.
            access_log=False,
            log_level="error",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_REQUESTS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=3,
            ws="none",
            ssl_certfile=listening.certificate,
            ssl_keyfile=listening.key,
        )
        tell(f"{listening.scheme}://{hosts[0]}/")
        with suppress(KeyboardInterrupt):  # how it is ended
            uvicorn.Server(config).run(sockets=[bound])


def _bound(listening: Listening) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            listening.host, listening.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        # Who is told the address may call at once, and waits the moment that the application takes to start.
        bound.listen(_MOST_REQUESTS)
    except OSError as error:
        raise ConfigError(
            f"Expected to listen at {listening.host}, port {listening.port}, found it cannot be ({error.strerror}); "
            "choose another --port."
        ) from None
    return bound
