"""Contrast medium: its settings, the injection, and the pulse that an injector makes.

Units: mg I/ml, ml/s, s, mg.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params

__all__ = ["ContrastParams", "Injection", "Pulse"]

Array = npt.NDArray[np.float64]


class ContrastParams(Params):
    """Injection, transport and tissue."""

    iodine_mg_per_ml: float = Field(300.0, ge=50, le=400, description="iodine in the contrast medium, mg/ml")
    injection_ml_s: float = Field(4.5, gt=0, le=20, description="rate of the injector, ml/s")
    injection_over_flow: float = Field(
        1.1,
        gt=0,
        le=5,
        description="greatest injection rate over the flow of the vessel at the tip; above 1 it refluxes",
    )
    injection_s: float = Field(2.6, gt=0, le=20, description="duration of the injection, s")
    ramp_s: float = Field(0.3, gt=0, le=2, description="time in which the injector reaches its rate, s")
    dispersion_s: float = Field(
        0.12, gt=0, le=0.6, description="variance that a bolus gains in vessels for each second of transit, s"
    )
    liver_transit_s: float = Field(12.0, gt=0, le=60, description="mean transit of contrast through liver tissue, s")
    spleen_transit_s: float = Field(6.0, gt=0, le=60, description="mean transit through the spleen, s")
    organ_transit_s: float = Field(8.0, gt=0, le=60, description="mean transit through stomach, pancreas and bowel, s")
    arterial_share: float = Field(
        0.25, ge=0.05, le=0.95, description="share of the liver's blood that is arterial; the rest is portal"
    )
    stump_mm: float = Field(
        1.5, ge=0, le=20, description="depth to which contrast mixes into a branch that is closed, mm"
    )
    tip_mixing_diameters: float = Field(
        1.5,
        ge=0,
        le=5,
        description="depth to which contrast mixes upstream of the tip without reflux, vessel diameters",
    )
    streaming: float = Field(
        0.0,
        ge=0,
        le=1,
        description="unequal mixing at the first forks: branches on the dependent side get more; 0 is off",
    )
    streaming_forks: int = Field(3, ge=1, le=20, description="forks beyond the tip at which contrast still streams")
    layering: float = Field(
        0.0, ge=0, le=1, description="settling of contrast on the dependent wall of wide slow vessels; 0 is off"
    )
    recirculation: float = Field(
        0.0, ge=0, le=1, description="share of the drained iodine that comes round again; 0 is off"
    )
    recirculation_s: float = Field(14.0, ge=2, le=60, description="mean time from liver vein back to the aorta, s")
    cardiac_output_ml_s: float = Field(
        90.0, ge=20, le=250, description="blood into which drained iodine is mixed, ml/s"
    )
    blush_evenness: float = Field(
        0.45,
        ge=0,
        le=1,
        description="share of a tumour's iodine spread evenly; the rest gathers about its vessels' ends",
    )
    mass_attenuation_mm2_mg: float = Field(
        1.15, gt=0, le=10, description="attenuation of iodine at the effective energy, mm2/mg"
    )


@dataclass(frozen=True, slots=True)
class Injection:
    """One injection through a catheter.

    Attributes
    ----------
    tip_node : int
        Node of the arteries at which the catheter's tip stands.
    rate_ml_s, duration_s, iodine_mg_per_ml : float
    start_s : float
        On the run's clock; may lie before its first frame.
    ramp_s : float
        The rate rises, and falls at the end, evenly over this time.

    Raises
    ------
    ValueError
        When rate, duration, concentration or ramp is not positive.
    """

    tip_node: int
    rate_ml_s: float
    duration_s: float
    iodine_mg_per_ml: float
    start_s: float = 0.0
    ramp_s: float = 0.3

    def __post_init__(self) -> None:
        for name in ("rate_ml_s", "duration_s", "iodine_mg_per_ml", "ramp_s"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"Expected {name} of the injection above 0, found {value}; correct it.")
        if not np.isfinite(self.start_s):
            raise ValueError(f"Expected a finite start_s of the injection, found {self.start_s}; correct it.")
        if self.tip_node < 0:
            raise ValueError(f"Expected tip_node to be a node of the arteries, found {self.tip_node}; correct it.")

    @property
    def iodine_mg(self) -> float:
        """Return all the iodine that is injected."""
        return self.rate_ml_s * self.duration_s * self.iodine_mg_per_ml


@dataclass(frozen=True, slots=True, eq=False)
class Pulse:
    """A sum of boxes in time: levels (B,), from `begin` to `end` (B,) s after the injection's start.

    Each box is rounded by the injector's ramp: it rises from `begin` and falls from `end` over `ramp_s`.
    """

    level: Array
    begin: Array
    end: Array
    ramp_s: float

    def at(self, times: Array) -> Array:
        """Return (N,) the sum at times (N,)."""
        t = np.asarray(times, float)[:, None]
        up, down = (t - self.begin) / self.ramp_s, (t - self.end) / self.ramp_s
        return np.asarray((self.level * (np.clip(up, 0, 1) - np.clip(down, 0, 1))).sum(axis=1))

    def integral(self, times: Array) -> Array:
        """Return (N,) the area under the sum up to times (N,)."""
        t = np.asarray(times, float)[:, None]
        return np.asarray((self.level * (self._area(t - self.begin) - self._area(t - self.end))).sum(axis=1))

    def _area(self, x: Array) -> Array:
        x = np.maximum(x, 0.0)
        return np.where(x < self.ramp_s, 0.5 * x * x / self.ramp_s, x - 0.5 * self.ramp_s)
