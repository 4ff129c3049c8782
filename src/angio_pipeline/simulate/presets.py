"""All settings of the digital patient, and the presets that the project carries."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from angio_pipeline.assets import configs_dir
from angio_pipeline.core.errors import ConfigError
from angio_pipeline.core.params import Params
from angio_pipeline.simulate.anatomy import AnatomyParams
from angio_pipeline.simulate.background import BackgroundParams
from angio_pipeline.simulate.cohort import CohortParams
from angio_pipeline.simulate.contrast import ContrastParams
from angio_pipeline.simulate.detector import DetectorParams
from angio_pipeline.simulate.followup import CtParams, DepositParams
from angio_pipeline.simulate.motion import MotionParams
from angio_pipeline.simulate.runs import RunParams

__all__ = ["PRESETS", "SimulationParams", "load_preset"]

PRESETS = ("easy", "clinical", "hard")


class GeometryParams(Params):
    """The C-arm."""

    sid_mm: float = Field(1100.0, ge=700, le=1500)
    sod_mm: float = Field(750.0, ge=400, le=1100)
    oblique_primary_deg: float = Field(-30.0, ge=-60, le=60, description="negative is RAO")
    oblique_secondary_deg: float = Field(10.0, ge=-40, le=40, description="positive is cranial")


class TreatmentParams(Params):
    """What embolisation left."""

    residual_flow: float = Field(0.0, ge=0.0, le=1.0, description="inflow of embolised feeders, relative")
    film_days: tuple[float, ...] = (0.0, 28.0)


class SimulationParams(Params):
    """Every setting of a simulated patient."""

    anatomy: AnatomyParams = AnatomyParams()
    contrast: ContrastParams = ContrastParams()
    geometry: GeometryParams = GeometryParams()
    detector: DetectorParams = DetectorParams()
    run: RunParams = RunParams()
    short_run: RunParams = RunParams(fast_frames=11, slow_frames=5)
    motion: MotionParams = MotionParams()
    background: BackgroundParams = BackgroundParams()
    treatment: TreatmentParams = TreatmentParams()
    deposit: DepositParams = DepositParams()
    ct: CtParams = CtParams()
    cohort: CohortParams = CohortParams()

    @model_validator(mode="after")
    def _source_before_detector(self) -> SimulationParams:
        if self.geometry.sod_mm + 50 > self.geometry.sid_mm:
            raise ValueError("geometry.sod_mm must be at least 50 below geometry.sid_mm")
        return self


def load_preset(name: str) -> SimulationParams:
    """Return the settings of a preset by its name, or of a TOML file by its path.

    Raises
    ------
    ConfigError
        When the preset is unknown, or a key is unknown or out of range.
    """
    path = Path(name) if name.endswith(".toml") else configs_dir() / "simulate" / f"{name}.toml"
    if not path.is_file():
        raise ConfigError(f"Expected a preset ({', '.join(PRESETS)}) or a TOML file, found {name!r}.")
    try:
        return SimulationParams.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"Expected {path.name} to be TOML, found an error: {problem}.") from problem
    except ValidationError as problem:
        raise ConfigError(_sentence(path.name, problem)) from problem


def _sentence(file: str, problem: ValidationError) -> str:
    first = problem.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "the settings"
    if first["type"] == "extra_forbidden":
        return f"Expected only known settings in {file}, found {field}; remove it or correct its name."
    return f"Expected another value for {field} in {file}: {first['msg']}; found {first['input']!r:.60}."
