"""Take the pictures of the review page that `docs/review.md` shows, and the same at other sizes, to be looked at.

The sample patient is analysed as `angio run` does it, and a browser without a graphics card opens the page of the real
server, says a few things of a run, and is photographed. Nothing is measured and nothing is touched up.

    .venv/bin/python benchmarks/review_pictures.py [--results OUT] [--size 3840x2160 --folder PICTURES]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from pages import ROOT, angio

sys.path.insert(0, str(ROOT / "tests" / "scenes"))
from page_reader import PageReader, chromium_with
from review_server import Browser, serve, wait_for

SAMPLE = ROOT / "data" / "sample" / "case-000"
IMAGES = ROOT / "docs" / "images"
SIZE = "1440x900"
# Pages of documentation carry pictures that are small.
QUALITY = 82


@contextmanager
def analysed(results: Path | None) -> Iterator[Path]:
    """Yield the results that are given, or those of the sample, analysed now; nobody has said a word of them."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "out"
        if results is None:
            angio("run", str(SAMPLE), "--out", str(out), "--quiet")
        else:
            shutil.copytree(results, out, ignore=shutil.ignore_patterns("review"))
        yield out


def take(tab: PageReader, folder: Path, name: str) -> None:
    """Write what the window shows."""
    tab.page.wait_for_timeout(700)  # the last frame and the notices of saving
    pixels = cv2.imdecode(np.frombuffer(tab.page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise SystemExit("Expected the browser to give a picture of its window, found something else.")
    cv2.imwrite(str(folder / f"review-{name}.webp"), pixels, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])


def judged_run(reader: Browser) -> str:
    """Return the run that has most likely feeders among those that were compared with another one."""
    rows = sorted(reader.cases(kind="run"), key=lambda row: -row["likely_feeders"])
    return next(str(row["id"]) for row in rows if reader.told(f"/cases/{row['id']}")["linked"])


def take_all(tab: PageReader, reader: Browser, folder: Path) -> None:
    """Photograph the worklist, a run, two runs beside each other, the journal, the help, and a follow-up."""
    tab.page.wait_for_selector(".tablerow img")
    take(tab, folder, "worklist")
    run = judged_run(reader)
    reader.frames(run)
    tab.open(run)
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("y")
    tab.saved()
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("x")
    tab.saved()
    tab.page.locator(".pane").first.click()
    tab.page.get_by_text("mean of").wait_for()
    take(tab, folder, "run")
    tab.page.get_by_role("button", name="Journal").click()
    tab.page.wait_for_selector("dialog.audit tbody tr")
    take(tab, folder, "journal")
    tab.page.keyboard.press("Escape")
    tab.page.keyboard.press("?")
    tab.page.wait_for_selector("dialog.help")
    take(tab, folder, "help")
    tab.page.keyboard.press("Escape")
    tab.page.get_by_label("Beside", exact=True).select_option(index=1)
    tab.page.locator(".pane").nth(1).and_(tab.page.locator("[data-shown*='/corrected/']")).wait_for()
    take(tab, folder, "beside")
    (follow_up,) = reader.cases(kind="follow_up")
    tab.open(follow_up["id"])
    wait_for(lambda: tab.page.locator(".pane[data-shown]").count() > 1)
    take(tab, folder, "follow-up")


def main() -> int:
    """Return 0 when all pictures were taken."""
    parser = argparse.ArgumentParser(description="Write docs/images/review-*.webp.")
    parser.add_argument("--results", type=Path, help="of angio run over data/sample/case-000; analysed now without")
    parser.add_argument("--size", default=SIZE)
    parser.add_argument("--folder", type=Path, default=IMAGES)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    given.folder.mkdir(parents=True, exist_ok=True)
    with analysed(given.results) as out, serve(out, "--source", SAMPLE) as served, chromium_with("webgl") as chromium:
        reader = served.browser("Reader 1")
        reader.cases()
        tab = PageReader(chromium, served.address, size=(width, height))
        take_all(tab.sign_in("Reader 1"), reader, given.folder)
        tab.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
