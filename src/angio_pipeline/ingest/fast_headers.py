"""The elements by which files are sorted, read from a file's first bytes: what makes a disk of files quick to scan.

One read of the first 32 KiB, a walk over the tags of the top level, values taken as they stand. Only plain
files are read here: part 10, explicit or implicit little endian, known value representations and character
sets. Whatever is otherwise (deflated, big endian, functional groups, odd lengths, lists where one value is
expected) goes the long way, through `headers.read_header`, so that this module never has to guess.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from pydicom.charset import python_encoding

from angio_pipeline.ingest.elements import read_from
from angio_pipeline.ingest.headers import PixelElement, read_header

__all__ = ["WANTED", "WINDOW", "Head", "read_at", "read_fast", "read_head", "read_slowly"]

WINDOW = 32 << 10
"""Bytes of a file that are read at first."""
_LARGEST = 1 << 20
_UNDEFINED = 0xFFFFFFFF
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_EXPLICIT, _IMPLICIT = b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2"
# Encapsulated pixels lie in files of explicit little endian; these transfer syntaxes are all of them.
_COMPRESSED = (b"1.2.840.10008.1.2.4.", b"1.2.840.10008.1.2.5")
_PIXEL_GROUP = b"\xe0\x7f"
_PIXEL_ELEMENTS = {b"\x08\x00": 0x0008, b"\x09\x00": 0x0009, b"\x10\x00": 0x0010}
_GROUPS_OF_FRAMES = b"\x00\x52"
_META_GROUP = b"\x02\x00"
_ITEM, _ITEM_END, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"

WANTED: dict[str, tuple[int, str]] = {
    "MediaStorageSOPClassUID": (0x00020002, "UI"),
    "MediaStorageSOPInstanceUID": (0x00020003, "UI"),
    "TransferSyntaxUID": (0x00020010, "UI"),
    "SpecificCharacterSet": (0x00080005, "CS"),
    "ImageType": (0x00080008, "CS"),
    "SOPClassUID": (0x00080016, "UI"),
    "SOPInstanceUID": (0x00080018, "UI"),
    "StudyDate": (0x00080020, "DA"),
    "SeriesDate": (0x00080021, "DA"),
    "AcquisitionDate": (0x00080022, "DA"),
    "ContentDate": (0x00080023, "DA"),
    "AcquisitionDateTime": (0x0008002A, "DT"),
    "StudyTime": (0x00080030, "TM"),
    "SeriesTime": (0x00080031, "TM"),
    "AcquisitionTime": (0x00080032, "TM"),
    "ContentTime": (0x00080033, "TM"),
    "Modality": (0x00080060, "CS"),
    "Manufacturer": (0x00080070, "LO"),
    "SeriesDescription": (0x0008103E, "LO"),
    "ManufacturerModelName": (0x00081090, "LO"),
    "PatientName": (0x00100010, "PN"),
    "PatientID": (0x00100020, "LO"),
    "IssuerOfPatientID": (0x00100021, "LO"),
    "PatientBirthDate": (0x00100030, "DA"),
    "ContrastBolusAgent": (0x00180010, "LO"),
    "ProtocolName": (0x00181030, "LO"),
    "ContrastBolusStartTime": (0x00181042, "TM"),
    "RadiationSetting": (0x00181155, "CS"),
    "PositionerMotion": (0x00181500, "CS"),
    "PositionerPrimaryAngle": (0x00181510, "DS"),
    "PositionerSecondaryAngle": (0x00181511, "DS"),
    "AcquisitionProtocolName": (0x00189423, "LO"),
    "StudyInstanceUID": (0x0020000D, "UI"),
    "SeriesInstanceUID": (0x0020000E, "UI"),
    "SeriesNumber": (0x00200011, "IS"),
    "AcquisitionNumber": (0x00200012, "IS"),
    "InstanceNumber": (0x00200013, "IS"),
    "FrameOfReferenceUID": (0x00200052, "UI"),
    "SamplesPerPixel": (0x00280002, "US"),
    "NumberOfFrames": (0x00280008, "IS"),
    "Rows": (0x00280010, "US"),
    "Columns": (0x00280011, "US"),
    "BitsAllocated": (0x00280100, "US"),
}
"""Keyword, tag and value representation of what is read."""

_BY_BYTES = {
    struct.pack("<HH", tag >> 16, tag & 0xFFFF): (keyword, vr.encode()) for keyword, (tag, vr) in WANTED.items()
}
_MANY = {"ImageType", "SpecificCharacterSet"}
_IN_CHARACTER_SET = {b"LO", b"PN"}
_head = struct.Struct("<4s2sH").unpack_from
_u16 = struct.Struct("<H").unpack_from
_u32 = struct.Struct("<L").unpack_from

Found = dict[str, tuple[bytes, bytes]]


class _Unusual(Exception):
    """The file is not as plain as this module wants it."""


class _Beyond(_Unusual):
    """The header goes on behind the bytes that were read."""


@dataclass(slots=True)
class Head:
    """What was read of one file.

    Attributes
    ----------
    values : dict
        From keyword to text; what is absent or empty is left out.
    pixels : PixelElement or None
        Where the pixels are, None where there are none.
    quick : bool
        Whether the file was plain enough for this module.
    """

    values: dict[str, str]
    pixels: PixelElement | None
    size: int
    quick: bool

    def read(self, keyword: str) -> str:
        """Return a value as text, empty where it is absent."""
        return self.values.get(keyword, "")


def read_head(path: Path, start: bytes, handle: int, size: int) -> Head:
    """Return what sorts a file, the short way where it is plain, else the long one.

    Parameters
    ----------
    start : bytes
        The first `WINDOW` bytes.
    handle : int
        The open file.
    size : int
        Bytes of the file.

    Raises
    ------
    InputRefused
        `empty_file`, `not_dicom`, `unreadable`.
    """
    return read_fast(start, handle, size) or read_slowly(path)


def read_at(handle: int, offset: int, count: int) -> bytes:
    """Return up to `count` bytes of an open file from `offset` on."""
    os.lseek(handle, offset, os.SEEK_SET)
    return os.read(handle, count)


def read_slowly(path: Path) -> Head:
    """Return what sorts a file, read with pydicom.

    Raises
    ------
    InputRefused
        `empty_file`, `not_dicom`, `unreadable`.
    """
    header = read_header(path)
    read = read_from(header.dataset)
    values = {keyword: value for keyword in WANTED if (value := read(keyword))}
    if "PatientName" in values:
        values["PatientName"] = _first_group(values["PatientName"])
    return Head(values, header.pixels, header.size, quick=False)


def read_fast(start: bytes, handle: int, size: int) -> Head | None:
    """Return what sorts a plain file, None where it has to be read with care."""
    if start[128:132] != b"DICM":
        return None
    try:
        try:
            return _read(start, size)
        except _Beyond:
            if len(start) >= size:
                return None
            return _read(read_at(handle, 0, _LARGEST), size)
    except (_Unusual, struct.error, IndexError, UnicodeDecodeError, LookupError):
        return None


def _read(data: bytes, size: int) -> Head:
    found: Found = {}
    place = _explicit(data, 132, found, meta=True, size=size)
    syntax = found.get("TransferSyntaxUID", (b"", b""))[1].rstrip(b"\0 ")
    if place is None or isinstance(place, PixelElement):
        raise _Unusual
    end: int | PixelElement | None
    if syntax == _EXPLICIT or syntax.startswith(_COMPRESSED):
        end = _explicit(data, place, found, meta=False, size=size)
    elif syntax == _IMPLICIT:
        end = _implicit(data, place, found, size)
    else:
        raise _Unusual
    pixels = end if isinstance(end, PixelElement) else None
    return Head(_texts(found), pixels, size, quick=True)


def _explicit(data: bytes, at: int, found: Found, *, meta: bool, size: int) -> int | PixelElement | None:
    """Take the wanted values from `at` on; return where the pixels are, where the meta group ends, None at the end."""
    limit = len(data)
    wanted, short, long = _BY_BYTES, _SHORT, _LONG
    while at + 8 <= limit:
        tag, vr, length = _head(data, at)
        if meta and tag[:2] != _META_GROUP:
            return at
        if vr in short:
            value = at + 8
        elif vr in long:
            (length,), value = _u32(data, at + 8), at + 12
            if tag[:2] == _PIXEL_GROUP and tag[2:] in _PIXEL_ELEMENTS:
                return _pixels(tag, vr, length, value)
            if tag[:2] == _GROUPS_OF_FRAMES:
                raise _Unusual
            if length == _UNDEFINED:
                if vr != b"SQ":
                    raise _Unusual
                at = _after_sequence(data, value, implicit=False)
                continue
        else:
            raise _Unusual
        at = value + length
        entry = wanted.get(tag)
        if entry is not None:
            if entry[1] != vr:
                raise _Unusual
            if at > limit:
                raise _Beyond
            found[entry[0]] = vr, data[value:at]
    _check_end(at, limit, size)
    return None


def _implicit(data: bytes, at: int, found: Found, size: int) -> int | PixelElement | None:
    limit = len(data)
    if data[at + 4 : at + 6] in _SHORT | _LONG:  # explicit in spite of what the file says of itself
        raise _Unusual
    while at + 8 <= limit:
        tag = data[at : at + 4]
        (length,), value = _u32(data, at + 4), at + 8
        if tag[:2] == _PIXEL_GROUP and tag[2:] in _PIXEL_ELEMENTS:
            return _pixels(tag, b"OW", length, value)
        if tag[:2] in (_GROUPS_OF_FRAMES, _META_GROUP):
            raise _Unusual
        if length == _UNDEFINED:
            at = _after_sequence(data, value, implicit=True)
            continue
        at = value + length
        entry = _BY_BYTES.get(tag)
        if entry is not None:
            if at > limit:
                raise _Beyond
            found[entry[0]] = entry[1], data[value:at]
    _check_end(at, limit, size)
    return None


def _pixels(tag: bytes, vr: bytes, length: int, value: int) -> PixelElement:
    defined = None if length == _UNDEFINED else length
    return PixelElement(value, defined, vr.decode(), _PIXEL_ELEMENTS[tag[2:]])


def _check_end(at: int, limit: int, size: int) -> None:
    if limit < size:
        raise _Beyond
    if at != size:  # the last element is not whole
        raise _Unusual


def _after_sequence(data: bytes, at: int, *, implicit: bool) -> int:
    """Return where a sequence of undefined length ends that begins at `at`."""
    while True:
        tag, (length,) = data[at : at + 4], _in_window(data, at + 4)
        at += 8
        if tag == _SEQUENCE_END:
            return at
        if tag != _ITEM:
            raise _Unusual
        at = _after_item(data, at, implicit=implicit) if length == _UNDEFINED else at + length


def _after_item(data: bytes, at: int, *, implicit: bool) -> int:
    while True:
        tag, (length,) = data[at : at + 4], _in_window(data, at + 4)
        if tag == _ITEM_END:
            return at + 8
        value = at + 8
        if not implicit:
            vr = data[at + 4 : at + 6]
            if vr in _LONG:
                (length,), value = _in_window(data, at + 8), at + 12
            elif vr in _SHORT:
                (length,) = _u16(data, at + 6)
            else:
                raise _Unusual
        if length == _UNDEFINED:
            if not implicit and data[at + 4 : at + 6] != b"SQ":
                raise _Unusual
            at = _after_sequence(data, value, implicit=implicit)
        else:
            at = value + length


def _in_window(data: bytes, at: int) -> tuple[int]:
    if at + 4 > len(data):
        raise _Beyond
    (number,) = _u32(data, at)
    return (number,)


def _texts(found: Found) -> dict[str, str]:
    """Return the values as text; ones that pydicom would understand otherwise make the file unusual."""
    encoding = _encoding(found)
    if b"\x1b" in b"".join([raw for _, raw in found.values()]):  # character sets that change within a text
        raise _Unusual
    values = {}
    for keyword, (vr, raw) in found.items():
        if vr == b"US":
            if len(raw) != 2:
                raise _Unusual
            values[keyword] = str(raw[0] | raw[1] << 8)
            continue
        if raw.isascii():
            value = raw.decode("ascii").strip("\0 ")
        elif vr in _IN_CHARACTER_SET:
            value = raw.decode(encoding).strip("\0 ")
        else:
            raise _Unusual
        if "\\" in value and keyword not in _MANY:
            raise _Unusual
        if keyword == "PatientName":
            value = _first_group(value)
        elif keyword in _MANY:
            value = "\\".join(part.strip("\0 ") for part in value.split("\\"))
        if value:
            values[keyword] = value
    return values


def _encoding(found: Found) -> str:
    told = found.get("SpecificCharacterSet", (b"", b""))[1].decode("ascii").strip("\0 ")
    if not told:
        return "ascii"  # no set is named: only what needs none is read
    if told.startswith("ISO 2022") or "\\" in told:
        raise _Unusual
    return python_encoding[told]


def _first_group(name: str) -> str:
    return name.partition("=")[0].strip("\0 ")
