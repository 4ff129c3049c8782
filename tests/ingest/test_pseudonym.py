"""Pseudonyms are stable, separate, and useless without the key; the key is private."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.ingest.pseudonym import key_file, pseudonym, read_key

KEY = bytes(range(32))


def test_the_same_patient_gets_the_same_pseudonym() -> None:
    assert pseudonym("MRN-1", "HOSPITAL", key=KEY) == pseudonym(" MRN-1 ", "HOSPITAL", key=KEY)


def test_patients_issuers_and_keys_are_told_apart() -> None:
    names = {
        pseudonym("MRN-1", "A", key=KEY),
        pseudonym("MRN-2", "A", key=KEY),
        pseudonym("MRN-1", "B", key=KEY),
        pseudonym("MRN-1", "A", key=KEY[::-1]),
        pseudonym("A", "MRN-1", key=KEY),
    }
    assert len(names) == 5


def test_a_pseudonym_is_safe_as_a_folder_and_shows_nothing() -> None:
    name = pseudonym("../DOE^JOHN", "", key=KEY)
    assert name.isalnum()
    assert "DOE" not in name


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    first = read_key(path)
    assert len(first) == 32
    assert read_key(path) == first
    assert [entry.name for entry in path.parent.iterdir()] == ["key"]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_an_open_key_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "key"
    read_key(path)
    path.chmod(0o644)
    read_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "not hexadecimal", "ab" * 8])
def test_a_broken_key_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_key(path)
    assert not content or content not in caught.value.sentence


def test_the_environment_names_the_key_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANGIO_PSEUDONYM_KEY_FILE", str(tmp_path / "mine"))
    assert key_file() == tmp_path / "mine"
    monkeypatch.delenv("ANGIO_PSEUDONYM_KEY_FILE")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    if os.name == "posix":
        assert key_file() == tmp_path / "config" / "angio-pipeline" / "pseudonym.key"
