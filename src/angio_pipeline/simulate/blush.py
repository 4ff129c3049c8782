"""Tumour blush and parenchymal stain: tissue at the terminals that holds what flows into it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.anatomy import Anatomy
from angio_pipeline.simulate.contrast import BolusTable
from angio_pipeline.simulate.courses import Courses
from angio_pipeline.simulate.projection import CArm, Ellipsoids, project_ellipsoids, project_gaussians

__all__ = ["Bed", "beds"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Bed:
    """Tissue fed by some terminals.

    Attributes
    ----------
    centre, sigma_mm : (K, 3), (K,) one Gaussian region a terminal
    flow_ml_s, delay_s : (K,)
    solid : Ellipsoids or None
        A body over which `even` of the iodine spreads evenly (a tumour's sharp rim).
    tumour : int
        Index, or -1 for liver.
    """

    centre: Array
    sigma_mm: Array
    flow_ml_s: Array
    delay_s: Array
    solid: Ellipsoids | None
    tumour: int
    even: float = 0.0

    def mass_mg(self, bolus: BolusTable, time_s: float) -> Array:
        """Return (K,) mg of iodine held at `time_s`."""
        table = bolus.liver if self.tumour < 0 else bolus.tumour
        return self.flow_ml_s * bolus.at(table, self.delay_s, time_s)

    def areal_density(self, carm: CArm, bolus: BolusTable, time_s: float, moved: Array) -> Array:
        """Return (rows, columns) mg/mm² at `time_s`, the tissue moved by `moved` (K, 3) mm."""
        mass = self.mass_mg(bolus, time_s)
        image = project_gaussians(carm, self.centre + moved, self.sigma_mm, (1 - self.even) * mass)
        if self.solid is not None and self.even > 0:
            volume = 4 / 3 * np.pi / np.linalg.det(self.solid.shape)
            body = Ellipsoids(self.solid.centre + moved.mean(axis=0), self.solid.shape)
            image += project_ellipsoids(carm, body, self.even * mass.sum() / volume.sum())
        return image


def beds(anatomy: Anatomy, courses: Courses, delay_s: Array, residual: Array) -> list[Bed]:
    """Return the liver's bed and one for each tumour; `residual` (tumours,) scales a tumour's inflow."""
    found = [_bed(anatomy, courses, delay_s, list(anatomy.liver_terminals), -1, 1.0)]
    for index, tumour in enumerate(anatomy.tumours):
        found.append(_bed(anatomy, courses, delay_s, list(tumour.terminals), index, float(residual[index])))
    return found


def _bed(anatomy: Anatomy, courses: Courses, delay_s: Array, terminals: list[int], tumour: int, residual: float) -> Bed:
    last = np.array([courses.last_of_node[t] for t in terminals])
    flow = anatomy.root_flow_ml_s * np.asarray(anatomy.tree.flow)[terminals] * residual
    solid = anatomy.tumours[tumour].solid if tumour >= 0 else None
    sigma = 13.0 if tumour < 0 else 0.24 * anatomy.tumours[tumour].radius_mm
    even = 0.0 if tumour < 0 else 0.5
    centre = courses.tubes.end[last]
    return Bed(centre, np.full(len(last), sigma), flow, delay_s[last], solid, tumour, even)
