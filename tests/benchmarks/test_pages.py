"""Each script owns its section of a page, and what stands there is what its figures say."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = {
    "cases": 2,
    "runs": 3,
    "runs_without_result": 1,
    "metrics": {
        "vessels": {"dice": {"value": 0.5, "interval": [0.25, 0.75], "count": 3}},
        "shunts": {"sensitivity": {"value": None, "interval": None, "count": 0}},
    },
    "per_run": [{"feeders_true": 2, "feeders_listed_right": 1, "feeders_found": 0}] * 3,
}
COST = {
    "preset": "clinical",
    "measured_with": "0, commit 1",
    "machine": "1 core",
    "patient": {
        "runs": [[512, 20], [512, 16]],
        "run_s": [4.21, 3.0],
        "patient_s": 40.0,
        "peak_gb": 1.5,
        "films": {"DX": 1, "XA": 2},
        "scans": 4,
    },
    "workers": [{"workers": 1, "cases": 4, "wall_s": 100.0}, {"workers": 2, "cases": 4, "wall_s": 52.0}],
}


def script(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    return script("pages")


PAGE = """a
<!-- one: written by x.py -->
old
<!-- end of one -->
b
<!-- two: written by y.py -->
<!-- end of two -->
"""


def test_a_section_is_replaced_and_nothing_else(pages: ModuleType) -> None:
    once = pages.with_section(PAGE, "one", "x.py", r"new \1 text")
    assert once == PAGE.replace("old", r"new \1 text")
    assert pages.with_section(once, "one", "x.py", r"new \1 text") == once


def test_an_empty_section_can_be_filled(pages: ModuleType) -> None:
    assert "\n<!-- two: written by y.py -->\nfull\n<!-- end of two -->\n" in pages.with_section(
        PAGE, "two", "y.py", "full"
    )


@pytest.mark.parametrize(("name", "owner"), [("three", "x.py"), ("one", "y.py")])
def test_a_script_does_not_write_where_it_owns_nothing(pages: ModuleType, name: str, owner: str) -> None:
    with pytest.raises(ValueError, match="once and in this order"):
        pages.with_section(PAGE, name, owner, "text")


def test_a_table_of_accuracy_has_a_dash_for_what_is_unknown(pages: ModuleType) -> None:
    table = pages.accuracy_table(DOCUMENT)
    assert "| vessels | dice | 0.500 | 0.250 to 0.750 | 3 |" in table
    assert "| shunts | sensitivity | – | – | 0 |" in table
    assert pages.feeder_words(DOCUMENT).startswith("Of 6 true feeders 3 are listed, 0 of them")


def test_the_section_of_new_patients_says_who_they_are() -> None:
    clinical = script("clinical")
    patients = {"cases": 2, "seed": 5, "preset": "hard"}
    text = clinical.section({"patients": patients, "measured_with": "0, commit 1", "evaluation": DOCUMENT})
    assert "2 simulated, preset `hard`, seed 5" in text
    assert "3 runs, 1 of them without a result" in text


def test_the_table_of_costs_says_what_was_made() -> None:
    text = script("simulator").section(COST)
    assert "| run of 512² × 20 frames, one core | 4.2 s |" in text
    assert "(2 runs; radiographs: 1 DX, 2 XA; 4 CT series), one core | 40.0 s |" in text
    assert "`--workers 2` | 52 s (1.92 ×) |" in text


@pytest.mark.parametrize(
    ("name", "page", "section"),
    [
        ("clinical", "accuracy.md", "clinical"),
        ("feeders", "accuracy.md", "feeders"),
        ("simulator", "simulator.md", "cost"),
        ("pacs", "pacs.md", "throughput"),
        ("dsa", "subtraction.md", "figures"),
        ("flow", "flow.md", "figures"),
        ("registration", "registration.md", "figures"),
        ("networks", "networks.md", "networks"),
        ("segmentation", "networks.md", "segmentation"),
        ("decode", "hostile-input.md", "parallel decode"),
        ("graph", "graph.md", "graph"),
        ("lipiodol_peers", "lipiodol.md", "lipiodol peers"),
    ],
)
def test_the_page_holds_what_the_figures_say(pages: ModuleType, name: str, page: str, section: str) -> None:
    figures = ROOT / "benchmarks" / f"{name}.json"
    if not figures.is_file():
        pytest.skip(f"not measured yet: run benchmarks/{name}.py")
    module = script(name)
    told: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert pages.with_section(text, section, module.SCRIPT, module.section(told)) == text, f"run benchmarks/{name}.py"


def test_a_competitor_that_is_not_there_is_named_and_not_counted() -> None:
    dsa = script("dsa")
    row = {
        "error_px": 1.0,
        "shift_error_px": 1.0,
        "cnr": 5.0,
        "contrast_kept": 1.0,
        "seconds_a_frame": 0.1,
        "peak_mb": 9.0,
        "added_mb": 1.0,
    }
    lines = dsa.table({"there": row, "gone": "not installed (pystackreg)"}, row, "shift").splitlines()
    assert lines[-1].startswith("| gone | not installed (pystackreg) |")
    assert "100.0 %" in lines[-2]
