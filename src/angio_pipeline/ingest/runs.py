"""From a multi-frame file to an `AngioRun`: the numbers, what they mean, when and where."""

from __future__ import annotations

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.provenance import Provenance
from angio_pipeline.core.runs import AngioRun
from angio_pipeline.ingest.calibration import check_still, table_position
from angio_pipeline.ingest.headers import read_header
from angio_pipeline.ingest.intensity import Showing
from angio_pipeline.ingest.items import RunItem
from angio_pipeline.ingest.limits import Limits
from angio_pipeline.ingest.masking import mask_hint
from angio_pipeline.ingest.pixels import pixel_format
from angio_pipeline.ingest.projections import read_projection
from angio_pipeline.ingest.timing import frame_times

__all__ = ["read_run"]


def read_run(item: RunItem, *, limits: Limits | None = None) -> AngioRun:
    """Return the run of a multi-frame file, brighter meaning more X-rays.

    Raises
    ------
    InputRefused
        When header, timing or pixel data cannot be used; `reason` says why.
    """
    header = read_header(item.paths[0], limits=limits)
    found = pixel_format(header)
    if found.frames < 2:
        raise InputRefused("Expected a run of at least 2 frames, found 1.", reason="single_frame")
    ds = header.dataset
    check_still(ds)
    times = frame_times(ds, found.frames)
    read = read_projection(header, found, Showing.ANGIOGRAM)
    return AngioRun(
        frames=read.frames,
        times_s=times.times_s,
        quantity=read.values.quantity,
        valid=read.area.valid,
        source=item.source,
        spacing=read.spacing,
        pose=read.pose,
        mask_hint=mask_hint(ds, found.frames),
        already_subtracted=read.subtracted,
        white_level=read.values.white_level,
        table_mm=table_position(ds),
        provenance=Provenance().then("read", values=read.values.how, times=times.how, area=read.area.how),
        quality=read.quality | times.quality,
    )
