"""What is needed at run time is under licences that allow it, and the page of licences says so of what is installed."""

from __future__ import annotations

import subprocess
import sys
from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path
from types import SimpleNamespace

import pytest

import write_licences  # a script of the repository

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_and_the_list_of_components_are_those_of_what_is_installed() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "write_licences.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0, "run scripts/write_licences.py"


@pytest.mark.parametrize(
    ("licence", "forbidden"),
    [
        ("GNU General Public License v3 (GPLv3)", True),
        ("GPL-3.0-or-later", True),
        ("AGPL-3.0", True),
        ("MIT OR GPL-2.0", True),
        ("LGPL-2.1", False),
        ("GNU Lesser General Public License v3", False),
        ("BSD-3-Clause", False),
    ],
)
def test_copyleft_is_told_from_what_may_be_linked(licence: str, forbidden: bool) -> None:
    assert bool(write_licences.FORBIDDEN.search(licence)) == forbidden


def test_all_that_is_declared_is_listed() -> None:
    names = set(write_licences.needed())
    assert {"pydicom", "torch", "numpy", "duckdb"} <= names
    assert not {"pytest", "ruff", "angio-pipeline"} & names


def test_what_an_extra_needs_is_listed_of_a_package_that_was_found_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"program": ["b", "a"], "a": ["c; extra == 'more'"], "b": ["a[more]"], "c": []}
    for order in (["a", "b"], ["b", "a"]):
        told["program"] = order
        monkeypatch.setattr(write_licences, "distribution", lambda name: SimpleNamespace(requires=told[name]))
        assert list(write_licences.needed("program")) == ["a", "b", "c"]


class _Unnamed(Distribution):
    """A package whose metadata say nothing of a licence."""

    @property
    def metadata(self) -> Message:  # type: ignore[override]  # a plain message does what is asked of it here
        message = Message()
        message["Name"] = "unnamed"
        return message

    def read_text(self, filename: str) -> None:
        return None

    def locate_file(self, path: object) -> Path:  # type: ignore[override]  # never asked for
        raise NotImplementedError


def test_a_package_without_a_licence_ends_the_script() -> None:
    with pytest.raises(SystemExit, match="Expected unnamed to name its licence"):
        write_licences.licence_of(_Unnamed())
