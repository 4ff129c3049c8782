"""The tree in space, under a name that its tests import."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from angio_pipeline.core.projections import ProjectionPair
from angio_pipeline.projections import ProjectionParams, join_views

_spec = importlib.util.spec_from_file_location("projections_scene", Path(__file__).with_name("scene.py"))
assert _spec is not None
assert _spec.loader is not None
scene = importlib.util.module_from_spec(_spec)
sys.modules["projections_scene"] = scene
_spec.loader.exec_module(scene)


@pytest.fixture(scope="session")
def joined() -> ProjectionPair:
    """A frontal and an oblique view, joined."""
    found: ProjectionPair = join_views(
        scene.make_run(scene.FRONT), scene.make_run(scene.SIDE), params=ProjectionParams()
    )
    return found
