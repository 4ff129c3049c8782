"""Everything that makes a network, in one file: patients, pictures, shape, loss and length of training."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from angio_pipeline.assets import configs_dir
from angio_pipeline.core.errors import ConfigError
from angio_pipeline.core.params import Params
from angio_pipeline.training.batches import CropParams
from angio_pipeline.training.kinds import KINDS, KindName
from angio_pipeline.training.loop import LoopParams, LossParams

__all__ = ["DataParams", "RealParams", "Recipe", "load_recipe"]


class DataParams(Params):
    """Which simulated patients are learned from, and which are kept to calibrate and watch."""

    seed: int = Field(ge=0)
    patients: int = Field(ge=1)
    runs_each: int = Field(2, ge=1, le=3)
    preset_shares: dict[str, float] = Field({"clinical": 0.6, "hard": 0.3, "easy": 0.1}, min_length=1)
    held_out_seed: int = Field(ge=0)
    held_out_patients: int = Field(24, ge=1)
    held_out_shares: dict[str, float] = Field({"clinical": 0.5, "hard": 0.5}, min_length=1)


class RealParams(Params):
    """Real angiograms with pixel truth that are learned from besides; the folder is given by the user."""

    share: float = Field(0.5, ge=0, le=1, description="of each batch")
    train: tuple[str, ...] = Field(min_length=1)
    calibrate: tuple[str, ...] = Field(min_length=1, description="watched while training, and calibrated on")
    held_out: tuple[str, ...] = Field(min_length=1, description="for benchmarks/networks.py alone")

    @property
    def apart(self) -> bool:
        """Whether no image is in two of the three lists."""
        every = [*self.train, *self.calibrate, *self.held_out]
        return len(set(every)) == len(every)


class Recipe(Params):
    """How one network is made."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    kind: KindName
    widths: tuple[int, ...] = Field(min_length=2, max_length=7)
    start_from: str | None = Field(None, description="name of a recipe whose weights are gone on from")
    data: DataParams
    real: RealParams | None = None
    crops: CropParams = CropParams()
    loss: LossParams
    loop: LoopParams

    @model_validator(mode="after")
    def _possible(self) -> Recipe:
        if self.data.seed == self.data.held_out_seed:
            raise ValueError("data.held_out_seed must differ from data.seed")
        expected = len(KINDS[self.kind].classes)
        if len(self.loss.classes) != expected:
            raise ValueError(f"loss.classes must hold {expected} weights for a {self.kind} network")
        if self.real is not None and self.kind != "frame":
            raise ValueError("real angiograms are for frame networks")
        if self.real is not None and not self.real.apart:
            raise ValueError("real.train, real.calibrate and real.held_out must share no image")
        if self.crops.size_px % 2 ** (len(self.widths) - 1):
            raise ValueError("crops.size_px must be halvable once for every width but the first")
        return self


def load_recipe(choice: str) -> Recipe:
    """Return the recipe of a name in `configs/training`, or of a TOML file.

    Raises
    ------
    ConfigError
        When there is none, or a setting is unknown or out of range.
    """
    known = configs_dir() / "training"
    path = Path(choice) if choice.endswith(".toml") else known / f"{choice}.toml"
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError:
        names = ", ".join(sorted(file.stem for file in known.glob("*.toml")))
        raise ConfigError(f"Expected a recipe ({names}) or a TOML file, found neither under {choice!r}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError(f"Expected {path.name} to be TOML, found an error: {problem}.") from None
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the recipe"
        wrong = "found no such setting" if first["type"] == "extra_forbidden" else f"found: {first['msg']}"
        raise ConfigError(f"Expected a valid setting for {field!r} in {path.name}, {wrong}.") from None
