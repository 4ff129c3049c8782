"""A real `angio run` over hostile inputs, every process of it watched: what it writes lies in OUT and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import hostile_files as hostile
import mutants
import numpy as np
import pytest
from pydicom.config import disable_value_validation
from pydicom.uid import RLELossless

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

# Python imports a module of this name at its start, in every process; processes forked from these inherit the hook.
WATCHER = """
import os, sys

_log = os.open(os.environ["WATCHED_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Where the paths of an event stand among its arguments, each with the descriptor of the folder it is relative to.
_CHANGES = {
    "os.rename": ((0, 2), (1, 3)), "os.mkdir": ((0, 2),), "os.rmdir": ((0, 1),), "os.remove": ((0, 1),),
    "os.link": ((0, 2), (1, 3)), "os.symlink": ((1, 2),), "os.truncate": ((0, None),), "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),), "os.utime": ((0, 3),), "shutil.move": ((0, None), (1, None)),
}


def _watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if flags & _WRITING:
            _tell(event, path, -1)
    for path, folder in _CHANGES.get(event, ()):
        _tell(event, arguments[path], -1 if folder is None else arguments[folder])


def _tell(event, path, folder):
    if isinstance(path, (str, bytes, os.PathLike)):
        base = os.getcwd() if folder in (-1, None) else os.readlink(f"/proc/self/fd/{folder}")
        whole = os.path.normpath(os.path.join(base, os.fsdecode(path)))
        os.write(_log, f"{event}\\t{whole!r}\\n".encode("utf-8", "backslashreplace"))


sys.addaudithook(_watch)
"""


def hostile_folder(folder: Path, sample: Path, evil: Path) -> None:
    """Attacks of every kind, each of which would leave a trace at `evil` or beside the folder."""
    sound = hostile.sound_run(folder / "sound.dcm").read_bytes()
    ways = ["../evil.dcm", "../../evil.dcm", f"{evil}/absolute.dcm", "..\\..\\evil.dcm", "C:\\evil.dcm", "ok.dcm"]
    hostile.zipped(folder / "ways.zip", [(name, sound) for name in ways])
    hostile.tarred(folder / "ways.tar.gz", [(name, sound) for name in ways], mode="w:gz")
    hostile.tarred(folder / "names.tar", [(name, sound) for name in ("a\x01\n.dcm", "\udce4.dcm", "x" * 250)])
    with tarfile.open(folder / "links.tar", "w") as bundle:
        link = tarfile.TarInfo("way")
        link.type, link.linkname = tarfile.SYMTYPE, str(evil)
        bundle.addfile(link)
        bundle.addfile(tarfile.TarInfo("way/through.dcm"))
    (folder / "out-link").symlink_to(evil)
    for number, uid in enumerate(("../../../evil", "/evil/1.2", "..", "1.2/../../evil")):
        ds = hostile.run_dataset(hostile.small_frames(number), name=f"uid{number}")
        with disable_value_validation():  # wrong on purpose
            for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "StudyDate"):
                delattr(ds, keyword)  # an element remembers how strict it was made
            ds.SeriesInstanceUID = ds.StudyInstanceUID = uid
            ds.PatientID, ds.SeriesNumber, ds.StudyDate = uid, number + 1, "../evil"
            hostile.save(ds, folder / f"uid{number}.dcm")
    hostile.claiming(folder / "claims.dcm", frames=10_000, rows=65_535, columns=65_535)
    segment = b"\x81\x00" * 100_000
    frame = np.array([2, 64, 64 + len(segment), *[0] * 13], "<u4").tobytes() + segment * 2
    hostile.compressed(folder / "rle.dcm", [frame] * 2, syntax=RLELossless, shape=(2, 64, 64))
    for number in range(3000, 3008):
        mutants.make_mutant(number, sample, folder / "mutants" / str(number), kinds=("film", "slice"))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> tuple[Path, list[str]]:
    """The folder that holds all of it, after the run, and what was written: event and path."""
    place = tmp_path_factory.mktemp("watched")
    for name in ("in", "hook", "tmp", "evil", "caches"):
        (place / name).mkdir()
    hostile_folder(place / "in", sample, place / "evil")
    (place / "hook" / "sitecustomize.py").write_text(WATCHER, encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(place / "hook"), str(ROOT / "src")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "WATCHED_LOG": str(place / "log"),
        "TMPDIR": str(place / "tmp"),
        "ANGIO_PSEUDONYM_KEY_FILE": str(place / "key" / "pseudonym.key"),
        "MPLCONFIGDIR": str(place / "caches"),
    }
    command = [sys.executable, "-m", "angio_pipeline", "run", str(place / "in"), "--out", str(place / "out"), "--quiet"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, cwd=place / "evil")
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    return place, (place / "log").read_text(encoding="utf-8").splitlines()


def test_nothing_is_written_outside_the_results_the_key_and_the_workspace(watched: tuple[Path, list[str]]) -> None:
    place, log = watched
    allowed = [str(place / name) for name in ("out", "key", "tmp", "caches")]
    strays = []
    for line in log:
        path = line.split("\t")[1].strip("'\"")
        below = any(path == root or path.startswith(root + os.sep) for root in allowed)
        # Compiled loops are kept beside their source; devices, and memory of our own, are no files.
        kept = path.startswith(str(ROOT / "src")) and f"{os.sep}__pycache__{os.sep}" in path + os.sep
        if not below and not kept and not path.startswith(("/dev/", "/proc/")):
            strays.append(line)
    assert not strays


def test_every_process_was_watched(watched: tuple[Path, list[str]]) -> None:
    place, log = watched
    events = {line.split("\t")[0] for line in log}
    assert {"open", "os.rename", "os.mkdir"} <= events
    # Archives are unpacked in a process of their own, results are written by another.
    assert any("sound" not in line and str(place / "tmp") in line and "ok.dcm" in line for line in log)
    assert any("record.json" in line for line in log)


def test_nothing_new_lies_beside_the_results(watched: tuple[Path, list[str]]) -> None:
    place, _ = watched
    assert {path.name for path in place.iterdir()} == {*("in", "out", "hook", "tmp", "evil", "caches", "key", "log")}
    assert not list((place / "evil").iterdir())
    assert not [path for path in (place / "tmp").rglob("*") if path.is_file()]
    named = {path.name for path in (place / "in").rglob("*")}
    assert not [name for name in named if "evil" in name]


def test_the_attacks_are_listed_and_the_sound_ones_analysed(watched: tuple[Path, list[str]]) -> None:
    place, _ = watched
    refused = (place / "out" / "refused.csv").read_text(encoding="utf-8")
    for name, reason in (("claims.dcm", "too_large"), ("rle.dcm", "corrupt_pixels"), ("ways.zip", "unsafe_member")):
        assert any(name in line and reason in line for line in refused.splitlines()), name
    assert list((place / "out" / "subjects").rglob("record.json"))
