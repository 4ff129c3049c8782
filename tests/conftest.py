"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real DICOM files, which is not part of the project."""
    folder = Path(os.environ.get("ANGIO_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real files at {folder}: set ANGIO_REAL_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def sample() -> Path:
    """The simulated sample patient that the project carries."""
    return ROOT / "data" / "sample"


@pytest.fixture(autouse=True)
def _own_pseudonym_key(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    # Tests never read or make the user's own key.
    monkeypatch.setenv("ANGIO_PSEUDONYM_KEY_FILE", str(tmp_path_factory.getbasetemp() / "pseudonym.key"))
