"""The base of every stage's settings: frozen, range-checked, unknown keys refused."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from angio_pipeline.core.errors import ConfigError

__all__ = ["Params", "wrong_setting"]


class Params(BaseModel):
    """Settings of one stage; subclasses stand beside the function that uses them."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="after")
    def _least_before_greatest(self) -> Self:
        # By convention of names: X_min is the least and X_max the greatest of one thing.
        fields = type(self).model_fields
        for low in fields:
            high = low.replace("_min", "_max", 1)
            if high != low and high in fields and getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} must not exceed {high}")
        return self


def wrong_setting(error: ValidationError, file: str) -> ConfigError:
    """Return what is wrong with the first setting of `file` that cannot be used, by its name."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    wrong = "found no such setting" if first["type"] == "extra_forbidden" else f"found: {first['msg']}"
    return ConfigError(f"Expected a valid setting for {field!r} in {file}, {wrong}.")
