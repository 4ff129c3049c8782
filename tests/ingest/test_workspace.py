"""What archives held goes away with whoever unpacked it, also when that was killed."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from angio_pipeline.ingest.workspace import remove_orphans, temporary_workspace

_OWNER = """
from angio_pipeline.ingest.workspace import temporary_workspace
with temporary_workspace() as folder:
    (folder / "unpacked").mkdir()
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, this test's alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def owner(place: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process with a folder of its own."""
    command = [sys.executable, "-c", _OWNER]
    environment = os.environ | {"TMPDIR": str(place)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_a_folder_is_its_owners_alone_and_goes_with_it(place: Path) -> None:
    with temporary_workspace() as folder:
        assert folder.parent == place
        assert folder.stat().st_mode & 0o777 == 0o700
        assert remove_orphans(place) == 0
    assert list(place.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="locks that end with their process are POSIX's")
def test_the_folder_of_a_killed_process_goes_with_the_next_command_and_not_before_it_is_dead(place: Path) -> None:
    with owner(place) as (process, left):
        with temporary_workspace():
            assert (left / "unpacked").is_dir()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert left.is_dir()
        with temporary_workspace() as ours:
            assert sorted(place.iterdir()) == [ours]


@pytest.mark.skipif(os.name != "posix", reason="links and locks are POSIX's")
def test_what_is_not_known_to_be_ours_stays(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (place / "angio-without-lock").mkdir()
    other = place / "other-tool"
    other.mkdir()
    (other / ".owner").touch()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / ".owner").write_text(platform.node())
    (place / "angio-link").symlink_to(elsewhere)
    far = place / "angio-of-another-machine"
    far.mkdir()
    (far / ".owner").write_text("another-machine")
    assert remove_orphans(place) == 0
    assert len(list(place.iterdir())) == 4
    assert (elsewhere / ".owner").is_file()
