"""What every request passes before anything else, and what every answer carries.

A page elsewhere on the web can make a browser send requests to this machine, also under a name of its own that it
lets point here. So the `Host` has to be one that the server was started for, the `Origin`, where a browser names one,
has to be the server itself, and nothing is changed without the header that only this page knows (`app`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["MOST_BODY_BYTES", "POLICY", "TOO_LARGE", "Guard"]

MOST_BODY_BYTES = 8 << 20
TOO_LARGE = f"Expected at most {MOST_BODY_BYTES >> 20} MiB, found more."
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "worker-src 'self' blob:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_LOG = logging.getLogger(__name__)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """ASGI middleware that refuses foreign hosts, foreign origins and large bodies, and sets the safe headers.

    Parameters
    ----------
    hosts : iterable of str
        Values of `Host` that mean this server, with the port.
    scheme : str
        "http" or "https".
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str], scheme: str) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}
        self._origins = {f"{scheme}://{host}" for host in self._hosts}
        self._secure = scheme == "https"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = self._refusal(Headers(scope=scope))
        if refused is not None:
            await refused(scope, receive, self._dressed(scope, send))
            return
        begun = False

        async def told(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        dressed = self._dressed(scope, told)
        try:
            await self._app(scope, _counted(receive), dressed)
        except Exception as error:
            # Its message may quote a document; only its kind is told, here and in the log.
            kind = type(error).__name__
            _LOG.error("stopped by an unforeseen %s; a log at the level of debug tells where", kind)
            _LOG.debug("unforeseen", exc_info=True)
            if not begun:
                answer = _problem(500, "unforeseen", f"Expected an answer, found an unforeseen {kind}; report it.")
                await answer(scope, receive, dressed)

    def _refusal(self, headers: Headers) -> JSONResponse | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return _problem(421, "wrong_host", "Expected a request to this server by its own name, found another name.")
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in self._origins:
            return _problem(403, "wrong_origin", "Expected a request from the page of this server, found another page.")
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return _problem(403, "wrong_origin", "Expected a request from the page of this server, found another page.")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > MOST_BODY_BYTES:
            return _problem(413, "too_large", TOO_LARGE)
        return None

    def _dressed(self, scope: Scope, send: Send) -> Send:
        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if self._secure:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
                # Images and findings stay out of the browser's cache on the disk.
                headers["Cache-Control"] = "no-store" if scope["path"].startswith("/api/") else "no-cache"
            await send(message)

        return dressed


def _counted(receive: Receive) -> Receive:
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MOST_BODY_BYTES:
            raise HTTPException(413)
        return message

    return counted


def _problem(status: int, code: str, sentence: str) -> JSONResponse:
    return JSONResponse({"code": code, "sentence": sentence}, status_code=status)
