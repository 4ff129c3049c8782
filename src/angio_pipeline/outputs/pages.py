"""What both pages share: templates with escaping on, and pictures as data."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["data_uri", "render"]

_TEMPLATES = Path(__file__).parent / "templates"


def data_uri(path: Path) -> str | None:
    """Return a PNG file as a data URI, or None when there is no such file."""
    if not path.is_file():
        return None
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: object) -> str:
    """Return the page that a template of this room makes of `values`, every value escaped."""
    return _environment().get_template(template).render(**values)
