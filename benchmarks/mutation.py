"""Measure how many small changes of the code the tests notice, and write it down.

All mutants of a room are made (with mutmut, in a copy of the tree), a sample of them is drawn, and the room's tests
that reach a mutant are run against it. Written: `benchmarks/mutation.json` and sections of `docs/testing.md`. Results
are kept after each mutant in the folder of work, so that a run goes on where it was ended.

    .venv/bin/python benchmarks/mutation.py [--rooms ROOM ...] [--size N] [--seed S] [--minutes M]
    .venv/bin/python benchmarks/mutation.py --apart-from S --seed S2     a sample without the mutants of another
    .venv/bin/python benchmarks/mutation.py --again                      those that survived, once more
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from pages import ROOT, digest, machine, state, write_section

SCRIPT = "benchmarks/mutation.py"
FIGURES = ROOT / "benchmarks" / "mutation.json"
PAGE = ROOT / "docs" / "testing.md"
ROOMS = ("response", "lipiodol", "tumour")
SAME = ROOT / "benchmarks" / "mutation_same.toml"
ASKED = 0.75
KILLED = ("killed", "timeout")
COPIED, LINKED = ("src", "tests", "pyproject.toml"), ("data", "configs", "models", "benchmarks", "docs", "scripts")
Row = dict[str, Any]


def draw(names: list[str], size: int, seed: int) -> list[str]:
    """Return a sample in random order, in which every module has its share.

    Mutants are shuffled within their module, then every k-th is taken from a random start: each has the same chance
    and modules are represented in proportion. In random order, any beginning of it is a sample as well.
    """
    rng = random.Random(seed)
    modules: dict[str, list[str]] = {}
    for name in sorted(names):
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    for group in modules.values():
        rng.shuffle(group)
    line = [name for group in modules.values() for name in group]
    step = max(len(line) / size, 1.0)
    start = rng.random() * step
    places = [int(start + k * step) for k in range(min(size, len(line)))]
    taken = [line[place] for place in places if place < len(line)]
    rng.shuffle(taken)
    return taken


def share(outcomes: list[str]) -> Row:
    """Return how many were noticed, of how many, with Wilson's 95 % interval; one no test reaches was not noticed.

    What could not be tried, as the trial itself failed, is counted nowhere.
    """
    outcomes = [outcome for outcome in outcomes if outcome != "not tried"]
    count, hits = len(outcomes), sum(outcome in KILLED for outcome in outcomes)
    told = Counter(outcomes)
    interval = [*binomtest(hits, count).proportion_ci(method="wilson")] if count else [None, None]
    return {
        "tried": count,
        **{name.replace(" ", "_"): told[name] for name in ("killed", "timeout", "survived", "no tests")},
        "share": hits / count if count else None,
        "interval": [None if end is None else round(float(end), 4) for end in interval],
    }


def read_results(path: Path) -> tuple[dict[str, Row], dict[str, Row]]:
    """Return the first and the latest result of each mutant; a last line that was cut off is left out."""
    first: dict[str, Row] = {}
    latest: dict[str, Row] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        first.setdefault(row["name"], row)
        latest[row["name"]] = row
    return first, latest


def prepare(room: str, work: Path) -> Row:
    """Return the mutants of a room, made now in a copy of the tree unless they were made of the same code.

    Results of other code are thrown away.
    """
    copy, listed, source = work / "tree", work / "mutants.json", work / "source.txt"
    if source.is_file() and source.read_text() == digest(ROOT / "src") and listed.is_file():
        _copy(copy, ("tests",))
    else:
        shutil.rmtree(work, ignore_errors=True)
        copy.mkdir(parents=True)
        source.write_text(digest(ROOT / "src"))
        for name in LINKED:
            (copy / name).symlink_to(ROOT / name)
        _copy(copy, COPIED)
        _trial(copy, {"kind": "make", "room": room, "out": str(listed)})
    made: Row = json.loads(listed.read_text(encoding="utf-8"))
    return made


def _copy(copy: Path, names: tuple[str, ...]) -> None:
    for name in names:
        if (ROOT / name).is_dir():
            shutil.rmtree(copy / name, ignore_errors=True)
            shutil.copytree(ROOT / name, copy / name)
        else:
            shutil.copy(ROOT / name, copy / name)


def _trial(copy: Path, task: Row) -> None:
    # In a process of its own, which imports the copy.
    path = copy.parent / "task.json"
    path.write_text(json.dumps(task), encoding="utf-8")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1")
    places = os.pathsep.join((str(copy / "src"), str(ROOT / "benchmarks")))
    environment = {**os.environ, **threads, "PYTHONPATH": places, "MUTANT_UNDER_TEST": "none"}
    command = [sys.executable, str(ROOT / "benchmarks" / "mutation_trial.py"), str(path)]
    subprocess.run(command, cwd=copy, env=environment, check=True)


def measure(room: str, given: argparse.Namespace) -> None:
    """Try the sample of a room as far as time permits; what was tried before is not tried again."""
    work = given.work / room
    names = [mutant["name"] for mutant in prepare(room, work)["mutants"]]
    results = work / f"seed-{given.seed}.jsonl"
    sample = draw_apart(names, given)
    _, known = read_results(results)
    left = [name for name in sample if name not in known]
    if given.again:
        left = [name for name in sample if known.get(name, {}).get("outcome") in ("survived", "no tests")]
    print(f"{room}: {len(names)} mutants, sample of {len(sample)}, {len(left)} to try", flush=True)
    task = {"kind": "run", "names": left, "out": str(results), "minutes": given.minutes, "budget_s": given.budget}
    if left:
        _trial(work / "tree", {**task, "reach": _reach_files(room, work, given.skip)})


def _reach_files(room: str, work: Path, skip: list[str]) -> dict[str, str]:
    # Where it is kept what each file of tests reaches; the name tells the tests and their scenes from others.
    (work / "reach").mkdir(exist_ok=True)
    scenes = digest(ROOT / "tests" / "scenes")
    files = [path for path in sorted((ROOT / "tests" / room).glob("test_*.py")) if path.name not in skip]
    told = {path: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files}
    return {
        f"tests/{room}/{path.name}": str(work / "reach" / f"{path.stem}-{told[path]}-{scenes}.json") for path in files
    }


def draw_apart(names: list[str], given: argparse.Namespace) -> list[str]:
    """Return the sample that the options ask for: of all mutants, or of those outside another seed's sample."""
    if given.apart_from is None:
        return draw(names, given.size, given.seed)
    other = set(draw(names, given.apart_size, given.apart_from))
    return draw([name for name in names if name not in other], given.size, given.seed)


def told_of(room: str, given: argparse.Namespace) -> Row:
    """Return what is stored of a room's sample: counts as first tried and as last tried, and those that survived."""
    made = prepare(room, given.work / room)
    mutants = {mutant["name"]: mutant for mutant in made["mutants"]}
    first, latest = read_results(given.work / room / f"seed-{given.seed}.jsonl")
    alive = [name for name, row in sorted(latest.items()) if row["outcome"] in ("survived", "no tests")]
    return {
        "mutants": len(mutants),
        "wording": made["wording"],
        "seed": given.seed,
        "apart_from": given.apart_from,
        "budget_s": given.budget,
        "skipped": given.skip,
        "drawn": len(draw_apart(list(mutants), given)),
        "first": share([row["outcome"] for row in first.values()]),
        "latest": share([row["outcome"] for row in latest.values()]),
        "survivors": [
            {"name": name, "outcome": latest[name]["outcome"], "change": mutants[name]["change"]} for name in alive
        ],
    }


def sections(figures: Row) -> tuple[str, str]:
    """Return what is said of the figures, and the list of those that survived; both follow from the figures alone."""
    samples = [(room, one) for room in ROOMS for one in figures["samples"].get(room, {}).values()]
    lines = [
        f"Asked: at least {100 * ASKED:.0f} % noticed in each room.",
        "",
        "| room | mutants | sample | tried | noticed | by time | survived | no test | share | 95 % | reached |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for room, one in samples:
        apart = "" if one["apart_from"] is None else f", without those of seed {one['apart_from']}"
        lines.append(_line(room, one["mutants"], f"seed {one['seed']}{apart}", one["first"]))
        if one["latest"] != one["first"]:
            told = f"seed {one['seed']}, its survivors tried again"
            lines.append(_line(room, one["mutants"], told, one["latest"]))
    for seed in sorted({one["seed"] for _, one in samples}):
        rows = [one["first"] for _, one in samples if one["seed"] == seed]
        lines.append(_line("all tried", sum(one["mutants"] for _, one in samples if one["seed"] == seed),
                           f"seed {seed}, as first tried", pooled(rows)))  # fmt: skip
    lines += ["", *_conditions(samples)]
    return "\n".join(lines), "\n\n".join(_survivors(room, one) for room, one in samples)


def pooled(rows: list[Row]) -> Row:
    """Return the share over several rooms, every mutant that was tried counting alike."""
    kinds = ("killed", "timeout", "survived", "no tests")
    return share([kind for row in rows for kind in kinds for _ in range(row[kind.replace(" ", "_")])])


def _line(room: str, mutants: int, sample: str, row: Row) -> str:
    least, most = row["interval"]
    told = "–" if row["share"] is None else f"{100 * row['share']:.1f} %"
    ends = "–" if least is None else f"{100 * least:.1f} to {100 * most:.1f} %"
    counts = " | ".join(str(row[key]) for key in ("tried", "killed", "timeout", "survived", "no_tests"))
    reached = "–" if row["share"] is None else "yes" if row["share"] >= ASKED else "**no**"
    return f"| {room} | {mutants} | {sample} | {counts} | {told} | {ends} | {reached} |"


def _conditions(samples: list[tuple[str, Row]]) -> list[str]:
    return [
        f"- `{room}`, seed {one['seed']}: {one['first']['tried']} of {one['drawn']} drawn were tried, with "
        f"{one['measured_with']} on {one['machine']}; tests of {one['budget_s']:g} s of processor time a mutant"
        + (f", without those of {', '.join(one['skipped'])}" if one["skipped"] else "")
        + f"; {one['wording']} further mutants change nothing but the words of an error and are in no sample."
        for room, one in samples
    ]


def _survivors(room: str, one: Row) -> str:
    known = {(row["function"], row["change"]): row["why"] for row in tomllib.loads(SAME.read_text("utf-8"))["same"]}
    lines = [f"### `{room}`, seed {one['seed']}: {len(one['survivors'])} survived", "", "```diff"]
    for row in one["survivors"]:
        function = row["name"].removeprefix("angio_pipeline.")
        why = known.get((function.rpartition("__mutmut_")[0], row["change"]))
        lines.append(f"# {function}" + (" (no test reaches it)" if row["outcome"] == "no tests" else ""))
        lines += [f"# the same in effect: {why}"] if why else []
        lines.append(row["change"])
    return "\n".join([*lines, "```"])


def write(given: argparse.Namespace) -> None:
    """Write the figures of what was tried, and the page."""
    stored = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else {"samples": {}}
    for room in given.rooms if not given.stored else ():
        one = {"measured_with": state(), "machine": machine(), **told_of(room, given)}
        stored["samples"].setdefault(room, {})[str(given.seed)] = one
    FIGURES.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    for name, text in zip(("mutation", "survivors"), sections(stored), strict=True):
        write_section(PAGE, name, SCRIPT, text)


def main() -> int:
    """Return 0 when all that was asked for was tried and written down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=ROOMS)
    parser.add_argument("--size", type=int, default=250, help="mutants a room")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--apart-from", type=int, metavar="SEED", help="leave out the sample of this seed")
    parser.add_argument("--apart-size", type=int, default=250, metavar="N", help="how large that sample was")
    parser.add_argument("--again", action="store_true", help="try those that survived once more")
    parser.add_argument("--skip", nargs="+", default=[], metavar="FILE", help="files of tests that are not run")
    parser.add_argument("--stored", action="store_true", help="try nothing: write the page from the stored figures")
    parser.add_argument("--budget", type=float, default=20.0, metavar="S", help="processor time of tests a mutant")
    parser.add_argument("--minutes", type=float, help="end after so many minutes a room; call again to go on")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "out" / "mutation", help="where copies and results are kept"
    )
    given = parser.parse_args()
    for room in () if given.stored else given.rooms:
        measure(room, given)
    write(given)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
