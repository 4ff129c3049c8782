"""All settings of an analysis in one place: typed, range-checked, read from TOML.

A preset is a file of `configs/`; a file may hold only what differs from the defaults. Unknown
keys are errors, so that a misspelt setting is never dropped in silence.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ValidationError

from angio_pipeline.assets import configs_dir
from angio_pipeline.core.errors import ConfigError
from angio_pipeline.core.params import Params, wrong_setting
from angio_pipeline.dsa import DenoiseParams, MaskParams, SubtractParams
from angio_pipeline.embolisation import EmbolisationParams
from angio_pipeline.ingest.limits import Limits
from angio_pipeline.lipiodol import LipiodolParams
from angio_pipeline.perfusion import PerfusionParams
from angio_pipeline.projections import ProjectionParams
from angio_pipeline.response import ResponseParams
from angio_pipeline.tumour import BlushParams, CorrectionParams, FeederParams, ShuntParams
from angio_pipeline.vessels import GraphParams, MeasureParams, SegmentParams

__all__ = ["PipelineConfig", "load_config", "with_pixel_shift"]


class PipelineConfig(Params):
    """Settings of every stage, by stage."""

    mask: MaskParams = MaskParams()
    subtract: SubtractParams = SubtractParams()
    denoise: DenoiseParams = DenoiseParams()
    perfusion: PerfusionParams = PerfusionParams()
    segment: SegmentParams = SegmentParams()
    graph: GraphParams = GraphParams()
    measures: MeasureParams = MeasureParams()
    blush: BlushParams = BlushParams()
    feeders: FeederParams = FeederParams()
    shunts: ShuntParams = ShuntParams()
    corrections: CorrectionParams = CorrectionParams()
    lipiodol: LipiodolParams = LipiodolParams()
    response: ResponseParams = ResponseParams()
    projections: ProjectionParams = ProjectionParams()
    embolisation: EmbolisationParams = EmbolisationParams()
    limits: Limits = Limits()


# Other files of that folder.
_NO_PRESETS = {"agents", "pacs.example"}


def load_config(choice: str | None) -> PipelineConfig:
    """Return the settings of a preset's name or of a TOML file; the defaults when None.

    Raises
    ------
    ConfigError
        When the file is missing, is no TOML, or holds an unknown or impossible setting.
    """
    if choice is None:
        return PipelineConfig()
    preset = configs_dir() / f"{choice}.toml"
    path = preset if preset.is_file() else Path(choice)
    try:
        return PipelineConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        names = ", ".join(sorted(p.stem for p in configs_dir().glob("*.toml") if p.stem not in _NO_PRESETS))
        raise ConfigError(f"Expected a preset ({names}) or a TOML file, found neither under {choice!r}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"Expected TOML in {path.name}, found: {error}.") from None
    except ValidationError as error:
        raise wrong_setting(error, path.name) from None


def with_pixel_shift(config: PipelineConfig, shift_px: tuple[float, float]) -> PipelineConfig:
    """Return the settings with the mask moved by hand, (row, col) pixels, in place of motion correction."""
    subtract = config.subtract.model_copy(update={"pixel_shift_px": shift_px})
    return config.model_copy(update={"subtract": subtract})
