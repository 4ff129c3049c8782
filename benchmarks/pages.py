"""What the benchmark scripts share: calling `angio`, tables, and sections of pages that a script owns."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pydicom

ROOT = Path(__file__).resolve().parents[1]


def angio(*arguments: str) -> str:
    """Return what the command prints.

    Raises
    ------
    CalledProcessError
        When it fails.
    """
    command = [sys.executable, "-m", "angio_pipeline", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def uid_of(file: Path) -> str:
    """Return which run a file holds."""
    return str(pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


def state() -> str:
    """Return the version and the commit that were measured, and whether code, settings or weights changed since."""
    version, commit = angio("--version").strip(), _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", "src", "configs", "models", "benchmarks/*.py") if commit else ""
    return version + (f", commit {commit}" if commit else "") + (" and changes to it" if changed else "")


def _git(*arguments: str) -> str:
    # What git prints; nothing where there is no repository.
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def digest(*folders: Path) -> str:
    """Return what tells the Python files of folders from any others."""
    told = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            told.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return told.hexdigest()[:16]


def write_parts(path: Path, parts: dict[str, Any]) -> dict[str, Any]:
    """Write measured parts into a file of figures beside its other parts, which may come meanwhile; return them all."""
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    figures |= parts
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def machine() -> str:
    """Return what is measured on, and how busy it is with other work (mean load of the last minute)."""
    here = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    return f"{here}, load {os.getloadavg()[0]:.1f} from other work"


def accuracy_table(document: dict[str, Any]) -> str:
    """Return the metrics of `angio evaluate --json` as a Markdown table; unknown is a dash."""
    lines = ["| what | metric | value | 95 % interval | n |", "| --- | --- | ---: | ---: | ---: |"]
    for group, metrics in document["metrics"].items():
        for name, score in metrics.items():
            value = "–" if score["value"] is None else f"{score['value']:.3f}"
            ends = score["interval"]
            interval = "–" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"
            lines.append(f"| {group} | {name.replace('_', ' ')} | {value} | {interval} | {score['count']} |")
    return "\n".join(lines)


def feeder_words(document: dict[str, Any]) -> str:
    """Return in a sentence how many feeders were listed, and how many of them as probable."""
    true, listed, found = (
        sum(run[key] for run in document["per_run"])
        for key in ("feeders_true", "feeders_listed_right", "feeders_found")
    )
    return f"Of {true} true feeders {listed} are listed, {found} of them with a probability of at least 0.5."


def with_section(page: str, name: str, script: str, text: str) -> str:
    """Return a page with the section that `script` owns replaced.

    Raises
    ------
    ValueError
        When the page does not hold the section's marks exactly once.
    """
    start, end = f"<!-- {name}: written by {script} -->", f"<!-- end of {name} -->"
    if page.count(start) != 1 or page.count(end) != 1 or page.index(start) > page.index(end):
        raise ValueError(f"Expected the page to hold {start} and {end} once and in this order.")
    marked = re.escape(start) + ".*?" + re.escape(end)
    return re.sub(marked, lambda _: f"{start}\n{text}\n{end}", page, flags=re.DOTALL)


def write_section(path: Path, name: str, script: str, text: str) -> None:
    """Replace the section of a page that `script` owns."""
    path.write_text(with_section(path.read_text(encoding="utf-8"), name, script, text), encoding="utf-8")
