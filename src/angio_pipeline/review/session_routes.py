"""Signing in and out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Cookie, Request, Response

import angio_pipeline
from angio_pipeline.review.answers import SessionAnswer
from angio_pipeline.review.asking import COOKIE, PROBLEMS, Changer, Reader, ReviewOf, SignInAsk
from angio_pipeline.review.sessions import Session
from angio_pipeline.review.state import Review

__all__ = ["router"]

router = APIRouter(prefix="/api/session", tags=["session"], responses=PROBLEMS)


@router.post("")
def sign_in(ask: SignInAsk, request: Request, response: Response, review: ReviewOf) -> SessionAnswer:
    """Sign in under a name; the answer sets a cookie and tells the token for changes."""
    session = review.sessions.sign_in(ask.name, ask.token)
    review.journal.append(session.reader, "", "signed_in", after={"unblinded": review.settings.unblinded})
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, session.key, httponly=True, samesite="strict", secure=secure, path="/api")
    return _answer(session, review)


@router.get("")
def who(session: Reader, review: ReviewOf) -> SessionAnswer:
    """Tell who is signed in."""
    return _answer(session, review)


@router.delete("", status_code=204)
def sign_out(
    session: Changer, response: Response, review: ReviewOf, angio_session: Annotated[str, Cookie()] = ""
) -> None:
    """Sign out."""
    review.sessions.sign_out(angio_session)
    response.delete_cookie(COOKIE, path="/api")


def _answer(session: Session, review: Review) -> SessionAnswer:
    return SessionAnswer(
        reader=session.reader,
        csrf=session.csrf,
        unblinded=review.settings.unblinded,
        sources_given=review.sources.given,
        version=angio_pipeline.__version__,
    )
