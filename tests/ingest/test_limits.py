"""The limits are told where a user looks for them, and scale as they say."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path

import pytest

from angio_pipeline.config import PipelineConfig, load_config
from angio_pipeline.core.errors import ConfigError
from angio_pipeline.ingest.limits import Limits

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_lists_the_limits_as_they_are() -> None:
    spec = importlib.util.spec_from_file_location("limits_page", ROOT / "scripts" / "write_limits.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = (ROOT / "docs" / "hostile-input.md").read_text(encoding="utf-8")
    assert script.table() in text, "run scripts/write_limits.py"
    assert all(f"`{name}`" in text for name in Limits.model_fields)


def test_the_default_settings_hold_the_limits_as_they_are() -> None:
    written = tomllib.loads((ROOT / "configs" / "default.toml").read_text(encoding="utf-8"))["limits"]
    assert written == PipelineConfig().limits.model_dump(), "run scripts/make_default_config.py"


def test_a_limit_is_changed_by_a_file_of_settings_and_a_misspelt_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[limits]\nfile_seconds = 5\n")
    assert load_config(str(path)).limits == Limits(file_seconds=5)
    path.write_text("[limits]\nfile_minutes = 5\n")
    with pytest.raises(ConfigError, match=r"limits\.file_minutes"):
        load_config(str(path))


@pytest.mark.parametrize(
    ("compressed", "most", "out"), [(0, 10_000, 100), (9, 10_000, 100), (20, 10_000, 200), (5000, 10_000, 10_000)]
)
def test_what_may_come_out_grows_with_what_goes_in(compressed: int, most: int, out: int) -> None:
    assert Limits(least_bytes_out=100, ratio_out=10).bytes_out(compressed, most) == out
