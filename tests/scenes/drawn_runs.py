"""Drawn runs as their analysis would leave them, for scenes that say of a run where its vessels are and no more."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.runs import AngioRun, Background, PerfusionMaps, Phases, SubtractedRun

Floats = npt.NDArray[np.float32]


def subtracted(
    run: AngioRun,
    reference: int,
    *,
    mask_frames: tuple[int, ...],
    noise_sd: float,
    attenuation: Floats,
) -> SubtractedRun:
    """The run, whose frames hold contrast alone, as subtraction without motion leaves it."""
    count = len(run.times_s)
    return SubtractedRun(
        frames=run.frames,
        times_s=run.times_s,
        valid=run.valid,
        usable=np.ones(count, bool),
        background=Background.MASK,
        mask_frames=mask_frames,
        reference_frame=reference,
        motion_px=np.zeros((count, 2)),
        residual_before=0.01,
        residual_after=0.01,
        noise_sd=noise_sd,
        uncorrected=run.frames[reference],
        attenuation=attenuation,
        source=run.source,
        spacing=run.spacing,
        pose=run.pose,
    )


def flat_maps(shape: tuple[int, int], phases: Phases, interval_s: float) -> PerfusionMaps:
    """Maps that say when the phases are and nothing else."""
    flat = np.zeros(shape, np.float32)
    return PerfusionMaps(flat, flat, flat, flat, flat, phases, interval_s)
