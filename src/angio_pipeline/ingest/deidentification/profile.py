"""The profile of PS3.15 Annex E as tables: what is done with every element, under which options.

The tables stand in `configs/deidentify/`; a user's own file adds to them. Nothing here looks at a file
of a patient: this module answers which action an element asks for, `dataset` carries it out.
"""

from __future__ import annotations

import csv
import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydicom.tag import BaseTag

from angio_pipeline.assets import configs_dir
from angio_pipeline.core.errors import ConfigError
from angio_pipeline.core.params import Params

__all__ = ["Action", "BlankRule", "Option", "Profile", "read_profile"]


class Option(StrEnum):
    """The options of PS3.15 E.3, by the names that the command takes."""

    CLEAN_PIXELS = "clean-pixels"
    CLEAN_GRAPHICS = "clean-graphics"
    CLEAN_STRUCTURED = "clean-structured-content"
    CLEAN_DESCRIPTORS = "clean-descriptors"
    FULL_DATES = "full-dates"
    MODIFIED_DATES = "modified-dates"
    PATIENT = "patient-characteristics"
    DEVICE = "device-identity"
    UIDS = "uids"
    SAFE_PRIVATE = "safe-private"
    INSTITUTION = "institution-identity"

    @property
    def code(self) -> tuple[str, str]:
        """Value and meaning in context group 7050."""
        return _CODES[self]


_CODES = {
    Option.CLEAN_PIXELS: ("113101", "Clean Pixel Data Option"),
    Option.CLEAN_GRAPHICS: ("113103", "Clean Graphics Option"),
    Option.CLEAN_STRUCTURED: ("113104", "Clean Structured Content Option"),
    Option.CLEAN_DESCRIPTORS: ("113105", "Clean Descriptors Option"),
    Option.FULL_DATES: ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    Option.MODIFIED_DATES: ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    Option.PATIENT: ("113108", "Retain Patient Characteristics Option"),
    Option.DEVICE: ("113109", "Retain Device Identity Option"),
    Option.UIDS: ("113110", "Retain UIDs Option"),
    Option.SAFE_PRIVATE: ("113111", "Retain Safe Private Option"),
    Option.INSTITUTION: ("113112", "Retain Institution Identity Option"),
}
_COLUMNS = {
    "uids": Option.UIDS,
    "device": Option.DEVICE,
    "institution": Option.INSTITUTION,
    "patient": Option.PATIENT,
    "full_dates": Option.FULL_DATES,
    "modified_dates": Option.MODIFIED_DATES,
    "descriptors": Option.CLEAN_DESCRIPTORS,
    "structured": Option.CLEAN_STRUCTURED,
    "graphics": Option.CLEAN_GRAPHICS,
}


class Action(StrEnum):
    """What is done with one element.

    Where the table leaves a choice (`X/Z/D`), the one is taken that leaves any kind of object valid: a
    stand-in before an empty value, an empty value before none.
    """

    REMOVE = "X"
    EMPTY = "Z"
    REPLACE = "D"
    UID = "U"
    CLEAN = "C"
    KEEP_TEXT = "K"  # as it stands, text included: device and institution


# Codes of the table by what is done: of several allowed actions the one that no kind of object forbids.
_BASIC = {
    "X": Action.REMOVE,
    "Z": Action.EMPTY,
    "D": Action.REPLACE,
    "U": Action.UID,
    "Z/D": Action.REPLACE,
    "X/Z": Action.EMPTY,
    "X/D": Action.REPLACE,
    "X/Z/D": Action.REPLACE,
    "X/Z/U*": Action.UID,
}


class BlankRule(Params):
    """Where a maker writes into pictures, and which pictures these are."""

    name: str
    sop_class: str | None = None
    modality: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    image_type: str | None = None
    rows: int | None = Field(default=None, ge=1)
    columns: int | None = Field(default=None, ge=1)
    rectangles: tuple[tuple[int, int, int, int], ...] = Field(min_length=1, description="row, column, rows, columns")

    @field_validator("rectangles")
    @classmethod
    def _with_area(cls, given: tuple[tuple[int, int, int, int], ...]) -> tuple[tuple[int, int, int, int], ...]:
        if any(rows < 1 or columns < 1 for _, _, rows, columns in given):
            raise ValueError("a rectangle has at least one row and one column")
        return given


class _Dates(Params):
    least_weeks: int = Field(default=52, ge=1)
    most_weeks: int = Field(default=520, ge=1)


class _Listed(Params):
    keep: tuple[str, ...] = ()


class _Tables(Params):
    options: tuple[Option, ...] | None = None
    dates: _Dates | None = None
    kinds: Mapping[Literal["image", "region", "capture", "drawing", "report", "document"], tuple[str, ...]] = {}
    binary: _Listed = _Listed()
    patterns: Mapping[str, str] = {}
    words: _Listed = _Listed()
    terms: _Listed = _Listed()
    private: tuple[tuple[str, str, str, str], ...] = Field((), description="creator, group, element, VR")
    blank: tuple[BlankRule, ...] = ()

    @field_validator("patterns")
    @classmethod
    def _compiles(cls, given: Mapping[str, str]) -> Mapping[str, str]:
        for keyword, pattern in given.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"the pattern of {keyword} is no regular expression ({error})") from None
        return given


@dataclass(frozen=True, eq=False)
class Profile:
    """All tables with the options chosen.

    Attributes
    ----------
    rows : mapping
        Element (eight hexadecimal digits, upper case) to its row of Table E.1-1.
    kinds : mapping
        SOP class to what it may hold.
    private : mapping
        Creator, group and element (two digits) of safe private elements to their VR.
    """

    options: frozenset[Option]
    rows: Mapping[str, Mapping[str, str]]
    kinds: Mapping[str, str]
    private: Mapping[tuple[str, int, int], str]
    terms: frozenset[str]
    words: frozenset[str]
    patterns: Mapping[str, re.Pattern[str]]
    binary: frozenset[str]
    blank: tuple[BlankRule, ...]
    weeks: tuple[int, int]
    told: str

    def action(self, tag: BaseTag) -> Action | None:
        """Return what is done with a public element; None where the table does not name it."""
        row = self._row(tag)
        if row is None:
            return None
        asked = {option: row[column] for column, option in _COLUMNS.items() if row[column] and option in self.options}
        if asked.get(Option.DEVICE) == "K" or asked.get(Option.INSTITUTION) == "K":
            return Action.KEEP_TEXT
        return Action.CLEAN if asked else _BASIC[row["basic"]]

    def may_be_empty(self, tag: BaseTag) -> bool:
        """Return whether no kind of object needs a value here, as far as the table tells."""
        row = None if tag.is_private else self._row(tag)
        return row is not None and "D" not in row["basic"]

    def _row(self, tag: BaseTag) -> Mapping[str, str] | None:
        return self.rows.get(f"{tag:08X}")

    @property
    def codes(self) -> tuple[tuple[str, str], ...]:
        """Value and meaning of the codes that say how an object was de-identified."""
        chosen = [option.code for option in Option if option in self.options]
        return (("113100", "Basic Application Confidentiality Profile"), *chosen)

    @cached_property
    def digest(self) -> str:
        """What changes with any table or option."""
        return hashlib.sha256(f"{self.told}|{sorted(self.options)}".encode()).hexdigest()[:16]


def read_profile(
    path: Path | None = None,
    *,
    options: Sequence[Option] | None = None,
    extra: Sequence[Option] = (),
) -> Profile:
    """Return the profile with its tables.

    Parameters
    ----------
    path : Path, optional
        A file of the user's own, of the form of `configs/deidentify/profile.toml`.
    options : sequence of Option, optional
        The options in place of the profile's own; none at all is the basic profile.
    extra : sequence of Option
        Options beside those.

    Raises
    ------
    ConfigError
        When a table cannot be read, names what there is not, or both full and modified dates are asked for.
    """
    folder = configs_dir() / "deidentify"
    own, told = _read_toml(folder / "profile.toml")
    given, more = _read_toml(path) if path is not None else (_Tables(), "")
    chosen = own.options if given.options is None else given.options
    wanted = frozenset(chosen or ()) if options is None else frozenset(options)
    wanted |= frozenset(extra)
    _check_dates(wanted)
    elements, private, terms = (
        (folder / name).read_text(encoding="utf-8") for name in ("elements.csv", "private.csv", "terms.txt")
    )
    dates = given.dates or own.dates or _Dates()
    return Profile(
        options=wanted,
        rows={row["tag"].upper(): row for row in csv.DictReader(elements.splitlines())},
        kinds={uid: kind for tables in (own, given) for kind, uids in tables.kinds.items() for uid in uids},
        private=_private([*list(csv.reader(private.splitlines()))[1:], *given.private]),
        terms=frozenset((*terms.splitlines(), *own.terms.keep, *given.terms.keep)),
        words=frozenset(word.lower() for word in (*own.words.keep, *given.words.keep)),
        patterns={keyword: re.compile(text) for keyword, text in {**own.patterns, **given.patterns}.items()},
        binary=frozenset((*own.binary.keep, *given.binary.keep)),
        blank=(*given.blank, *own.blank),
        weeks=(dates.least_weeks, max(dates.least_weeks, dates.most_weeks)),
        told="|".join((told, more, elements, private, terms)),
    )


def _check_dates(options: frozenset[Option]) -> None:
    if {Option.FULL_DATES, Option.MODIFIED_DATES} <= options:
        raise ConfigError("Expected full-dates or modified-dates, found both; leave one out.")


def _private(rows: Sequence[Sequence[str]]) -> dict[tuple[str, int, int], str]:
    try:
        return {(creator, int(group, 16), int(element, 16)): vr for creator, group, element, vr in rows}
    except ValueError:
        raise ConfigError(
            "Expected private elements as creator, group, element and VR, the numbers hexadecimal; found another row."
        ) from None


def _read_toml(path: Path) -> tuple[_Tables, str]:
    try:
        text = path.read_text(encoding="utf-8")
        content: dict[str, Any] = tomllib.loads(text)
        return _Tables.model_validate(content), text
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"Expected a profile as TOML in {path.name}, found: {error}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"Expected a profile in {path.name}, found: {place}: {first['msg']}.") from None
