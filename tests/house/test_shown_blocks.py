"""What pages show beside commands of `angio`: settings that the program reads, scripts with options that they have."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from angio_pipeline.config import load_config
from angio_pipeline.ingest.deidentification.profile import read_profile
from angio_pipeline.ingest.record_mapping import read_agents, read_mapping
from angio_pipeline.pacs.settings import load_settings
from angio_pipeline.simulate import load_preset

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
# What a file of settings on each page is for.
READ: dict[str, Callable[[Path], Any]] = {
    "agents.md": read_agents,
    "cohort.md": read_mapping,
    "deidentify.md": read_profile,
    "gpu.md": lambda file: load_config(str(file)),
    "guide.md": lambda file: load_config(str(file)),
    "pacs.md": load_settings,
    "settings.md": lambda file: load_config(str(file)),
    "simulator-settings.md": lambda file: load_preset(str(file)),
}


def blocks_of_settings(page: Path) -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_it_is_known_what_every_block_of_settings_is_for() -> None:
    assert {page.name for page in PAGES if blocks_of_settings(page)} == set(READ)


@pytest.mark.parametrize("name", READ)
def test_settings_that_a_page_shows_are_read(name: str, tmp_path: Path) -> None:
    # Blocks of a page are parts of one file: what follows adds to what stands above.
    file = tmp_path / "shown.toml"
    file.write_text("\n".join(blocks_of_settings(ROOT / "docs" / name)), encoding="utf-8")
    READ[name](file)


def calls_of_scripts(page: Path) -> list[tuple[str, str]]:
    """Each script of the project that a block of code or a sentence calls, with what follows on the line."""
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    return re.findall(r"\bpython ((?:scripts|benchmarks)/\w+\.py)([^`\n]*)", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_scripts_that_a_page_calls_have_the_options_it_gives(page: Path) -> None:
    for script, rest in calls_of_scripts(page):
        source = (ROOT / script).read_text(encoding="utf-8")
        assert [one for one in re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest) if f'"{one}"' not in source] == [], script


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_lines_of_python_that_a_page_shows_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANGIO_PSEUDONYM_KEY_FILE", str(tmp_path / "key"))
    for line in re.findall(r'\bpython -c "([^"]*)"', page.read_text(encoding="utf-8")):
        exec(compile(line, page.name, "exec"), {})


def test_some_page_calls_a_script_with_an_option() -> None:
    assert ("benchmarks/all.py", " --quick") in calls_of_scripts(ROOT / "docs" / "performance.md")
