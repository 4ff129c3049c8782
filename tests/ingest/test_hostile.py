"""Attacks are refused by name, within memory and time, and never cost a neighbour.

Files are looked at as `angio run` does it: in a process apart that may take half a gigabyte. An attack
that succeeded would come back as `out_of_memory`, `took_too_long` or `reader_died`, which is not what is expected.
"""

from __future__ import annotations

import itertools
import os
import stat
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hostile_files as hostile
import imagecodecs
import numpy as np
import pytest
from pydicom.uid import HTJ2KLossless, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from angio_pipeline import ingest
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.results import Refusal
from angio_pipeline.ingest.guard import Read, reading_apart
from angio_pipeline.ingest.limits import Limits
from angio_pipeline.outputs import write_refused
from angio_pipeline.workers import warm_up

MEMORY = 512 << 20
Look = Callable[..., ingest.Discovery]


@pytest.fixture(scope="module", autouse=True)
def _server() -> None:
    # The server imports once what every process apart needs.
    warm_up()


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Look at a folder in a process apart, held to half a gigabyte beyond what its libraries take."""

    def discovered(folder: Path, **limits: float) -> ingest.Discovery:
        held = Limits.model_validate({"reading_bytes": MEMORY, **limits})
        return ingest.discover([folder], workspace=tmp_path / "work", limits=held, apart=True)

    return discovered


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the attack, with a sound run beside it."""
    hostile.sound_run(tmp_path / "in" / "sound.dcm")
    return tmp_path / "in"


def read_apart(item: ingest.RunItem) -> None:
    with reading_apart(Limits(reading_bytes=MEMORY)) as read:
        read(60, ingest.read_run, item)


def only_refusal(found: ingest.Discovery) -> Refusal:
    """The one refusal, after the sound neighbour was found to be there and readable."""
    assert "sound.dcm" in [item.source.file.rsplit("/", 1)[-1] for item in found.runs]
    (refusal,) = found.refusals
    assert refusal.sentence.startswith("Expected ")
    assert refusal.sentence.endswith(".")
    return refusal


ENCODED = {
    JPEG2000Lossless: lambda image: imagecodecs.jpeg2k_encode(image, level=0, codecformat="j2k", reversible=True),
    HTJ2KLossless: lambda image: imagecodecs.htj2k_encode(image, reversible=True),
    JPEGLSLossless: imagecodecs.jpegls_encode,
    JPEGLosslessSV1: imagecodecs.ljpeg_encode,
}


# --- pixel data -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frames", "rows", "columns", "reason"),
    [
        (10_000, 65_535, 65_535, "too_large"),
        (2_147_483_647, 512, 512, "too_large"),
        (1, 65_535, 65_535, "too_large"),
        (16, 8192, 8192, "truncated"),
        (0, 512, 512, "bad_header"),
        (-5, 512, 512, "bad_header"),
        (4, 0, 512, "bad_header"),
    ],
)
def test_a_header_that_claims_more_than_its_file_is_refused(
    folder: Path, look: Look, frames: int, rows: int, columns: int, reason: str
) -> None:
    hostile.claiming(folder / "claims.dcm", frames=frames, rows=rows, columns=columns)
    assert only_refusal(look(folder)).reason == reason


@pytest.mark.slow
@pytest.mark.parametrize("syntax", ENCODED, ids=str)
def test_a_codestream_of_another_size_than_its_header_is_refused(folder: Path, look: Look, syntax: str) -> None:
    frame = ENCODED[syntax](np.zeros((2048, 2048), np.uint16))
    hostile.compressed(folder / "other.dcm", [frame] * 2, syntax=syntax, shape=(2, 64, 64))
    assert only_refusal(look(folder)).reason == "corrupt_pixels"


def test_a_codestream_that_claims_gigapixels_is_refused(folder: Path, look: Look) -> None:
    frame = bytearray(ENCODED[JPEG2000Lossless](np.zeros((64, 64), np.uint16)))
    struct.pack_into(">LL", frame, 8, 60_000, 60_000)
    hostile.compressed(folder / "huge.dcm", [bytes(frame)] * 2, syntax=JPEG2000Lossless, shape=(2, 64, 64))
    assert only_refusal(look(folder)).reason == "corrupt_pixels"


def test_a_decoy_before_the_real_codestream_is_not_believed(folder: Path, look: Look) -> None:
    small = ENCODED[JPEG2000Lossless](np.zeros((64, 64), np.uint16))
    huge = bytearray(small)
    struct.pack_into(">LL", huge, 8, 60_000, 60_000)
    box = struct.pack(">L4s", 8 + len(small), b"free") + small
    file = b"\0\0\0\x0cjP  \r\n\x87\n" + box + struct.pack(">L4s", 0, b"jp2c") + bytes(huge)
    hostile.compressed(folder / "decoy.dcm", [file] * 2, syntax=JPEG2000Lossless, shape=(2, 64, 64))
    assert only_refusal(look(folder)).reason == "corrupt_pixels"


def test_frames_that_inflate_far_beyond_their_bytes_are_refused(folder: Path, look: Look) -> None:
    frame = ENCODED[JPEG2000Lossless](np.zeros((4096, 4096), np.uint16))
    assert len(frame) < 1 << 16
    hostile.compressed(folder / "bomb.dcm", [frame] * 60, syntax=JPEG2000Lossless, shape=(60, 4096, 4096))
    assert only_refusal(look(folder)).reason == "too_large"


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [1, 100_000], ids=["too few", "too many"])
def test_run_lengths_that_unpack_to_another_size_are_refused(folder: Path, look: Look, pairs: int) -> None:
    segment = b"\x81\x00" * pairs
    frame = struct.pack("<16L", 2, 64, 64 + len(segment), *[0] * 13) + segment * 2
    hostile.compressed(folder / "rle.dcm", [frame] * 2, syntax=RLELossless, shape=(2, 64, 64))
    (item,) = (item for item in look(folder).runs if item.source.file == "rle.dcm")
    with pytest.raises(InputRefused) as caught:
        read_apart(item)
    assert caught.value.reason == "corrupt_pixels"


def test_more_frames_than_fragments_are_refused(folder: Path, look: Look) -> None:
    frame = ENCODED[JPEG2000Lossless](np.zeros((64, 64), np.uint16))
    hostile.compressed(folder / "few.dcm", [frame] * 2, syntax=JPEG2000Lossless, shape=(9, 64, 64))
    assert only_refusal(look(folder)).reason == "truncated"


# --- headers ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_deflated_bomb_is_refused(folder: Path, look: Look) -> None:
    bomb = hostile.deflated(folder / "deflated.dcm", 320 << 20)
    assert bomb.stat().st_size < 1 << 20
    assert only_refusal(look(folder)).reason == "too_large"


def test_a_deflated_file_that_ends_early_is_refused(folder: Path, look: Look) -> None:
    hostile.deflated(folder / "cut.dcm", 0, cut=0.6)
    assert only_refusal(look(folder)).reason in {"truncated", "unreadable"}


@pytest.mark.parametrize("vr", [b"OB", b"UN", b"UT", b"SQ"])
def test_an_element_longer_than_its_file_is_refused(folder: Path, look: Look, vr: bytes) -> None:
    hostile.with_elements(folder / "long.dcm", hostile.element(0x0009, 0x0010, vr, 0xFFFFFFF0))
    assert only_refusal(look(folder)).reason in {"no_pixel_data", "unreadable", "not_ours"}


def test_a_character_set_longer_than_its_file_is_refused(folder: Path, look: Look) -> None:
    hostile.with_elements(folder / "long.dcm", hostile.element(0x0008, 0x0005, b"UT", 0xFFFFFFF0))
    assert only_refusal(look(folder)).reason in {"no_pixel_data", "unreadable", "not_ours", "out_of_memory"}


@pytest.mark.parametrize("depth", [1, 20, 5000])
def test_sequences_that_never_end_are_refused(folder: Path, look: Look, depth: int) -> None:
    hostile.with_elements(folder / "endless.dcm", hostile.nested(depth, ended=False), after_meta=False)
    assert only_refusal(look(folder)).reason in {"unreadable", "no_pixel_data", "too_deep"}


def test_sequences_a_little_too_deep_are_refused_when_the_whole_header_is_read(folder: Path, look: Look) -> None:
    hostile.with_elements(folder / "deep.dcm", hostile.nested(40), after_meta=False)
    (item,) = (item for item in look(folder).runs if item.source.file == "deep.dcm")
    with pytest.raises(InputRefused, match="at most 32 deep") as caught:
        read_apart(item)
    assert caught.value.reason == "too_deep"


@pytest.mark.parametrize("depth", [500, 20_000])
def test_sequences_nested_too_deep_are_refused_by_name(folder: Path, look: Look, depth: int) -> None:
    hostile.with_elements(folder / "deep.dcm", hostile.nested(depth), after_meta=False)
    refusal = only_refusal(look(folder))
    assert refusal.reason == "too_deep"
    assert "at most 32 deep" in refusal.sentence


@pytest.mark.slow
def test_sequences_of_an_allowed_depth_cost_nothing(folder: Path, look: Look) -> None:
    hostile.with_elements(folder / "fine.dcm", hostile.nested(20), after_meta=False)
    hostile.with_elements(folder / "lazy.dcm", hostile.nested_of_known_length(3000), after_meta=False)
    found = look(folder)
    assert len(found.runs) == 3
    for item in found.runs:
        read_apart(item)


def test_a_header_longer_than_the_limit_is_refused(folder: Path, look: Look) -> None:
    hostile.with_elements(folder / "long.dcm", hostile.tiny_elements(1000), after_meta=False)
    assert only_refusal(look(folder, header_bytes=4000)).reason == "too_large"


@pytest.mark.slow
def test_a_header_that_takes_too_long_is_ended(folder: Path, look: Look) -> None:
    hostile.with_elements(folder / "a-slow.dcm", hostile.tiny_elements(3_000_000), after_meta=False)
    began = time.monotonic()
    refusal = only_refusal(look(folder, file_seconds=0.5))
    assert refusal.reason == "took_too_long"
    assert "0.5 s" in refusal.sentence
    assert time.monotonic() - began < 60, "a limit of half a second did not end it"


# --- the process apart ------------------------------------------------------------------------------------------


@pytest.fixture
def apart() -> Iterator[Read]:
    with reading_apart(Limits(reading_bytes=MEMORY)) as read:
        yield read


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "call", "reason"),
    [
        (30, (os.abort,), "reader_died"),
        (30, (os._exit, 0), "reader_died"),
        (0.2, (time.sleep, 60), "took_too_long"),
        (30, (bytearray, 4 << 30), "out_of_memory"),
    ],
)
def test_what_ends_the_reader_is_refused_and_the_next_file_is_read(
    apart: Read, seconds: float, call: tuple[Callable[..., object], *tuple[object, ...]], reason: str
) -> None:
    for _ in range(2):
        with pytest.raises(InputRefused) as caught:
            apart(seconds, *call)
        assert caught.value.reason == reason
        assert apart(30, len, "abc") == 3


def test_a_refusal_in_the_process_apart_keeps_its_reason(apart: Read, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(InputRefused, match="empty one") as caught:
        apart(30, ingest.read_rois, [tmp_path / "empty"])
    assert caught.value.reason == "bad_roi"


# --- archives ---------------------------------------------------------------------------------------------------


@pytest.fixture
def sound(tmp_path: Path) -> bytes:
    return hostile.sound_run(tmp_path / "sound").read_bytes()


@pytest.fixture
def archives(tmp_path: Path, folder: Path) -> Path:
    """A folder for hostile archives, with a sound run beside them."""
    return folder


@pytest.mark.slow
def test_archives_that_unpack_to_far_more_are_refused(archives: Path, look: Look) -> None:
    zeros = bytes(64 << 20)
    for name in ("bomb.zip", "bomb.tar.gz", "bomb.tar.bz2", "bomb.tar.xz"):
        if name.endswith("zip"):
            hostile.zipped(archives / name, [("zeros", zeros)])
        else:
            hostile.tarred(archives / name, [("zeros", zeros)], mode=f"w:{name[9:]}")
    found = look(archives, least_bytes_out=8 << 20)
    assert [refusal.reason for refusal in found.refusals] == ["too_large"] * 4
    assert len(found.runs) == 1


def test_a_bomb_of_bombs_is_one_bomb(archives: Path, look: Look, tmp_path: Path) -> None:
    inner = hostile.zipped(tmp_path / "inner.zip", [("zeros.bin", bytes(6 << 20))]).read_bytes()
    hostile.zipped(archives / "outer.zip", [(f"{n}.zip", inner) for n in range(10)])
    found = look(archives, least_bytes_out=8 << 20)
    reasons = [refusal.reason for refusal in found.refusals]
    assert reasons.count("too_large") == 9
    written = sum(path.stat().st_size for path in (tmp_path / "work").rglob("*") if path.is_file())
    assert written < 9 << 20


@pytest.mark.slow
def test_a_tar_header_that_inflates_is_refused(archives: Path, look: Look) -> None:
    hostile.pax_bomb(archives / "pax.tar.gz", 320 << 20)
    assert only_refusal(look(archives)).reason in {"too_large", "bad_archive"}


@pytest.mark.slow
def test_a_table_of_contents_of_millions_is_refused(archives: Path, look: Look) -> None:
    hostile.many_entries(archives / "many.zip", 2_000_000)
    assert only_refusal(look(archives)).reason == "too_large"


def test_members_that_overlap_are_counted_each(archives: Path, look: Look, tmp_path: Path) -> None:
    path = hostile.zipped(archives / "overlap.zip", [("a", bytes(4 << 20))])
    whole = path.read_bytes()
    start, end = whole.index(b"PK\x01\x02"), whole.index(b"PK\x05\x06")
    tail = bytearray(whole[end:])
    struct.pack_into("<HHL", tail, 8, 50, 50, 50 * (end - start))
    path.write_bytes(whole[:start] + whole[start:end] * 50 + tail)
    found = look(archives, least_bytes_out=8 << 20)
    assert {refusal.reason for refusal in found.refusals} == {"too_large"}


WAYS_OUT = [
    "../evil",
    "a/../../evil",
    "/evil",
    "//server/share/evil",
    "C:\\evil",
    "c:evil",
    "..\\evil",
    "a\\..\\..\\evil",
    "\\\\server\\share\\evil",
    "/".join(["deep"] * 100) + "/evil",
]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", WAYS_OUT, ids=range(len(WAYS_OUT)))
def test_members_that_lead_out_are_refused(
    archives: Path, look: Look, sound: bytes, tmp_path: Path, name: str, kind: str
) -> None:
    write = hostile.zipped if kind == "zip" else hostile.tarred
    (archives / "sound.dcm").unlink()
    write(archives / f"a.{kind}", [(name, sound), ("sound.dcm", sound)])
    refusal = only_refusal(look(archives))
    assert refusal.reason == "unsafe_member"
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "name", ["con\x01trol\n.dcm", "\udce4\udcff.dcm", "x" * 200 + ".dcm", "trailing. ", 'q"uo|te?.dcm', "ü.dcm"]
)
def test_odd_names_are_cleaned_and_their_files_read(
    archives: Path, look: Look, sound: bytes, tmp_path: Path, name: str, kind: str
) -> None:
    (archives / "sound.dcm").unlink()
    if kind == "tar":
        hostile.tarred(archives / "a.tar", [(name, sound), ("notes.txt", b"hello")])
    elif "\udce4" not in name:
        hostile.zipped(archives / "a.zip", [(name, sound), ("notes.txt", b"hello")])
    else:
        hostile.zipped(archives / "a.zip", [("aaaa.dcm", sound), ("notes.txt", b"hello")])
        path = archives / "a.zip"
        path.write_bytes(path.read_bytes().replace(b"aaaa.dcm", b"\xe4\xff\x00a.dcm"))
    found = look(archives)
    assert len(found.runs) == 1
    assert [refusal.reason for refusal in found.refusals] == ["not_dicom"]
    ingest.digest(found.runs[0])
    write_refused(tmp_path, found.refusals)


def test_members_of_one_name_and_of_one_name_but_for_case_are_all_read(
    archives: Path, look: Look, tmp_path: Path
) -> None:
    (archives / "sound.dcm").unlink()
    runs = [
        hostile.save(hostile.run_dataset(hostile.small_frames(n), name=str(n)), tmp_path / "r").read_bytes()
        for n in range(6)
    ]
    names = ["a/run.dcm", "A/run.dcm", "a/RUN.dcm", "a/run.dcm", "a", "a/run.dcm/below.dcm"]
    hostile.tarred(archives / "a.tar", list(zip(names, runs, strict=True)))
    found = look(archives)
    assert len(found.runs) == 6
    assert not found.refusals
    files = [path for path in (tmp_path / "work").rglob("*.dcm*") if path.is_file()]
    places = [str(path).casefold() for path in files]
    assert len(places) == len(set(places))


@pytest.mark.slow
def test_thousands_of_members_of_one_name_take_no_longer_than_others(archives: Path, look: Look) -> None:
    hostile.tarred(archives / "same.tar", [("same.txt", b"x")] * 5000)
    began = time.monotonic()
    found = look(archives)
    assert len(found.refusals) == 5000
    assert time.monotonic() - began < 30


def test_links_and_devices_are_refused_and_nothing_is_read_through_them(
    archives: Path, look: Look, sound: bytes, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.dcm"
    secret.write_bytes(sound)
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)
    with tarfile.open(archives / "a.tar", "w") as bundle:
        for number, kind in enumerate(kinds):
            info = tarfile.TarInfo(f"link{number}.dcm")
            info.type, info.linkname = kind, str(secret)
            bundle.addfile(info)
        folder_link = tarfile.TarInfo("way")
        folder_link.type, folder_link.linkname = tarfile.SYMTYPE, str(tmp_path)
        bundle.addfile(folder_link)
        below = tarfile.TarInfo("way/planted.dcm")
        bundle.addfile(below)
    with zipfile.ZipFile(archives / "b.zip", "w") as bundle:
        link = zipfile.ZipInfo("link.dcm")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        bundle.writestr(link, str(secret))
    found = look(archives)
    assert [refusal.reason for refusal in found.refusals].count("unsafe_member") == len(kinds) + 2
    assert len(found.runs) == 1
    assert not (tmp_path / "planted.dcm").exists()
    assert not [path for path in (tmp_path / "work").rglob("*") if path.is_symlink()]


@pytest.mark.parametrize("name", ["broken.zip", "broken.tar", "broken.tar.gz", "broken.tar.xz", "broken.tar.bz2"])
def test_archives_of_noise_are_refused(archives: Path, look: Look, name: str) -> None:
    starts = {"zip": b"PK\x03\x04", "gz": b"\x1f\x8b\x08\0", "xz": b"\xfd7zXZ\0", "bz2": b"BZh9"}
    noise = np.random.default_rng(5).bytes(5000)
    (archives / name).write_bytes(starts.get(name.rsplit(".", 1)[-1], b"") + noise)
    assert only_refusal(look(archives)).reason == "bad_archive"


def test_every_damaged_byte_of_an_archive_costs_its_members_at_most(archives: Path, look: Look, sound: bytes) -> None:
    rng = np.random.default_rng(9)
    (archives / "sound.dcm").rename(archives / "0-sound.dcm")
    for kind, write in (("zip", hostile.zipped), ("tar", hostile.tarred)):
        path = write(archives / f"whole.{kind}", [("one.dcm", sound), ("two.dcm", sound)])
        whole = path.read_bytes()
        path.unlink()
        for index in range(40):
            content = bytearray(whole)
            for position in rng.integers(0, len(content), 8):
                content[position] = rng.integers(256)
            (archives / f"{index:02d}.{kind}").write_bytes(content[: rng.integers(len(content) // 2, len(content))])
    found = look(archives)
    assert "0-sound.dcm" in [item.source.file for item in found.runs]
    reasons = {refusal.reason for refusal in found.refusals}
    assert "bad_archive" in reasons
    assert not reasons & {"reader_died", "took_too_long", "out_of_memory", "internal_error"}


# --- regions ----------------------------------------------------------------------------------------------------


def test_a_png_that_claims_gigapixels_is_refused(folder: Path, look: Look) -> None:
    hostile.png_claiming(folder / "rois" / "1.2.3-L1.png", 65_535, 65_535)
    assert only_refusal(look(folder)).reason == "bad_roi"


@pytest.mark.slow
def test_a_png_whose_profile_inflates_takes_no_memory(folder: Path, look: Look) -> None:
    hostile.png_with_profile(folder / "rois" / "1.2.3-L1.png", 320 << 20)
    found = look(folder)
    assert [refusal.reason for refusal in found.refusals] in ([], ["bad_roi"])
    assert len(found.runs) == 1


@pytest.mark.parametrize("packed", [False, True])
def test_a_nifti_that_claims_more_than_it_holds_is_refused(folder: Path, look: Look, packed: bool) -> None:
    name = "lesion.nii.gz" if packed else "lesion.nii"
    hostile.nifti(folder / "rois" / name, (32_000, 32_000, 32_000), [bytes(1000)], packed=packed)
    assert only_refusal(look(folder)).reason == "bad_roi"


def test_a_nifti_that_inflates_is_refused(folder: Path, look: Look) -> None:
    pieces = itertools.repeat(bytes(1 << 20), 64)
    path = hostile.nifti(folder / "rois" / "b.nii.gz", (1024, 1024, 137), pieces, bits=64, packed=True)
    assert path.stat().st_size < 4 << 20
    assert only_refusal(look(folder)).reason == "bad_roi"


def test_more_regions_than_the_limit_are_refused(folder: Path, look: Look) -> None:
    labels = np.arange(64 * 64 * 4, dtype=np.uint8).reshape(64, 64, 4) % 200
    hostile.nifti(folder / "rois" / "many.nii", (64, 64, 4), [labels.tobytes()])
    assert only_refusal(look(folder, regions_px=1 << 20)).reason == "too_large"
    assert only_refusal(look(folder, regions=100)).reason == "too_large"
    assert not look(folder).refusals
