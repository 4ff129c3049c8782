"""The list of settings that users copy from is the code's own, and tells what each one is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.params import Params

ROOT = Path(__file__).parents[2]


def _settings(params: Params, path: str = "") -> Iterator[tuple[str, str | None]]:
    for name, field in type(params).model_fields.items():
        value = getattr(params, name)
        if isinstance(value, Params):
            yield from _settings(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", field.description


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, description in _settings(PipelineConfig()) if not description] == []


@pytest.mark.slow
def test_the_shipped_list_of_settings_is_what_the_code_has(tmp_path: Path) -> None:
    made = tmp_path / "default.toml"
    subprocess.run([sys.executable, str(ROOT / "scripts" / "make_default_config.py"), str(made)], check=True)
    assert made.read_text() == (ROOT / "configs" / "default.toml").read_text()
