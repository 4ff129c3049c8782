"""Metal and plastic inside the patient: the catheter, coils of an old embolisation, surgical clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.projection import Tubes

__all__ = ["Catheter", "Devices"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Devices:
    """Coils and clips as thin tubes, LPS mm; both may be empty."""

    coils: Tubes
    clips: Tubes


@dataclass(frozen=True, slots=True, eq=False)
class Catheter:
    """A catheter from below the aorta to its tip.

    Attributes
    ----------
    tip_node : int
        Node of the arteries at which the tip stands.
    course_mm : (K, 3) LPS, the last point is the tip
    order : int
        0 celiac (or superior mesenteric where that feeds), 1 common hepatic, 2 proper hepatic, 3 lobar,
        4 segmental.
    """

    tip_node: int
    course_mm: Array
    order: int
