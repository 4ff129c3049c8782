"""From DICOM files, folders, archives and regions of interest to the core nouns.

Names are found when they are asked for: a scan of headers does not wait for the imaging libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from angio_pipeline.core.lazy import names_on_demand

if TYPE_CHECKING:
    from angio_pipeline.ingest.carried_headers import object_headers
    from angio_pipeline.ingest.corrections import check_corrections, corrected_runs, edits_digest, read_corrections
    from angio_pipeline.ingest.discovery import discover
    from angio_pipeline.ingest.films import read_film
    from angio_pipeline.ingest.images import SingleImage, read_image
    from angio_pipeline.ingest.items import Discovery, FilmItem, Item, RoiItem, RunItem, VolumeItem, digest
    from angio_pipeline.ingest.limits import Limits
    from angio_pipeline.ingest.readings import read_readings, refuse_reading
    from angio_pipeline.ingest.rois import RoiSet, projections_of, read_rois
    from angio_pipeline.ingest.runs import read_run
    from angio_pipeline.ingest.sources import series_folder
    from angio_pipeline.ingest.volumes import read_volume

__all__ = [
    "Discovery",
    "FilmItem",
    "Item",
    "Limits",
    "RoiItem",
    "RoiSet",
    "RunItem",
    "SingleImage",
    "VolumeItem",
    "check_corrections",
    "corrected_runs",
    "digest",
    "discover",
    "edits_digest",
    "object_headers",
    "projections_of",
    "read_corrections",
    "read_film",
    "read_image",
    "read_readings",
    "read_rois",
    "read_run",
    "read_volume",
    "refuse_reading",
    "series_folder",
]

__getattr__ = names_on_demand(
    __name__,
    {
        "corrections": ("check_corrections", "corrected_runs", "edits_digest", "read_corrections"),
        "discovery": ("discover",),
        "films": ("read_film",),
        "images": ("SingleImage", "read_image"),
        "items": ("Discovery", "FilmItem", "Item", "RoiItem", "RunItem", "VolumeItem", "digest"),
        "limits": ("Limits",),
        "carried_headers": ("object_headers",),
        "readings": ("read_readings", "refuse_reading"),
        "rois": ("RoiSet", "projections_of", "read_rois"),
        "runs": ("read_run",),
        "sources": ("series_folder",),
        "volumes": ("read_volume",),
    },
)
