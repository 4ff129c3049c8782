"""The catalogue of a disk: what every file is, under pseudonyms, in one DuckDB file."""

from angio_pipeline.ingest.catalogue.scan import Progress, ScanReport, locate, scan
from angio_pipeline.ingest.catalogue.summary import Summary, summarise
from angio_pipeline.ingest.catalogue.tables import TABLES, reference

__all__ = ["TABLES", "Progress", "ScanReport", "Summary", "locate", "reference", "scan", "summarise"]
