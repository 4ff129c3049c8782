"""Damaged copies of the sample's files, each following from its number alone, and what became of them.

A case is a folder: the damaged file, and beside a CT slice its sound neighbours, without which it would be no scan.
Films and slices also come uncompressed and in other compressions than the sample's own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)

from angio_pipeline import ingest
from angio_pipeline.core.errors import AngioError, InputRefused
from angio_pipeline.ingest.guard import Read
from angio_pipeline.ingest.headers import quiet_pydicom
from angio_pipeline.ingest.limits import Limits

CRASHES = {"reader_died", "took_too_long", "out_of_memory", "internal_error", "worker_died"}
"""Reasons that are none: a damaged copy of a small file must not lead to them."""

_FORMS = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
)
_NUMBERS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel")
_TEXTS = (
    *("NumberOfFrames", "PixelSpacing", "ImagerPixelSpacing", "FrameTime", "ImagePositionPatient", "WindowWidth"),
    *("ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "StudyDate", "StudyTime", "InstanceNumber"),
    *("DistanceSourceToDetector", "DistanceSourceToPatient", "PositionerPrimaryAngle", "FrameTimeVector"),
)
_ODD = ("", "0", "-1", "nan", "1e400", "99999999999", "1\\2", "\\\\\\", "x" * 16, "\0\0", "é", "-0.0", "1e-300")
_OTHERS = (
    *("PhotometricInterpretation", "Modality", "SOPClassUID", "ImageType", "PixelIntensityRelationship"),
    *("SpecificCharacterSet", "PresentationLUTShape", "ShutterShape", "PatientID", "SeriesInstanceUID"),
)

Damage = Callable[[np.random.Generator, bytes], bytes]


@dataclass(frozen=True)
class Mutant:
    """One case: the folder, its damaged file, and what was done to it."""

    folder: Path
    file: Path
    damage: str


def make_mutant(number: int, sample: Path, folder: Path, *, kinds: tuple[str, ...] = ()) -> Mutant:
    """Write case `number` into the folder; `kinds` holds it to some of run, film, slice, region."""
    rng = np.random.default_rng([2026, number])
    kind = (
        str(rng.choice(kinds)) if kinds else str(rng.choice(["run", "film", "slice", "region"], p=[0.2, 0.3, 0.4, 0.1]))
    )
    source, neighbours = _source(rng, kind, sample)
    name = str(rng.choice(sorted(_DAMAGES)))
    content = source.read_bytes()
    if source.suffix == ".dcm":
        content = _in_another_form(source, int(rng.integers(10))) if kind in ("film", "slice") else content
        content = _renamed(content, number)
    # What a damage is meant for may not be there: then it is some other damage.
    damaged = _DAMAGES[name](rng, content)
    if damaged == content:
        name, damaged = "bytes", _some_bytes(rng, content)
    place = folder / ("rois" if source.suffix == ".png" else "")
    place.mkdir(parents=True, exist_ok=True)
    file = place / (source.name if source.suffix == ".png" else f"mutant-{number:04d}.dcm")
    file.write_bytes(damaged)
    for neighbour in neighbours:
        (place / neighbour.name).write_bytes(neighbour.read_bytes())
    return Mutant(folder, file, name)


def _source(rng: np.random.Generator, kind: str, sample: Path) -> tuple[Path, list[Path]]:
    dicom = sample / "case-000" / "dicom"
    if kind == "run":
        return dicom / "day000" / str(rng.choice(["frontal.dcm", "oblique.dcm", "post.dcm"])), []
    if kind == "film":
        return [dicom / "day000" / "film-000.dcm", dicom / "day028" / "film-028.dcm"][rng.integers(2)], []
    if kind == "region":
        regions = sorted((sample / "case-000" / "rois").glob("*.*"))
        return regions[rng.integers(len(regions))], []
    slices = sorted((dicom / str(rng.choice(["baseline-ct/arterial", "day001-ct/plain", "day028-ct/plain"]))).iterdir())
    first = int(rng.integers(len(slices) - 2))
    return slices[first + 1], [slices[first], slices[first + 2]]


@lru_cache(maxsize=256)
def _in_another_form(source: Path, form: int) -> bytes:
    """The file in one of several transfer syntaxes, or as it is."""
    if form >= len(_FORMS):
        return source.read_bytes()
    ds, syntax = pydicom.dcmread(source), _FORMS[form]
    image = ds.pixel_array
    if syntax == RLELossless:
        ds.compress(RLELossless, image, generate_instance_uid=False)
    elif syntax in (JPEG2000Lossless, JPEGLosslessSV1):
        plain = image.astype(np.uint16)
        encoded = (
            imagecodecs.ljpeg_encode(plain)
            if syntax == JPEGLosslessSV1
            else imagecodecs.jpeg2k_encode(plain, level=0, codecformat="j2k", reversible=True)
        )
        ds.PixelData = encapsulate([encoded])
    else:
        ds.PixelData = image.tobytes()
        ds["PixelData"].VR = "OW"
        ds["PixelData"].is_undefined_length = False
    ds.file_meta.TransferSyntaxUID = syntax
    out = pydicom.filebase.DicomBytesIO()
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    return bytes(out.getvalue())


def _renamed(content: bytes, number: int) -> bytes:
    """The file as an object of its own: without that, copies would be refused as such."""
    at = content.find(b"\x08\x00\x18\x00UI")
    if at < 0:
        return content
    (length,) = struct.unpack_from("<H", content, at + 6)
    uid = content[at + 8 : at + 8 + length].rstrip(b"\0")
    return content.replace(uid, uid[:-5] + f"{number + 10_000:05d}".encode())


def _flipped_bits(rng: np.random.Generator, content: bytes) -> bytes:
    out = bytearray(content)
    for position in rng.integers(0, len(out), int(rng.integers(1, 30))):
        out[position] ^= 1 << int(rng.integers(8))
    return bytes(out)


def _some_bytes(rng: np.random.Generator, content: bytes) -> bytes:
    """Bytes of the header changed, where most harm is done."""
    out = bytearray(content)
    for position in rng.integers(0, min(len(out), 3000), int(rng.integers(1, 12))):
        out[position] = int(rng.integers(256))
    return bytes(out)


def _truncated(rng: np.random.Generator, content: bytes) -> bytes:
    most = len(content) if rng.random() < 0.5 else min(4000, len(content))
    return content[: int(rng.integers(1, most))]


def _cut_out(rng: np.random.Generator, content: bytes) -> bytes:
    first = int(rng.integers(len(content)))
    return content[:first] + content[first + int(rng.integers(1, 600)) :]


def _put_in(rng: np.random.Generator, content: bytes) -> bytes:
    first = int(rng.integers(len(content)))
    return content[:first] + rng.bytes(int(rng.integers(1, 600))) + content[first:]


def _edited_length(rng: np.random.Generator, content: bytes) -> bytes:
    """The length of an element, or of an item of compressed frames, made another."""
    places = [at for at in range(132, min(len(content) - 12, 6000), 2) if content[at + 4 : at + 6].isupper()]
    items = (
        [at for at in range(0, len(content) - 8, 2) if content[at : at + 4] == b"\xfe\xff\x00\xe0"]
        if (rng.random() < 0.3)
        else []
    )
    out = bytearray(content)
    if items:
        value = int(rng.choice([0, 1, 0xFFFFFFFF, 0x7FFFFFFF, len(content), int(rng.integers(1 << 20))]))
        struct.pack_into("<L", out, items[int(rng.integers(len(items)))] + 4, value)
    elif places:
        at = places[int(rng.integers(len(places)))]
        if content[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
            struct.pack_into("<L", out, at + 8, int(rng.choice([0, 1, 0xFFFFFFFF, 0xFFFFFFFE, len(content) * 2])))
        else:
            struct.pack_into("<H", out, at + 6, int(rng.choice([0, 1, 3, 255, 0xFFFF, int(rng.integers(1 << 16))])))
    return bytes(out)


def _edited_tag(rng: np.random.Generator, content: bytes) -> bytes:
    """A value of the header set to something odd, deleted, or given another type."""
    if content.startswith(b"\x89PNG"):
        return content
    with quiet_pydicom():  # also where warnings are errors: a mutant follows from its number alone
        ds = pydicom.dcmread(pydicom.filebase.DicomBytesIO(content))
        for _ in range(int(rng.integers(1, 4))):
            _edit(rng, ds)
        out = pydicom.filebase.DicomBytesIO()
        try:
            pydicom.dcmwrite(out, ds, enforce_file_format=True)
        except Exception:  # more than a writer can put down
            return content
    return bytes(out.getvalue())


def _edit(rng: np.random.Generator, ds: pydicom.Dataset) -> None:
    what = rng.random()
    if what < 0.35:
        keyword = str(rng.choice(_NUMBERS))
        ds.add_new(
            keyword, "US", int(rng.choice([0, 1, 2, 7, 15, 16, 17, 32, 255, 65_535, int(rng.integers(1 << 16))]))
        )
    elif what < 0.7:
        ds.add_new(str(rng.choice(_TEXTS)), "UT" if rng.random() < 0.2 else "LO", str(rng.choice(_ODD)))
    elif what < 0.85:
        ds.add_new(
            str(rng.choice(_OTHERS)), "LO", str(rng.choice([*_ODD, "MONOCHROME1", "RGB", "CT", "LOG", "ISO_IR 6"]))
        )
    elif len(ds):
        keys = sorted(ds.keys())
        del ds[keys[int(rng.integers(len(keys)))]]


_DAMAGES: dict[str, Damage] = {
    "bits": _flipped_bits,
    "bytes": _some_bytes,
    "cut short": _truncated,
    "cut out": _cut_out,
    "put in": _put_in,
    "length": _edited_length,
    "tag": _edited_tag,
}


def outcome(mutant: Mutant, read: Read, workspace: Path) -> str:
    """`analysed`, or the reason why not; a crash is a reason of `CRASHES` or an error that is raised here."""
    try:
        found = read(60.0, look_and_read, mutant.folder, workspace)
    except InputRefused as error:
        return error.reason
    return found[str(mutant.file)]


def look_and_read(folder: Path, workspace: Path) -> dict[str, str]:
    """What became of every file of a folder once its pixels were read."""
    found = ingest.discover([folder], workspace=workspace, limits=Limits())
    fates = {refusal.path: refusal.reason for refusal in found.refusals}
    for items, reader in (
        (found.runs, ingest.read_run),
        (found.films, ingest.read_film),
        (found.volumes, ingest.read_volume),
    ):
        for item in items:
            fates |= dict.fromkeys(item.shown, _fate(reader, item))
    for roi in found.rois:
        fates |= dict.fromkeys(roi.shown, _fate(ingest.read_rois, roi.paths))
    return fates


def _fate(reader: Callable[..., object], given: object) -> str:
    try:
        reader(given)
    except AngioError as error:
        return error.reason
    return "analysed"
