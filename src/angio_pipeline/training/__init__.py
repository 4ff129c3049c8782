"""Training: simulated examples, augmentation, loop, calibration, weights. With `networks` the only torch."""

from angio_pipeline.training.recipe import RealParams, Recipe, load_recipe
from angio_pipeline.training.trainer import train

__all__ = ["RealParams", "Recipe", "load_recipe", "train"]
