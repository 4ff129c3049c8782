"""A radiologist at the review page: a real browser that signs in, opens cases, and keeps what the console said."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import ConsoleMessage, Page, sync_playwright

__all__ = ["PAINTERS", "PageReader", "axe_source", "chromium_with"]

ROOT = Path(__file__).resolve().parents[2]
# Software WebGL, so that a machine without a graphics card shows what one with it shows.
PAINTERS = {"webgl": ["--enable-unsafe-swiftshader"], "canvas": ["--disable-3d-apis"]}
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
        browser = playwright.chromium.launch(executable_path=path, args=[*_FLAGS, *PAINTERS[painter]])
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
        self.page.set_default_timeout(120_000)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def sign_in(self, name: str = "Reader 1", hash: str = "#/") -> PageReader:
        self.page.goto(f"{self.address}/{hash}")
        self.page.get_by_label("Reader").fill(name)
        self.page.get_by_role("button", name="Begin").click()
        return self

    def open(self, case: str) -> PageReader:
        """Open a case and wait for its picture, and of a run for what lies over it."""
        self.page.goto(f"{self.address}/#/case/{case}")
        self.page.wait_for_selector("main.follow .pane[data-shown], main.run .pane[data-overlay]")
        return self

    def run(self, name: str) -> str | None:
        """What the run's page says of itself."""
        return self.page.locator("main.run").get_attribute(f"data-{name}")

    def shown(self) -> str:
        """Which layer and frame is on the screen."""
        return str(self.page.locator(".pane").first.get_attribute("data-shown"))

    def saved(self) -> PageReader:
        """Wait until the server has everything."""
        self.page.wait_for_selector("[data-save=saved]")
        return self

    def at(self, point: tuple[float, float], *, rows: int, columns: int) -> tuple[float, float]:
        """Where a place of the frame is in the window while the whole frame is shown."""
        box = self.page.locator(".pane").first.bounding_box()
        assert box is not None
        scale = min(box["width"] / columns, box["height"] / rows)
        x = box["x"] + box["width"] / 2 + (point[1] - (columns - 1) / 2) * scale
        return x, box["y"] + box["height"] / 2 + (point[0] - (rows - 1) / 2) * scale

    def picture(self) -> npt.NDArray[np.uint8]:
        """The first picture as it is on the screen, grey."""
        taken = self.page.locator(".pane").first.screenshot()
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
