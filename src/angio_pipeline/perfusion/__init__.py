"""Perfusion: arrival, time to peak, peak, area, wash-in; phases."""

from angio_pipeline.perfusion.maps import PerfusionParams, measure
from angio_pipeline.perfusion.phases import PhaseParams, find_phases
from angio_pipeline.perfusion.regions import region_curves
from angio_pipeline.perfusion.relabel import relabel_phases

__all__ = ["PerfusionParams", "PhaseParams", "find_phases", "measure", "region_curves", "relabel_phases"]
