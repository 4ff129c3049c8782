"""Try mutants of one room: make them in a copy of the tree, then run the tests that reach each one.

mutmut makes the mutants and the switch that turns one of them on. The trial is our own, for two reasons: mutmut books
what a shared fixture calls on the first test alone that asks for it, and it limits wall time, which on a busy machine
says little. Here a function that a fixture reaches belongs to every test of that module, and the limit is processor
time.

Called by `benchmarks/mutation.py` in a process of its own, whose folder is the copy and whose `PYTHONPATH` is the
copy's `src`. This process only imports and forks; every test runs in a child, so that no test meets what another left.
"""

from __future__ import annotations

import ast
import gc
import json
import os
import re
import resource
import select
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest
from mutmut.mutation import trampoline
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.utils.format_utils import mangled_name_from_mutant_name

PACKAGE = "angio_pipeline"
QUIET = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--tb=no", "-m", "not repeated")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change to one function."""

    name: str
    file: str
    change: str
    """The lines taken away and put in, as a unified diff without its head."""


@dataclass(slots=True)
class Reach:
    """Which tests reach which functions, and how long tests and the fixtures of a module take, processor seconds."""

    tests_of: dict[str, list[str]]
    seconds: dict[str, float]
    fixtures: dict[str, float]

    def chosen(self, function: str, budget_s: float) -> tuple[list[str], float]:
        """Return the tests to run for a function, module by module, and how long they take.

        Short ones are taken first, as long as all together, fixtures included, stay within the budget.
        """
        spent, by_module = 0.0, defaultdict[str, list[str]](list)
        for test in sorted(self.tests_of.get(function, []), key=lambda test: (self.seconds[test], test)):
            module = _module(test)
            cost = self.seconds[test] + (0.0 if module in by_module else self.fixtures.get(module, 0.0))
            if spent + cost <= budget_s:
                spent += cost
                by_module[module].append(test)
        groups = sorted(by_module.items(), key=lambda one: (self.fixtures.get(one[0], 0.0), one[0]))
        return [test for _, group in groups for test in group], spent


def make_mutants(copy: Path, room: str) -> tuple[list[Mutant], int]:
    """Write the mutants of a room into the copy; return those to try, and how many change but an error's wording."""
    kept: list[Mutant] = []
    wording = 0
    for path in sorted((copy / "src" / PACKAGE / room).rglob("*.py")):
        file = str(path.relative_to(copy))
        made = mutate_file_contents(file, path.read_text(encoding="utf-8"))
        path.write_text(made.code, encoding="utf-8")
        module = file.removeprefix("src/").removesuffix(".py").replace("/", ".")
        functions = _functions_of(made.code)
        for name in made.mutant_names:
            before, after = functions[mangled_name_from_mutant_name(name) + "__mutmut_orig"], functions[name]
            if _without_wording(before) == _without_wording(after):
                wording += 1
            else:
                kept.append(Mutant(f"{module}.{name}", file, _change(before, after)))
    return kept, wording


def _functions_of(code: str) -> dict[str, str]:
    # Source of each function and method that mutmut wrote, by its unique name.
    lines, found = code.splitlines(keepends=True), {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef) and "__mutmut_" in node.name:
            text = "".join(lines[node.lineno - 1 : node.end_lineno])
            indent = node.col_offset
            found[node.name] = "".join(line[indent:] if line.strip() else "\n" for line in text.splitlines(True))
    return found


class _NoWording(ast.NodeTransformer):
    """Takes out what a raised error says; its kind stays."""

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        if isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        return node


def _without_wording(function: str) -> str:
    tree = _NoWording().visit(ast.parse(function))
    tree.body[0].name = "function"
    return ast.dump(tree)


def _change(before: str, after: str) -> str:
    # The first lines differ by the names that mutmut gave; default values that are mutated stand there, too.
    plain = re.compile(r"__mutmut_(orig|\d+)(?=\()")
    old, new = ([plain.sub("", line) for line in text.splitlines()] for text in (before, after))
    told = list(unified_diff(old, new, n=0, lineterm=""))[2:]
    return "\n".join(line for line in told if not line.startswith("@@"))


class _Recorder:
    """Notes which functions each test reaches; what a fixture reaches belongs to the whole module of the test."""

    def __init__(self) -> None:
        self.hits: set[str] = set()
        self.by_test: dict[str, set[str]] = defaultdict(set)
        self.by_module: dict[str, set[str]] = defaultdict(set)
        self.seconds: dict[str, float] = {}
        self.fixtures: dict[str, float] = defaultdict(float)

    def note(self, name: str, caller: str | None = None) -> None:
        self.hits.add(name)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        self.hits.clear()
        start = time.process_time()
        yield
        self.fixtures[_module(item.nodeid)] += time.process_time() - start
        self.by_module[_module(item.nodeid)] |= self.hits
        self.hits.clear()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds[item.nodeid] = time.process_time() - start
        self.by_test[item.nodeid] |= self.hits

    def reach(self) -> Reach:
        tests: dict[str, set[str]] = defaultdict(set)
        for test, names in self.by_test.items():
            for name in names | self.by_module[_module(test)]:
                tests[name].add(test)
        return Reach({name: sorted(found) for name, found in tests.items()}, self.seconds, dict(self.fixtures))


def _module(test: str) -> str:
    return test.partition("::")[0]


def in_child(work: Callable[[], dict[str, Any]], cpu_s: float, wall_s: float) -> dict[str, Any] | None:
    """Return what a forked child answers; None when it used up its time. `{"died": n}` when it ended otherwise."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(work, write, cpu_s)
    os.close(write)
    answer, ended = _read_until(read, time.monotonic() + wall_s)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not ended or (os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)):
        return None
    return json.loads(answer) if answer else {"died": status}


def _answer(work: Callable[[], dict[str, Any]], write: int, cpu_s: float) -> None:
    # Never returns: the child ends here, whatever the tests did.
    try:
        os.setpgid(0, 0)
        limit = max(int(cpu_s), 1)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        os.write(write, json.dumps(work()).encode())
    except Exception as error:
        os.write(write, json.dumps({"died": repr(error)}).encode())
    finally:
        os._exit(0)


def _read_until(pipe: int, deadline: float) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    with os.fdopen(pipe, "rb", buffering=0) as source:
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([source], [], [], left)
            if ready:
                part = source.read(1 << 16)
                if not part:
                    return b"".join(parts), True
                parts.append(part)
    return b"", False


def find_reach(tests: list[str]) -> Reach:
    """Return which test reaches which function.

    Raises
    ------
    RuntimeError
        When a test fails without any mutant.
    """

    def work() -> dict[str, Any]:
        recorder = _Recorder()
        vars(trampoline)["record_trampoline_hit"] = recorder.note
        trampoline.set_mutant_under_test("stats")
        status = pytest.main([*QUIET, *tests], plugins=[recorder])
        return {"status": int(status), "reach": asdict(recorder.reach())}

    answer = in_child(work, 3600, 7200)
    if not answer or answer.get("status") != 0:
        answer = answer and {key: value for key, value in answer.items() if key != "reach"}
        raise RuntimeError(f"Expected all tests to pass without a mutant, found {answer or 'no end'}.")
    return Reach(**answer["reach"])


class _FirstFailure:
    """Remembers the test that failed first."""

    test: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.test is None:
            self.test = report.nodeid


def try_mutant(name: str, reach: Reach, budget_s: float) -> dict[str, Any]:
    """Return what became of a mutant: `outcome`, the test that killed it, and seconds of wall time."""
    tests, usual_s = reach.chosen(mangled_name_from_mutant_name(name), budget_s)
    if not tests:
        return {"outcome": "no tests", "test": None, "seconds": 0.0}

    def work() -> dict[str, Any]:
        first = _FirstFailure()
        trampoline.set_mutant_under_test(name)
        status = int(pytest.main([*QUIET, *tests], plugins=[first]))
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return {"died": f"pytest ended with {status}"}
        return {"outcome": "survived" if status == pytest.ExitCode.OK else "killed", "test": first.test}

    start = time.monotonic()
    cpu_s = 10 + 4 * usual_s
    answer = in_child(work, cpu_s, 8 * cpu_s)
    if answer is None:
        answer = {"outcome": "timeout", "test": None}
    elif "died" in answer:
        # Neither noticed nor survived: it takes no part in the share.
        answer = {"outcome": "not tried", "test": None, "died": answer["died"]}
    return {**answer, "seconds": round(time.monotonic() - start, 1)}


def main() -> int:
    """Return 0 when the task in the file that is named was done: `make`, or `run` for a list of mutants."""
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if task["kind"] == "make":
        mutants, wording = make_mutants(Path.cwd(), task["room"])
        _store(Path(task["out"]), {"wording": wording, "mutants": [asdict(mutant) for mutant in mutants]})
        return 0
    _run(task)
    return 0


def _run(task: dict[str, Any]) -> None:
    trampoline.set_mutant_under_test("none")
    if pytest.main(["--collect-only", "-qqq", "-p", "no:cacheprovider", "-p", "no:xdist", *task["reach"]]) != 0:
        raise RuntimeError("Expected the tests to be collected; run them without mutants to see why not.")
    package = sys.modules[PACKAGE]
    if not Path(str(package.__file__)).is_relative_to(Path.cwd()):
        raise RuntimeError(f"Expected the mutated copy of the package, found {package.__file__}. Check PYTHONPATH.")
    gc.collect()
    gc.freeze()
    reach = together([_known_reach(Path(path), tests) for tests, path in task["reach"].items()])
    until = time.monotonic() + 60 * (task["minutes"] or float("inf"))
    with Path(task["out"]).open("a", encoding="utf-8") as out:
        for name in task["names"]:
            if time.monotonic() > until:
                return
            out.write(json.dumps({"name": name, **try_mutant(name, reach, task["budget_s"])}) + "\n")
            out.flush()


def _known_reach(path: Path, tests: str) -> Reach:
    # Asked once of a file of tests as it stands.
    if not path.is_file():
        _store(path, asdict(find_reach([tests])))
    return Reach(**json.loads(path.read_text(encoding="utf-8")))


def together(parts: list[Reach]) -> Reach:
    """Return what several files of tests reach."""
    tests: dict[str, list[str]] = defaultdict(list)
    for part in parts:
        for function, found in part.tests_of.items():
            tests[function] += found
    seconds = {test: time_s for part in parts for test, time_s in part.seconds.items()}
    fixtures = {module: time_s for part in parts for module, time_s in part.fixtures.items()}
    return Reach(dict(tests), seconds, fixtures)


def _store(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
