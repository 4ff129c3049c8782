"""What an object is: the one rule by which discovery and the catalogue sort files.

Two steps. `kind_of` takes the SOP class, or the modality where a file names no class; discovery needs no
more. `role_of` says what it is in the course of a treatment, and on which tags and values that rests:

1. A multi-frame projection whose C-arm turned, or that is named so, is a rotation (the raw frames of a
   cone-beam CT); with the radiation setting of fluoroscopy (`SC`), or named so, fluoroscopy; else a DSA run.
   One frame is a single shot.
2. A CT is cone-beam where its class or modality says C-arm, or its names or its machine do; else CT.
3. The phase of contrast is what the names say; where they say nothing or several things, the seconds from the
   start of the bolus; where there are none either, only that a contrast agent is named.

Evidence holds codes, numbers and the words of this module that matched, never text from a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

__all__ = ["ROLE_TAGS", "Kind", "Phase", "Read", "Role", "RoleCall", "is_localizer", "kind_of", "role_of", "vendor_of"]

Read = Callable[[str], str]
"""From a keyword to its value as text: empty where it is absent, several values joined by a backslash."""

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_NAMES = ("SeriesDescription", "ProtocolName", "AcquisitionProtocolName")
ROLE_TAGS = (
    *_NAMES,
    "AcquisitionTime",
    "ContrastBolusAgent",
    "ContrastBolusStartTime",
    "ImageType",
    "Manufacturer",
    "ManufacturerModelName",
    "MediaStorageSOPClassUID",
    "Modality",
    "NumberOfFrames",
    "PositionerMotion",
    "RadiationSetting",
    "SOPClassUID",
)


class Kind(StrEnum):
    """What a file holds by its class."""

    PROJECTION = "projection"
    FILM = "film"
    SLICE = "slice"
    VOLUME = "volume"
    REGION = "region"
    PRESENTATION = "presentation"
    CAPTURE = "capture"
    REPORT = "report"
    OTHER = "other"


class Role(StrEnum):
    """What an object is in the course of a treatment."""

    DSA_RUN = "dsa_run"
    SINGLE_SHOT = "single_shot"
    FLUOROSCOPY = "fluoroscopy"
    ROTATION = "rotation"
    CONE_BEAM_CT = "cone_beam_ct"
    CT = "ct"
    LOCALIZER = "localizer"
    RADIOGRAPH = "radiograph"
    SECONDARY_CAPTURE = "secondary_capture"
    REPORT = "report"
    REGION = "region"
    PRESENTATION_STATE = "presentation_state"
    NOT_OURS = "not_ours"


class Phase(StrEnum):
    """Which passage of contrast a CT shows; `contrast` where only that there is some is known."""

    PLAIN = "plain"
    ARTERIAL = "arterial"
    PORTAL_VENOUS = "portal_venous"
    DELAYED = "delayed"
    CONTRAST = "contrast"


@dataclass(frozen=True, slots=True)
class RoleCall:
    """A role with what it rests on."""

    role: Role
    phase: Phase | None
    evidence: str


def _classes(*ends: str) -> dict[str, str]:
    return dict.fromkeys((_STORAGE + end for end in ends), "")


_CAPTURES = frozenset(_classes("7", "7.1", "7.2", "7.3", "7.4"))
_ROTATED = _STORAGE + "13.1.1"
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(_classes("12.1", "12.1.1", "12.2", "12.2.1", "12.3"), Kind.PROJECTION),
    **dict.fromkeys(_classes("1", "1.1", "1.1.1"), Kind.FILM),
    **dict.fromkeys(_classes("2"), Kind.SLICE),
    **dict.fromkeys(_classes("2.1", "2.2", "13.1.1"), Kind.VOLUME),
    **dict.fromkeys(_classes("66.4", "66.7", "481.3"), Kind.REGION),
    **dict.fromkeys(_classes("11.1", "11.5"), Kind.PRESENTATION),
    **dict.fromkeys(_classes("104.1", "104.2"), Kind.REPORT),
    **dict.fromkeys(_CAPTURES, Kind.CAPTURE),
}
_BY_MODALITY = {
    "CT": Kind.SLICE, "XA": Kind.PROJECTION, "RF": Kind.PROJECTION, "DX": Kind.FILM, "CR": Kind.FILM,
}  # fmt: skip


def kind_of(read: Read) -> Kind:
    """Return what a file holds by its class; by its modality where it names none."""
    sop_class, modality = read("SOPClassUID") or read("MediaStorageSOPClassUID"), read("Modality").upper()
    if not sop_class:
        return _BY_MODALITY.get(modality, Kind.OTHER)
    if sop_class in _CAPTURES and modality in ("XA", "RF"):
        return Kind.PROJECTION
    if sop_class.startswith(_STORAGE + "88."):
        return Kind.REPORT
    return _KINDS.get(sop_class, Kind.OTHER)


def is_localizer(read: Read) -> bool:
    """Return whether a CT image is a scout view."""
    types = (value.strip().upper() for value in read("ImageType").split("\\"))
    return kind_of(read) is Kind.SLICE and "LOCALIZER" in types


def role_of(read: Read) -> RoleCall:
    """Return what an object is in the course of a treatment, and the tags and values that say so."""
    kind = kind_of(read)
    seen = [_of_class(read)]
    if kind is Kind.PROJECTION:
        return RoleCall(_of_projection(read, seen), None, "; ".join(seen))
    if kind in (Kind.SLICE, Kind.VOLUME):
        return _of_ct(read, seen)
    if kind is Kind.FILM and _frames(read, seen) > 1:
        return RoleCall(Role.NOT_OURS, None, "; ".join(seen))
    return RoleCall(_PLAIN_ROLES[kind], None, "; ".join(seen))


_PLAIN_ROLES = {
    Kind.FILM: Role.RADIOGRAPH,
    Kind.REGION: Role.REGION,
    Kind.PRESENTATION: Role.PRESENTATION_STATE,
    Kind.CAPTURE: Role.SECONDARY_CAPTURE,
    Kind.REPORT: Role.REPORT,
    Kind.OTHER: Role.NOT_OURS,
}


def _of_class(read: Read) -> str:
    # Values go through the form that they must have: whatever else a file holds there is not repeated.
    sop_class, modality = read("SOPClassUID") or read("MediaStorageSOPClassUID"), read("Modality").upper()
    told = sop_class if re.fullmatch(r"[0-9.]{1,64}", sop_class) else "none"
    return f"SOPClassUID={told}; Modality={modality if re.fullmatch('[A-Z]{1,16}', modality) else 'none'}"


def _frames(read: Read, seen: list[str]) -> int:
    told = read("NumberOfFrames")
    frames = int(told) if re.fullmatch(r"\d{1,9}", told) else 1
    seen.append(f"NumberOfFrames={frames}")
    return frames


_TURNS = re.compile(
    r"(?P<rotation>rotat)|(?P<three_d>3[ _-]?d[ _-]?(?:ra|a|dsa|dra|angio)(?![a-z]))|(?P<spin>(?<![a-z])spin(?![a-z]))"
    r"|(?P<cone_beam>cone[ _-]?beam|cb-?ct|dyna[ _-]?ct|xper[ _-]?ct|vaso[ _-]?ct|innova[ _-]?ct)",
    re.IGNORECASE,
)
_FLUORO = re.compile(
    r"(?P<fluoroscopy>fluoro|durchleuchtung|scopie|透[视視])|(?P<fl>(?<![a-z])(?:fl|fluo|dl)(?![a-z]))"
    r"|(?P<roadmap>road[ _-]?map)",
    re.IGNORECASE,
)
_C_ARMS = re.compile(
    r"(?P<artis>artis|axiom)|(?P<allura>allura|azurion)|(?P<innova>innova|discovery igs|allia)"
    r"|(?P<infinix>infinix|alphenix)|(?P<trinias>trinias)",
    re.IGNORECASE,
)


def _of_projection(read: Read, seen: list[str]) -> Role:
    if _frames(read, seen) < 2:
        return Role.SINGLE_SHOT
    if read("PositionerMotion").upper() == "DYNAMIC":
        seen.append("PositionerMotion=DYNAMIC")
        return Role.ROTATION
    if _named(_TURNS, read, _NAMES, seen):
        return Role.ROTATION
    setting = read("RadiationSetting").upper()
    if setting in ("SC", "GR"):
        seen.append(f"RadiationSetting={setting}")
        return Role.FLUOROSCOPY if setting == "SC" else Role.DSA_RUN
    return Role.FLUOROSCOPY if _named(_FLUORO, read, _NAMES, seen) else Role.DSA_RUN


def _named(pattern: re.Pattern[str], read: Read, keywords: tuple[str, ...], seen: list[str]) -> bool:
    for keyword in keywords:
        word = _first_word(pattern, read(keyword))
        if word:
            seen.append(f"{keyword}~{word}")
            return True
    return False


@lru_cache(maxsize=4096)  # the slices of a series carry the same names
def _first_word(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return (match.lastgroup or "") if match else ""


def _of_ct(read: Read, seen: list[str]) -> RoleCall:
    if is_localizer(read):
        seen.append("ImageType=LOCALIZER")
        return RoleCall(Role.LOCALIZER, None, "; ".join(seen))
    turned = (read("SOPClassUID") == _ROTATED or read("Modality").upper() == "XA") or _named(_TURNS, read, _NAMES, seen)
    cone_beam = turned or _named(_C_ARMS, read, ("ManufacturerModelName",), seen)
    phase = _phase(read, seen)
    return RoleCall(Role.CONE_BEAM_CT if cone_beam else Role.CT, phase, "; ".join(seen))


_PHASE_WORDS = {
    Phase.PLAIN: r"(?<![a-z])(?:plain|nativ\w*|non[ _-]?contrast|unenhanced|with?out[ _-]?contrast|w/?o[ _-]?contrast"
    r"|ohne[ _-]?km|sans[ _-]?(?:injection|contraste)|sin[ _-]?contraste|senza[ _-]?mdc)(?![a-z])|平[扫掃]|単純",
    Phase.ARTERIAL: r"art[eé]ri(?:al|el|ell|a)(?![a-z])|(?<![a-z])(?:art|hap|aortic)(?![a-z])|[动動][脉脈]期?",
    Phase.PORTAL_VENOUS: r"portal|porto[ _-]?ven|ven(?:ous|ös|oes)|(?<![a-z])(?:pv|pvp|ven)(?![a-z])"
    r"|[门門]静?[脉脈]|静脉期",
    Phase.DELAYED: r"delay|(?<![a-z])late(?![ _-]*art)(?![a-z])|equilib|(?<![a-z])sp[aä]t(?![a-z])|tardi|延[迟遲]|平衡",
}
_PHASES = {phase: re.compile(pattern, re.IGNORECASE) for phase, pattern in _PHASE_WORDS.items()}
# Seconds after the start of the bolus, set by hand; between them a phase is not told.
_SECONDS = {Phase.ARTERIAL: (15, 45), Phase.PORTAL_VENOUS: (50, 110), Phase.DELAYED: (120, 900)}


def _phase(read: Read, seen: list[str]) -> Phase | None:
    named: dict[Phase, str] = {}
    for keyword in _NAMES:
        for phase in _phases_in(read(keyword)):
            named.setdefault(phase, keyword)
    seen += [f"{keyword}~{phase.value}" for phase, keyword in named.items()]
    if len(named) == 1:
        return next(iter(named))
    seconds = _seconds_between(read("ContrastBolusStartTime"), read("AcquisitionTime"))
    if seconds is not None:
        for phase, (least, most) in _SECONDS.items():
            if least <= seconds <= most:
                seen.append(f"seconds after ContrastBolusStartTime={seconds:.0f}")
                return phase
    if read("ContrastBolusAgent"):
        seen.append("ContrastBolusAgent=present")
        return Phase.CONTRAST
    return None


@lru_cache(maxsize=4096)
def _phases_in(text: str) -> tuple[Phase, ...]:
    return tuple(phase for phase, pattern in _PHASES.items() if pattern.search(text)) if text else ()


def _seconds_between(start: str, end: str) -> float | None:
    moments = [re.fullmatch(r"(\d\d):?(\d\d):?(\d\d(?:\.\d{1,6})?)", text) for text in (start, end)]
    if moments[0] is None or moments[1] is None:
        return None
    first, last = (int(m[1]) * 3600 + int(m[2]) * 60 + float(m[3]) for m in moments if m is not None)
    return last - first


_VENDORS = {
    "siemens": "siemens", "philips": "philips", "ge ": "ge", "general electric": "ge", "canon": "canon",
    "toshiba": "canon", "shimadzu": "shimadzu", "ziehm": "ziehm", "hitachi": "fujifilm", "fujifilm": "fujifilm",
    "agfa": "agfa", "carestream": "carestream",
}  # fmt: skip


@lru_cache(maxsize=1024)
def vendor_of(manufacturer: str) -> str:
    """Return the maker's short name from a fixed list, `other`, or empty where the file names none."""
    told = f"{manufacturer.casefold()} "
    if not told.strip():
        return ""
    return next((vendor for word, vendor in _VENDORS.items() if told.startswith(word) or f" {word}" in told), "other")
