"""Many inputs: plan, execute, resume; and where that stands."""

from angio_pipeline.batch.engines import Engine
from angio_pipeline.batch.execute import BatchReport, execute
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
