"""One data set, element by element and item by item: what the profile asks for is carried out here.

The order of judgement: private and unknown elements go (safe private ones may stay); an element of the
table is treated as its row says under the options; everything else, and everything that the table only
asks to be cleaned, passes `values.clean_value`. Sequences are entered wherever they stay.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID

from angio_pipeline.ingest.deidentification.profile import Action, Option
from angio_pipeline.ingest.deidentification.values import (
    BINARY_VRS,
    TEXT_VRS,
    Change,
    Patient,
    clean_value,
    stand_in,
)

__all__ = ["Changes", "clean_dataset"]

_PSEUDONYMS = frozenset({"PatientID", "PatientName", "ClinicalTrialSubjectID"})
_NUMERIC_VRS = frozenset({"US", "SS", "UL", "SL", "FL", "FD", "UV", "SV", "AT"})
_SAFE_PRIVATE_VRS = _NUMERIC_VRS | {"DS", "IS", "CS"}
_CODE_VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")
_CODE_KEYWORDS = frozenset({*_CODE_VALUES, "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning"})
_UNKNOWN_CODE = ("261665006", "SCT", "Unknown")
_DEEPEST = 32
# Curves and overlays: what is drawn in them may be handwriting, and their sizes without them say nothing.
_BITMAPS = frozenset((*range(0x5000, 0x5100, 2), *range(0x6000, 0x6100, 2)))


@dataclass(slots=True)
class Changes:
    """How often each element was changed, and how: (tag, keyword, change) to a number. Values are not kept."""

    counts: Counter[tuple[str, str, Change]] = field(default_factory=Counter)

    def add(self, tag: BaseTag, change: Change) -> None:
        """Count one change; a private element is told by its group alone, as its creator is text from the file."""
        if tag.is_private:
            self.counts[f"({tag.group:04X},xxxx)", "private", change] += 1
        else:
            self.counts[f"({tag.group:04X},{tag.element:04X})", keyword_for_tag(tag), change] += 1


def clean_dataset(dataset: Dataset, patient: Patient, changes: Changes, *, depth: int = 0) -> None:
    """De-identify a data set and everything nested in it, in place."""
    private = _safe_private(dataset, patient)
    if _is_code(dataset):
        _clean_code(dataset, changes)
    for tag in list(dataset.keys()):
        if tag.is_private:
            change = _clean_private(dataset, tag, private, patient)
        else:
            change = _clean_public(dataset, tag, patient, changes, depth)
        if change is not None:
            changes.add(tag, change)


def _safe_private(dataset: Dataset, patient: Patient) -> dict[BaseTag, str]:
    """Return the private elements that stay with their VR, and the creators of their blocks."""
    if Option.SAFE_PRIVATE not in patient.profile.options:
        return {}
    kept: dict[BaseTag, str] = {}
    for tag in list(dataset.keys()):
        if not tag.is_private or tag.element < 0x1000:
            continue
        creator = BaseTag((tag.group << 16) | (tag.element >> 8))
        name = _text_of(dataset, creator)
        vr = patient.profile.private.get((name, tag.group, tag.element & 0xFF))
        if vr in _SAFE_PRIVATE_VRS:
            kept[tag], kept[creator] = vr, "LO"
    return kept


def _text_of(dataset: Dataset, tag: BaseTag) -> str:
    try:
        return str(dataset[tag].value).strip("\0 ") if tag in dataset else ""
    except Exception:  # pydicom raises errors of almost any type on a broken element
        return ""


def _clean_private(dataset: Dataset, tag: BaseTag, kept: dict[BaseTag, str], patient: Patient) -> Change | None:
    vr = kept.get(tag)
    if vr is None:
        del dataset[tag]
        return Change.REMOVED
    if tag.element < 0x100:  # the creator: its text is one of the list
        return None
    return _clean_by_kind(dataset, tag, vr, "", patient)


def _clean_public(dataset: Dataset, tag: BaseTag, patient: Patient, changes: Changes, depth: int) -> Change | None:
    if tag.element == 0 or tag.group in (0x0000, 0x0002):  # lengths of groups, and what belongs into other places
        del dataset[tag]
        return None
    if tag.group in _BITMAPS or not _is_known(tag):
        del dataset[tag]
        return Change.REMOVED
    keyword = keyword_for_tag(tag)
    if keyword in _CODE_KEYWORDS and _is_code(dataset):
        return None  # judged as a whole before
    action = patient.profile.action(tag)
    if action is Action.REMOVE:
        del dataset[tag]
        return Change.REMOVED
    try:
        element = dataset[tag]
    except Exception:  # pydicom raises errors of almost any type on a broken element
        del dataset[tag]
        return Change.REMOVED
    vr = _vr(element, tag)
    if vr == "SQ":
        return _clean_sequence(dataset, element, action, patient, changes, depth)
    if element.is_empty:
        dataset[tag] = DataElement(tag, vr, None)
        return None
    return _replace(dataset, tag, vr, keyword, action, patient)


def _is_known(tag: BaseTag) -> bool:
    try:
        dictionary_VR(tag)
    except KeyError:
        return False
    return True


def _vr(element: DataElement, tag: BaseTag) -> str:
    """Return the VR that the standard gives the element; what the file says holds only where it has a choice."""
    allowed = dictionary_VR(tag).split(" or ")
    return element.VR if element.VR in allowed else allowed[0]


def _clean_sequence(
    dataset: Dataset, element: DataElement, action: Action | None, patient: Patient, changes: Changes, depth: int
) -> Change | None:
    if not isinstance(element.value, Sequence) or depth >= _DEEPEST:
        del dataset[element.tag]
        return Change.REMOVED
    if action is Action.EMPTY and len(element.value):
        dataset[element.tag] = DataElement(element.tag, "SQ", Sequence())
        return Change.EMPTIED
    for item in element.value:
        clean_dataset(item, patient, changes, depth=depth + 1)
    # Written anew: an item may have been read with another encoding than the file's.
    dataset[element.tag] = DataElement(element.tag, "SQ", element.value)
    return None


def _replace(
    dataset: Dataset, tag: BaseTag, vr: str, keyword: str, action: Action | None, patient: Patient
) -> Change | None:
    if keyword in _PSEUDONYMS:
        return _set(dataset, tag, vr, patient.subject, Change.REPLACED)
    if action is Action.EMPTY:
        return _set(dataset, tag, vr, None, Change.EMPTIED)
    if action is Action.REPLACE:
        value = patient.keyed.uid(_text_of(dataset, tag)) if vr == "UI" else stand_in(vr)
        return _set(dataset, tag, vr, value, Change.REPLACED)
    if action is Action.KEEP_TEXT and vr in TEXT_VRS | {"AE"}:
        return None if isinstance(dataset[tag].value, str | MultiValue) else _remove(dataset, tag)
    if action is Action.KEEP_TEXT and vr == "UI" and UID(_text_of(dataset, tag)).is_valid:  # a device's own
        return None
    return _clean_by_kind(dataset, tag, vr, keyword, patient)


def _set(dataset: Dataset, tag: BaseTag, vr: str, value: Any, change: Change) -> Change:
    dataset[tag] = DataElement(tag, vr, value)
    return change


def _remove(dataset: Dataset, tag: BaseTag) -> Change:
    del dataset[tag]
    return Change.REMOVED


def _clean_by_kind(dataset: Dataset, tag: BaseTag, vr: str, keyword: str, patient: Patient) -> Change | None:
    try:
        value = dataset[tag].value
    except Exception:  # pydicom raises errors of almost any type on a broken element
        return _remove(dataset, tag)
    if vr in _NUMERIC_VRS:
        return None if _is_numeric(value) else _remove(dataset, tag)
    if vr in BINARY_VRS:
        return None if keyword in patient.profile.binary and isinstance(value, bytes) else _remove(dataset, tag)
    if isinstance(value, bytes):  # text in an element without a VR (UN)
        value = value.decode("latin-1")
    parts = list(value) if isinstance(value, MultiValue | list) else [value]
    texts = [str(part) for part in parts]
    cleaned = [clean_value(text, vr, keyword, patient) for text in texts]
    if cleaned == [text.strip("\0 ") for text in texts]:
        # Set again where the file gave another VR than the standard has.
        dataset[tag] = DataElement(tag, vr, value)
        return None
    if not any(cleaned):
        return _set_nothing(dataset, tag, vr, keyword, patient)
    return _set_cleaned(dataset, tag, vr, cleaned)


def _set_nothing(dataset: Dataset, tag: BaseTag, vr: str, keyword: str, patient: Patient) -> Change:
    """Set what stands where nothing of a value was left; text that some kind of object needs has a stand-in."""
    if keyword == "SpecificCharacterSet":
        return _remove(dataset, tag)
    if vr == "CS" or (vr in TEXT_VRS and not patient.profile.may_be_empty(tag)):
        return _set(dataset, tag, vr, stand_in(vr), Change.REPLACED)
    return _set(dataset, tag, vr, None, Change.EMPTIED)


def _set_cleaned(dataset: Dataset, tag: BaseTag, vr: str, cleaned: list[str | None]) -> Change:
    if vr == "CS" or vr in TEXT_VRS:
        # Values have their places (the third of ImageType): one that goes leaves a stand-in there.
        filled = [str(stand_in(vr)) if one is None else one for one in cleaned]
    else:
        filled = [one for one in cleaned if one is not None]
    change = {"UI": Change.REMAPPED, "DA": Change.SHIFTED, "DT": Change.SHIFTED}.get(vr, Change.CLEANED)
    return _set(dataset, tag, vr, filled if len(filled) > 1 else filled[0], change)


def _is_numeric(value: Any) -> bool:
    parts = value if isinstance(value, MultiValue | list) else [value]
    return all(isinstance(part, int | float) for part in parts)


def _is_code(dataset: Dataset) -> bool:
    return any(name in dataset for name in _CODE_VALUES)


def _clean_code(item: Dataset, changes: Changes) -> None:
    """Leave a coded entry only as the code's own dictionary has it: the meaning in a file may be anything."""
    scheme = _text_of(item, _TAGS["CodingSchemeDesignator"])
    value = next((text for name in _CODE_VALUES if (text := _text_of(item, _TAGS[name]))), "")
    meaning = _known_codes().get((scheme, value))
    known = (value, scheme, meaning) if meaning is not None else _UNKNOWN_CODE
    before = (value, scheme, _text_of(item, _TAGS["CodeMeaning"]))
    for name in _CODE_KEYWORDS:
        if name in item:
            del item[name]
    value, scheme, meaning = known
    setattr(item, "CodeValue" if len(value) <= 16 else "LongCodeValue", value)
    item.CodingSchemeDesignator, item.CodeMeaning = scheme, meaning[:64]
    if known != before:
        changes.add(_TAGS["CodeMeaning"], Change.CLEANED if known[:2] == before[:2] else Change.REPLACED)


_TAGS = {
    "CodeValue": BaseTag(0x00080100),
    "CodingSchemeDesignator": BaseTag(0x00080102),
    "CodeMeaning": BaseTag(0x00080104),
    "LongCodeValue": BaseTag(0x00080119),
    "URNCodeValue": BaseTag(0x00080120),
}


@cache
def _known_codes() -> dict[tuple[str, str], str]:
    """Return the codes of PS3.16 with their meanings; SNOMED's old numbers (SRT) as well."""
    from pydicom.sr._concepts_dict import concepts
    from pydicom.sr._snomed_dict import mapping

    found: dict[tuple[str, str], str] = {}
    catalogue: Any = concepts
    for scheme, named in catalogue.items():
        for codes in named.values():
            for value, (meaning, _) in codes.items():  # of several, the plainest
                found[scheme, value] = min(meaning, found.get((scheme, value), meaning), key=len)
    for old, new in mapping["SRT"].items():
        if ("SCT", new) in found:
            found["SRT", old] = found["SCT", new]
    return found
