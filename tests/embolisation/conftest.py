"""Fixtures that the tests of this folder share."""

from __future__ import annotations

import pytest
from embolisation_scene import make_run

from angio_pipeline.core.results import RunResult


@pytest.fixture(scope="session")
def before() -> RunResult:
    """The run before embolisation."""
    return make_run()
