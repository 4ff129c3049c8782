"""What is done with bytes that came over the network, whatever they are."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from angio_pipeline.pacs import inbox as room
from angio_pipeline.pacs.inbox import DUPLICATE, NO_ROOM, NOT_UNDERSTOOD, NOT_WANTED, STORED, Inbox
from angio_pipeline.pacs.journal import Journal

CT = "1.2.840.10008.5.1.4.1.1.2"


def dataset(uid: str = "1.2.3.4", **changes: object) -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CT, uid
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    made.PatientID, made.PatientName = "SECRET-1", "SECRET^NAME"
    made.PixelData, made["PixelData"].VR = b"\1\2" * 500, "OW"
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def give(
    inbox: Inbox, made: Dataset, *, uid: str = "1.2.3.4", syntax: str = ExplicitVRLittleEndian, sop_class: str = CT
) -> int:
    kind = pydicom.uid.UID(syntax)
    encoded = encode(made, kind.is_implicit_VR, kind.is_little_endian, kind.is_deflated)
    assert encoded is not None
    return inbox.store(encoded, syntax=syntax, sop_class=sop_class, uid=uid)


def files(folder: Path) -> list[str]:
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != ".pacs-state.jsonl"]
    return sorted(str(path.relative_to(folder)) for path in found)


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(Journal(tmp_path / "in"), reserve_mb=0)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_an_instance_lies_where_its_uids_say_as_it_came(inbox: Inbox, syntax: str) -> None:
    assert give(inbox, dataset(), syntax=syntax) == STORED
    path = inbox.journal.folder / "1.2.3" / "1.2.3.1" / "1.2.3.4.dcm"
    stored = pydicom.dcmread(path)
    assert stored == dataset()
    assert stored.file_meta.TransferSyntaxUID == syntax
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("wrong", ["../../../escape", "/etc/x", "1..2", "", "1.2.a", "1." * 40 + "1", "1.2 3", "١.2"])
@pytest.mark.parametrize("name", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_what_is_no_uid_touches_no_path(inbox: Inbox, name: str, wrong: str) -> None:
    made = dataset()
    made[name] = pydicom.DataElement(name, "UI", wrong.encode(errors="replace").decode("latin1"), validation_mode=0)
    given = wrong if name == "SOPInstanceUID" else "1.2.3.4"
    assert give(inbox, made, uid=given) == NOT_UNDERSTOOD
    assert files(inbox.journal.folder.parent) == []


def test_an_instance_that_is_not_what_the_message_names_is_refused(inbox: Inbox) -> None:
    assert give(inbox, dataset("1.2.3.5")) == NOT_UNDERSTOOD
    assert give(inbox, dataset(), sop_class="1.2.840.10008.5.1.4.1.1.4") == NOT_UNDERSTOOD


@pytest.mark.parametrize("content", [b"", b"\0" * 50, os.urandom(0) + b"\xff" * 4000, b"\x08\x00\x18\x00UI\xff\xff1.2"])
def test_bytes_that_are_no_data_set_are_refused(inbox: Inbox, content: bytes) -> None:
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, "1.2.3"):
        assert inbox.store(content, syntax=syntax, sop_class=CT, uid="1.2.3.4") == NOT_UNDERSTOOD
    assert files(inbox.journal.folder) == []


def test_the_same_instance_again_is_taken_and_not_written(inbox: Inbox) -> None:
    news: list[bool] = []
    again = Inbox(inbox.journal, reserve_mb=0, on_arrival=lambda arrival: news.append(arrival.new))
    assert [give(again, dataset()), give(again, dataset())] == [STORED, STORED]
    assert news == [True, False]
    assert len(files(inbox.journal.folder)) == 1


def test_another_instance_of_the_same_uid_is_refused_and_the_first_one_stays(inbox: Inbox) -> None:
    give(inbox, dataset())
    assert give(inbox, dataset(StudyInstanceUID="1.2.9")) == DUPLICATE
    assert give(inbox, dataset(PatientID="OTHER")) == DUPLICATE
    (only,) = files(inbox.journal.folder)
    assert pydicom.dcmread(inbox.journal.folder / only) == dataset()


def test_a_file_that_was_cut_is_not_whole_and_is_written_again(inbox: Inbox) -> None:
    give(inbox, dataset())
    path = inbox.journal.folder / files(inbox.journal.folder)[0]
    path.write_bytes(path.read_bytes()[:-10])
    assert give(inbox, dataset()) == STORED
    assert pydicom.dcmread(path) == dataset()
    assert inbox.holds("1.2.3.4")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert not inbox.holds("1.2.3.4")
    assert not path.exists()


def test_a_file_that_was_written_before_a_crash_is_taken_up(inbox: Inbox) -> None:
    give(inbox, dataset())
    (inbox.journal.folder / ".pacs-state.jsonl").unlink()
    after = Inbox(Journal(inbox.journal.folder), reserve_mb=0)
    assert not after.holds("1.2.3.4")
    assert give(after, dataset()) == STORED
    assert after.holds("1.2.3.4")


def test_an_instance_above_the_limit_is_refused(tmp_path: Path) -> None:
    small = Inbox(Journal(tmp_path), largest_mb=0.0005, reserve_mb=0)
    assert give(small, dataset()) == NO_ROOM
    assert files(tmp_path) == []


def test_what_would_eat_the_reserve_of_the_disk_is_refused(tmp_path: Path) -> None:
    tight = Inbox(Journal(tmp_path), reserve_mb=1e9)
    assert give(tight, dataset()) == NO_ROOM
    assert tight.why_refused() == "1 × no room here"


def test_a_full_disk_is_answered_as_out_of_resources_and_leaves_nothing(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    real = os.open

    def on_a_full_device(path: object, flags: int, mode: int = 0o777, **more: int) -> int:
        return real(full, os.O_WRONLY) if ".tmp-" in str(path) else real(path, flags, mode, **more)  # type: ignore[call-overload]  # as given

    monkeypatch.setattr(room.os, "open", on_a_full_device)
    assert give(inbox, dataset()) == NO_ROOM
    monkeypatch.undo()
    assert files(inbox.journal.folder) == []
    assert give(inbox, dataset()) == STORED


def test_nothing_but_what_was_asked_for_is_taken(tmp_path: Path) -> None:
    asked = Inbox(Journal(tmp_path), reserve_mb=0, wanted=frozenset({"1.2.3.9"}))
    assert give(asked, dataset()) == NOT_WANTED


def test_a_memory_whose_last_line_was_cut_is_read_up_to_it(inbox: Inbox) -> None:
    give(inbox, dataset())
    memory = inbox.journal.folder / ".pacs-state.jsonl"
    with memory.open("ab") as stream:
        stream.write(b'{"kept": "1.2.3.5", "fi')
    after = Inbox(Journal(inbox.journal.folder), reserve_mb=0)
    assert give(after, dataset("1.2.3.6"), uid="1.2.3.6") == STORED
    read = Journal(inbox.journal.folder)
    assert {kept.uid for kept in read.all_kept()} == {"1.2.3.4", "1.2.3.6"}


def test_no_patient_is_named_in_names_or_memory(inbox: Inbox) -> None:
    give(inbox, dataset())
    names = " ".join(files(inbox.journal.folder))
    memory = (inbox.journal.folder / ".pacs-state.jsonl").read_text()
    assert "SECRET" not in names + memory


def test_what_a_server_took_is_remembered_by_its_bytes_until_it_is_found_lacking(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.note_pushed("A@h:1", "1.2", "abc")
    again = Journal(tmp_path)
    assert again.was_pushed("A@h:1", "1.2", "abc")
    assert not again.was_pushed("B@h:1", "1.2", "abc")
    assert not again.was_pushed("A@h:1", "1.2", "other bytes")
    again.forget_pushed("A@h:1", "1.2")
    assert not Journal(tmp_path).was_pushed("A@h:1", "1.2", "abc")


def test_a_header_is_read_without_the_pixels_behind_it(inbox: Inbox) -> None:
    made = dataset()
    encoded = encode(made, False, True)
    assert encoded is not None
    cut = io.BytesIO(encoded).read(len(encoded) - 300)  # a whole message whose pixels are short: stored as it came
    assert inbox.store(cut, syntax=ExplicitVRLittleEndian, sop_class=CT, uid="1.2.3.4") == STORED
