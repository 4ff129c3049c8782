"""Every setting of an analysis: default, range, unit and what it is, from the models that check them."""

from __future__ import annotations

from collections.abc import Iterator

from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.params import Params
from reference.values import first_line, limits, shown, table, unit_of

__all__ = ["groups", "section"]


def groups(params: Params, path: str = "") -> Iterator[tuple[str, Params]]:
    """Yield each table of settings with its name, those within it after it."""
    yield path, params
    for name in type(params).model_fields:
        value = getattr(params, name)
        if isinstance(value, Params):
            yield from groups(value, f"{path}.{name}" if path else name)


def section() -> str:
    """Return a table for each group of settings."""
    return "\n\n".join(_described(path, group) for path, group in groups(PipelineConfig()) if path)


def _described(path: str, group: Params) -> str:
    rows = [
        (f"`{name}`", shown(getattr(group, name)), unit_of(name), limits(field), field.description or "")
        for name, field in type(group).model_fields.items()
        if not isinstance(getattr(group, name), Params)
    ]
    head = f"{'###' if '.' in path else '##'} [{path}]\n\n{first_line(type(group))}"
    return f"{head}\n\n{table(('setting', 'default', 'unit', 'range', 'what'), rows, right=(1,))}" if rows else head
