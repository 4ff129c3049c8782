"""What the documents say is there: commands, options, files, links, rooms and reason codes."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from angio_pipeline.cli.main import app
from angio_pipeline.core import errors

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "angio_pipeline"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "models" / "README.md"])
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def every_command() -> dict[str, Any]:
    """Each command by its words after `angio`, groups and what they hold."""
    outer = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a typer app with commands is a group
    groups = {name: group.commands for name, group in outer.items() if hasattr(group, "commands")}
    return {**outer, **{f"{name} {one}": held for name, group in groups.items() for one, held in group.items()}}


COMMANDS = every_command()


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


def named_commands(page: Path) -> Iterator[tuple[str, str]]:
    """Each command that the code of a page names, with what follows it on the line."""
    code = re.sub(r"\\\n\s*", " ", code_of(page))
    for words, rest in re.findall(r"\bangio ((?:[a-z]+ ?)+)(?![\w.-])([^`\n]*)", code):
        first, *others = words.split()
        whole = f"{first} {others[0]}" if others else first
        name = whole if whole in COMMANDS else first
        yield name, words.removeprefix(name) + rest


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    assert {name for name, _ in named_commands(page)} <= set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_option_beside_a_command_exists(page: Path) -> None:
    for name, rest in named_commands(page):
        inner = [one for full, one in COMMANDS.items() if full == name or full.startswith(f"{name} ")]
        known = {o for one in inner for parameter in one.params for o in (*parameter.opts, *parameter.secondary_opts)}
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest)) <= known | {"--help"}, name


def whole_commands(page: Path) -> list[str]:
    """Lines of blocks of code that are a command and nothing else; what words follow it after a gap are cut off."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in re.sub(r"\\\n\s*", " ", block).splitlines()]
    calls = [line.strip() for line in lines if re.match(r"\s*(\.venv/bin/)?angio [a-z]", line)]
    found = [re.split(r"\s{3,}|\s#", line)[0] for line in calls]
    # A name alone, as in a list of commands, is no call.
    return [line.removeprefix(".venv/bin/") for line in found if " -" in line and not re.search(r"[…|\[\]<>;&]", line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_whole_command_of_a_page_is_understood(page: Path) -> None:
    for line in whole_commands(page):
        words = shlex.split(line.replace("...", ""))[1:]
        name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
        assert misunderstood(name, words[len(name.split()) :]) == "", line


def misunderstood(name: str, words: list[str]) -> str:
    """What is unknown, missing or of another kind; nothing is run, and files need not be there."""
    try:
        COMMANDS[name].make_context(name, words).close()
    except Exception as error:
        return "" if "does not exist" in str(error) else f"{type(error).__name__}: {error}"
    return ""


def test_a_command_that_is_not_understood_is_noticed() -> None:
    assert "issing" in misunderstood("run", ["exports"])
    assert "--outt" in misunderstood("run", ["exports", "--out", "out", "--outt", "x"])
    assert misunderstood("run", ["exports", "--out", "out", "--workers", "many"]) != ""
    assert misunderstood("run", ["exports", "--out", "out", "--workers", "2"]) == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_page_names_a_folder_of_one_machine_or_where_packages_come_from(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert (
        re.findall(r"(?<![\w.])/(?:home|root|Users|work|mnt)/\S*|pypi\.org|npmjs|pythonhosted|conda-forge", text) == []
    )


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


CODE = re.compile(r"[a-z]+(_[a-z]+)*")
REFUSERS = {"Refusal", "RunsNotCompared", "refuse", "_refuse", "fail_task", "give_up"}


def code_in(node: ast.expr) -> set[str]:
    """The codes that an expression can be."""
    found = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return {text for text in found if CODE.fullmatch(text)}


def name_of(node: ast.expr) -> str:
    return getattr(node, "id", getattr(node, "attr", ""))


def reasons_of_call(call: ast.Call) -> set[str]:
    """What a call gives as `reason`, or as the positional argument of those that refuse."""
    codes = {code for word in call.keywords if word.arg == "reason" for code in code_in(word.value)}
    if name_of(call.func) in REFUSERS:
        codes |= {
            code for argument in call.args[1:] if isinstance(argument, ast.Constant) for code in code_in(argument)
        }
    return codes


def reasons_of_rows(node: ast.AST) -> set[str]:
    """Codes that stand beside the sentence they mean: in a tuple (what, code, sentence), in a table of sentences."""
    pairs: list[tuple[ast.expr | None, ast.expr]] = []
    if isinstance(node, ast.Tuple) and len(node.elts) == 3:
        pairs = [(node.elts[1], node.elts[2])]
    if isinstance(node, ast.Dict):
        pairs = list(zip(node.keys, node.values, strict=True))
    told = [
        code for code, sentence in pairs if code is not None and str(getattr(sentence, "value", "")).startswith("Expec")
    ]
    return {code for one in told for code in code_in(one)}


def raised_reasons() -> set[str]:
    """Every code that the source can give; an error class gives its own where it is made without another."""
    nodes = [n for path in PACKAGE.rglob("*.py") for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    calls = [n for n in nodes if isinstance(n, ast.Call)]
    bare = {name_of(c.func) for c in calls if not any(word.arg == "reason" for word in c.keywords)}
    own = {name: kind.reason for name, kind in vars(errors).items() if isinstance(kind, type) and name in bare}
    return set(own.values()).union(*(reasons_of_call(c) for c in calls), *(reasons_of_rows(n) for n in nodes))


@pytest.mark.slow
def test_the_reasons_explained_are_those_that_can_be_given() -> None:
    text = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    table = text.split("## What was refused")[1].split("\n## ")[0]
    explained = re.findall(r"^\| (`.+`) \|", table, re.M)
    assert set(re.findall(r"`([a-z_]+)`", " ".join(explained))) == raised_reasons()


def test_every_error_has_a_user() -> None:
    source = "\n".join(p.read_text(encoding="utf-8") for p in PACKAGE.rglob("*.py") if p.name != "errors.py")
    assert [name for name in errors.__all__ if not re.search(rf"\b{name}\(", source)] == []


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "adr"
    listed = set(re.findall(r"\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8")))
    assert listed == {p.name for p in folder.glob("[0-9]*.md")}
