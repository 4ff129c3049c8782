"""Measure the review page as a reader meets it: time to the first picture, frames a second, a worklist of thousands.

A clinical patient is simulated before a detector of 1024 rows, one of its runs is analysed with the ridge filter and
laid out thousands of times for the worklist. A browser without a graphics card (WebGL by software, then none at all)
opens the page of the real server. Written: `benchmarks/review_page.json` and a section of `docs/review.md`.

    .venv/bin/python benchmarks/review_page.py [--cases N] [--repeats N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from pages import ROOT, angio, machine, state, write_figures, write_section

sys.path.insert(0, str(ROOT / "tests" / "scenes"))
from page_reader import PAINTERS, PageReader, chromium_with
from review_server import Browser, fill_worklist, serve, wait_for

SCRIPT = "benchmarks/review_page.py"
FIGURES = ROOT / "benchmarks" / "review_page.json"
PAGE = ROOT / "docs" / "review.md"
PRESET = ROOT / "benchmarks" / "clinical-1024.toml"
PLAYED_S = 6.0
AHEAD = "**/frames?ahead=true"
# Every frame that is really on the screen changes this attribute of the picture.
COUNT_FRAMES = """(seconds) => new Promise((resolve) => {
  const pane = document.querySelector(".pane"), begun = performance.now();
  let shown = 0;
  const watch = new MutationObserver(() => { shown += 1; });
  watch.observe(pane, {attributes: true, attributeFilter: ["data-shown"]});
  setTimeout(() => {
    watch.disconnect();
    resolve(shown / ((performance.now() - begun) / 1000));
  }, seconds * 1000);
})"""


def analyse_one(folder: Path) -> tuple[Path, Path]:
    """Return the results of one run of a simulated patient, and its source."""
    angio("simulate", str(folder / "patients"), "--cases", "1", "--seed", "44", "--preset", str(PRESET))
    run = next((folder / "patients").rglob("frontal.dcm"))
    (folder / "filter.toml").write_text('[segment]\nmethod = "filter"\n', encoding="utf-8")
    angio("run", str(run), "--out", str(folder / "one"), "--config", str(folder / "filter.toml"), "--quiet")
    return folder / "one", run


def opened_s(tab: PageReader, case: str) -> tuple[float, float, float]:
    """Return how long after the click a picture was there, the first frame, and the frame corrected for motion."""
    tab.page.goto(f"{tab.address}/#/")
    row = tab.page.locator(f"[data-case={case}]")
    row.wait_for()
    tab.page.wait_for_timeout(1500)
    begun = monotonic()
    row.click()
    tab.page.wait_for_selector("img.stored, .pane[data-shown]")
    picture_s = monotonic() - begun
    tab.page.wait_for_selector(".pane[data-shown]")
    frame_s = monotonic() - begun
    tab.page.wait_for_selector(".pane[data-shown*='/corrected/']")
    return picture_s, frame_s, monotonic() - begun


def played_per_s(tab: PageReader, case: str) -> float:
    """Return how many frames a second were shown at the highest speed, all of them in the page's memory."""
    tab.open(case)
    for _ in range(6):
        tab.page.keyboard.press(".")
    tab.page.keyboard.press(" ")
    tab.page.wait_for_timeout(6000)
    return float(tab.page.evaluate(COUNT_FRAMES, PLAYED_S))


def measure_case(out: Path, run: Path, painter: str, repeats: int) -> dict[str, Any]:
    """Return the times of one case: the first opening prepares its frames, later ones find them prepared."""
    with serve(out, "--source", run) as served, chromium_with(painter) as chromium:
        reader = served.browser("Reader 0")
        (row,) = reader.cases(kind="run")
        wait_for(lambda: reader.told(f"/cases/{row['id']}")["source"]["available"])
        tab = PageReader(chromium, served.address)
        # The page has the chosen case prepared while the reader looks at the list: not the first time here.
        tab.page.route(AHEAD, lambda route: route.abort())
        first = opened_s(tab.sign_in(), row["id"])
        again = [opened_s(tab, row["id"]) for _ in range(repeats)]
        told = reader.frames(row["id"])
        return {
            "size": f"{told['rows']} × {told['columns']} × {told['frames']}",
            "first_picture_s": first[0],
            "first_frame_s": first[1],
            "first_corrected_s": first[2],
            "again_frame_s": median(corrected for _, _, corrected in again),
            "frames_per_s": played_per_s(tab, row["id"]),
        }


def measure_worklist(out: Path, repeats: int) -> dict[str, float]:
    """Return how long thousands take to be shown, and to be scrolled to the end."""
    with serve(out) as served, chromium_with("canvas") as chromium:
        _indexed(served.browser("Reader 0"))
        tab = PageReader(chromium, served.address).sign_in()
        tab.page.wait_for_selector(".tablerow")
        shown = [_reloaded_s(tab) for _ in range(repeats)]
        begun = monotonic()
        tab.page.keyboard.press("End")
        total = int(tab.page.locator(".filters [role=status]").inner_text().split()[0])
        tab.page.wait_for_selector(f".tablerow[aria-rowindex='{total + 1}']")
        rows = tab.page.locator(".tablerow").count()
        return {"shown_s": median(shown), "worst_s": max(shown), "to_end_s": monotonic() - begun, "rows": rows}


def _indexed(reader: Browser) -> None:
    wait_for(lambda: not reader.told("/worklist", limit=1)["indexing"], within_s=1200)


def _reloaded_s(tab: PageReader) -> float:
    begun = monotonic()
    tab.page.reload()
    tab.page.wait_for_selector(".tablerow")
    return monotonic() - begun


def measure(cases: int, repeats: int) -> dict[str, Any]:
    """Return all figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out, run = analyse_one(folder)
        (document,) = out.rglob("analysis.json")
        fill_worklist(folder / "many", document.parent, cases)
        found = {painter: measure_case(out, run, painter, repeats) for painter in PAINTERS}
        return {"cases": cases, "painters": found, "worklist": measure_worklist(folder / "many", repeats)}


def section(figures: dict[str, Any]) -> str:
    """Return the section of `docs/review.md`."""
    names = {"webgl": "Cornerstone, WebGL by software", "canvas": "plain canvas"}
    rows = [
        f"| {names[painter]} | {told['first_picture_s']:.2f} | {told['first_frame_s']:.2f} | "
        f"{told['first_corrected_s']:.2f} | "
        f"{told['again_frame_s']:.2f} | {told['frames_per_s']:.1f} |"
        for painter, told in figures["painters"].items()
    ]
    size, work = figures["painters"]["canvas"]["size"], figures["worklist"]
    return (
        f"Measured with {figures['measured_with']}, on {figures['machine']}. A run of {size}, no graphics card.\n\n"
        "| painter | stored picture after the click, s | first frame of a run that nobody prepared, s | the same, "
        "corrected for motion, s | corrected frame, prepared, s | cine, frames/s |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        + "\n".join(rows)
        + f"\n\nA worklist of {figures['cases']} cases was shown {work['shown_s']:.2f} s after the page was called "
        f"(worst {work['worst_s']:.2f} s); its last row {work['to_end_s']:.2f} s\nafter a key, with "
        f"{work['rows']:.0f} rows held."
    )


def main() -> int:
    """Return 0 when everything was measured."""
    parser = argparse.ArgumentParser(description="Write benchmarks/review_page.json and its section of docs/review.md.")
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    figures = {
        "schema": "angio-pipeline/review-page-figures/1",
        "measured_with": state(),
        "machine": machine(),
        **measure(given.cases, given.repeats),
    }
    write_figures(FIGURES, figures)
    write_section(PAGE, "page figures", SCRIPT, section(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
