"""A run is staged as its settings say."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from angio_pipeline.simulate import runs
from angio_pipeline.simulate.anatomy.devices import Catheter
from angio_pipeline.simulate.circulation.contrast import ContrastParams, Injection
from angio_pipeline.simulate.radiograph.collimation import CollimationParams
from angio_pipeline.simulate.radiograph.detector import DetectorParams

pytestmark = pytest.mark.slow


def staged(monkeypatch: pytest.MonkeyPatch, flow_ml_s: float, **settings: float) -> Injection:
    """Return the injection of a run whose tip stands in an artery of `flow_ml_s`."""
    monkeypatch.setattr(runs, "circulate", lambda *_, **__: None)
    plan: Any = SimpleNamespace(
        times_s=np.arange(4.0), mask_frames=2, catheter=Catheter(1, np.zeros((2, 3)), 1), kept=np.ones(2)
    )
    anatomy: Any = SimpleNamespace(arteries=SimpleNamespace(flow=[0.0, flow_ml_s]))
    nothing: Any = None
    return runs.stage_run(
        plan, anatomy, nothing, nothing, nothing,
        contrast=ContrastParams.model_validate(settings), detector=DetectorParams(), collimation=CollimationParams(),
    ).injection  # fmt: skip


def test_the_injection_is_the_one_that_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"injection_ml_s": 3.0, "injection_s": 1.9, "iodine_mg_per_ml": 370.0, "ramp_s": 0.7}
    made = staged(monkeypatch, 8.0, **settings)
    assert made == Injection(1, 3.0, 1.9, 370.0, start_s=1.5, ramp_s=0.7)


def test_a_small_artery_gets_no_more_than_it_is_set_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    assert staged(monkeypatch, 2.0, injection_over_flow=1.1).rate_ml_s == pytest.approx(2.2)
