"""Writing a file so that a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel

__all__ = ["clear_results", "replacing", "write_bytes", "write_json", "write_record", "write_text"]

# The record goes first: without it nothing else counts as complete.
_OF_A_RUN = (
    "record.json",
    "analysis.json",
    "graph.json",
    "branches.csv",
    "curves.json",
    "maps.npz",
    "artery.png",
    "vein.png",
    "catheter.png",
    "tumour-*.png",
    "overlay.png",
    "flow.png",
    "thumbnail.png",
    "before.png",
    "after.png",
    "embolisation.json",
    "comparison-*.png",
    "projections.json",
    "projections-*.png",
    "projections-sr.dcm",
    "seg.dcm",
    "sr.dcm",
    "summary.dcm",
    "probability.dcm",
    "arrival.dcm",
    "peak.dcm",
    "presentation.dcm",
    "cine.dcm",
    "subtracted.dcm",
    ".tmp-*",
)
_OF_A_SUBJECT = (
    "lipiodol.json",
    "response.json",
    "lipiodol-sr.dcm",
    "response-sr.dcm",
    "*/*/deposit-*.nii.gz",
    "*/*/deposit-*.dcm",
    "*/*/slice-*.png",
    "*/*/aligned-*.png",
    # What was being written when a worker was killed; runs of the same subject may be written meanwhile.
    "*/*/.tmp-*-deposit-*",
    "*/*/.tmp-*-slice-*",
    "*/*/.tmp-*-aligned-*",
)


def clear_results(folder: Path) -> None:
    """Remove what an analysis wrote into one run's or one subject's folder, the record first.

    Of a subject only the follow-up goes: its documents, the deposits and the slices. The runs below
    it and files that no analysis writes stay. A folder that is not there is clear.

    Raises
    ------
    OSError
        When a file cannot be removed.
    """
    for pattern in (*_OF_A_RUN, *_OF_A_SUBJECT):
        for path in sorted(folder.glob(pattern)):
            path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name in the folder of `path`; renamed to it when the block ends well.

    When the block raises, the temporary file is removed and `path` stays as it was. The temporary
    name ends like `path`, so that writers which look at the suffix choose the same format.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{secrets.token_hex(6)}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` as UTF-8, whole or not at all."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: BaseModel | Mapping[str, object]) -> None:
    """Write a document as JSON.

    Raises
    ------
    ValueError
        When a number is NaN or infinite: the contract has `null` for the unknown.
    """
    plain = content.model_dump(mode="json") if isinstance(content, BaseModel) else dict(content)
    write_text(path, json.dumps(plain, allow_nan=False, ensure_ascii=False, indent=1) + "\n")


def write_record(directory: Path, record: Mapping[str, object]) -> None:
    """Write `record.json` into `directory`; its presence says that everything else is there.

    Raises
    ------
    ValueError
        When a number is NaN or infinite.
    """
    write_json(directory / "record.json", record)
