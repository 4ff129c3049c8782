"""Fixtures that the tests of this folder share."""

from __future__ import annotations

import pytest
from projections_scene import FRONT, SIDE, make_run

from angio_pipeline.core.projections import ProjectionPair
from angio_pipeline.projections import ProjectionParams, join_views


@pytest.fixture(scope="session")
def joined() -> ProjectionPair:
    """A frontal and an oblique view, joined."""
    return join_views(make_run(FRONT), make_run(SIDE), params=ProjectionParams())
