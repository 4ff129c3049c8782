"""Write configs/default.toml from the settings' own defaults and descriptions."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.params import Params


def _lines(params: Params, path: str) -> list[str]:
    plain, nested = [], []
    for name, field in type(params).model_fields.items():
        value = getattr(params, name)
        if isinstance(value, Params):
            nested += ["", *_lines(value, f"{path}.{name}" if path else name)]
            continue
        note = f"  # {field.description}" if field.description else ""
        dumped = params.model_dump(mode="json")[name]
        if dumped is None:
            plain.append(f"# {name} is unset{note}")
        else:
            plain.append(f"{name} = {_toml(dumped)}{note}")
    header = [f"[{path}]"] if path and plain else []
    return [*header, *plain, *nested]


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(str(k))} = {_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[1] / "configs" / "default.toml"
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    text = "\n".join(_lines(PipelineConfig(), "")).strip() + "\n"
    target.write_text("# Every setting with its default; made by scripts/make_default_config.py.\n\n" + text)
