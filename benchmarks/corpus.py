"""Count what becomes of damaged files: malformed exports, a library's test files, and mutants of the sample.

Every file is looked at and its pixels are read as in a batch, in a process apart; a seeded part of the mutants
goes through the whole of `angio run`. A crash ends the script with an error. Written: `benchmarks/corpus.json` and
a section of `docs/hostile-input.md`.

    .venv/bin/python benchmarks/corpus.py [--mutants 2000] [--whole 40] [--malformed FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pydicom.data

from angio_pipeline.ingest.guard import Read, reading_apart
from angio_pipeline.ingest.limits import Limits
from angio_pipeline.workers import warm_up
from pages import ROOT, angio, state, write_parts, write_section

sys.path.insert(0, str(ROOT / "tests" / "scenes"))
import mutants  # the tests' own

SCRIPT = "benchmarks/corpus.py"
SAMPLE = ROOT / "data" / "sample"
MALFORMED = Path(os.environ.get("ANGIO_REAL_DATA", ROOT.parent / "shared" / "data")) / "malformed"
LIBRARY = "test files of pydicom"


class Crashed(Exception):
    """A file that was neither analysed nor refused for what it is."""


def fates_of_files(files: list[Path], place: Path, read: Read) -> Counter[str]:
    """Return how many of the files came to what, each looked at by itself."""
    fates: Counter[str] = Counter()
    for number, file in enumerate(files):
        folder = place / f"{number}"
        folder.mkdir(parents=True)
        shutil.copyfile(file, folder / file.name)
        found = read(60.0, mutants.look_and_read, folder, place / "work")
        fates[_checked(found.get(str(folder / file.name), "listed only"), file.name)] += 1
        shutil.rmtree(folder)
    return fates


def _checked(fate: str, name: str) -> str:
    if fate in mutants.CRASHES:
        raise Crashed(f"{name}: {fate}")
    return fate


def fates_of_mutants(count: int, place: Path, read: Read) -> tuple[Counter[str], dict[str, Counter[str]]]:
    """Return how many mutants came to what: all, and by what was done to them."""
    fates: Counter[str] = Counter()
    by_damage: dict[str, Counter[str]] = {}
    for number in range(count):
        mutant = mutants.make_mutant(number, SAMPLE, place / str(number))
        fate = _checked(mutants.outcome(mutant, read, place / "work"), f"mutant {number} ({mutant.damage})")
        fates[fate] += 1
        by_damage.setdefault(mutant.damage, Counter())["analysed" if fate == "analysed" else "refused"] += 1
        shutil.rmtree(mutant.folder)
    return fates, by_damage


def fates_of_whole_run(count: int, place: Path) -> Counter[str]:
    """Return what `angio run` made of mutants that lie in one folder; each is accounted for."""
    made = [mutants.make_mutant(10_000 + n, SAMPLE, place / "in" / f"{n:03d}") for n in range(count)]
    summary = json.loads(angio("run", str(place / "in"), "--out", str(place / "out"), "--json", "--config", "fast"))
    with (place / "out" / "refused.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    refused = {row["path"]: row["reason"] for row in rows}
    fates: Counter[str] = Counter()
    for mutant in made:
        fates[_checked(refused.get(str(mutant.file), "analysed"), mutant.file.name)] += 1
    if not 0 < summary["analysed"] <= count:
        raise Crashed(f"angio run analysed {summary['analysed']} of {count} mutants")
    return fates


def _reader(place: Path) -> AbstractContextManager[Read]:
    # The server that processes come from takes the environment as it is when it starts.
    os.environ["ANGIO_PSEUDONYM_KEY_FILE"] = str(place / "key" / "pseudonym.key")
    warm_up()
    return reading_apart(Limits(reading_bytes=2 << 30))


def section(figures: dict[str, Any]) -> str:
    """Return the tables of the page."""
    columns = list(figures["files"])
    reasons = sorted({reason for name in columns for reason in figures["files"][name]} - {"analysed"})
    lines = [
        f"Measured with {figures['measured']}. No crash, no file that took too long or too much memory.",
        "",
        f"| | {' | '.join(columns)} |",
        f"| --- |{' ---: |' * len(columns)}",
    ]
    for reason in ("analysed", *reasons):
        counts = " | ".join(str(figures["files"][name].get(reason, 0)) for name in columns)
        lines.append(f"| {_shown(reason)} | {counts} |")
    totals = " | ".join(str(sum(figures["files"][name].values())) for name in columns)
    lines += [f"| **all** | {totals} |", "", "Mutants by what was done to them:", ""]
    lines += ["| damage | analysed | refused |", "| --- | ---: | ---: |"]
    lines += [
        f"| {damage} | {counts.get('analysed', 0)} | {counts.get('refused', 0)} |"
        for damage, counts in sorted(figures["damage"].items())
    ]
    whole = figures["whole"]
    told = ", ".join(f"{count} {name}" for name, count in sorted(whole.items(), key=lambda pair: -pair[1]))
    lines += ["", f"Through the whole of `angio run`, {sum(whole.values())} further mutants: {told}."]
    return "\n".join(lines)


def _shown(reason: str) -> str:
    return reason if reason in ("analysed", "listed only") else f"`{reason}`"


def main() -> None:
    """Count and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--whole", type=int, default=40)
    parser.add_argument("--malformed", type=Path, default=MALFORMED)
    given = parser.parse_args()
    library = sorted(path for path in map(Path, pydicom.data.get_testdata_files("**/*")) if path.is_file())
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name, _reader(Path(name)) as read:
        place = Path(name)
        fates, damage = fates_of_mutants(given.mutants, place / "mutants", read)
        files = {
            "malformed exports": fates_of_files(sorted(given.malformed.rglob("*.dcm")), place / "malformed", read),
            LIBRARY: fates_of_files(library, place / "library", read),
            "mutants of the sample": fates,
        }
        whole = fates_of_whole_run(given.whole, place / "whole")
    figures = {"measured": state(), "files": files, "damage": damage, "whole": whole}
    write_parts(ROOT / "benchmarks" / "corpus.json", figures)
    text = section(figures)
    print(text, f"\n\n{time.monotonic() - began:.0f} s")
    write_section(ROOT / "docs" / "hostile-input.md", "corpus", SCRIPT, text)


if __name__ == "__main__":
    main()
