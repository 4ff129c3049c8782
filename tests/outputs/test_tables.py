from __future__ import annotations

import csv

import duckdb
import pytest

from angio_pipeline.core.results import Refusal
from angio_pipeline.outputs import write_follow_up, write_refused, write_run, write_tables
from angio_pipeline.outputs.branches import read_branches
from angio_pipeline.outputs.cells import disarmed

pytestmark = pytest.mark.slow


def rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def out(run_maker, follow_up_maker, tmp_path_factory):
    path = tmp_path_factory.mktemp("out")
    subject = path / "subjects" / "S-1"
    write_run(run_maker(file="-1.dcm"), subject / "20240311" / "a")
    write_run(run_maker(spacing=None, tumour=False), subject / "20240311" / "b")
    write_follow_up(follow_up_maker(), subject, folder_of=lambda s: f"{s.date}/{s.series_instance_uid}")
    write_tables(path)
    return path


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "  =1", "\r=1", "\n@x"])
def test_text_that_a_spreadsheet_would_run_is_disarmed(text):
    assert disarmed(text).startswith("'")


@pytest.mark.parametrize(("value", "cell"), [(None, ""), (-1.5, "-1.5"), (0, "0"), (True, "true"), ("a-b", "a-b")])
def test_other_cells_stay_as_they_are(value, cell):
    assert disarmed(value) == cell


def test_a_formula_from_a_file_name_is_disarmed_in_the_table(out):
    assert rows(out / "runs.csv")[0]["file"] == "'-1.dcm"


def test_each_run_feeder_and_date_is_a_row_and_the_unknown_is_empty(out):
    runs = rows(out / "runs.csv")
    assert [r["series"] for r in runs] == ["a", "b"]
    assert runs[1]["length_mm"] == ""
    assert float(runs[1]["length_px"]) > 0
    assert [r["feeder"] for r in rows(out / "feeders.csv")] == ["T1-F1", "T1-F2", "T1-F3"]
    courses = rows(out / "lipiodol.csv")
    assert [(r["lesion"], r["date"]) for r in courses][:2] == [("L1", "20240312"), ("L1", "20240318")]
    assert courses[2]["modality"] == "DX"
    assert courses[2]["iodine_mg"] == ""


@pytest.mark.parametrize("name", ["runs", "feeders", "branches", "lipiodol"])
def test_parquet_holds_the_rows_of_the_csv(out, name):
    table = duckdb.sql(f"SELECT * FROM '{out / name}.parquet'")
    assert table.columns == list(rows(out / f"{name}.csv")[0])
    assert len(table.fetchall()) == len(rows(out / f"{name}.csv"))


def test_branches_are_listed_by_run_and_the_unknown_is_empty(out):
    found = rows(out / "branches.csv")
    assert {r["series"] for r in found} == {"a", "b"}
    own = rows(out / "subjects" / "S-1" / "20240311" / "a" / "branches.csv")
    assert [r["branch"] for r in found if r["series"] == "a"] == [r["branch"] for r in own]
    assert float(own[0]["velocity_low_mm_s"]) < float(own[0]["velocity_mm_s"]) < float(own[0]["velocity_high_mm_s"])
    assert {r["velocity_mm_s"] for r in found if r["series"] == "b"} == {""}
    assert own[-1]["velocity_px_s"] == ""
    assert sorted(int(r["number"]) for r in own if r["number"]) == list(range(1, 9))


def test_the_parquet_of_branches_has_numbers_where_the_csv_has(out):
    ids = duckdb.sql(f"SELECT branch, velocity_mm_s FROM '{out}/branches.parquet' WHERE series = 'a'").fetchall()
    written = [r for r in rows(out / "branches.csv") if r["series"] == "a"]
    assert [(i, v) for i, v in ids] == [
        (int(r["branch"]), float(r["velocity_mm_s"]) if r["velocity_mm_s"] else None) for r in written
    ]


def test_a_table_of_branches_that_cannot_be_read_leaves_none(out, tmp_path):
    path = tmp_path / "branches.csv"
    path.write_text("branch,number\n1,x\n")
    assert read_branches(path) == []
    assert read_branches(tmp_path / "none.csv") == []


def test_an_empty_folder_gives_tables_without_rows(tmp_path):
    write_tables(tmp_path)
    assert rows(tmp_path / "runs.csv") == []
    assert duckdb.sql(f"SELECT * FROM '{tmp_path}/feeders.parquet'").fetchall() == []
    assert not (tmp_path / "response.csv").exists()


def test_refused_inputs_are_listed_with_their_reason(tmp_path):
    write_refused(tmp_path, [Refusal("a,b.dcm", "empty_file", 'Expected "DICOM", found nothing.')])
    assert rows(tmp_path / "refused.csv") == [
        {"path": "a,b.dcm", "reason": "empty_file", "sentence": 'Expected "DICOM", found nothing.'}
    ]
    write_refused(tmp_path, [])
    assert (tmp_path / "refused.csv").read_text() == "path,reason,sentence\n"
