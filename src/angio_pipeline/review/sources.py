"""Where the source images of the results are: looked for by their identifiers in the folders that the owner named.

A result names its source by UID, and the file by its bare name or a hash, so that results carry no path. The folders
are therefore looked through once, headers only, in the worker, as `angio run` does. Without folders, or where an
image is not in them, the page shows the stored pictures and says so.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from angio_pipeline import ingest
from angio_pipeline.review.answers import Availability
from angio_pipeline.review.workshop import Workshop

__all__ = ["Sources"]


class Sources:
    """The source images that can be reached.

    Parameters
    ----------
    folders : sequence of Path
        Given with `--source`.
    workspace : Path
        Where archives are unpacked; it has to outlive this.
    """

    def __init__(self, folders: Sequence[Path], workspace: Path) -> None:
        self._folders, self._workspace = list(folders), workspace
        self._looking: Future[ingest.Discovery] | None = None
        self._found: ingest.Discovery | None = None
        self._runs: dict[str, ingest.RunItem] = {}
        self._scans: dict[str, ingest.VolumeItem] = {}
        self._lock = threading.Lock()

    @property
    def given(self) -> bool:
        """Whether there is any folder to look in."""
        return bool(self._folders)

    def start(self, workshop: Workshop) -> None:
        """Begin to look through the folders."""
        if self._folders:
            self._looking = workshop.submit(look_through, self._folders, self._workspace)
            self._looking.add_done_callback(self._take)

    def _take(self, looked: Future[ingest.Discovery]) -> None:
        if looked.cancelled() or looked.exception() is not None:
            return
        found = looked.result()
        with self._lock:
            self._found = found
            self._runs = {item.source.sop_instance_uid: item for item in found.runs}
            self._scans = {item.source.series_instance_uid: item for item in found.volumes}

    @property
    def _missing(self) -> str:
        if not self._folders:
            return "The source images were not given: stored pictures are shown; start again with --source FOLDER."
        if self._found is None and self._looking is not None and not self._looking.done():
            return "The source images are being looked for: stored pictures are shown meanwhile."
        if self._found is None:
            return "The folders of source images could not be looked through: stored pictures are shown."
        return "The source image is in none of the folders given with --source: stored pictures are shown."

    def run(self, sop_instance_uid: str) -> ingest.RunItem | None:
        """Return the run of an image, None where it is not there (yet)."""
        with self._lock:
            return self._runs.get(sop_instance_uid)

    def scan(self, series_instance_uid: str) -> ingest.VolumeItem | None:
        """Return the scan of a series, None where it is not there (yet)."""
        with self._lock:
            return self._scans.get(series_instance_uid)

    def availability(self, *, found: bool) -> Availability:
        """Return what the reader is told of a source."""
        return Availability(available=found, sentence="" if found else self._missing)

    def of_subject(self, subject: str) -> ingest.Discovery:
        """Return all that is there of one patient; regions that name nobody are among it."""
        with self._lock:
            found = self._found or ingest.Discovery()
        return replace(
            found,
            runs=tuple(item for item in found.runs if item.source.subject == subject),
            volumes=tuple(item for item in found.volumes if item.source.subject == subject),
            films=tuple(item for item in found.films if item.source.subject == subject),
            rois=tuple(item for item in found.rois if item.source.subject in ("", "unknown", subject)),
            refusals=(),
        )


def look_through(folders: Sequence[Path], workspace: Path) -> ingest.Discovery:
    """Return everything that can be analysed in the folders."""
    return ingest.discover(folders, workspace=workspace)
