"""What MkDocs does not do by itself for the documentation site; named under `hooks` in mkdocs.yml.

Pages of the project that do not lie in docs/ (contributing, changes, model cards) are taken into the site, links that
lead out of docs/ are turned to them or lose their target, and equations become MathML, so that no script draws them.
"""

from __future__ import annotations

import html
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from angio_pipeline.networks.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(\[(?:[^\]\[]|\[[^\]]*\])*\])\(([^)\s#]+)(#[^)\s]*)?\)")
_BLOCK = re.compile(r"(^```.*?^```[^\n]*$)", re.DOTALL | re.MULTILINE)
_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Return the settings with every decision and every model card in the navigation."""
    decisions = sorted(f"adr/{path.name}" for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
    cards = [{entry.name: f"models/{entry.card}"} for entry in read_manifest()]
    _section(config.nav or [], "Decisions").extend(decisions)
    _section(config.nav or [], "Model cards").extend(cards)
    return config


def _section(entries: list[Any], title: str) -> list[Any]:
    # The list of pages under a heading of the navigation, at whatever depth.
    for entry in entries:
        for name, inner in entry.items() if isinstance(entry, dict) else ():
            if isinstance(inner, list):
                if name == title:
                    return inner
                if found := _section(inner, title):
                    return found
    return []


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the site's files with those of the project that lie elsewhere."""
    for name in outside_files():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def outside_files() -> Iterator[str]:
    """Yield the files outside docs/ that the site shows, by their place in the project."""
    yield from ("CONTRIBUTING.md", "CHANGELOG.md")
    for entry in read_manifest():
        yield f"models/{entry.card}"
        yield f"models/{entry.card.removesuffix('.md')}-training.png"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page's text with links that hold in the site."""
    uri = page.file.src_uri
    if page.parent is None:  # a tab of its own has nothing beside it to go to
        page.meta["hide"] = ["navigation"]
    place = uri if uri in set(outside_files()) else f"docs/{uri}"
    blocks = _BLOCK.split(markdown)  # every other one is code
    blocks[::2] = [_LINK.sub(lambda link: _turned(link, place, uri, files), text) for text in blocks[::2]]
    return "".join(blocks)


def _turned(link: re.Match[str], place: str, uri: str, files: Files) -> str:
    words, target, anchor = link[1], link[2], link[3] or ""
    if "://" in target or target.startswith("mailto:"):
        return link[0]
    named = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
    inside = named.removeprefix("docs/")
    if files.get_file_from_path(inside) is not None:
        return f"{words}({os.path.relpath(inside, posixpath.dirname(uri) or '.')}{anchor})"
    # A file of the project that the site does not show keeps its words; what exists nowhere stays, and fails.
    return words[1:-1] if (ROOT / named).exists() else link[0]


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page's HTML with its equations as MathML."""
    return _EQUATION.sub(lambda found: mathml(html.unescape(found[3]), block=found[2] == "["), content)


def mathml(latex: str, *, block: bool) -> str:
    """Return an equation as MathML."""
    return convert(latex.strip(), display="block" if block else "inline")
