"""A simulated night: a million runs on hundreds of workers, event by event.

Strategy: workers take tasks one after another. A task reads its file through storage that all share, first come first
served at a fixed bandwidth, and then computes for a time drawn from the times that were measured. Some tasks take many
times as long; workers die at random, lose the task they have, and come back after a while; a task lost twice is
refused. The one process that gives out tasks needs some time for each. Nothing else is modelled.
"""

from __future__ import annotations

import heapq
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Assumptions", "schedule_table", "simulate_schedule"]


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the simulated cluster is like."""

    runs: int = 1_000_000
    read_mb: float = 30.0
    storage_mb_per_s: float = 2000.0
    straggler_share: float = 0.01
    straggler_times: float = 10.0
    worker_life_h: float = 24.0
    restart_s: float = 60.0
    dispatch_s: float = 0.002
    seed: int = 2026


@dataclass(slots=True)
class _Night:
    """Clocks of what is shared, and what happened so far."""

    storage_free_s: float = 0.0
    dispatcher_free_s: float = 0.0
    lost: int = 0
    refused: int = 0
    end_s: float = 0.0
    busy_s: float = 0.0
    waited_s: float = 0.0
    again: list[int] = field(default_factory=list)


def simulate_schedule(task_s: npt.NDArray[np.float64], workers: int, given: Assumptions) -> dict[str, Any]:
    """Return how long the runs take on so many workers, and what stood in their way.

    Parameters
    ----------
    task_s : ndarray
        Measured seconds of tasks on one core, from which the times are drawn.
    """
    rng = np.random.default_rng([given.seed, workers])
    compute = rng.choice(task_s, given.runs)
    compute[rng.random(given.runs) < given.straggler_share] *= given.straggler_times
    lives = given.worker_life_h * 3600
    free = [(0.0, worker) for worker in range(workers)]
    dies = list(rng.exponential(lives, workers))
    tried = np.zeros(given.runs, np.uint8)
    night, following = _Night(), 0
    while following < given.runs or night.again:
        now, worker = heapq.heappop(free)
        if night.again:
            task = night.again.pop()
        else:
            task, following = following, following + 1
        finish = _finish(night, now, float(compute[task]), given)
        if finish > dies[worker]:
            back = max(now, dies[worker]) + given.restart_s
            _lose(night, task, tried)
            dies[worker] = back + rng.exponential(lives)
            heapq.heappush(free, (back, worker))
            continue
        night.end_s, night.busy_s = max(night.end_s, finish), night.busy_s + finish - now
        heapq.heappush(free, (finish, worker))
    return {
        "workers": workers,
        "hours": night.end_s / 3600,
        "efficiency": float(compute.sum()) / (workers * night.end_s),
        "storage_busy": given.runs * given.read_mb / given.storage_mb_per_s / night.end_s,
        "waited_for_storage": night.waited_s / max(night.busy_s, 1e-9),
        "lost": night.lost,
        "refused": night.refused,
    }


def _finish(night: _Night, now: float, compute_s: float, given: Assumptions) -> float:
    """Return when a task ends that a worker asks for now."""
    night.dispatcher_free_s = max(night.dispatcher_free_s, now) + given.dispatch_s
    begun = night.dispatcher_free_s
    night.storage_free_s = max(night.storage_free_s, begun) + given.read_mb / given.storage_mb_per_s
    night.waited_s += night.storage_free_s - begun
    return night.storage_free_s + compute_s


def _lose(night: _Night, task: int, tried: npt.NDArray[np.uint8]) -> None:
    night.lost += 1
    tried[task] += 1
    if tried[task] >= 2:
        night.refused += 1
    else:
        night.again.append(task)


def schedule_table(rows: list[dict[str, Any]], given: Assumptions) -> str:
    """Return the simulated nights as a Markdown table, and what was assumed."""
    lines = [
        "| workers | hours | of the ideal | storage busy | time spent on storage | lost with a worker | refused |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['workers']} | {row['hours']:.1f} | {row['efficiency']:.1%} | {row['storage_busy']:.0%} "
        f"| {row['waited_for_storage']:.1%} | {row['lost']} | {row['refused']} |"
        for row in rows
    ]
    told = asdict(given)
    words = (
        f"Simulated, not measured: {told['runs']:,} runs of {told['read_mb']:.0f} MB from storage that gives "
        f"{told['storage_mb_per_s']:,.0f} MB/s to all\ntogether, first come first served; times drawn from those "
        f"measured above, {told['straggler_share']:.0%} of the tasks {told['straggler_times']:.0f} times as long;\n"
        f"a worker dies once in {told['worker_life_h']:.0f} h in the mean, loses its task and is back after "
        f"{told['restart_s']:.0f} s; a task lost twice is\nrefused (the same command tries it again); "
        f"{told['dispatch_s'] * 1000:.1f} ms of the main process for each task. Not modelled: reading headers\nbefore "
        "the batch, pages and tables after it, writing, and cores that differ. “Of the ideal” is computing time\n"
        "without any of this over workers times hours."
    )
    return "\n".join(lines) + "\n\n" + words
