"""Blades and shutters: what part of the picture the beam reaches, and what stands outside it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from angio_pipeline.core.params import Params

__all__ = ["CollimationParams", "Opening", "Outside", "draw_opening"]

Array = npt.NDArray[np.float32]


class Outside(StrEnum):
    """What the export shows where the beam does not reach."""

    BLADES = "blades"
    BLACK = "black"
    WHITE = "white"


class CollimationParams(Params):
    """Where the blades stand, as shares of the picture; all open by default."""

    left: float = Field(0.0, ge=0, le=0.45, description="share of the columns behind the left blade")
    right: float = Field(0.0, ge=0, le=0.45, description="share of the columns behind the right blade")
    top: float = Field(0.0, ge=0, le=0.45, description="share of the rows behind the upper blade")
    bottom: float = Field(0.0, ge=0, le=0.45, description="share of the rows behind the lower blade")
    circle: float | None = Field(
        None, ge=0.3, le=1.5, description="radius of a round opening over half the smaller side; none without it"
    )
    leak: float = Field(0.004, ge=0, le=0.2, description="share of the beam that passes a blade")
    penumbra_px: float = Field(1.5, ge=0, le=20, description="standard deviation of a blade's edge, pixels")
    outside: Outside = Field(
        Outside.BLADES, description="blades as seen through scatter, or an electronic shutter filled black or white"
    )

    @model_validator(mode="after")
    def _something_left_open(self) -> CollimationParams:
        if self.left + self.right > 0.8:
            raise ValueError("left and right together must leave 0.2 of the picture open")
        if self.top + self.bottom > 0.8:
            raise ValueError("top and bottom together must leave 0.2 of the picture open")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Opening:
    """An opening on a matrix.

    Attributes
    ----------
    beam : (H, W) float32, share of the beam that passes
    open : (H, W) bool, inside every blade's edge
    edges : (left, right, upper, lower), 0-based first and last open column and row
    circle : (row, col, radius) or None, 0-based pixels
    """

    beam: Array
    open: npt.NDArray[np.bool_]
    edges: tuple[int, int, int, int]
    circle: tuple[int, int, int] | None

    @property
    def shapes(self) -> list[str]:
        """DICOM names of the openings that limit the picture."""
        rows, columns = self.open.shape
        blades = ["RECTANGULAR"] if self.edges != (0, columns - 1, 0, rows - 1) else []
        return blades + (["CIRCULAR"] if self.circle is not None else [])


def draw_opening(rows: int, columns: int, params: CollimationParams) -> Opening:
    """Return the opening on a picture of `rows` by `columns`."""
    left, right = round(params.left * columns), columns - 1 - round(params.right * columns)
    upper, lower = round(params.top * rows), rows - 1 - round(params.bottom * rows)
    hole = np.zeros((rows, columns), bool)
    hole[upper : lower + 1, left : right + 1] = True
    circle = None
    if params.circle is not None:
        centre_row, centre_col, radius = rows // 2, columns // 2, round(params.circle * min(rows, columns) / 2)
        row, col = np.ogrid[:rows, :columns]
        hole &= (row - centre_row) ** 2 + (col - centre_col) ** 2 < radius**2
        circle = (centre_row, centre_col, radius)
    beam = (params.leak + (1 - params.leak) * hole).astype(np.float32)
    if params.penumbra_px > 0 and not hole.all():
        beam = np.asarray(cv2.GaussianBlur(beam, (0, 0), params.penumbra_px, borderType=cv2.BORDER_REPLICATE))
    return Opening(beam, hole, (left, right, upper, lower), circle)
