"""Where a batch stands, read from its log, its lock and the signs of its workers; it need not live any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from angio_pipeline.batch.logs import held, latest_log, read_events
from angio_pipeline.batch.watch import read_signs
from angio_pipeline.core.errors import AngioError

__all__ = ["AtWork", "Standing", "count_words", "read_standing"]

# Tasks that stand on what runs have left, and are no input of their own.
_PAIRS = ("projections", "comparison")


@dataclass(frozen=True, slots=True)
class AtWork:
    """A task at work: since when (UTC), at which attempt, on which machine and in which process."""

    task: str
    since: str
    attempt: int
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a batch stands.

    Attributes
    ----------
    state : str
        `running`, `finished`, `stopped` by whoever ran it, `failed`, `dead` when it was killed, or `unknown`.
    reason : str
        What made it fail; empty when nothing did.
    planned, analysed, resumed : int
        Runs and patients' follow-ups, as `angio run` counts them: `resumed` of those analysed were analysed before and
        are unchanged.
    refused : int
        Lines of `refused.csv`, those of inputs that never became a task among them.
    compared, to_compare : int
        Pairs of runs whose comparison is done (or cannot be made), and all that are planned.
    rate_per_hour : float, optional
        Tasks worked on in an hour; None before the first.
    left_s : float, optional
        Seconds that the rest will take at this rate; None when it is unknown or nothing is at work.
    last_sign : str
        Time of the last line of the log, UTC.
    """

    run_id: str
    state: str
    reason: str
    planned: int
    analysed: int
    resumed: int
    refused: int
    compared: int
    to_compare: int
    rate_per_hour: float | None
    left_s: float | None
    last_sign: str
    at_work: tuple[AtWork, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return what `angio status --json` prints."""
        return {"schema": "angio-pipeline/status/2", **asdict(self)}


def read_standing(out: Path) -> Standing:
    """Return where the last batch below `out` stands.

    Raises
    ------
    AngioError
        When no batch was begun there.
    """
    # The lock first: a batch that ends in between has its last line in the log by then.
    alive = held(out)
    path = latest_log(out)
    events = list(read_events(path)) if path is not None else []
    if path is None or not events:
        raise AngioError(
            f"Expected the results of angio run with logs, found none in {out}; name the folder given to --out.",
            reason="no_batch",
        )
    state, reason = _state(events, alive)
    every = [event for event in events if event["event"] == "task"]
    tasks = [event for event in every if event["kind"] != "report"]
    inputs = [task["state"] for task in tasks if task["kind"] not in _PAIRS]
    plan = next((event for event in events if event["event"] == "plan"), {})
    to_compare = sum(plan.get("kinds", {}).get(kind, 0) for kind in _PAIRS)
    rate = _rate_per_s(events)
    left = plan.get("tasks", 0) - len(tasks)
    return Standing(
        run_id=path.stem,
        state=state,
        reason=reason,
        planned=plan.get("tasks", 0) - to_compare,
        analysed=len(inputs) - inputs.count("refused"),
        resumed=inputs.count("resumed"),
        refused=plan.get("refused_before", 0) + sum(_refusals(task) for task in every),
        compared=len(tasks) - len(inputs),
        to_compare=to_compare,
        rate_per_hour=rate and round(rate * 3600, 2),
        left_s=round(left / rate, 1) if rate and state == "running" else None,
        last_sign=events[-1]["time"],
        at_work=tuple(_at_work(sign) for sign in read_signs(out, path.stem)) if state != "finished" else (),
    )


def count_words(analysed: int, resumed: int, refused: int) -> str:
    """Return what became of the inputs of a batch, as `angio run` and `angio status` both tell it."""
    again = f" ({resumed} of them unchanged since the last time)" if resumed else ""
    return f"Analysed {analysed}{again}, refused {refused}"


def _refusals(task: Mapping[str, Any]) -> int:
    """How many inputs a task refused; a log that does not tell has one for each reason at least."""
    return int(task.get("refusals", len(task.get("reasons", ()))))


def _state(events: Iterable[Mapping[str, Any]], alive: bool | None) -> tuple[str, str]:
    end = next((event for event in events if event["event"] == "end"), None)
    if end is not None:
        return end["state"], end["reason"]
    return {True: "running", False: "dead", None: "unknown"}[alive], ""


def _rate_per_s(events: Iterable[Mapping[str, Any]]) -> float | None:
    """Return the tasks worked on in a second; those that were only looked at and found unchanged do not count.

    What was looked at took its part of the time, so the rate is that between the first and the last worked on.
    """
    began, worked, last = 0.0, 0, 0.0
    for event in events:
        if event["event"] == "engine" or (event["event"] == "task" and event["state"] == "resumed" and not worked):
            began = event["elapsed_s"]
        elif event["event"] == "task" and event["state"] != "resumed":
            worked, last = worked + 1, event["elapsed_s"]
    return worked / (last - began) if worked and last > began else None


def _at_work(sign: Mapping[str, Any]) -> AtWork:
    return AtWork(sign["task"], sign["since"], sign["attempt"], sign["host"], sign["pid"])
