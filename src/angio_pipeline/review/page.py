"""The page itself: every file of `dist` by its name, listed once at the start, so that no request names a path."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

__all__ = ["page_routes"]

_DIST = Path(__file__).parent / "dist"
_NOT_BUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>angio review</title></head><body>
<h1>The review page is not built</h1>
<p>The server runs, but this installation holds no page for it. Everything that it knows can be asked for under
<code>/api</code>; <a href="/api/openapi.json">its description</a> is there as well.</p>
</body></html>
"""
_KINDS = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".map": "application/json"}


def page_routes(folder: Path = _DIST) -> list[Route]:
    """Return a route for each file of the page; without a page, one that says so."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    routes = [Route(f"/{name}", _sender(path)) for name, path in sorted(files.items())]
    start = _sender(files["index.html"]) if "index.html" in files else _not_built
    return [Route("/", start), Route("/robots.txt", _nothing_for_robots), *routes]


def _sender(path: Path):  # type: ignore[no-untyped-def]  # starlette's own type of an endpoint is a bare callable
    kind = _KINDS.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"

    async def send(request: Request) -> Response:
        return FileResponse(path, media_type=kind)

    return send


async def _not_built(request: Request) -> Response:
    return HTMLResponse(_NOT_BUILT)


async def _nothing_for_robots(request: Request) -> Response:
    return PlainTextResponse("User-agent: *\nDisallow: /\n")
