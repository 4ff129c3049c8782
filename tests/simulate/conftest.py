"""A small patient for the tests of what comes after treatment: one artery with feeders, and what it feeds."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from angio_pipeline.simulate.anatomy.devices import Devices
from angio_pipeline.simulate.anatomy.lesions import TumourBody, TumourKind
from angio_pipeline.simulate.anatomy.tree import Territory, Tree
from angio_pipeline.simulate.cohort import CohortParams, PatientPlan, plan_patient
from angio_pipeline.simulate.radiograph.projection import Ellipsoids, Tubes

LOBES = Ellipsoids.aligned([[-42, 6, 6], [26, -26, 24]], [[60, 56, 76], [58, 34, 42]])
NO_TUBES = Tubes(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))


@pytest.fixture(scope="session")
def plan() -> Callable[..., PatientPlan]:
    """Return a maker of plans with oil and complete stasis, unless told otherwise."""
    return _plan


@pytest.fixture(scope="session")
def anatomy() -> Callable[..., Any]:
    """Return a maker of the parts of an anatomy that treatment and CT look at."""
    return _anatomy


def _plan(**changes: Any) -> PatientPlan:
    drawn = plan_patient(CohortParams(), np.random.default_rng(0), size_mm=28.0)
    usual = {"oil_ml": 10.0, "stasis": 1.0, "catheter_order": 1, "necrosis_main": 0.6, "necrosis_daughter": 0.3}
    return replace(drawn, **{"half_life_factor": 1.0, **usual, **changes})


def _anatomy(daughter: bool = True, kind: TumourKind = TumourKind.HYPERVASCULAR) -> Any:
    tree = Tree([30.0, 40.0, -20.0])
    trunk = tree.path(0, [[10, 10, -10], [-10, 5, 0]], Territory.TRUNK)
    cystic = tree.path(trunk, [[-30, -20, -20], [-35, -25, -35]], Territory.OTHER)
    tree.name[cystic] = tree.name[tree.parent[cystic]] = "cystic"
    stem = tree.path(trunk, [[-30, 5, 5]], Territory.RIGHT_LIVER)
    liver = [tree.add(stem, p, Territory.RIGHT_LIVER) for p in ([-40, 20, 30], [-30, -10, 30], [-20, 10, -30])]
    far = [tree.add(trunk, [30, -20, 20 + 5 * k], Territory.LEFT_LIVER) for k in range(9)]
    main = _tumour(tree, stem, 0, np.array([-60.0, 5.0, 10.0]), 14.0, kind, feeders=2)
    bodies = [main]
    if daughter:
        bodies.append(_tumour(tree, stem, 1, np.array([-45.0, 20.0, -30.0]), 7.0, kind, feeders=1, daughter_of=0))
    return SimpleNamespace(
        arteries=tree,
        tumours=tuple(bodies),
        lobes=LOBES,
        liver_terminals=tuple(liver + far),
        devices=Devices(NO_TUBES, NO_TUBES),
    )


def _tumour(
    tree: Tree,
    stem: int,
    index: int,
    centre: np.ndarray,
    radius: float,
    kind: TumourKind,
    feeders: int,
    daughter_of: int | None = None,
) -> TumourBody:
    core = Ellipsoids.aligned(centre, [0.5 * radius] * 3) if kind is TumourKind.RIM else None
    entries, ends = [], []
    for k in range(feeders):
        side = np.array([0, (-1) ** k, 0]) * radius
        entries.append(tree.path(stem, [centre + 1.5 * side, centre + side], Territory.FEEDER, index))
        ends.append(tree.add(entries[-1], centre + 0.5 * side, Territory.TUMOUR, index, entries[-1]))
    beside = centre + np.array([0.5, 0, 0.3]) * radius
    solid = Ellipsoids.aligned([centre, beside], np.array([[1, 1, 0.9], [0.6] * 3]) * radius)
    starts = (stem,) * feeders
    return TumourBody(
        centre, radius, solid, kind, tuple(entries), starts, tuple(ends), daughter_of, core, native_hu=46.0
    )
