"""An edit of a follow-up, beside those of runs in `core.corrections`: a lesion outlined on the reference scan."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from angio_pipeline.core.corrections import Edit, Identifier, Polygon

__all__ = ["DrawnPlane", "RedrawLesion"]


class DrawnPlane(BaseModel):
    """Closed polygons on one axial plane of the reference scan, (row, col) in its pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    z: Annotated[int, Field(ge=0, le=4095)]
    polygons: Annotated[tuple[Polygon, ...], Field(min_length=1, max_length=100)]


class RedrawLesion(Edit):
    """The lesion reaches this far; becomes a region for `angio run --roi`, as corrections are of runs alone."""

    kind: Literal["redraw_lesion"] = "redraw_lesion"
    lesion: Identifier
    planes: Annotated[tuple[DrawnPlane, ...], Field(min_length=1, max_length=4096)]
