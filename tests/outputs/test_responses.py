"""The response of a patient in its document, its tables and the report."""

import csv
import json
from dataclasses import replace

import duckdb
import jsonschema
import pytest
from response_lesions import lesion

from angio_pipeline.core.response import (
    Call,
    Histology,
    LesionHistory,
    ResponseResult,
)
from angio_pipeline.outputs import json_schema, read_subject, write_follow_up, write_report, write_tables
from angio_pipeline.outputs.response_story import response_story
from angio_pipeline.outputs.responses import response_document, response_rows
from angio_pipeline.response import ResponseParams, judge_lesions


@pytest.fixture(scope="module")
def result() -> ResponseResult:
    lesions = [lesion("L1", 40.0, 25.0), lesion("=L2", 20.0, 15.0)]
    return judge_lesions(lesions, histology=[Histology(80.0, lesion_id="L1")], params=ResponseParams())


@pytest.fixture(scope="module")
def out(result, follow_up_maker, tmp_path_factory):
    path = tmp_path_factory.mktemp("out")
    subject = path / "subjects" / "S-1"
    followed = replace(follow_up_maker(), response=result)
    write_follow_up(followed, subject, folder_of=lambda s: f"{s.date}/{s.series_instance_uid}")
    write_tables(path)
    write_report(subject)
    return path


def rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_document_follows_its_own_schema(result):
    document = json.loads(response_document(result).model_dump_json())
    jsonschema.validate(document, json_schema("response"), cls=jsonschema.Draft202012Validator)
    jsonschema.validate(document, json_schema(), cls=jsonschema.Draft202012Validator)


def test_a_call_that_was_not_made_is_null_and_its_reason_stands_beside_it(result):
    point = response_document(result).timepoints[0]
    assert point.calls["recist"] is Call.PR
    assert point.calls["mrecist/tissue"] is None
    reason = next(one for one in point.reasons if one.name == "mrecist/tissue")
    assert reason.call is Call.NE
    assert "no scan in the arterial phase" in reason.sentence


def test_every_call_holds_its_numbers_and_its_rules(result):
    reason = response_document(result).timepoints[0].reasons[0]
    assert (reason.value, reason.baseline, reason.nadir, reason.unit) == (40.0, 60.0, 60.0, "mm")
    assert reason.change_from_baseline == pytest.approx(-1 / 3, abs=1e-4)
    assert (reason.rule, reason.table_row) == (
        "recist/fall-from-baseline", "table-1/PR, non-PD or not all evaluated, none")  # fmt: skip


@pytest.mark.slow
def test_tables_have_a_row_a_date_and_criterion_and_a_row_a_lesion_and_date(out):
    calls = rows(out / "response.csv")
    assert len(calls) == 3 + 4 * 3
    assert (calls[0]["subject"], calls[0]["name"], calls[0]["call"], calls[0]["best"]) == ("S-1", "recist", "PR", "PR")
    assert next(row for row in calls if row["name"] == "qeasl/tissue")["call"] == ""
    lesions = rows(out / "lesions.csv")
    assert [(row["lesion"], row["date"]) for row in lesions][:2] == [("L1", "20240301"), ("L1", "20240401")]
    assert (lesions[1]["longest_mm"], lesions[1]["viable_longest_mm_tissue"], lesions[1]["covered_ml"]) == (
        "25", "", "2.5")  # fmt: skip
    assert lesions[2]["lesion"] == "'=L2"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["response", "lesions"])
def test_parquet_holds_the_rows_of_the_csv(out, name):
    table = duckdb.sql(f"SELECT * FROM '{out / name}.parquet'")
    assert table.columns == list(rows(out / f"{name}.csv")[0])
    assert len(table.fetchall()) == len(rows(out / f"{name}.csv"))


def test_the_report_tells_calls_reasons_measures_and_histology(out):
    page = (out / "subjects" / "S-1" / "report.html").read_text(encoding="utf-8")
    told = ["RECIST 1.1", "mRECIST, oil counts as necrotic", "recist/fall-from-baseline", "no scan in the arterial"]
    for words in (*told, "main tumour", "histology", "2 were outlined by a reader"):
        assert words in page, words


def test_a_call_before_response_is_assessed_is_told_to_be_too_early(result):
    soon = replace(result, dates=(replace(result.dates[0], days=1.0, too_early=True),))
    document = response_document(soon)
    assert [row["too_early"] for row in response_rows(document)] == [True] * (3 + 4 * 3)
    story = response_story(document, None)["response"]
    assert story["too_early"].startswith("Too early to tell a response: day 1. It is assessed 4 to 8 weeks")
    assert story["rows"][0]["calls"] == ["PR, too early"]
    assert story["rows"][1]["calls"] == ["–"]


def test_four_weeks_after_treatment_no_call_is_too_early(result):
    story = response_story(response_document(result), None)["response"]
    assert (story["too_early"], story["rows"][0]["calls"]) == ("", ["PR"])


def test_what_is_too_early_goes_by_days_after_treatment(result):
    late = judge_lesions(result.lesions, params=ResponseParams(assessed_from_days=200.0))
    assert [date.too_early for date in late.dates] == [True]
    assert [date.too_early for date in result.dates] == [False]


def test_dates_before_a_lesion_was_new_are_not_counted_as_not_evaluable(result):
    undrawn = [replace(at, whole=None, outline=None, missing="nobody drew it") for at in result.lesions[0].dates]
    new = LesionHistory("N1", tuple(undrawn), new_on=28.0)
    document = response_document(replace(result, lesions=(*result.lesions, new)))
    methods = response_story(document, None)["response"]["methods"][0]
    assert methods.startswith("Of 5 lesions at dates")
    assert methods.endswith("and 1 were not evaluable.")


@pytest.mark.slow
def test_a_new_analysis_without_response_leaves_no_old_one(result, follow_up_maker, tmp_path):
    subject = tmp_path / "subjects" / "S-1"
    folder_of = {"folder_of": lambda s: f"{s.date}/{s.series_instance_uid}"}
    write_follow_up(replace(follow_up_maker(), response=result), subject, **folder_of)
    write_tables(tmp_path)
    write_follow_up(follow_up_maker(), subject, **folder_of)
    write_tables(tmp_path)
    assert not (subject / "response.json").exists()
    assert not (tmp_path / "response.csv").exists()
    assert not (tmp_path / "lesions.parquet").exists()


def test_a_document_of_another_schema_is_a_sentence_in_the_report(out, tmp_path, result, follow_up_maker):
    subject = tmp_path / "S-2"
    write_follow_up(replace(follow_up_maker(), response=result), subject, folder_of=lambda s: s.date + "/a")
    (subject / "response.json").write_text('{"schema": "angio-pipeline/response/9"}')
    assert read_subject(subject).response is None
    write_report(subject)
    assert "Response cannot be shown" in (subject / "report.html").read_text(encoding="utf-8")


def test_a_patient_without_an_outlined_lesion_has_a_document_with_the_reason():
    empty = response_document(ResponseResult((), (), reason="no lesion was outlined"))
    assert (empty.timepoints, empty.reason) == ([], "no lesion was outlined")
