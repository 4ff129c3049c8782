"""The station: who gets in, what is stored, what is vouched for; with dcmtk, pynetdicom and Orthanc as senders."""

from __future__ import annotations

import select
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pacs_command import by_uid, need_orthanc, start
from pacs_server import DCMTK, Archive, free_port, orthanc
from pydicom.uid import generate_uid
from pynetdicom import AE

from angio_pipeline.core.errors import ConfigError, PacsError
from angio_pipeline.pacs.commitment import request_commitment
from angio_pipeline.pacs.dimse import echo
from angio_pipeline.pacs.find import dimse_archive
from angio_pipeline.pacs.inbox import Inbox
from angio_pipeline.pacs.journal import Journal
from angio_pipeline.pacs.listener import listening
from angio_pipeline.pacs.settings import Listener, Server
from angio_pipeline.pacs.transport import Entity

CT = "1.2.840.10008.5.1.4.1.1.2"
OPEN = Listener(port=11112, calling_aets=("SENDER", "ANGIO"), hosts=("127.0.0.1", "::1"), reserve_mb=0, timeout_s=10)


def at(**changes: Any) -> Listener:
    return OPEN.model_copy(update={"port": free_port(), **changes})


@pytest.fixture
def station(tmp_path: Path) -> Iterator[tuple[int, Inbox]]:
    inbox = Inbox(Journal(tmp_path / "in"), reserve_mb=0)
    with listening(at(), inbox) as port:
        yield port, inbox


def dcmtk(program: str, port: int, *arguments: object, sender: str = "SENDER") -> subprocess.CompletedProcess[str]:
    need_orthanc()
    command = [str(DCMTK / program), "-aet", sender, "-aec", "ANGIO", "127.0.0.1", str(port), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def send(port: int, dataset: pydicom.Dataset, sender: str = "SENDER") -> int | None:
    """The status that the station answers to pynetdicom; None when it answers none."""
    entity = Entity(ae_title=sender)  # pynetdicom's own leaves sockets open whose line broke
    entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port, ae_title="ANGIO")
    assert association.is_established
    try:
        status = association.send_c_store(dataset).get("Status")
        return None if status is None else int(status)
    finally:
        if association.is_established:
            association.release()


@pytest.fixture
def ct_slice(sample: Path) -> pydicom.Dataset:
    return pydicom.dcmread(sample / "case-000" / "dicom" / "day028-ct" / "plain" / "033.dcm")


def test_echoes_of_dcmtk_and_of_our_own_are_answered(station: tuple[int, Inbox]) -> None:
    port, _ = station
    assert dcmtk("echoscu", port).returncode == 0
    assert echo(Server(host="127.0.0.1", port=port, called_aet="ANGIO", calling_aet="SENDER")) < 10


def test_what_dcmtk_sends_is_stored_as_it_is(station: tuple[int, Inbox], sample: Path) -> None:
    port, inbox = station
    film = sample / "case-000" / "dicom" / "day000" / "film-000.dcm"
    done = dcmtk("storescu", port, film, "--propose-jls-lossless")
    assert done.returncode == 0, done.stderr
    (stored,) = by_uid(inbox.journal.folder).values()
    assert pydicom.dcmread(stored) == pydicom.dcmread(film)


def test_compressed_pixels_of_pynetdicom_are_stored_as_they_came(
    station: tuple[int, Inbox], ct_slice: pydicom.Dataset
) -> None:
    port, inbox = station
    assert ct_slice.file_meta.TransferSyntaxUID.is_compressed
    assert send(port, ct_slice) == 0
    (stored,) = by_uid(inbox.journal.folder).values()
    assert pydicom.dcmread(stored).PixelData == ct_slice.PixelData


def test_a_duplicate_that_differs_is_refused(station: tuple[int, Inbox], ct_slice: pydicom.Dataset) -> None:
    port, inbox = station
    assert send(port, ct_slice) == 0
    assert send(port, ct_slice) == 0
    ct_slice.SeriesDescription = "another"
    assert send(port, ct_slice) == 0x0111
    assert len(by_uid(inbox.journal.folder)) == 1


def test_an_instance_above_the_limit_is_refused_without_being_kept_in_memory(
    tmp_path: Path, ct_slice: pydicom.Dataset
) -> None:
    inbox = Inbox(Journal(tmp_path), largest_mb=0.02, reserve_mb=0)
    with listening(at(), inbox) as port:
        assert send(port, ct_slice) == 0xA700
        ct_slice.PixelData = ct_slice.PixelData[:1000]
        ct_slice["PixelData"].is_undefined_length = False
        ct_slice.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        assert send(port, ct_slice) == 0  # and the station goes on
    assert len(by_uid(tmp_path)) == 1


def test_no_room_is_answered_as_out_of_resources(tmp_path: Path, ct_slice: pydicom.Dataset) -> None:
    with listening(at(), Inbox(Journal(tmp_path), reserve_mb=1e12)) as port:
        assert send(port, ct_slice) == 0xA700


@pytest.mark.parametrize(
    ("called", "calling", "hosts"),
    [("OTHER", "SENDER", ("127.0.0.1",)), ("ANGIO", "STRANGER", ("127.0.0.1",)), ("ANGIO", "SENDER", ("10.1.0.0/16",))],
    ids=["another called title", "a stranger", "another host"],
)
def test_who_is_not_on_the_lists_is_kept_out(tmp_path: Path, called: str, calling: str, hosts: tuple[str, ...]) -> None:
    with listening(at(hosts=hosts), Inbox(Journal(tmp_path))) as port:
        server = Server(host="127.0.0.1", port=port, called_aet=called, calling_aet=calling, timeout_s=5)
        with pytest.raises(PacsError, match="Expected"):
            echo(server)


@pytest.mark.slow
def test_a_server_without_the_service_that_is_asked_for_is_told(station: tuple[int, Inbox]) -> None:
    server = Server(host="127.0.0.1", port=station[0], called_aet="ANGIO", calling_aet="SENDER", timeout_s=5)
    with pytest.raises(PacsError, match="offers none of it"), dimse_archive(server):
        pytest.fail("it can be searched")


@pytest.mark.parametrize("empty", ["calling_aets", "hosts"])
def test_an_empty_list_lets_nobody_in_and_says_so(tmp_path: Path, empty: str) -> None:
    with (
        pytest.raises(ConfigError, match=f"found no {empty}: an empty list lets nobody in"),
        listening(at(**{empty: ()}), Inbox(Journal(tmp_path))),
    ):
        pytest.fail("it listens")


def test_a_port_that_is_taken_is_told(station: tuple[int, Inbox], tmp_path: Path) -> None:
    with pytest.raises(PacsError, match="choose another port"), listening(at(port=station[0]), station[1]):
        pytest.fail("it listens")


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">BBL", 4, 0, 0xFFFFFFFF) + b"x" * 1000,  # a PDU of 4 GB
        struct.pack(">BBL", 1, 0, 100) + b"\0" * 20,  # and hangs up
        b"",
    ],
    ids=["http", "a PDU of 4 GB", "cut", "nothing"],
)
def test_garbage_ends_its_own_connection_alone(station: tuple[int, Inbox], garbage: bytes) -> None:
    port, _ = station
    with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
        stranger.sendall(garbage)
        if garbage and not garbage.startswith(b"\1"):
            stranger.settimeout(5)
            while stranger.recv(1000):
                pass
        assert echo(Server(host="127.0.0.1", port=port, called_aet="ANGIO", calling_aet="SENDER")) < 10


def test_a_sender_that_dies_in_the_middle_leaves_nothing(station: tuple[int, Inbox], ct_slice: pydicom.Dataset) -> None:
    port, inbox = station
    with _cut_after(20_000, port) as front:
        assert send(front, ct_slice) is None
    assert by_uid(inbox.journal.folder) == {}
    assert not list(inbox.journal.folder.rglob("*.tmp*"))
    assert send(port, ct_slice) == 0


@contextmanager
def _cut_after(count: int, port: int) -> Iterator[int]:
    """The port of a line to the station that breaks when so many bytes went over it."""
    with socket.create_server(("127.0.0.1", 0)) as front:

        def carry() -> None:
            client, _ = front.accept()
            with client, socket.create_connection(("127.0.0.1", port)) as station:
                carried = 0
                while carried < count:
                    ready, _, _ = select.select([client, station], [], [], 10)
                    for source, target in ((client, station), (station, client)):
                        if source in ready:
                            content = source.recv(4096)
                            target.sendall(content)
                            carried += len(content) if source is client else 0

        thread = threading.Thread(target=carry)
        thread.start()
        yield int(front.getsockname()[1])
        thread.join(20)


def test_what_is_held_whole_is_vouched_for_and_the_rest_is_not(tmp_path: Path, ct_slice: pydicom.Dataset) -> None:
    inbox = Inbox(Journal(tmp_path / "in"), reserve_mb=0)
    other = generate_uid()
    ours = Listener(port=free_port())
    asker = Server(host="127.0.0.1", port=ours.port, called_aet="SENDER")
    for peers in ({}, {"SENDER": asker}):  # over the association that asked; over a new one
        with listening(at(), inbox, peers=peers) as port:
            assert send(port, ct_slice) == 0
            server = Server(host="127.0.0.1", port=port, called_aet="ANGIO", calling_aet="SENDER", timeout_s=10)
            report = request_commitment(server, [(CT, ct_slice.SOPInstanceUID), (CT, other)], ours)
        assert report.committed == {ct_slice.SOPInstanceUID}
        assert report.failed == {other: 0x0112}


@pytest.mark.slow
def test_orthanc_is_vouched_for_what_it_sent(tmp_path: Path, sample: Path) -> None:
    need_orthanc()
    with orthanc(tmp_path / "orthanc") as archive:
        film = (sample / "case-000" / "dicom" / "day000" / "film-000.dcm").read_bytes()
        one = archive.rest("/instances", film)["ID"]
        inbox = Inbox(Journal(tmp_path / "in"), reserve_mb=0)
        peer = Server(host="127.0.0.1", port=archive.dicom_port, called_aet="ORTHANC", calling_aet="ANGIO")
        listener = at(port=archive.our_port, calling_aets=("ORTHANC",))
        with listening(listener, inbox, peers={"ORTHANC": peer}):
            assert archive.rest("/modalities/angio/store", {"Resources": [one]})["FailedInstancesCount"] == 0
            asked = archive.rest("/modalities/angio/storage-commitment", {"Resources": [one]})
            assert vouched(archive, asked["Path"]) == "Success"


def vouched(archive: Archive, path: str) -> str:
    for _ in range(100):
        status = str(archive.rest(path)["Status"])
        if status != "Pending":
            return status
        time.sleep(0.1)
    return "Pending"


def listen(out: Path, port: int, *arguments: object) -> subprocess.Popen[str]:
    options = ("--port", port, "--calling-aet", "SENDER", "--allow-host", "127.0.0.1")
    child = start("listen", "--out", out, *options, *arguments)
    assert child.stderr is not None
    assert "Listening as ANGIO" in child.stderr.readline()
    return child


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_station_and_hangs_up(tmp_path: Path, sample: Path, how: signal.Signals) -> None:
    port = free_port()
    child = listen(tmp_path, port)
    film = sample / "case-000" / "dicom" / "day000" / "film-000.dcm"
    assert dcmtk("storescu", port, film, "--propose-jls-lossless").returncode == 0
    entity = AE(ae_title="SENDER")
    entity.add_requested_context("1.2.840.10008.1.1")
    association = entity.associate("127.0.0.1", port, ae_title="ANGIO")
    assert association.is_established
    child.send_signal(how)
    stdout, stderr = child.communicate(timeout=30)
    assert (child.returncode, stdout) == (0, "")
    assert stderr == "Stopped listening; stored 1 instance.\n"
    for _ in range(50):
        if not association.is_established:
            break
        time.sleep(0.1)
    assert association.is_aborted
    assert len(by_uid(tmp_path / "received")) == 1


@pytest.mark.slow
def test_no_patient_is_named_in_what_a_station_says(tmp_path: Path, ct_slice: pydicom.Dataset) -> None:
    port = free_port()
    child = listen(tmp_path, port, "--settings", settings_without_room(tmp_path))
    ct_slice.PatientID, ct_slice.PatientName = "SECRET-1", "SECRET^NAME"
    assert send(port, ct_slice) == 0xA700
    child.send_signal(signal.SIGTERM)
    stdout, stderr = child.communicate(timeout=30)
    assert "refused 1 (1 × no room here)" in stderr
    assert "SECRET" not in stdout + stderr


def settings_without_room(folder: Path) -> Path:
    path = folder / "pacs.toml"
    path.write_text("[listener]\nreserve_mb = 1e12\n")
    return path
