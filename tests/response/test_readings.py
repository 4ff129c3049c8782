"""What a reader says of a lesion changes what the criteria call, and the call names who said so."""

import re
from dataclasses import replace

import pytest

from angio_pipeline.core.readings import Reading, Statement
from angio_pipeline.core.response import Call, Extent, LesionAtDate, LesionHistory, OilConvention, OutlineOrigin
from angio_pipeline.response import ResponseParams, judge_lesions
from angio_pipeline.response.readings import apply_readings, worse_in_vain

DATES = (("20240101", -3.0), ("20240201", 28.0), ("20240401", 88.0))
GONE, SMALL, WORSE, NEW = Statement.GONE, Statement.TOO_SMALL, Statement.WORSE, Statement.NEW
UNCLEAR = Statement.NOT_EVALUABLE
FIRST, LAST = DATES[1][0], DATES[2][0]


def lesion(name, *mm, outline=OutlineOrigin.FITTED, **more):
    """A lesion that lives in all of its extent, by its diameters at the three dates."""
    extents = [Extent(size, size, size * size, 0.5236e-3 * size**3, size) for size in mm]
    dates = [
        LesionAtDate(
            date, days, extent, viable=dict.fromkeys(OilConvention, extent), mean_hu=80.0, phase="arterial",
            holds_oil=False, outline=outline,
        )
        for (date, days), extent in zip(DATES, extents, strict=True)
    ]  # fmt: skip
    return LesionHistory(name, tuple(dates), **more)


# Two targets that stay as they are, and a third lesion of the liver, which is none.
PATIENT = (lesion("L1", 40, 40, 40), lesion("L2", 30, 30, 30), lesion("L3", 12, 12, 12))


def told(*said, lesions=PATIENT):
    readings = [Reading(date, name, statement, row=k) for k, (name, date, statement) in enumerate(said, start=1)]
    read, unused = apply_readings(lesions, readings)
    result = judge_lesions(read, params=ResponseParams())
    return result, (*unused, *worse_in_vain(readings, result.dates, unused))


def calls(result, name):
    return [call for date in result.dates for call in date.calls if call.name == name]


ALL_GONE = [(name, LAST, GONE) for name in ("L1", "L2", "L3")]


@pytest.mark.parametrize(
    ("said", "name", "expected"),
    [
        ([], "recist", [Call.SD, Call.SD]),
        (ALL_GONE, "recist", [Call.SD, Call.CR]),
        (ALL_GONE, "mrecist/tissue", [Call.SD, Call.CR]),
        (ALL_GONE, "easl/oil_necrotic", [Call.SD, Call.CR]),
        (ALL_GONE, "who", [Call.SD, Call.CR]),
        (ALL_GONE, "choi", [Call.SD, Call.CR]),
        (ALL_GONE, "qeasl/tissue", [Call.SD, Call.PR]),
        (ALL_GONE, "recicl/tissue", [Call.TE2, Call.TE4]),
        (ALL_GONE[:2], "recist", [Call.SD, Call.PR]),
        ([("L1", FIRST, GONE)], "recist", [Call.PR, Call.PD]),
        ([("L1", FIRST, GONE)], "choi", [Call.PR, Call.PD]),
        ([("L1", FIRST, GONE), ("L1", LAST, GONE)], "recist", [Call.PR, Call.PR]),
        ([("L1", FIRST, SMALL), ("L1", LAST, GONE)], "recist", [Call.PR, Call.PR]),
        ([("L1", FIRST, SMALL)], "who", [Call.NE, Call.SD]),
        ([("L3", LAST, SMALL), *ALL_GONE[:2]], "recist", [Call.SD, Call.PR]),
        ([("L1", FIRST, UNCLEAR)], "recist", [Call.NE, Call.SD]),
        ([("L3", LAST, UNCLEAR), *ALL_GONE[:2]], "recist", [Call.SD, Call.PR]),
        ([("L3", LAST, WORSE)], "recist", [Call.SD, Call.PD]),
        ([("L3", FIRST, WORSE)], "easl/tissue", [Call.PD, Call.PD]),
        ([("L3", LAST, WORSE)], "recicl/tissue", [Call.TE2, Call.TE2]),
        ([("N1", LAST, NEW)], "recist", [Call.SD, Call.PD]),
        ([("N1", FIRST, NEW), ("N1", LAST, GONE)], "recist", [Call.PD, Call.SD]),
        ([("N1", LAST, NEW)], "mrecist/tissue", [Call.SD, Call.SD]),
    ],
)
def test_a_statement_changes_the_call(said, name, expected):
    result, unused = told(*said)
    assert [call.call for call in calls(result, name)] == expected
    assert unused == ()


def test_a_target_too_small_to_measure_counts_5_mm_and_its_neighbour_what_it_measures():
    result, _ = told(("L1", FIRST, SMALL))
    assert calls(result, "recist")[0].value == 35.0


@pytest.mark.parametrize(("said", "call"), [(GONE, Call.CR), (SMALL, Call.CR), (UNCLEAR, Call.NE)])
def test_a_node_that_is_gone_or_too_small_to_measure_is_normal(said, call):
    result, _ = told(("LN1", FIRST, said), lesions=[lesion("LN1", 20, 20, 20, node=True, organ="lymph node")])
    assert calls(result, "recist")[0].call is call


@pytest.mark.parametrize(
    ("said", "name", "words"),
    [
        (ALL_GONE, "recist", "L1 gone on 20240401, L2 gone on 20240401, L3 gone on 20240401"),
        ([("L1", FIRST, GONE)], "who", "L1 gone on 20240201"),
        ([("L1", FIRST, UNCLEAR)], "recist", "L1 not evaluable on 20240201"),
        ([("L3", FIRST, WORSE)], "recist", "L3 worse on 20240201"),
        ([("N1", FIRST, NEW)], "choi", "N1 new on 20240201"),
    ],
)
def test_the_call_names_what_the_reader_said(said, name, words):
    result, _ = told(*said)
    last = calls(result, name)[-1].sentence
    assert last.endswith(f" By a reader: {words}.")


def test_a_call_is_not_laid_to_a_statement_that_does_not_count_in_it():
    result, _ = told(("L3", FIRST, WORSE), ("N1", FIRST, NEW))
    assert "reader" not in calls(result, "qeasl/tissue")[0].sentence
    assert "N1" not in calls(result, "mrecist/tissue")[0].sentence


def test_a_lesion_drawn_later_is_new_from_the_date_that_the_reader_names():
    drawn = replace(lesion("L9", 15, 15, 15), new_on=88.0)
    result, unused = told(("L9", FIRST, NEW), lesions=[*PATIENT, drawn])
    assert [call.call for call in calls(result, "recist")] == [Call.PD, Call.PD]
    assert unused == ()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (("L7", LAST, GONE), r"drawn on a CT or is called new \(L1, L2, L3\)"),
        (("L1", "20240402", GONE), r"date of a scan of this patient \(20240101, 20240201, 20240401\)"),
        (("L1", DATES[0][0], GONE), "gone on a date after treatment"),
        (("L1", LAST, WORSE), "no target"),
        (("L2", LAST, NEW), "was not there before"),
        (("Mrs Example", LAST, NEW), "letters and a number"),
    ],
)
def test_a_statement_that_fits_nothing_is_told_and_its_neighbours_count(wrong, sentence):
    result, unused = told(("L3", LAST, GONE), wrong, *[row for row in ALL_GONE[:2] if row[0] != wrong[0]])
    (one,) = unused
    assert one.reading.row == 2
    assert re.search(sentence, one.sentence)
    assert "L3 gone" in calls(result, "recist")[1].sentence


def test_two_statements_that_differ_count_neither():
    result, unused = told(("L1", LAST, GONE), ("L1", LAST, SMALL), ("L3", LAST, WORSE))
    assert sorted(one.reading.row for one in unused) == [1, 2]
    assert calls(result, "recist")[1].value == 70.0
    assert calls(result, "recist")[1].call is Call.PD


@pytest.mark.parametrize("said", [GONE, SMALL, UNCLEAR])
def test_an_outline_drawn_on_the_date_is_not_overruled(said):
    drawn = [lesion("L1", 40, 40, 40, outline=OutlineOrigin.DRAWN)]
    result, (one,) = told(("L1", LAST, said), lesions=drawn)
    assert "no outline" in one.sentence
    assert calls(result, "recist")[1].value == 40.0
