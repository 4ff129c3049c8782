"""`cohort.html`: the tables and figures of a paper on one page that holds all it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from angio_pipeline.outputs.charts import Series, line_chart
from angio_pipeline.outputs.cohort.files import VIEWS
from angio_pipeline.outputs.cohort.flow_chart import flow_chart
from angio_pipeline.outputs.cohort.given import given_table
from angio_pipeline.outputs.cohort.reading import CohortInput
from angio_pipeline.outputs.cohort.words import (
    agreement_table,
    at_risk_table,
    call_table,
    course_table,
    cox_table,
    histology_table,
    necrosis_table,
    retention_table,
    survival_table,
    tests_table,
)
from angio_pipeline.outputs.pages import render
from angio_pipeline.response.cohort import CohortResult
from angio_pipeline.response.cohort.agreement import Agreement
from angio_pipeline.response.cohort.course import DAYS_A_MONTH, CourseModel
from angio_pipeline.response.cohort.discrimination import Roc
from angio_pipeline.response.cohort.survival import Curve, SurvivalResult

__all__ = ["cohort_page"]

_STYLES = 6
_MOST_FINDINGS = 100
_MOST_POINTS = 400
_MOST_STEPS = 300


def cohort_page(read: CohortInput, result: CohortResult, methods: Sequence[str]) -> str:
    """Return the page."""
    treatments = [record for record, _ in read.checklist]
    warnings = [(record, item) for record, items in read.checklist for item in items if item.warning]
    return render(
        "cohort.html",
        result=result,
        patients=len(read.data.patients),
        flow_chart=flow_chart(result.flow),
        necrosis=necrosis_table(result.necrosis),
        histology=histology_table(result.histology) if result.histology is not None else None,
        histology_chart=_histology_chart(result.histology),
        pairwise=tests_table(
            "Necrosis, pairs of arms", result.necrosis.pairwise, "Holm's correction among these pairs."
        ),
        trends=tests_table("Necrosis, trend over arms", result.necrosis.trends, "Not corrected."),
        tests=tests_table("Main hypotheses", result.main_tests, "Holm's correction over all rows of this table."),
        retention=retention_table(result.retention, result.params.necrotic_percent),
        roc=_roc_chart(result.retention.roc),
        course=course_table(result.course) if result.course is not None else None,
        course_chart=_course_chart(read, result.course),
        survival=[_outcome(one) for one in result.survival],
        agreement=agreement_table(result.agreement) if result.agreement else None,
        calls=call_table(result.call_agreement) if result.call_agreement else None,
        differences=[chart for one in result.agreement if (chart := _difference_chart(one)) is not None],
        given=given_table(treatments, read.agents) if treatments else None,
        checklist=_checklist(read),
        warnings=warnings[:_MOST_FINDINGS],
        more_warnings=max(len(warnings) - _MOST_FINDINGS, 0),
        findings=read.findings[:_MOST_FINDINGS],
        finding_kinds=Counter(finding.code for finding in read.findings).most_common(),
        more_findings=max(len(read.findings) - _MOST_FINDINGS, 0),
        methods=methods,
        views={name: words for name, (_, words) in VIEWS.items()},
    )


def _style(place: int) -> str:
    return f"s{place % _STYLES}"


def _label(arm: str, place: int) -> str:
    """Names of regimens begin alike and are cut at a chart's edge: a number tells them apart."""
    return f"{place + 1} {arm}"


def _outcome(one: SurvivalResult) -> dict[str, object]:
    lines = [_curve_line(curve, i) for i, curve in enumerate(one.curves)]
    legend = [curve.arm for curve in one.curves]
    chart = line_chart(
        lines,
        x_label="days after treatment",
        y_label=f"share without {'death' if one.outcome == 'survival' else 'progression'}",
        title=f"Kaplan-Meier curves of {one.outcome} by arm",
        from_zero=True,
    )
    cox = cox_table(one.outcome, one.cox) if one.cox is not None else None
    return {
        "name": one.outcome,
        "chart": chart,
        "table": survival_table(one),
        "cox": cox,
        "legend": legend,
        "at_risk": at_risk_table(one),
    }


def _curve_line(curve: Curve, place: int) -> Series:
    """Steps; of very many only those that can be told apart on the page."""
    kept = np.unique(np.linspace(0, len(curve.days) - 1, _MOST_STEPS).round().astype(int))
    days, share = (np.array(values)[kept] for values in (curve.days, curve.share))
    x, y = np.repeat(days, 2)[1:], np.repeat(share, 2)[:-1]
    return Series(_label(curve.arm, place), x.tolist(), y.tolist(), _style(place))


def _roc_chart(roc: Roc | None) -> Markup | None:
    if roc is None:
        return None
    kept = np.unique(np.linspace(0, len(roc.false_positive) - 1, _MOST_STEPS).round().astype(int))
    x, y = (np.array(values)[kept].tolist() for values in (roc.false_positive, roc.true_positive))
    lines = [Series("retention", x, y, "s1"), Series("chance", (0.0, 1.0), (0.0, 1.0), "s3")]
    return line_chart(
        lines, x_label="1 - specificity", y_label="sensitivity", title="ROC curve of retention for massive necrosis",
        from_zero=True,
    )  # fmt: skip


def _course_chart(read: CohortInput, course: CourseModel | None) -> Markup | None:
    """What the model says of each arm as lines, as far as its patients were followed, and medians as points."""
    if course is None:
        return None
    arm_of = read.data.patients["arm"]
    points = read.data.timepoints.assign(arm=read.data.timepoints["subject"].map(arm_of))
    series = []
    for place, arm in enumerate(course.arms):
        own = points[(points["arm"] == arm.arm) & (points["days"] > 0)]
        days = np.linspace(0, float(own["days"].max()), 40)
        log = (course.intercept.value or 0.0) + (arm.log_slope.value or 0.0) * days / DAYS_A_MONTH
        series.append(Series(_label(arm.arm, place), days[1:].tolist(), np.exp(log)[1:].tolist(), _style(place)))
        within = own.groupby((own["days"] / 14).round())
        told = within["retention"].size() >= 3
        # At the median of their days: the middle of the two weeks would lie beside the curve.
        x, y = (within[name].median()[told].tolist() for name in ("days", "retention"))
        series.append(Series("", x, y, _style(place), line=False, points=True))
    return line_chart(
        series, x_label="days after the reference scan", y_label="retention", from_zero=True,
        title="Retention over time by arm, model and medians",
    )  # fmt: skip


def _difference_chart(one: Agreement) -> Markup | None:
    return _bland_altman(
        one, f"{one.name}, mean of both readers", "second minus first", f"Differences between two readers of {one.name}"
    )


def _histology_chart(one: Agreement | None) -> Markup | None:
    if one is None:
        return None
    title = "Differences between imaging and histology"
    return _bland_altman(one, f"{one.name}, mean of both", "imaging minus histology", title)


def _bland_altman(one: Agreement, x_label: str, y_label: str, title: str) -> Markup | None:
    if one.bias.value is None or one.lower_limit.value is None or one.upper_limit.value is None:
        return None
    kept = np.unique(np.linspace(0, len(one.means) - 1, _MOST_POINTS).round().astype(int))
    x, y = one.means[kept], one.differences[kept]
    ends = (float(x.min()), float(x.max()))
    levels = (("bias", one.bias.value), ("lower limit", one.lower_limit.value), ("upper limit", one.upper_limit.value))
    lines = [Series(name, ends, (value, value), _style(i + 1)) for i, (name, value) in enumerate(levels)]
    points = Series("", x.tolist(), y.tolist(), "s0", line=False, points=True)
    return line_chart([points, *lines], x_label=x_label, y_label=y_label, title=title)


def _checklist(read: CohortInput) -> list[tuple[str, int, int, int, int]]:
    """How often each precaution was met: yes, no, unknown, warnings."""
    counts: dict[str, Counter[str]] = {}
    for _, items in read.checklist:
        for item in items:
            told = counts.setdefault(item.precaution.value, Counter())
            told[item.answer] += 1
            told["warning"] += item.warning
    return [(name, told["yes"], told["no"], told["unknown"], told["warning"]) for name, told in counts.items()]
