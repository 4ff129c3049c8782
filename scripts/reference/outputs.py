"""Tables and documents that the program writes: every column and every field.

Types come from the code, units from the names, and what a column is from docs/columns.toml, as tables are plain
mappings of names to types. What a field of a document is, the code's schema says, else docs/fields.toml, else the table
that has a column of its name and meaning.
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

__all__ = ["TABLES", "documents", "field_words", "tables", "unexplained", "words"]

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
# Objects of documents whose fields are the columns of a table.
_AS_TABLE = {
    "ReasonDocument": "response", "ExtentDocument": "lesions", "MeasuredLesionDocument": "lesions",
    "NecrosisDocument": "lesions", "GraphBranch": "branches",
}  # fmt: skip


def words() -> dict[str, dict[str, str]]:
    """Return what each column is, by table; `all` holds those that mean the same everywhere."""
    return _told("columns.toml")


def field_words() -> dict[str, dict[str, str]]:
    """Return what fields of documents are, by the object that holds them, as far as code and tables do not say so."""
    return _told("fields.toml")


def _told(file: str) -> dict[str, dict[str, str]]:
    path = Path(__file__).resolve().parents[2] / "docs" / file
    told: dict[str, dict[str, str]] = tomllib.loads(path.read_text(encoding="utf-8"))
    return told


def _word_of_field(owner: str, name: str, field: dict[str, Any]) -> str:
    """Return what a field is; empty where nothing says so."""
    own, columns = field_words(), words()
    places = (own.get(owner, {}), columns.get(_AS_TABLE.get(owner, ""), {}), own["all"], columns["all"])
    found = (place[name] for place in places if name in place)
    return str(field.get("description") or next(found, ""))


def objects(kind: str) -> dict[str, dict[str, Any]]:
    """Return the schemas of all objects with fields in a kind of document, the document first, by their names."""
    schema = json_schema(kind)
    inner = {name: one for name, one in schema.get("$defs", {}).items() if one.get("properties")}
    return {str(schema["title"]): schema, **inner}


def unexplained() -> list[str]:
    """Return each field of a document of which nothing says what it is."""
    return [
        f"{owner}.{name}"
        for kind in DOCUMENTS
        for owner, one in objects(kind).items()
        for name, field in one.get("properties", {}).items()
        if not _word_of_field(owner, name, field)
    ]


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
    (name, whole), *inner = objects(kind).items()
    kinds = whole.get("$defs", {})
    parts = [f"### {file}", _object(name, whole, kinds)]
    parts += [f"#### {_plain(one)} in {file.split(',')[0]}\n\n{_object(one, held, kinds)}" for one, held in inner]
    return "\n\n".join(parts)


def _object(owner: str, schema: dict[str, Any], kinds: dict[str, Any]) -> str:
    rows = [
        (f"`{name}`", _type(field, kinds), unit_of(name), _word_of_field(owner, name, field))
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
