"""The trial of mutants: what is drawn, what counts as noticed, and which tests belong to a function."""

from __future__ import annotations

import importlib
import json
import os
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = [f"room.{module}.x_f__mutmut_{k}" for module, count in (("a", 60), ("b", 30), ("c", 10)) for k in range(count)]
CODE = """
def half(value):
    if value < 0:
        raise ValueError(f"Expected a number, found {value + 1}.")
    return value / 2
"""


def script(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def mutation() -> ModuleType:
    return script("mutation")


@pytest.fixture(scope="module")
def trial() -> ModuleType:
    return script("mutation_trial")


def test_a_seed_draws_the_same_whatever_the_order_and_another_seed_another(mutation: ModuleType) -> None:
    drawn = mutation.draw(NAMES, 20, 1)
    assert drawn == mutation.draw(NAMES[::-1], 20, 1)
    assert drawn != mutation.draw(NAMES, 20, 2)


@pytest.mark.parametrize("seed", range(5))
def test_every_module_has_its_share_and_nothing_is_drawn_twice(mutation: ModuleType, seed: int) -> None:
    drawn = mutation.draw(NAMES, 20, seed)
    assert len(set(drawn)) == len(drawn) == 20
    assert Counter(name.split(".")[1] for name in drawn) == {"a": 12, "b": 6, "c": 2}


def test_every_mutant_has_the_same_chance(mutation: ModuleType) -> None:
    times = Counter(name for seed in range(1000) for name in mutation.draw(NAMES, 30, seed))
    expected, spread = 300, (1000 * 0.3 * 0.7) ** 0.5
    assert all(abs(times[name] - expected) < 4.5 * spread for name in NAMES)


def test_more_than_there_are_is_all_of_them(mutation: ModuleType) -> None:
    assert sorted(mutation.draw(NAMES, 1000, 3)) == sorted(NAMES)


def test_a_second_sample_holds_none_of_the_first(mutation: ModuleType) -> None:
    first = mutation.argparse.Namespace(seed=1, size=40, apart_from=None, apart_size=40)
    second = mutation.argparse.Namespace(seed=2, size=40, apart_from=1, apart_size=40)
    assert not set(mutation.draw_apart(NAMES, first)) & set(mutation.draw_apart(NAMES, second))


def test_the_interval_is_wilsons_and_unreached_mutants_count_as_survived(mutation: ModuleType) -> None:
    told = mutation.share(["killed"] * 7 + ["timeout"] + ["survived", "no tests"])
    assert (told["tried"], told["share"], told["no_tests"]) == (10, 0.8, 1)
    # By hand: centre (8 + z²/2) / (10 + z²), half width z / (10 + z²) · √(8 · 2 / 10 + z²/4), z = 1.95996.
    assert told["interval"] == pytest.approx([0.4902, 0.9433], abs=1e-4)


def test_of_nothing_there_is_no_share(mutation: ModuleType) -> None:
    told = mutation.share([])
    assert told["share"] is None
    assert told["interval"] == [None, None]


def test_rooms_together_count_every_mutant_alike(mutation: ModuleType) -> None:
    rows = [mutation.share(["killed"] * 9 + ["survived"]), mutation.share(["no tests", "timeout"])]
    assert mutation.pooled(rows) == mutation.share(["killed"] * 9 + ["survived", "no tests", "timeout"])


def test_results_keep_the_first_and_the_latest_word_and_survive_a_cut(mutation: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    rows = [{"name": "m", "outcome": "survived"}, {"name": "m", "outcome": "killed"}]
    path.write_text("\n".join([*map(json.dumps, rows), '{"name": "n", "outc']), encoding="utf-8")
    assert mutation.read_results(path) == ({"m": rows[0]}, {"m": rows[1]})
    assert mutation.read_results(tmp_path / "none") == ({}, {})


@pytest.mark.slow
def test_mutants_of_an_errors_words_are_left_out_and_those_of_the_code_are_not(
    trial: ModuleType, tmp_path: Path
) -> None:
    folder = tmp_path / "src" / "angio_pipeline" / "room"
    folder.mkdir(parents=True)
    (folder / "halves.py").write_text(CODE, encoding="utf-8")
    mutants, wording = trial.make_mutants(tmp_path, "room")
    changes = [mutant.change for mutant in mutants]
    assert "-    return value / 2\n+    return value * 2" in changes
    assert "-    if value < 0:\n+    if value <= 0:" in changes
    assert wording > 0
    assert not any("Expected" in change for change in changes)
    assert {mutant.name.rpartition("__")[0] for mutant in mutants} == {"angio_pipeline.room.halves.x_half"}


def test_what_a_fixture_reaches_belongs_to_every_test_of_its_module(trial: ModuleType) -> None:
    recorder = trial._Recorder()
    recorder.by_test = {"a.py::one": {"f"}, "a.py::two": set(), "b.py::three": {"f"}}
    recorder.by_module["a.py"] = {"made"}
    tests = json.loads(json.dumps(asdict(recorder.reach())))["tests_of"]
    assert tests == {"f": ["a.py::one", "b.py::three"], "made": ["a.py::one", "a.py::two"]}


def test_short_tests_are_run_within_the_budget_and_a_fixture_is_paid_once(trial: ModuleType) -> None:
    seconds = {"a.py::one": 1.0, "a.py::two": 2.0, "b.py::three": 1.5, "b.py::four": 9.0}
    reach = trial.Reach({"f": list(seconds)}, seconds, {"a.py": 4.0, "b.py": 1.0})
    assert reach.chosen("f", 10.0) == (["b.py::three", "a.py::one", "a.py::two"], 9.5)
    assert reach.chosen("f", 5.0) == (["a.py::one"], 5.0)
    assert reach.chosen("g", 10.0) == ([], 0.0)


def test_a_child_answers_or_runs_out_of_time_or_says_how_it_died(trial: ModuleType) -> None:
    assert trial.in_child(lambda: {"answer": os.getpid() > 0}, 5, 5) == {"answer": True}
    assert trial.in_child(lambda: time.sleep(60), 5, 0.2) is None
    assert "died" in trial.in_child(lambda: os._exit(3), 5, 5)


def test_lines_are_summed_by_room_and_all_files_count() -> None:
    coverage = script("line_coverage")
    summary = dict.fromkeys(coverage.COUNTED, 2)
    files = {
        f"src/angio_pipeline/{room}/x.py": {"summary": summary, "missing_lines": [7] if room == "dsa" else []}
        for room in (*coverage.SCIENCE, *coverage.GROUND)
    }
    files["src/angio_pipeline/dsa/deep/y.py"] = {"summary": summary, "missing_lines": []}
    rooms = coverage.of_rooms({"files": files})
    assert rooms["dsa"]["num_statements"] == 4
    assert rooms["dsa"]["missing"] == {"dsa/x.py": [7]}
    assert coverage.total(list(rooms.values()))["covered_lines"] == 2 * len(files)


def test_a_digest_tells_code_from_other_code_wherever_it_lies(mutation: ModuleType, tmp_path: Path) -> None:
    for name, code in (("one", "a = 1\n"), ("same", "a = 1\n"), ("other", "a = 2\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.py").write_text(code, encoding="utf-8")
    (tmp_path / "same" / "x.pyc").write_bytes(b"compiled")
    one, same, other = (mutation.digest(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same != other


def test_what_files_of_tests_reach_adds_up(trial: ModuleType) -> None:
    one = trial.Reach({"f": ["a.py::one"]}, {"a.py::one": 1.0}, {"a.py": 2.0})
    two = trial.Reach({"f": ["b.py::two"], "g": ["b.py::two"]}, {"b.py::two": 3.0}, {"b.py": 4.0})
    both = trial.together([one, two])
    assert both.tests_of == {"f": ["a.py::one", "b.py::two"], "g": ["b.py::two"]}
    assert (both.seconds, both.fixtures) == ({"a.py::one": 1.0, "b.py::two": 3.0}, {"a.py": 2.0, "b.py": 4.0})
