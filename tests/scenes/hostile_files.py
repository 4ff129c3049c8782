"""Files made to do harm: headers, pixel data, archives and regions that claim, hide, nest or inflate."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, generate_uid

XA = "1.2.840.10008.5.1.4.1.1.12.1"


def run_dataset(pixels: npt.NDArray[np.uint16], *, name: str = "sound") -> Dataset:
    """A plain angiographic run of one patient; its UIDs follow from its name."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = XA, generate_uid(entropy_srcs=["instance", name])
    ds.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=["series", name])
    ds.PatientID, ds.Modality, ds.StudyDate, ds.StudyTime = "MRN-1", "XA", "20260102", "101112"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.NumberOfFrames, ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.FrameIncrementPointer, ds.FrameTime, ds.PixelIntensityRelationship = 0x00181063, 250.0, "LIN"
    ds.PixelData = pixels.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def small_frames(seed: int = 3) -> npt.NDArray[np.uint16]:
    """Four frames of 32 x 48 with noise in them."""
    return np.random.default_rng(seed).integers(1000, 4000, (4, 32, 48)).astype(np.uint16)


def save(ds: Dataset, path: Path, *, syntax: str = ExplicitVRLittleEndian) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID, meta.ImplementationClassUID = syntax, "1.2.3.4"
    ds.file_meta = meta
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def sound_run(path: Path) -> Path:
    """A run that nothing is wrong with: the neighbour of every attack."""
    return save(run_dataset(small_frames()), path)


def claiming(path: Path, *, frames: int, rows: int, columns: int) -> Path:
    """A run whose header claims more than its few bytes of pixels."""
    ds = run_dataset(small_frames(), name=path.name)
    ds.NumberOfFrames, ds.Rows, ds.Columns = frames, rows, columns
    return save(ds, path)


def compressed(
    path: Path, frames: Iterable[bytes], *, syntax: str, shape: tuple[int, int, int], bits: int | None = None
) -> Path:
    """A run of the given encoded frames behind a header that claims the given shape."""
    ds = run_dataset(small_frames(), name=path.name)
    ds.NumberOfFrames, ds.Rows, ds.Columns = shape
    if bits is not None:
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.PixelData = encapsulate(list(frames))
    ds["PixelData"].VR = "OB"
    return save(ds, path, syntax=syntax)


def deflated(path: Path, extra: int, *, cut: float = 1.0) -> Path:
    """A deflated run with `extra` zeros in a private element, cut to a share of its length."""
    ds = run_dataset(small_frames(), name=path.name)
    save(ds, path, syntax=DeflatedExplicitVRLittleEndian)
    plain = path.read_bytes()
    start = _data_set_start(plain)
    body = zlib.decompress(plain[start:], -zlib.MAX_WBITS)
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = [plain[:start], engine.compress(element(0x0009, 0x0010, b"UN", extra))]
    for _ in range(extra >> 20):
        packed.append(engine.compress(bytes(1 << 20)))
    packed += [engine.compress(body), engine.flush()]
    whole = b"".join(packed)
    path.write_bytes(whole[: int(cut * len(whole))])
    return path


def _data_set_start(whole: bytes) -> int:
    return 132 + 12 + int(struct.unpack_from("<L", whole, 140)[0])


def element(group: int, number: int, vr: bytes, length: int) -> bytes:
    """The head of an explicit little endian element with a 32-bit length."""
    return struct.pack("<HH2sHL", group, number, vr, 0, length)


def with_elements(path: Path, content: bytes, *, after_meta: bool = True) -> Path:
    """A sound run with raw bytes put in front of its data set, or behind everything but the pixels."""
    ds = run_dataset(small_frames(), name=path.name)
    save(ds, path)
    whole = path.read_bytes()
    at = _data_set_start(whole) if after_meta else whole.index(b"\xe0\x7f\x10\x00OW")
    path.write_bytes(whole[:at] + content + whole[at:])
    return path


def nested(depth: int, *, ended: bool = True) -> bytes:
    """Sequences of undefined length, each within the one before."""
    item, item_end = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF), struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
    start = element(0x0040, 0x0275, b"SQ", 0xFFFFFFFF) + item
    end = item_end + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    return start * depth + (end * depth if ended else b"")


def nested_of_known_length(depth: int) -> bytes:
    """Sequences that name their lengths, each within the one before."""
    content = b""
    for _ in range(depth):
        item = struct.pack("<HHL", 0xFFFE, 0xE000, len(content)) + content
        content = element(0x0040, 0x0275, b"SQ", len(item)) + item
    return content


def tiny_elements(count: int) -> bytes:
    """Empty elements, each costing eight bytes and a parser's time."""
    heads = np.zeros(count, dtype=[("group", "<u2"), ("number", "<u2"), ("vr", "S2"), ("length", "<u2")])
    heads["group"], heads["number"], heads["vr"] = 0x0009 + 2 * (np.arange(count) // 50_000), 0x1000, b"LO"
    heads["number"] += (np.arange(count) % 50_000).astype("<u2")
    return heads.tobytes()


def zipped(path: Path, members: Iterable[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in members:
            bundle.writestr(name, content)
    return path


def tarred(path: Path, members: Iterable[tuple[str, bytes]], *, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as bundle:  # type: ignore[call-overload]  # any mode
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            bundle.addfile(info, io.BytesIO(content))
    return path


def pax_bomb(path: Path, claimed: int) -> Path:
    """A gzipped tar whose extended header is `claimed` bytes long."""
    info = tarfile.TarInfo("header")
    info.type, info.size = tarfile.XHDTYPE, claimed
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(info.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(claimed >> 20):
            stream.write(bytes(1 << 20))
    return path


def many_entries(path: Path, count: int) -> Path:
    """A zip whose table of contents lists one empty member very often."""
    zipped(path, [("a" * 40, b"")])
    whole = path.read_bytes()
    start, end = whole.index(b"PK\x01\x02"), whole.index(b"PK\x05\x06")
    table = whole[start:end] * count
    tail = bytearray(whole[end:])
    struct.pack_into("<HHLL", tail, 8, count & 0xFFFF, count & 0xFFFF, len(table), start)
    path.write_bytes(whole[:start] + table + tail)
    return path


def png_claiming(path: Path, width: int, height: int) -> Path:
    """A PNG whose header claims a size and whose data are one row of zeros."""
    parts = [
        (b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(65536))),
        (b"IEND", b""),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts))
    return path


def png_with_profile(path: Path, inflated: int) -> Path:
    """A PNG of 8 x 8 with a colour profile that inflates to so many bytes."""
    profile = b"p\0\0" + zlib.compress(bytes(inflated), 9)
    parts = [
        (b"IHDR", struct.pack(">LLBBBBB", 8, 8, 8, 0, 0, 0, 0)),
        (b"iCCP", profile),
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(inflated), 9)),
        (b"IDAT", zlib.compress((b"\0" + b"\xff" * 8) * 8)),
        (b"IEND", b""),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts))
    return path


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def nifti(
    path: Path, shape: tuple[int, int, int], data: Iterable[bytes], *, bits: int = 8, packed: bool = False
) -> Path:
    """A NIfTI-1 file with the given header and whatever data."""
    head = bytearray(352)
    struct.pack_into("<l", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<hh", head, 70, {8: 2, 64: 64}[bits], bits)
    struct.pack_into("<8f", head, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", head, 108, 352)
    head[344:348] = b"n+1\0"
    path.parent.mkdir(parents=True, exist_ok=True)
    opener: Callable[..., gzip.GzipFile | io.BufferedWriter] = gzip.open if packed else open  # type: ignore[assignment]  # both open
    with opener(path, "wb") as stream:
        stream.write(bytes(head))
        for piece in data:
            stream.write(piece)
    return path
