"""A real Orthanc for tests and benchmarks: strict, on loopback, on free ports, ended by its own process."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
# dcmtk's own: pynetdicom installs programs of the same names into the environment.
DCMTK = Path("/usr/bin")


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def missing() -> str | None:
    """What of the server and the programs is not installed here."""
    if shutil.which("Orthanc") is None or not PLUGIN.is_file():
        return "Orthanc with its DICOMweb plugin (Debian: orthanc orthanc-dicomweb) is not installed"
    if not (DCMTK / "storescu").is_file():
        return "dcmtk is not installed"
    return None


@dataclass
class Archive:
    """One Orthanc that runs."""

    folder: Path
    dicom_port: int
    http_port: int
    our_port: int
    config: dict[str, Any] = field(repr=False)
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def url(self) -> str:
        """Its DICOMweb address."""
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    @property
    def options(self) -> list[str]:
        """What the command needs to find it by DIMSE."""
        return ["--host", "127.0.0.1", "--port", str(self.dicom_port), "--called-aet", "ORTHANC"]

    def rest(self, path: str, body: object = None, method: str | None = None) -> Any:
        """What its own interface answers: the judge of what it really holds."""
        data = None if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode())
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            said = answer.read()
        return json.loads(said) if said else None

    def instances(self) -> set[str]:
        """The UIDs that it holds."""
        return {one["MainDicomTags"]["SOPInstanceUID"] for one in self.rest("/instances?expand")}

    def empty(self) -> None:
        """Forget every patient."""
        for patient in self.rest("/patients"):
            self.rest(f"/patients/{patient}", method="DELETE")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End this very process."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)

    def start(self, **changes: Any) -> None:
        """Start it anew, with what it holds and at the same ports; None as a setting takes it back."""
        self.config = {name: value for name, value in (self.config | changes).items() if value is not None}
        (self.folder / "orthanc.json").write_text(json.dumps(self.config), encoding="utf-8")
        self.process = _start(self.folder, (self.dicom_port, self.http_port))


def _start(folder: Path, ports: tuple[int, int]) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log, cwd=folder)
    for _ in range(600):
        if all(map(_answers, ports)):
            return process
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"Orthanc did not start:\n{(folder / 'log').read_text(errors='replace')[-2000:]}")


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def orthanc(folder: Path, **changes: Any) -> Iterator[Archive]:
    """An Orthanc that knows one application entity, ANGIO, and nobody else."""
    folder.mkdir(parents=True, exist_ok=True)
    dicom_port, http_port, our_port = free_port(), free_port(), free_port()
    config = {
        "Name": "tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "Plugins": [str(PLUGIN)],
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomCheckCalledAet": True,
        "DicomCheckModalityHost": True,
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomAlwaysAllowFind": False,
        "DicomAlwaysAllowGet": False,
        "DicomAlwaysAllowMove": False,
        "DicomModalities": {"angio": {"AET": "ANGIO", "Host": "127.0.0.1", "Port": our_port}},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "StableAge": 1,
        **changes,
    }
    (folder / "orthanc.json").write_text(json.dumps(config), encoding="utf-8")
    archive = Archive(folder, dicom_port, http_port, our_port, config, _start(folder, (dicom_port, http_port)))
    try:
        yield archive
    finally:
        archive.stop()
