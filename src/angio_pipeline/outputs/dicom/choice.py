"""Which objects are written, and whether they say who the patient is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from angio_pipeline.core.errors import ConfigError

__all__ = ["DEFAULT_OBJECTS", "ObjectChoice", "ObjectKind", "choose_objects"]


class ObjectKind(StrEnum):
    """The objects, by the name that asks for them."""

    SEG = "seg"
    SR = "sr"
    SUMMARY = "summary"
    PROBABILITY = "probability"
    MAPS = "maps"
    PRESENTATION = "presentation"
    CINE = "cine"
    SUBTRACTED = "subtracted"


_BY_DEFAULT = (ObjectKind.SEG, ObjectKind.SR, ObjectKind.SUMMARY)


@dataclass(frozen=True, slots=True)
class ObjectChoice:
    """Objects in their fixed order; pseudonymous unless `keep_identity`."""

    kinds: tuple[ObjectKind, ...] = _BY_DEFAULT
    keep_identity: bool = False


DEFAULT_OBJECTS = ObjectChoice()


def choose_objects(names: Sequence[str] = (), *, keep_identity: bool = False) -> ObjectChoice:
    """Return the choice that names make: kinds, or `all`, `none` or `default` among them; without any, the default.

    Raises
    ------
    ConfigError
        When a name is none of these, or `none` stands beside another.
    """
    sets = {"all": tuple(ObjectKind), "none": (), "default": _BY_DEFAULT}
    known = {kind.value: (kind,) for kind in ObjectKind} | sets
    wrong = [name for name in names if name not in known]
    if wrong or ("none" in names and len(set(names)) > 1):
        found = wrong[0] if wrong else "none beside others"
        raise ConfigError(f"Expected --dicom as one of {', '.join(known)}, found {found}.")
    wanted = {kind for name in names or ("default",) for kind in known[name]}
    return ObjectChoice(tuple(kind for kind in ObjectKind if kind in wanted), keep_identity)
