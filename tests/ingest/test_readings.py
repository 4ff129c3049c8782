"""A reader's statements from CSV: what is read, what is told of a row that cannot be, what refuses a file."""

from pathlib import Path

import pytest

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.readings import Statement
from angio_pipeline.ingest import read_readings

HEADER = "subject,date,lesion,statement\n"
PATIENT = "P0123456789ab"


def written(folder: Path, text: str) -> Path:
    path = folder / "readings.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{HEADER}{PATIENT},20240401,L1,gone\n", (PATIENT, "20240401", "L1", Statement.GONE)),
        (f"{HEADER},2024-04-01,LN2,Too small\n", ("", "20240401", "LN2", Statement.TOO_SMALL)),
        ("Date;Lesion;Statement;comment\n2024-04-01;L1;not_evaluable;motion\n", ("", "20240401", "L1",
         Statement.NOT_EVALUABLE)),
        ("statement,lesion,date\nworse,L3,20240401\n\n", ("", "20240401", "L3", Statement.WORSE)),
        (f"\ufeff{HEADER},20240401,N1,NEW\n", ("", "20240401", "N1", Statement.NEW)),
    ],
)  # fmt: skip
def test_a_row_is_a_statement_of_a_lesion_on_a_day(tmp_path: Path, text: str, expected) -> None:
    ((reading,), refusals) = read_readings([written(tmp_path, text)])
    assert (reading.subject, reading.date, reading.lesion_id, reading.statement) == expected
    assert reading.row == 1
    assert refusals == ()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (",20241301,L1,gone", "a date"),
        (",01.04.2024,L1,gone", "a date"),
        (",,L1,gone", "a date"),
        (",20240401,L1,vanished", "gone, too small, not evaluable, worse, new"),
        (",20240401,,gone", "name of a lesion"),
        ("Mrs Example,20240401,L1,gone", "as the folder is named"),
    ],
)
def test_a_bad_row_is_told_by_its_number_and_its_neighbours_are_read(tmp_path: Path, row: str, expected: str) -> None:
    path = written(tmp_path, f"{HEADER},20240401,L1,gone\n{row}\n,20240401,L2,gone\n")
    readings, (refusal,) = read_readings([path])
    assert [(one.row, one.lesion_id) for one in readings] == [(1, "L1"), (3, "L2")]
    assert (refusal.path, refusal.reason) == (str(path), "reading_not_counted")
    assert refusal.sentence.startswith("Row 2 does not count. Expected ")
    assert expected in refusal.sentence
    assert "Example" not in refusal.sentence


def test_of_columns_that_differ_in_capitals_the_first_counts(tmp_path: Path) -> None:
    ((reading,), _) = read_readings([written(tmp_path, "Date,date,lesion,statement\n20240401,20240501,L1,gone\n")])
    assert reading.date == "20240401"


def test_a_column_met_twice_is_told_by_its_number(tmp_path: Path) -> None:
    text = "date,lesion,statement,Mrs Example,Mrs Example\n20240401,L1,gone,,\n"
    _, (refusal,) = read_readings([written(tmp_path, text)])
    assert "column 4 again" in refusal.sentence
    assert "Example" not in refusal.sentence


def test_a_row_of_another_width_is_doubted_and_read(tmp_path: Path) -> None:
    (reading,), (refusal,) = read_readings([written(tmp_path, f"{HEADER},20240401,L1,gone,,\n")])
    assert reading.statement is Statement.GONE
    assert (refusal.reason, refusal.sentence[:6]) == ("reading_doubtful", "Row 1:")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "found 0 lines"), (HEADER, "found 1 line"), ("date,lesion\n20240401,L1\n", "date, lesion, statement")],
)
def test_a_file_without_statements_is_refused_by_name(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(InputRefused, match=r"readings\.csv") as refused:
        read_readings([written(tmp_path, text)])
    assert refused.value.reason == "bad_readings"
    assert expected in refused.value.sentence


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"missing\.csv, found that it cannot be read"):
        read_readings([tmp_path / "missing.csv"])
