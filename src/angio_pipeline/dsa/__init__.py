"""Subtraction: linearise, choose the mask, correct motion, subtract, denoise."""

from angio_pipeline.dsa.broken import set_aside_broken
from angio_pipeline.dsa.denoise import DenoiseParams, denoise
from angio_pipeline.dsa.linear import attenuation, linearise
from angio_pipeline.dsa.mask_choice import MaskChoice, MaskParams, choose_mask
from angio_pipeline.dsa.motion import MotionParams, estimate_motion, estimate_shifts
from angio_pipeline.dsa.subtraction import SubtractParams, subtract

__all__ = [
    "DenoiseParams",
    "MaskChoice",
    "MaskParams",
    "MotionParams",
    "SubtractParams",
    "attenuation",
    "choose_mask",
    "denoise",
    "estimate_motion",
    "estimate_shifts",
    "linearise",
    "set_aside_broken",
    "subtract",
]
