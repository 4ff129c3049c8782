"""What the documents say is there: commands, options, files, links, rooms and reason codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from angio_pipeline.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "angio_pipeline"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "models" / "README.md"])
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docs" / "index.md", ROOT / "docs" / "architecture.md"]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a typer app with commands is a group


def code_of(page: Path) -> str:
    """The fenced blocks and inline code of a page."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", page.read_text(encoding="utf-8"), flags=re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_heading_linked_within_a_page_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    headings = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.+)$", text, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


@pytest.mark.parametrize("page", GUIDES, ids=lambda p: p.name)
def test_every_command_that_a_guide_names_exists(page: Path) -> None:
    named = set(re.findall(r"\bangio ([a-z]+)\b", code_of(page)))
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("page", GUIDES, ids=lambda p: p.name)
def test_every_option_beside_a_command_exists(page: Path) -> None:
    for name, rest in re.findall(r"\bangio ([a-z]+)\b([^`\n]*)", code_of(page)):
        known = {
            option for parameter in COMMANDS[name].params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        assert set(re.findall(r"--[a-z-]+", rest)) <= known | {"--help"}


@pytest.mark.parametrize("page", GUIDES, ids=lambda p: p.name)
def test_every_file_of_the_project_that_a_guide_names_exists(page: Path) -> None:
    named = re.findall(r"(?<![\w./<])((?:scripts|docs|configs|models|data|tests|\.ci)/[\w./-]*\w)", code_of(page))
    assert not [name for name in named if not (ROOT / name).exists()]


def test_the_architecture_names_every_room_and_no_other() -> None:
    tree = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    named = set(re.findall(r"^  (\w+(?:/|\.py)) ", tree, re.M))
    rooms = {f"{p.name}/" for p in PACKAGE.iterdir() if p.is_dir() and list(p.glob("*.py"))}
    modules = {p.name for p in PACKAGE.glob("*.py") if not p.name.startswith("_")}
    assert named == rooms | modules


def test_every_reason_for_refusing_is_explained() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    used = set(re.findall(r"\breason ?= ?\"([a-z_]+)\"", source))
    used |= set(re.findall(r"(?:Refusal|refuse)\([^\n]*?, \"([a-z_]+)\"", source))
    explained = re.findall(r"^\| (`.+`) \|", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"), re.M)
    assert used == set(re.findall(r"`([a-z_]+)`", " ".join(explained)))


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "adr"
    listed = set(re.findall(r"\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8")))
    assert listed == {p.name for p in folder.glob("[0-9]*.md")}
