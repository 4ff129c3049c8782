"""What all pages share: templates with escaping on, numbers in words, pictures as data.

The pages hold all they show. Their policy lets nothing else in: one style and one script, named by
their hashes, and pictures from the page itself (the worklist also from its own folder).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from angio_pipeline import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

    from angio_pipeline.outputs.schemas import SourceDocument

__all__ = [
    "UNKNOWN",
    "data_uri",
    "day",
    "fixed",
    "interval_words",
    "percent",
    "picture_of",
    "refused_words",
    "render",
    "run_words",
]

UNKNOWN = "–"
_QUALITY = 90

_TEMPLATES = Path(__file__).parent / "templates"

Pair = tuple[float | None, float | None]


def data_uri(path: Path) -> str | None:
    """Return a picture file as a data URI (WebP, for a page of a size that can be sent), None without one.

    The file itself stays as it is, without loss.
    """
    import cv2

    if not path.is_file():
        return None
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED) if _filled(path) else None
    if pixels is None:
        return None
    done, encoded = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    return "data:image/webp;base64," + base64.b64encode(encoded.tobytes()).decode("ascii") if done else None


def _filled(path: Path) -> bool:
    return path.stat().st_size > 0


def picture_of(folder: Path, name: str) -> dict[str, str | None]:
    """Return a picture in a folder as the pages embed and link it; a name that leads out of the folder is not read."""
    path = folder / name
    inside = path.resolve().is_relative_to(folder.resolve())
    return {"picture": data_uri(path) if inside else None, "picture_file": quote(f"{folder.name}/{name}")}


def run_words(source: SourceDocument) -> str:
    """Return what a reader calls a run by."""
    return source.description or source.file or "a run"


def refused_words(what: str, runs: Iterable[SourceDocument | None], sentence: str) -> str:
    """Return why something was not done with two runs, in a sentence that names those that are known."""
    named = " and ".join(run_words(source) for source in runs if source is not None)
    return f"{what}{f' ({named})' if named else ''}: {sentence}"


def fixed(value: float | None, digits: int = 2, unit: str = "") -> str:
    """Return a number with its unit, or a dash when it is unknown."""
    return UNKNOWN if value is None else f"{value:.{digits}f}{unit}"


def percent(value: float | None) -> str:
    """Return a fraction in per cent, or a dash."""
    return fixed(None if value is None else 100 * value, 0, " %")


def interval_words(pair: Pair | None, digits: int = 0, factor: float = 1.0, unit: str = "") -> str:
    """Return ` (low–high)`; an end that is unknown is unbounded and said to be so."""
    if pair is None or pair == (None, None):
        return ""
    low, high = (None if end is None else f"{end * factor:.{digits}f}" for end in pair)
    if high is None:
        return f" (longer than {low}{unit})" if unit.strip() == "days" else f" (at least {low}{unit})"
    return f" ({low}–{high}{unit})" if low is not None else f" (at most {high}{unit})"


def day(date: str) -> str:
    """Return `YYYYMMDD` as `YYYY-MM-DD`; anything else as it is."""
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 and date.isdigit() else date


def _length(mm: float | None, px: float | None) -> str:
    return fixed(px, 1, " px") if mm is None else fixed(mm, 1, " mm")


def _sweep(coverage: Mapping[str, float | None] | None) -> str:
    if coverage is None:
        return UNKNOWN
    percents = [coverage.get(threshold) for threshold in ("75", "160", "215")]
    return " / ".join(UNKNOWN if percent is None else f"{percent:.0f}" for percent in percents) + " %"


def _spoken(name: str) -> str:
    """A field's name in words, its unit after a comma: `delay_s` is `delay, s`."""
    stem, _, unit = name.rpartition("_")
    if stem and unit in ("s", "px", "mm", "deg", "hu", "mg"):
        return f"{stem.replace('_', ' ')}, {unit}"
    return name.replace("_", " ")


def _assignments(arguments: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in arguments.items())


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "fixed": fixed,
        "percent": percent,
        "between": interval_words,
        "percent_between": lambda pair: interval_words(pair, 0, 100.0, " %"),
        "in_mm_or_px": _length,
        "sweep": _sweep,
        "spoken": _spoken,
        "assignments": _assignments,
        "day": day,
    }
    return environment


def render(template: str, *, images: str = "", **values: object) -> str:
    """Return the page that a template of this room makes of `values`, every value escaped.

    Parameters
    ----------
    template : str
        Name of the file in `templates`.
    images : str
        Where pictures may come from, besides the page itself: a source of the page's policy.
    """
    from markupsafe import Markup

    style, script = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return (
        _environment()
        .get_template(template)
        .render(
            images=images,
            style=Markup(style),
            style_hash=_hash(style),
            script=Markup(script),
            script_hash=_hash(script),
            software=f"angio-pipeline {__version__}",
            **values,
        )
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
