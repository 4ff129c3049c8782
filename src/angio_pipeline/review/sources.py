"""Where the source images of the results are: looked for by their identifiers in the folders that the owner named.

A result names its source by UID, and the file by its bare name or a hash, so that results carry no path. The folders
are therefore looked through once, headers only, in the worker, as `angio run` does. Without folders, or where an image
is not in them, the page shows the stored pictures and says so. What was found of a patient goes from worker to worker
as it is: the server reads no more of it than the UIDs, and needs none of the libraries that read images.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from angio_pipeline.review.answers import Availability
from angio_pipeline.review.workshop import Workshop

if TYPE_CHECKING:
    from angio_pipeline import ingest

__all__ = ["FoundInputs", "SourceMap", "Sources"]


@dataclass(frozen=True, slots=True)
class FoundInputs:
    """One patient's inputs as a worker packed them, and the regions that name no patient."""

    own: bytes
    loose: bytes

    def unpack(self) -> ingest.Discovery:
        """Return the inputs; for the worker."""
        # Packed by a worker of this server, never read from a file.
        found: ingest.Discovery = pickle.loads(self.own)
        return replace(found, rois=(*found.rois, *pickle.loads(self.loose)))


@dataclass(frozen=True, slots=True)
class SourceMap:
    """What the folders hold: which patient's an image is, and each patient's inputs."""

    runs: dict[str, str] = field(default_factory=dict)
    scans: dict[str, str] = field(default_factory=dict)
    films: frozenset[str] = frozenset()
    inputs: dict[str, FoundInputs] = field(default_factory=dict)


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
        self._looking: Future[SourceMap] | None = None
        self._map: SourceMap | None = None
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

    def _take(self, looked: Future[SourceMap]) -> None:
        if not looked.cancelled() and looked.exception() is None:
            with self._lock:
                self._map = looked.result()

    @property
    def _known(self) -> SourceMap:
        with self._lock:
            return self._map or SourceMap()

    @property
    def _missing(self) -> str:
        if not self._folders:
            return "Only stored pictures are shown: to see the images, start again with --source and their folder."
        if self._map is None and self._looking is not None and not self._looking.done():
            return "The source images are being looked for: stored pictures are shown meanwhile."
        if self._map is None:
            return "The folders of source images could not be looked through: stored pictures are shown."
        return "Only stored pictures are shown: the images are in none of the folders given with --source."

    def of_run(self, sop_instance_uid: str) -> FoundInputs | None:
        """Return the inputs of the patient whose run this is, None where the image is not there (yet)."""
        known = self._known
        return known.inputs.get(known.runs.get(sop_instance_uid, ""))

    def of_scan(self, series_instance_uid: str) -> FoundInputs | None:
        """Return the inputs of the patient whose scan this is, None where the series is not there (yet)."""
        known = self._known
        return known.inputs.get(known.scans.get(series_instance_uid, ""))

    def of_subject(self, subject: str, *, runs: bool) -> FoundInputs | None:
        """Return a patient's inputs where there are runs among them, or scans or films."""
        known = self._known
        there = subject in (known.runs.values() if runs else {*known.scans.values(), *known.films})
        return known.inputs.get(subject) if there else None

    def availability(self, *, found: bool) -> Availability:
        """Return what the reader is told of a source."""
        return Availability(available=found, sentence="" if found else self._missing)


def look_through(folders: Sequence[Path], workspace: Path) -> SourceMap:
    """Return what can be analysed in the folders; in the worker."""
    from angio_pipeline import ingest

    found = ingest.discover(folders, workspace=workspace)
    loose = pickle.dumps(tuple(item for item in found.rois if item.source.subject in ("", "unknown")))
    subjects = {item.source.subject for item in (*found.runs, *found.volumes, *found.films)}
    return SourceMap(
        runs={item.source.sop_instance_uid: item.source.subject for item in found.runs},
        scans={item.source.series_instance_uid: item.source.subject for item in found.volumes},
        films=frozenset(item.source.subject for item in found.films),
        inputs={subject: FoundInputs(pickle.dumps(_only(found, subject)), loose) for subject in sorted(subjects)},
    )


def _only(found: ingest.Discovery, subject: str) -> ingest.Discovery:
    return replace(
        found,
        runs=tuple(item for item in found.runs if item.source.subject == subject),
        volumes=tuple(item for item in found.volumes if item.source.subject == subject),
        films=tuple(item for item in found.films if item.source.subject == subject),
        rois=tuple(item for item in found.rois if item.source.subject == subject and subject != "unknown"),
        refusals=(),
    )
