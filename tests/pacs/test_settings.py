from __future__ import annotations

import random
from pathlib import Path

import pytest

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.pacs.credentials import Secret, read_login
from angio_pipeline.pacs.settings import Listener, Login, Retry, Server, load_settings

ROOT = Path(__file__).resolve().parents[2]


def settings(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pacs.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_of_the_project_can_be_read() -> None:
    told = load_settings(ROOT / "configs" / "pacs.example.toml")
    assert told.servers
    assert told.listener.calling_aets


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[servers.a]\nhost = 'h'\nprot = 4\n", "servers.a.prot"),
        ("[servers.a]\nhost = 'h'\nport = 0\n", "servers.a.port"),
        ("[servers.a]\nhost = 'h'\ncalled_aet = 'MUCH TOO LONG A TITLE'\n", "servers.a.called_aet"),
        ("[servers.a]\nhost = 'h'\ncalled_aet = 'BACK\\SLASH'\n", "servers.a.called_aet"),
        ("[servers.a]\nport = 104\n", "a host, a url or both"),
        ("[servers.a]\nurl = 'https://user:password@h/'\n", "servers.a.url"),
        ("[servers.a]\nhost = 'h'\nby = 'web'\n", "needs a url"),
        ("[servers.a]\nurl = 'https://h/'\n[servers.a.login]\nbearer_env = 'A'\nbasic_env = 'B'\n", "exactly one"),
        ("[servers.a]\nhost = 'h'\n[servers.a.tls]\ncertificate = 'c.pem'\n", "together or not at all"),
        ("[listener]\nhosts = ['anywhere']\n", "listener.hosts"),
        ("[listener\n", "Expected TOML"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(settings(tmp_path, text))
    assert found in caught.value.sentence
    assert "password@" not in caught.value.sentence


def test_paths_are_meant_from_the_settings_folder(tmp_path: Path) -> None:
    text = "[servers.a]\nhost = 'h'\n[servers.a.tls]\nca = 'keys/ca.pem'\n"
    tls = load_settings(settings(tmp_path, text)).server("a").tls
    assert tls is not None
    assert tls.ca == tmp_path / "keys" / "ca.pem"


def test_an_unknown_server_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    told = load_settings(settings(tmp_path, "[servers.one]\nhost = 'h'\n"))
    with pytest.raises(ConfigError, match=r"\(one\), found no 'two'"):
        told.server("two")


def test_a_listener_lets_in_nobody_unless_told() -> None:
    assert Listener().calling_aets == ()
    assert Listener().hosts == ()
    assert Listener().bind == "127.0.0.1"


def test_instances_come_by_get_where_there_is_a_host_and_by_web_else() -> None:
    assert Server(host="h").way == "get"
    assert Server(url="https://h/").way == "web"
    assert Server(host="h", url="https://h/", by="move").way == "move"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    file.write_text("very-secret\n")
    file.chmod(mode)
    with pytest.raises(ConfigError, match=f"mode 600.*found mode {mode:03o}") as caught:
        read_login(Login(bearer_file=file))
    assert "very-secret" not in caught.value.sentence


def test_a_secret_is_read_from_a_closed_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text("very-secret\n")
    file.chmod(0o600)
    assert read_login(Login(bearer_file=file)).value == "very-secret"
    monkeypatch.setenv("SOME_LOGIN", "me:pass:word")
    assert read_login(Login(basic_env="SOME_LOGIN")) == Secret("basic", "me:pass:word")


@pytest.mark.parametrize("value", ["", "two\nlines", "no-colon"])
def test_what_is_no_login_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SOME_LOGIN", value)
    with pytest.raises(ConfigError) as caught:
        read_login(Login(basic_env="SOME_LOGIN"))
    assert not value or value not in caught.value.sentence


def test_a_secret_is_masked_wherever_it_is_shown() -> None:
    secret = Secret("bearer", "very-secret")
    assert "very-secret" not in f"{secret} {secret!r} {[secret]}"


def test_waits_are_bounded_and_the_same_for_the_same_seed() -> None:
    from angio_pipeline.pacs.retry import waits_s

    retry = Retry(attempts=8, first_wait_s=1, factor=3, longest_wait_s=20, jitter=0.5)
    first, again = (list(waits_s(retry, random.Random(7))) for _ in range(2))
    assert first == again
    assert len(first) == 7
    assert max(first) <= 20 * 1.5
    assert list(waits_s(retry, random.Random(8))) != first
    assert list(waits_s(retry.model_copy(update={"jitter": 0.0}), random.Random(7)))[:4] == [1, 3, 9, 20]
