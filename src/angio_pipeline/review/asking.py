"""What requests have in common: who asks, on which revision, for which case; and the bodies that they send."""

from __future__ import annotations

import re
import secrets
from typing import Annotated, Any, cast

from fastapi import Depends, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from angio_pipeline.review.answers import AnyReviewEdit, Problem, ReviewState
from angio_pipeline.review.problems import ReviewProblem, unusable
from angio_pipeline.review.sessions import Session
from angio_pipeline.review.state import Review

__all__ = [
    "COOKIE",
    "PROBLEMS",
    "CaseId",
    "Changer",
    "DraftAsk",
    "EditAsk",
    "OnRevision",
    "Part",
    "Reader",
    "ReviewOf",
    "SignInAsk",
    "SnapAsk",
    "StateAsk",
]

COOKIE = "angio_session"

PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "Nobody is signed in."},
    403: {"model": Problem, "description": "Not from the page, or not admitted."},
    404: {"model": Problem, "description": "Not among the results."},
    409: {"model": Problem, "description": "Edited elsewhere, or not possible now."},
    413: {"model": Problem, "description": "Too large."},
    422: {"model": Problem, "description": "Not as described here."},
    428: {"model": Problem, "description": "Without If-Match."},
}

CaseId = Annotated[str, Path(pattern=r"^c[0-9a-f]{16}$", examples=["c3f1a2b4c5d6e7f8a"])]
Part = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")]


class _Ask(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class SignInAsk(_Ask):
    """Who wants to read; the token where the server was started with tokens."""

    name: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]+$")
    ]
    token: Annotated[str, Field(max_length=200)] = ""


class EditAsk(_Ask):
    """One edit as in the document of corrections; time and reviewer are set by the server.

    Its id is the client's: the same edit sent twice counts once.
    """

    edit: AnyReviewEdit


class StateAsk(_Ask):
    """How far the reader is."""

    state: ReviewState


class DraftAsk(_Ask):
    """Text that is being typed."""

    text: Annotated[str, Field(max_length=20000)]


class SnapAsk(_Ask):
    """A click on a vessel of a tumour."""

    tumour: Annotated[str, Field(max_length=64)]
    click: tuple[Annotated[float, Field(ge=-65536, le=65536)], Annotated[float, Field(ge=-65536, le=65536)]]


# None of these waits: as coroutines they spare the way to a thread and back, which an edit would make four times.
async def _review(request: Request) -> Review:
    return cast(Review, request.app.state.review)


ReviewOf = Annotated[Review, Depends(_review)]


async def _session(request: Request, review: ReviewOf) -> Session:
    session = review.sessions.find(request.cookies.get(COOKIE, ""))
    if session is None:
        raise ReviewProblem(401, "signed_out", "Expected a reader who is signed in, found none; sign in again.")
    return session


async def _changer(
    request: Request,
    session: Annotated[Session, Depends(_session)],
    x_csrf_token: Annotated[str, Header(description="`csrf` of the session.")] = "",
) -> Session:
    # Compared as bytes: a header may hold anything.
    if not secrets.compare_digest(x_csrf_token.encode(), session.csrf.encode()):
        raise ReviewProblem(403, "not_from_the_page", "Expected a change from the page of this server, found another.")
    return session


Reader = Annotated[Session, Depends(_session)]
"""Whoever is signed in, for requests that change nothing."""
Changer = Annotated[Session, Depends(_changer)]
"""Whoever is signed in, for requests that change something: these need the page's own header."""


async def _revision(
    if_match: Annotated[
        str | None, Header(description='The ETag of the corrections that were changed, as `"5"`.')
    ] = None,
) -> int:
    if if_match is None:
        raise ReviewProblem(428, "no_revision", "Expected If-Match with the revision that was edited, found none.")
    found = re.fullmatch(r'"([0-9]{1,15})"', if_match.strip())
    if found is None:
        raise unusable('Expected If-Match with a revision such as "5", found something else.')
    return int(found[1])


OnRevision = Annotated[int, Depends(_revision)]
Frame = Annotated[int, Path(ge=0, le=100000)]
Shift = Annotated[float, Query(ge=-200, le=200)]
