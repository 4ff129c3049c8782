"""Made-up names in every place of a file that can hold text, and a search for them in whatever a program wrote.

A canary is `CNRYQ` with a number; the number tells which element leaked. The search opens what is closed:
archives, gzip, Parquet, databases, text in pictures, pictures in pages.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pydicom
from pydicom._dicom_dict import DicomDictionary
from pydicom.config import disable_value_validation
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.tag import Tag

MARK = "CNRYQ"
_TEXT = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}
_NOT_TEXT = {"AS", "DA", "DT", "TM"}  # strings in which a name is an error, and no less a name
_BYTES = {"OB", "UN"}
# Values that may be anything by their nature: pixels and look-up tables.
_IMAGES = {"PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"}
# What makes a file another kind of thing: the analysis or the command would refuse it, rightly.
_KIND = {
    "SpecificCharacterSet", "ImageType", "Modality", "PhotometricInterpretation", "ConversionType",
    "BurnedInAnnotation", "PatientID", "IssuerOfPatientID", "CodeValue", "LongCodeValue", "URNCodeValue",
    "CodingSchemeDesignator", "PixelIntensityRelationship", "LossyImageCompression", "StudyDate", "SeriesDate",
    "AcquisitionDate", "ContentDate", "AcquisitionDateTime", "StudyTime", "SeriesTime", "AcquisitionTime",
    "ContentTime", "PresentationLUTShape", "NumberOfFrames", "RescaleType",
}  # fmt: skip


@dataclass
class Aviary:
    """Hands out canaries and remembers where each was put."""

    places: list[str] = field(default_factory=list)

    def new(self, place: str) -> str:
        self.places.append(place)
        return f"{MARK}{len(self.places):06d}"

    def plant(self, path: Path, *, everywhere: bool = False) -> None:
        """Put canaries into one DICOM file: what it holds, and, `everywhere`, every element of the dictionary."""
        with disable_value_validation():
            ds = pydicom.dcmread(path)
            self._plant_in(ds, path.name, everywhere=everywhere)
            self._private(ds, path.name)
            self._beside_the_pixels(ds)
            ds.preamble = self.new("preamble").encode().ljust(128, b"\0")
            ds.file_meta.ImplementationVersionName = self.new("ImplementationVersionName")[:16]
            ds.file_meta.SourceApplicationEntityTitle = self.new("SourceApplicationEntityTitle")[:16]
            ds.file_meta.PrivateInformationCreatorUID = "1.2.3.4"
            ds.file_meta.PrivateInformation = self.new("PrivateInformation").encode()
            ds.save_as(path)

    def _plant_in(self, ds: Dataset, where: str, *, everywhere: bool, depth: int = 0) -> None:
        for element in list(ds):
            self._append(element, where, depth)
        ds.PatientID = f"{MARK}-ID"
        ds.IssuerOfPatientID = f"{MARK}-ISSUER"
        if everywhere:
            self._fill(ds, where, depth)

    def _append(self, element: DataElement, where: str, depth: int) -> None:
        if element.VR == "SQ":
            for item in element.value:
                self._append_in_item(item, where, depth + 1)
        elif element.VR in {"LO", "LT", "SH", "ST", "UT", "PN"} and element.keyword not in _KIND and element.VM < 2:
            words = str(element.value or "")
            if element.keyword == "SegmentLabel":  # a label that is no code makes the region another one
                return
            element.value = f"{words} {self.new(f'{where} {element.keyword}')}".strip()

    def _append_in_item(self, item: Dataset, where: str, depth: int) -> None:
        for element in list(item):
            self._append(element, where, depth)

    def _fill(self, ds: Dataset, where: str, depth: int) -> None:
        for index, (number, (vr, _, _, _, keyword)) in enumerate(DicomDictionary.items()):
            tag = Tag(number)
            if tag in ds or tag.group in (0x0000, 0x0002, 0xFFFE, 0x0004) or keyword in _KIND | _IMAGES or not keyword:
                continue
            if vr in _TEXT | _NOT_TEXT:
                ds.add_new(tag, vr, self.new(f"{where} {keyword}"))
            elif vr in ("DS", "IS"):  # a file that gives the element another kind than the standard does
                ds.add_new(tag, "LO", self.new(f"{where} {keyword}"))
            elif vr in _BYTES:
                ds.add_new(tag, vr, self.new(f"{where} {keyword}").encode())
            elif (
                vr == "UI" and keyword not in ("SOPClassUID", "TransferSyntaxUID") and not keyword.endswith("ClassUID")
            ):
                ds.add_new(tag, "UI", self.new(f"{where} {keyword}"))
            elif vr == "SQ" and "FunctionalGroups" not in keyword and keyword != "SegmentSequence":
                deepest = 4 if index % 40 == 0 else 1
                ds.add_new(tag, "SQ", Sequence([self._item(f"{where} {keyword}", depth + 1, deepest)]))
        for group, name in ((0x5000, "curve"), (0x6000, "overlay")):
            ds.add_new((group, 0x0022), "LO", self.new(f"{where} {name}"))
            ds.add_new((group, 0x4000 if group == 0x6000 else 0x2500), "LT", self.new(f"{where} {name}"))

    def _item(self, where: str, depth: int, deepest: int) -> Dataset:
        item = Dataset()
        for keyword in ("PatientName", "TextValue", "ImageComments", "SeriesDescription", "BodyPartExamined",
                        "FilterType", "CodeMeaning", "PersonName", "StationAETitle", "RetrieveURL"):  # fmt: skip
            setattr(item, keyword, self.new(f"{where} {keyword}"))
        self._private(item, where)
        if depth < deepest:
            item.ContentSequence = [self._item(f"{where} ContentSequence", depth + 1, deepest)]
        return item

    def _private(self, ds: Dataset, where: str) -> None:
        ds.add_new((0x0009, 0x0010), "LO", self.new(f"{where} creator"))
        ds.add_new((0x0009, 0x1001), "LO", self.new(f"{where} private"))
        ds.add_new((0x0009, 0x1002), "UN", self.new(f"{where} private").encode())
        ds.add_new((0x2001, 0x0010), "LO", "Philips Imaging DD 001")
        for vr, element in (("CS", 0x1004), ("LO", 0x10C1), ("SH", 0x1003)):
            ds.add_new((0x2001, element), vr, self.new(f"{where} safe private"))
        inner = Dataset()
        inner.PatientName = self.new(f"{where} private sequence")
        ds.add_new((0x0009, 0x1003), "SQ", Sequence([inner]))

    def _beside_the_pixels(self, ds: Dataset) -> None:
        if "PixelData" not in ds or ds.SOPClassUID.name == "Segmentation Storage":
            return
        if not ds.file_meta.TransferSyntaxUID.is_encapsulated:
            ds.PixelData += self.new("behind the pixels").encode() + b"\0"
            return
        frames = list(generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames") or 1)))
        comment = self.new("comment of a stream").encode()
        marked = [f[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + f[2:] for f in frames]
        ds.PixelData = encapsulate(marked)


def mark_png(path: Path, canary: str) -> None:
    """Write text into a PNG, plain and compressed."""
    content = path.read_bytes()
    chunks = b""
    for kind, data in (
        (b"tEXt", b"Author\0" + canary.encode()),
        (b"zTXt", b"Comment\0\0" + zlib.compress(canary.encode())),
    ):
        chunks += len(data).to_bytes(4, "big") + kind + data + binascii.crc32(kind + data).to_bytes(4, "big")
    path.write_bytes(content[:33] + chunks + content[33:])


def find_canaries(folder: Path) -> dict[str, set[str]]:
    """Return which files below a folder hold canaries, in their content or their name, and which."""
    found: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        seen = canaries_in(name.encode())
        if path.is_file():
            for content in _opened(path):
                seen |= canaries_in(content)
        if seen:
            found[name] = seen
    return found


def canaries_in(content: bytes) -> set[str]:
    """Return the canaries in bytes, however the text was encoded."""
    found: set[str] = set()
    for coding in ("ascii", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        mark = re.escape(MARK.encode(coding))
        width = len(MARK.encode(coding)) // len(MARK)
        for match in re.finditer(mark + b"(?:.{%d}){0,6}" % width, content, re.IGNORECASE | re.DOTALL):
            found.add(match[0].decode(coding, "replace"))
    return found


def _opened(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    yield from _all_of(content)
    if path.suffix == ".parquet":
        yield repr(duckdb.sql(f"select * from read_parquet('{path}')").fetchall()).encode()
    if path.suffix in (".duckdb", ".db"):
        with duckdb.connect(str(path), read_only=True) as base:
            for (table,) in base.execute("select table_name from information_schema.tables").fetchall():
                yield repr(base.execute(f'select * from "{table}"').fetchall()).encode()


def _all_of(content: bytes) -> Iterator[bytes]:
    yield content
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as bundle:
            yield "\n".join(bundle.namelist()).encode()
            for name in bundle.namelist():
                yield from _all_of(bundle.read(name))
    elif content[:2] == b"\x1f\x8b":
        yield from _all_of(gzip.decompress(content))
    elif content[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _png_texts(content)
    for match in re.finditer(rb"data:[^;,]{1,60};base64,([A-Za-z0-9+/=]+)", content):
        yield from _all_of(base64.b64decode(match[1]))


def _png_texts(content: bytes) -> Iterator[bytes]:
    position = 8
    while position + 8 <= len(content):
        length, kind = int.from_bytes(content[position : position + 4], "big"), content[position + 4 : position + 8]
        data = content[position + 8 : position + 8 + length]
        if kind in (b"zTXt", b"iTXt", b"iCCP"):
            for start in range(len(data)):
                if data[start : start + 1] == b"\x78":
                    try:
                        yield zlib.decompress(data[start:])
                    except zlib.error:
                        continue
        position += 12 + length


def copy_sample(sample: Path, folder: Path) -> Path:
    """Copy the sample's patient, without its truth, and return its folder."""
    return Path(shutil.copytree(sample / "case-000", folder, ignore=shutil.ignore_patterns("truth")))
