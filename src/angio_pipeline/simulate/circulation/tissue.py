"""Tissue at the ends of arteries: liver, tumours, spleen, other organs, and the pool of a bleed.

Neighbouring terminals of one tissue are merged into blobs, so that the tissue is cheap to follow and to draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.anatomy.anatomy import Anatomy
from angio_pipeline.simulate.anatomy.courses import Courses
from angio_pipeline.simulate.anatomy.lesions import TumourBody, TumourKind
from angio_pipeline.simulate.anatomy.tree import Territory
from angio_pipeline.simulate.circulation.contrast import ContrastParams

__all__ = ["Tissue", "tissues_of"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_LIVER_CELL_MM = 20.0
_ORGAN_CELL_MM = 12.0


@dataclass(frozen=True, slots=True, eq=False)
class Tissue:
    """One tissue.

    Attributes
    ----------
    kind : "liver", "tumour", "spleen", "organs" or "pool"
    tumour : int
        Index, or -1.
    nodes : (T,) int64
        Arterial nodes that supply it; `blob` (T,) is the blob that each belongs to.
    centre, sigma_mm, native_ml_s : (K, 3), (K,), (K,)
        Of the blobs; the flow is that before embolisation.
    tanks_s : tuple of float
        Mean transits of the well-mixed tanks that contrast passes one after the other.
    """

    kind: str
    tumour: int
    nodes: IntArray
    blob: IntArray
    centre: Array
    sigma_mm: Array
    native_ml_s: Array
    tanks_s: tuple[float, ...]


def tissues_of(anatomy: Anatomy, courses: Courses, native_shed: Array, params: ContrastParams) -> list[Tissue]:
    """Return the liver, each tumour, and the spleen, organs and pool that the arteries supply.

    Parameters
    ----------
    native_shed : (N,)
        ml/s that leaves the arteries at each node before embolisation.
    """
    territory, tumour = np.asarray(anatomy.arteries.territory), np.asarray(anatomy.arteries.tumour)
    ends = np.flatnonzero(native_shed > 0)
    of = territory[ends]
    growth = np.isin(of, [Territory.FEEDER, Territory.TUMOUR]) & (tumour[ends] >= 0)
    place = _Places(np.asarray(anatomy.arteries.position, float).copy(), native_shed)
    for node, segment in courses.last_of_node.items():
        if segment >= 0:
            place.position[node] = courses.tubes.end[segment]
    liver = np.isin(of, [Territory.RIGHT_LIVER, Territory.LEFT_LIVER]) | (of == Territory.FEEDER) & ~growth
    found = [place.merged("liver", -1, ends[liver], _LIVER_CELL_MM, 13.0, _tanks(params.liver_transit_s, 3))]
    for index, body in enumerate(anatomy.tumours):
        found.append(_tumour(place, index, body, ends[growth & (tumour[ends] == index)]))
    spleen, pool = of == Territory.SPLEEN, of == Territory.BLEED
    organs = ~(liver | growth | spleen | pool | (of == Territory.SHUNT))
    for kind, chosen, sigma, tanks in (
        ("spleen", spleen, 9.0, _tanks(params.spleen_transit_s, 4)),
        ("organs", organs, 16.0, _tanks(params.organ_transit_s, 4)),
    ):
        if chosen.any():
            found.append(place.merged(kind, -1, ends[chosen], _ORGAN_CELL_MM, sigma, tanks))
    if pool.any():
        found.append(place.merged("pool", -1, ends[pool], 1.0, 3.0, (np.inf,)))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    position: Array
    flow_ml_s: Array

    def merged(
        self, kind: str, tumour: int, nodes: IntArray, cell_mm: float, sigma_mm: float, tanks_s: tuple[float, ...]
    ) -> Tissue:
        at, flow = self.position[nodes], self.flow_ml_s[nodes]
        cells = np.floor(at / cell_mm).astype(np.int64)
        _, blob = np.unique(cells, axis=0, return_inverse=True)
        blob = blob.ravel().astype(np.int64)
        total = np.bincount(blob, flow, minlength=int(blob.max(initial=-1)) + 1).astype(float)
        centre = np.stack([np.bincount(blob, flow * at[:, k], minlength=len(total)) / total for k in range(3)], axis=1)
        sigma = np.full(len(total), sigma_mm)
        return Tissue(kind, tumour, nodes, blob, centre.reshape(-1, 3), sigma, total, tanks_s)


def _tumour(place: _Places, index: int, body: TumourBody, nodes: IntArray) -> Tissue:
    # Pools of blood about the ends of its vessels, a few millimetres wide: the mottle of a blush.
    sigma = float(np.clip(0.16 * body.radius_mm, 1.2, 4.0))
    if body.kind is TumourKind.RIM:
        sigma *= 0.7
    return place.merged("tumour", index, nodes, sigma, sigma, _tanks(body.transit_s, 2))


def _tanks(transit_s: float, count: int) -> tuple[float, ...]:
    # The more tanks, the longer nothing comes out.
    return (transit_s / count,) * count
