"""Records as hospitals leave them: each oddity is a finding, and each row is kept."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from angio_pipeline.core.errors import ConfigError, InputRefused
from angio_pipeline.core.records import CatheterPosition
from angio_pipeline.ingest.record_mapping import RecordMapping, read_agents, read_mapping
from angio_pipeline.ingest.record_values import Odd, date_order, read_amount, read_date
from angio_pipeline.ingest.records import Records, read_records
from angio_pipeline.simulate.cohort import DOSE_RANGES_MG

TODAY = date(2026, 1, 1)
HEADER = "patient_id,date,procedure,agents,doses_mg,oil_ml,embolic\n"


def read(path: Path, content: str | bytes, *, mapping: RecordMapping | None = None, by: str | None = None) -> Records:
    path = path / "records.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_records(
        path,
        mapping=mapping or RecordMapping(),
        table=read_agents(),
        latest=TODAY,
        pseudonym_of=lambda number, issuer: f"pseudonym of {number}" + (f" from {issuer}" if issuer else ""),
        by=by,
    )


def codes(records: Records) -> list[str]:
    return [finding.code for finding in records.findings]


def test_a_good_row_has_no_finding(tmp_path: Path) -> None:
    found = read(tmp_path, HEADER + "7,2024-03-31,cTACE,adriamycin;DDP,50;80 mg,8,gelfoam\n")
    assert codes(found) == []
    (record,) = found.records
    assert record.date == date(2024, 3, 31)
    assert (record.agents, record.doses_mg) == (("doxorubicin", "cisplatin"), (50.0, 80.0))
    assert (record.embolics, record.oil_ml, record.subject) == (("gelatin sponge",), 8.0, "pseudonym of 7")


def test_a_patients_number_goes_with_the_issuer_of_its_row_else_of_the_mapping(tmp_path: Path) -> None:
    content = "patient_id,issuer\n7,HERE\n7,\n"
    assert [r.subject for r in read(tmp_path, content).records] == ["pseudonym of 7 from HERE", "pseudonym of 7"]
    found = read(tmp_path, content, mapping=RecordMapping(issuer="THERE"))
    assert [r.subject for r in found.records] == ["pseudonym of 7 from HERE", "pseudonym of 7 from THERE"]
    assert codes(found) == []


def test_the_simulators_records_have_no_finding(sample: Path) -> None:
    found = read_records(
        sample / "truth" / "records.csv",
        mapping=RecordMapping(),
        table=read_agents(),
        latest=TODAY,
        pseudonym_of=lambda number, issuer: number,
    )
    assert found.findings == ()
    assert found.records[0].catheter_position is CatheterPosition.SEGMENTAL


@pytest.mark.parametrize(
    ("row", "code", "field", "value"),
    [
        ("1,2024-03-31,cTACE,moondust,5,8,", "unknown_agent", "agents", ("moondust",)),
        ("1,2024-03-31,cTACE,doxorubicin,500,8,", "dose_outside_range", "doses_mg", (500.0,)),
        ("1,2024-03-31,cTACE,doxorubicin,0.05,8,", "wrong_unit", "doses_mg", (0.05,)),
        ("1,2024-03-31,cTACE,doxorubicin,50 ml,8,", "wrong_unit", "doses_mg", (None,)),
        ("1,2024-03-31,cTACE,doxorubicin,50,8 mg,", "wrong_unit", "oil_ml", None),
        ("1,2024-02-30,cTACE,doxorubicin,50,8,", "impossible_date", "date", None),
        ("1,2031-01-01,cTACE,doxorubicin,50,8,", "impossible_date", "date", None),
        ("1,1911-01-01,cTACE,doxorubicin,50,8,", "impossible_date", "date", None),
        ("1,03/04/2024,cTACE,doxorubicin,50,8,", "ambiguous_date", "date", None),
        ("1,2024-03-31,magic,doxorubicin,50,8,", "unknown_procedure", "procedure", None),
        ("1,2024-03-31,HAI,doxorubicin,50,,coils", "procedure_contradicts", "procedure", "HAI"),
        ("1,2024-03-31,cTACE,doxorubicin;cisplatin,50,8,", "doses_do_not_match", "doses_mg", (None, None)),
        ("1,2024-03-31,cTACE,doxorubicin,fifty,8,", "not_a_number", "doses_mg", (None,)),
        ("1,2024-03-31,cTACE,doxorubicin,50,900,", "impossible_value", "oil_ml", None),
        (",2024-03-31,cTACE,doxorubicin,50,8,", "no_patient", "subject", "row-1"),
        ("1,2024-03-31,cTACE,doxorubicin,50", "wrong_width", "doses_mg", (50.0,)),
        ("1,2024-03-31,cTACE,doxorubicin,50,8,none,9,9", "wrong_width", "oil_ml", 8.0),
        ("1,2024-03-31,cTACE,=cmd|'/c calc'!A1,50,8,", "formula", "date", date(2024, 3, 31)),
    ],
)
def test_an_oddity_is_a_finding_and_the_row_stays(
    tmp_path: Path, row: str, code: str, field: str, value: object
) -> None:
    found = read(tmp_path, f"{HEADER}{row}\n")
    assert code in codes(found)
    assert getattr(found.records[0], field) == value


@pytest.mark.parametrize(
    ("agents", "doses"),
    [
        ("doxorubicin, cisplatin", "50, 80 mg"),
        ("doxorubicin,cisplatin", "50;80"),
        ("doxorubicin;cisplatin", "50,0; 80,0"),
    ],
)
def test_commas_part_drugs_and_doses_and_not_numbers(tmp_path: Path, agents: str, doses: str) -> None:
    found = read(tmp_path, f'{HEADER}7,2024-03-31,cTACE,"{agents}","{doses}",8,\n')
    assert found.findings == ()
    assert (found.records[0].agents, found.records[0].doses_mg) == (("doxorubicin", "cisplatin"), (50.0, 80.0))


@pytest.mark.parametrize("cell", ["=1", "@x", "+cmd|a", "-cmd", "-1+1", "+A1", "-(1)", "+1*A:A", "-1&B:B"])
def test_what_a_spreadsheet_would_run_is_told(tmp_path: Path, cell: str) -> None:
    assert "formula" in codes(read(tmp_path, f"patient_id,regimen\n1,{cell}\n"))


@pytest.mark.parametrize("cell", ["-", "-5", "+5 mg", "-1,200.5", "- 3 days"])
def test_a_number_with_a_sign_is_no_formula(tmp_path: Path, cell: str) -> None:
    assert "formula" not in codes(read(tmp_path, f'patient_id,regimen\n1,"{cell}"\n'))


def test_a_column_met_twice_is_told_by_its_number_as_a_name_may_stand_there(tmp_path: Path) -> None:
    found = read(tmp_path, "patient_id,Mrs Example,regimen,Mrs Example\n1,a,b,c\n")
    (told,) = [one.sentence for one in found.findings if one.code == "duplicate_column"]
    assert "column 2 again" in told
    assert "Example" not in told


def test_a_dose_in_grams_is_taken_as_milligrams(tmp_path: Path) -> None:
    found = read(tmp_path, HEADER + "1,2024-03-31,HAI,gemcitabine,1.6 g,,\n")
    assert found.records[0].doses_mg == (1600.0,)
    assert codes(found) == []


def test_the_wrong_encoding_is_told_and_read(tmp_path: Path) -> None:
    content = (HEADER + "M\xfcller,2024-03-31,cTACE,doxorubicin,50,8,\n").encode("cp1252")
    found = read(tmp_path, content)
    assert codes(found) == ["wrong_encoding"]
    assert found.records[0].patient_id == "Müller"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_marked_encoding_is_read_without_a_finding(tmp_path: Path, encoding: str) -> None:
    found = read(tmp_path, (HEADER + "Å,2024-03-31,cTACE,doxorubicin,50,8,\n").encode(encoding))
    assert codes(found) == []
    assert found.records[0].patient_id == "Å"


def test_ten_megabytes_of_one_line_are_cut(tmp_path: Path) -> None:
    long = "x" * 10_000_000
    rows = f'1,2024-03-31,cTACE,"{long}",50,8,\n2,2024-03-31,cTACE,doxorubicin,50,8,\n'
    found = read(tmp_path, HEADER + rows)
    assert "line_too_long" in codes(found)
    assert [record.patient_id for record in found.records] == ["1", "2"]
    assert max(len(finding.sentence) for finding in found.findings) < 400


def test_a_quote_that_never_closes_swallows_no_row(tmp_path: Path) -> None:
    rows = "".join(f"{i},2024-03-31,cTACE,{quote}doxorubicin,50,8,\n" for i, quote in enumerate(["", '"', "", "", ""]))
    found = read(tmp_path, HEADER + rows)
    assert "broken_quotes" in codes(found)
    assert len(found.records) == 5


def test_zero_bytes_are_taken_out(tmp_path: Path) -> None:
    found = read(tmp_path, HEADER + "1,2024-03-31,cTACE,doxo\0rubicin,50,8,\n")
    assert codes(found) == ["zero_bytes"]
    assert found.records[0].agents == ("doxorubicin",)


def test_mixed_dates_are_told_once_and_read_each_in_its_way(tmp_path: Path) -> None:
    rows = "1,2024-03-31,cTACE,,,8,\n2,31.03.2024,cTACE,,,8,\n3,20240331,cTACE,,,8,\n4,03/31/2024,cTACE,,,8,\n"
    found = read(tmp_path, HEADER + rows)
    assert codes(found).count("mixed_date_formats") == 1
    assert {record.date for record in found.records} == {date(2024, 3, 31)}


def test_a_day_above_twelve_settles_the_order_of_the_file() -> None:
    assert date_order(["03/04/2024", "25/04/2024"]) == "dmy"
    assert date_order(["03/04/2024", "04/25/2024"]) == "mdy"
    assert date_order(["25/04/2024", "04/25/2024"]) is None
    assert read_date("03/04/2024", "dmy", TODAY) == date(2024, 4, 3)


def test_a_patient_met_again_is_told(tmp_path: Path) -> None:
    row = "{},2024-0{}-10,cTACE,doxorubicin,50,8,\n"
    found = read(tmp_path, HEADER + row.format(1, 3) + row.format(1, 3) + row.format(1, 5) + row.format(2, 3))
    assert codes(found) == ["duplicate_record", "repeated_patient"]
    assert len(found.records) == 4


def test_findings_name_patients_by_pseudonym(tmp_path: Path) -> None:
    found = read(tmp_path, HEADER + "Smith 1950,2031-01-01,cTACE,doxorubicin,50,8,\n")
    assert found.findings[0].patient == "pseudonym of Smith 1950"
    assert "Smith" not in found.findings[0].sentence


def test_a_column_without_a_meaning_is_kept_only_when_compared_by(tmp_path: Path) -> None:
    content = "patient_id,surname,centre\n1,Smith,north\n"
    assert read(tmp_path, content).records[0].other == {}
    assert read(tmp_path, content, by="centre").records[0].other == {"centre": "north"}


def test_a_redcap_export_is_read_through_its_mapping(tmp_path: Path) -> None:
    (tmp_path / "mapping.toml").write_text(
        'date_order = "dmy"\n'
        '[columns]\npatient_id = "record_id"\ndate = "tace_date"\nsex = "gender"\ndoses_mg = "dose"\n'
        '[values.sex]\n"1" = "M"\n"2" = "F"\n'
        '[checkboxes.agents]\n"drug___1" = "doxorubicin"\n"drug___2" = "cisplatin"\n'
        '[units]\ndoses_mg = "g"\n',
        encoding="utf-8",
    )
    content = (
        "record_id,redcap_repeat_instrument,gender,tace_date,drug___1,drug___2,dose\n"
        "7,,2,,,,\n"
        "7,tace,,03/04/2024,0,1,0.08\n"
        "7,tace,,05/06/2024,1,0,0.05\n"
    )
    found = read(tmp_path, content, mapping=read_mapping(tmp_path / "mapping.toml"))
    first, second = found.records
    assert (first.sex, second.sex) == ("F", "F")
    assert (first.date, first.agents, first.doses_mg) == (date(2024, 4, 3), ("cisplatin",), (80.0,))
    assert second.agents == ("doxorubicin",)
    assert codes(found) == ["repeated_patient"]


def test_a_mapping_to_a_field_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mapping.toml").write_text('[columns]\ncolour = "c"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="'colour' is no field"):
        read_mapping(tmp_path / "mapping.toml")


def test_a_file_without_a_header_gives_no_patient_away(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="found 2 of other names") as told:
        read(tmp_path, "Smith 1950,2024-03-31\nJones 1944,2024-03-31\n")
    assert "Smith" not in str(told.value)


@pytest.mark.parametrize("content", ["", "patient_id\n", "name,date\nx,y\n"])
def test_a_file_without_patients_is_refused_in_a_sentence(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputRefused, match=r"^Expected .* in records\.csv"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("text", "value"), [("1,200", 1200), ("1.200,5", 1200.5), ("12,5", 12.5), ("1 200 mg", 1200), ("1e3", 1000)]
)
def test_numbers_are_read_as_they_are_written(text: str, value: float) -> None:
    assert read_amount(text, "mg") == pytest.approx(value)


@pytest.mark.parametrize("text", ["<5", "5 mg/m2", "5-10", "nan", "inf"])
def test_what_is_no_amount_is_none(text: str) -> None:
    with pytest.raises(Odd):
        read_amount(text, "mg")


def test_the_table_knows_the_doses_that_the_simulator_draws_from() -> None:
    assert {name: drug.recorded_mg for name, drug in read_agents().drugs.items()} == dict(DOSE_RANGES_MG)


def test_the_table_says_what_each_embolic_implies() -> None:
    table = read_agents()
    assert set(table.procedures) == {"HAI", "cTACE", "DEB-TACE", "TACE", "TAE"}
    assert table.embolics["gelatin sponge"].lasts_days == (7, 21)
    assert table.embolics["microspheres"].size_um == (50, 200)
    assert table.embolics["microspheres"].needs_super_selection
    assert table.embolics["iodised oil"].radio_opaque
    assert {"coils", "absolute alcohol"} < set(table.embolics)
