"""Phases that a reader set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from angio_pipeline.core.corrections import CorrectionOutcome, GivenEdit, SetPhase, outcome
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import PerfusionMaps, PhaseRange, Phases

__all__ = ["relabel_phases"]

_NAMES = ("pre_contrast", "arterial", "parenchymal", "venous")
Ranges = Mapping[str, tuple[int, int] | None]


def relabel_phases(
    maps: PerfusionMaps, edits: Sequence[GivenEdit], frames: int
) -> tuple[PerfusionMaps, tuple[CorrectionOutcome, ...]]:
    """Return the maps with the phases that a reader set, and what became of each such edit.

    A phase that was not set is cut short where one that was set needs its frames; one that loses all is not seen.

    Parameters
    ----------
    edits : sequence of GivenEdit
        In their order in time; those of other kinds are passed over.
    frames : int
        Frames of the run.
    """
    told = []
    for one in edits:
        if not isinstance(one.edit, SetPhase):
            continue
        given = one.edit.given
        merged = _merged(maps.phases, given)
        last = max(found[1] for found in given.values() if found) if any(given.values()) else 0
        if last >= frames:
            sentence = f"Expected phases within frames 0 to {frames - 1}, found frame {last}."
            told.append(outcome(one, sentence, applied=False))
        elif merged["arterial"] is None:
            sentence = "Expected frames left for the arterial phase, found none; set it as well."
            told.append(outcome(one, sentence, applied=False))
        else:
            seen = given.get("venous") is not None
            quality = maps.quality & ~Quality.NO_WASHOUT_SEEN if seen else maps.quality
            maps = replace(maps, phases=_phases(merged), quality=quality)
            told.append(outcome(one, f"Set: {_words(given)}."))
    return maps, tuple(told)


def _merged(phases: Phases, given: Ranges) -> dict[str, tuple[int, int] | None]:
    merged: dict[str, tuple[int, int] | None] = {}
    for place, name in enumerate(_NAMES):
        known = getattr(phases, name)
        if name in given or known is None:
            merged[name] = given.get(name)
            continue
        before = [found[1] for other in _NAMES[:place] if (found := given.get(other))]
        after = [found[0] for other in _NAMES[place + 1 :] if (found := given.get(other))]
        first = max(known.first, *(n + 1 for n in before)) if before else known.first
        last = min(known.last, *(n - 1 for n in after)) if after else known.last
        merged[name] = (first, last) if first <= last else None
    return merged


def _phases(ranges: Ranges) -> Phases:
    pre, arterial, parenchymal, venous = (
        None if (found := ranges[name]) is None else PhaseRange(*found) for name in _NAMES
    )
    assert arterial is not None
    return Phases(pre, arterial, parenchymal, venous)


def _words(given: Ranges) -> str:
    """Return the phases with their frames counted from 1, as on a viewer."""
    parts = []
    for name, found in given.items():
        frames = "not seen" if found is None else f"{found[0] + 1}–{found[1] + 1}"
        parts.append(f"{name.replace('_', ' ')} {frames}")
    return f"{', '.join(parts)} (frames counted from 1)"
