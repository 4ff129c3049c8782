"""What a reader says of a lesion by the name of its region: a node, another organ, a daughter nodule.

Regions come as files of outlines, which have no other place for it. A name is letters and a number, `LN2`; the letters
tell, and what they do not tell is a lesion of the liver.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.core.response import LesionHistory, LesionRole

__all__ = ["NameParams", "daughters_by_name", "place_by_name"]


class NameParams(Params):
    """Letters before the number of a region's name, in any case, and what they say."""

    nodes: tuple[str, ...] = Field(("LN",), description="letters of regions that are lymph nodes: LN1")
    daughters: tuple[str, ...] = Field(("DN",), description="of daughter nodules, whatever their size: DN1")
    organs: Mapping[str, str] = Field(
        {"LU": "lung", "BO": "bone", "AD": "adrenal", "PE": "peritoneum"}, description="of other organs than liver"
    )


def place_by_name(lesions: Sequence[LesionHistory], params: NameParams) -> tuple[LesionHistory, ...]:
    """Return the lesions with the organ that their names tell; a node is one, and counts by its short axis."""
    organs = {letters.upper(): organ for letters, organ in params.organs.items()}
    return tuple(
        replace(lesion, organ="lymph node", node=True)
        if _letters(lesion) in _upper(params.nodes)
        else replace(lesion, organ=organs.get(_letters(lesion), lesion.organ))
        for lesion in lesions
    )


def daughters_by_name(lesions: Sequence[LesionHistory], params: NameParams) -> dict[str, LesionRole]:
    """Return the lesions whose names say that they are daughter nodules."""
    return {lesion.id: LesionRole.DAUGHTER for lesion in lesions if _letters(lesion) in _upper(params.daughters)}


def _letters(lesion: LesionHistory) -> str:
    found = re.match(r"[A-Za-z]+(?=[-_]?\d)", lesion.id)
    return found[0].upper() if found else ""


def _upper(names: Sequence[str]) -> set[str]:
    return {name.upper() for name in names}
