"""Where pixels and voxels lie, and how that is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from angio_pipeline.core.errors import NotCalibratedError

__all__ = ["CArmPose", "PixelSpacing", "SpacingPlane"]


class SpacingPlane(StrEnum):
    """The plane in which a pixel spacing holds (DICOM PS3.3 10.7)."""

    CALIBRATED = "calibrated"
    ISOCENTRE = "isocentre"
    DETECTOR = "detector"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class PixelSpacing:
    """Distance between pixel centres, and the plane in which it holds.

    `how` says in a few words where it came from; it is printed beside every length.
    """

    row_mm: float
    col_mm: float
    plane: SpacingPlane
    how: str = ""

    def __post_init__(self) -> None:
        if not (0 < self.row_mm < 50 and 0 < self.col_mm < 50):
            raise ValueError(f"Expected a pixel spacing between 0 and 50 mm, found {self.row_mm} x {self.col_mm}.")

    @property
    def in_patient(self) -> bool:
        """Whether the spacing holds in the patient rather than at the detector."""
        return self.plane in (SpacingPlane.CALIBRATED, SpacingPlane.ISOCENTRE)

    @property
    def mean_mm(self) -> float:
        """The mean of row and column spacing in millimetres, in the patient.

        Raises
        ------
        NotCalibratedError
            When the spacing holds only at the detector.
        """
        if not self.in_patient:
            raise NotCalibratedError(
                f"Expected a spacing in the patient, found one in the {self.plane.value} plane; report pixels."
            )
        return 0.5 * (self.row_mm + self.col_mm)


@dataclass(frozen=True, slots=True)
class CArmPose:
    """Angulation of the C-arm in degrees (DICOM signs: LAO +, CRA +) and its distances in millimetres."""

    primary_deg: float
    secondary_deg: float
    sid_mm: float | None = None
    sod_mm: float | None = None
