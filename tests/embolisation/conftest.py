"""The drawn pair of runs, under a name that its tests import."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from angio_pipeline.core.results import RunResult

_spec = importlib.util.spec_from_file_location("embolisation_scene", Path(__file__).with_name("scene.py"))
assert _spec is not None
assert _spec.loader is not None
scene = importlib.util.module_from_spec(_spec)
sys.modules["embolisation_scene"] = scene
_spec.loader.exec_module(scene)


@pytest.fixture(scope="session")
def before() -> RunResult:
    """The run before embolisation."""
    result: RunResult = scene.make_run()
    return result
