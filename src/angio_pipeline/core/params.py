"""The base of every stage's settings: frozen, range-checked, unknown keys refused."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Params"]


class Params(BaseModel):
    """Settings of one stage; subclasses stand beside the function that uses them."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
