"""Domain randomisation: every training patient is treated in a laboratory of its own.

A preset says what patients are like; dose, unsharpness, contrast, pace of the frames, angle, motion, blades,
anatomy's wildness and the export are drawn anew around it, wider than any preset, so that a network cannot
rely on one laboratory's habits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from angio_pipeline.simulate import SimulationParams, load_preset

__all__ = ["draw_laboratory"]

_STORAGES = ("LIN", "LIN", "LOG", "DISP", "DISP")
_VENDORS = ("generic", "siemens", "philips", "ge")


def draw_laboratory(preset_shares: Mapping[str, float], rng: np.random.Generator) -> SimulationParams:
    """Return the settings of one training patient.

    Parameters
    ----------
    preset_shares : mapping
        How often each preset is the starting point; the shares need not sum to 1.
    """
    names = sorted(preset_shares)
    shares = np.array([preset_shares[name] for name in names])
    base = load_preset(names[int(rng.choice(len(names), p=shares / shares.sum()))])
    settings = base.model_dump()
    settings["anatomy"] |= _anatomy(settings["anatomy"], rng)
    settings["contrast"] |= _contrast(rng)
    settings["detector"] |= _detector(rng)
    settings["background"] |= _background(settings["background"], rng)
    settings["geometry"] |= _geometry(rng)
    settings["run"] = settings["short_run"] = _run(rng)
    settings["motions"] = [_scaled(motion, rng) for motion in settings["motions"]]
    settings["collimations"] = [_collimation(rng)]
    settings["exports"] = [_export(rng)]
    return SimulationParams.model_validate(settings)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _anatomy(anatomy: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    return {"tortuosity": float(anatomy["tortuosity"] * _log_uniform(rng, 0.6, 1.7))}


def _contrast(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "iodine_mg_per_ml": float(rng.uniform(150, 370)),
        "injection_ml_s": float(rng.uniform(2.0, 7.0)),
        "injection_s": float(rng.uniform(1.5, 4.5)),
        "liver_transit_s": float(rng.uniform(8, 18)),
        "streaming": float(rng.uniform(0, 0.35)),
    }


def _detector(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "photons": _log_uniform(rng, 1500, 15000),
        "scatter": float(rng.uniform(0.2, 0.9)),
        "blur_px": float(rng.uniform(0.35, 1.1)),
        "lag": float(rng.uniform(0, 0.05)),
        "exposure_drift": float(rng.uniform(0, 0.07)),
        "field_mm": float(rng.uniform(240, 400)),
    }


def _background(background: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    return {
        "texture": float(rng.uniform(0.02, 0.06)),
        "gas": float(min(3.0, background["gas"] * _log_uniform(rng, 0.5, 1.6))),
        "bone": float(rng.uniform(1.4, 2.6)),
        "wires": int(rng.integers(1, 5)),
    }


def _geometry(rng: np.random.Generator) -> dict[str, Any]:
    sod = float(rng.uniform(680, 800))
    return {
        "sod_mm": sod,
        "sid_mm": sod + float(rng.uniform(250, 420)),
        "below_mm": float(rng.uniform(-20, 40)),
        "right_mm": float(rng.uniform(-25, 40)),
        "oblique_primary_deg": float(rng.uniform(-45, 45)),
        "oblique_secondary_deg": float(rng.uniform(-25, 25)),
    }


def _run(rng: np.random.Generator) -> dict[str, Any]:
    fps = float(rng.choice([2.0, 3.0, 3.0, 4.0, 6.0]))
    masks = int(rng.integers(1, 5))
    fast = masks + round(fps * float(rng.uniform(2.5, 4.0)))
    return {
        "fast_frames": max(fast, 5),
        "fast_fps": fps,
        "slow_frames": int(rng.integers(1, 8)),
        "slow_fps": float(rng.choice([0.75, 1.0, 1.0, 2.0])),
        "mask_frames": masks,
        "catheter_orders": (0, 1, 1, 2, 3),
    }


def _scaled(motion: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    factor = _log_uniform(rng, 0.5, 1.5)
    return {**motion, **{name: motion[name] * factor for name in ("amplitude_mm", "drift_mm", "jerk_mm", "bulk_mm")}}


def _collimation(rng: np.random.Generator) -> dict[str, Any]:
    outside = str(rng.choice(["blades", "black", "white"]))
    if rng.random() < 0.45:
        return {}
    if rng.random() < 0.3:
        return {"circle": float(rng.uniform(0.9, 1.1)), "outside": outside}
    sides = {side: float(rng.uniform(0, 0.1)) for side in ("left", "right", "top", "bottom")}
    return {**sides, "outside": outside}


def _export(rng: np.random.Generator) -> dict[str, Any]:
    storage = str(rng.choice(_STORAGES))
    subtracted = rng.random() < 0.08
    shown = storage == "DISP" or subtracted
    return {
        "vendor": str(rng.choice(_VENDORS)),
        "storage": "DISP" if shown else storage,
        "bits": int(rng.choice([8, 10, 12])) if shown else int(rng.choice([10, 12, 14])),
        "already_subtracted": bool(subtracted),
        "edge_enhancement": float(rng.uniform(0, 0.9)) if shown and rng.random() < 0.5 else 0.0,
    }
