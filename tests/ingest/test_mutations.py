"""Whatever is done to a file, it is analysed or refused: nothing crashes, nothing is lost."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hostile_files as hostile
import imagecodecs
import mutants
import numpy as np
import pydicom.data
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless

from angio_pipeline.ingest.guard import Read, reading_apart
from angio_pipeline.ingest.limits import Limits
from angio_pipeline.workers import warm_up

pytestmark = pytest.mark.slow

DAILY, ALL = 200, 2000


@pytest.fixture(scope="module")
def read() -> Iterator[Read]:
    """Reads in a process apart, where a crash is seen and survived."""
    warm_up()
    with reading_apart(Limits(reading_bytes=2 << 30)) as reader:
        yield reader


def fates_of(numbers: range, sample: Path, tmp_path: Path, read: Read) -> Counter[str]:
    fates: Counter[str] = Counter()
    for number in numbers:
        mutant = mutants.make_mutant(number, sample, tmp_path / str(number))
        fate = mutants.outcome(mutant, read, tmp_path / "work")
        assert fate not in mutants.CRASHES, f"mutant {number} ({mutant.damage}): {fate}"
        fates[fate] += 1
        shutil.rmtree(mutant.folder)
    return fates


def test_damaged_copies_of_the_sample_are_analysed_or_refused(sample: Path, tmp_path: Path, read: Read) -> None:
    fates = fates_of(range(DAILY), sample, tmp_path, read)
    assert fates.total() == DAILY
    # Damage that is never noticed, or that never leaves a file readable, would test nothing.
    assert DAILY * 0.1 < fates["analysed"] < DAILY * 0.8
    assert len(fates) > 8


@pytest.mark.repeated
def test_all_damaged_copies_of_the_sample_are_analysed_or_refused(sample: Path, tmp_path: Path, read: Read) -> None:
    assert fates_of(range(DAILY, ALL), sample, tmp_path, read).total() == ALL - DAILY


def test_a_mutant_follows_from_its_number(sample: Path, tmp_path: Path) -> None:
    one, other = (mutants.make_mutant(11, sample, tmp_path / name) for name in "ab")
    assert one.file.read_bytes() == other.file.read_bytes()
    assert one.damage == other.damage


def _encoded(frames: np.ndarray, syntax: str) -> list[bytes]:
    if syntax == JPEG2000Lossless:
        return [imagecodecs.jpeg2k_encode(frame, level=0, codecformat="j2k", reversible=True) for frame in frames]
    return [imagecodecs.jpegls_encode(frame) for frame in frames]


def _written(folder: Path, syntax: str) -> bytes:
    path, frames = folder / "whole.dcm", hostile.small_frames()
    if syntax in (JPEG2000Lossless, JPEGLSLossless):
        return hostile.compressed(path, _encoded(frames, syntax), syntax=syntax, shape=(4, 32, 48)).read_bytes()
    return hostile.save(hostile.run_dataset(frames), path, syntax=syntax).read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One small run in several transfer syntaxes."""
    syntaxes = (ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless)
    return {syntax: _written(tmp_path_factory.mktemp("whole"), syntax) for syntax in syntaxes}


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "put"]),
        # Most edits go where the header is.
        st.one_of(st.integers(0, 1500), st.integers(0, 20_000)),
        st.binary(min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=6,
)


def _edited(content: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    for kind, place, value in edits:
        at = place % max(len(content), 1)
        after = at + (0 if kind == "put" else len(value))
        content = content[:at] + (b"" if kind == "cut" else value) + content[after:]
    return content


@settings(max_examples=250, deadline=None, derandomize=True)
@given(form=st.integers(0, 3), edits=EDITS)
def test_any_edit_of_a_run_leaves_it_analysed_or_refused(
    whole: dict[str, bytes], read: Read, form: int, edits: list[tuple[str, int, bytes]]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "in"
        folder.mkdir()
        file = folder / "edited.dcm"
        file.write_bytes(_edited(list(whole.values())[form], edits))
        fate = mutants.outcome(mutants.Mutant(folder, file, "edit"), read, Path(place) / "work")
    assert fate not in mutants.CRASHES


def test_files_made_to_test_a_dicom_library_are_analysed_or_refused(tmp_path: Path, read: Read) -> None:
    files = [path for path in map(Path, pydicom.data.get_testdata_files("**/*")) if path.is_file()]
    assert len(files) > 50
    for number, file in enumerate(files):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        copy = folder / file.name
        copy.write_bytes(file.read_bytes())
        # A crash would be raised here as a refusal of the whole folder.
        fates = read(60.0, mutants.look_and_read, folder, tmp_path / "work" / f"{number}")
        assert fates, file.name
        assert not set(fates.values()) & mutants.CRASHES, file.name
