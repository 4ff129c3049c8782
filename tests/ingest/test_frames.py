"""Every compressed image that pydicom's own decoders read is read to the same values, and damage is refused."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import hostile_files as hostile
import numpy as np
import pydicom
import pytest
from decoded_apart import decoded
from encoded_frames import ENCODERS, LOSSLESS
from pydicom.data import get_testdata_files
from pydicom.pixels.utils import pixel_array
from pydicom.uid import RLELossless

from angio_pipeline.core.errors import AngioError, InputRefused
from angio_pipeline.ingest.guard import reading_apart
from angio_pipeline.ingest.limits import Limits
from angio_pipeline.workers import warm_up


def _is_grey_and_compressed(path: Path) -> bool:
    try:
        ds = pydicom.dcmread(path)
        return bool(ds.file_meta.TransferSyntaxUID.is_compressed) and ds.SamplesPerPixel == 1 and "PixelData" in ds
    except Exception:  # files made to be broken
        return False


@lru_cache(maxsize=1)
def bundled() -> list[Path]:
    return sorted(path for path in map(Path, get_testdata_files("**/*.dcm")) if _is_grey_and_compressed(path))


def _truth(path: Path) -> np.ndarray | None:
    try:
        return pixel_array(pydicom.dcmread(path), raw=True)
    except Exception:  # nobody reads it
        return None


@pytest.mark.filterwarnings("ignore")
def test_the_images_that_come_with_pydicom_decode_to_the_values_that_it_finds() -> None:
    compared = set()
    for path in bundled():
        truth = _truth(path)
        if truth is None:
            with pytest.raises(AngioError):
                decoded(path)
            continue
        found = decoded(path)
        assert np.array_equal(found, truth.reshape(found.shape)), path.name
        compared.add(pydicom.dcmread(path).file_meta.TransferSyntaxUID)
    assert len(compared) >= 5


@pytest.mark.parametrize("name", ["CT1_J2KI", "CT1_J2KR", "CT1_JLSL", "CT1_JLSN", "CT1_JPLL", "CT1_RLE"])
def test_real_compressed_images_decode_to_the_values_that_pydicom_finds(real_data: Path, name: str) -> None:
    for path in (real_data / "codecs" / name, real_data / "codecs" / name.replace("CT1", "XA1")):
        assert np.array_equal(decoded(path)[0], pixel_array(pydicom.dcmread(path), raw=True))


def _saved(path: Path, frame: bytes, syntax: str, shape: tuple[int, int], **tags: Any) -> Path:
    hostile.compressed(path, [frame] * 4, syntax=syntax, shape=(4, *shape))
    ds = pydicom.dcmread(path)
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    ds.save_as(path)
    return path


@pytest.mark.parametrize("stored", [8, 10, 12, 16])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("syntax", [syntax for syntax in LOSSLESS if syntax != RLELossless], ids=str)
def test_signed_and_narrow_values_are_what_pydicom_makes_of_them(
    tmp_path: Path, syntax: str, signed: int, stored: int
) -> None:
    bits = np.random.default_rng(stored).integers(0, 1 << stored, (40, 56)).astype(np.uint16)
    path = _saved(
        tmp_path / "run.dcm",
        bytes(ENCODERS[syntax](bits)),
        syntax,
        bits.shape,
        BitsStored=stored,
        HighBit=stored - 1,
        PixelRepresentation=signed,
    )
    assert np.array_equal(decoded(path), pixel_array(pydicom.dcmread(path), raw=True))


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    rows, columns = np.indices((96, 80))
    waves = 900 * np.sin(rows / 9) * np.cos(columns / 7)
    return (2000 + waves + np.random.default_rng(6).normal(0, 10, rows.shape)).astype(np.uint16)


def _fates(folder: Path, streams: list[bytes], syntax: str, whole: np.ndarray) -> list[str]:
    """Whether each stream decodes, to what was encoded or something else, or is refused: in a process that may hang."""
    warm_up()
    fates = []
    with reading_apart(Limits(reading_bytes=2 << 30)) as read:
        for number, stream in enumerate(streams):
            path = _saved(folder / f"{number}.dcm", stream, syntax, whole.shape)
            try:
                found = read(20, decoded, path)
            except InputRefused as error:
                fates.append(error.reason)
            else:
                fates.append("same" if np.array_equal(found[0], whole) else "other")
    return fates


@pytest.mark.slow
@pytest.mark.parametrize("syntax", ENCODERS, ids=str)
def test_a_frame_cut_short_is_refused_wherever_it_is_cut(tmp_path: Path, frame: np.ndarray, syntax: str) -> None:
    whole = bytes(ENCODERS[syntax](frame))
    cuts = [whole[: len(whole) * share // 16] for share in range(1, 16)] + [whole[:-lost] for lost in (4, 5, 8)]
    # What a shorter file ends with, and what software that mends it puts there. Any bytes are run lengths.
    ends = (b"", bytes(64), b"\xff\xd9") if syntax != RLELossless else (b"",)
    fates = _fates(tmp_path, [cut + end for cut in cuts for end in ends], syntax, frame)
    assert set(fates) == {"corrupt_pixels"}


@pytest.mark.slow
@pytest.mark.parametrize("syntax", ENCODERS, ids=str)
def test_flipped_bits_are_decoded_or_refused_but_end_no_process(tmp_path: Path, frame: np.ndarray, syntax: str) -> None:
    whole, rng = bytes(ENCODERS[syntax](frame)), np.random.default_rng(8)
    streams = []
    for number in range(60):
        flipped = bytearray(whole)
        # Half of them where the headers are.
        for place in rng.integers(0, len(whole) if number % 2 else 120, 2):
            flipped[place] ^= 1 << int(rng.integers(8))
        streams.append(bytes(flipped))
    fates = _fates(tmp_path, streams, syntax, frame)
    assert set(fates) <= {"same", "other", "corrupt_pixels", "unsupported_codec", "truncated", "too_large"}
    assert len(set(fates)) > 1
