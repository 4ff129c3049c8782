from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.pacs.queries import Query, make_query, read_queries


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "patient_id;from;to;modality\nP-1;2024-03-01;20240401;XA+CT\n\n;2024-03-01;;\n"),
        (
            "a.toml",
            "[[query]]\npatient_id = 'P-1'\nfrom = 2024-03-01\nto = '20240401'\nmodality = ['XA', 'CT']\n"
            "[[query]]\nfrom = 2024-03-01\n",
        ),
    ],
)
def test_a_cohort_is_read_from_csv_and_toml_alike(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    first, second = read_queries(tmp_path / name)
    assert first == Query("P-1", None, None, date(2024, 3, 1), date(2024, 4, 1), ("XA", "CT"))
    assert (first.dates, second.dates) == ("20240301-20240401", "20240301-")


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"patient_id": "SECRET*"}, "wildcard"),
        ({"patient_id": "SECRET\\OTHER"}, "wildcard"),
        ({"accession": "SECRET?"}, "wildcard"),
        ({"patient_id": "SECRET", "from": "31.3.2024"}, "a date such as"),
        ({"patient_id": "SECRET", "from": "2024-04-01", "to": "2024-03-01"}, "other way round"),
        ({"study_uid": "../SECRET"}, "to be a UID"),
        ({"modality": "XA"}, "the whole archive"),
        ({}, "the whole archive"),
        ({"patient_id": "SECRET", "name": "SECRET"}, "'name'"),
        ({"patient_id": "SECRET", "modality": "X A*"}, "codes such as"),
    ],
)
def test_what_cannot_be_asked_is_refused_without_quoting_it(told: dict[str, str], found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_query(told, place="line 7")
    assert found in caught.value.sentence
    assert "line 7" in caught.value.sentence
    assert "SECRET" not in caught.value.sentence


def test_a_wrong_line_is_told_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "cohort.csv"
    path.write_text("patient_id,from\nP-1,2024-01-01\nP-2,yesterday\n")
    with pytest.raises(ConfigError, match=r"cohort\.csv, line 3"):
        read_queries(path)


@pytest.mark.parametrize(("name", "text"), [("a.csv", ""), ("a.toml", "[[query"), ("a.csv", "a\x00b\n1,2\n")])
def test_a_file_without_queries_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError):
        read_queries(tmp_path / name)


def test_who_is_asked_for_is_not_shown_by_accident() -> None:
    assert "P-1" not in repr(make_query({"patient_id": "P-1", "accession": "A-P-1"}, place="here"))
