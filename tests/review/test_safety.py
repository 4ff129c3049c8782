"""Nobody but the page of this server, and a reader who is signed in, changes or sees anything."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
from command_here import angio
from review_server import Browser, Served, make_edit

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.review.guard import MOST_BODY_BYTES, Guard
from angio_pipeline.review.page import page_routes
from angio_pipeline.review.server import Listening
from angio_pipeline.review.sessions import Sessions, read_tokens

SCRIPT = "<script>alert('x')</script>\"'&--></textarea>"


@pytest.mark.slow
def test_nothing_of_the_api_is_told_to_who_is_not_signed_in(shared: Served, case: str) -> None:
    paths = httpx.get(f"{shared.address}/api/openapi.json").json()["paths"]
    values = {
        "{case}": case, "{subject}": "P1", "{name}": "overlay", "{relation}": "before", "{document}": "0",
        "{layer}": "raw", "{number}": "0", "{edit}": "e1", "{scan}": "0", "{plane}": "axial", "{position}": "0",
        "{job}": "j1",
    }  # fmt: skip
    asked = 0
    for path, methods in paths.items():
        for method in methods:
            if (path, method) == ("/api/session", "post"):
                continue
            address = path
            for name, value in values.items():
                address = address.replace(name, value)
            assert httpx.request(method, shared.address + address).status_code == 401, (method, path)
            asked += 1
    assert asked > 30


@pytest.mark.parametrize("token", [None, "", "x" * 43])
def test_a_change_needs_the_token_of_the_page(reader: Browser, case: str, token: str | None) -> None:
    headers = {"If-Match": '"0"'} | ({} if token is None else {"X-CSRF-Token": token})
    answer = reader.client.post(f"/api/cases/{case}/edits", json={"edit": make_edit(1)}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "not_from_the_page")
    assert reader.corrections(case)["edits"] == []


def test_the_cookie_is_kept_from_scripts_and_from_other_sites(shared: Served) -> None:
    answer = httpx.post(f"{shared.address}/api/session", json={"name": "Reader 3"})
    told = answer.headers["set-cookie"].lower()
    assert "httponly" in told
    assert "samesite=strict" in told
    assert answer.json()["csrf"] not in answer.headers["set-cookie"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:80", "", "[::1"])
def test_a_name_that_somebody_else_lets_point_here_is_refused(reader: Browser, host: str) -> None:
    for path in ("/", "/api/session", "/api/openapi.json"):
        answer = reader.client.get(path, headers={"Host": host})
        assert answer.status_code in (400, 421)
        assert "csrf" not in answer.text


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "https://127.0.0.1:{port}"])
def test_a_page_from_elsewhere_is_refused(shared: Served, reader: Browser, case: str, origin: str) -> None:
    headers = {"Origin": origin.format(port=shared.port)}
    answer = reader.send("PUT", f"/cases/{case}/draft", json={"text": "x"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_origin")
    assert reader.client.get("/api/session", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    own = {"Origin": shared.address, "Sec-Fetch-Site": "same-origin"}
    assert reader.client.get("/api/session", headers=own).status_code == 200


def test_every_answer_tells_the_browser_to_run_nothing_from_elsewhere(reader: Browser, case: str) -> None:
    for path in ("/", "/nowhere", "/api/session", f"/api/cases/{case}", f"/api/cases/{case}/pictures/overlay"):
        headers = reader.client.get(path).headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'self'"
        assert policy["script-src"] == "'self' 'wasm-unsafe-eval'"
        assert policy["frame-ancestors"] == "'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
        assert headers["cache-control"] == ("no-store" if path.startswith("/api") else "no-cache")


def test_too_large_a_body_is_refused_with_and_without_its_length(shared: Served, reader: Browser, case: str) -> None:
    large = b"x" * (MOST_BODY_BYTES + 1)
    answer = reader.send("PUT", f"/cases/{case}/draft", content=large)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")

    def pieces():
        for _ in range(MOST_BODY_BYTES // 65536 + 2):
            yield b"x" * 65536

    answer = reader.send("PUT", f"/cases/{case}/draft", content=pieces(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


TRAVERSALS = [
    "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/analysis.json", "....//", "/etc/passwd", "overlay.png",
    "overlay%00.png", "..\\..\\x", "analysis.json", ".", "..", "record.json", "C:\\x", "%252e%252e%252f",
]  # fmt: skip


@pytest.mark.parametrize("name", TRAVERSALS)
def test_no_name_from_outside_becomes_a_path(reader: Browser, case: str, name: str) -> None:
    for place in ("pictures", "masks", "maps", "objects", "structure-curves"):
        answer = _sent_as_it_is(reader, f"/api/cases/{case}/{place}/{name}")
        assert answer.split(b" ", 2)[1] in (b"404", b"422", b"400", b"409"), answer[:200]
        assert b"root:" not in answer
    for address in (f"/{name}", f"/assets/{name}", f"/api/cases/{name}", f"/api/subjects/{name}"):
        answer = _sent_as_it_is(reader, address)
        assert answer.split(b" ", 2)[1] in (b"404", b"422", b"400", b"405", b"401", b"200"), answer[:200]
        assert b"root:" not in answer
        assert b"sop_instance_uid" not in answer


def _sent_as_it_is(reader: Browser, target: str) -> bytes:
    """The answer to a request whose address no client library has tidied."""
    address = reader.client.base_url
    cookie = "; ".join(f"{name}={value}" for name, value in reader.client.cookies.items())
    lines = [f"GET {target} HTTP/1.1", f"Host: {address.host}:{address.port}", f"Cookie: {cookie}", "Connection: close"]
    with socket.create_connection((address.host, address.port), timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.slow
def test_a_mask_that_a_document_names_elsewhere_is_not_read(started, copied, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes((copied.run / "artery.png").read_bytes())
    path = copied.run / "analysis.json"
    document = json.loads(path.read_text())
    (copied.run / "link.png").symlink_to(tmp_path / "secret.png")
    for name in (str(tmp_path / "secret.png"), "../../../../../secret.png", "link.png", ""):
        document["vessels"]["artery_mask"] = name
        fresh = path.with_name(".tmp-x")
        fresh.write_text(json.dumps(document))
        fresh.replace(path)
        served = started()
        reader = served.browser()
        case = reader.cases()[0]["id"]
        assert reader.get(f"/cases/{case}/masks/artery").status_code == 404
        served.stop()


@pytest.mark.slow
def test_text_of_a_reader_comes_back_as_text_in_json(started) -> None:
    reader = started().browser(SCRIPT[:50])
    case = reader.cases()[0]["id"]
    assert reader.edit(case, 0, **make_edit(1, text=SCRIPT, comment=SCRIPT)).status_code == 201
    answer = reader.get(f"/cases/{case}/corrections")
    assert answer.headers["content-type"] == "application/json"
    (edit,) = answer.json()["edits"]
    assert (edit["text"], edit["comment"], edit["reviewer"]) == (SCRIPT, SCRIPT, SCRIPT[:50])
    refused = reader.get("/worklist", sort=SCRIPT)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/json"
    assert SCRIPT not in refused.text


def test_addresses_hold_no_path_date_or_uid(reader: Browser, case: str, results) -> None:
    document = json.loads((results.run / "analysis.json").read_text())
    told = reader.told("/worklist")["cases"][0]
    assert told["id"] == case
    for secret in (document["source"]["sop_instance_uid"], document["source"]["file"], results.run.name):
        assert secret not in case
    assert str(results.out) not in json.dumps([reader.told(f"/cases/{case}"), told])


@pytest.mark.slow
def test_tokens_admit_their_own_reader_alone(started, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    own, shared_token = "a" * 24, "b" * 24
    path.write_text(f"# who may read\n{own} Reader 1\n{shared_token}\n")
    path.chmod(0o600)
    served = started("--tokens", path)
    reader = Browser(served.address)
    try:
        for name, token in (("Reader 1", ""), ("Reader 1", shared_token), ("Reader 2", own), ("Reader 2", "c" * 24)):
            assert reader.sign_in(name, token).status_code == 403
            assert reader.get("/worklist").status_code == 401
        assert reader.sign_in("reader 1", own).json()["reader"] == "Reader 1"
        assert reader.sign_in("Reader 2", shared_token).json()["reader"] == "Reader 2"
    finally:
        reader.client.close()


def test_tokens_that_others_may_read_or_guess_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("a" * 24)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_tokens(path)
    path.chmod(0o600)
    assert read_tokens(path) == {"a" * 24: ""}
    path.write_text("short")
    with pytest.raises(ConfigError, match="at least 20 characters"):
        read_tokens(path)


def test_a_session_ends_when_its_reader_signs_out() -> None:
    sessions = Sessions({})
    session = sessions.sign_in("  Reader   1 ", "")
    assert session.reader == "Reader 1"
    assert sessions.find(session.key) is session
    sessions.sign_out(session.key)
    assert sessions.find(session.key) is None
    assert sessions.find("") is None


@pytest.fixture
def never_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process no server may run: it would never end."""
    monkeypatch.setattr("uvicorn.Server.run", lambda *arguments, **options: pytest.fail("a server was started"))


@pytest.mark.parametrize(
    "options", [[], ["--tokens"], ["--certificate", "--key"], ["--certificate"], ["--tokens", "--certificate"]]
)
def test_others_are_let_in_with_tokens_and_tls_alone(copied, never_listens, tmp_path: Path, options: list[str]) -> None:
    given: list[object] = []
    for option in options:
        path = tmp_path / option[2:]
        path.write_text("a" * 24)
        path.chmod(0o600)
        given += [option, path]
    done = angio("review", copied.out, "--host", "0.0.0.0", "--port", "0", *given)
    assert done.returncode == 2
    assert done.stderr.startswith("angio: Expected --")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.slow
def test_with_tls_the_cookie_goes_nowhere_else(started, tmp_path: Path) -> None:
    openssl = shutil.which("openssl") or pytest.skip("no openssl to make a certificate with")
    key, certificate, tokens = (tmp_path / name for name in ("key.pem", "certificate.pem", "tokens"))
    made = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, *made], capture_output=True, timeout=60, check=True)
    tokens.write_text("a" * 24)
    tokens.chmod(0o600)
    served = started("--tokens", tokens, "--certificate", certificate, "--key", key)
    assert served.address.startswith("https://")
    with httpx.Client(verify=ssl.create_default_context(cafile=str(certificate)), timeout=30) as client:
        ask = {"name": "Reader 1", "token": "a" * 24}
        answer = client.post(f"{served.address}/api/session", json=ask, headers={"Origin": served.address})
        assert answer.status_code == 200
        assert "secure" in answer.headers["set-cookie"].lower()
        assert "max-age" in answer.headers["strict-transport-security"]
        assert client.get(f"{served.address}/api/worklist").status_code == 200


def test_an_unforeseen_failure_tells_its_kind_and_nothing_of_its_message(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(scope: object, receive: object, send: object) -> None:
        raise RuntimeError("Patient Name")

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=Guard(fails, hosts=["x"], scheme="http"))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get("/api/session")

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()["code"]) == (500, "unforeseen")
    assert "RuntimeError" in answer.text
    assert "content-security-policy" in answer.headers
    assert "Patient Name" not in answer.text + caplog.text


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.2", False), ("hospital.example", False), ("localhost.evil.example", False)],
)  # fmt: skip
def test_loopback_is_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert Listening(host).loopback is loopback


@pytest.mark.slow
def test_a_second_server_over_the_same_results_is_refused(started, copied, never_listens) -> None:
    started()
    done = angio("review", copied.out, "--port", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "found another server" in done.stderr


def test_a_folder_without_results_is_refused(never_listens, tmp_path: Path) -> None:
    done = angio("review", tmp_path, "--port", "0")
    assert done.returncode == 2
    assert "without subjects" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_the_server_keeps_is_its_owners_alone(started, copied) -> None:
    started()
    folder = copied.out / "review"
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "review.sqlite").stat().st_mode & 0o077 == 0


def test_without_a_page_the_server_says_so(tmp_path: Path) -> None:
    assert [route.path for route in page_routes(tmp_path)] == ["/", "/robots.txt"]
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "page.js").write_text("1")
    (tmp_path / "index.html").write_text("x")
    routes = [route.path for route in page_routes(tmp_path)]
    assert routes == ["/", "/robots.txt", "/assets/page.js", "/index.html"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_no_process_outlives_the_server(started, copied, how: str) -> None:
    psutil = pytest.importorskip("psutil")
    served = started("--source", copied.source)
    reader = served.browser()
    reader.frames(reader.cases()[0]["id"])
    children = psutil.Process(served.pid).children(recursive=True)
    assert children
    getattr(served, how)()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert [process.cmdline() for process in alive] == []
