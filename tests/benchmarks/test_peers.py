"""One table of every stage beside its peers: it follows from stored figures, and the plan names what is there."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Peers that each stage has to be measured beside, by a word of their name.
ASKED = {
    "decode": ("pydicom", "gdcm", "SimpleITK"),
    "dsa": ("OpenCV", "SimpleITK", "scikit-image", "pystackreg"),
    "segmentation": ("scikit-image", "SimpleITK", "MONAI"),
    "graph": ("skan", "sknw"),
    "registration": ("SimpleITK", "dipy"),
    "lipiodol_peers": ("75 HU", "160 HU", "215 HU", "multi-Otsu"),
}


def script(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def peers() -> Any:
    return script("peers")


@pytest.fixture(scope="module")
def plan() -> Any:
    return script("all")


@pytest.mark.parametrize("stage", ASKED)
def test_every_peer_that_was_asked_for_is_measured(peers: Any, stage: str) -> None:
    rows = list(peers.STAGES[stage](peers.stored(stage)))
    for word in ASKED[stage]:
        found = [row for row in rows if word in row.peer]
        assert found, word
        assert all(row.time_ratio > 0 and row.memory_peer_mb >= 0 for row in found)


def test_the_stored_table_follows_from_the_stored_figures(peers: Any) -> None:
    rows, missing = peers.collected()
    stored = json.loads((ROOT / "benchmarks" / "peers.json").read_text(encoding="utf-8"))
    assert stored["not_measured"] == missing == []
    assert [{name: one[name] for name in asdict(row)} for row, one in zip(rows, stored["rows"], strict=True)] == [
        asdict(row) for row in rows
    ]
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert script("pages").with_section(page, "peers", peers.SCRIPT, peers.section(stored)) == page


def test_twice_as_fast_and_half_as_fast_cancel(peers: Any) -> None:
    assert peers._mean_ratio([2.0, 0.5]) == pytest.approx(1.0)


def test_a_ratio_without_an_error_or_a_memory_is_unknown(peers: Any) -> None:
    row = peers.Beside("stage", "peer", 0.5, "", None, None, 10.0, 0.0)
    assert row.error_ratio is None
    assert row.memory_ratio is None
    assert peers.Beside("stage", "peer", 0.5, "px", 0.1, 0.4, 10.0, 5.0).error_ratio == pytest.approx(0.25)


def test_the_plan_names_benchmarks_that_are_there_and_holds_every_stage_with_peers(plan: Any, peers: Any) -> None:
    assert [name for name in plan.PLAN if not (ROOT / "benchmarks" / f"{name}.py").is_file()] == []
    assert set(peers.STAGES) <= set(plan.QUICK) <= set(plan.PLAN)


def test_a_quick_pass_gives_options_that_the_benchmarks_have(plan: Any) -> None:
    for name, words in plan.QUICK.items():
        source = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
        assert [one for one in re.findall(r"--[a-z-]+", words) if f'"{one}"' not in source] == [], name


def test_a_quick_pass_writes_into_a_copy(plan: Any, tmp_path: Path) -> None:
    place = plan.copied(tmp_path / "quick")
    assert (place / "benchmarks" / "peers.py").is_file()
    assert not (place / "benchmarks").is_symlink()
    assert not (place / "docs").is_symlink()
    assert list((place / "benchmarks").glob("*.json")) == []
    assert (place / "src" / "angio_pipeline").is_dir()
