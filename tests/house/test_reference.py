"""What pages take from code and figures: written anew it is what stands there, and it misses nothing."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from angio_pipeline.cli.schema import DocumentKind
from angio_pipeline.config import PipelineConfig
from reference import commands, outputs, redcap, settings
from reference.values import unit_of

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
WRITER = ROOT / "scripts" / "write_reference.py"


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_section_that_a_script_writes_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(WRITER), "--check"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_section_that_is_stale_is_named(tmp_path: Path) -> None:
    # The writer looks beside itself: a copy of what it needs stands for the project, with one page changed.
    for name in ("docs", "benchmarks", "models", "scripts", "src", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "docs").unlink()
    (tmp_path / "docs").mkdir()
    for path in (*DOCS.glob("*.md"), *DOCS.glob("*.csv"), *DOCS.glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        (tmp_path / "docs" / path.name).write_text(text.replace("## angio status", "## angio stands"), "utf-8")
    (tmp_path / "scripts").unlink()
    (tmp_path / "scripts").mkdir()
    for path in (ROOT / "scripts").rglob("*.py"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, str(tmp_path / "scripts" / "write_reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("docs/commands.md is not up to date")
    assert "## angio stands" in (tmp_path / "docs" / "commands.md").read_text("utf-8")  # nothing was written


def test_the_page_of_commands_tells_every_option() -> None:
    page = text_of("commands.md")
    for name, command in commands.commands():
        section = page.split(f"## {name}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert f"`{parameter.opts[0]}`" in section, f"{name} {parameter.opts[0]}"


def test_the_page_of_settings_tells_every_setting() -> None:
    page = text_of("settings.md")
    for path, group in settings.groups(PipelineConfig()):
        section = page.split(f"# [{path}]\n")[1].split("\n## ")[0] if path else ""
        for name in type(group).model_fields if path else ():
            assert f"| `{name}` |" in section or f"[{path}.{name}]" in page, f"{path}.{name}"


@pytest.mark.parametrize("name", outputs.TABLES)
def test_every_column_is_explained_and_nothing_else(name: str) -> None:
    columns, told = outputs.TABLES[name][0], outputs.words()
    assert [one for one in columns if not outputs.word_of(name, one, told)] == []
    assert set(told.get(name, {})) <= set(columns)


def test_words_are_given_for_tables_that_exist() -> None:
    assert set(outputs.words()) - {"all"} <= set(outputs.TABLES)


@pytest.mark.parametrize(
    ("name", "unit"),
    [("half_life_low_days", "days"), ("iodine_mg_high", "mg"), ("viable_product_mm2_tissue", "mm²"),
     ("time_to_peak_s_before", "s"), ("velocity_low_mm_s", "mm/s"), ("date", ""), ("class", ""), ("rows", "")],
)  # fmt: skip
def test_units_come_from_names(name: str, unit: str) -> None:
    assert unit_of(name) == unit


def test_every_document_is_explained_and_has_a_schema_that_is_printed() -> None:
    assert {one.value for one in DocumentKind} == set(outputs.DOCUMENTS)
    page = text_of("outputs.md")
    for kind, file in outputs.DOCUMENTS.items():
        section = page.split(f"\n### {file}\n")[1].split("\n### ")[0]
        for name in outputs.json_schema(kind)["properties"]:
            assert f"| `{name}` |" in section, f"{file} {name}"


@pytest.mark.slow
def test_every_field_of_every_document_is_explained() -> None:
    assert outputs.unexplained() == []


def test_words_of_fields_are_given_for_fields_that_exist() -> None:
    held: dict[str, set[str]] = {}
    for kind in outputs.DOCUMENTS:
        for owner, schema in outputs.objects(kind).items():
            held[owner] = held.get(owner, set()) | set(schema["properties"])
    held["all"] = set().union(*held.values())
    told = outputs.field_words()
    assert [f"{owner}.{name}" for owner, words in told.items() for name in set(words) - held.get(owner, set())] == []


def dictionary() -> list[dict[str, str]]:
    with (DOCS / "redcap-dictionary.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_redcap_dictionary_is_one_that_redcap_takes() -> None:
    rows = dictionary()
    names = [row["Variable / Field Name"] for row in rows]
    assert tuple(rows[0]) == redcap.HEADINGS
    assert names[0] == "subject"  # the first variable is the record's id
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z][a-z0-9_]{0,99}", name)] == []
    assert {row["Field Type"] for row in rows} <= {"text", "radio", "yesno", "truefalse"}
    assert {row["Text Validation Type OR Show Slider Number"] for row in rows} <= {"", "number", "integer"}
    assert [row for row in rows if not row["Field Label"]] == []


def test_forms_of_the_dictionary_follow_each_other_and_hold_every_column() -> None:
    rows = dictionary()
    forms = [row["Form Name"] for row in rows]
    assert [form for k, form in enumerate(forms) if k == 0 or forms[k - 1] != form] == list(redcap.FORMS)
    for form, (table, _) in redcap.FORMS.items():
        annotated = {row["Field Annotation"].removeprefix("column ") for row in rows if row["Form Name"] == form}
        assert annotated | {"subject"} == set(outputs.TABLES[table][0])


def test_choices_of_the_dictionary_have_codes_of_their_own() -> None:
    for row in dictionary():
        choices = row["Choices, Calculations, OR Slider Labels"]
        assert bool(choices) == (row["Field Type"] == "radio")
        codes = [one.split(",")[0].strip() for one in choices.split("|")] if choices else []
        assert len(set(codes)) == len(codes)
        assert all(re.fullmatch(r"[A-Za-z0-9._]+", code) for code in codes), row


def written(folder: Path, name: str, **columns: str) -> None:
    folder.mkdir(exist_ok=True)
    every = list(outputs.TABLES[name][0])
    with (folder / f"{name}.csv").open("a", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, every, restval="")
        if stream.tell() == 0:
            writer.writeheader()
        writer.writerow(columns)


@pytest.mark.slow
def test_results_become_a_file_that_fits_the_dictionary(tmp_path: Path) -> None:
    results, tables, out = tmp_path / "results", tmp_path / "tables", tmp_path / "redcap.csv"
    written(tables, "cohort", subject="P1", arm="a", state="no images", recorded="true", event="0")
    for day in ("20240301", "20240401"):
        written(results, "lesions", subject="P1", lesion="L1", date=day, holds_oil="false", outline="fitted")
    written(results, "lipiodol", subject="P1", lesion="L1", date="20240301", iodine_mg="12.5")
    command = [sys.executable, str(ROOT / "scripts" / "redcap_import.py"), str(results), str(tables), "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with out.open(encoding="utf-8", newline="") as stream:
        patient, first, second, oil = csv.DictReader(stream)
    assert (patient["state"], patient["recorded"], patient["event"]) == ("no_images", "1", "0")
    repeats = [(one["redcap_repeat_instrument"], one["redcap_repeat_instance"]) for one in (first, second, oil)]
    assert repeats == [("lesion", "1"), ("lesion", "2"), ("oil", "1")]
    assert patient["redcap_repeat_instrument"] == ""
    assert (second["subject"], second["lesion_name"], second["lesion_date"]) == ("P1", "L1", "20240401")
    assert (second["lesion_holds_oil"], second["lesion_outline"]) == ("0", "fitted")
    assert oil["oil_iodine_mg"] == "12.5"
    known = {row["Variable / Field Name"] for row in dictionary()}
    assert set(patient) == known | {"redcap_repeat_instrument", "redcap_repeat_instance"}


@pytest.mark.slow
def test_without_patients_no_file_is_written_for_redcap(tmp_path: Path) -> None:
    results, tables, out = tmp_path / "results", tmp_path / "tables", tmp_path / "redcap.csv"
    written(results, "lipiodol", subject="P1", lesion="L1", date="20240301", iodine_mg="12.5")
    command = [sys.executable, str(ROOT / "scripts" / "redcap_import.py"), str(results), str(tables), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stdout.startswith("Expected cohort.csv in ")
    assert not out.exists()
