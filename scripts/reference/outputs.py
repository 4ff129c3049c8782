"""Tables and documents that the program writes: every column and every field.

Types come from the code, units from the names, and what a column is from docs/columns.toml, as tables are plain
mappings of names to types.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from angio_pipeline.outputs import json_schema
from angio_pipeline.outputs.cells import Columns
from angio_pipeline.outputs.cohort.reading import PATIENT_COLUMNS
from angio_pipeline.outputs.responses import LESION_COLUMNS, RESPONSE_COLUMNS
from angio_pipeline.outputs.rows import (
    BRANCH_TABLE_COLUMNS,
    EMBOLISATION_COLUMNS,
    FEEDER_COLUMNS,
    LIPIODOL_COLUMNS,
    RUN_COLUMNS,
)
from reference.values import table, unit_of

__all__ = ["TABLES", "documents", "tables", "words"]

_SUBJECT = {"subject": "VARCHAR"}
TABLES: dict[str, tuple[Columns, str]] = {
    "runs": (RUN_COLUMNS, "A row a run."),
    "feeders": (FEEDER_COLUMNS, "A row a feeder of a tumour in a run."),
    "branches": (BRANCH_TABLE_COLUMNS, "A row a branch of a run's arterial tree."),
    "lipiodol": (LIPIODOL_COLUMNS, "A row a lesion (or the liver) and date."),
    "embolisation": (EMBOLISATION_COLUMNS, "A row a tumour of two runs that were compared, or why they were not."),
    "response": (_SUBJECT | dict(RESPONSE_COLUMNS), "A row a date, criterion and convention of the oil."),
    "lesions": (_SUBJECT | dict(LESION_COLUMNS), "A row a lesion and date: the measures behind the calls."),
    "cohort": (PATIENT_COLUMNS, "A row a patient, written by `angio cohort`."),
}
_TYPES = {"VARCHAR": "text", "DOUBLE": "number", "BIGINT": "integer", "BOOLEAN": "true or false"}
_JSON_TYPES = {"string": "text", "number": "number", "integer": "integer", "boolean": "true or false", "null": "null"}
DOCUMENTS = {
    "run": "analysis.json", "graph": "graph.json", "curves": "curves.json", "lipiodol": "lipiodol.json",
    "response": "response.json", "embolisation": "embolisation.json", "projections": "projections.json",
    "corrections": "corrections.json, which is read",
}  # fmt: skip


def words() -> dict[str, dict[str, str]]:
    """Return what each column is, by table; `all` holds those that mean the same everywhere."""
    path = Path(__file__).resolve().parents[2] / "docs" / "columns.toml"
    told: dict[str, dict[str, str]] = tomllib.loads(path.read_text(encoding="utf-8"))
    return told


def word_of(name: str, column: str, told: dict[str, dict[str, str]]) -> str:
    """Return what a column of a table is.

    Raises
    ------
    KeyError
        When docs/columns.toml says nothing of it.
    """
    found = told.get(name, {}).get(column) or told["all"].get(column)
    if found is None:
        raise KeyError(f"Expected docs/columns.toml to say what {column} of {name} is, found nothing; add it there.")
    return found


def tables() -> str:
    """Return the section of tables."""
    told = words()
    return "\n\n".join(_table(name, columns, said, told) for name, (columns, said) in TABLES.items())


def _table(name: str, columns: Columns, said: str, told: dict[str, dict[str, str]]) -> str:
    rows = [(f"`{one}`", _TYPES[kind], unit_of(one), word_of(name, one, told)) for one, kind in columns.items()]
    return f"### {name}.csv\n\n{said}\n\n{table(('column', 'type', 'unit', 'what'), rows)}"


def documents() -> str:
    """Return the section of JSON documents."""
    return "\n\n".join(_document(kind, file) for kind, file in DOCUMENTS.items())


def _document(kind: str, file: str) -> str:
    schema = json_schema(kind)
    kinds, shared = schema.get("$defs", {}), words()["all"]
    parts = [f"### {file}", _object(schema, kinds, shared)]
    for name, one in kinds.items():
        if one.get("properties"):
            parts.append(f"#### {_plain(name)} in {file.split(',')[0]}\n\n{_object(one, kinds, shared)}")
    return "\n\n".join(parts)


def _object(schema: dict[str, Any], kinds: dict[str, Any], shared: dict[str, str]) -> str:
    # A field that the code describes says so itself; what means the same everywhere is told by columns.toml.
    rows = [
        (f"`{name}`", _type(field, kinds), unit_of(name), field.get("description") or shared.get(name, ""))
        for name, field in schema.get("properties", {}).items()
    ]
    said = " ".join(schema.get("description", "").split())
    return f"{said}\n\n{table(('field', 'type', 'unit', 'what'), rows)}".strip()


def _plain(name: str) -> str:
    return name.removesuffix("Document")


def _type(field: dict[str, Any], kinds: dict[str, Any]) -> str:
    # A field's type in words, from JSON Schema; what is one of a few words is told by these.
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[-1]
        return _type(kinds[name], kinds) if "enum" in kinds.get(name, {}) else _plain(name)
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field or "oneOf" in field:
        each = [_type(one, kinds) for one in field.get("anyOf", field.get("oneOf", []))]
        return " or ".join(dict.fromkeys(each))
    if "allOf" in field:
        return _type(field["allOf"][0], kinds)
    if field.get("type") == "array":
        if "prefixItems" in field:
            return "[" + ", ".join(_type(one, kinds) for one in field["prefixItems"]) + "]"
        return f"list of {_type(field.get('items', {}), kinds)}"
    if field.get("type") == "object":
        inner = field.get("additionalProperties")
        return f"names to {_type(inner, kinds)}" if isinstance(inner, dict) and inner else "object"
    return _JSON_TYPES.get(str(field.get("type")), "any")
