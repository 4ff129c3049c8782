"""A review server in a process of its own on a free loopback port, browsers that talk to it, worklists to fill it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

__all__ = ["Browser", "Served", "fill_worklist", "make_edit", "serve", "wait_for"]


# Nobody waits so long: a machine that many share may be slow, and a wait ends as soon as what it waits for is there.
_LONGEST_S = 600.0


class Served:
    """A running server; `stop` and `kill` end it by its own process id."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process, self.address = process, address
        self._browsers: list[Browser] = []

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    def browser(self, name: str = "Reader 1", token: str = "") -> Browser:
        """A browser that is signed in."""
        made = Browser(self.address)
        self._browsers.append(made)
        made.sign_in(name, token)
        return made

    def stop(self) -> None:
        """End it as Ctrl-C does, which it takes for a wish and no failure."""
        running = self.process.poll() is None
        if running:
            self.process.send_signal(signal.SIGINT)
        ended = self.process.wait(timeout=_LONGEST_S)
        assert not running or ended == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=_LONGEST_S)

    def close(self) -> None:
        """End it if it still runs, and leave nothing open, whatever a test made of it."""
        for browser in self._browsers:
            browser.client.close()
        if self.process.poll() is None:
            self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def serve(out: Path, *options: object) -> Iterator[Served]:
    """Yield a server over `out` that has told its address and answered there."""
    command = [sys.executable, "-m", "angio_pipeline", "review", str(out), "--port", "0", *map(str, options)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    assert process.stdout is not None
    said = process.stdout.readline()
    served = Served(process, said.removeprefix("Review: ").split(" ")[0].rstrip("/"))
    try:
        if not said.startswith("Review: "):
            said += process.communicate(timeout=_LONGEST_S)[0]
            raise AssertionError(f"the server did not start: {said}")
        # It may be called at once; but a wish to end reaches it only once it runs.
        httpx.get(f"{served.address}/", timeout=_LONGEST_S, verify=False)
        yield served
        served.stop()
    finally:
        served.close()


def wait_for(question: Any, *, within_s: float = _LONGEST_S) -> Any:
    """Return the first answer that is true."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if found := question():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s:.0f} s")


class Browser:
    """What a page does: keeps the cookie, sends the token of the session and the revision that it knows."""

    def __init__(self, address: str) -> None:
        self.client = httpx.Client(base_url=address, timeout=_LONGEST_S)
        self.csrf = ""

    def sign_in(self, name: str, token: str = "") -> httpx.Response:
        answer = self.client.post("/api/session", json={"name": name, "token": token})
        self.csrf = answer.json().get("csrf", "")
        return answer

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self.client.get(f"/api{path}", params=query)

    def told(self, path: str, **query: Any) -> Any:
        """The answer's content; a refusal is an error."""
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, method: str, path: str, *, on: int | None = None, **kwargs: Any) -> httpx.Response:
        headers = {"X-CSRF-Token": self.csrf, **kwargs.pop("headers", {})}
        if on is not None:
            headers["If-Match"] = f'"{on}"'
        return self.client.request(method, f"/api{path}", headers=headers, **kwargs)

    def edit(self, case: str, on: int, **edit: Any) -> httpx.Response:
        return self.send("POST", f"/cases/{case}/edits", on=on, json={"edit": edit})

    def corrections(self, case: str) -> Any:
        return self.told(f"/cases/{case}/corrections")

    def cases(self, **query: Any) -> list[dict[str, Any]]:
        """The worklist, once all results have been read."""
        wait_for(lambda: not self.told("/worklist", limit=1)["indexing"])
        found: list[dict[str, Any]] = self.told("/worklist", **{"limit": 200, **query})["cases"]
        return found

    def frames(self, case: str) -> Any:
        """What is told of frames once all their layers are prepared."""

        def all_there() -> Any:
            found = self.told(f"/cases/{case}/frames")
            return found["state"] == "ready" and not found["coming"] and found

        return wait_for(all_there)

    def analysed_again(self, case: str) -> Any:
        """The end of a re-analysis."""
        answer = self.send("POST", f"/cases/{case}/reanalysis")
        assert answer.status_code == 202, answer.text
        job = answer.json()["id"]
        return wait_for(lambda: (found := self.told(f"/jobs/{job}"))["state"] in ("done", "failed") and found)


def make_edit(number: int, kind: str = "note", **told: Any) -> dict[str, Any]:
    """An edit as the page would send it."""
    words = {"text": f"Note {number}."} if kind == "note" else {}
    return {"kind": kind, "id": f"e{number}", "time": "2026-11-27T08:00:00Z", **words, **told}


def fill_worklist(out: Path, template: Path, count: int) -> None:
    """Lay `count` runs out, four to a patient: an analysis of its own each, the other files linked to one template."""
    document = json.loads((template / "analysis.json").read_text())
    document["source"] |= {"sop_instance_uid": "UID-OF-THE-RUN", "description": "LABEL-OF-THE-RUN"}
    document["quality"] = ["FLAG-OF-THE-RUN"]
    text, flags = json.dumps(document), ("MOTION_LARGE", "NO_FEEDER", "NOT_CALIBRATED")
    others = [path for path in template.iterdir() if path.name != "analysis.json"]
    for number in range(count):
        patient, run = divmod(number, 4)
        folder = out / "subjects" / f"P{patient:06d}" / f"2024{1 + patient % 12:02d}{1 + patient % 28:02d}"
        folder /= f"S101-I{run + 1:04d}-{number:08x}"
        folder.mkdir(parents=True)
        own = text.replace("UID-OF-THE-RUN", f"2.25.{number + 1}").replace("FLAG-OF-THE-RUN", flags[number % 3])
        (folder / "analysis.json").write_text(own.replace("LABEL-OF-THE-RUN", f"S101 I{run + 1}"))
        for path in others:
            _link(path, folder / path.name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)
