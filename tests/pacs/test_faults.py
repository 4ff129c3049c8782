"""What goes wrong against a real Orthanc: one sentence, a status that is not 0, and a second call that completes."""

from __future__ import annotations

import base64
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pacs_command import angio, by_uid, ended, need_orthanc, one_sentence, start
from pacs_server import Archive, free_port, orthanc
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

from angio_pipeline.pacs.transport import Entity

EVER = ("--from", "1990-01-01")


@pytest.fixture
def slices(sample: Path) -> Path:
    return sample / "case-000" / "dicom" / "baseline-ct"


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (("--called-aet", "NOBODY"), "does not know the called AE title"),
        (("--calling-aet", "STRANGER"), "does not know the calling AE title"),
    ],
)
def test_a_wrong_title_is_told(archive: Archive, slices: Path, wrong: tuple[str, str], found: str) -> None:
    assert found in one_sentence(angio("echo", *archive.options, *wrong))
    assert found in one_sentence(angio("push", slices, *archive.options, *wrong))
    assert archive.instances() == set()


def test_nobody_there_is_told(tmp_path: Path) -> None:
    port = free_port()
    assert "no connection" in one_sentence(angio("echo", "--host", "127.0.0.1", "--port", port))
    url = f"http://127.0.0.1:{port}/dicom-web"
    assert "no answer" in one_sentence(angio("find", "--url", url, *EVER))


@pytest.mark.slow
def test_a_destination_that_the_archive_does_not_know_is_told(archive: Archive, slices: Path, tmp_path: Path) -> None:
    assert angio("push", slices, *archive.options).returncode == 0
    archive.stop()
    archive.start(DicomModalities={"angio": {"AET": "ANGIO", "Host": "127.0.0.1", "Port": 1}})
    try:
        options = (*archive.options, "--by", "move", "--listen-port", free_port())
        assert "58 did not come" in one_sentence(angio("pull", *options, *EVER, "--out", tmp_path))
    finally:
        archive.stop()
        archive.start(DicomModalities={"angio": {"AET": "ANGIO", "Host": "127.0.0.1", "Port": archive.our_port}})


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Archive]:
    """An Orthanc that asks for a password by HTTP."""
    need_orthanc()
    with orthanc(tmp_path / "locked", AuthenticationEnabled=True, RegisteredUsers={"me": "s3cret:word"}) as archive:
        yield archive


@pytest.mark.slow
def test_a_login_opens_and_a_wrong_one_is_told_and_neither_is_shown(locked: Archive, slices: Path) -> None:
    find = ("find", "--url", locked.url, *EVER)
    right = angio(*find, ANGIO_PACS_LOGIN="me:s3cret:word")
    assert right.returncode == 0, right.stderr
    for login in ({"ANGIO_PACS_LOGIN": "me:n0t-this"}, {"ANGIO_PACS_TOKEN": "n0t-this"}, {}):
        wrong = angio(*find, **login)
        assert "accept the login" in one_sentence(wrong)
        assert "n0t-this" not in wrong.stderr
    coded = base64.b64encode(b"me:s3cret:word").decode()
    assert not {"s3cret", coded} & set((right.stdout + right.stderr).split())


def test_a_secret_is_not_sent_in_clear_to_another_machine() -> None:
    done = angio("find", "--url", "http://pacs.example.org/dicom-web", *EVER, ANGIO_PACS_TOKEN="s3cret")
    assert "Expected https" in one_sentence(done, status=2)


def push_and_kill(archive: Archive, source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """The push of a folder during which the server is killed after it took some of it."""
    child = start("push", source, *archive.options, "--out", out)
    memory, end = out / ".pacs-state.jsonl", time.monotonic() + 60
    while not memory.is_file() or memory.read_bytes().count(b"\n") < 5:
        assert time.monotonic() < end, "nothing was sent"
        time.sleep(0.002)
    archive.stop(signal.SIGKILL)
    return ended(child)


@pytest.mark.slow
def test_a_server_that_dies_during_a_push_is_told_and_the_rest_is_sent_later(
    tmp_path: Path, sample: Path, images: dict[str, Path]
) -> None:
    need_orthanc()
    with orthanc(tmp_path / "orthanc") as archive:
        source, out = sample / "case-000" / "dicom", tmp_path / "sent"
        said = one_sentence(push_and_kill(archive, source, out))
        assert "127.0.0.1" in said
        archive.start()
        taken = len(archive.instances())
        assert 0 < taken < len(images)
        again = angio("push", source, *archive.options, "--out", out)
        assert again.returncode == 0, again.stderr
        assert f"{len(images)} instances" not in again.stdout  # not all of them anew
        assert archive.instances() == set(images)


@pytest.mark.slow
def test_a_server_that_dies_during_a_pull_is_told_and_the_rest_is_fetched_later(
    tmp_path: Path, sample: Path, images: dict[str, Path]
) -> None:
    need_orthanc()
    with orthanc(tmp_path / "orthanc") as archive:
        assert angio("push", sample / "case-000" / "dicom", *archive.options).returncode == 0
        out = tmp_path / "out"
        child = start("pull", *archive.options, *EVER, "--out", out)
        end = time.monotonic() + 60
        while len(list(out.rglob("*.dcm"))) < 3:
            assert time.monotonic() < end
            time.sleep(0.002)
        archive.stop(signal.SIGKILL)
        one_sentence(ended(child))
        assert not list(out.rglob(".tmp-*"))
        archive.start()
        before = set(by_uid(out))
        assert 0 < len(before) < len(images)
        again = angio("pull", *archive.options, *EVER, "--out", out)
        assert again.returncode == 0, again.stderr
        assert f"{len(before)} there already" in again.stdout
        assert set(by_uid(out)) == set(images)


@pytest.mark.slow
def test_a_full_archive_is_told_and_takes_the_rest_when_it_has_room(tmp_path: Path, slices: Path) -> None:
    need_orthanc()
    with orthanc(tmp_path / "orthanc", MaximumStorageSize=1) as archive:
        push = ("push", slices, *archive.options, "--out", tmp_path / "sent")
        assert "0xA700, out of resources" in one_sentence(angio(*push))
        taken = len(archive.instances())
        assert 0 < taken < 58
        archive.stop()
        archive.start(MaximumStorageSize=0)
        done = angio(*push)
        assert done.returncode == 0, done.stderr
        assert f"Sent {58 - taken} instances" in done.stdout
        assert len(archive.instances()) == 58


@pytest.mark.slow
def test_a_server_that_is_back_in_time_is_waited_for(tmp_path: Path, slices: Path) -> None:
    need_orthanc()
    with orthanc(tmp_path / "orthanc") as archive:
        assert angio("push", slices, *archive.options).returncode == 0
        archive.stop()
        later = threading.Timer(0.7, archive.start)
        later.start()
        done = angio("pull", *archive.options, *EVER, "--out", tmp_path / "out")
        later.join()
        assert done.returncode == 0, done.stderr
        assert len(by_uid(tmp_path / "out")) == 58


class _Late(threading.Event):
    """A gate whose passers are slow, as on a busy machine."""

    def wait(self, timeout: float | None = None) -> bool:
        passed = super().wait(timeout)
        time.sleep(0.03)
        return passed


@pytest.mark.slow
def test_no_answer_is_lost_to_a_thread_that_passed_the_gate_too_late(
    archive: Archive, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert angio("push", slices, *archive.options).returncode == 0
    make = Entity._create_socket

    def late(self: Entity, assoc: Association, *arguments: Any) -> AssociationSocket:
        assoc._reactor_checkpoint = _Late()
        assoc._reactor_checkpoint.set()
        return make(self, assoc, *arguments)

    monkeypatch.setattr(Entity, "_create_socket", late)
    for _ in range(5):
        found = angio("find", *archive.options, *EVER, "--level", "image")
        assert found.returncode == 0, found.stderr
        assert len(found.stdout.splitlines()) == 1 + 58


HALF = """n = 0
function ReceivedInstanceFilter(dicom, origin, info)
  n = n + 1
  return n % 2 == 0
end
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--check",), ("--commit",)], ids=["asked what it holds", "asked to vouch"])
def test_an_archive_that_drops_half_of_what_it_says_it_took_is_caught(
    tmp_path: Path, slices: Path, options: tuple[str, ...]
) -> None:
    need_orthanc()
    (tmp_path / "half.lua").write_text(HALF)
    with orthanc(tmp_path / "orthanc", LuaScripts=[str(tmp_path / "half.lua")]) as archive:
        port = ("--listen-port", archive.our_port)
        push = ("push", slices, *archive.options, "--out", tmp_path / "sent", *options, *port)
        assert "does not for 29" in one_sentence(angio(*push))
        assert len(archive.instances()) == 29
        archive.stop()
        archive.start(LuaScripts=None)
        done = angio(*push)
        assert done.returncode == 0, done.stderr
        assert "Sent 29 instances" in done.stdout
        assert len(archive.instances()) == 58


@pytest.mark.slow
def test_no_room_for_what_is_fetched_is_told(archive: Archive, slices: Path, tmp_path: Path) -> None:
    assert angio("push", slices, *archive.options).returncode == 0
    (tmp_path / "pacs.toml").write_text("[listener]\nreserve_mb = 1e12\n")
    pull = ("pull", *archive.options, *EVER, "--out", tmp_path / "out")
    assert "Expected room" in one_sentence(angio(*pull, "--settings", tmp_path / "pacs.toml"))
    assert by_uid(tmp_path / "out") == {}
    assert angio(*pull).returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("echo",),
        ("find", "--host", "127.0.0.1"),
        ("find", "--host", "127.0.0.1", "--patient-id", "A*"),
        ("pull", "--url", "http://127.0.0.1:1/", "--by", "get", "--patient-id", "A", "--out", "x"),
        ("echo", "--host", "127.0.0.1", "--called-aet", "A TITLE THAT IS TOO LONG"),
        ("push", ".", "--url", "http://127.0.0.1:1/", "--commit"),
        ("listen", "--out", "x"),
        ("listen", "--out", "x", "--calling-aet", "A"),
    ],
)
def test_misuse_is_status_2_and_one_sentence(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "angio: Expected" in one_sentence(angio(*arguments), status=2)
