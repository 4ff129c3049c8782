"""Write docs/simulator-settings.md from the simulator's settings and the presets.

.venv/bin/python scripts/write_simulator_knobs.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.cohort import DOSE_RANGES_MG
from angio_pipeline.simulate.presets import PRESETS, SimulationParams, each_group, load_preset
from reference.values import first_line, limits, shown

PAGE = Path(__file__).resolve().parents[1] / "docs" / "simulator-settings.md"
_INTRODUCTION = """# Settings of the digital patient

Written by `scripts/write_simulator_knobs.py` from the settings themselves. A unit is the end of a name
(`_mm`, `_s`, `_mg`); shares are 0 to 1. A preset is changed in one knob by a file of your own:

```toml
extends = "clinical"

[background]
gas = 2.0
```

```
angio simulate PATIENTS --cases 5 --seed 1 --preset mine.toml
```

`extends` names a preset or a file beside it; without it the file changes the defaults. An unknown name or an
impossible value is refused. A column for a preset is empty where it leaves the default.
"""


def page() -> str:
    """Return the whole page."""
    default = SimulationParams()
    presets = {name: load_preset(name) for name in PRESETS}
    parts = [_INTRODUCTION]
    for path, group in each_group(default):
        if path and not _in_a_list(path):
            parts.append(_section(path, group, {name: _find(preset, path) for name, preset in presets.items()}))
    parts += [_list_section(name, presets) for name in _lists(default)]
    return "\n".join([*parts, *_arm_sections(default), _doses()])


def _lists(default: SimulationParams) -> Iterator[str]:
    for name, value in default:
        if isinstance(value, tuple) and value and isinstance(value[0], Params):
            yield name


def _list_section(name: str, presets: dict[str, SimulationParams]) -> str:
    field, kind = SimulationParams.model_fields[name], type(getattr(SimulationParams(), name)[0])
    entries = {
        f"{preset} {k + 1}": entry
        for preset, params in presets.items()
        for k, entry in enumerate(getattr(params, name))
    }
    said = f"{first_line(kind)} A list of tables: {field.description}. A file that has any replaces them all."
    return _table(f"## [[{name}]]\n\n{said}", kind(), entries)


def _in_a_list(path: str) -> bool:
    return any(part.isdigit() for part in path.split("."))


def _find(params: Params, path: str) -> Params:
    found = params
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _section(path: str, group: Params, presets: dict[str, Params]) -> str:
    return _table(f"## [{path}]\n\n{first_line(type(group))}", group, presets)


def _table(heading: str, group: Params, others: dict[str, Params]) -> str:
    lines = [heading, "", "| field | default | range | " + " | ".join(others) + " | what |"]
    lines += ["| --- | ---: | --- |" + " ---: |" * len(others) + " --- |"]
    for name, field in _plain(group):
        value = getattr(group, name)
        other = [getattr(preset, name) for preset in others.values()]
        cells = [f"`{name}`", shown(value), limits(field), *("" if v == value else shown(v) for v in other)]
        lines.append("| " + " | ".join([*cells, field.description or ""]) + " |")
    return "\n".join([*lines, ""])


def _plain(group: Params) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in type(group).model_fields.items():
        if not isinstance(getattr(group, name), Params):
            yield name, field


def _arm_sections(default: SimulationParams) -> Iterator[str]:
    arms = default.cohort.arms
    yield "## [[cohort.arms]]\n\nEach arm of the cohort is a table of its own; a file that has any replaces them all.\n"
    yield "| field | range | what |\n| --- | --- | --- |"
    for kind in (arms[0], next(arm.agents[0] for arm in arms if arm.agents)):
        for name, field in type(kind).model_fields.items():
            inner = "" if kind is arms[0] else "agents."
            yield f"| `{inner}{name}` | {limits(field)} | {field.description or ''} |"
    yield "\nThe arms of the default (their effects are invented):\n"
    names = [name for name in type(arms[0]).model_fields if name not in ("name", "agents")]
    yield "| | " + " | ".join(arm.name for arm in arms) + " |\n| --- |" + " ---: |" * len(arms)
    for name in names:
        yield f"| `{name}` | " + " | ".join(shown(getattr(arm, name)) for arm in arms) + " |"
    drugs = ["; ".join(f"{a.name} {a.dose_min_mg:g} to {a.dose_max_mg:g} mg" for a in arm.agents) for arm in arms]
    yield "| agents | " + " | ".join(drug or "none" for drug in drugs) + " |\n"


def _doses() -> str:
    lines = [
        "## Recorded doses",
        "",
        "Single doses of adults as they are commonly recorded; others are refused. No advice.",
        "",
    ]
    lines += ["| agent | mg |", "| --- | ---: |"]
    lines += [f"| {name} | {low:g} to {high:g} |" for name, (low, high) in DOSE_RANGES_MG.items()]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
