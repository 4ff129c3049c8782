"""Numbers of a cohort in words, and results as tables of words."""

from __future__ import annotations

from collections.abc import Sequence

from angio_pipeline.core.words import counted
from angio_pipeline.outputs.pages import UNKNOWN
from angio_pipeline.response.cohort.agreement import Agreement, CallAgreement
from angio_pipeline.response.cohort.analysis import RetentionAndNecrosis
from angio_pipeline.response.cohort.course import CourseModel
from angio_pipeline.response.cohort.data import Estimate, Table, Test
from angio_pipeline.response.cohort.necrosis import NecrosisTable
from angio_pipeline.response.cohort.survival import CoxModel, SurvivalResult

__all__ = [
    "agreement_table",
    "at_risk_table",
    "call_table",
    "course_table",
    "cox_table",
    "estimate_words",
    "histology_table",
    "necrosis_table",
    "p_words",
    "retention_table",
    "survival_table",
    "tests_table",
]


def p_words(p: float | None) -> str:
    """Return a p value, with three places, or as below 0.001."""
    if p is None:
        return UNKNOWN
    return "<\u00a00.001" if p < 0.001 else f"{p:.3f}"


def estimate_words(one: Estimate, digits: int = 2, factor: float = 1.0, unit: str = "") -> str:
    """Return `value (low to high)`; an end that is unknown is said to be open."""
    if one.value is None and one.low is None and one.high is None:
        return UNKNOWN
    value, low, high = (None if v is None else f"{v * factor:.{digits}f}" for v in (one.value, one.low, one.high))
    head = f"{value}{unit}" if value is not None else "not reached"
    if low is None and high is None:
        return f"{head} (no interval)"
    return f"{head} ({low or 'open'} to {high or 'open'})"


def _rate(one: Estimate) -> str:
    if one.value is None:
        return UNKNOWN
    hits = round(one.value * one.count)
    return f"{estimate_words(one, 0, 100)} · {hits}/{one.count}"


def necrosis_table(found: NecrosisTable) -> Table:
    """Return necrosis by regimen, main tumour and daughter nodule, in per cent with Wilson's intervals."""
    rows = tuple(
        (
            arm.arm,
            *(_rate(rate) for rate in arm.rates),
            *(estimate_words(mean, 0) for mean in arm.means),
            " / ".join(str(rate.missing) for rate in arm.rates),
        )
        for arm in found.arms
    )
    headings = (
        "Regimen",
        "Main tumour, %",
        "Daughter nodule, %",
        "Mean necrosis of the main tumour, %",
        "Mean necrosis of daughter nodules, %",
        "missing (main / daughter)",
    )
    notes = (
        f"Share of patients whose necrosis reaches {found.limit_percent:g} %, with Wilson's 95 % interval, and hits "
        "over "
        "those known. A patient without daughter nodules counts as missing there.",
        f"Necrosis of the main tumour is that of histology in {counted(found.by_histology, 'patient')} and of imaging "
        f"in {found.by_imaging}; in the others that of the records.",
    )
    return Table("Necrosis by regimen, main tumour / daughter nodule", headings, rows, notes)


def tests_table(caption: str, tests: Sequence[Test], note: str) -> Table:
    """Return tests with p before and after Holm's correction, and whom they are of."""
    rows = tuple(
        (t.name, t.method, _count(t.patients), _count(t.missing), p_words(t.p), p_words(t.adjusted)) for t in tests
    )
    return Table(caption, ("Hypothesis", "Test", "n", "missing", "p", "p, Holm"), rows, (note,) if note else ())


def _count(number: int | None) -> str:
    return UNKNOWN if number is None else str(number)


def retention_table(found: RetentionAndNecrosis, limit: float) -> Table:
    """Return how retention goes with necrosis."""
    rows = [
        ("Spearman's rho", estimate_words(found.rho), p_words(found.rho_test.p)),
        (
            "Odds ratio of massive necrosis, ten points more of retention",
            estimate_words(found.logistic.odds_ratio) + (f"; {found.logistic.note}" if found.logistic.note else ""),
            p_words(found.logistic.p),
        ),
    ]
    if found.roc is not None:
        rows.append(("Area under the ROC curve (DeLong)", estimate_words(found.roc.area, 3), ""))
    if found.cut_off is not None:
        cut = found.cut_off
        told = (
            f"retention ≥ {100 * cut.value:.0f} %: sensitivity {estimate_words(cut.sensitivity, 0, 100)} %, "
            "specificity "
            f"{estimate_words(cut.specificity, 0, 100)} %, judged on patients it was not chosen on"
        )
        rows.append((f"Cut-off by {cut.folds}-fold cross-validation", told, ""))
    notes = (
        f"{counted(found.patients, 'patient')} with both, {found.missing} missing one or the other; massive "
        f"(≥ {limit:g} %) in {found.necrotic}.",
    )
    return Table(
        "Retention of the main lesion against necrosis", ("", "value (95 % interval)", "p"), tuple(rows), notes
    )


def course_table(found: CourseModel) -> Table:
    """Return the mixed model by arm."""
    rows = tuple(
        (
            arm.arm,
            str(arm.patients),
            str(arm.observations),
            str(arm.missing),
            estimate_words(arm.monthly_change, 1, 100),
            estimate_words(arm.half_life_days, 0),
        )
        for arm in found.arms
    )
    sample = (
        f" Fitted on {found.patients_fitted} of {found.patients} patients, drawn at random."
        if found.patients_fitted < found.patients
        else ""
    )
    notes = (
        f"Patients differ by: {found.random}. Standard deviation between patients "
        f"{', '.join(f'{sd:.3f}' for sd in found.patient_sd) or UNKNOWN}, of one date {found.residual_sd:.3f} (log)."
        + sample,
        *(f"Left out: {words}." for words in found.left_out),
    )
    notes = (*notes, "Missing: patients of the arm without a scan later than the reference that shows oil.")
    headings = ("Arm", "Patients", "Dates", "missing", "Change a month, %", "Half-life, days")
    return Table("Retention over time, mixed model", headings, rows, notes)


def survival_table(found: SurvivalResult) -> Table:
    """Return medians by arm."""
    rows = tuple(
        (
            curve.arm,
            str(curve.median_days.count),
            str(curve.events),
            str(curve.median_days.missing),
            estimate_words(curve.median_days, 0),
        )
        for curve in found.curves
    )
    notes = (
        f"Missing: {counted(found.missing, 'patient')} without a time, or without word of whether it ended in "
        "the event.",
        *([found.note] if found.note else []),
    )
    return Table(
        f"{found.outcome.capitalize()}, Kaplan-Meier",
        ("Arm", "Patients", "Events", "missing", "Median, days"),
        rows,
        notes,
    )


def at_risk_table(found: SurvivalResult) -> Table | None:
    """Return how many are still followed, by arm and day, None without a curve."""
    if not found.curves or not found.curves[0].at_risk:
        return None
    headings = ("At risk on day", *(f"{mark:.0f}" for mark, _ in found.curves[0].at_risk))
    rows = tuple((curve.arm, *(str(count) for _, count in curve.at_risk)) for curve in found.curves)
    return Table(f"{found.outcome.capitalize()}, patients at risk", headings, rows)


def cox_table(outcome: str, found: CoxModel) -> Table:
    """Return hazard ratios with the check of proportional hazards."""
    rows = tuple(
        (term.name, estimate_words(term.hazard_ratio), p_words(term.p), p_words(term.proportional_p))
        for term in found.terms
    )
    notes = (
        f"Arms against {found.reference}. {counted(found.patients, 'patient')}, {counted(found.events, 'event')}, "
        f"{found.missing} left out for a missing value; concordance {found.concordance:.2f}.",
        "A small p of the last column says that the hazard ratio changes over time: it is then an average.",
        *(f"Left out: {words}." for words in found.left_out),
    )
    headings = ("Term", "Hazard ratio (95 % interval)", "p", "p, proportional")
    return Table(f"{outcome.capitalize()}, Cox model", headings, rows, notes)


def agreement_table(found: Sequence[Agreement]) -> Table:
    """Return agreement of two readers' measurements."""
    note = "Bias and limits of agreement: second reader minus first, 1.96 standard deviations."
    return _agreement("Agreement of two readers, measurements", found, note)


def histology_table(found: Agreement) -> Table:
    """Return agreement of imaging with histology."""
    note = "Bias and limits of agreement: imaging minus histology, 1.96 standard deviations. Histology is the standard."
    return _agreement("Imaging against histology", [found], note)


def _agreement(caption: str, found: Sequence[Agreement], note: str) -> Table:
    rows = tuple(
        (
            one.name,
            str(one.icc.count),
            str(one.missing),
            estimate_words(one.icc),
            *(estimate_words(limit) for limit in (one.bias, one.lower_limit, one.upper_limit)),
        )
        for one in found
    )
    headings = ("Measurement", "n", "missing", "ICC(2,1)", "Bias", "Lower limit", "Upper limit")
    return Table(caption, headings, rows, (note,))


def call_table(found: Sequence[CallAgreement]) -> Table:
    """Return agreement of judgements."""
    rows = tuple(
        (
            one.name,
            str(one.kappa.count),
            str(one.missing),
            estimate_words(one.agreed, 0, 100),
            estimate_words(one.kappa),
        )
        for one in found
    )
    return Table("Agreement of two readers, judgements", ("Judgement", "n", "missing", "Agreed, %", "Kappa"), rows)
