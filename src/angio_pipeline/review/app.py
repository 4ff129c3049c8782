"""The application: routes, errors as one sentence, and the life of the parts behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

import angio_pipeline
from angio_pipeline.core.errors import AngioError
from angio_pipeline.review import case_routes, correction_routes, follow_up_routes, session_routes, worklist_routes
from angio_pipeline.review.guard import TOO_LARGE, Guard
from angio_pipeline.review.page import page_routes
from angio_pipeline.review.problems import ReviewProblem
from angio_pipeline.review.state import Review

__all__ = ["make_app"]

_ROUTERS = (session_routes, worklist_routes, case_routes, correction_routes, follow_up_routes)


def make_app(review: Review, *, hosts: Iterable[str], scheme: str = "http") -> FastAPI:
    """Return the application over the parts of a server, which end with it.

    Parameters
    ----------
    hosts : iterable of str
        What `Host` may say, with the port.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        review.start()
        try:
            yield
        finally:
            review.close()

    app = FastAPI(
        title="angio review",
        version=angio_pipeline.__version__,
        description="Review of written results. Research software, not a medical device.",
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.review = review
    for module in _ROUTERS:
        app.include_router(module.router)
    app.router.routes.extend(page_routes())
    _add_handlers(app)
    app.add_middleware(Guard, hosts=hosts, scheme=scheme)
    return app


def _add_handlers(app: FastAPI) -> None:
    @app.exception_handler(ReviewProblem)
    async def problem(request: Request, error: ReviewProblem) -> JSONResponse:
        return _answer(error.status, error.code, error.sentence)

    @app.exception_handler(AngioError)
    async def of_a_case(request: Request, error: AngioError) -> JSONResponse:
        return _answer(409, error.reason, error.sentence)

    @app.exception_handler(RequestValidationError)
    async def not_as_described(request: Request, error: RequestValidationError) -> JSONResponse:
        # What was sent is not sent back: it may hold anything.
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if isinstance(part, (str, int)))[:200]
        what = str(first["msg"]).removeprefix("Value error, ")
        return _answer(422, "unusable", _plain(f"Expected a request as it is described, found at {where}: {what}."))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        words = {404: "Expected something that is there, found nothing under this address.", 413: TOO_LARGE}
        sentence = words.get(error.status_code, "Expected a request as it is described, found another.")
        headers = {k: v for k, v in (error.headers or {}).items() if k.lower() == "allow"}
        code = {404: "not_found", 413: "too_large"}.get(error.status_code, "unusable")
        return _answer(error.status_code, code, sentence, headers)


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _answer(status: int, code: str, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"code": code, "sentence": sentence}, status_code=status, headers=headers)
