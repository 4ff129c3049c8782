"""A request that is not done, as the sentence that the reader sees."""

from __future__ import annotations

__all__ = ["ReviewProblem", "conflict", "not_found", "unusable"]


class ReviewProblem(Exception):
    """An answer other than success; `code` is for the page, `sentence` for the reader."""

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.code, self.sentence = status, code, sentence


def not_found(what: str) -> ReviewProblem:
    """Return the answer to a request for something that is not among the results."""
    return ReviewProblem(404, "not_found", f"Expected {what} among the results, found none; load the worklist again.")


def unusable(sentence: str) -> ReviewProblem:
    """Return the answer to a request whose content cannot be used."""
    return ReviewProblem(422, "unusable", sentence)


def conflict(expected: int, found: int) -> ReviewProblem:
    """Return the answer to an edit made on an older state than the one that is stored."""
    sentence = (
        f"Expected an edit of revision {found}, found one of revision {expected}: the case was edited elsewhere, "
        "perhaps in another window; load it again."
    )
    return ReviewProblem(409, "conflict", sentence)
