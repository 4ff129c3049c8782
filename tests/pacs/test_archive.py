"""Against a real Orthanc: what is sent, found and fetched is what lies on the disk."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import command_here
import pydicom
import pytest
from pacs_command import angio, by_uid, need_orthanc, one_sentence
from pacs_server import Archive, orthanc
from small_runs import FAST

from angio_pipeline.pacs.find import Instance
from angio_pipeline.pacs.settings import Server
from angio_pipeline.pacs.web import web_archive

pytestmark = pytest.mark.slow

PATIENT = "SIM-6-000"
EVER = ("--from", "1990-01-01")


@pytest.fixture(scope="module")
def loaded(sample: Path, images: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """An Orthanc to which the command has sent the sample patient."""
    need_orthanc()
    folder = tmp_path_factory.mktemp("loaded")
    with orthanc(folder) as archive:
        done = angio("push", sample / "case-000" / "dicom", *archive.options, "--out", folder / "sent")
        assert done.returncode == 0, done.stderr
        assert f"Sent {len(images)} instances" in done.stdout
        assert archive.instances() == set(images)
        yield archive


def assert_same(found: dict[str, Path], images: dict[str, Path]) -> None:
    """The same data sets with the same pixels, in the same transfer syntax."""
    assert set(found) == set(images)
    for uid, path in found.items():
        ours, theirs = pydicom.dcmread(path), pydicom.dcmread(images[uid])
        assert ours == theirs, uid
        assert ours.PixelData == theirs.PixelData
        assert ours.file_meta.TransferSyntaxUID == theirs.file_meta.TransferSyntaxUID


@pytest.mark.parametrize("by", ["get", "move", "web"])
def test_what_is_fetched_is_what_was_sent(loaded: Archive, images: dict[str, Path], tmp_path: Path, by: str) -> None:
    options = [*loaded.options, "--url", loaded.url, "--by", by, "--listen-port", loaded.our_port]
    done = angio("pull", *options, "--patient-id", PATIENT, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert_same(by_uid(tmp_path / "out"), images)


def test_a_second_pull_fetches_what_is_missing_or_damaged_alone(
    loaded: Archive, images: dict[str, Path], tmp_path: Path
) -> None:
    def fetch() -> str:
        done = angio("pull", *loaded.options, "--patient-id", PATIENT, "--modality", "XA", "--out", tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Fetched 5 instances:" in fetch()
    first, second = sorted(tmp_path.rglob("*.dcm"))[:2]
    first.unlink()
    second.write_bytes(second.read_bytes()[:1000])
    assert "Fetched 2 instances, 3 there already" in fetch()
    found = by_uid(tmp_path)
    assert_same(found, {uid: images[uid] for uid in found})
    assert "Fetched 0 instances, 5 there already" in fetch()


def test_what_was_sent_is_sent_again_only_when_its_bytes_changed(
    loaded: Archive, images: dict[str, Path], tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    films = sorted(path for path in images.values() if path.name.startswith("film"))
    for film in films:
        (source / film.name).write_bytes(film.read_bytes())
    push = ("push", source, *loaded.options, "--out", tmp_path / "sent")
    assert "Sent 2 instances" in angio(*push).stdout
    assert "Sent 0 instances" in angio(*push).stdout
    changed = pydicom.dcmread(source / films[0].name)
    changed.SeriesDescription = "another"
    changed.save_as(source / films[0].name)
    assert "Sent 1 instance to" in angio(*push).stdout


@pytest.mark.parametrize("web", [False, True])
def test_studies_and_series_are_found_by_either_way(loaded: Archive, web: bool) -> None:
    options = ["--url", loaded.url] if web else loaded.options
    studies = angio("find", *options, "--patient-id", PATIENT).stdout.splitlines()
    assert studies[0] == "study_uid,date,modalities,series,instances"
    assert sorted(line.split(",")[1:] for line in studies[1:]) == [
        ["20240301", "CT", "1", "58"],
        ["20240304", "XA", "4", "4"],
        ["20240305", "CT", "1", "58"],
        ["20240401", "CT", "1", "58"],
        ["20240401", "XA", "1", "1"],
    ]
    window = angio("find", *options, "--from", "2024-03-05", "--to", "2024-04-01", "--modality", "CT").stdout
    assert [line.split(",")[1] for line in window.splitlines()[1:]] == ["20240305", "20240401"]
    series = angio("find", *options, "--patient-id", PATIENT, "--modality", "XA", "--level", "series").stdout
    assert [line.split(",")[2:] for line in series.splitlines()[1:]] == [["XA", "1"]] * 5


def test_patients_are_counted_and_told_when_asked_for_alone(loaded: Archive) -> None:
    assert angio("find", *loaded.options, *EVER, "--level", "patient").stdout == "studies\n5\n"
    told = angio("find", *loaded.options, *EVER, "--level", "patient", "--show-patients").stdout
    assert told == f"studies,patient_id\n5,{PATIENT}\n"
    assert PATIENT not in angio("find", *loaded.options, *EVER).stdout


def test_a_cohort_is_fetched_by_its_file(loaded: Archive, tmp_path: Path) -> None:
    cohort = tmp_path / "cohort.csv"
    cohort.write_text(f"patient_id,from,to,modality\n{PATIENT},2024-03-04,2024-03-31,XA\nNOBODY,,,\n")
    done = angio("pull", *loaded.options, "--query", cohort, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert len(by_uid(tmp_path / "out")) == 4


def test_nothing_found_is_told(loaded: Archive, tmp_path: Path) -> None:
    done = angio("pull", *loaded.options, "--patient-id", "NOBODY-9", "--out", tmp_path)
    assert "found none in the archive" in one_sentence(done)
    assert "NOBODY-9" not in done.stderr


def test_no_log_quotes_what_is_sent_or_asked(loaded: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("pynetdicom", "dicomweb_client", "urllib3", "pydicom"):
        assert not logging.getLogger(f"{name}.anything").isEnabledFor(logging.CRITICAL)
    for way in (loaded.options, ("--url", loaded.url)):
        angio("find", *way, "--patient-id", PATIENT)
        angio("pull", *way, "--patient-id", PATIENT, "--modality", "XA", "--out", tmp_path / str(len(way)))
    assert PATIENT not in caplog.text


def test_an_echo_is_answered(loaded: Archive) -> None:
    done = angio("echo", *loaded.options)
    assert done.returncode == 0
    assert "answered in" in done.stdout


def test_what_was_sent_is_vouched_for(loaded: Archive, images: dict[str, Path]) -> None:
    film = next(path for path in images.values() if path.name == "film-000.dcm")
    done = angio("push", film, *loaded.options, "--commit", "--listen-port", loaded.our_port)
    assert done.returncode == 0, done.stderr
    assert "vouches for all" in done.stdout


def test_frames_are_fetched_as_they_are_stored(loaded: Archive, images: dict[str, Path]) -> None:
    path = next(path for path in images.values() if path.name == "film-000.dcm")
    film = pydicom.dcmread(path)
    one = Instance(film.StudyInstanceUID, film.SeriesInstanceUID, film.SOPInstanceUID, film.SOPClassUID)
    with web_archive(Server(url=loaded.url)) as archive:
        (frame,) = archive.frames(one, [1])
    assert frame[: film.Rows * film.Columns * 2] == film.pixel_array.tobytes()


def test_files_are_sent_by_stow(archive: Archive, images: dict[str, Path], tmp_path: Path) -> None:
    runs = [path for path in images.values() if path.parent.name == "day000"]
    done = angio("push", *runs, "--url", archive.url)
    assert done.returncode == 0, done.stderr
    again = angio("pull", *archive.options, *EVER, "--out", tmp_path)
    assert again.returncode == 0, again.stderr
    found = by_uid(tmp_path)
    assert len(found) == len(runs)
    assert_same(found, {uid: path for uid, path in images.items() if path in runs})


def test_what_was_fetched_is_analysed_as_what_lies_on_the_disk(
    loaded: Archive, images: dict[str, Path], tmp_path: Path
) -> None:
    # Of each kind something: two projections, a film, one scan of the three.
    wanted = (("--modality", "XA"), ("--modality", "CT", "--from", "2024-03-05", "--to", "2024-03-05"))
    for some in wanted:
        pulled = angio("pull", *loaded.options, "--patient-id", PATIENT, *some, "--out", tmp_path / "studies")
        assert pulled.returncode == 0, pulled.stderr
    (tmp_path / "files").mkdir()
    for number, (uid, path) in enumerate(by_uid(tmp_path / "studies").items()):
        if images[uid].name == "post.dcm":
            path.unlink()
        else:
            shutil.copy(images[uid], tmp_path / "files" / f"{number}.dcm")
    (tmp_path / "fast.toml").write_text(FAST)
    results = {}
    for name, source in (("disk", tmp_path / "files"), ("pacs", tmp_path / "studies")):
        done = command_here.angio("run", source, "--out", tmp_path / name, "--config", tmp_path / "fast.toml")
        assert done.returncode == 0, done.stderr
        results[name] = {p.relative_to(tmp_path / name): _measured(p) for p in _documents(tmp_path / name)}
    assert results["disk"] == results["pacs"]
    assert len(results["disk"]) >= 4
    objects = {name: _objects(tmp_path / name) for name in results}
    assert objects["disk"] == objects["pacs"]
    assert {"seg.dcm", "sr.dcm", "projections-sr.dcm", "lipiodol-sr.dcm"} <= {path.name for path in objects["disk"]}


def _documents(out: Path) -> list[Path]:
    return [
        path for name in ("analysis.json", "graph.json", "lipiodol.json", "response.json") for path in out.rglob(name)
    ]


def _objects(out: Path) -> dict[Path, str]:
    return {p.relative_to(out): hashlib.sha256(p.read_bytes()).hexdigest() for p in out.rglob("*.dcm")}


def _measured(path: Path) -> object:
    return _without_names(json.loads(path.read_text()))


def _without_names(part: object) -> object:
    """A document, or a part of one, without what its sources' files were called: an archive gives other names."""
    if isinstance(part, dict):
        return {key: _without_names(value) for key, value in part.items() if key != "file"}
    return [_without_names(value) for value in part] if isinstance(part, list) else part
