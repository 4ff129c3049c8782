"""What was done to each patient and what came of it, drawn from stated distributions.

The distributions are settings (`CohortParams`), so cohort statistics can be tested against effects that
are known. The default effects are the simulator's own invention: plausible in direction, taken from no
study, and no statement about any treatment. Only the dose ranges come from elsewhere: they are the
commonly recorded single doses of adults, and a setting outside them is refused.

The model, patient by patient:

- regimen: an arm drawn by weight, whatever the patient is like; dose, oil and catheter position uniform
  between the arm's ends;
- necrosis: beta distributed about an expected share m of the main tumour and of daughter nodules;
  logit m = logit(the arm's mean) + the covariates' effects; main tumour and nodules independently;
- half-life of the oil: the arm's factor times a log-normal scatter;
- survival: Weibull with proportional hazards, S(t) = exp(-ln 2 (t / median)^shape exp(eta)), where eta sums
  the arm's and the covariates' log hazard ratios; censored by the end of follow-up (uniform between two
  ends) or loss to follow-up (exponential), whichever comes first.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.params import Params

__all__ = [
    "DOSE_RANGES_MG",
    "AgentParams",
    "ArmParams",
    "CohortParams",
    "Embolic",
    "NecrosisParams",
    "Origin",
    "PatientPlan",
    "ProcedureRecord",
    "SizeClass",
    "SurvivalParams",
    "log_hazard",
    "necrosis_shift",
    "plan_patient",
    "read_plan",
    "write_plan",
    "write_records",
]

# Commonly recorded single doses of adults, mg. A record outside them is to be checked; none of them is advice.
DOSE_RANGES_MG: Mapping[str, tuple[float, float]] = {
    "5-fluorouracil": (1000, 1500),
    "cisplatin": (60, 100),
    "mitomycin": (10, 20),
    "doxorubicin": (40, 60),
    "epirubicin": (40, 80),
    "etoposide": (200, 500),
    "vincristine": (1, 2),
    "carboplatin": (300, 500),
    "bleomycin": (10, 40),
    "carmustine": (100, 300),
    "dacarbazine": (200, 800),
    "cyclophosphamide": (500, 800),
    "hydroxycamptothecin": (20, 40),
    "gemcitabine": (1400, 1800),
    "oxaliplatin": (150, 200),
}


class Embolic(StrEnum):
    """What was given to stop the flow, beside oil."""

    NONE = "none"
    GELATIN_SPONGE = "gelatin sponge"
    MICROSPHERES = "microspheres"


class Origin(StrEnum):
    """Where the tumour comes from."""

    HCC = "hcc"
    METASTASIS = "metastasis"


class SizeClass(StrEnum):
    """Diameter of the main tumour."""

    SMALL = "below 30 mm"
    MEDIUM = "30 to 50 mm"
    LARGE = "above 50 mm"


class AgentParams(Params):
    """One drug of a regimen; the dose is uniform between its ends."""

    name: str = Field(description="generic name, one of those with a recorded dose range")
    dose_min_mg: float = Field(gt=0, le=5000, description="least dose, not below the recorded range")
    dose_max_mg: float = Field(gt=0, le=5000, description="greatest dose, not above the recorded range")

    @model_validator(mode="after")
    def _recorded(self) -> AgentParams:
        if self.name not in DOSE_RANGES_MG:
            raise ValueError(f"name must be one of {', '.join(DOSE_RANGES_MG)}")
        low, high = DOSE_RANGES_MG[self.name]
        if not low <= self.dose_min_mg <= self.dose_max_mg <= high:
            raise ValueError(f"dose_min_mg and dose_max_mg of {self.name} must be ordered within {low:g} to {high:g}")
        return self


class ArmParams(Params):
    """One regimen: what is given, how often it is chosen, and what it does."""

    name: str = Field(min_length=1, description="the arm's name in records and tables")
    weight: float = Field(1.0, ge=0, le=1000, description="share of patients, relative to the other arms")
    agents: tuple[AgentParams, ...] = Field((), description="drugs given into the artery")
    oil_min_ml: float = Field(0.0, ge=0, le=30, description="least volume of iodised oil")
    oil_max_ml: float = Field(0.0, ge=0, le=30, description="greatest volume of iodised oil")
    embolic: Embolic = Field(Embolic.NONE, description="none, gelatin sponge or microspheres")
    catheter_order_min: int = Field(
        3, ge=0, le=4, description="0 celiac, 1 common hepatic, 2 proper, 3 lobar, 4 segment"
    )
    catheter_order_max: int = Field(4, ge=0, le=4, description="as catheter_order_min")
    stasis: float = Field(
        1.0, ge=0, le=1, description="how far flow falls towards treatment.residual_flow: 0 untouched, 1 all the way"
    )
    necrosis_main: float = Field(
        0.5, ge=0, le=1, description="mean necrotic share of the main tumour, reference patient"
    )
    necrosis_daughter: float = Field(
        0.3, ge=0, le=1, description="mean necrotic share of daughter nodules, reference patient"
    )
    half_life_factor: float = Field(1.0, gt=0, le=20, description="multiplies the half-life of the oil in tumours")
    log_hazard: float = Field(0.0, ge=-5, le=5, description="log hazard ratio of death against no treatment effect")

    @model_validator(mode="after")
    def _possible(self) -> ArmParams:
        if self.embolic is Embolic.MICROSPHERES and self.catheter_order_min < 4:
            raise ValueError("catheter_order_min must be 4 with microspheres, which are given super-selectively only")
        return self


class NecrosisParams(Params):
    """Scatter of necrosis about its expected share, and what shifts that share (on the logit scale)."""

    concentration: float = Field(
        8.0, gt=0, le=1000, description="precision of the beta distribution; more is less scatter"
    )
    metastasis_logit: float = Field(-0.4, ge=-5, le=5, description="shift of a metastasis against HCC")
    medium_logit: float = Field(-0.2, ge=-5, le=5, description="shift of 30 to 50 mm against smaller")
    large_logit: float = Field(-0.7, ge=-5, le=5, description="shift of above 50 mm against smaller")
    histology_share: float = Field(0.25, ge=0, le=1, description="patients with resection or biopsy afterwards")
    histology_sd: float = Field(0.05, ge=0, le=0.5, description="reading error of histological necrosis, share")


class SurvivalParams(Params):
    """Weibull survival of the reference patient, log hazard ratios, and censoring."""

    median_days: float = Field(
        540.0, gt=0, le=20000, description="median of the reference patient without treatment effect"
    )
    shape: float = Field(1.2, gt=0, le=10, description="Weibull shape; 1 is a constant hazard")
    child_b_log_hazard: float = Field(0.5, ge=-5, le=5, description="Child-Pugh B against A")
    child_c_log_hazard: float = Field(1.2, ge=-5, le=5, description="Child-Pugh C against A")
    metastasis_log_hazard: float = Field(0.3, ge=-5, le=5, description="metastasis against HCC")
    medium_log_hazard: float = Field(0.2, ge=-5, le=5, description="30 to 50 mm against smaller")
    large_log_hazard: float = Field(0.6, ge=-5, le=5, description="above 50 mm against smaller")
    afp_log_hazard: float = Field(0.1, ge=-5, le=5, description="a tenfold AFP of an HCC (log10 of ng/ml, less 2)")
    age_log_hazard: float = Field(0.1, ge=-5, le=5, description="ten years of age, from 60")
    male_log_hazard: float = Field(0.0, ge=-5, le=5, description="male against female")
    follow_up_min_days: float = Field(180.0, ge=0, le=20000, description="least time to the end of the study")
    follow_up_max_days: float = Field(1440.0, gt=0, le=20000, description="greatest time to the end of the study")
    lost_per_year: float = Field(0.05, ge=0, le=10, description="rate of loss to follow-up")


def _agent(name: str, low: float, high: float) -> AgentParams:
    return AgentParams(name=name, dose_min_mg=low, dose_max_mg=high)


def _oil_arm(name: str, weight: float, main: float, daughter: float, log_hazard: float, **more: Any) -> ArmParams:
    return ArmParams(
        name=name,
        weight=weight,
        oil_min_ml=3,
        oil_max_ml=12,
        necrosis_main=main,
        necrosis_daughter=daughter,
        log_hazard=log_hazard,
        **more,
    )


def _default_arms() -> tuple[ArmParams, ...]:
    drug = (_agent("doxorubicin", 40, 60),)
    return (
        _oil_arm("lipiodol", 0.15, 0.10, 0.08, -0.1, stasis=0.5, half_life_factor=0.7),
        _oil_arm("lipiodol + doxorubicin", 0.25, 0.35, 0.20, -0.4, agents=drug, stasis=0.7, half_life_factor=0.85),
        _oil_arm(
            "lipiodol + doxorubicin + gelatin sponge",
            0.40,
            0.75,
            0.50,
            -0.8,
            agents=drug,
            embolic=Embolic.GELATIN_SPONGE,
        ),
        ArmParams(
            name="drug-eluting microspheres",
            weight=0.10,
            agents=drug,
            embolic=Embolic.MICROSPHERES,
            catheter_order_min=4,
            necrosis_main=0.65,
            necrosis_daughter=0.35,
            log_hazard=-0.7,
        ),
        ArmParams(
            name="arterial infusion",
            weight=0.10,
            agents=(_agent("5-fluorouracil", 1000, 1500), _agent("cisplatin", 60, 100)),
            catheter_order_min=2,
            catheter_order_max=3,
            stasis=0.0,
            necrosis_main=0.20,
            necrosis_daughter=0.18,
            log_hazard=-0.3,
        ),
    )


class CohortParams(Params):
    """Who is treated, with what, and what comes of it; the default effects are invented."""

    arms: tuple[ArmParams, ...] = Field(default_factory=_default_arms, min_length=1, description="the regimens")
    age_mean_years: float = Field(62.0, ge=18, le=90, description="mean age, kept between 18 and 95")
    age_sd_years: float = Field(10.0, ge=0, le=30, description="standard deviation of age")
    male_share: float = Field(0.72, ge=0, le=1, description="share of men")
    metastasis_share: float = Field(0.35, ge=0, le=1, description="share of metastases; the rest is HCC")
    child_b_share: float = Field(0.25, ge=0, le=1, description="share of Child-Pugh B; A is what B and C leave")
    child_c_share: float = Field(0.03, ge=0, le=1, description="share of Child-Pugh C")
    afp_hcc_median_ng_ml: float = Field(100.0, gt=0, le=1e6, description="median AFP of HCC")
    afp_metastasis_median_ng_ml: float = Field(4.0, gt=0, le=1e6, description="median AFP of metastases")
    afp_log10_sd: float = Field(
        0.9, ge=0, le=3, description="scatter of log10 AFP in HCC; a quarter of it in metastases"
    )
    size_median_mm: float = Field(
        36.0, ge=8, le=150, description="median diameter of the main tumour where none is given"
    )
    size_log_sd: float = Field(0.45, ge=0, le=2, description="scatter of the log of the diameter where none is given")
    daughter_share: float = Field(
        0.4, ge=0, le=1, description="share of patients with daughter nodules where none are given"
    )
    half_life_log_sd: float = Field(0.15, ge=0, le=2, description="scatter of the log of the half-life factor")
    necrosis: NecrosisParams = NecrosisParams()
    survival: SurvivalParams = SurvivalParams()

    @model_validator(mode="after")
    def _shares(self) -> CohortParams:
        if self.child_b_share + self.child_c_share > 1:
            raise ValueError("child_b_share and child_c_share must not exceed 1 together")
        if sum(arm.weight for arm in self.arms) <= 0:
            raise ValueError("arms must hold a weight above 0")
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError("arms must differ in name")
        return self


@dataclass(frozen=True, slots=True)
class PatientPlan:
    """One patient's treatment, covariates and outcome.

    Attributes
    ----------
    arm : str
        Name of the regimen; `doses_mg` pairs its drugs with milligrams.
    catheter_order : int
        0 celiac, 1 common hepatic, 2 proper hepatic, 3 lobar, 4 segmental.
    stasis : float
        0: flow untouched; 1: flow of embolised branches falls to `treatment.residual_flow`.
    size_mm : float
        Diameter of the main tumour.
    daughters : bool
        Whether there are daughter nodules; `necrosis_daughter` means nothing without.
    necrosis_main, necrosis_daughter : float
        True necrotic share of the main tumour and of the daughter nodules.
    half_life_factor : float
        Multiplies the half-life of the oil in tumours.
    survival_days, event : float, bool
        Observed: death (event) or censoring; `death_days` is when death truly comes.
    histology_necrosis : float or None
        Necrotic share as histology read it; None without histology.
    """

    arm: str
    doses_mg: tuple[tuple[str, float], ...]
    oil_ml: float
    embolic: Embolic
    catheter_order: int
    stasis: float
    age_years: float
    sex: Literal["F", "M"]
    child_pugh: Literal["A", "B", "C"]
    origin: Origin
    afp_ng_ml: float
    size_mm: float
    daughters: bool
    necrosis_main: float
    necrosis_daughter: float
    half_life_factor: float
    survival_days: float
    event: bool
    death_days: float
    histology_necrosis: float | None

    @property
    def size_class(self) -> SizeClass:
        """Class of the main tumour's diameter."""
        return size_class(self.size_mm)

    @property
    def procedure(self) -> str:
        """The field's name for what was done."""
        drug = bool(self.doses_mg)
        if self.embolic is Embolic.MICROSPHERES:
            return "DEB-TACE" if drug else "TAE"
        if self.oil_ml > 0:
            return "cTACE" if drug else "TAE"
        if self.embolic is Embolic.NONE:
            return "HAI"
        return "TACE" if drug else "TAE"

    @property
    def embolised(self) -> bool:
        """Whether anything was given that slows the flow."""
        return self.stasis > 0

    def residual_flow(self, least: float) -> float:
        """Return the flow left in an embolised branch, relative, where complete stasis leaves `least`."""
        return 1 - self.stasis * (1 - least)


def size_class(size_mm: float) -> SizeClass:
    """Return the class of a diameter."""
    if size_mm < 30:
        return SizeClass.SMALL
    return SizeClass.MEDIUM if size_mm <= 50 else SizeClass.LARGE


def plan_patient(
    params: CohortParams,
    rng: np.random.Generator,
    *,
    size_mm: float | None = None,
    daughters: bool | None = None,
) -> PatientPlan:
    """Return one patient's plan.

    Parameters
    ----------
    size_mm : float, optional
        Diameter of the main tumour, where anatomy has drawn it already.
    daughters : bool, optional
        Whether there are daughter nodules, where anatomy has drawn them already. Neither changes the other
        draws from `rng`.
    """
    weight = np.array([arm.weight for arm in params.arms])
    arm = params.arms[int(rng.choice(len(weight), p=weight / weight.sum()))]
    plan = _covariates(params, rng)
    plan = replace(
        plan,
        size_mm=plan.size_mm if size_mm is None else size_mm,
        daughters=plan.daughters if daughters is None else daughters,
    )
    plan = _with_necrosis(_treated(arm, plan, rng), arm, params.necrosis, rng)
    factor = arm.half_life_factor * math.exp(rng.normal(0, params.half_life_log_sd))
    return _with_survival(replace(plan, half_life_factor=factor), arm, params.survival, rng)


def _covariates(params: CohortParams, rng: np.random.Generator) -> PatientPlan:
    # Every draw is made whatever it is used for, so that one setting does not shift the next draw.
    age = float(np.clip(rng.normal(params.age_mean_years, params.age_sd_years), 18, 95))
    sex: Literal["F", "M"] = "M" if rng.random() < params.male_share else "F"
    liver = rng.random()
    worse: Literal["B", "C"] = "B" if liver < params.child_b_share else "C"
    child: Literal["A", "B", "C"] = worse if liver < params.child_b_share + params.child_c_share else "A"
    metastasis = rng.random() < params.metastasis_share
    median = params.afp_metastasis_median_ng_ml if metastasis else params.afp_hcc_median_ng_ml
    afp = median * 10 ** (rng.standard_normal() * params.afp_log10_sd * (0.25 if metastasis else 1.0))
    drawn = params.size_median_mm * math.exp(rng.standard_normal() * params.size_log_sd)
    return PatientPlan(
        arm="", doses_mg=(), oil_ml=0.0, embolic=Embolic.NONE, catheter_order=0, stasis=0.0,
        age_years=age, sex=sex, child_pugh=child, origin=Origin.METASTASIS if metastasis else Origin.HCC,
        afp_ng_ml=float(afp), size_mm=drawn, daughters=bool(rng.random() < params.daughter_share),
        necrosis_main=0.0, necrosis_daughter=0.0, half_life_factor=1.0,
        survival_days=0.0, event=False, death_days=0.0, histology_necrosis=None,
    )  # fmt: skip


def _treated(arm: ArmParams, plan: PatientPlan, rng: np.random.Generator) -> PatientPlan:
    doses = tuple((a.name, float(rng.uniform(a.dose_min_mg, a.dose_max_mg))) for a in arm.agents)
    return replace(
        plan,
        arm=arm.name,
        doses_mg=doses,
        oil_ml=float(rng.uniform(arm.oil_min_ml, arm.oil_max_ml)),
        embolic=arm.embolic,
        catheter_order=int(rng.integers(arm.catheter_order_min, arm.catheter_order_max + 1)),
        stasis=arm.stasis,
    )


def necrosis_shift(plan: PatientPlan, params: NecrosisParams) -> float:
    """Return the covariates' shift of expected necrosis, logits."""
    size = {SizeClass.SMALL: 0.0, SizeClass.MEDIUM: params.medium_logit, SizeClass.LARGE: params.large_logit}
    return size[plan.size_class] + (params.metastasis_logit if plan.origin is Origin.METASTASIS else 0.0)


def _with_necrosis(plan: PatientPlan, arm: ArmParams, params: NecrosisParams, rng: np.random.Generator) -> PatientPlan:
    shift = necrosis_shift(plan, params)
    main, daughter = (
        _beta(_moved(m, shift), params.concentration, rng) for m in (arm.necrosis_main, arm.necrosis_daughter)
    )
    read = float(np.clip(main + rng.normal(0, params.histology_sd), 0, 1))
    known = rng.random() < params.histology_share
    return replace(plan, necrosis_main=main, necrosis_daughter=daughter, histology_necrosis=read if known else None)


def _moved(share: float, logits: float) -> float:
    # None and all stay none and all, whatever the covariates.
    if share in (0.0, 1.0):
        return share
    return 1 / (1 + math.exp(-(math.log(share / (1 - share)) + logits)))


def _beta(mean: float, concentration: float, rng: np.random.Generator) -> float:
    if mean in (0.0, 1.0):
        return mean
    return float(rng.beta(mean * concentration, (1 - mean) * concentration))


def log_hazard(plan: PatientPlan, arm: ArmParams, params: SurvivalParams) -> float:
    """Return a patient's log hazard ratio against the untreated reference patient."""
    child = {"A": 0.0, "B": params.child_b_log_hazard, "C": params.child_c_log_hazard}[plan.child_pugh]
    size = {
        SizeClass.SMALL: 0.0,
        SizeClass.MEDIUM: params.medium_log_hazard,
        SizeClass.LARGE: params.large_log_hazard,
    }[plan.size_class]
    if plan.origin is Origin.METASTASIS:
        origin = params.metastasis_log_hazard
    else:
        origin = params.afp_log_hazard * (math.log10(plan.afp_ng_ml) - 2)
    age = params.age_log_hazard * (plan.age_years - 60) / 10
    return arm.log_hazard + child + size + origin + age + (params.male_log_hazard if plan.sex == "M" else 0.0)


def _with_survival(plan: PatientPlan, arm: ArmParams, params: SurvivalParams, rng: np.random.Generator) -> PatientPlan:
    hazard = math.log(2) * math.exp(log_hazard(plan, arm, params))
    death = params.median_days * (rng.standard_exponential() / hazard) ** (1 / params.shape)
    study = rng.uniform(params.follow_up_min_days, params.follow_up_max_days)
    wait = rng.standard_exponential()
    lost = wait * 365.25 / params.lost_per_year if params.lost_per_year > 0 else math.inf
    end = min(study, lost)
    return replace(plan, survival_days=float(min(death, end)), event=bool(death <= end), death_days=float(death))


def write_plan(path: Path, plan: PatientPlan) -> None:
    """Write one patient's plan as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"schema": "angio-pipeline/plan-truth/1", "plan": asdict(plan)}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read_plan(path: Path) -> PatientPlan:
    """Return the plan that `write_plan` wrote.

    Raises
    ------
    AngioError
        When the file is not such a plan.
    """
    try:
        return TypeAdapter(PatientPlan).validate_python(json.loads(path.read_text(encoding="utf-8"))["plan"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as problem:
        where = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
        raise AngioError(f"Expected a patient's plan in {where}, found none; make the case again.") from problem


@dataclass(frozen=True, slots=True)
class ProcedureRecord:
    """One line of the procedure records: who, when, and what."""

    patient_id: str
    treated: date
    plan: PatientPlan


_POSITIONS = ("celiac", "common hepatic", "proper hepatic", "lobar", "segmental")


def _row(record: ProcedureRecord) -> dict[str, object]:
    # What a hospital would have written down; necrosis is the true share in whole per cent, as if read without
    # error, and the catheter's position is that of treatment (runs are taken from where they are taken).
    plan = record.plan
    read = plan.histology_necrosis
    return {
        "patient_id": record.patient_id,
        "date": f"{record.treated:%Y%m%d}",
        "procedure": plan.procedure,
        "regimen": plan.arm,
        "agents": ";".join(name for name, _ in plan.doses_mg),
        "doses_mg": ";".join(f"{dose:.4g}" for _, dose in plan.doses_mg),
        "oil_ml": f"{plan.oil_ml:.1f}",
        "embolic": plan.embolic.value,
        "catheter_position": _POSITIONS[plan.catheter_order],
        "age_years": f"{plan.age_years:.0f}",
        "sex": plan.sex,
        "child_pugh": plan.child_pugh,
        "origin": plan.origin.value,
        "afp_ng_ml": f"{plan.afp_ng_ml:.3g}",
        "size_mm": f"{plan.size_mm:.0f}",
        "size_class": size_class(plan.size_mm).value,
        "necrosis_main_percent": f"{100 * plan.necrosis_main:.0f}",
        "necrosis_daughter_percent": f"{100 * plan.necrosis_daughter:.0f}" if plan.daughters else "",
        "histology_necrosis_percent": "" if read is None else f"{100 * read:.0f}",
        "survival_days": f"{plan.survival_days:.0f}",
        "event": int(plan.event),
    }


def write_records(out: Path, records: Sequence[ProcedureRecord], params: CohortParams) -> Path:
    """Write `truth/records.csv`, as a hospital would keep it, and `truth/cohort.json`; return the former.

    The truth holds the settings, which are the true effects, and for each patient the plan with the
    expected necrosis and the log hazard that its outcome was drawn from. Both lie in `truth`, which an
    analysis of `out` passes over.

    Raises
    ------
    ValueError
        Without records.
    """
    if not records:
        raise ValueError("Expected at least one procedure record, found none.")
    path = out / "truth" / "records.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = [_row(record) for record in records]
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    document = {
        "schema": "angio-pipeline/cohort-truth/1",
        "note": "Effects are the simulator's invention and say nothing about any treatment.",
        "effects": params.model_dump(mode="json"),
        "patients": [_truth_row(record, params) for record in records],
    }
    (out / "truth" / "cohort.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


def _truth_row(record: ProcedureRecord, params: CohortParams) -> dict[str, object]:
    arm = next(arm for arm in params.arms if arm.name == record.plan.arm)
    shift = necrosis_shift(record.plan, params.necrosis)
    return {
        "patient_id": record.patient_id,
        **asdict(record.plan),
        "size_class": record.plan.size_class.value,
        "expected_necrosis_main": _moved(arm.necrosis_main, shift),
        "expected_necrosis_daughter": _moved(arm.necrosis_daughter, shift),
        "log_hazard": log_hazard(record.plan, arm, params.survival),
    }
