"""The digital patient: anatomy, contrast, X-rays, follow-ups and the truth about all of them.

It judges the science rooms, so it borrows nothing from them.
"""

from angio_pipeline.simulate.patient import simulate
from angio_pipeline.simulate.presets import PRESETS, SimulationParams, load_preset

__all__ = ["PRESETS", "SimulationParams", "load_preset", "simulate"]
