"""A radiologist at the review page: a real browser that signs in, opens cases, and keeps what the console said."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import ConsoleMessage, Page, sync_playwright

__all__ = ["ONCE", "PAINTERS", "PageReader", "axe_source", "chromium_with"]

ROOT = Path(__file__).resolve().parents[2]
# Software WebGL, so that a machine without a graphics card shows what one with it shows.
PAINTERS = {"webgl": ["--enable-unsafe-swiftshader"], "canvas": ["--disable-3d-apis"]}
ONCE = pytest.mark.parametrize("painter", ["canvas"], indirect=True, scope="module")
"""Marks what does not depend on how frames are drawn."""
# Nobody waits so long: a machine that many share may be slow, and a wait ends as soon as what it waits for is there.
_LONGEST_MS = 600_000
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def _missing(what: str) -> None:
    tell = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    tell(what)


@contextmanager
def chromium_with(painter: str) -> Iterator[Chromium]:
    """Yield a browser with WebGL or without; where none is installed the test is skipped, or fails under CI."""
    path = shutil.which("chromium")
    if path is None:
        _missing("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*_FLAGS, *PAINTERS[painter]], timeout=_LONGEST_MS
        )
        try:
            yield browser
        finally:
            browser.close()


def axe_source() -> str:
    """The judge of accessibility, as it is installed beside the page's source."""
    path = ROOT / "review-page" / "node_modules" / "axe-core" / "axe.min.js"
    if not path.is_file():
        _missing("axe-core is not installed: npm ci in review-page")
    return path.read_text(encoding="utf-8")


class PageReader:
    """One tab of a reader."""

    def __init__(self, chromium: Chromium, address: str, *, size: tuple[int, int] = (1280, 800)) -> None:
        self.address = address
        self.context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, bypass_csp=False)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.set_default_timeout(_LONGEST_MS)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def sign_in(self, name: str = "Reader 1", hash: str = "#/") -> PageReader:
        self.page.goto(f"{self.address}/{hash}")
        self.page.get_by_label("Reader").fill(name)
        self.page.get_by_role("button", name="Begin").click()
        return self

    def open(self, case: str) -> PageReader:
        """Open a case and wait for its picture, of a run for the corrected one and what lies over it."""
        self.page.goto(f"{self.address}/#/case/{case}")
        return self.opened()

    def opened(self) -> PageReader:
        """Wait until the case that the address names is shown, after a reload as well."""
        run = "main.run .pane[data-overlay][data-shown*='/corrected/']"
        self.page.wait_for_selector(f"main.follow .pane[data-shown], {run}")
        return self

    def turn_to(self, key: str, layer: str) -> PageReader:
        """Press the key of a layer, and wait until it is on the screen."""
        self.page.keyboard.press(key)
        self.page.wait_for_selector(f".pane[data-shown*='/{layer}/']")
        return self

    def run(self, name: str) -> str | None:
        """What the run's page says of itself."""
        return self.page.locator("main.run").get_attribute(f"data-{name}")

    def shown(self, pane: int = 0) -> str:
        """Which layer and frame is on the screen."""
        return str(self.page.locator(".pane").nth(pane).get_attribute("data-shown"))

    def frame(self, pane: int = 0) -> int:
        """The number of the frame or slice that is on the screen."""
        return int(self.shown(pane).rsplit("#", 1)[1])

    def saved(self) -> PageReader:
        """Wait until the server has everything."""
        self.page.wait_for_selector("[data-save=saved]")
        return self

    def at(self, point: Sequence[float], *, rows: int, columns: int, pane: int = 0) -> tuple[float, float]:
        """Where a place of the frame is in the window while the whole frame is shown."""
        box = self.page.locator(".pane").nth(pane).bounding_box()
        assert box is not None
        scale = min(box["width"] / columns, box["height"] / rows)
        x = box["x"] + box["width"] / 2 + (point[1] - (columns - 1) / 2) * scale
        return x, box["y"] + box["height"] / 2 + (point[0] - (rows - 1) / 2) * scale

    def bare(self) -> PageReader:
        """Take away all that lies over the frames."""
        self.page.keyboard.press("o")
        self.page.evaluate("for (const one of document.querySelectorAll('.corner')) one.style.display = 'none'")
        return self

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the left button at one place of the window and release it at another."""
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(*end, steps=4)
        self.page.mouse.up()

    def picture(self, pane: int = 0) -> npt.NDArray[np.uint8]:
        """A picture as it is on the screen, grey."""
        taken = self.page.locator(".pane").nth(pane).screenshot()
        return np.asarray(cv2.imdecode(np.frombuffer(taken, np.uint8), cv2.IMREAD_GRAYSCALE))

    def serious_barriers(self) -> list[Any]:
        """What axe finds to keep readers out, serious or critical."""
        self.page.evaluate(axe_source())
        told = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        bad = [one for one in told["violations"] if one["impact"] in ("serious", "critical")]
        return [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in bad]

    def settings(self) -> Any:
        return json.loads(self.page.evaluate("localStorage.getItem('angio-review')"))

    def close(self) -> None:
        self.context.close()
