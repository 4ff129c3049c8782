"""Results to files: documents, masks, pictures, pages and tables; each appears whole or not at all.

Importing this package costs little: drawing, volume and table libraries are loaded by the
functions that need them.
"""

from angio_pipeline.outputs.comparisons import ComparedRuns, RunsNotCompared, write_comparisons
from angio_pipeline.outputs.dicom import (
    DEFAULT_OBJECTS,
    ObjectChoice,
    ObjectKind,
    Origin,
    choose_objects,
    write_run_objects,
)
from angio_pipeline.outputs.documents import run_document
from angio_pipeline.outputs.files import clear_results, write_record
from angio_pipeline.outputs.folders import EMBOLISATION, PROJECTIONS, RunFolder, read_subject
from angio_pipeline.outputs.follow_ups import write_follow_up
from angio_pipeline.outputs.overlay import overlay_picture
from angio_pipeline.outputs.pictures import png_bytes
from angio_pipeline.outputs.projections import RunsNotJoined, write_projections
from angio_pipeline.outputs.read_back import read_run_result
from angio_pipeline.outputs.report import write_report
from angio_pipeline.outputs.runs import write_run
from angio_pipeline.outputs.schemas import LipiodolDocument, RunDocument, json_schema
from angio_pipeline.outputs.segmented import SegmentedImage, write_segmentation, write_segmented
from angio_pipeline.outputs.tables import write_refused, write_tables
from angio_pipeline.outputs.worklist import write_index

__all__ = [
    "DEFAULT_OBJECTS",
    "EMBOLISATION",
    "PROJECTIONS",
    "ComparedRuns",
    "LipiodolDocument",
    "ObjectChoice",
    "ObjectKind",
    "Origin",
    "RunDocument",
    "RunFolder",
    "RunsNotCompared",
    "RunsNotJoined",
    "SegmentedImage",
    "choose_objects",
    "clear_results",
    "json_schema",
    "overlay_picture",
    "png_bytes",
    "read_run_result",
    "read_subject",
    "run_document",
    "write_comparisons",
    "write_follow_up",
    "write_index",
    "write_projections",
    "write_record",
    "write_refused",
    "write_report",
    "write_run",
    "write_run_objects",
    "write_segmentation",
    "write_segmented",
    "write_tables",
]
