"""From a single projection to a `Radiograph`: spot films of the suite, DX and CR radiographs."""

from __future__ import annotations

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.followups import Radiograph
from angio_pipeline.core.provenance import Provenance
from angio_pipeline.ingest.headers import read_header
from angio_pipeline.ingest.intensity import Showing
from angio_pipeline.ingest.items import FilmItem
from angio_pipeline.ingest.limits import Limits
from angio_pipeline.ingest.pixels import pixel_format
from angio_pipeline.ingest.projections import read_projection

__all__ = ["read_film"]

_RADIOGRAPHY = {"DX", "CR"}


def read_film(item: FilmItem, *, limits: Limits | None = None) -> Radiograph:
    """Return the film of a single-frame file, brighter meaning more X-rays.

    Raises
    ------
    InputRefused
        When header or pixel data cannot be used; `reason` says why.
    """
    header = read_header(item.paths[0], limits=limits)
    found = pixel_format(header)
    if found.frames != 1:
        raise InputRefused(f"Expected a film of 1 frame, found {found.frames}.", reason="bad_header")
    showing = Showing.RADIOGRAPH if item.source.modality in _RADIOGRAPHY else Showing.ANGIOGRAM
    read = read_projection(header, found, showing)
    return Radiograph(
        image=read.frames[0],
        quantity=read.values.quantity,
        valid=read.area.valid,
        source=item.source,
        spacing=read.spacing,
        pose=read.pose,
        white_level=read.values.white_level,
        provenance=Provenance().then("read", values=read.values.how, area=read.area.how),
        quality=read.quality,
    )
