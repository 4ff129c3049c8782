"""Archives unpack whole, inside their folder, and within bounds."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest.archives import unpack
from angio_pipeline.ingest.limits import Limits


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    return path


def names_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tgz", "tar.xz", "tar.bz2"])
def test_runs_are_found_in_every_kind_of_archive(dicom: Any, look: Any, tmp_path: Path, suffix: str) -> None:
    content = dicom.run().read_bytes()
    path = tmp_path / f"export.{suffix}"
    if suffix == "zip":
        zipped(path, {"a/run.dcm": content, "notes.txt": b"hello"})
    else:
        mode = {"tar": "w", "tgz": "w:gz"}.get(suffix, f"w:{suffix[4:]}")
        with tarfile.open(path, mode) as bundle:
            for name, data in (("a/run.dcm", content), ("notes.txt", b"hello")):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                bundle.addfile(info, io.BytesIO(data))
    found = look(path)
    assert [item.source.file for item in found.runs] == [f"export.{suffix}/a/run.dcm"]
    assert [(Path(r.path).name, r.reason) for r in found.refusals] == [("notes.txt", "not_dicom")]


def test_an_archive_within_an_archive_is_read_and_a_third_is_not(dicom: Any, look: Any, tmp_path: Path) -> None:
    content = dicom.run().read_bytes()
    inner = zipped(tmp_path / "inner.zip", {"run.dcm": content})
    middle = zipped(tmp_path / "middle.zip", {"inner.zip": inner.read_bytes()})
    outer = zipped(tmp_path / "outer.zip", {"middle.zip": middle.read_bytes()})
    assert len(look(middle).runs) == 1
    found = look(outer)
    assert not found.runs
    assert [refusal.reason for refusal in found.refusals] == ["too_large"]


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "C:\\evil", "..\\evil"])
def test_names_that_lead_out_are_refused_and_the_rest_unpacked(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "a.zip", {name: b"x", "good": b"y"})
    result = unpack(path, tmp_path / "work" / "deep")
    assert [reason for _, reason, _ in result.refused] == ["unsafe_member"]
    assert names_below(result.folder) == ["good"]
    assert not list(tmp_path.rglob("evil"))


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as bundle:
        for name, kind in (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("pipe", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            bundle.addfile(info)
    result = unpack(path, tmp_path / "work")
    assert [reason for _, reason, _ in result.refused] == ["unsafe_member"] * 3
    zip_path = tmp_path / "b.zip"
    with zipfile.ZipFile(zip_path, "w") as bundle:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        bundle.writestr(link, "/etc/passwd")
    result = unpack(zip_path, tmp_path / "work")
    assert [reason for _, reason, _ in result.refused] == ["unsafe_member"]
    assert not names_below(result.folder)


def test_a_bomb_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = zipped(tmp_path / "bomb.zip", {"zeros": bytes(1 << 22)})
    limits = Limits(least_bytes_out=1 << 16, ratio_out=10)
    with pytest.raises(InputRefused, match="unpacks to far more") as caught:
        unpack(path, tmp_path / "work", limits)
    assert caught.value.reason == "too_large"
    assert not names_below(tmp_path / "work")


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "many.zip", {str(n): b"" for n in range(20)})
    with pytest.raises(InputRefused, match="unpack it yourself"):
        unpack(path, tmp_path / "work", Limits(archive_members=10))


def test_a_damaged_member_does_not_cost_its_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as bundle:
        bundle.writestr("bad", b"A" * 1000)
        bundle.writestr("good", b"B" * 1000)
    path.write_bytes(path.read_bytes().replace(b"A" * 1000, b"A" * 999 + b"Z"))
    result = unpack(path, tmp_path / "work")
    assert [(name, reason) for name, reason, _ in result.refused] == [("bad", "bad_archive")]
    assert names_below(result.folder) == ["good"]


def test_a_cut_tar_gives_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as bundle:
        for name in ("first", "second"):
            info = tarfile.TarInfo(name)
            info.size = 4000
            bundle.addfile(info, io.BytesIO(bytes(4000)))
    path.write_bytes(path.read_bytes()[:6000])
    result = unpack(path, tmp_path / "work")
    assert "first" in names_below(result.folder)
    assert {reason for _, reason, _ in result.refused} == {"bad_archive"}


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar"])
def test_what_only_claims_to_be_an_archive_is_refused(tmp_path: Path, look: Any, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"no archive at all" * 100)
    assert [refusal.reason for refusal in look(path).refusals] == ["bad_archive"]


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"secret": b"x" * 10})
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert [reason for _, reason, _ in unpack(path, tmp_path / "work").refused] == ["encrypted_archive"]


def test_an_archive_is_unpacked_once_and_again_when_it_changes(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"one": b"1", "../out": b"x"})
    first = unpack(path, tmp_path / "work")
    marker = first.folder / "one"
    marker.write_bytes(b"touched")
    again = unpack(path, tmp_path / "work")
    assert marker.read_bytes() == b"touched"
    assert again.refused == first.refused
    zipped(path, {"two": b"22"})
    assert names_below(unpack(path, tmp_path / "work").folder) == ["two"]


def test_names_that_a_disk_does_not_take_are_cleaned(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"x" * 300: b"1", "it:b?": b"2", "same": b"3", "SAME ": b"4"})
    folder = unpack(path, tmp_path / "work").folder
    assert len(names_below(folder)) == 4
    assert all(len(name) < 130 for name in names_below(folder))
