"""Which objects are let through at all: what nothing here can clean is refused by name, with the reason.

A text within an element can be cleaned; one within a picture, a document or a drawing cannot be seen by a
program that reads elements. So kinds of objects are let through by a list, pictures of screens, reports
and drawings on request alone, and a picture that says that it holds annotations needs a rule that says where.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from pydicom.dataset import Dataset

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest.deidentification.profile import BlankRule, Option, Profile
from angio_pipeline.ingest.headers import integer, text, texts

__all__ = ["Accept", "check_kind", "needs_pixels", "rules_for"]

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SEGMENTATIONS = {_STORAGE + "66.4", _STORAGE + "66.7"}


class Accept(StrEnum):
    """What is let through on request, pixels as they are."""

    CAPTURE = "capture"
    BURNED_IN = "burned-in"


def check_kind(dataset: Dataset, profile: Profile, accept: Sequence[Accept] = ()) -> str:
    """Return what kind of object it is, by its SOP class and how its picture came about.

    Raises
    ------
    InputRefused
        `capture`, `document`, `report`, `drawing`, `bad_header`, `not_ours`.
    """
    sop_class = _class_of(dataset)
    if not sop_class:
        raise InputRefused("Expected a SOPClassUID, found none; export it again.", reason="bad_header")
    kind = profile.kinds.get(sop_class, "")
    if kind == "image" and _is_screen(dataset):
        kind = "capture"
    if kind in _SENTENCES and not _is_allowed(kind, profile, accept):
        raise InputRefused(_SENTENCES[kind], reason=kind)
    if not kind:
        raise InputRefused(
            "Expected a kind of object of the profile's list, found another; add its SOP class with --profile.",
            reason="not_ours",
        )
    return kind


def needs_pixels(dataset: Dataset, profile: Profile) -> bool:
    """Return whether an object is an image of the profile's list; reports, drawings and structure sets are none."""
    sop_class = _class_of(dataset)
    kind = profile.kinds.get(sop_class, "")
    return kind in ("image", "capture") or sop_class in _SEGMENTATIONS or (bool(kind) and "Rows" in dataset)


def _class_of(dataset: Dataset) -> str:
    return text(dataset, "SOPClassUID") or text(getattr(dataset, "file_meta", dataset), "MediaStorageSOPClassUID")


_SENTENCES = {
    "capture": "Expected an image, found a picture of a screen, whose text cannot be cleaned; look at it, then give "
    "--accept capture.",
    "document": "Expected images, found a document, whose text cannot be cleaned; leave it out.",
    "report": "Expected images, found a report; give --option clean-structured-content to have its items cleaned.",
    "drawing": "Expected images, found drawings over an image; give --option clean-graphics to have them cleaned.",
}


def _is_allowed(kind: str, profile: Profile, accept: Sequence[Accept]) -> bool:
    if kind == "capture":
        return Accept.CAPTURE in accept
    needed = {"report": Option.CLEAN_STRUCTURED, "drawing": Option.CLEAN_GRAPHICS}.get(kind)
    return needed in profile.options


def _is_screen(dataset: Dataset) -> bool:
    """Return whether an image object holds a picture of a screen: dose sheets and the like come as CT."""
    types = [value.upper() for value in texts(dataset, "ImageType")]
    return any("SCREEN" in value for value in types) or bool(text(dataset, "ConversionType"))


def rules_for(dataset: Dataset, profile: Profile, accept: Sequence[Accept] = ()) -> tuple[BlankRule, ...]:
    """Return the rules whose rectangles are to be blanked in this image; none without pixels.

    Raises
    ------
    InputRefused
        `burned_in`: the image says that it holds annotations, and no rule says where.
    """
    found = tuple(rule for rule in profile.blank if _fits(rule, dataset)) if _blanks(profile) else ()
    said = text(dataset, "BurnedInAnnotation").upper() == "YES"
    if said and not found and Accept.BURNED_IN not in accept:
        raise InputRefused(
            "Expected an image without burned-in annotation, found one that says it has some and no rule that says "
            "where; add a rule with --profile, or give --accept burned-in.",
            reason="burned_in",
        )
    return found


def _blanks(profile: Profile) -> bool:
    return Option.CLEAN_PIXELS in profile.options


def _fits(rule: BlankRule, dataset: Dataset) -> bool:
    types = [value.upper() for value in texts(dataset, "ImageType")]
    return (
        rule.sop_class in (None, text(dataset, "SOPClassUID"))
        and rule.modality in (None, text(dataset, "Modality").upper())
        and (rule.manufacturer or "").lower() in text(dataset, "Manufacturer").lower()
        and (rule.model or "").lower() in text(dataset, "ManufacturerModelName").lower()
        and (rule.image_type is None or rule.image_type.upper() in types)
        and rule.rows in (None, integer(dataset, "Rows"))
        and rule.columns in (None, integer(dataset, "Columns"))
    )
