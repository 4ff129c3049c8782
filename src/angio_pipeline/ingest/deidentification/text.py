"""Free text: what is left of it are words that name nobody.

A list of what identifies a person can never be complete, a list of words that do not can be short. So
text keeps the words of `configs/deidentify/profile.toml`, codes of one letter and up to two digits, and
lone numbers of up to two digits (two beside each other may be a date); all else goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from angio_pipeline.ingest.deidentification.profile import Profile

__all__ = ["clean_text"]

_PIECE = re.compile(r"[^\s,;:()\[\]{}|\"'<>=+*&#!?\\^~]+")
_PART = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
_CODE = re.compile(r"[A-Za-z]\d{1,2}")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]+")


def clean_text(text: str, profile: Profile, keyword: str = "") -> str:
    """Return what may leave of a text; the text itself where its element's pattern fits all of it."""
    plain = text.strip("\0 ")
    pattern = profile.patterns.get(keyword)
    if pattern is not None and pattern.fullmatch(plain):
        return plain
    kept = [piece for match in _PIECE.finditer(plain) for piece in _pieces(match[0], profile)]
    return " ".join(_without_neighbours(kept))


def _pieces(piece: str, profile: Profile) -> Iterator[str]:
    """Yield what stays of one piece between blanks; an empty string marks where something went."""
    if piece.lower() in profile.words or _is_small(piece):
        yield piece
    elif _WIDE.search(piece):  # written without blanks: the known words within it
        yield from _wide_words(piece, profile)
    else:
        parts = _PART.findall(piece)
        # Numbers tied to others (03.04.24, 12/5) may be a date or a file number, so they need a word beside them.
        words = [part for part in parts if part.lower() in profile.words]
        yield from words if words else [""]


def _wide_words(piece: str, profile: Profile) -> Iterator[str]:
    known = sorted((word for word in profile.words if _WIDE.search(word)), key=len, reverse=True)
    found = re.findall("|".join(map(re.escape, known)), piece) if known else []
    yield from found or [""]


def _is_small(piece: str) -> bool:
    return bool(_CODE.fullmatch(piece) or re.fullmatch(r"[0-9]{1,2}", piece))


def _without_neighbours(pieces: list[str]) -> list[str]:
    """Leave out numbers and codes beside one another or beside a gap: pieces of a longer one."""

    def alone(index: int) -> bool:
        around = pieces[max(index - 1, 0) : index] + pieces[index + 1 : index + 2]
        return not any(one == "" or _is_small(one) for one in around)

    return [one for i, one in enumerate(pieces) if one and (not _is_small(one) or alone(i))]
