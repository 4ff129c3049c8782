"""All settings of the digital patient, and the presets that the project carries."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from angio_pipeline.assets import configs_dir
from angio_pipeline.core.errors import ConfigError
from angio_pipeline.core.params import Params
from angio_pipeline.simulate.aftermath.ct import CtParams
from angio_pipeline.simulate.aftermath.deposits import DepositParams
from angio_pipeline.simulate.aftermath.films import FilmParams
from angio_pipeline.simulate.aftermath.treatment import TreatmentParams
from angio_pipeline.simulate.anatomy.anatomy import AnatomyParams
from angio_pipeline.simulate.circulation.contrast import ContrastParams
from angio_pipeline.simulate.cohort import CohortParams
from angio_pipeline.simulate.radiograph.background import BackgroundParams
from angio_pipeline.simulate.radiograph.collimation import CollimationParams
from angio_pipeline.simulate.radiograph.detector import DetectorParams
from angio_pipeline.simulate.radiograph.exports import ExportParams
from angio_pipeline.simulate.radiograph.motion import MotionParams
from angio_pipeline.simulate.runs import RunParams

__all__ = ["PRESETS", "SimulationParams", "each_group", "load_preset"]

PRESETS = ("easy", "clinical", "hard")


class GeometryParams(Params):
    """The C-arm."""

    sid_mm: float = Field(1100.0, ge=700, le=1500, description="source to detector")
    sod_mm: float = Field(750.0, ge=400, le=1100, description="source to the isocentre, at least 50 below sid_mm")
    below_mm: float = Field(12.0, ge=-60, le=120, description="how far below the liver's hilum the runs are centred")
    right_mm: float = Field(
        7.0, ge=-100, le=100, description="how far to the patient's right of the liver's hilum the runs are centred"
    )
    oblique_primary_deg: float = Field(-30.0, ge=-60, le=60, description="angle of the second run, negative is RAO")
    oblique_secondary_deg: float = Field(
        10.0, ge=-40, le=40, description="angle of the second run, positive is cranial"
    )


class SimulationParams(Params):
    """Every setting of a simulated patient."""

    anatomy: AnatomyParams = AnatomyParams()
    contrast: ContrastParams = ContrastParams()
    geometry: GeometryParams = GeometryParams()
    detector: DetectorParams = DetectorParams()
    collimations: tuple[CollimationParams, ...] = Field(
        (CollimationParams(),), min_length=1, description="one is drawn for each patient"
    )
    exports: tuple[ExportParams, ...] = Field(
        (ExportParams(),), min_length=1, description="one is drawn for each patient"
    )
    run: RunParams = RunParams()
    short_run: RunParams = RunParams(fast_frames=11, slow_frames=5)
    motions: tuple[MotionParams, ...] = Field((MotionParams(),), min_length=1, description="one is drawn for each run")
    background: BackgroundParams = BackgroundParams()
    treatment: TreatmentParams = TreatmentParams()
    deposit: DepositParams = DepositParams()
    film: FilmParams = FilmParams()
    ct: CtParams = CtParams()
    cohort: CohortParams = CohortParams()

    @model_validator(mode="after")
    def _possible(self) -> SimulationParams:
        if self.geometry.sod_mm + 50 > self.geometry.sid_mm:
            raise ValueError("geometry.sod_mm must be at least 50 below geometry.sid_mm")
        for path, group in each_group(self):
            _check_days(path, group)
        return self


def each_group(params: Params, path: str = "") -> Iterator[tuple[str, Params]]:
    """Yield every group of settings under `params`, itself first, with its dotted name."""
    yield path, params
    for name in type(params).model_fields:
        value = getattr(params, name)
        inner = f"{path}.{name}" if path else name
        members = value if isinstance(value, tuple) else (value,)
        for k, member in enumerate(members):
            if isinstance(member, Params):
                yield from each_group(member, f"{inner}.{k}" if isinstance(value, tuple) else inner)


def _check_days(path: str, group: Params) -> None:
    # By convention of names: days go forward.
    start = f"{path}." if path else ""
    for name in type(group).model_fields:
        value = getattr(group, name)
        if name.endswith("days") and isinstance(value, tuple) and any(b <= a for a, b in pairwise(value)):
            raise ValueError(f"{start}{name} must increase")


def load_preset(name: str) -> SimulationParams:
    """Return the settings of a preset by its name, or of a TOML file by its path.

    A file holds only what differs from the defaults, or from the preset or file that its `extends` names.

    Raises
    ------
    ConfigError
        When the preset is unknown, or a key is unknown or out of range.
    """
    try:
        return SimulationParams.model_validate(_merged(SimulationParams().model_dump(), _read(name, ())))
    except ValidationError as problem:
        raise ConfigError(_sentence(Path(name).name, problem)) from problem


def _read(name: str, before: tuple[Path, ...]) -> dict[str, Any]:
    # What `extends` names comes first, relative to the file that names it.
    path = Path(name) if name.endswith(".toml") else configs_dir() / "simulate" / f"{name}.toml"
    if before and not path.is_absolute():
        path = before[-1].parent / path
    if not path.is_file():
        raise ConfigError(f"Expected a preset ({', '.join(PRESETS)}) or a TOML file, found {name!r}.")
    if path.resolve() in before:
        raise ConfigError(f"Expected extends to end at a preset, found that {path.name} leads back to itself.")
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError(f"Expected {path.name} to be TOML, found an error: {problem}.") from problem
    parent = settings.pop("extends", None)
    if parent is None:
        return settings
    if not isinstance(parent, str):
        raise ConfigError(f"Expected extends in {path.name} to name a preset or a TOML file, found {parent!r:.60}.")
    return _merged(_read(parent, (*before, path.resolve())), settings)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    # Tables are merged key by key; everything else, lists too, is replaced.
    both = {k: _merged(base[k], v) for k, v in over.items() if isinstance(v, dict) and isinstance(base.get(k), dict)}
    return {**base, **over, **both}


def _sentence(file: str, problem: ValidationError) -> str:
    first = problem.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "the settings"
    if first["type"] == "extra_forbidden":
        return f"Expected only known settings in {file}, found {field}; remove it or correct its name."
    if first["type"] == "missing":
        return f"Expected {field} in {file}, found nothing."
    if first["type"] == "value_error":
        # A rule between fields; its sentence begins with a field's name inside the group.
        start = f"{field}." if first["loc"] else ""
        return f"Expected possible settings in {file}; {start}{first['ctx']['error']}."
    return f"Expected another value for {field} in {file}: {_lowered(first['msg'])}; found {first['input']!r:.60}."


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
