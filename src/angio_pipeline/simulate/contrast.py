"""Contrast medium on its way: bolus at the tip, transport along the tree, blush, washout.

Vessels are tanks in series: after a mean delay tau the bolus is convolved with a gamma density of
mean tau and variance tau * dispersion_s. Gamma densities of one scale are closed under
convolution, so any way of cutting a path into pieces gives the same curve, and iodine is kept.
Tissue holds what flows in with a mono-exponential residue (central volume theorem).
Units: mg I/ml, ml/s, s, mg.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.stats import gamma

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.courses import Courses
from angio_pipeline.simulate.tree import Tree

__all__ = ["BolusTable", "ContrastParams", "make_bolus", "transit_delays"]

Array = npt.NDArray[np.float64]
_STEP_S = 0.02
_DELAY_STEP_S = 0.05


class ContrastParams(Params):
    """Injection and tissue."""

    iodine_mg_per_ml: float = Field(300.0, ge=50, le=400)
    injection_ml_s: float = Field(4.5, gt=0, le=20)
    injection_s: float = Field(2.6, gt=0, le=20)
    dispersion_s: float = Field(0.12, gt=0, le=2)
    tumour_transit_s: float = Field(6.0, gt=0, le=60)
    liver_transit_s: float = Field(8.0, gt=0, le=60)
    mass_attenuation_mm2_mg: float = Field(1.4, gt=0, le=10, description="iodine, at the effective energy")


@dataclass(frozen=True, slots=True, eq=False)
class BolusTable:
    """Concentration in an artery and load of tissue for any delay and time.

    Attributes
    ----------
    times_s : (N,) from the first frame; delays_s : (D,) from the tip.
    artery : (D, N) mg/ml; tumour, liver : (D, N) mg s/ml, to be multiplied by flow (ml/s) for mg.
    """

    times_s: Array
    delays_s: Array
    artery: Array
    tumour: Array
    liver: Array

    def at(self, table: Array, delay_s: Array, time_s: float) -> Array:
        """Return `table` (D, N) interpolated at delays (K,) and one time."""
        column = min(max((time_s - self.times_s[0]) / _STEP_S, 0.0), len(self.times_s) - 1.001)
        j, g = int(column), column - int(column)
        values = (1 - g) * table[:, j] + g * table[:, j + 1]
        return np.asarray(np.interp(delay_s, self.delays_s, values))

    def rise_s(self, table: Array, delay_s: Array) -> Array:
        """Return (K,) the times of half the peak on the rising side."""
        half = table >= 0.5 * table.max(axis=1, keepdims=True)
        rise = self.times_s[np.argmax(half, axis=1)]
        return np.asarray(np.interp(delay_s, self.delays_s, rise))

    def peak(self, table: Array, delay_s: Array) -> Array:
        """Return (K,) the greatest value over time."""
        return np.asarray(np.interp(delay_s, self.delays_s, table.max(axis=1)))


def make_bolus(
    params: ContrastParams, root_flow_ml_s: float, injected_at_s: float, until_s: float, longest_delay_s: float
) -> BolusTable:
    """Return the tables of one injection that starts at `injected_at_s` after the first frame."""
    times = np.arange(0.0, until_s + 2 * _STEP_S, _STEP_S)
    delays = np.arange(0.0, longest_delay_s + 2 * _DELAY_STEP_S, _DELAY_STEP_S)
    flow = max(root_flow_ml_s, params.injection_ml_s)
    strength = params.iodine_mg_per_ml * params.injection_ml_s / flow
    ramp_s = min(0.3, params.injection_s / 3)
    edges = np.array([0.0, ramp_s, params.injection_s, params.injection_s + ramp_s]) + injected_at_s
    tip = strength * np.interp(times, edges, [0.0, 1.0, 1.0, 0.0])
    artery = np.stack([_disperse(tip, times, delay, params.dispersion_s) for delay in delays])
    return BolusTable(
        times,
        delays,
        artery,
        _residue(artery, params.tumour_transit_s),
        _residue(artery, params.liver_transit_s),
    )


def _disperse(tip: Array, times: Array, delay_s: float, dispersion_s: float) -> Array:
    if delay_s <= 0:
        return tip
    # Exact mass of the density in each step, so that no iodine is lost to sampling.
    edges = np.append(times, times[-1] + _STEP_S) - 0.5 * _STEP_S
    mass = np.diff(gamma.cdf(np.maximum(edges, 0), delay_s / dispersion_s, scale=dispersion_s))
    return np.asarray(np.convolve(tip, mass)[: len(tip)])


def _residue(artery: Array, transit_s: float) -> Array:
    keep = np.exp(-_STEP_S / transit_s)
    held = np.zeros_like(artery)
    for j in range(1, artery.shape[1]):
        held[:, j] = held[:, j - 1] * keep + 0.5 * _STEP_S * (artery[:, j - 1] * keep + artery[:, j])
    return held


def transit_delays(
    tree: Tree, courses: Courses, root_flow_ml_s: float, root_radius_mm: float, resistance: Array | None = None
) -> Array:
    """Return (S,) seconds from the tip to the middle of each segment.

    `resistance` (N,) multiplies the transit time of tree edges (1 is normal; embolised: more).
    """
    area = np.pi * tree.radii_mm(root_radius_mm)[courses.edge] ** 2
    speed = 1000.0 * root_flow_ml_s * np.asarray(tree.flow)[courses.edge] / area
    passage = courses.length_mm() / speed
    if resistance is not None:
        passage = passage * resistance[courses.edge]
    arrival = np.zeros(len(passage))
    for k, above in enumerate(courses.parent):
        arrival[k] = passage[k] + (arrival[above] if above >= 0 else 0.0)
    return np.asarray(arrival - 0.5 * passage)
