"""Many inputs: plan, execute, resume."""

from angio_pipeline.batch.execute import BatchReport, execute
from angio_pipeline.batch.plan import ComparisonTask, FollowUpTask, Plan, RunTask, make_plan
from angio_pipeline.batch.tasks import Outcome, Settings, check_weights

__all__ = [
    "BatchReport",
    "ComparisonTask",
    "FollowUpTask",
    "Outcome",
    "Plan",
    "RunTask",
    "Settings",
    "check_weights",
    "execute",
    "make_plan",
]
