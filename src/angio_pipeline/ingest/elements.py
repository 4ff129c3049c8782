"""The few elements by which files are sorted, as text: one way of asking, whoever read the header."""

from __future__ import annotations

from pydicom.dataset import Dataset

from angio_pipeline.ingest.headers import text, texts
from angio_pipeline.ingest.roles import Read

__all__ = ["read_from"]

_OF_THE_FILE = {"MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID"}
_MANY = {"ImageType", "SpecificCharacterSet"}


def read_from(dataset: Dataset) -> Read:
    """Return how values of a pydicom data set are asked for: by keyword, as text."""
    meta = getattr(dataset, "file_meta", Dataset())

    def read(keyword: str) -> str:
        place = meta if keyword in _OF_THE_FILE else dataset
        return "\\".join(texts(place, keyword)) if keyword in _MANY else text(place, keyword)

    return read
