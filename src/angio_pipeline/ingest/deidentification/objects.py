"""One file, from the disk to the bytes that may leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from angio_pipeline import __version__
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest.deidentification.admission import Accept, check_kind, rules_for
from angio_pipeline.ingest.deidentification.dataset import Changes, clean_dataset
from angio_pipeline.ingest.deidentification.pixels import blank, trim_pixels
from angio_pipeline.ingest.deidentification.profile import Option, Profile
from angio_pipeline.ingest.deidentification.values import Change, Patient
from angio_pipeline.ingest.headers import Header, open_dicom, quiet_pydicom, read_header
from angio_pipeline.ingest.rois import read_mask

__all__ = ["IMPLEMENTATION_UID", "Deidentified", "deidentify_object", "deidentify_region"]

IMPLEMENTATION_UID = "2.25.121503263216094177396482218473906110265"
_PLAIN = {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian}
_OVERLAYS = range(0x6000, 0x6100)
_PIXEL_TAG = pydicom.tag.Tag(0x7FE0, 0x0010)


@dataclass(frozen=True, slots=True, eq=False)
class Deidentified:
    """One object that may leave.

    Attributes
    ----------
    content : bytes
        The file, whole.
    changes : Changes
        What was changed, without values.
    flags : tuple of str
        What whoever passes the file on should know.
    """

    content: bytes = field(repr=False)
    changes: Changes
    flags: tuple[str, ...] = ()


def deidentify_object(path: Path, patient: Patient, *, accept: Sequence[Accept] = ()) -> Deidentified:
    """Return a DICOM file de-identified.

    Raises
    ------
    InputRefused, CodecError
        What cannot be read, or may not leave; the reason says why.
    """
    try:
        header = read_header(path)
        with quiet_pydicom():
            return _deidentify(header, patient, accept)
    except InputRefused:
        raise
    except Exception as error:  # a broken file makes pydicom raise errors of almost any type
        raise InputRefused(
            f"Expected a readable DICOM file, found a damaged one ({type(error).__name__}); export it again.",
            reason="unreadable",
        ) from None


def _deidentify(header: Header, patient: Patient, accept: Sequence[Accept]) -> Deidentified:
    with open_dicom(header.path) as stream:
        dataset = pydicom.dcmread(stream, force=True)
    kind = check_kind(dataset, patient.profile, accept)
    rules = rules_for(dataset, patient.profile, accept) if header.pixels is not None else ()
    _fill_identity(dataset)
    syntax = _syntax(header, dataset)
    changes = Changes()
    if rules:
        syntax = blank(dataset, header, rules)
        dataset.BurnedInAnnotation = "NO"
        changes.add(_PIXEL_TAG, Change.BLANKED)
    trim_pixels(dataset, syntax, overlays_gone=any(tag.group in _OVERLAYS for tag in list(dataset.keys())))
    clean_dataset(dataset, patient, changes)
    # Set where they were missing too: patients without a number must not become one.
    dataset.PatientID = dataset.PatientName = patient.subject
    _say_so(dataset, patient.profile, blanked=bool(rules))
    return Deidentified(_written(dataset, syntax), changes, _flags(dataset, kind, blanked=bool(rules)))


def _fill_identity(dataset: Dataset) -> None:
    """Set class and instance where only the file's meta information names them."""
    for keyword, other in (
        ("SOPClassUID", "MediaStorageSOPClassUID"),
        ("SOPInstanceUID", "MediaStorageSOPInstanceUID"),
    ):
        if not dataset.get(keyword):
            setattr(dataset, keyword, dataset.file_meta.get(other))


def _syntax(header: Header, dataset: Dataset) -> UID:
    """Return the transfer syntax to write: the file's own, a deflated one inflated."""
    syntax = header.transfer_syntax
    if syntax == DeflatedExplicitVRLittleEndian:
        return ExplicitVRLittleEndian
    if syntax in _PLAIN or not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        if not little:
            return ExplicitVRBigEndian
        return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise InputRefused(
            "Expected a transfer syntax of the standard, found another; export it uncompressed.",
            reason="unsupported_codec",
        )
    return syntax


def _say_so(dataset: Dataset, profile: Profile, *, blanked: bool) -> None:
    """Record in the object that it was de-identified, and by which options (PS3.15 E.1.1).

    That pixels were cleaned is said of the images alone in which they were.
    """
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = ["PS3.15 Basic Profile and options by code", f"angio-pipeline {__version__}"]
    items = []
    for value, meaning in profile.codes:
        if value == Option.CLEAN_PIXELS.code[0] and not blanked:
            continue
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning[:64]
        items.append(item)
    dataset.DeidentificationMethodCodeSequence = items
    dates = {Option.FULL_DATES: "UNMODIFIED", Option.MODIFIED_DATES: "MODIFIED"}
    told = next((word for option, word in dates.items() if option in profile.options), "REMOVED")
    dataset.LongitudinalTemporalInformationModified = told


def _flags(dataset: Dataset, kind: str, *, blanked: bool) -> tuple[str, ...]:
    said = str(dataset.get("BurnedInAnnotation") or "")
    flags = {
        "regions_blanked": blanked,
        "burned_in_kept": said == "YES",
        "screen_picture": kind == "capture",
        "pixels_not_declared_clean": "PixelData" in dataset and kind in ("image", "capture") and not said,
    }
    return tuple(name for name, holds in flags.items() if holds)


def _written(dataset: Dataset, syntax: UID) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = f"ANGIO {__version__}"[:16]
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
    out = BytesIO()
    pydicom.dcmwrite(
        out,
        dataset,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )
    return out.getvalue()


def deidentify_region(path: Path) -> Deidentified:
    """Return a mask drawn as PNG, written anew: its pixels, and nothing that the file said beside them.

    Raises
    ------
    InputRefused
        `bad_roi`.
    """
    mask = read_mask(path)
    done, encoded = cv2.imencode(".png", mask.astype(np.uint8) * 255)
    if not done:
        raise InputRefused("Expected a mask that PNG can hold, found another; draw it again.", reason="bad_roi")
    return Deidentified(encoded.tobytes(), Changes())
