"""Before a batch begins its networks are looked at; the filter needs none."""

from __future__ import annotations

import pytest

from angio_pipeline.batch import check_weights
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.errors import ModelError

FILTER = PipelineConfig.model_validate({"segment": {"method": "filter"}, "feeders": {"network": ""}})


@pytest.fixture(autouse=True)
def _own_models(models, monkeypatch: pytest.MonkeyPatch) -> None:
    models.add("feeder")
    models.add("frame")
    monkeypatch.setattr("angio_pipeline.networks.manifest.models_dir", lambda: models.folder)


def test_the_filter_needs_no_weights(models) -> None:
    (models.folder / "manifest.toml").unlink()
    check_weights(FILTER)


def test_networks_that_are_there_and_whole_are_taken(models) -> None:
    models.add("run")
    check_weights(PipelineConfig())


def test_a_network_that_is_not_listed_is_told_before_any_work() -> None:
    with pytest.raises(ModelError, match=r"lists \(feeder, frame\), found 'run'"):
        check_weights(PipelineConfig())


def test_weights_that_were_changed_are_told_before_any_work(models) -> None:
    path = models.add("run")
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(ModelError, match="the weights were changed"):
        check_weights(PipelineConfig())


def test_the_network_of_feeders_is_looked_at_as_well(models) -> None:
    path = models.add("run").with_name("feeder.safetensors")
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(ModelError, match="the weights were changed"):
        check_weights(PipelineConfig())
