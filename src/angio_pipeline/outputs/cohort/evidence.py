"""What the images of a patient show of one treatment, among several of the same patient.

Images belong to the treatment that they surround: runs to the first one of their day or later, scans to the last one
before them. What an earlier treatment was preceded or followed by says nothing of the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from angio_pipeline.core.followups import OilPlace
from angio_pipeline.core.records import ProcedureRecord, ShuntSeen, TreatmentEvidence
from angio_pipeline.outputs.folders import SubjectFolder
from angio_pipeline.outputs.schemas import LipiodolDocument, RunDocument

__all__ = ["day_of", "evidence_of"]


@dataclass(frozen=True, slots=True)
class _Window:
    """The days from the treatment before to the one after, as folders are named; None where there is no such."""

    before: str | None
    treated: str | None
    after: str | None

    def holds_run(self, date: str) -> bool:
        """Whether a run was made for this treatment: after the one before, and on its day at the latest."""
        return (self.treated is None or date <= self.treated) and (self.before is None or date > self.before)

    def is_baseline(self, date: str) -> bool:
        """Whether a scan precedes every treatment."""
        return self.before is None and self.holds_run(date)

    def holds_scan(self, date: str) -> bool:
        """Whether a scan follows this treatment, and no later one."""
        return (self.treated is None or date >= self.treated) and (self.after is None or date < self.after)


def day_of(record: ProcedureRecord) -> str | None:
    """Return the day of treatment as folders are named, None when it is unknown."""
    return None if record.date is None else f"{record.date:%Y%m%d}"


def evidence_of(
    subject: SubjectFolder, record: ProcedureRecord, treatments: Sequence[ProcedureRecord]
) -> TreatmentEvidence:
    """Return what the images show of a treatment.

    Parameters
    ----------
    treatments : sequence of ProcedureRecord
        All of the patient, this one among them.
    """
    window = _window(record, treatments)
    documents = [r.document for r in subject.runs if r.document is not None and window.holds_run(r.date)]
    compared = subject.embolisation.comparisons if subject.embolisation is not None else []
    own = [c for c in compared if window.holds_run(c.after.date)]
    bifurcations, non_target = _selective(documents)
    return TreatmentEvidence(
        runs_before=len(documents),
        shunts=tuple(ShuntSeen(s.kind.value, s.probability) for d in documents for s in d.shunts),
        shunts_assessed=any("SHUNT_NOT_ASSESSED" not in d.quality for d in documents),
        bifurcations=bifurcations,
        non_target_fraction=non_target,
        sace=tuple(t.sace.value for c in own for t in c.tumours if t.sace is not None),
        end_point_compared=bool(own),
        non_target_oil=_oil_elsewhere(subject.follow_up, window),
        films=len(documents) + _scans(subject.follow_up, window),
    )


def _window(record: ProcedureRecord, treatments: Sequence[ProcedureRecord]) -> _Window:
    treated = day_of(record)
    days = sorted(day for one in treatments if (day := day_of(one)) is not None)
    if treated is None:
        return _Window(None, None, None)
    before, after = [d for d in days if d < treated], [d for d in days if d > treated]
    return _Window(before[-1] if before else None, treated, after[0] if after else None)


def _oil_elsewhere(follow_up: LipiodolDocument | None, window: _Window) -> tuple[str, ...] | None:
    """Return the places that hold oil outside the liver's tissue, None where it cannot be told that there is none."""
    searched = [s for s in follow_up.non_target if window.holds_scan(s.date)] if follow_up is not None else []
    places = {oil.place for search in searched for oil in search.pieces} - {OilPlace.LIVER}
    # Against a later scan oil that stays is not seen.
    if not places and not any(search.before_treatment for search in searched):
        return None
    return tuple(sorted(place.value for place in places))


def _selective(documents: Sequence[RunDocument]) -> tuple[int | None, float | None]:
    """Of the likeliest tumour's targets the furthest and the least clean: all have to be reached."""
    tumours = [t for d in documents for t in d.tumours if t.targets]
    if not tumours:
        return None, None
    targets = max(tumours, key=lambda t: t.probability).targets
    fractions = [t.non_target_fraction for t in targets if t.non_target_fraction is not None]
    return max(t.bifurcations for t in targets), max(fractions, default=None)


def _scans(follow_up: LipiodolDocument | None, window: _Window) -> int:
    """Return how many scans and films follow a treatment; those before the first one count with it."""
    points = [p for lesion in (follow_up.lesions if follow_up is not None else []) for p in lesion.timepoints]
    return len({p.series_instance_uid for p in points if window.holds_scan(p.date) or window.is_baseline(p.date)})
