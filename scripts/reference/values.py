"""Settings in words: defaults, ranges, choices and units, as the pages of settings show them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import annotated_types
from pydantic.fields import FieldInfo

from angio_pipeline.core.params import Params

__all__ = ["cell", "first_line", "limits", "shown", "table", "unit_of"]

# By the end of a name, the longest first.
_UNITS = {
    "_hu_ml_per_mg": "HU·ml/mg", "_per_mm": "1/mm", "_mm_s": "mm/s", "_px_s": "px/s", "_ng_ml": "ng/ml", "_mm2": "mm²",
    "_mm3": "mm³", "_days": "days", "_seconds": "s", "_minutes": "min", "_years": "years", "_percent": "%",
    "_bytes": "bytes", "_frames": "frames", "_degrees": "°", "_deg": "°", "_mm": "mm", "_cm": "cm", "_um": "µm",
    "_px": "px", "_ml": "ml", "_mg": "mg", "_hu": "HU", "_kvp": "kVp", "_s": "s",
}  # fmt: skip
_ROLES = ("_low", "_high", "_before", "_after", "_tissue", "_oil_necrotic", "_oil_enhancing", "_start", "_end")


def unit_of(name: str) -> str:
    """Return the unit that a name carries; nothing where it carries none."""
    bare = name
    for role in _ROLES:
        bare = bare.removesuffix(role)
    return next((unit for end, unit in _UNITS.items() if bare.endswith(end)), "")


def first_line(kind: type[Any]) -> str:
    """Return the first paragraph of a class's docstring in one line."""
    return " ".join((kind.__doc__ or "").strip().split("\n\n")[0].split())


def shown(value: Any) -> str:
    """Return a default as TOML would name it, short."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {shown(one)}" for key, one in value.items()) or "none"
    if isinstance(value, tuple):
        if any(isinstance(v, Params) for v in value):
            return ", ".join(str(getattr(v, "name", k)) for k, v in enumerate(value))
        return ", ".join(map(shown, value)) or "none"
    return "unset" if value is None else str(value)


def limits(field: FieldInfo) -> str:
    """Return the range or the choices that a setting allows; nothing where any value of its type will do."""
    low = high = ""
    for rule in field.metadata:
        match rule:
            case annotated_types.Ge():
                low = f"from {rule.ge:g}"
            case annotated_types.Gt():
                low = f"above {rule.gt:g}"
            case annotated_types.Le():
                high = f"to {rule.le:g}"
            case annotated_types.Lt():
                high = f"below {rule.lt:g}"
            case _:
                pass
    return f"{low} {high}".strip() or _choices(field)


def _choices(field: FieldInfo) -> str:
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return ", ".join(member.value for member in kind)
    choices = getattr(kind, "__args__", ())
    return ", ".join(map(str, choices)) if choices and all(isinstance(c, str | int) for c in choices) else ""


def cell(text: str) -> str:
    """Return a text that stands in a cell of a table as it is."""
    return " ".join(text.split()).replace("|", "\\|")


def table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], right: tuple[int, ...] = ()) -> str:
    """Return a Markdown table; columns of the indices in `right` are set to the right."""
    rule = " | ".join("---:" if k in right else "---" for k in range(len(headings)))
    lines = [" | ".join(headings), rule, *(" | ".join(map(cell, row)) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)
