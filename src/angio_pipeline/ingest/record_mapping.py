"""Which column of a records file is what: read from TOML, for exports that name or code things their own way."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from angio_pipeline.assets import configs_dir
from angio_pipeline.core.errors import ConfigError
from angio_pipeline.core.params import Params
from angio_pipeline.core.records import AgentTable, ProcedureRecord

__all__ = ["FIELDS", "RecordMapping", "read_agents", "read_mapping"]

# What a column can be: everything that a record holds and that is not worked out from the rest.
FIELDS = tuple(
    {"embolics": "embolic"}.get(name, name)
    for name in ProcedureRecord.model_fields
    if name not in ("row", "subject", "other", "unknown_embolics")
)


class RecordMapping(Params):
    """How a file's columns are to be read; what is left out is read by its own name.

    `columns` gives a field its column; `values` translates codes of a field; `checkboxes` gathers a field from
    columns that hold 1 where an entry applies (REDCap); `units` says what numbers without a unit are in. `issuer` is
    who gave the patients' numbers, where the images say so and no column of the file does.
    """

    columns: Mapping[str, str] = {}
    values: Mapping[str, Mapping[str, str]] = {}
    checkboxes: Mapping[str, Mapping[str, str]] = {}
    units: Mapping[str, str] = {}
    issuer: str = Field("", description="of patients' numbers, as in the images' Issuer of Patient ID (0010,0021)")
    date_order: Literal["dmy", "mdy"] | None = Field(None, description="of dates such as 03/04/2024")

    @field_validator("columns", "values", "checkboxes", "units")
    @classmethod
    def _known(cls, given: Mapping[str, object]) -> Mapping[str, object]:
        for name in given:
            if name not in FIELDS:
                raise ValueError(f"{name!r} is no field of a record; the fields are {', '.join(FIELDS)}")
        return given

    def column(self, field: str) -> str:
        """Return the column that holds a field."""
        return self.columns.get(field, field)


def read_mapping(path: Path | None) -> RecordMapping:
    """Return the mapping of a TOML file; without one every column goes by its own name.

    Raises
    ------
    ConfigError
        When the file cannot be read or names a field that there is not.
    """
    if path is None:
        return RecordMapping()
    try:
        return RecordMapping.model_validate(_toml(path))
    except ValidationError as error:
        raise ConfigError(f"Expected a mapping of columns in {path.name}, found: {_first(error)}.") from None


def read_agents(path: Path | None = None) -> AgentTable:
    """Return the table of agents, `configs/agents.toml` when no other is named.

    Raises
    ------
    ConfigError
        When the file cannot be read or is no such table.
    """
    path = configs_dir() / "agents.toml" if path is None else path
    try:
        return AgentTable.model_validate(_toml(path))
    except ValidationError as error:
        raise ConfigError(f"Expected a table of agents in {path.name}, found: {_first(error)}.") from None


def _toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"Expected TOML in {path.name}, found: {error}.") from None


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
