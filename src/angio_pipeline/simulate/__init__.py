"""The digital patient: anatomy, contrast, X-rays, follow-ups and the truth about all of them.

It judges the science rooms, so it borrows nothing from them.
"""

from angio_pipeline.simulate.population import Finished, simulate
from angio_pipeline.simulate.presets import PRESETS, SimulationParams, load_preset

__all__ = ["PRESETS", "Finished", "SimulationParams", "load_preset", "simulate"]
