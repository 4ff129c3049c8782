"""What is measured on each branch of the vessel tree."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["BranchMeasures", "VelocityState"]


class VelocityState(StrEnum):
    """Whether a branch has a velocity, and why not."""

    MEASURED = "measured"
    NOT_TIMED = "not timed"
    NOT_FILLED = "not filled"
    UNRESOLVED = "unresolved"
    CONTRADICTORY = "contradictory"


@dataclass(frozen=True, slots=True)
class BranchMeasures:
    """Measures of one branch, lengths in pixels of the frame; what is not known is NaN, or None where it counts.

    Attributes
    ----------
    branch : int
        `id` of the branch.
    strahler_order : int
        1 for a branch that flows into no other; 1 more where two of the same order meet.
    generation : int or None
        Bifurcations between the root and the branch; None in a piece that the root does not reach.
    length_px : float
        Along the centreline, in projection.
    tortuosity : float
        Length over the straight distance of the ends, at least 1; NaN where the ends lie upon each other.
    diameter_px : float
        Mean along the centreline.
    taper : float
        Diameter lost along the way over its length (fitted line); negative where the branch widens.
    arrival_start_s, arrival_end_s : float
        When the leading edge of contrast passes both ends, of the fit along the tree.
    velocity_px_s : float
        Mean velocity of the leading edge along the branch, in projection.
    velocity_interval_px_s : tuple of float
        95 % interval of the velocity.
    velocity_state : VelocityState
        `not timed`: the run does not show contrast coming. `not filled`: no edge of contrast was seen.
        `unresolved`: the way is too short, the flow too fast or the contrast too faint for these frames.
        `contradictory`: the branch's own times say something else than those of its neighbours.
    """

    branch: int
    strahler_order: int
    generation: int | None
    length_px: float
    tortuosity: float
    diameter_px: float
    taper: float
    arrival_start_s: float = float("nan")
    arrival_end_s: float = float("nan")
    velocity_px_s: float = float("nan")
    velocity_interval_px_s: tuple[float, float] = (float("nan"), float("nan"))
    velocity_state: VelocityState = VelocityState.NOT_TIMED
