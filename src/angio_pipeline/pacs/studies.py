"""Which received studies are due for analysis: those that have been quiet for a while and are not as they were."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pydicom

from angio_pipeline.pacs.inbox import Arrival, patient_key
from angio_pipeline.pacs.journal import Journal

__all__ = ["StudyWatch"]


class StudyWatch:
    """What arrived when. Times are seconds of a clock that never goes back, given by the caller.

    Studies of one patient are due together: a follow-up is measured against what was before it. The patient is
    told by a digest that never leaves the process.
    """

    def __init__(self, journal: Journal) -> None:
        """Take up the studies that were stored earlier; those not analysed as they are become due at once."""
        self._journal = journal
        self._lock = threading.Lock()
        self._last_s: dict[str, float] = {}
        self._patient: dict[str, str] = {}
        self._open: set[str] = set()
        for study, path in sorted(_one_file_each(journal).items()):
            self._last_s[study] = float("-inf")
            self._patient[study] = _patient_in(path)
            if journal.analysed(study) != self._digest(study):
                self._open.add(study)

    def note(self, arrival: Arrival, now_s: float) -> None:
        """Remember that something arrived; what lay there already wakes no study."""
        if not arrival.new:
            return
        with self._lock:
            self._last_s[arrival.study] = now_s
            self._patient[arrival.study] = arrival.patient
            self._open.add(arrival.study)

    def due(self, now_s: float, quiet_s: float) -> list[str]:
        """Return the studies of one patient of whom some study is new or grew, and none is still arriving."""
        with self._lock:
            for patient in sorted({self._patient[study] for study in self._open}):
                studies = sorted(study for study, whose in self._patient.items() if whose == patient)
                if all(now_s - self._last_s[study] >= quiet_s for study in studies):
                    return studies
        return []

    def begin(self, studies: list[str]) -> dict[str, str]:
        """Return what each study holds as its analysis begins; what comes from now on makes it due again."""
        with self._lock:
            self._open.difference_update(studies)
        return {study: self._digest(study) for study in studies}

    def end(self, begun: dict[str, str]) -> None:
        """Remember that studies were analysed with what they held when it began."""
        for study, digest in begun.items():
            self._journal.note_analysed(study, digest)

    def _digest(self, study: str) -> str:
        held = sorted(f"{k.uid} {k.sha256}" for k in self._journal.all_kept() if k.file.startswith(f"{study}/"))
        return hashlib.sha256("\n".join(held).encode()).hexdigest()


def _one_file_each(journal: Journal) -> dict[str, Path]:
    return {kept.file.partition("/")[0]: journal.folder / kept.file for kept in journal.all_kept()}


def _patient_in(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return patient_key(
                pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=["PatientID", "IssuerOfPatientID"])
            )
    except (OSError, pydicom.errors.InvalidDicomError, ValueError):
        return str(path.parent)
