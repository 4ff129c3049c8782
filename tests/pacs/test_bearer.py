"""Tokens, against a front that demands them before a real Orthanc."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from bearer_front import Front, bearer_front
from pacs_command import angio, by_uid, one_sentence
from pacs_server import Archive

EVER = ("--from", "1990-01-01")
TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbmdpbyJ9.c2lnbmF0dXJl"


@pytest.fixture
def front(archive: Archive) -> Iterator[Front]:
    with bearer_front(archive.http_port, TOKEN) as started:
        yield started


def url(front: Front) -> str:
    return f"http://127.0.0.1:{front.port}/dicom-web"


@pytest.fixture
def slices(sample: Path) -> Path:
    return sample / "case-000" / "dicom" / "baseline-ct"


@pytest.fixture
def named(front: Front, tmp_path: Path) -> tuple[str, ...]:
    """Settings whose token lies in a file."""
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "token").chmod(0o600)
    settings = tmp_path / "pacs.toml"
    settings.write_text(f"[servers.a]\nurl = '{url(front)}'\n[servers.a.login]\nbearer_file = 'token'\n")
    return ("--settings", str(settings), "--server", "a")


@pytest.mark.slow
def test_with_the_token_files_are_sent_found_and_fetched(
    front: Front, archive: Archive, named: tuple[str, ...], slices: Path, tmp_path: Path
) -> None:
    said = []
    for arguments in (
        ("push", slices, *named),
        ("find", *named, *EVER),
        ("pull", *named, *EVER, "--out", tmp_path / "out"),
    ):
        done = angio(*arguments)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout + done.stderr)
    assert len(archive.instances()) == 58
    found = by_uid(tmp_path / "out")
    assert set(found) == archive.instances()
    sent = {str(ds.SOPInstanceUID): ds.PixelData for ds in map(pydicom.dcmread, sorted(slices.rglob("*.dcm")))}
    assert {uid: pydicom.dcmread(path).PixelData for uid, path in found.items()} == sent
    assert front.passed > 0
    assert front.refused == 0
    assert not any(TOKEN in text for text in said)


def test_a_token_of_the_environment_opens_too(front: Front) -> None:
    done = angio("find", "--url", url(front), *EVER, ANGIO_PACS_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert (front.passed > 0, front.refused) == (True, 0)


@pytest.mark.parametrize("secret", [{"ANGIO_PACS_TOKEN": f"{TOKEN}x"}, {"ANGIO_PACS_LOGIN": "me:word"}, {}])
def test_what_is_not_the_token_is_told_and_nothing_passes(front: Front, secret: dict[str, str], slices: Path) -> None:
    for arguments in (("find", *EVER), ("push", slices)):
        said = one_sentence(angio(arguments[0], "--url", url(front), *arguments[1:], **secret))
        assert "accept the login" in said
        assert TOKEN not in said
    assert front.passed == 0
