"""The truth of response: what each criterion says of a patient whose tumours are known exactly.

Sizes are those of the lesion itself, of its own shape at each date, not of its picture: the longest
axial diameter of the tumour, of its living part, the one across it, and volumes. What a reader
cannot see under iodised oil is handled by three conventions, each with its own calls:

- `tissue`: living tumour, whether or not oil lies over it;
- `oil_necrotic`: what holds oil counts as dead;
- `oil_enhancing`: what holds oil counts as enhancing.

Where the criteria leave something open it is settled so: a rise from a nadir of 0 is progression
whatever its size; progression goes before response; the nadir is the least sum so far, the scan
before treatment included; targets are at most five and at most two an organ, all here in the liver;
size of other lesions counts only towards their disappearance; a new lesion is progression except in
qEASL and RECICL, which know none, and each call is also given without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.aftermath.ct import NECROTIC_HU, CtPhase, enhancement_hu, iodine_slope
from angio_pipeline.simulate.aftermath.lesion_grid import Extent, longest_axial
from angio_pipeline.simulate.aftermath.treatment import Lesion, Treatment
from angio_pipeline.simulate.anatomy.lesions import TumourKind

__all__ = [
    "RULES",
    "Call",
    "Candidate",
    "Convention",
    "Criterion",
    "Judgement",
    "Rule",
    "Situation",
    "SizeOf",
    "judge",
    "measure_lesion",
    "select_targets",
    "tell_response",
]

FloatArray = npt.NDArray[np.float32]
SCHEMA = "angio-pipeline/response-truth/1"
# 75 HU at 120 kVp: the least that the usual coverage thresholds call oil.
HOLDS_OIL_MG_ML = 3.0
TARGET_MM = 10.0
# Sums are rounded: exactly 30 % is 30 %.
_EXACT = 1e-9


class Criterion(StrEnum):
    """The criteria, by name."""

    RECIST = "recist"
    MRECIST = "mrecist"
    EASL = "easl"
    WHO = "who"
    QEASL = "qeasl"
    CHOI = "choi"
    RECICL = "recicl"


class Convention(StrEnum):
    """What iodised oil counts as where enhancement is measured."""

    TISSUE = "tissue"
    OIL_NECROTIC = "oil_necrotic"
    OIL_ENHANCING = "oil_enhancing"


class Call(StrEnum):
    """What a criterion says; NE where it has no target."""

    CR = "CR"
    PR = "PR"
    SD = "SD"
    PD = "PD"
    TE1 = "TE1"
    TE2 = "TE2"
    TE3 = "TE3"
    TE4 = "TE4"
    NE = "NE"


@dataclass(frozen=True, slots=True)
class Rule:
    """One criterion as a row of numbers; shares are relative changes, None where it has no such clause.

    Attributes
    ----------
    quantity, unit : str
        What is summed over the targets.
    living : bool
        Whether the living part counts rather than the whole tumour: then conventions matter.
    complete, partial, stable, progressive : Call
        What its four answers are called; `complete` is None where the criterion has none.
    response_fall : float
        Least fall from baseline for a response.
    rise, rise_included, rise_from_nadir
        Rise for progression; whether exactly that much suffices; from the nadir or from baseline.
    rise_least : float
        Least rise in the quantity's unit.
    density_fall : float or None
        A fall of mean attenuation that is a response by itself and excuses growth.
    effect : float or None
        Necrotic share (or shrinkage) of the targets that is a response.
    """

    criterion: Criterion
    quantity: str
    unit: str
    living: bool
    response_fall: float | None
    rise: float | None
    rise_included: bool = True
    rise_from_nadir: bool = True
    rise_least: float = 0.0
    new_lesion: bool = True
    new_enhancement: bool = False
    density_fall: float | None = None
    effect: float | None = None
    complete: Call | None = Call.CR
    partial: Call = Call.PR
    stable: Call = Call.SD
    progressive: Call = Call.PD


RULES: Mapping[Criterion, Rule] = {
    rule.criterion: rule
    for rule in (
        Rule(Criterion.RECIST, "longest_mm", "mm", False, 0.30, 0.20, rise_least=5.0),
        Rule(Criterion.MRECIST, "longest_mm", "mm", True, 0.30, 0.20),
        Rule(Criterion.EASL, "product_mm2", "mm2", True, 0.50, 0.25, rise_included=False, new_enhancement=True),
        Rule(Criterion.WHO, "product_mm2", "mm2", False, 0.50, 0.25, rise_included=False),
        Rule(Criterion.QEASL, "volume_ml", "ml", True, 0.65, None, new_lesion=False, complete=None),
        Rule(Criterion.CHOI, "longest_mm", "mm", False, 0.10, 0.10, density_fall=0.15),
        Rule(
            Criterion.RECICL, "product_mm2", "mm2", True, None, 0.25, rise_included=False, rise_from_nadir=False,
            new_lesion=False, effect=0.50,
            complete=Call.TE4, partial=Call.TE3, stable=Call.TE2, progressive=Call.TE1,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SizeOf:
    """Size of a tumour or of its living part."""

    longest_mm: float
    across_mm: float
    volume_ml: float

    @property
    def product_mm2(self) -> float:
        """Cross-product of the diameters."""
        return self.longest_mm * self.across_mm


@dataclass(frozen=True, slots=True)
class Measures:
    """One lesion at one date."""

    days: float
    whole: SizeOf
    living: Mapping[Convention, SizeOf]
    necrotic_share: float
    holds_oil: bool
    hu_without_oil: float
    hu_with_oil: float

    def size(self, rule: Rule, convention: Convention) -> float:
        """Return what a criterion measures of this lesion."""
        size = self.living[convention] if rule.living and rule.effect is None else self.whole
        return float(getattr(size, rule.quantity))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A lesion that may become a target."""

    id: str
    size_mm: float
    organ: str = "liver"
    suitable: bool = True


def select_targets(
    candidates: Sequence[Candidate], *, most: int = 5, per_organ: int = 2, least_mm: float = TARGET_MM
) -> tuple[str, ...]:
    """Return the ids of the targets: the largest suitable lesions, five in all and two an organ at most."""
    chosen: list[Candidate] = []
    for one in sorted(candidates, key=lambda c: -c.size_mm):
        beside = sum(c.organ == one.organ for c in chosen)
        if one.suitable and one.size_mm >= least_mm - _EXACT and beside < per_organ and len(chosen) < most:
            chosen.append(one)
    return tuple(one.id for one in chosen)


@dataclass(frozen=True, slots=True)
class Situation:
    """What a criterion has to judge at one date.

    Attributes
    ----------
    value, baseline, nadir : float
        Sum over the targets now, before treatment, and the least so far (this date left out).
    rest_gone : bool
        Whether the lesions that are no targets are gone (or enhance no more) as well.
    new_lesions, new_enhancement : bool
        Whether there are lesions that were not there before treatment; whether a treated lesion that did
        not enhance at the last date does.
    density_change : float or None
        Relative change of mean attenuation from baseline; None where density means nothing (oil).
    effect : float or None
        Necrotic share of the targets, or their relative shrinkage if that is more.
    """

    value: float
    baseline: float
    nadir: float
    rest_gone: bool = True
    new_lesions: bool = False
    new_enhancement: bool = False
    density_change: float | None = None
    effect: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A call with its reason in a few words."""

    call: Call
    because: str


def judge(rule: Rule, situation: Situation) -> Judgement:
    """Return what a criterion says.

    Raises
    ------
    ValueError
        When the sum before treatment is not positive: there is nothing to respond.
    """
    if situation.baseline <= 0:
        raise ValueError(f"Expected a positive sum before treatment, found {situation.baseline}; choose targets first.")
    if rule.new_lesion and situation.new_lesions:
        return Judgement(rule.progressive, "new lesion")
    if rule.new_enhancement and situation.new_enhancement:
        return Judgement(rule.progressive, "new enhancement in a treated lesion")
    responds = _response(rule, situation)
    if _rises(rule, situation) and responds is not _BY_DENSITY:
        return Judgement(rule.progressive, "nadir" if rule.rise_from_nadir else "baseline")
    if rule.complete is not None and _complete(rule, situation):
        return Judgement(rule.complete, "nothing left")
    if responds is not None:
        return Judgement(rule.partial, responds)
    return Judgement(rule.stable, "between the limits")


_BY_DENSITY = "attenuation"


def _response(rule: Rule, now: Situation) -> str | None:
    density = now.density_change
    if rule.density_fall is not None and density is not None and density <= -rule.density_fall + _EXACT:
        return _BY_DENSITY
    if rule.effect is not None and now.effect is not None and now.effect >= rule.effect - _EXACT:
        return "effect"
    fall = 1 - now.value / now.baseline
    return "baseline" if rule.response_fall is not None and fall >= rule.response_fall - _EXACT else None


def _rises(rule: Rule, now: Situation) -> bool:
    if rule.rise is None:
        return False
    least = now.nadir if rule.rise_from_nadir else now.baseline
    if least <= 0:
        return now.value > 0
    share, slack = now.value / least - 1, _EXACT if rule.rise_included else -_EXACT
    enough = share >= rule.rise - slack if rule.rise_included else share > rule.rise - slack
    return enough and now.value - least >= rule.rise_least - _EXACT


def _complete(rule: Rule, now: Situation) -> bool:
    if rule.effect is not None:
        return now.effect is not None and now.effect >= 1 - _EXACT
    return now.value <= 0 and now.rest_gone


def measure_lesion(lesion: Lesion, days: float, whole: Extent) -> Measures:
    """Return the sizes of one lesion at `days`.

    Parameters
    ----------
    whole : Extent
        Its diameters before treatment (`longest_axial` of its grid); they scale with it.
    """
    scale = lesion.scale(days)
    if scale == 0:
        gone = SizeOf(0.0, 0.0, 0.0)
        return Measures(days, gone, dict.fromkeys(Convention, gone), float("nan"), False, float("nan"), float("nan"))
    cell_ml = (scale * lesion.grid.step_mm) ** 3 / 1000
    solid = lesion.grid.solid
    volume = float(solid.sum(dtype=float)) * cell_ml
    alive = lesion.living(days)
    oil = _holds_oil(lesion, days, scale)
    living = dict.fromkeys(Convention, _size(alive, scale * lesion.grid.step_mm, cell_ml))
    if oil.any():
        seen = {Convention.OIL_NECROTIC: alive * ~oil, Convention.OIL_ENHANCING: np.where(oil, solid, alive)}
        living |= {name: _size(field, scale * lesion.grid.step_mm, cell_ml) for name, field in seen.items()}
    share = float(alive.sum(dtype=float)) * cell_ml / volume
    gain = lesion.body.native_hu + enhancement_hu(lesion.body.kind, CtPhase.PORTAL)
    plain = share * gain + (1 - share) * NECROTIC_HU
    with_oil = plain + iodine_slope(120) * lesion.iodine_mg(days) / volume
    size = SizeOf(scale * whole.longest_mm, scale * whole.across_mm, volume)
    return Measures(days, size, living, 1 - share, bool(oil.any()), plain, with_oil)


def _holds_oil(lesion: Lesion, days: float, scale: float) -> npt.NDArray[np.bool_]:
    if lesion.deposit is None:
        return np.zeros(lesion.grid.solid.shape, bool)
    left = lesion.left(days) / scale**3
    return np.asarray(lesion.deposit.oil.mg_ml * np.float32(left) >= HOLDS_OIL_MG_ML)


def _size(field: FloatArray, step_mm: float, cell_ml: float) -> SizeOf:
    extent = longest_axial(field, step_mm)
    return SizeOf(extent.longest_mm, extent.across_mm, float(field.sum(dtype=float)) * cell_ml)


def tell_response(treatment: Treatment, days: Sequence[float], dates: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the document of truth/response.json for scans on `days`, the one before treatment first.

    `timepoints` holds, from the first date after treatment on, `calls` by criterion (`recist`, version 1.1;
    `who`, `choi`) or by criterion and convention (`mrecist/oil_necrotic`, …; null without a target) and, in
    `reasons`, the numbers behind each call; `lesions` holds what was measured at every date.

    Parameters
    ----------
    dates : sequence of str, optional
        The same as YYYYMMDD.

    Raises
    ------
    ValueError
        When days do not increase, when the first is not before treatment, or dates are fewer or more than days.
    """
    _check_days(days, dates)
    told = list(dates) if dates is not None else [None] * len(days)
    measured = {}
    for lesion in treatment.all_lesions:
        whole = longest_axial(lesion.grid.solid, lesion.grid.step_mm)
        measured[lesion.id] = [measure_lesion(lesion, day, whole) for day in days]
    targets = {rule.criterion: _targets(rule, treatment.lesions, measured) for rule in RULES.values()}
    return {
        "schema": SCHEMA,
        "targets": {criterion.value: list(chosen) for criterion, chosen in targets.items()},
        "lesions": [_lesion_entry(lesion, measured[lesion.id], told) for lesion in treatment.all_lesions],
        "timepoints": [_date_entry(treatment, measured, targets, i, days[i], told[i]) for i in range(1, len(days))],
    }


def _check_days(days: Sequence[float], dates: Sequence[str] | None) -> None:
    if not days or days[0] >= 0:
        first = days[0] if days else "none"
        raise ValueError(f"Expected the first of days before treatment (below 0), found {first}; add the baseline.")
    for k in range(1, len(days)):
        if days[k] <= days[k - 1]:
            raise ValueError(f"Expected days to increase, found {days[k]} after {days[k - 1]}; put them in order.")
    if dates is not None and len(dates) != len(days):
        raise ValueError(f"Expected one of dates for each of days, found {len(dates)} for {len(days)}.")


def _targets(rule: Rule, lesions: Sequence[Lesion], measured: Mapping[str, list[Measures]]) -> tuple[str, ...]:
    candidates = []
    for lesion in lesions:
        before = measured[lesion.id][0]
        # Enhancing tumour is measured only where it outshines liver in the arterial phase.
        enhancing = rule.living and rule.effect is None
        size = before.living[Convention.TISSUE] if enhancing else before.whole
        suitable = not enhancing or lesion.body.kind is not TumourKind.HYPOVASCULAR
        candidates.append(Candidate(lesion.id, size.longest_mm, suitable=suitable))
    return select_targets(candidates)


def _date_entry(
    treatment: Treatment,
    measured: Mapping[str, list[Measures]],
    targets: Mapping[Criterion, tuple[str, ...]],
    i: int,
    days: float,
    date: str | None,
) -> dict[str, Any]:
    new = [lesion.id for lesion in treatment.new_lesions if measured[lesion.id][i].whole.longest_mm > 0]
    calls, reasons = {}, []
    for rule in RULES.values():
        for convention in Convention if rule.living else (Convention.TISSUE,):
            entry = _call_entry(rule, convention, targets[rule.criterion], treatment, measured, i, bool(new))
            name = f"{rule.criterion.value}/{convention.value}" if rule.living else rule.criterion.value
            calls[name] = entry["call"] if entry["call"] != Call.NE else None
            reasons.append({"name": name, **entry})
    return {"days": days, "date": date, "new_lesions": new, "calls": calls, "reasons": reasons}


def _call_entry(
    rule: Rule,
    convention: Convention,
    targets: tuple[str, ...],
    treatment: Treatment,
    measured: Mapping[str, list[Measures]],
    i: int,
    new: bool,
) -> dict[str, Any]:
    entry: dict[str, Any] = {"criterion": rule.criterion.value, "convention": convention.value if rule.living else None}
    if not targets:
        return entry | {"call": Call.NE.value, "because": "no target", "targets": []}
    sums = [sum(measured[t][k].size(rule, convention) for t in targets) for k in range(i + 1)]
    now = _situation(rule, convention, targets, treatment, measured, i, new, sums)
    verdict, alone = judge(rule, now), judge(rule, _without_new(now))
    entry |= {"call": verdict.call.value, "because": verdict.because, "call_of_targets": alone.call.value}
    entry |= {"targets": list(targets), "unit": rule.unit}
    entry |= {"value": _rounded(now.value), "baseline": _rounded(now.baseline), "nadir": _rounded(now.nadir)}
    entry["change_from_baseline"] = _rounded(now.value / now.baseline - 1)
    entry["change_from_nadir"] = _rounded(now.value / now.nadir - 1) if now.nadir > 0 else None
    if rule.density_fall is not None:
        entry |= _density_entry(targets, measured, i, now)
    if rule.effect is not None and now.effect is not None:
        entry["effect"] = _rounded(now.effect)
    return entry


def _without_new(now: Situation) -> Situation:
    return Situation(
        now.value, now.baseline, now.nadir, now.rest_gone, False, now.new_enhancement, now.density_change, now.effect
    )


def _situation(
    rule: Rule,
    convention: Convention,
    targets: tuple[str, ...],
    treatment: Treatment,
    measured: Mapping[str, list[Measures]],
    i: int,
    new: bool,
    sums: list[float],
) -> Situation:
    def size(name: str, k: int) -> float:
        return measured[name][k].size(rule, convention)

    rest = [lesion.id for lesion in treatment.lesions if lesion.id not in targets]
    again = any(size(one.id, i - 1) == 0 and size(one.id, i) > 0 for one in treatment.lesions)
    oiled = any(measured[t][i].holds_oil for t in targets)
    density = None if rule.density_fall is None or oiled else _density_change(targets, measured, i)
    return Situation(
        value=sums[-1],
        baseline=sums[0],
        nadir=min(sums[:-1]),
        rest_gone=all(size(name, i) == 0 for name in rest),
        new_lesions=new,
        new_enhancement=again,
        density_change=density,
        effect=_effect(convention, targets, measured, i, sums) if rule.effect is not None else None,
    )


def _effect(
    convention: Convention, targets: tuple[str, ...], measured: Mapping[str, list[Measures]], i: int, sums: list[float]
) -> float:
    volume = sum(measured[t][i].whole.volume_ml for t in targets)
    alive = sum(measured[t][i].living[convention].volume_ml for t in targets)
    dead = 1 - alive / volume if volume > 0 else 1.0
    return max(dead, 1 - sums[-1] / sums[0], 0.0)


def _density(
    targets: tuple[str, ...], measured: Mapping[str, list[Measures]], i: int, *, with_oil: bool = False
) -> float:
    # Mean attenuation in the portal phase over all targets, by volume; NaN when none is left.
    volumes = np.array([measured[t][i].whole.volume_ml for t in targets])
    values = np.array([measured[t][i].hu_with_oil if with_oil else measured[t][i].hu_without_oil for t in targets])
    there = volumes > 0
    return float(np.average(values[there], weights=volumes[there])) if there.any() else float("nan")


def _density_change(targets: tuple[str, ...], measured: Mapping[str, list[Measures]], i: int) -> float | None:
    change = _density(targets, measured, i) / _density(targets, measured, 0) - 1
    return change if np.isfinite(change) else None


def _density_entry(
    targets: tuple[str, ...], measured: Mapping[str, list[Measures]], i: int, now: Situation
) -> dict[str, Any]:
    return {
        "density_valid": now.density_change is not None,
        "density_change": _rounded(now.density_change),
        "hu": _rounded(_density(targets, measured, i, with_oil=True)),
        "hu_without_oil": _rounded(_density(targets, measured, i)),
        "baseline_hu": _rounded(_density(targets, measured, 0)),
    }


def _lesion_entry(lesion: Lesion, measures: list[Measures], dates: Sequence[str | None]) -> dict[str, Any]:
    body = lesion.body
    return {
        "id": lesion.id,
        "tumour": None if lesion.new else f"T{lesion.id[1:]}",
        "kind": body.kind.value,
        "organ": "liver",
        "daughter_of": None if body.daughter_of is None else f"L{body.daughter_of + 1}",
        "appears_days": _rounded(lesion.appears_days),
        "timepoints": [_measures_entry(m, date) for m, date in zip(measures, dates, strict=True)],
    }


def _measures_entry(measures: Measures, date: str | None) -> dict[str, Any]:
    return {
        "days": measures.days,
        "date": date,
        **_size_entry(measures.whole),
        "living": {name.value: _size_entry(size) for name, size in measures.living.items()},
        "necrotic_share": _rounded(measures.necrotic_share),
        "holds_oil": measures.holds_oil,
        "portal_hu": _rounded(measures.hu_with_oil),
        "portal_hu_without_oil": _rounded(measures.hu_without_oil),
    }


def _size_entry(size: SizeOf) -> dict[str, float | None]:
    return {
        "longest_mm": _rounded(size.longest_mm),
        "across_mm": _rounded(size.across_mm),
        "product_mm2": _rounded(size.product_mm2),
        "volume_ml": _rounded(size.volume_ml),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 5)
