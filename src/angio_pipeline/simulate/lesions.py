"""Tumours, shunts and bleeding."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.projection import Ellipsoids

__all__ = ["Bleed", "Shunt", "ShuntKind", "TumourBody", "TumourKind"]

Array = npt.NDArray[np.float64]


class TumourKind(StrEnum):
    """How a tumour takes contrast in the arterial phase."""

    HYPERVASCULAR = "hypervascular"
    RIM = "rim"
    HYPOVASCULAR = "hypovascular"


class ShuntKind(StrEnum):
    """Which vein an arterial shunt opens into."""

    ARTERIOPORTAL = "arterioportal"
    ARTERIOVENOUS = "arteriovenous"


@dataclass(frozen=True, slots=True, eq=False)
class TumourBody:
    """One tumour.

    Attributes
    ----------
    centre_mm : (3,) LPS; radius_mm : mean radius
    solid : Ellipsoids
        A lobulated body: the union of a few ellipsoids, the greatest first.
    kind : TumourKind
    entries, branch_starts : tuple of int
        Arterial nodes where each feeder enters, and where it leaves a vessel that also feeds liver.
    terminals : tuple of int
        Arterial nodes at which the tumour's own vessels end.
    daughter_of : int or None
        Index of the main tumour that a daughter nodule belongs to.
    core : Ellipsoids or None
        The avascular core of a rim-enhancing tumour.
    perfusion_per_min : float
        ml of arterial blood a minute per ml of perfused tissue.
    transit_s : float
        Mean transit time of the blush.
    native_hu : float
        Attenuation on plain CT.
    """

    centre_mm: Array
    radius_mm: float
    solid: Ellipsoids
    kind: TumourKind
    entries: tuple[int, ...] = ()
    branch_starts: tuple[int, ...] = ()
    terminals: tuple[int, ...] = ()
    daughter_of: int | None = None
    core: Ellipsoids | None = None
    perfusion_per_min: float = 1.6
    transit_s: float = 6.0
    native_hu: float = 50.0


@dataclass(frozen=True, slots=True, eq=False)
class Shunt:
    """An artery that opens into a vein.

    Attributes
    ----------
    artery_node : int
        Terminal of `Territory.SHUNT` among the arteries.
    vein_node : int
        Node of the portal (arterioportal) or hepatic (arteriovenous) tree that it opens into.
    at_mm : (3,) LPS
    """

    kind: ShuntKind
    artery_node: int
    vein_node: int
    at_mm: Array
    flow_ml_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Bleed:
    """Extravasation from an arterial terminal of `Territory.BLEED`."""

    artery_node: int
    at_mm: Array
    flow_ml_s: float
