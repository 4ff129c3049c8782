"""Figures asked and measured: what is missed is marked, whatever the reason."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def figures() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import reference.figures as module

        yield module
    for name in ("feeders", "lipiodol_tables", "lipiodol_speed", "pages", "feeder_pictures", "reference.figures"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("value", "low", "high", "asked", "reached"),
    [
        (0.91, 0.9, None, "≥ 0.9", "yes"),
        (0.89, 0.9, None, "≥ 0.9", "**missed**"),
        (0.04, None, 0.05, "≤ 0.05", "yes"),
        (0.06, None, 0.05, "≤ 0.05", "**missed**"),
        (0.99, 0.9, 0.98, "0.9 to 0.98", "**missed**"),
        (None, 0.9, None, "≥ 0.9", "**no answer**"),
        (float("nan"), None, 0.05, "≤ 0.05", "**missed**"),
        (0.5, None, None, "–", "–"),
    ],
)
def test_a_figure_is_marked(
    figures: Any, value: float | None, low: float | None, high: float | None, asked: str, reached: str
) -> None:
    one = figures.Figure("what", value, low, high)
    assert (one.asked, one.reached) == (asked, reached)


@pytest.mark.slow
def test_the_count_at_the_head_is_that_of_the_marks(figures: Any) -> None:
    for section in (figures.accuracy(), figures.performance()):
        head = section.split("\n")[0]
        reached, missed = section.count("| yes |"), section.count("| **missed** |") + section.count("| **no answer** |")
        asked = f"Of {reached + missed} figures that were asked for"
        assert head.startswith(f"{asked}, {reached} are reached and {missed} are missed.")


def test_every_group_names_a_page_and_a_benchmark_that_exist(figures: Any) -> None:
    for group in figures._ACCURACY + figures._PERFORMANCE:
        page = group.page.split("#")[0] or "accuracy.md"
        assert (ROOT / "docs" / page).is_file(), group.title
        assert (ROOT / "benchmarks" / f"{group.file}.py").is_file(), group.title


def test_figures_that_are_stored_otherwise_are_named(figures: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    group = figures._ACCURACY[0]
    monkeypatch.setattr(figures, "figures_of", lambda _: {})
    with pytest.raises(ValueError, match=r"Expected benchmarks/feeders\.json to hold .* change scripts/reference"):
        figures.told(group)


def test_figures_that_are_not_stored_are_said_to_be_missing(
    figures: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    section = figures.performance()
    assert "Nothing is stored: `benchmarks/decode.json`" in section
    titles = ", ".join(group.title for group in figures._PERFORMANCE)
    assert section.startswith("Of 0 figures that were asked for")
    assert section.split("\n")[0].endswith(f"Not counted, as nothing is stored of them: {titles}.")
