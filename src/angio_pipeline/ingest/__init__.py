"""From DICOM files, folders, archives and regions of interest to the core nouns."""

from angio_pipeline.ingest.discover import discover
from angio_pipeline.ingest.items import Discovery, FilmItem, Item, RoiItem, RunItem, VolumeItem, digest
from angio_pipeline.ingest.runs import read_run
from angio_pipeline.ingest.sources import series_folder

__all__ = [
    "Discovery",
    "FilmItem",
    "Item",
    "RoiItem",
    "RunItem",
    "VolumeItem",
    "digest",
    "discover",
    "read_run",
    "series_folder",
]
