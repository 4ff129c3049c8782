"""Measure which lines and branches of the science rooms their tests run, and write it down.

The tests of all science rooms and of the ground below them run, without those marked `repeated`. Functions that are
compiled to machine code cannot be watched: they are left out of the count, and how many lines that is stands beside
it. Written: `benchmarks/line_coverage.json` and a section of `docs/testing.md`.

    .venv/bin/python benchmarks/line_coverage.py [--stored] [--skip FILE ...]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pages import ROOT, digest, machine, state, write_section

SCRIPT = "benchmarks/line_coverage.py"
FIGURES = ROOT / "benchmarks" / "line_coverage.json"
PAGE = ROOT / "docs" / "testing.md"
SCIENCE = ("dsa", "perfusion", "vessels", "tumour", "lipiodol", "projections", "embolisation", "response")
GROUND = ("numerics", "core")
LEFT_OUT = "repeated"
"""The mark of the tests that are not run."""
ASKED = 0.90
COUNTED = ("num_statements", "covered_lines", "num_branches", "covered_branches", "excluded_lines")
Row = dict[str, Any]


def run_tests(work: Path, skip: Sequence[str] = ()) -> Row:
    """Return what `coverage json` tells of all tests together; files of tests run one by one.

    What one file of tests runs is kept, and is not asked again until code, tests or scenes change.

    Raises
    ------
    CalledProcessError
        When a test fails.
    """
    work.mkdir(parents=True, exist_ok=True)
    told, pieces = work / "coverage.json", []
    for tests, piece in _pieces(work):
        if Path(tests).name in skip:
            continue
        if not piece.is_file():
            making = piece.with_suffix(".making")
            _coverage(making, "run", "-m", "pytest", "-q", "-m", f"not {LEFT_OUT}", "-p", "no:cacheprovider", tests)
            making.rename(piece)
        pieces.append(str(piece))
    _coverage(work / "data", "combine", "-q", "--keep", *pieces)
    _coverage(work / "data", "json", "-q", "-o", str(told))
    document: Row = json.loads(told.read_text(encoding="utf-8"))
    return document


def _pieces(work: Path) -> Iterator[tuple[str, Path]]:
    # Each file of tests, and where it is kept what it runs.
    rest = digest(ROOT / "src", ROOT / "tests" / "scenes")
    for room in (*SCIENCE, *GROUND):
        for path in sorted((ROOT / "tests" / room).glob("test_*.py")):
            own = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            yield str(path.relative_to(ROOT)), work / f"{room}-{path.stem}-{own}-{rest}.data"


def _coverage(data: Path, *arguments: str) -> None:
    environment = {**os.environ, "COVERAGE_FILE": str(data), "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-m", "coverage", *arguments], cwd=ROOT, env=environment, check=False)
    # A file whose tests are all slow has none to run (pytest's exit status 5).
    if done.returncode != 0 and not (arguments[0] == "run" and done.returncode == 5):
        raise subprocess.CalledProcessError(done.returncode, done.args)


def of_rooms(document: Row) -> Row:
    """Return the counts of each room, and for each file the lines that no test runs."""
    rooms: Row = {room: {**dict.fromkeys(COUNTED, 0), "missing": {}} for room in (*SCIENCE, *GROUND)}
    for file, one in sorted(document["files"].items()):
        path = file.replace(os.sep, "/").partition("src/angio_pipeline/")[2]
        row = rooms[path.partition("/")[0]]
        for key in COUNTED:
            row[key] += one["summary"][key]
        if one["missing_lines"]:
            row["missing"][path] = one["missing_lines"]
    return rooms


def total(rows: list[Row]) -> Row:
    """Return the sums of rooms."""
    return {key: sum(row[key] for row in rows) for key in COUNTED}


def section(figures: Row) -> str:
    """Return what is said of the figures; it follows from them alone."""
    rooms = figures["rooms"]
    lines = [
        f"Measured with {figures['measured_with']} on {figures['machine']}."
        + f" Not run: tests that were marked `{figures['left_out']}` there"
        + (f", {', '.join(figures['skipped'])}." if figures["skipped"] else "."),
        f"Asked: at least {100 * ASKED:.0f} % of the lines of the science rooms.",
        "",
        "| room | lines | run by tests | branches | taken by tests | compiled, not counted |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *(_line(f"`{room}`", rooms[room]) for room in SCIENCE),
        _line("**all science rooms**", total([rooms[room] for room in SCIENCE])),
        *(_line(f"`{room}`", rooms[room]) for room in GROUND),
    ]
    return "\n".join(lines)


def _line(name: str, row: Row) -> str:
    lines, branches = row["num_statements"], row["num_branches"]
    told = [f"{100 * row[got] / count:.1f} %" if count else "–" for got, count in
            (("covered_lines", lines), ("covered_branches", branches))]  # fmt: skip
    return f"| {name} | {lines} | {told[0]} | {branches} | {told[1]} | {row['excluded_lines']} |"


def main() -> int:
    """Return 0 when the figures were written."""
    parser = argparse.ArgumentParser(description="Write benchmarks/line_coverage.json and its section of a page.")
    parser.add_argument("--stored", action="store_true", help="measure nothing: write the page from the stored figures")
    parser.add_argument("--skip", nargs="+", default=[], metavar="FILE", help="files of tests that are not run")
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "coverage", help="where the raw data are kept")
    given = parser.parse_args()
    if not given.stored:
        place, told = machine(), {"measured_with": state()}
        rooms = of_rooms(run_tests(given.work, given.skip))
        figures = {**told, "machine": place, "left_out": LEFT_OUT, "skipped": given.skip, "rooms": rooms}
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    write_section(PAGE, "coverage", SCRIPT, section(json.loads(FIGURES.read_text(encoding="utf-8"))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
