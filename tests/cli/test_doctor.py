"""What a bug report needs: what is here, and whether the weights are those that were shipped."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from angio_pipeline import __version__
from angio_pipeline.assets import models_dir
from angio_pipeline.cli.main import app
from angio_pipeline.networks.manifest import read_manifest


def test_a_sound_installation_is_told_in_full() -> None:
    told = CliRunner().invoke(app, ["doctor"])
    assert told.exit_code == 0
    assert told.output.startswith(f"angio-pipeline {__version__}, Python 3.")
    assert [line.split()[-1] for line in told.output.splitlines() if "weights" in line] == ["sound"] * len(
        read_manifest()
    )
    assert "not installed" not in "".join(line for line in told.output.splitlines() if "openvino" not in line)


def test_weights_that_were_changed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tmp_path / "models"
    shutil.copytree(models_dir(), models)
    changed = models / read_manifest()[0].file
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1
    changed.write_bytes(content)
    monkeypatch.setattr("angio_pipeline.networks.manifest.models_dir", lambda: models)
    told = CliRunner().invoke(app, ["doctor"])
    assert told.exit_code == 1
    assert told.output.count("the weights were changed") == 1
    assert told.output.count("sound") == len(read_manifest()) - 1


def test_a_missing_manifest_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("angio_pipeline.networks.manifest.models_dir", lambda: tmp_path)
    told = CliRunner().invoke(app, ["doctor"])
    assert told.exit_code == 1
    assert "Expected models/manifest.toml, found none" in told.output
