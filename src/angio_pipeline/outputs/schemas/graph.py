"""`graph.json`: the directed arterial tree of one run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from angio_pipeline.core.measures import VelocityState
from angio_pipeline.outputs.schemas.common import Document, Interval, Point

__all__ = [
    "GraphBranch",
    "GraphDocument",
    "GraphNode",
]


class GraphNode(Document):
    """An end or a division of the tree."""

    id: int
    row: float
    col: float


class GraphBranch(Document):
    """One branch; its points run with the flow, from `start` to `end`.

    Lengths and velocities are those of the projection; intervals hold 95 %. `arrival_start_s`, `arrival_end_s` and
    the velocity are of the leading edge of contrast, fitted over the whole tree; `velocity_state` says why a branch
    has no velocity. `taper` is diameter lost over length. `generation` counts bifurcations from the root and is
    `null` where the root does not reach.
    """

    id: int
    start: int
    end: int
    centreline: list[Point]
    radius_px: list[float | None]
    arrival_s: list[float | None]
    length_px: float
    diameter_px: float | None
    overlap_ambiguous: bool
    strahler_order: int | None = None
    generation: int | None = None
    length_mm: float | None = None
    tortuosity: float | None = None
    mean_diameter_px: float | None = None
    mean_diameter_mm: float | None = None
    taper: float | None = None
    arrival_start_s: float | None = None
    arrival_end_s: float | None = None
    velocity_px_s: float | None = None
    velocity_interval_px_s: Interval | None = None
    velocity_mm_s: float | None = None
    velocity_interval_mm_s: Interval | None = None
    velocity_state: VelocityState | None = None


class GraphDocument(Document):
    """`graph.json`: the directed arterial tree."""

    schema_: Literal["angio-pipeline/graph/1"] = Field(default="angio-pipeline/graph/1", alias="schema")
    root: int | None
    flow_from: Literal["arrival", "shape"]
    nodes: list[GraphNode]
    branches: list[GraphBranch]
    crossings: list[Point]
