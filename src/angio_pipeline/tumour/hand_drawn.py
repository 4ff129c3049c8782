"""Tumours that a reader added, redrew or removed take the place of what was found, before feeders are sought."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from angio_pipeline.core.corrections import (
    AddTumour,
    CorrectionOutcome,
    GivenEdit,
    RedrawTumour,
    RemoveTumour,
    TumourPlace,
    outcome,
)
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.tumours import ByHand, LesionOrigin, Tumour
from angio_pipeline.numerics.polygons import fill_polygons
from angio_pipeline.tumour.placing import CorrectionParams

__all__ = ["correct_tumours", "find_tumour", "next_number", "place_words"]

BoolArray = npt.NDArray[np.bool_]


def correct_tumours(
    found: Sequence[Tumour],
    quality: Quality,
    edits: Sequence[GivenEdit],
    shape: tuple[int, int],
    *,
    params: CorrectionParams,
) -> tuple[tuple[Tumour, ...], Quality, tuple[CorrectionOutcome, ...]]:
    """Return the tumours after a reader's edits, the flags of the search that still hold, what became of each edit.

    Parameters
    ----------
    quality : Quality
        What was said of the search for tumours.
    edits : sequence of GivenEdit
        In the present reference frame (`place_edits`), in their order in time; those of feeders and targets are
        passed over.
    shape : int, int
        Rows and columns of the frame.
    """
    tumours, told = list(found), []
    for one in edits:
        edit = one.edit
        if isinstance(edit, RemoveTumour):
            tumours, answer = _without(tumours, one, edit, params)
        elif isinstance(edit, (AddTumour, RedrawTumour)):
            tumours, answer = _with_drawn(tumours, one, edit, shape, params)
        else:
            continue
        told.append(answer)
    if any(one.corrected for one in tumours):
        quality &= ~Quality.NO_TUMOUR_BLUSH
    return tuple(tumours), quality, tuple(told)


def find_tumour(tumours: Sequence[Tumour], place: TumourPlace, params: CorrectionParams) -> Tumour | None:
    """Return the tumour that is meant, None where there is none: by its point where that is told, else by its id.

    A point beside all tumours means the nearest within reach only if nothing else speaks against it: another id does.
    """
    if place.point is None:
        return next((one for one in tumours if one.id == place.id), None)
    found = []
    for number, one in enumerate(tumours):
        away = _distance_px(one.mask, place.point)
        other = place.id is not None and one.id != place.id
        if away == 0 or (away <= params.tumour_reach_px * max(one.mask.shape) / 512 and not other):
            found.append((away, other, number))
    return tumours[min(found)[2]] if found else None


def place_words(place: TumourPlace) -> str:
    """Return which tumour an edit is about, in words."""
    at = "" if place.point is None else f"at ({place.point[0]:.0f}, {place.point[1]:.0f})"
    return " ".join(part for part in (place.id or "tumour", at) if part)


def next_number(names: Sequence[str], prefix: str) -> int:
    """Return the number after the highest that follows `prefix` in the names."""
    numbers = [int(match[1]) for name in names if (match := re.fullmatch(rf"{re.escape(prefix)}(\d{{1,6}})", name))]
    return max(numbers, default=0) + 1


def _distance_px(mask: BoolArray, point: tuple[float, float]) -> float:
    """Return how far a point is from a mask; 0 inside."""
    row, col = (min(max(round(at), 0), n - 1) for at, n in zip(point, mask.shape, strict=True))
    return float(ndimage.distance_transform_edt(~mask)[row, col])


def _without(
    tumours: list[Tumour], one: GivenEdit, edit: RemoveTumour, params: CorrectionParams
) -> tuple[list[Tumour], CorrectionOutcome]:
    meant = find_tumour(tumours, edit.tumour, params)
    if meant is None:
        sentence = f"Expected a tumour to remove, found none for {place_words(edit.tumour)}."
        return tumours, outcome(one, sentence, applied=False)
    return [t for t in tumours if t is not meant], outcome(one, f"{meant.id} was removed.")


def _with_drawn(
    tumours: list[Tumour],
    one: GivenEdit,
    edit: AddTumour | RedrawTumour,
    shape: tuple[int, int],
    params: CorrectionParams,
) -> tuple[list[Tumour], CorrectionOutcome]:
    region = one.mask if one.mask is not None else fill_polygons(edit.polygons or (), shape)
    if not region.any():
        sentence = "Expected an outline that holds a pixel of the frame, found one that holds none."
        return tumours, outcome(one, sentence, applied=False)
    meant = find_tumour(tumours, edit.tumour, params) if isinstance(edit, RedrawTumour) else None
    name = meant.id if meant is not None else _free_name(tumours, edit)
    mark = ByHand.ADDED if isinstance(edit, AddTumour) else ByHand.REDRAWN
    drawn = Tumour(name, region, 1.0, LesionOrigin.ROI, corrected=meant.corrected or mark if meant else mark)
    covered = [t for t in tumours if t is not meant and _is_covered(t, region, params)]
    kept = [drawn if t is meant else t for t in tumours if t not in covered]
    return kept if meant is not None else [*kept, drawn], outcome(one, _drawn_words(drawn, edit, meant, covered))


def _free_name(tumours: Sequence[Tumour], edit: AddTumour | RedrawTumour) -> str:
    taken = [t.id for t in tumours]
    wanted = edit.tumour_id if isinstance(edit, AddTumour) else edit.tumour.id
    return wanted if wanted and wanted not in taken else f"T{next_number(taken, 'T')}"


def _is_covered(tumour: Tumour, region: BoolArray, params: CorrectionParams) -> bool:
    """Return whether a tumour that nobody drew mostly lies in a region that was drawn."""
    shared = int(np.count_nonzero(tumour.mask & region))
    return tumour.corrected is None and shared >= params.covered_share * tumour.area_px


def _drawn_words(drawn: Tumour, edit: AddTumour | RedrawTumour, meant: Tumour | None, covered: list[Tumour]) -> str:
    if isinstance(edit, AddTumour):
        words = f"{drawn.id} was added."
    elif meant is not None:
        words = f"{drawn.id} was redrawn."
    else:
        words = f"No tumour was found any more for {place_words(edit.tumour)}; what was drawn stands as {drawn.id}."
    if covered:
        words += f" It takes the place of {', '.join(t.id for t in covered)}, which it mostly covers."
    return words
