"""From DICOM files, folders, archives and regions of interest to the core nouns."""

from angio_pipeline.ingest.corrections import check_corrections, corrected_runs, edits_digest, read_corrections
from angio_pipeline.ingest.discover import discover
from angio_pipeline.ingest.films import read_film
from angio_pipeline.ingest.images import SingleImage, read_image
from angio_pipeline.ingest.items import Discovery, FilmItem, Item, RoiItem, RunItem, VolumeItem, digest
from angio_pipeline.ingest.object_headers import object_headers
from angio_pipeline.ingest.readings import read_readings, refuse_reading
from angio_pipeline.ingest.rois import RoiSet, projections_of, read_rois
from angio_pipeline.ingest.runs import read_run
from angio_pipeline.ingest.sources import series_folder
from angio_pipeline.ingest.volumes import read_volume

__all__ = [
    "Discovery",
    "FilmItem",
    "Item",
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
