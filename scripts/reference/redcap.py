"""A REDCap data dictionary of the cohort's, the lesions' and the oil's tables.

REDCap wants variables in lower case that are told apart in the whole project, so that columns of the tables that
repeat for a patient carry the table's name in front. Choices are those of the code.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from enum import StrEnum

from angio_pipeline.core.followups import Completeness, MarginGrade, Pattern
from angio_pipeline.core.readings import Statement
from angio_pipeline.core.records import CatheterPosition
from angio_pipeline.core.response import Call, LesionRole, OutlineOrigin
from reference.outputs import TABLES, word_of, words
from reference.values import table, unit_of

__all__ = ["FORMS", "HEADINGS", "dictionary", "rows", "section", "value_of"]

HEADINGS = (
    "Variable / Field Name", "Form Name", "Section Header", "Field Type", "Field Label",
    "Choices, Calculations, OR Slider Labels", "Field Note", "Text Validation Type OR Show Slider Number",
    "Text Validation Min", "Text Validation Max", "Identifier?", "Branching Logic (Show field only if...)",
    "Required Field?", "Custom Alignment", "Question Number (surveys only)", "Matrix Group Name", "Matrix Ranking?",
    "Field Annotation",
)  # fmt: skip
# A form of the project: its table, and what its variables begin with.
FORMS = {"patient": ("cohort", ""), "lesion": ("lesions", "lesion_"), "oil": ("lipiodol", "oil_")}
_WORDS: dict[str, type[StrEnum] | tuple[str, ...]] = {
    "completeness": Completeness, "margin_grade": MarginGrade, "pattern": Pattern, "role": LesionRole,
    "outline": OutlineOrigin, "reading": Statement, "best_response": Call, "catheter_position": CatheterPosition,
    "sex": ("F", "M"), "child_pugh": ("A", "B", "C"), "state": ("analysed", "flagged", "refused", "no images"),
    "necrosis_source": ("histology", "records", "imaging", "none"),
    "progression_source": ("records", "images", "none"),
}  # fmt: skip
_YES_OR_NO = ("event", "progression")
_VALIDATION = {"DOUBLE": "number", "BIGINT": "integer"}


def rows() -> Iterator[dict[str, str]]:
    """Yield one variable of the dictionary after the other, the record's id first."""
    told = words()
    for form, (name, prefix) in FORMS.items():
        for column, kind in TABLES[name][0].items():
            if column == "subject" and form != "patient":
                continue  # the record that a repeated form belongs to
            yield _row(form, f"{prefix}{column}" if column != "lesion" else f"{prefix}name", column, kind) | {
                "Field Label": _label(word_of(name, column, told))
            }


def _row(form: str, variable: str, column: str, kind: str) -> dict[str, str]:
    return {
        "Variable / Field Name": variable,
        "Form Name": form,
        "Field Note": unit_of(column),
        "Field Annotation": f"column {column}",
    } | _typed(column, kind)


def _typed(column: str, kind: str) -> dict[str, str]:
    # Choices carry the words themselves as their codes where REDCap allows: letters, digits, dots and underscores.
    if column in _WORDS:
        choices = " | ".join(f"{_code(word)}, {word}" for word in _WORDS[column])
        return {"Field Type": "radio", "Choices, Calculations, OR Slider Labels": choices}
    if kind == "BOOLEAN" or column in _YES_OR_NO:
        return {"Field Type": "truefalse" if kind == "BOOLEAN" else "yesno"}
    return {"Field Type": "text", "Text Validation Type OR Show Slider Number": _VALIDATION.get(kind, "")}


def value_of(variable: dict[str, str], row: dict[str, str]) -> str:
    """Return a cell of a table as REDCap takes it for a variable: codes for words, 1 and 0 for yes and no."""
    cell = row.get(variable["Field Annotation"].removeprefix("column "), "")
    match variable["Field Type"]:
        case "radio":
            return _code(cell)
        case "truefalse" | "yesno":
            return {"true": "1", "false": "0"}.get(cell, cell)
        case _:
            return cell


def _code(word: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "_", word)


def _label(word: str) -> str:
    bare = word.replace("`", "")
    return bare[0].upper() + bare[1:]


def dictionary() -> str:
    """Return the dictionary as CSV."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, HEADINGS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows())
    return stream.getvalue()


def section() -> str:
    """Return a table of the variables of each form."""
    return "\n\n".join(f"### {form}\n\n{_table(form)}" for form in FORMS)


def _table(form: str) -> str:
    told = [
        (f"`{one['Variable / Field Name']}`", _kind(one), one["Field Note"], one["Field Label"])
        for one in rows()
        if one["Form Name"] == form
    ]
    return table(("variable", "type", "unit", "label"), told)


def _kind(one: dict[str, str]) -> str:
    return one.get("Text Validation Type OR Show Slider Number") or one["Field Type"]
