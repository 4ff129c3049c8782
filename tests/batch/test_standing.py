"""Where a batch stands, told from what it left on the disk."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from batch_runs import begin_batch, kill_job, run_to_end, wait_for_work
from command_here import angio
from small_runs import FAST, write_small_runs
from typer.testing import CliRunner

from angio_pipeline import batch, ingest
from angio_pipeline.batch.logs import open_log
from angio_pipeline.batch.watch import Limits, Stages
from angio_pipeline.cli.main import app
from angio_pipeline.config import load_config
from angio_pipeline.core.errors import AngioError


def _write(log: object, *states: str, planned: int = 10) -> None:
    log.write("plan", tasks=planned, refused_before=1)
    log.write("engine", name="pool", workers=2)
    for k, state in enumerate(states):
        log.began -= 5
        log.write("task", kind="run", task=f"P1/{k}", state=state, reasons=["no_run"] * (state == "refused"))


def test_a_batch_at_work_is_told_as_such_and_a_second_one_is_refused(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        _write(log, "resumed", "analysed", "refused")
        found = batch.read_standing(tmp_path)
        assert (found.state, found.planned, found.analysed, found.resumed, found.refused) == ("running", 10, 2, 1, 2)
        assert found.rate_per_hour > 0
        assert found.left_s == pytest.approx(7 / found.rate_per_hour * 3600, rel=0.01, abs=0.1)
        with pytest.raises(AngioError, match="no other batch at work"), open_log(tmp_path):
            pass
    assert batch.read_standing(tmp_path).state == "dead"


def test_inputs_are_counted_as_by_the_run_and_comparisons_of_runs_apart(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        kinds = {"run": 2, "follow-ups": 1, "projections": 1, "comparison": 1}
        log.write("plan", tasks=5, kinds=kinds, refused_before=1)
        for kind in ("run", "run", "follow-ups", "projections"):
            log.write("task", kind=kind, task=f"P1/{kind}", state="analysed", reasons=[], refusals=2 * (kind == "run"))
    found = batch.read_standing(tmp_path)
    assert (found.planned, found.analysed, found.refused, found.compared, found.to_compare) == (3, 3, 5, 1, 2)
    told = CliRunner().invoke(app, ["status", str(tmp_path)]).output
    assert f"{batch.count_words(3, 0, 5)}; 3 planned; 1 of 2 comparisons of runs done" in told


def test_a_line_cut_short_is_passed_over(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        _write(log, "analysed")
    (path,) = (tmp_path / "logs").glob("*.jsonl")
    with path.open("a") as stream:
        stream.write('{"event": "task", "st')
    assert batch.read_standing(tmp_path).analysed == 1


def test_the_latest_batch_is_the_one_of_the_highest_number(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        _write(log, planned=3)
    (first,) = (tmp_path / "logs").glob("*.jsonl")
    first.rename(first.with_name("00001-29991231T235959.jsonl"))
    with open_log(tmp_path) as log:
        _write(log, planned=4)
        assert log.run_id.startswith("00002-")
    assert batch.read_standing(tmp_path).planned == 4


def test_what_was_resumed_before_any_work_does_not_count_in_the_rate(tmp_path: Path) -> None:
    lines = [
        {"event": "plan", "tasks": 4},
        {"event": "engine", "elapsed_s": 0.0},
        {"event": "task", "kind": "run", "state": "resumed", "elapsed_s": 100.0, "time": ""},
        {"event": "task", "kind": "run", "state": "resumed", "elapsed_s": 200.0, "time": ""},
        {"event": "task", "kind": "run", "state": "analysed", "elapsed_s": 210.0, "time": ""},
    ]
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "00001-x.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert batch.read_standing(tmp_path).rate_per_hour == 360.0


def _status(*arguments: object) -> subprocess.CompletedProcess[str]:
    return angio("status", *arguments)


@pytest.mark.slow
def test_a_dead_batch_says_what_was_at_work_and_how_to_go_on(tmp_path: Path) -> None:
    write_small_runs(tmp_path / "in", 3)
    (tmp_path / "fast.toml").write_text(FAST)
    out = tmp_path / "out"
    job = begin_batch(tmp_path / "in", out, "--config", tmp_path / "fast.toml")
    wait_for_work(job, out)
    alive = json.loads(_status(out, "--json").stdout)
    assert (alive["state"], alive["planned"]) == ("running", 3)
    kill_job(job)
    told = json.loads(_status(out, "--json").stdout)
    assert (told["schema"], told["state"]) == ("angio-pipeline/status/2", "dead")
    assert told["left_s"] is None
    assert all(one["since"] and one["pid"] for one in told["at_work"])
    assert "killed before its end; run the same command again" in _status(out).stdout
    for path in (out / "logs").rglob("*.json*"):
        assert "canary" not in path.read_text().lower()
        assert str(tmp_path / "in") not in path.read_text()
    run_to_end(tmp_path / "in", out, "--config", tmp_path / "fast.toml")
    assert "finished" in _status(out).stdout


def test_a_folder_without_a_batch_is_exit_1_with_one_sentence(tmp_path: Path) -> None:
    told = _status(tmp_path)
    assert told.returncode == 1
    assert told.stderr.count("\n") == 1
    assert "Expected the results of angio run" in told.stderr


@pytest.mark.slow
def test_every_task_tells_what_it_took(tmp_path: Path) -> None:
    write_small_runs(tmp_path / "in", 1)
    (tmp_path / "fast.toml").write_text(FAST)
    plan = batch.make_plan(ingest.discover([tmp_path / "in"], workspace=tmp_path / "work"))
    costs = []
    batch.execute(
        plan,
        batch.Settings(tmp_path / "out", load_config(str(tmp_path / "fast.toml"))),
        progress=lambda outcome: costs.append(outcome.cost),
    )
    (cost,) = costs
    assert {"digest", "read", "subtract", "segment", "graph", "write", "check"} <= set(cost.stages)
    assert sum(cost.stages.values()) == pytest.approx(cost.seconds, abs=0.1)
    assert 50 < cost.peak_mb < 4000


def test_stages_of_one_name_add_up_and_none_is_left_open() -> None:
    stages = Stages()
    for name in ("a", "b", "a", ""):
        stages.begin(name)
    assert set(stages.seconds) == {"a", "b"}


@pytest.mark.parametrize("wrong", [{"task_s": 0}, {"memory_mb": -1.0}])
def test_limits_below_nothing_are_misuse(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        Limits(**wrong)


def test_without_a_word_workers_share_the_memory_of_the_machine() -> None:
    one, two = (batch.limit_tasks(60, None, workers=n, elsewhere=False).memory_mb for n in (1, 2))
    assert one == pytest.approx(2 * two)
    assert batch.limit_tasks(60, None, workers=2, elsewhere=True).memory_mb is None
    assert batch.limit_tasks(60, 3.5, workers=2, elsewhere=True).memory_mb == 3500
