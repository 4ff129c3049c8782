"""The methods of a cohort, in sentences made from what was run."""

from __future__ import annotations

from importlib.metadata import version

from angio_pipeline import __version__
from angio_pipeline.outputs.cohort.reading import CohortInput
from angio_pipeline.response.cohort import CohortResult

__all__ = ["cohort_methods"]


def cohort_methods(read: CohortInput, result: CohortResult) -> list[str]:
    """Return the paragraphs of `methods.md`."""
    paragraphs = [
        _patients(read, result),
        _necrosis(result),
        _retention(result),
        _course(result),
        _survival(result),
        _agreement(result),
        _multiplicity(result),
        _missing(read, result),
        _software(),
    ]
    return [words for words in paragraphs if words]


def _patients(read: CohortInput, result: CohortResult) -> str:
    codes = {finding.code for finding in read.findings}
    return (
        f"{len(read.data.patients)} patients were compared by {result.arm_name} in {len(result.arms)} arms. Records "
        "were "
        f"checked row by row; {len(read.findings)} findings of {len(codes)} kinds are listed in findings.csv, and no "
        "row "
        "was dropped: a value that could not be used counts as missing. A patient with several treatments counts "
        "once, by "
        "the first. Arms are in the order of what most of their patients were given (oil, drug, embolic)."
    )


def _necrosis(result: CohortResult) -> str:
    limit = result.params.necrotic_percent
    methods = sorted({test.method for test in result.necrosis.tests})
    trends = sorted({test.method for test in result.necrosis.trends})
    compared = sum(test.p is not None for test in result.necrosis.pairwise)
    pairs = (
        f" {compared} pairs of arms were compared by Fisher's exact test, with Holm's correction among them."
        if compared
        else ""
    )
    return (
        f"Necrosis counted as massive from {limit:g} %. Histology was the standard where the records held it "
        f"({result.necrosis.by_histology} patients), then what they gave, then imaging ({result.necrosis.by_imaging} "
        "patients). Shares have Wilson's 95 % intervals, means Student's. Arms were "
        "compared "
        f"by: {'; '.join(methods)}; trend: {'; '.join(trends)}.{pairs}{_histology(result)}"
    )


def _histology(result: CohortResult) -> str:
    found = result.histology
    if found is None:
        return ""
    return (
        f" Imaging was compared with histology in {found.icc.count} patients that had both, by ICC(2,1) for absolute "
        "agreement and Bland and Altman's limits (imaging minus histology)."
    )


def _retention(result: CohortResult) -> str:
    params, found = result.params, result.retention
    if found.patients == 0:
        return ""
    parts = ["Spearman's coefficient with the interval of Bonett and Wright"]
    if found.logistic.odds_ratio.value is not None:
        parts.append("a logistic model")
    if found.roc is not None:
        parts.append("the ROC curve with DeLong's interval on the logit scale")
    if found.cut_off is not None:
        parts.append(
            f"a cut-off of greatest Youden index, judged by stratified {found.cut_off.folds}-fold cross-validation "
            "(seed "
            f"{params.seed})"
        )
    return (
        "Retention was that of the lesion with most iodine at the reference scan, on the scan nearest to day "
        f"{params.retention_day:g} and within {params.retention_window_days:g} days of it, in {found.patients} "
        "patients with "
        f"known necrosis. It was set against necrosis of the main tumour by {', '.join(parts)}."
    )


def _course(result: CohortResult) -> str:
    found = result.course
    if found is None:
        return "No mixed model of retention was fitted: no arm holds three patients with a later scan."
    sample = (
        f" It was fitted on {found.patients_fitted} of {found.patients} patients drawn at random (seed "
        f"{result.params.seed})."
        if found.patients_fitted < found.patients
        else ""
    )
    return (
        "The logarithm of retention after the reference scan was modelled with one intercept, a slope on time for "
        "each arm, "
        f"and patients as clusters (random effects of a patient: {found.random}), by restricted maximum likelihood. "
        "Lesions "
        f"of one patient at one date were averaged.{sample} Intervals and tests are by the sandwich over patients with "
        "the correction of Mancl and DeRouen, as arms differ in how much their patients vary. Equal slopes were tested "
        f"by: {found.equal_slopes.method}."
    )


def _survival(result: CohortResult) -> str:
    if not result.survival:
        return ""
    told = []
    for one in result.survival:
        cox = (
            f"a Cox model of {one.cox.patients} patients and {one.cox.events} events with Efron's ties ("
            f"{', '.join(term.name for term in one.cox.terms)}; reference {one.cox.reference}), proportional hazards "
            "checked by "
            "scaled Schoenfeld residuals against the rank of time"
            if one.cox is not None
            else "no Cox model, for want of events"
        )
        told.append(f"{one.outcome}: {one.log_rank.method}; {cox}")
    return (
        "Kaplan-Meier curves have log-log intervals. "
        + ". ".join(words[:1].upper() + words[1:] for words in told)
        + "."
    )


def _agreement(result: CohortResult) -> str:
    if not (result.agreement or result.call_agreement):
        return ""
    return (
        "Two readers were compared by ICC(2,1) for absolute agreement, Bland and Altman's limits (second minus "
        "first), and "
        "Cohen's kappa for judgements in words."
    )


def _multiplicity(result: CohortResult) -> str:
    done = [test for test in result.main_tests if test.p is not None]
    return (
        f"{len(done)} main hypotheses were tested; p values are given before and after Holm's correction over these. "
        "Trends "
        "and hazard ratios are not corrected and serve to describe."
    )


def _missing(read: CohortInput, result: CohortResult) -> str:
    patients = read.data.patients
    counted = (
        "arm",
        "necrosis_main_percent",
        "necrosis_daughter_percent",
        "retention",
        "survival_days",
        "progression_days",
    )
    told = ", ".join(f"{name.replace('_', ' ')} {int(patients[name].isna().sum())}" for name in counted)
    return (
        f"Missing, of {len(patients)} patients: {told}. Nothing was imputed; each analysis took those with its values."
    )


def _software() -> str:
    names = ("lifelines", "statsmodels", "scipy", "pandas")
    return f"angio-pipeline {__version__}, with {', '.join(f'{name} {version(name)}' for name in names)}."
