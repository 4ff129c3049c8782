"""TLS against a real Orthanc, for associations and for DICOMweb, with certificates made here."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bearer_front import bearer_front
from pacs_command import angio, by_uid, need_orthanc, one_sentence
from pacs_server import DCMTK, Archive, free_port, orthanc
from tls_front import tls_front

from angio_pipeline.pacs.dimse import echo
from angio_pipeline.pacs.inbox import Inbox
from angio_pipeline.pacs.journal import Journal
from angio_pipeline.pacs.listener import listening
from angio_pipeline.pacs.settings import Listener, Server, Tls

pytestmark = pytest.mark.slow

EVER = ("--from", "1990-01-01")


@dataclass(frozen=True)
class Keys:
    """A CA with a server's and a client's certificate, and a CA that nobody knows."""

    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("keys")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    for ca in ("ca", "stranger"):
        run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={ca}",
            "-keyout", f"{ca}.key", "-out", f"{ca}.pem")  # fmt: skip
    for name in ("server", "client"):
        (folder / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1\n")
        run(
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            f"/CN={name}",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
        )
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", f"{name}.ext", "-out", f"{name}.pem")  # fmt: skip
    return Keys(folder)


@dataclass(frozen=True)
class Secure:
    """An Orthanc behind TLS."""

    archive: Archive
    url: str


@pytest.fixture(scope="module")
def secure(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """An Orthanc that speaks DICOM by TLS alone, with HTTPS before it, and wants our certificate for both."""
    need_orthanc()
    changes = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(keys["server.pem"]),
        "DicomTlsPrivateKey": str(keys["server.key"]),
        "DicomTlsTrustedCertificates": str(keys["ca.pem"]),
        "DicomTlsRemoteCertificateRequired": True,
    }
    own = {"certificate": keys["server.pem"], "key": keys["server.key"], "ca": keys["ca.pem"]}
    folder = tmp_path_factory.mktemp("secure")
    with orthanc(folder, **changes) as archive, tls_front(archive.http_port, **own) as https_port:
        yield Secure(archive, f"https://127.0.0.1:{https_port}/dicom-web")


@pytest.fixture
def guarded(secure: Secure, keys: Keys) -> Iterator[Secure]:
    """The same Orthanc, with a token demanded behind the HTTPS."""
    own = {"certificate": keys["server.pem"], "key": keys["server.key"], "ca": keys["ca.pem"]}
    with bearer_front(secure.archive.http_port, "s3cret") as front, tls_front(front.port, **own) as https_port:
        yield Secure(secure.archive, f"https://127.0.0.1:{https_port}/dicom-web")


def settings(tmp_path: Path, secure: Secure, **tls: object) -> tuple[str, ...]:
    texts = {name: str(value).lower() if isinstance(value, bool) else repr(str(value)) for name, value in tls.items()}
    lines = [f"{name} = {text}" for name, text in texts.items()]
    path = tmp_path / "pacs.toml"
    path.write_text(
        f"[servers.a]\nhost = '127.0.0.1'\nport = {secure.archive.dicom_port}\ncalled_aet = 'ORTHANC'\n"
        f"url = '{secure.url}'\n"
        "timeout_s = 10\nretry.attempts = 1\n[servers.a.tls]\n" + "\n".join(lines)
    )
    return ("--settings", str(path), "--server", "a")


def test_files_go_and_come_by_tls_both_ways(
    secure: Secure, keys: Keys, images: dict[str, Path], tmp_path: Path
) -> None:
    named = settings(tmp_path, secure, ca=keys["ca.pem"], certificate=keys["client.pem"], key=keys["client.key"])
    film = next(path for path in images.values() if path.name == "film-000.dcm")
    for web in ((), ("--web",)):
        done = angio("push", film, *named, *web)
        assert done.returncode == 0, done.stderr
    for by in ("get", "web"):
        done = angio("pull", *named, *EVER, "--by", by, "--out", tmp_path / by)
        assert done.returncode == 0, done.stderr
        assert len(by_uid(tmp_path / by)) == 1


def test_a_token_goes_by_https_to_a_server_that_demands_both(
    guarded: Secure, keys: Keys, images: dict[str, Path], tmp_path: Path
) -> None:
    named = settings(tmp_path, guarded, ca=keys["ca.pem"], certificate=keys["client.pem"], key=keys["client.key"])
    film = next(path for path in images.values() if path.name == "film-000.dcm")
    with (tmp_path / "pacs.toml").open("a") as stream:
        stream.write("\n[servers.a.login]\nbearer_env = 'TOKEN_OF_A'\n")
    assert "accept the login" in one_sentence(angio("find", *named, "--web", *EVER, TOKEN_OF_A="wrong"))
    for arguments in (("push", film), ("find", *EVER), ("pull", *EVER, "--out", tmp_path / "out")):
        way = ("--by", "web") if arguments[0] == "pull" else ("--web",)
        done = angio(*arguments, *named, *way, TOKEN_OF_A="s3cret")
        assert done.returncode == 0, done.stderr
    assert len(by_uid(tmp_path / "out")) == 1


@pytest.mark.parametrize("web", [False, True])
def test_a_certificate_of_a_stranger_is_refused(secure: Secure, keys: Keys, tmp_path: Path, web: bool) -> None:
    own = {"certificate": keys["client.pem"], "key": keys["client.key"]}
    named = settings(tmp_path, secure, ca=keys["stranger.pem"], **own)
    said = one_sentence(angio("find", *named, *EVER, *(["--web"] if web else [])))
    assert "tls.ca" in said


@pytest.mark.parametrize("web", [False, True])
def test_the_systems_certificates_do_not_know_the_server(secure: Secure, tmp_path: Path, web: bool) -> None:
    named = settings(tmp_path, secure, verify=True)
    assert "tls.ca" in one_sentence(angio("find", *named, *EVER, *(["--web"] if web else [])))


@pytest.mark.parametrize("web", [False, True])
def test_without_our_certificate_the_server_refuses_us(secure: Secure, keys: Keys, tmp_path: Path, web: bool) -> None:
    named = settings(tmp_path, secure, ca=keys["ca.pem"])
    said = one_sentence(angio("find", *named, *EVER, *(["--web"] if web else [])))
    assert "certificate" in said


def test_plain_text_to_a_server_with_tls_is_told(secure: Secure) -> None:
    one_sentence(angio("echo", *secure.archive.options))


@pytest.mark.parametrize("web", [False, True])
def test_verification_that_is_off_is_told_each_time(secure: Secure, keys: Keys, tmp_path: Path, web: bool) -> None:
    named = settings(tmp_path, secure, verify=False, certificate=keys["client.pem"], key=keys["client.key"])
    done = angio("find", *named, *EVER, *(["--web"] if web else []))
    assert done.returncode == 0, done.stderr
    assert "tls.verify is off" in done.stderr


def test_a_file_that_is_no_certificate_is_told(secure: Secure, keys: Keys, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("nothing")
    named = settings(tmp_path, secure, ca=tmp_path / "no.pem")
    assert "readable PEM files" in one_sentence(angio("echo", *named), status=2)


def test_a_listener_with_tls_lets_in_certificates_of_its_ca_alone(keys: Keys, tmp_path: Path) -> None:
    own = {"certificate": keys["server.pem"], "key": keys["server.key"]}
    listener = Listener(
        port=free_port(), calling_aets=("ANGIO",), hosts=("127.0.0.1",), tls=Tls(ca=keys["ca.pem"], **own)
    )
    with listening(listener, Inbox(Journal(tmp_path))) as port:
        known = Tls(ca=keys["ca.pem"], certificate=keys["client.pem"], key=keys["client.key"])
        server = Server(host="127.0.0.1", port=port, called_aet="ANGIO", tls=known, timeout_s=5)
        assert echo(server) < 5
        for tls in (Tls(ca=keys["ca.pem"]), None):
            with pytest.raises(Exception, match="Expected"):
                echo(server.model_copy(update={"tls": tls}))
        need_orthanc()
        command = [DCMTK / "echoscu", "+tls", keys["client.key"], keys["client.pem"], "+cf", keys["ca.pem"],
                   "-aet", "ANGIO", "-aec", "ANGIO", "127.0.0.1", str(port)]  # fmt: skip
        assert subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
