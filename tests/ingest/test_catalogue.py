"""What a scan of a disk finds, keeps, leaves alone, and never tells."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pydicom
import pytest
from deadly_file import DEADLY, read_or_die

from angio_pipeline import ingest
from angio_pipeline.core.errors import ConfigError
from angio_pipeline.ingest.catalogue import TABLES, locate, reference, scan, summarise
from angio_pipeline.ingest.catalogue.tables import READ

Ask = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    return tmp_path / "disk.duckdb"


@pytest.fixture
def ask(catalogue: Path) -> Ask:
    """Ask the catalogue in SQL."""

    def asked(sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(catalogue), read_only=True) as connection:
            return list(connection.execute(sql).fetchall())

    return asked


_OPENED: list[str] = []
_WATCHED: list[str] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _WATCHED and str(arguments[0]).startswith(_WATCHED[0]):
        _OPENED.append(str(arguments[0]))


sys.addaudithook(_note)  # a hook stays for good: it looks only while something is watched


@contextmanager
def opened_below(folder: Path) -> Iterator[list[str]]:
    """The files below a folder that this process opens meanwhile."""
    _OPENED.clear()
    _WATCHED.append(str(folder))
    try:
        yield _OPENED
    finally:
        _WATCHED.clear()


def everything(catalogue: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All tables, without what the hour of the scan decides."""
    with duckdb.connect(str(catalogue), read_only=True) as connection:
        found = {}
        for name, table in TABLES.items():
            columns = ", ".join(f'"{column}"' for column in table.columns if column != "scan")
            if name != "scans":
                found[name] = sorted(connection.execute(f"SELECT {columns} FROM {name}").fetchall(), key=repr)
        return found


def many_runs(dicom: Any, count: int) -> None:
    """Write runs that differ in their UID alone."""
    content = dicom.run("pattern.dcm", SOPInstanceUID="1.2.3.100000").read_bytes()
    (dicom.folder / "pattern.dcm").unlink()
    for k in range(count):
        (dicom.folder / f"{k}.dcm").write_bytes(content.replace(b"1.2.3.100000", b"1.2.3.1%05d" % k))


@pytest.fixture
def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read by threads of this process, where it can be seen which are opened."""
    monkeypatch.setattr(sys.modules[scan.__module__], "_pool", ThreadPoolExecutor)


@pytest.mark.usefixtures("read_here")
def test_a_second_scan_opens_no_file_and_finds_the_same(dicom: Any, catalogue: Path) -> None:
    dicom.run()
    dicom.ct_series([0, 2, 4])
    (dicom.folder / "notes").write_text("no image")
    with opened_below(dicom.folder) as opened:
        first = scan([dicom.folder], catalogue)
        assert len(set(opened)) == 5
    before = catalogue.read_bytes()
    with opened_below(dicom.folder) as opened:
        second = scan([dicom.folder], catalogue)
        assert opened == []
    assert (first.found, first.read, second.found, second.read) == (5, 5, 5, 0)
    assert catalogue.read_bytes() == before


@pytest.mark.usefixtures("read_here")
def test_only_what_changed_is_read_again(dicom: Any, catalogue: Path, ask: Ask) -> None:
    changed, removed, kept = dicom.run("a.dcm"), dicom.run("b.dcm"), dicom.run("c.dcm", SeriesDescription="kept")
    scan([dicom.folder], catalogue)
    ds = pydicom.dcmread(changed)
    ds.SeriesDescription = "fluoro"
    ds.save_as(changed)
    removed.unlink()
    new = dicom.film("d.dcm")
    with opened_below(dicom.folder) as opened:
        report = scan([dicom.folder], catalogue)
    assert {Path(path).name for path in opened} == {changed.name, new.name}
    assert kept.exists()
    assert (report.found, report.read, report.removed) == (3, 2, 2)
    assert sorted(ask("SELECT role FROM instances")) == [("dsa_run",), ("fluoroscopy",), ("single_shot",)]


@pytest.mark.slow
def test_a_catalogue_brought_up_to_date_is_one_made_anew(dicom: Any, catalogue: Path, tmp_path: Path) -> None:
    paths = [dicom.run(f"{k}.dcm", PatientID=f"ID{k % 2}") for k in range(4)]
    shutil.copy(paths[0], dicom.folder / "copy.dcm")
    scan([dicom.folder], catalogue)
    paths[3].unlink()
    (dicom.folder / "copy.dcm").unlink()
    dicom.film("film.dcm", StudyDate="20260301")
    scan([dicom.folder], catalogue)
    anew = tmp_path / "anew.duckdb"
    scan([dicom.folder], anew)
    one, other = everything(catalogue), everything(anew)
    for tables in (one, other):  # a digest that was needed once stays
        tables["files"] = [row[:10] for row in tables["files"]]
    assert one == other


@pytest.mark.slow
def test_workers_find_what_one_process_finds(dicom: Any, catalogue: Path, tmp_path: Path) -> None:
    many_runs(dicom, 690)
    for k in range(9):
        shutil.copy(dicom.folder / f"{k}.dcm", dicom.folder / f"{k}-again.dcm")
    scan([dicom.folder], catalogue, workers=2)
    alone = tmp_path / "alone.duckdb"
    scan([dicom.folder], alone)
    assert everything(catalogue) == everything(alone)
    assert summarise(catalogue).problems == {"duplicate": 9}


@pytest.mark.slow
@pytest.mark.parametrize(("files", "workers"), [(690, 2), (12, 2), (12, 1)])
def test_a_file_that_ends_its_reader_is_named_and_all_others_are_read(
    dicom: Any, catalogue: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch, files: int, workers: int
) -> None:
    many_runs(dicom, files)
    (dicom.folder / "7.dcm").rename(dicom.folder / DEADLY)
    monkeypatch.setattr(sys.modules[scan.__module__], "read_files", read_or_die)
    scan([dicom.folder], catalogue, workers=workers)
    assert ask("SELECT reason, count(*) FROM files GROUP BY ALL ORDER BY ALL") == [
        ("reader_died", 1),
        (None, files - 1),
    ]
    assert summarise(catalogue).problems == {"reader_died": 1}
    assert scan([dicom.folder], catalogue, workers=workers).read == 0


def test_copies_and_conflicts_are_told_apart_and_one_stands_for_all(dicom: Any, catalogue: Path, ask: Ask) -> None:
    first = dicom.run("first.dcm")
    shutil.copy(first, dicom.folder / "copy")
    content = bytearray(first.read_bytes())
    content[-1] ^= 1
    (dicom.folder / "pixels.dcm").write_bytes(content)
    ds = pydicom.dcmread(first)
    ds.SeriesDescription = "other header"
    ds.save_as(dicom.folder / "header.dcm")
    scan([dicom.folder], catalogue)
    assert len(ask("SELECT * FROM instances")) == 1
    assert ask("SELECT copies FROM instances") == [(3,)]
    kinds = [kind for (kind,) in ask("SELECT verdict FROM copies")]
    named = {path.name: file_id for file_id, path in locate([dicom.folder])}
    digests = dict(ask("SELECT file_id, content_sha256 FROM files"))
    assert digests[named["first.dcm"]] == digests[named["copy"]] != digests[named["pixels.dcm"]]
    # Which of them stands for all is not told by its name: two are the same, so one or no copy is a plain duplicate.
    used = ask("SELECT DISTINCT used_file_id FROM copies")[0][0]
    same = used in (named["first.dcm"], named["copy"])
    assert kinds.count("duplicate") == (1 if same else 0)
    assert kinds.count("conflicting_duplicate") == (2 if same else 3)
    told = dict(ask("SELECT file_id, difference FROM copies"))
    assert told.get(named["header.dcm"], "header") == "header"


def test_only_files_that_may_be_copies_are_read_whole(dicom: Any, catalogue: Path, ask: Ask) -> None:
    first = dicom.run("first.dcm")
    dicom.run("alone.dcm")
    shutil.copy(first, dicom.folder / "copy.dcm")
    scan([dicom.folder], catalogue)
    named = {file_id: path.name for file_id, path in locate([dicom.folder])}
    hashed = {named[file_id] for (file_id,) in ask("SELECT file_id FROM files WHERE content_sha256 IS NOT NULL")}
    assert hashed == {"first.dcm", "copy.dcm"}


def test_archives_in_archives_without_names_that_tell_are_read(dicom: Any, catalogue: Path, ask: Ask) -> None:
    run, film = dicom.run("run"), dicom.film("film")
    slices = dicom.ct_series([0, 1, 2], folder="ct")
    inner = dicom.folder / "inner.zip"
    with zipfile.ZipFile(inner, "w") as bundle:
        bundle.write(run, "DISC/run")
    with zipfile.ZipFile(dicom.folder / "outer", "w") as bundle:
        bundle.write(inner, "deep/inner.zip")
        bundle.write(film, "film")
    with tarfile.open(dicom.folder / "slices.tar.gz", "w:gz") as bundle:
        for path in slices:
            bundle.add(path, path.name)
    for path in (run, film, inner, *slices):
        path.unlink()
    report = scan([dicom.folder], catalogue)
    assert report.found == 2
    assert sorted(ask("SELECT role, instances FROM series")) == [
        ("ct", 3),
        ("dsa_run", 1),
        ("single_shot", 1),
    ] or sorted(ask("SELECT roles FROM series")) == [("ct:3",), ("dsa_run:1 single_shot:1",)]
    assert dict(ask("SELECT content, count(*) FROM files GROUP BY 1")) == {"archive": 3, "dicom": 5}
    assert not list(catalogue.parent.glob("*.unpacked"))
    with opened_below(dicom.folder) as opened:
        assert scan([dicom.folder], catalogue).read == 0
    assert opened == []


@pytest.mark.slow
def test_members_go_with_their_archive(dicom: Any, catalogue: Path, ask: Ask) -> None:
    run, kept = dicom.run("run"), dicom.film("kept")
    with zipfile.ZipFile(dicom.folder / "a.zip", "w") as bundle:
        bundle.write(run)
    run.unlink()
    scan([dicom.folder], catalogue)
    assert len(ask("SELECT * FROM instances")) == 2
    (dicom.folder / "a.zip").unlink()
    scan([dicom.folder], catalogue)
    assert kept.exists()
    assert ask("SELECT role FROM instances") == [("single_shot",)]


@pytest.mark.slow
def test_a_copy_within_an_archive_is_a_copy(dicom: Any, catalogue: Path, ask: Ask) -> None:
    run = dicom.run("run.dcm")
    with zipfile.ZipFile(dicom.folder / "a.zip", "w") as bundle:
        bundle.write(run, "again.dcm")
    scan([dicom.folder], catalogue)
    assert ask("SELECT verdict, difference FROM copies") == [("duplicate", "none")]
    assert ask("SELECT archive_id FROM files JOIN instances USING (file_id)") == [(None,)]


@pytest.mark.slow
def test_what_a_dicomdir_lists_and_the_disc_lacks_is_told(disc: Path, catalogue: Path, ask: Ask) -> None:
    listed = sorted(path for path in disc.rglob("*") if path.is_file() and path.name != "DICOMDIR")
    listed[0].unlink()
    scan([disc / "DICOMDIR"], catalogue)
    assert ask("SELECT content, count(*) FROM files GROUP BY 1 ORDER BY 1") == [("dicom", 1), ("dicomdir", 1)]
    assert ("missing_from_set",) in ask("SELECT code FROM problems")


@pytest.mark.parametrize(("share", "reason"), [(0.0, "empty_file"), (0.01, "not_dicom"), (0.97, "truncated")])
def test_half_written_files_are_named_as_such(dicom: Any, catalogue: Path, ask: Ask, share: float, reason: str) -> None:
    path = dicom.run()
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    dicom.film()
    scan([dicom.folder], catalogue)
    assert ask("SELECT reason FROM files WHERE reason IS NOT NULL") == [(reason,)]
    assert ("single_shot",) in ask("SELECT role FROM instances")


@pytest.mark.slow
def test_compressed_files_that_end_early_are_named_as_such(
    real_data: Path, catalogue: Path, tmp_path: Path, ask: Ask
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    whole = (real_data / "xa_phantom" / "IM4").read_bytes()
    (folder / "whole").write_bytes(whole)
    (folder / "cut").write_bytes(whole[: len(whole) // 2])
    (folder / "longer").write_bytes(whole + b"\xfc\xff\xfc\xff\x4f\x42\0\0\4\0\0\0\0\0\0\0")
    scan([folder], catalogue)
    named = {file_id: path.name for file_id, path in locate([folder])}
    told = {named[file_id]: reason for file_id, reason in ask("SELECT file_id, reason FROM files")}
    assert told == {"whole": None, "cut": "truncated", "longer": None}


@pytest.mark.slow
def test_real_files_sound_and_malformed_are_all_accounted_for(real_data: Path, catalogue: Path, ask: Ask) -> None:
    report = scan([real_data], catalogue)
    (count,) = ask("SELECT count(*) FROM files")[0]
    assert count == report.found == report.read
    assert ask(
        "SELECT count(*) FROM files WHERE content = 'dicom' AND file_id NOT IN (SELECT file_id FROM headers)"
    ) == [(0,)]
    assert ask("SELECT role FROM series WHERE frames = 96") == [("dsa_run",)]


def test_catalogue_and_discovery_name_patients_alike(dicom: Any, catalogue: Path, look: Any, ask: Ask) -> None:
    dicom.run("a.dcm", PatientID="A", IssuerOfPatientID="X")
    dicom.run("b.dcm", PatientID="B")
    dicom.run("c.dcm", PatientID=None)
    scan([dicom.folder], catalogue)
    found = look(dicom.folder)
    assert {subject for (subject,) in ask("SELECT subject FROM patients")} == {r.source.subject for r in found.runs}
    dates = {(r.source.sop_instance_uid, r.source.date, r.source.acquired) for r in found.runs}
    assert set(ask("SELECT sop_instance_uid, date, acquired FROM instances")) == dates


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ({"PatientID": "1"}, {"PatientID": "2"}, "same_name_and_birth_date"),
        (
            {"PatientID": "1", "PatientName": "Müller^Jörg"},
            {"PatientID": "2", "PatientName": "JORG MULLER"},
            "same_name_and_birth_date",
        ),
        (
            {"IssuerOfPatientID": "A", "PatientName": "A^B"},
            {"IssuerOfPatientID": "B", "PatientName": "C^D"},
            "same_number_other_issuer",
        ),
        (
            {"PatientID": "00-12a", "PatientName": "A^B"},
            {"PatientID": "12A", "PatientName": "C^D"},
            "similar_number",
        ),
    ],
)
def test_look_alikes_are_told_and_not_merged(
    dicom: Any, catalogue: Path, ask: Ask, one: dict[str, str], other: dict[str, str], reason: str
) -> None:
    common = {"SpecificCharacterSet": "ISO_IR 192"}
    dicom.run("a.dcm", StudyInstanceUID="1.2.1", **common, **one)
    dicom.run("b.dcm", StudyInstanceUID="1.2.2", **common, **other)
    dicom.run("c.dcm", StudyInstanceUID="1.2.3", PatientID="9", PatientName="N^N", PatientBirthDate="19700101")
    scan([dicom.folder], catalogue)
    assert len(ask("SELECT * FROM patients")) == 3
    assert [told for (told,) in ask("SELECT reason FROM look_alikes")] == [reason]


def test_one_study_under_two_numbers_and_two_names_under_one_number_are_told(
    dicom: Any, catalogue: Path, ask: Ask
) -> None:
    dicom.run("a.dcm", PatientName="A^A")
    dicom.run("b.dcm", PatientID="OTHER", PatientName="B^B")
    dicom.run("c.dcm", PatientName="C^C")
    scan([dicom.folder], catalogue)
    assert ask("SELECT reason FROM look_alikes") == [("same_study",)]
    assert ("one_number_two_persons",) in ask("SELECT code FROM problems")
    assert sorted(ask("SELECT persons FROM patients")) == [(1,), (2,)]


@pytest.mark.slow
def test_series_pairs_and_time_of_the_sample(sample: Path, catalogue: Path, ask: Ask, tmp_path: Path) -> None:
    scan([sample], catalogue)
    assert ask("SELECT role, phase, count(*) FROM series GROUP BY ALL ORDER BY ALL") == [
        ("ct", "arterial", 1), ("ct", "plain", 2), ("dsa_run", None, 3), ("region", None, 1), ("single_shot", None, 2),
    ]  # fmt: skip
    assert ask("SELECT days, dsa_runs, ct_series FROM timeline ORDER BY date") == [
        (-3, 0, 1), (0, 3, 0), (1, 0, 1), (28, 0, 1),
    ]  # fmt: skip
    ((date, by, minutes),) = ask("SELECT date, paired_by, minutes FROM pairs")
    assert (date, by, minutes) == ("20240304", "label", 20.0)
    runs = ingest.discover([sample], workspace=tmp_path / "w").runs
    assert {run.source.sop_instance_uid for run in runs} == {
        uid for (uid,) in ask("SELECT sop_instance_uid FROM instances WHERE role = 'dsa_run'")
    }


def test_no_name_number_birth_date_or_path_is_in_the_catalogue(dicom: Any, catalogue: Path) -> None:
    canaries = ("CANARYNAME", "MRN-CANARY", "19110203", "CANARYWORD", "CANARYFOLDER")
    tags = {
        "PatientName": "CANARYNAME^CANARYNAME", "PatientID": "MRN-CANARY", "PatientBirthDate": "19110203",
        "SeriesDescription": "CANARYWORD arterial", "ProtocolName": "CANARYWORD DynaCT", "Manufacturer": "CANARYWORD",
        "ManufacturerModelName": "CANARYWORD artis", "ContrastBolusAgent": "CANARYWORD",
        "IssuerOfPatientID": "CANARYWORD",
    }  # fmt: skip
    dicom.run("CANARYFOLDER/MRN-CANARY.dcm", **tags)
    dicom.ct_series([0, 1, 2], folder="CANARYFOLDER/ct", **tags)
    odd = dicom.run("CANARYFOLDER/odd", **tags, SeriesNumber=None)
    content = odd.read_bytes().replace(b"CS\x02\x00XA", b"CS\x02\x00\xc3\xa4")
    odd.write_bytes(content)
    (dicom.folder / "CANARYNAME.pdf").write_text("CANARYNAME")
    with zipfile.ZipFile(dicom.folder / "CANARYNAME.zip", "w") as bundle:
        bundle.write(dicom.folder / "CANARYFOLDER" / "odd", "CANARYNAME/odd")
    scan([dicom.folder], catalogue)
    content = catalogue.read_bytes()
    assert not [word for word in canaries if word.encode() in content]
    # The file's blocks may be compressed: every value is looked at as well.
    told = repr(everything(catalogue))
    assert not [word for word in canaries if word in told]
    assert "dsa_run" in told or "rotation" in told


def test_who_has_the_disk_finds_every_file_again(dicom: Any, catalogue: Path, ask: Ask) -> None:
    paths = {dicom.run("a/b.dcm"), dicom.film("c")}
    scan([dicom.folder], catalogue)
    ids = {file_id for (file_id,) in ask("SELECT file_id FROM instances")}
    assert {path for _, path in locate([dicom.folder], ids)} == {path.resolve() for path in paths}
    assert list(locate([dicom.folder], set())) == []


@pytest.mark.slow
def test_what_a_catalogue_holds_of_other_disks_stays(dicom: Any, catalogue: Path, ask: Ask) -> None:
    dicom.run("one/a.dcm")
    dicom.film("two/b.dcm")
    one, two = dicom.folder / "one", dicom.folder / "two"
    scan([one], catalogue)
    scan([two], catalogue)
    assert len(ask("SELECT * FROM instances")) == 2
    shutil.rmtree(one)
    one.mkdir()
    scan([two], catalogue)
    assert len(ask("SELECT * FROM instances")) == 2
    scan([one], catalogue)
    assert ask("SELECT role FROM instances") == [("single_shot",)]


def test_a_file_below_two_sources_is_there_once(dicom: Any, catalogue: Path, ask: Ask) -> None:
    dicom.run("in/a.dcm")
    scan([dicom.folder, dicom.folder / "in", dicom.folder], catalogue)
    assert len(ask("SELECT * FROM files")) == 1


def test_a_link_that_leads_back_ends(dicom: Any, catalogue: Path, ask: Ask) -> None:
    dicom.run("in/a.dcm")
    (dicom.folder / "in" / "up").symlink_to(dicom.folder)
    (dicom.folder / "broken").symlink_to(dicom.folder / "nowhere")
    scan([dicom.folder], catalogue)
    assert sorted(ask("SELECT content, reason FROM files")) == [("dicom", None), ("other", "unreadable")]


def test_a_catalogue_on_the_disk_that_it_describes_is_not_part_of_it(dicom: Any) -> None:
    dicom.run("a.dcm")
    catalogue = dicom.folder / "disk.duckdb"
    (dicom.folder / "disk.duckdb2").write_text("another file")
    assert scan([dicom.folder], catalogue).found == 2
    assert scan([dicom.folder], catalogue).read == 0


def test_results_truth_and_hidden_files_are_left_out(dicom: Any, catalogue: Path) -> None:
    dicom.run("a.dcm")
    tables = ("shared/journal.jsonl", "shared/state.json", "shared/report.html")  # beside de-identified copies
    for name in (".hidden", "truth/x.dcm", "truth/plan.json", "out/refused.csv", "out/subjects/x.dcm", *tables):
        path = dicom.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert scan([dicom.folder], catalogue).found == 1


def test_another_key_another_file_and_a_missing_disk_are_refused(
    dicom: Any, catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dicom.run()
    scan([dicom.folder], catalogue)
    before = catalogue.read_bytes()
    with pytest.raises(ConfigError, match="found nothing at"):
        scan([tmp_path / "nowhere"], catalogue)
    monkeypatch.setenv("ANGIO_PSEUDONYM_KEY_FILE", str(tmp_path / "other.key"))
    with pytest.raises(ConfigError, match="found another one; use that key"):
        scan([dicom.folder], catalogue)
    assert catalogue.read_bytes() == before
    other = tmp_path / "other.duckdb"
    with duckdb.connect(str(other)) as connection:
        connection.execute("CREATE TABLE mine (x INTEGER)")
    content = other.read_bytes()
    with pytest.raises(ConfigError, match="Expected a catalogue at other"):
        scan([dicom.folder], other)
    assert other.read_bytes() == content


@pytest.mark.slow
def test_a_catalogue_of_older_rules_is_read_anew(dicom: Any, catalogue: Path, ask: Ask) -> None:
    dicom.run()
    scan([dicom.folder], catalogue)
    with duckdb.connect(str(catalogue)) as connection:
        connection.execute("UPDATE scans SET version = 'older'")
        connection.execute("DROP TABLE patients")
    assert scan([dicom.folder], catalogue).read == 1
    assert len(ask("SELECT * FROM patients")) == 1


def test_a_draft_that_cannot_be_read_is_begun_anew(dicom: Any, catalogue: Path, ask: Ask) -> None:
    dicom.run()
    catalogue.with_name(catalogue.name + ".partial").write_bytes(b"half a database" * 100)
    catalogue.with_name(catalogue.name + ".partial.wal").write_bytes(b"half a log")
    scan([dicom.folder], catalogue)
    assert len(ask("SELECT * FROM instances")) == 1
    assert sorted(path.name for path in catalogue.parent.iterdir()) == ["disk.duckdb", "in"]


def test_two_scans_into_one_catalogue_do_not_mix(dicom: Any, catalogue: Path) -> None:
    dicom.run()
    draft = catalogue.with_name(catalogue.name + ".partial")
    script = f"import duckdb, time; c = duckdb.connect({str(draft)!r}); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(ConfigError, match="open in another process"):
            scan([dicom.folder], catalogue)
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_scan_that_is_killed_goes_on_where_it_was(
    dicom: Any, catalogue: Path, ask: Ask, tmp_path: Path, workers: int
) -> None:
    dicom.run("former.dcm")
    scan([dicom.folder], catalogue)
    former = catalogue.read_bytes()
    many_runs(dicom, 2000)
    # The process ends itself the hard way after the second chunk is stored: no cleaning up of any kind.
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, signal, sys\nfrom pathlib import Path\nfrom angio_pipeline.ingest.catalogue import scan\n"
        "def told(done, total):\n    if done >= 1000: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"if __name__ == '__main__': scan([Path({str(dicom.folder)!r})], Path({str(catalogue)!r}), "
        f"workers={workers}, progress=told)\n"
    )
    # Workers that stayed would hold its output open, and this would not come back.
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert catalogue.read_bytes() == former
    assert len(ask("SELECT * FROM instances")) == 1
    deadline = time.monotonic() + 20
    while True:  # workers of the killed process end by themselves, and with them its hold on the draft
        try:
            report = scan([dicom.folder], catalogue)
            break
        except ConfigError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert 0 < report.read <= 1000
    assert len(ask("SELECT * FROM instances")) == 2001
    anew = tmp_path / "anew.duckdb"
    scan([dicom.folder], anew)
    assert everything(anew) == everything(catalogue)
    assert not list(catalogue.parent.glob("*.partial*"))


def test_every_table_and_column_is_described_in_the_database(dicom: Any, catalogue: Path, ask: Ask) -> None:
    dicom.run()
    scan([dicom.folder], catalogue)
    told = {(table, column): comment for table, column, comment in ask(
        "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE schema_name = 'main' AND NOT internal"
    )}  # fmt: skip
    described = {
        (name, column): words for name, table in TABLES.items() for column, (_, words) in table.columns.items()
    }
    assert told == described
    assert set(READ) < set(TABLES)


@pytest.mark.slow
def test_a_folder_that_cannot_be_listed_is_a_problem_and_no_end(
    dicom: Any, catalogue: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    dicom.run("a/a.dcm")
    dicom.run("b/b.dcm")
    listing = os.scandir

    def refused(path: str) -> Any:
        if str(path).endswith("/b"):
            raise PermissionError(13, "no")
        return listing(path)

    monkeypatch.setattr(os, "scandir", refused)
    scan([dicom.folder], catalogue)
    assert ask("SELECT code FROM problems") == [("unreadable",)]
    monkeypatch.undo()
    scan([dicom.folder], catalogue)
    assert ask("SELECT code FROM problems") == []
    assert len(ask("SELECT * FROM instances")) == 2


def test_the_page_of_tables_is_the_one_that_the_code_makes() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "exports.md"
    assert reference() in page.read_text(encoding="utf-8")
