"""What `angio cohort` leaves: page, tables, methods and a database, from files and records."""

from __future__ import annotations

import csv
import json
import re
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from cohort_files import oil_at, response_document, write_registry
from cohort_truth import effective_cohort
from typer.testing import CliRunner

from angio_pipeline.cli.main import app
from angio_pipeline.ingest.pseudonym import pseudonym, read_key
from angio_pipeline.simulate.registry import RegistryParams, draw_registry

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def run(*arguments: object) -> object:
    return CliRunner().invoke(app, ["cohort", *(str(a) for a in arguments)])


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Sixty patients with two lesions: their results and their records."""
    folder = tmp_path_factory.mktemp("registry")
    patients = draw_registry(60, 4, effective_cohort(), RegistryParams(lesions=2))
    names = {p.patient_id: pseudonym(p.patient_id, key=read_key()) for p in patients}
    return write_registry(folder, patients, effective_cohort(), names)


@pytest.fixture(scope="module")
def tables(registry: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, records = registry
    folder = tmp_path_factory.mktemp("tables")
    response = next((out / "subjects").iterdir()) / "response.json"
    calls = {30.0: {"mrecist/tissue": "PR", "recist": "NE"}, 90.0: {"mrecist/tissue": "PD", "recist": "SD"}}
    seen = {
        "lesion": "L1",
        "role": "main",
        "standard": "imaging",
        "percent": 64,
        "imaging_percent": 64,
        "imaging_days": 90,
    }
    told = response_document(date(2024, 3, 2), calls, best={"mrecist/tissue": "PR"}, necrosis=[seen])
    response.write_text(json.dumps(told), encoding="utf-8")
    (out / "refused.csv").write_text("path,reason,sentence\na.dcm,truncated,x\nb.dcm,truncated,x\n", encoding="utf-8")
    found = run(out, "--records", records, "--out", folder, "--necrosis-at", 60)
    response.unlink()
    assert found.exit_code == 0, found.output
    return folder


def lesion(name: str, *points: dict[str, object]) -> dict[str, object]:
    return {"id": name, "centroid_mm": None, "origin": "detected", "timepoints": list(points), "kinetics": None}


def scan(days: float, retention: float, iodine_mg: float, **changed: object) -> dict[str, object]:
    """One lesion on a CT: retention over the reference scan, and what it held there."""
    taken = datetime(2024, 3, 4) + timedelta(days=days)
    return oil_at(taken, days, retention, iodine_mg) | changed


def film(days: float, retention: float, amount: float) -> dict[str, object]:
    """One lesion on a film: an amount without a unit, relative to that of the first film."""
    unknown = dict.fromkeys(("iodine_mg", "iodine_mg_interval", "oil_ml", "volume_mm3", "coverage", "pattern"))
    told = {"modality": "XA", "relative_amount": amount * retention, "completeness": None}
    flags = {"quality": ["RELATIVE_ONLY", "PROJECTION_LIMIT"]}
    return scan(days, retention, 0.0) | unknown | told | flags


def cohort_of(folder: Path, **subjects: list[dict[str, object]]) -> Path:
    """Make the tables of patients of these lesions; necrosis is known of each."""
    for name, lesions in subjects.items():
        path = folder / "out" / "subjects" / name
        path.mkdir(parents=True)
        told = {"schema": "angio-pipeline/lipiodol/1", "lesions": lesions, "liver": None}
        (path / "lipiodol.json").write_text(json.dumps(told), encoding="utf-8")
    lines = "".join(f"{name},a,60,100,1\n" for name in subjects)
    header = "patient_id,regimen,necrosis_main_percent,survival_days,event\n"
    (folder / "r.csv").write_text(header + lines, encoding="utf-8")
    found = run(folder / "out", "--records", folder / "r.csv", "--out", folder / "t")
    assert found.exit_code == 0, found.output
    return folder / "t"


SCANS_AND_FILMS = [
    lesion("L1", film(0.0, 1.0, 900), scan(1.0, 1.0, 250), scan(27.96, 0.8, 250), film(28.0, 0.9, 900)),
    lesion("L2", film(0.0, 1.0, 300), scan(1.0, 1.0, 480), scan(27.96, 0.59, 480), film(28.0, 0.7, 300)),
]
FILMS_ALONE = [lesion("L1", film(0.0, 1.0, 900), film(28.0, 0.7, 900))]
A, B, C, D = (f"P{digit * 12}" for digit in "1234")


@pytest.mark.slow
def test_retention_is_that_of_scans_where_films_lie_nearer(tmp_path: Path) -> None:
    (row,) = rows(cohort_of(tmp_path, **{A: SCANS_AND_FILMS}) / "cohort.csv")
    assert (float(row["retention"]), float(row["retention_days"])) == (0.59, pytest.approx(26.96))


def test_the_main_lesion_holds_most_iodine_on_scans_and_not_on_films(tmp_path: Path) -> None:
    (row,) = rows(cohort_of(tmp_path, **{A: SCANS_AND_FILMS}) / "cohort.csv")
    assert row["main_lesion"] == "L2"


def test_the_model_over_time_takes_scans_alone(tmp_path: Path) -> None:
    late = [film(60.0, 0.1, 900), scan(90.0, 0.4, 480)]
    told = [SCANS_AND_FILMS[0], {**SCANS_AND_FILMS[1], "timepoints": [*SCANS_AND_FILMS[1]["timepoints"], *late]}]
    page = (cohort_of(tmp_path, **{A: told, B: told, C: told, D: FILMS_ALONE}) / "cohort.html").read_text("utf-8")
    course = page.split('id="course"')[1].split("</section>")[0]
    # Of each of three patients days 27 and 90; the fourth has films alone and is missing.
    assert '<th scope="row">a</th><td>3</td><td>6</td><td>1</td>' in course


def test_films_alone_tell_no_retention_and_the_page_says_of_how_many(tmp_path: Path) -> None:
    tables = cohort_of(tmp_path, **{A: FILMS_ALONE, B: SCANS_AND_FILMS})
    told = {row["subject"]: row for row in rows(tables / "cohort.csv")}
    assert [told[name]["retention"] for name in (A, B)] == ["", "0.59"]
    assert [told[A][name] for name in ("main_lesion", "retention_days", "half_life_days")] == [""] * 3
    assert "RELATIVE_ONLY" in told[A]["flags"]
    for name in ("methods.md", "cohort.html"):
        assert "the oil of 1 patient was followed on films alone" in (tables / name).read_text(encoding="utf-8")


def test_films_beside_scans_are_no_matter_for_the_methods(tmp_path: Path) -> None:
    methods = (cohort_of(tmp_path, **{A: SCANS_AND_FILMS}) / "methods.md").read_text(encoding="utf-8")
    assert "films alone" not in methods


def test_contrast_medium_is_not_taken_for_retained_oil(tmp_path: Path) -> None:
    enhanced = scan(29.0, 1.3, 480, quality=["CONTRAST_ENHANCED"])
    told = [lesion("L1", scan(1.0, 1.0, 480), scan(27.96, 0.59, 480), enhanced)]
    (row,) = rows(cohort_of(tmp_path, **{A: told}) / "cohort.csv")
    assert row["retention"] == "0.59"


def test_one_patient_in_one_arm_is_told_in_the_singular(tmp_path: Path) -> None:
    tables = cohort_of(tmp_path, **{A: SCANS_AND_FILMS})
    methods, page = ((tables / name).read_text(encoding="utf-8") for name in ("methods.md", "cohort.html"))
    plurals = r"\b1 (?:\w+ )?(?:patients|arms|findings|kinds|events|treatments|hypotheses)\b"
    assert not re.findall(plurals, methods + page)
    assert "Arms were not compared (fewer than two arms, or all alike)." in methods
    assert "not tested:" not in methods


@pytest.mark.slow
def test_every_patient_is_a_row(tables: Path) -> None:
    patients = rows(tables / "cohort.csv")
    assert len(patients) == 60
    assert {row["arm"] for row in patients} == {"a", "b", "c"}
    assert all(row["main_lesion"] == "L1" and row["lesions"] == "2" for row in patients)
    assert duckdb.sql(f"SELECT count(*) FROM '{tables / 'cohort.parquet'}'").fetchall() == [(60,)]


@pytest.mark.slow
def test_no_patients_number_leaves_the_records(tables: Path) -> None:
    for path in tables.iterdir():
        assert b"REG-4-" not in path.read_bytes(), path.name


def test_the_database_answers_by_its_documented_views(tables: Path) -> None:
    with duckdb.connect(str(tables / "cohort.duckdb"), read_only=True) as connection:
        counts = {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0]
            for name in ("patients", "runs", "feeders", "timepoints", "responses")
        }
        joined = connection.execute(
            "SELECT count(DISTINCT subject) FROM timepoints JOIN patients USING (subject) WHERE arm = 'a'"
        ).fetchall()
        words = connection.execute("SELECT comment FROM duckdb_views() WHERE NOT internal").fetchall()
    assert counts == {"patients": 60, "runs": 0, "feeders": 0, "timepoints": 60 * 2 * 6, "responses": 4}
    assert joined[0][0] == sum(row["arm"] == "a" for row in rows(tables / "cohort.csv"))
    assert len(words) == 5
    assert all(comment for (comment,) in words)


def test_the_best_response_is_that_of_the_calls(tables: Path) -> None:
    assert [row["best_response"] for row in rows(tables / "cohort.csv") if row["best_response"]] == ["PR"]


def test_progression_is_that_of_the_images_where_the_records_hold_none(tables: Path) -> None:
    told = [row for row in rows(tables / "cohort.csv") if row["progression_source"] == "images"]
    assert [(row["progression_days"], row["progression"]) for row in told] == [("90", "1")]


def test_every_call_in_the_database_has_its_rule_and_its_numbers(tables: Path) -> None:
    with duckdb.connect(str(tables / "cohort.duckdb"), read_only=True) as connection:
        told = connection.execute(
            "SELECT days, name, convention, call, rule, value, baseline, effect IS NULL FROM responses ORDER BY 1, 2"
        ).fetchall()
    assert told[0] == (30, "mrecist/tissue", "tissue", "PR", "mrecist/between-limits", 41.5, 50, True)
    assert told[1][:4] == (30, "recist", None, None)


def test_imaging_is_kept_beside_what_the_records_say(tables: Path) -> None:
    told = [row for row in rows(tables / "cohort.csv") if row["imaging_necrosis_main_percent"]]
    assert [row["imaging_necrosis_main_percent"] for row in told] == ["64"]
    assert told[0]["necrosis_source"] != "imaging"


def test_histology_is_the_standard_for_main_tumour_and_daughters(registry: tuple[Path, Path], tmp_path: Path) -> None:
    header = "patient_id,regimen,necrosis_main_percent,necrosis_daughter_percent,histology_necrosis_percent,"
    (tmp_path / "r.csv").write_text(
        f"{header}histology_daughter_percent\n1,a,50,40,90,80\n2,a,50,40,,\n", encoding="utf-8"
    )
    assert run(registry[0], "--records", tmp_path / "r.csv", "--out", tmp_path / "t").exit_code == 0
    told = [row for row in rows(tmp_path / "t" / "cohort.csv") if row["recorded"] == "true"]
    names = ("necrosis_main_percent", "necrosis_daughter_percent", "necrosis_source")
    assert [tuple(row[name] for name in names) for row in told] == [("90", "80", "histology"), ("50", "40", "records")]


@pytest.mark.slow
def test_a_result_that_cannot_be_read_is_a_finding(registry: tuple[Path, Path], tmp_path: Path) -> None:
    response = next((registry[0] / "subjects").iterdir()) / "response.json"
    response.write_text("{}", encoding="utf-8")
    assert run(*registry[:1], "--records", registry[1], "--out", tmp_path).exit_code == 0
    response.unlink()
    assert [row["code"] for row in rows(tmp_path / "findings.csv")] == ["unread_result"]


def test_necrosis_by_regimen_has_the_form_of_main_and_daughter(tables: Path) -> None:
    told = rows(tables / "necrosis.csv")
    assert [row["Regimen"] for row in told[:3]] == ["a", "b", "c"]
    assert re.fullmatch(r"\d+ \(\d+ to \d+\) · \d+/\d+", told[0]["Main tumour, %"])
    assert "Daughter nodule, %" in told[0]


def test_the_page_holds_all_it_shows(tables: Path) -> None:
    page = (tables / "cohort.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert page.count("<svg") >= 3
    assert "2 truncated" in page


def test_every_table_of_statistics_counts_what_is_missing(tables: Path) -> None:
    page = (tables / "cohort.html").read_text(encoding="utf-8")
    told = page.split("<table>")[1:]
    captions = [re.search("<caption>(.*?)</caption>", part).group(1) for part in told]
    silent = [
        name for name, part in zip(captions, told, strict=True) if "missing" not in part.split("<section")[0].lower()
    ]
    # Patients at risk are those that the table below them is of; the rest counts treatments, not values.
    assert [name for name in silent if "at risk" not in name] == [
        "From planned to analysed", "Treatments by what the record and the images say; every one is in checklist.csv",
    ]  # fmt: skip


def test_the_page_says_what_was_given_and_what_it_implies(registry: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(
        "patient_id,procedure,agents,doses_mg,embolic\n1,cTACE,ADM,50,lipiodol;gelfoam\n2,cTACE,ADM,90,lipiodol\n3,,,,\n",
        encoding="utf-8",
    )
    assert run(registry[0], "--records", tmp_path / "r.csv", "--out", tmp_path / "t").exit_code == 0
    page = (tmp_path / "t" / "cohort.html").read_text(encoding="utf-8")
    given = page.split('id="given"')[1].split("</section>")[0]
    rows_given = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>', given)
    told = {name: (kind, count, words) for kind, name, count, words in rows_given}
    assert [told[name][:2] for name in ("cTACE", "iodised oil", "gelatin sponge", "doxorubicin")] == [
        ("Procedure", "2"), ("Embolic", "2"), ("Embolic", "1"), ("Drug", "2"),
    ]  # fmt: skip
    assert "absorbed in 7 to 21 days" in told["gelatin sponge"][2]
    assert "480 mg iodine" in told["iodised oil"][2]
    assert "here 50 to 90 mg, dose missing in 0, outside the range in 1" in told["doxorubicin"][2]
    assert "procedure in 1, anything given in 1" in given


def test_what_the_table_does_not_know_is_counted_and_not_named(registry: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(
        "patient_id,regimen,agents,doses_mg,embolic\n"
        "1,a,Mrs Example;ADM,5;50,\n2,a,moondust,5,\n3,a,,,stardust\n4,a,,,\n",
        encoding="utf-8",
    )
    assert run(registry[0], "--records", tmp_path / "r.csv", "--out", tmp_path / "t").exit_code == 0
    page = (tmp_path / "t" / "cohort.html").read_text(encoding="utf-8")
    given = page.split('id="given"')[1].split("</section>")[0]
    rows_given = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td><td>', given)
    assert rows_given == [
        ("Embolic", "not in the table of agents", "1"), ("Drug", "doxorubicin", "1"),
        ("Drug", "not in the table of agents", "2"),
    ]  # fmt: skip
    assert not [word for word in ("Example", "moondust", "stardust") if word in given]
    assert "anything given in 1" in given


def test_the_methods_say_what_was_run(tables: Path) -> None:
    methods = (tables / "methods.md").read_text(encoding="utf-8")
    for words in ("massive from 60 %", "by regimen in 3 arms", "restricted maximum likelihood", "Holm's correction"):
        assert words in methods
    assert "Two readers" not in methods


@pytest.mark.slow
def test_planned_patients_without_images_and_results_without_records_are_counted(
    registry: tuple[Path, Path], tmp_path: Path
) -> None:
    out, records = registry
    lines = records.read_text(encoding="utf-8").splitlines()
    (tmp_path / "records.csv").write_text("\n".join([*lines[:41], lines[1].replace("REG-4", "GONE")]), encoding="utf-8")
    assert run(out, "--records", tmp_path / "records.csv", "--out", tmp_path / "t").exit_code == 0
    patients = rows(tmp_path / "t" / "cohort.csv")
    assert len(patients) == 61
    assert [row["state"] for row in patients].count("no images") == 1
    assert [row["recorded"] for row in patients].count("false") == 20


def test_bad_records_are_findings_and_no_crash(registry: tuple[Path, Path], tmp_path: Path) -> None:
    out, _ = registry
    header = "patient_id,date,procedure,regimen,agents,doses_mg,oil_ml,embolic,sex,survival_days,event\n"
    bad = [
        '1,2024-02-30,cTACE,=HYPERLINK(""x""),doxorubicin,9000,8,microspheres,F,100,1',
        "1,31/12/2023,magic,@sum(1),moondust,1,8,,X,,1",
        "2,01/02/2023,HAI,+cmd|'/c calc'!A0,doxorubicin,0.05,,coils,M,-5,0",
        f"3,2023-01-01,HAI,{'y' * 10_000_000},,,,,,,",
    ]
    path = tmp_path / "records.csv"
    path.write_bytes((header + "\n".join(bad) + "\n").encode() + b"M\xfcller,2023-01-01,HAI,-1+1,,,,,,,\n")
    found = run(out, "--records", path, "--out", tmp_path / "t")
    assert found.exit_code == 0, found.output
    codes = {row["code"] for row in rows(tmp_path / "t" / "findings.csv")}
    assert codes >= {
        "wrong_encoding", "line_too_long", "formula", "mixed_date_formats", "impossible_date", "unknown_agent",
        "unknown_procedure", "dose_outside_range", "wrong_unit", "impossible_value", "repeated_patient",
    }  # fmt: skip
    assert len(rows(tmp_path / "t" / "cohort.csv")) == 64
    for name in ("cohort.csv", "table1.csv", "necrosis.csv", "findings.csv", "checklist.csv"):
        with (tmp_path / "t" / name).open(encoding="utf-8", newline="") as stream:
            cells = [cell for row in csv.reader(stream) for cell in row]
        risky = [cell for cell in cells if cell.startswith(FORMULA) and not re.fullmatch(r"-?\d[\d.e+-]*", cell)]
        assert not risky, name
    warned = [row for row in rows(tmp_path / "t" / "checklist.csv") if row["warning"] == "true"]
    assert [row["precaution"] for row in warned] == ["microspheres without super-selection"]


def test_a_cohort_without_records_is_told_as_far_as_it_goes(registry: tuple[Path, Path], tmp_path: Path) -> None:
    assert run(registry[0], "--out", tmp_path).exit_code == 0
    assert len(rows(tmp_path / "cohort.csv")) == 60


@pytest.mark.slow
def test_patients_are_compared_by_any_column(registry: tuple[Path, Path], tmp_path: Path) -> None:
    out, records = registry
    assert run(out, "--records", records, "--out", tmp_path, "--by", "child_pugh").exit_code == 0
    assert {row["arm"] for row in rows(tmp_path / "cohort.csv")} <= {"A", "B", "C"}


def issued(folder: Path, header: str, row: str) -> list[dict[str, str]]:
    """Make the tables of one patient whose images name an issuer, and of one record; return the patients."""
    name = pseudonym("7", "HOSPITAL-Q", key=read_key())
    path = folder / "out" / "subjects" / name
    path.mkdir(parents=True)
    told = {"schema": "angio-pipeline/lipiodol/1", "lesions": [], "liver": None}
    (path / "lipiodol.json").write_text(json.dumps(told), encoding="utf-8")
    (folder / "r.csv").write_text(f"{header},regimen\n{row},a\n", encoding="utf-8")
    found = run(folder / "out", "--records", folder / "r.csv", "--out", folder / "t")
    assert found.exit_code == 0, found.output
    assert ("found none of 1" in found.output) == ("issuer" not in header)
    return rows(folder / "t" / "cohort.csv")


def test_records_that_name_the_images_issuer_find_their_patients(tmp_path: Path) -> None:
    (row,) = issued(tmp_path, "patient_id,issuer", "7,HOSPITAL-Q")
    assert (row["recorded"], row["arm"]) == ("true", "a")


def test_records_that_match_no_patient_are_told_by_counts_alone(tmp_path: Path) -> None:
    assert len(issued(tmp_path, "patient_id", "7")) == 2
    (finding,) = rows(tmp_path / "t" / "findings.csv")
    assert (finding["code"], finding["patient"]) == ("no_patient_matches", "")
    assert "among the 1 of the results, found none of 1" in finding["sentence"]


def test_a_field_that_is_misspelt_is_answered_with_the_nearest(registry: tuple[Path, Path], tmp_path: Path) -> None:
    out, records = registry
    found = run(out, "--records", records, "--out", tmp_path / "t", "--by", "catheter_postion")
    assert found.exit_code == 2
    assert "nearest are catheter_position; " in found.output
    assert "oil_ml" not in found.output


def test_two_readers_are_compared(registry: tuple[Path, Path], tmp_path: Path) -> None:
    for name, shift in (("one", 0), ("two", 1)):
        lines = [f"s{i},{10 + i + shift},{'CR' if i % 2 else 'PR'}" for i in range(20)]
        (tmp_path / f"{name}.csv").write_text("subject,mm,call\n" + "\n".join(lines), encoding="utf-8")
    readers = ("--reader", tmp_path / "one.csv", "--reader", tmp_path / "two.csv")
    assert run(registry[0], "--out", tmp_path / "t", *readers).exit_code == 0
    page = (tmp_path / "t" / "cohort.html").read_text(encoding="utf-8")
    assert "1.00 (1.00 to 1.00)" in page
    assert "ICC(2,1)" in page
    assert "Two readers were compared" in (tmp_path / "t" / "methods.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--by", "colour"), "Expected --records"),
        (("--records", "nothing.csv"), "Expected a file"),
        (("--reader", "pyproject.toml"), "Expected two files"),
    ],
)
def test_usage_is_one_sentence(
    registry: tuple[Path, Path], tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    found = run(registry[0], "--out", tmp_path / "t", *arguments)
    assert found.exit_code == 2
    assert sentence in found.output
