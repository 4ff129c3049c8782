"""Many inputs: plan, execute, resume; and where that stands.

Names are found when they are asked for: who asks where a batch stands does not wait for the imaging libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from angio_pipeline.core.lazy import names_on_demand

if TYPE_CHECKING:
    from angio_pipeline.batch.engines import Engine
    from angio_pipeline.batch.executing import BatchReport, execute
    from angio_pipeline.batch.plan import ComparisonTask, FollowUpTask, Plan, RunTask, make_plan
    from angio_pipeline.batch.standing import AtWork, Standing, count_words, read_standing
    from angio_pipeline.batch.tasks import Outcome, Settings, check_weights
    from angio_pipeline.batch.watch import Limits, limit_tasks

__all__ = [
    "AtWork",
    "BatchReport",
    "ComparisonTask",
    "Engine",
    "FollowUpTask",
    "Limits",
    "Outcome",
    "Plan",
    "RunTask",
    "Settings",
    "Standing",
    "check_weights",
    "count_words",
    "execute",
    "limit_tasks",
    "make_plan",
    "read_standing",
]

__getattr__ = names_on_demand(
    __name__,
    {
        "engines": ("Engine",),
        "executing": ("BatchReport", "execute"),
        "plan": ("ComparisonTask", "FollowUpTask", "Plan", "RunTask", "make_plan"),
        "standing": ("AtWork", "Standing", "count_words", "read_standing"),
        "tasks": ("Outcome", "Settings", "check_weights"),
        "watch": ("Limits", "limit_tasks"),
    },
)
