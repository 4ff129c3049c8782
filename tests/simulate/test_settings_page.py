"""Every knob is described, and the page of settings is the one that the settings make."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.cohort import AgentParams, ArmParams
from angio_pipeline.simulate.presets import SimulationParams, each_group

ROOT = Path(__file__).resolve().parents[2]
KINDS = {type(group) for path, group in each_group(SimulationParams()) if path} | {ArmParams, AgentParams}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("knobs", ROOT / "scripts" / "write_simulator_knobs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", sorted(KINDS, key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_every_knob_is_described(kind: type[Params]) -> None:
    silent = [
        name
        for name, field in kind.model_fields.items()
        if not field.description and not (isinstance(field.annotation, type) and issubclass(field.annotation, Params))
    ]
    assert silent == []


def test_the_page_is_the_one_that_the_settings_make(script: ModuleType) -> None:
    told = "run scripts/write_simulator_knobs.py"
    assert (ROOT / "docs" / "simulator-settings.md").read_text(encoding="utf-8") == script.page(), told


def test_every_knob_is_on_the_page(script: ModuleType) -> None:
    page = script.page()
    for path, group in each_group(SimulationParams()):
        if path and not path.startswith("cohort.arms"):
            heading = f"[{path.removesuffix('.0')}]" if path.endswith(".0") else path
            section = page.split(f"## [{heading}]\n")[1].split("\n## ")[0]
            for name in type(group).model_fields:
                assert isinstance(getattr(group, name), Params) or f"| `{name}` |" in section, f"{path}.{name}"


def test_the_page_is_named_in_the_guide() -> None:
    assert "(simulator-settings.md)" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
