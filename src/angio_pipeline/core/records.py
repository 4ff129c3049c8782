"""What procedure records say of a treatment, what is odd about them, and what is known of agents.

A record is kept whatever is wrong with it: a value that cannot be used is unknown (None), and a `Finding`
says which and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date as Date
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from angio_pipeline.core.params import Params

__all__ = [
    "AgentTable",
    "CatheterPosition",
    "ChecklistItem",
    "Drug",
    "Embolic",
    "Finding",
    "Precaution",
    "Procedure",
    "ProcedureRecord",
    "ShuntSeen",
    "TreatmentEvidence",
]

Percent = Annotated[float, Field(ge=0, le=100)]
Range = tuple[float, float]


class Drug(Params):
    """A drug, and the single doses that are commonly recorded."""

    synonyms: tuple[str, ...] = ()
    recorded_mg: Range

    @model_validator(mode="after")
    def _ordered(self) -> Drug:
        if not 0 < self.recorded_mg[0] <= self.recorded_mg[1]:
            raise ValueError("recorded_mg must be two positive doses in order")
        return self


class Embolic(Params):
    """An embolic agent and what it implies: in words, and as far as something is checked or told by it."""

    synonyms: tuple[str, ...] = ()
    implies: str
    radio_opaque: bool = False
    lasts_days: Range | None = None
    size_um: Range | None = None
    needs_super_selection: bool = False
    iodine_mg_per_ml: float | None = None
    g_per_ml: float | None = None


class Procedure(Params):
    """A kind of treatment; None where either may be."""

    synonyms: tuple[str, ...] = ()
    words: str
    drug: bool | None = None
    oil: bool | None = None
    embolic: bool | None = None


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


class AgentTable(Params):
    """Everything that records may name, by name."""

    procedures: Mapping[str, Procedure]
    embolics: Mapping[str, Embolic]
    drugs: Mapping[str, Drug]

    @cached_property
    def _names(self) -> dict[str, dict[str, str]]:
        kinds: dict[str, Mapping[str, Drug | Embolic | Procedure]] = {
            "drugs": dict(self.drugs),
            "embolics": dict(self.embolics),
            "procedures": dict(self.procedures),
        }
        return {
            kind: {_plain(word): name for name, entry in table.items() for word in (name, *entry.synonyms)}
            for kind, table in kinds.items()
        }

    def name_of(self, kind: Literal["drugs", "embolics", "procedures"], word: str) -> str | None:
        """Return the table's name for a word of a record, None when it knows none."""
        return self._names[kind].get(_plain(word))


class CatheterPosition(StrEnum):
    """Where the catheter lay for the treatment, from the aorta outwards."""

    CELIAC = "celiac"
    COMMON_HEPATIC = "common hepatic"
    PROPER_HEPATIC = "proper hepatic"
    LOBAR = "lobar"
    SEGMENTAL = "segmental"
    SUBSEGMENTAL = "subsegmental"

    @property
    def super_selective(self) -> bool:
        """Whether it is a segment's branch or beyond."""
        return self in (CatheterPosition.SEGMENTAL, CatheterPosition.SUBSEGMENTAL)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd about the records; the row it is about is kept. Row 1 is the first below the header, 0 the file."""

    row: int
    patient: str
    column: str
    code: str
    sentence: str


class ProcedureRecord(BaseModel):
    """One treatment of one patient, as a hospital wrote it down. None is unknown.

    `necrosis_*` are shares of the tumour in per cent; `histology_*` (main, daughters) the reference standard where
    it is there. `issuer` says who gave the patient's number, as the images' Issuer of Patient ID (0010,0021)
    does; empty where none is told. `unknown_embolics` counts those that the table of agents does not know. `other`
    holds columns that have no meaning of their own here, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    row: int
    patient_id: str
    issuer: str = ""
    subject: str = ""
    date: Date | None = None
    procedure: str | None = None
    regimen: str | None = None
    agents: tuple[str, ...] = ()
    doses_mg: tuple[float | None, ...] = ()
    oil_ml: Annotated[float, Field(ge=0, le=100)] | None = None
    embolics: tuple[str, ...] = ()
    unknown_embolics: Annotated[int, Field(ge=0)] = 0
    embolic_size_um: Range | None = None
    catheter_position: CatheterPosition | None = None
    angiography_before: bool | None = None
    shunt_looked_for: bool | None = None
    shunt_found: bool | None = None
    endpoint_judged: bool | None = None
    reflux_guarded: bool | None = None
    patient_watched: bool | None = None
    films_kept: bool | None = None
    age_years: Annotated[float, Field(ge=0, le=120)] | None = None
    sex: Literal["F", "M"] | None = None
    child_pugh: Literal["A", "B", "C"] | None = None
    origin: str | None = None
    afp_ng_ml: Annotated[float, Field(ge=0)] | None = None
    size_mm: Annotated[float, Field(gt=0, le=400)] | None = None
    size_class: str | None = None
    necrosis_main_percent: Percent | None = None
    necrosis_daughter_percent: Percent | None = None
    histology_necrosis_percent: Percent | None = None
    histology_daughter_percent: Percent | None = None
    survival_days: Annotated[float, Field(ge=0, le=40000)] | None = None
    event: bool | None = None
    progression_days: Annotated[float, Field(ge=0, le=40000)] | None = None
    progression: bool | None = None
    other: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class ShuntSeen:
    """A shunt that the analysis of a run reports."""

    kind: str
    probability: float


@dataclass(frozen=True, slots=True)
class TreatmentEvidence:
    """What the images of one patient say about the treatment. None is unknown.

    Attributes
    ----------
    runs_before : int
        Runs that were analysed, of the day of treatment or earlier.
    shunts_assessed : bool
        Whether any of these runs could show a shunt.
    bifurcations, non_target_fraction : int or None, float or None
        Of the best super-selective target of the likeliest tumour: how many divisions lie between the catheter tip
        and it, and which share of the tree downstream of it is not the tumour's.
    sace : tuple of str
        Levels that the comparison of runs derived, a tumour each.
    end_point_compared : bool
        Whether a run before and one after embolisation could be compared.
    non_target_oil : tuple of str or None
        Places outside the liver that hold oil; None when nobody looked.
    films : int
        Runs, films and scans that results were made from.
    """

    runs_before: int = 0
    shunts: tuple[ShuntSeen, ...] = ()
    shunts_assessed: bool = False
    bifurcations: int | None = None
    non_target_fraction: float | None = None
    sace: tuple[str, ...] = ()
    end_point_compared: bool = False
    non_target_oil: tuple[str, ...] | None = None
    films: int = 0


class Precaution(StrEnum):
    """What is looked at, one by one."""

    ANGIOGRAPHY_BEFORE = "angiography before"
    SHUNT_LOOKED_FOR = "shunt looked for"
    SHUNT_FOUND = "shunt found"
    SUPER_SELECTIVE = "catheter super-selective"
    END_POINT_JUDGED = "end point judged"
    REFLUX_GUARDED = "guarded against reflux"
    PATIENT_WATCHED = "patient watched"
    NON_TARGET_OIL = "non-target oil seen"
    FILMS_KEPT = "films kept"
    MICROSPHERES_NOT_SELECTIVE = "microspheres without super-selection"
    SHUNT_WITH_MICROSPHERES = "shunt with microspheres"


@dataclass(frozen=True, slots=True)
class ChecklistItem:
    """One thing that was looked at: `yes`, `no` or `unknown`; a warning where it deserves a look. Never advice."""

    precaution: Precaution
    answer: Literal["yes", "no", "unknown"]
    reason: str
    warning: bool = False
