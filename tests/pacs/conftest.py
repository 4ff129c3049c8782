"""A real Orthanc, and the sample patient."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pacs_command import by_uid, need_orthanc
from pacs_server import Archive, orthanc


@pytest.fixture(scope="session")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    need_orthanc()
    with orthanc(tmp_path_factory.mktemp("orthanc")) as archive:
        yield archive


@pytest.fixture
def archive(_running: Archive) -> Iterator[Archive]:
    """An empty Orthanc."""
    yield _running
    _running.empty()


@pytest.fixture(scope="session")
def images(sample: Path) -> dict[str, Path]:
    """The files of the sample patient by their UID."""
    return by_uid(sample / "case-000" / "dicom")
