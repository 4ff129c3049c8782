"""The methods of a cohort, in sentences made from what was run."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from angio_pipeline import __version__
from angio_pipeline.core.words import counted
from angio_pipeline.outputs.cohort.reading import CohortInput
from angio_pipeline.response.cohort import CohortResult
from angio_pipeline.response.cohort.data import Test

__all__ = ["cohort_methods"]

_TOO_ALIKE = "They were too few, or too alike, to set it against necrosis of the main tumour."


def cohort_methods(read: CohortInput, result: CohortResult) -> list[str]:
    """Return the paragraphs of `methods.md`."""
    paragraphs = [
        _patients(read, result),
        _necrosis(result),
        _retention(result),
        _films(read),
        _course(result),
        _survival(result),
        _agreement(result),
        _multiplicity(result),
        _missing(read),
        _software(),
    ]
    return [words for words in paragraphs if words]


def _patients(read: CohortInput, result: CohortResult) -> str:
    codes = {finding.code for finding in read.findings}
    findings = f"{counted(len(read.findings), 'finding')} of {counted(len(codes), 'kind')}"
    return (
        f"The cohort holds {counted(len(read.data.patients), 'patient')}, grouped by {result.arm_name} in "
        f"{counted(len(result.arms), 'arm')}. Records were checked row by row; findings.csv lists {findings}, and no "
        "row was dropped: a value that could not be used counts as missing. A patient with several treatments counts "
        "once, by the first. Arms are in the order of what most of their patients were given (oil, drug, embolic)."
    )


def _necrosis(result: CohortResult) -> str:
    found = result.necrosis
    compared = sum(test.p is not None for test in found.pairwise)
    pairs = (
        f" {counted(compared, 'pair of arms was', 'pairs of arms were')} compared by Fisher's exact test, with Holm's "
        "correction among them."
        if compared
        else ""
    )
    return (
        f"Necrosis counted as massive from {result.params.necrotic_percent:g} %. Histology was the standard where the "
        f"records held it ({counted(found.by_histology, 'patient')}), then what they gave, then imaging "
        f"({counted(found.by_imaging, 'patient')}). Shares have Wilson's 95 % intervals, means Student's. "
        f"{_tested('Arms were', 'compared', found.tests)} {_tested('A trend over arms was', 'tested', found.trends)}"
        f"{pairs}{_histology(result)}"
    )


def _tested(what: str, done: str, tests: Sequence[Test]) -> str:
    """Say by which methods something was done, and why it was not where it could not be."""
    methods = sorted({test.method for test in tests if test.p is not None})
    if not methods:
        return f"{what} not {done} ({'; '.join(sorted({_why_not(test) for test in tests}))})."
    left = [f"{test.name} ({_why_not(test)})" for test in tests if test.p is None]
    return f"{what} {done} by {'; '.join(methods)}" + (f"; not tested: {'; '.join(left)}." if left else ".")


def _why_not(test: Test) -> str:
    return test.method.removeprefix("not tested: ")


def _histology(result: CohortResult) -> str:
    found = result.histology
    if found is None:
        return ""
    return (
        f" Imaging was compared with histology in {counted(found.icc.count, 'patient')} that had both, by ICC(2,1) for "
        "absolute agreement and Bland and Altman's limits (imaging minus histology)."
    )


def _retention(result: CohortResult) -> str:
    params, found = result.params, result.retention
    if found.patients == 0:
        return ""
    parts = []
    if found.rho.value is not None:
        parts.append("Spearman's coefficient with the interval of Bonett and Wright")
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
        "Retention was that of the lesion with most iodine at the reference scan, on the plain scan nearest to "
        f"{params.retention_day:g} days after it and within {params.retention_window_days:g} days of that, in "
        f"{counted(found.patients, 'patient')} with known necrosis. "
        + (f"It was set against necrosis of the main tumour by {', '.join(parts)}." if parts else _TOO_ALIKE)
    )


def _films(read: CohortInput) -> str:
    """Say that films take no part, and how many patients that costs; nothing where no patient had films alone."""
    if read.on_films_alone == 0:
        return ""
    return (
        "Films tell amounts relative to another film and no iodine in mg: the oil of "
        f"{counted(read.on_films_alone, 'patient')} was followed on films alone, and counts as missing in all that is "
        "said of retention."
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
        f"each arm, and patients as clusters (random effects of a patient: {found.random}), by restricted maximum "
        f"likelihood. Lesions of one patient at one date were averaged.{sample} Intervals and tests are by the "
        "sandwich over patients with the correction of Mancl and DeRouen, as arms differ in how much their patients "
        f"vary. {_tested('Equal slopes were', 'tested', [found.equal_slopes])}"
    )


def _survival(result: CohortResult) -> str:
    if not result.survival:
        return ""
    told = []
    for one in result.survival:
        cox = (
            f"a Cox model of {counted(one.cox.patients, 'patient')} and {counted(one.cox.events, 'event')} with "
            f"Efron's ties ({', '.join(term.name for term in one.cox.terms)}; reference {one.cox.reference}), "
            "proportional hazards checked by scaled Schoenfeld residuals against the rank of time"
            if one.cox is not None
            else "no Cox model, for want of events"
        )
        test = one.log_rank
        arms = test.method if test.p is not None else f"arms not compared ({_why_not(test)})"
        told.append(f"{one.outcome}: {arms}; {cox}")
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
    if not done:
        return "No main hypothesis could be tested. Trends and hazard ratios serve to describe."
    return (
        f"{counted(len(done), 'main hypothesis was', 'main hypotheses were')} tested; p values are given before and "
        "after Holm's correction over these. Trends and hazard ratios are not corrected and serve to describe."
    )


def _missing(read: CohortInput) -> str:
    patients = read.data.patients
    columns = (
        "arm",
        "necrosis_main_percent",
        "necrosis_daughter_percent",
        "retention",
        "survival_days",
        "progression_days",
    )
    told = ", ".join(f"{name.replace('_', ' ')} {int(patients[name].isna().sum())}" for name in columns)
    return (
        f"Missing, of {counted(len(patients), 'patient')}: {told}. Nothing was imputed; each analysis took those with "
        "its values."
    )


def _software() -> str:
    names = ("lifelines", "statsmodels", "scipy", "pandas")
    return f"angio-pipeline {__version__}, with {', '.join(f'{name} {version(name)}' for name in names)}."
