"""Reading headers: the first step from a file to a noun, without touching a pixel.

pydicom meets broken files with warnings and with errors of every kind. Both stop here: warnings
are counted and logged as a number (their text may quote patient data), errors become an
`InputRefused` with one sentence.
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.config import disable_value_validation
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest.limits import Limits

__all__ = [
    "Header",
    "PixelElement",
    "as_numbers",
    "check_elements",
    "element_value",
    "find",
    "find_in_groups",
    "integer",
    "is_dicom",
    "items",
    "number",
    "numbers",
    "numbers_of_frame",
    "open_dicom",
    "quiet_pydicom",
    "read_header",
    "text",
    "texts",
]

_LOG = logging.getLogger(__name__)
_PYDICOM = logging.getLogger("pydicom")
_PIECE = 1 << 20
_DEFLATED = DeflatedExplicitVRLittleEndian.encode()
_PIXEL_TAGS = {(0x7FE0, 0x0008), (0x7FE0, 0x0009), (0x7FE0, 0x0010)}
_LONG_VRS = {b"OB", b"OW", b"OF", b"OD", b"UN", b"OL", b"OV"}


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixel data's value starts in the (inflated) file; `length` is None when undefined."""

    offset: int
    length: int | None
    vr: str
    element: int


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """Everything before the pixels, and where the pixels are.

    Attributes
    ----------
    transfer_syntax : UID
        Implicit little endian where the file names none.
    pixels : PixelElement or None
        None where the file holds no pixel data.
    size : int
        Bytes of the file (after inflating).
    limits : Limits
        Those that hold for the pixels, too.
    """

    path: Path
    dataset: Dataset
    transfer_syntax: UID
    pixels: PixelElement | None
    size: int
    limits: Limits = field(default_factory=Limits)


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Return a context in which pydicom neither warns, logs nor validates; the number of warnings is logged.

    Warnings are the process's: threads that read files at once may silence each other's.
    """
    level = _PYDICOM.level
    with disable_value_validation(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _PYDICOM.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            _PYDICOM.setLevel(level)
    if caught:
        _LOG.debug("pydicom gave %d warnings about one file", len(caught))


def is_dicom(path: Path) -> bool:
    """Return whether the file looks like DICOM: by its prefix, or by a first element without a preamble."""
    with path.open("rb") as stream:
        start = stream.read(132)
    if start[128:132] == b"DICM":
        return True
    if len(start) < 8:
        return False
    group, element = struct.unpack_from("<HH", start)
    return (group, element) in {(2, 0), (2, 1), (2, 2), (8, 0), (8, 1), (8, 5), (8, 8), (8, 0x12), (8, 0x16), (8, 0x18)}


def open_dicom(path: Path, limits: Limits | None = None) -> BinaryIO:
    """Return the file opened for reading; a deflated one comes inflated, as explicit little endian.

    Raises
    ------
    InputRefused
        When the inflated content passes the limit (`too_large`) or does not inflate (`unreadable`).
    """
    with path.open("rb") as stream:
        deflated = _DEFLATED in stream.read(4096)
    if deflated:
        with quiet_pydicom():
            meta = pydicom.filereader.read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            return _inflated(meta, path, limits or Limits())
    return path.open("rb")


def _inflated(meta: FileMetaDataset, path: Path, limits: Limits) -> BinaryIO:
    start = 132 + 12 + int(meta.FileMetaInformationGroupLength)
    most = limits.bytes_out(path.stat().st_size, limits.inflated_bytes)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    head = DicomBytesIO()
    head.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(head, meta, enforce_standard=False)
    out = io.BytesIO()
    out.write(head.getvalue())
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    with path.open("rb") as stream:
        stream.seek(start)
        rest = stream.read(_PIECE)
        while rest and not engine.eof:
            out.write(engine.decompress(rest, _PIECE))
            if out.tell() > most:
                sentence = (
                    f"Expected a deflated file below {most >> 20} MiB, found a larger one; export it uncompressed."
                )
                raise InputRefused(sentence, reason="too_large")
            rest = engine.unconsumed_tail or stream.read(_PIECE)
        out.write(engine.flush())
    out.seek(0)
    return out


def read_header(path: Path, *, tags: Sequence[str] | None = None, limits: Limits | None = None) -> Header:
    """Return the header of a DICOM file; only the named `tags` when they are given.

    Raises
    ------
    InputRefused
        `empty_file`, `not_dicom`, `unreadable`, `too_deep`, `too_large`.
    """
    limits = limits or Limits()
    size = path.stat().st_size
    if size == 0:
        raise InputRefused("Expected a DICOM file, found an empty one; export it again.", reason="empty_file")
    if not is_dicom(path):
        raise InputRefused("Expected a DICOM file, found another kind of file.", reason="not_dicom")
    try:
        with quiet_pydicom():
            header = _parse(path, tags, limits)
        _check_depth(header)
        return header
    except (InputRefused, MemoryError):
        raise
    except RecursionError:
        raise _too_deep(limits) from None
    except Exception as error:  # a broken file makes pydicom raise errors of almost any type
        raise InputRefused(
            f"Expected a readable DICOM header, found a damaged one ({type(error).__name__}); export it again.",
            reason="unreadable",
        ) from None


def _parse(path: Path, tags: Sequence[str] | None, limits: Limits) -> Header:
    with open_dicom(path, limits) as stream:
        dataset = pydicom.dcmread(
            stream,
            stop_before_pixels=True,
            force=True,
            defer_size="8 MB",
            specific_tags=None if tags is None else list(tags),
        )
        meta = getattr(dataset, "file_meta", FileMetaDataset())
        syntax = UID(str(meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian))
        implicit, little = dataset.original_encoding
        end = stream.tell()
        pixels = _pixel_element(stream, implicit=bool(implicit), little=little is not False)
        size = stream.seek(0, io.SEEK_END)
    if min(end, size) > limits.header_bytes:
        sentence = f"Expected a header of at most {limits.header_bytes >> 20} MiB, found a longer one; export it again."
        raise InputRefused(sentence, reason="too_large")
    if not len(dataset) and not len(meta):
        raise InputRefused("Expected a DICOM header, found none; export it again.", reason="unreadable")
    return Header(path, dataset, syntax, pixels, size, limits)


def _check_depth(header: Header) -> None:
    """Refuse sequences nested too deep, as far as they were parsed; the others are when they are asked for."""
    level = [header.dataset]
    for _ in range(header.limits.nested_sequences + 1):
        level = [item for dataset in level for item in _parsed_items(dataset)]
        if not level:
            return
    raise _too_deep(header.limits)


def check_elements(header: Header) -> None:
    """Refuse a header that was read whole and whose last element is cut; pydicom passes what is left of it.

    For objects without pixels, of which no size says how long the file is to be.

    Raises
    ------
    InputRefused
        `truncated`.
    """
    for tag in _raw_tags(header.dataset):
        raw = header.dataset.get_item(tag, keep_deferred=True)
        if not isinstance(raw, RawDataElement) or raw.length == 0xFFFFFFFF:
            continue
        if raw.value_tell + raw.length > header.size:
            raise InputRefused(
                "Expected elements within the file, found one that goes beyond its end; export it again.",
                reason="truncated",
            )


def _raw_tags(dataset: Dataset) -> list[BaseTag]:
    # Iterating a dataset itself would parse what is raw.
    return list(dataset.keys())


def _parsed_items(dataset: Dataset) -> Iterator[Dataset]:
    for tag in _raw_tags(dataset):
        value = dataset.get_item(tag, keep_deferred=True).value
        if isinstance(value, pydicom.Sequence):
            yield from value


def _too_deep(limits: Limits) -> InputRefused:
    return InputRefused(
        f"Expected sequences at most {limits.nested_sequences} deep, found deeper ones; export it again.",
        reason="too_deep",
    )


def _pixel_element(stream: BinaryIO, *, implicit: bool, little: bool) -> PixelElement | None:
    head = stream.read(8)
    if len(head) < 8:
        return None
    order = "<" if little else ">"
    group, element = struct.unpack(order + "HH", head[:4])
    if (group, element) not in _PIXEL_TAGS:
        return None
    vr, raw = "OW", head[4:]
    if not implicit and head[4:6] in _LONG_VRS:
        vr, raw = head[4:6].decode(), stream.read(4)
    if len(raw) < 4:
        return None
    (length,) = struct.unpack(order + "L", raw)
    return PixelElement(stream.tell(), None if length == 0xFFFFFFFF else length, vr, element)


def find(dataset: Dataset, keyword: str) -> Any:
    """Return the value of `keyword`, or None where it is absent, empty or broken.

    Multi-frame functional groups are looked through when the top level has none: the shared
    groups, then those of the first frame.
    """
    value = element_value(dataset, keyword)
    if value is not None:
        return value
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for frame in items(dataset, groups)[:1]:
            value = find_in_groups(frame, keyword)
            if value is not None:
                return value
    return None


def find_in_groups(frame: Dataset, keyword: str) -> Any:
    """Return the value of `keyword` within one frame's functional groups, else None."""
    value = element_value(frame, keyword)
    if value is not None:
        return value
    for tag in list(frame.keys()):
        group = None if tag.is_private else element_value(frame, tag)
        if isinstance(group, pydicom.Sequence) and len(group):
            value = element_value(group[0], keyword)
            if value is not None:
                return value
    return None


def element_value(dataset: Dataset, name: str | BaseTag) -> Any:
    """Return one element's value at this level, None where it is absent, empty or broken."""
    try:
        with quiet_pydicom():
            value = dataset.get(name) if isinstance(name, str) else dataset[name].value
    except Exception:  # one broken element must not cost the others
        return None
    if value is None or (isinstance(value, str) and not value.strip("\0 ")):
        return None
    return value


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; empty where it is absent or broken."""
    value = element_value(dataset, keyword)
    return list(value) if isinstance(value, pydicom.Sequence) else []


def text(dataset: Dataset, keyword: str) -> str:
    """Return a value as stripped text, empty where it is absent."""
    value = find(dataset, keyword)
    return "" if value is None else str(value).strip("\0 ")


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return a multi-valued element as texts, empty where it is absent."""
    return tuple(str(part).strip("\0 ") for part in _parts(find(dataset, keyword)))


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return the first value as a finite float, else None."""
    values = numbers(dataset, keyword)
    return values[0] if values else None


def integer(dataset: Dataset, keyword: str) -> int | None:
    """Return the first value as a whole number, else None."""
    value = number(dataset, keyword)
    return int(value) if value is not None and value == int(value) else None


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Return all values as finite floats; empty when any of them is not one."""
    return as_numbers(find(dataset, keyword))


def numbers_of_frame(frame: Dataset, dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Return all values of one frame's functional groups, else those that hold for the whole object."""
    return as_numbers(find_in_groups(frame, keyword)) or numbers(dataset, keyword)


def as_numbers(value: Any) -> tuple[float, ...]:
    """Return one or many values as finite floats; empty when any of them is not one."""
    try:
        values = tuple(float(part) for part in _parts(value))
    except (TypeError, ValueError):
        return ()
    return values if all(abs(part) < float("inf") for part in values) else ()


def _parts(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    if isinstance(value, str | bytes):
        return (value,)
    return value if isinstance(value, Iterable) else (value,)
