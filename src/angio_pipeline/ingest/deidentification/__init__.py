"""De-identification by PS3.15 Annex E: tables say what is done, and what fits no table does not leave."""

from angio_pipeline.ingest.deidentification.admission import Accept
from angio_pipeline.ingest.deidentification.keyed import Keyed
from angio_pipeline.ingest.deidentification.objects import Deidentified
from angio_pipeline.ingest.deidentification.plan import Task, deidentify, find_tasks
from angio_pipeline.ingest.deidentification.profile import Option, Profile, read_profile

__all__ = ["Accept", "Deidentified", "Keyed", "Option", "Profile", "Task", "deidentify", "find_tasks", "read_profile"]
