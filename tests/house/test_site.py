"""The documentation site: it builds without a warning, asks no other host for anything, shows what its pages say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from mkdocs import utils

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
# What makes a browser fetch something at once; a link that a reader has to follow does not.
_FETCHED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src"),
            ("audio", "src"), ("object", "data"), ("embed", "src"), ("use", "href"), ("image", "href")}  # fmt: skip
_ELSEWHERE = re.compile(r"^\s*(?:[a-z]+:)?//", re.I)


def build(config: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(target)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "default"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("documentation") / "site"
    done = build(ROOT / "mkdocs.yml", target)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, str]:
    found = {path.relative_to(site).as_posix(): path.read_text("utf-8") for path in site.rglob("*.html")}
    assert len(found) > 80
    return found


class Fetches(HTMLParser):
    """What a page makes a browser fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (tag, name.removeprefix("xlink:")) in _FETCHED:
                self.found.append(value)
            if value and name == "srcset":
                self.found += [part.split()[0] for part in value.split(",")]
            if value and name == "style":
                self.found += urls_of(value)


def urls_of(style: str) -> list[str]:
    """What a style sheet makes a browser fetch."""
    bare = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    return re.findall(r"url\(\s*['\"]?([^'\")]+)", bare) + re.findall(r"@import\s+['\"]([^'\"]+)", bare)


def fetches(text: str) -> list[str]:
    """What a page, its style included, makes a browser fetch."""
    styles = re.findall(r"<style.*?</style>", text, re.DOTALL)
    return Fetches(text).found + [url for style in styles for url in urls_of(style)]


def test_no_page_fetches_anything_from_another_host(pages: dict[str, str]) -> None:
    every = {name: fetches(text) for name, text in pages.items()}
    assert all(len(one) > 2 for one in every.values())
    assert {name: url for name, one in every.items() for url in one if _ELSEWHERE.match(url)} == {}


def test_no_style_sheet_fetches_anything_from_another_host(site: Path) -> None:
    sheets = list(site.rglob("*.css"))
    assert len(sheets) > 1
    assert {p.name: u for p in sheets for u in urls_of(p.read_text("utf-8")) if _ELSEWHERE.match(u)} == {}


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example.org/a.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.org/css">',
        '<img srcset="a.png 1x, http://example.org/b.png 2x">',
        "<style>@font-face { src: url('https://example.org/f.woff2') }</style>",
        "<style>@import 'https://example.org/a.css';</style>",
    ],
)
def test_what_comes_from_another_host_is_noticed(text: str) -> None:
    assert [url for url in fetches(text) if _ELSEWHERE.match(url)]


def test_whatever_a_page_fetches_is_there(site: Path, pages: dict[str, str]) -> None:
    missing = [
        f"{name}: {url}"
        for name, text in pages.items()
        if name != "404.html"  # shown under any address, so that its own are absolute
        for url in fetches(text)
        if not url.startswith(("data:", "#")) and not (site / name).parent.joinpath(url.split("?")[0]).exists()
    ]
    assert missing == []


def test_equations_are_mathml_with_nothing_left_of_latex(pages: dict[str, str]) -> None:
    equations = [one for text in pages.values() for one in re.findall(r"<math.*?</math>", text, re.DOTALL)]
    assert len(equations) > 80
    assert [one for one in equations if "\\" in one] == []
    assert [name for name, text in pages.items() if "arithmatex" in text] == []


def test_every_equation_of_a_page_is_on_the_site(pages: dict[str, str]) -> None:
    for path in ROOT.glob("docs/*.md"):
        written = len(re.findall(r"\$\$.+?\$\$", path.read_text("utf-8"), re.DOTALL))
        shown = pages[f"{path.stem}.html"].count('display="block"')
        assert shown == written, path.name


def paragraphs(text: str) -> Iterator[str]:
    yield from re.findall(r"<p>(.*?)</p>", text, re.DOTALL)


def test_lists_tables_and_code_are_what_they_look_like(pages: dict[str, str]) -> None:
    spoilt = [
        f"{name}: {one[:80]}"
        for name, text in pages.items()
        for one in paragraphs(text)
        if re.search(r"\n *(?:[-*] |\d+\. |\|)|```", one)
    ]
    assert spoilt == []


def small_site(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    """A site of one page under the rules of the real one."""
    rules = utils.yaml_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    rules |= {"docs_dir": str(tmp_path / "docs"), "nav": [{"Start": "index.md"}], "extra_css": [], "plugins": []}
    rules |= {"hooks": [str(ROOT / "scripts" / "site_hooks.py")], "theme": {"name": "mkdocs"}, "extra": {}}
    # Cards and decisions are of the real site alone.
    rules["validation"]["nav"] = {"omitted_files": "ignore"}
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(text, encoding="utf-8")
    config = tmp_path / "mkdocs.yml"
    config.write_text(json.dumps(rules), encoding="utf-8")  # which YAML holds
    return build(config, tmp_path / "site")


def test_a_page_with_good_links_is_built(tmp_path: Path) -> None:
    done = small_site(tmp_path, "# Start\n\n## Here\n\n[there](#here), [code](../src/angio_pipeline/cli/run.py)\n")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert 'href="#here"' in shown
    assert "run.py" not in shown  # a file that the site does not show keeps its words alone


@pytest.mark.parametrize("link", ["#nowhere", "nowhere.md", "../src/nowhere.py", "index.md#nowhere", "/index.md"])
def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path, link: str) -> None:
    done = small_site(tmp_path, f"# Start\n\n[there]({link})\n")
    assert done.returncode != 0


def browser() -> str:
    found = shutil.which("chromium")
    if found is None:
        tell = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        tell("chromium is not installed")
    return str(found)


def test_pages_opened_from_disk_ask_no_host_and_can_be_searched(site: Path, tmp_path: Path) -> None:
    chromium = browser()
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    asked: list[str] = []
    with sync_playwright() as player:
        context = player.chromium.launch_persistent_context(
            str(tmp_path), executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        page = context.pages[0]
        page.on("request", lambda request: asked.append(request.url))
        for name in ("index.html", "lipiodol.html", "commands.html", "models/run.html"):
            page.goto((site / name).as_uri())
            page.wait_for_load_state("networkidle")
        page.goto((site / "index.html").as_uri())
        page.get_by_placeholder("Search").click()
        page.get_by_placeholder("Search").press_sequentially("half-life")
        page.locator(".md-search-result__link").first.wait_for(timeout=20_000)
        context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert len(asked) > 10
