"""The patient's liver, vessels and lesions, in LPS millimetres about the liver's hilum.

Order of making: liver, tumours where there is room for them, arteries down to coarse branches,
feeders from branches that also supply liver and vessels inside tumours, then all the finer twigs,
veins, shunts, and what earlier treatment left behind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from pydantic import model_validator

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.simulate.anatomy.arteries import Arteries, ArteryParams, draw_variant, grow_twigs, lay_arteries
from angio_pipeline.simulate.anatomy.devices import (
    Catheter,
    DeviceParams,
    Devices,
    History,
    draw_history,
    lay_devices,
    lead_catheter,
)
from angio_pipeline.simulate.anatomy.lesions import (
    Bleed,
    LesionParams,
    LesionPlan,
    Shunt,
    ShuntKind,
    TumourBody,
    TumourKind,
    draw_bleed,
    draw_shunts,
    feed,
    obstacles_of,
    place,
    plan_lesions,
)
from angio_pipeline.simulate.anatomy.liver import Liver, LiverParams, draw_liver, inside, volume_ml
from angio_pipeline.simulate.anatomy.tree import Tree
from angio_pipeline.simulate.anatomy.veins import VeinParams, grow_hepatic, grow_portal, lay_tributaries
from angio_pipeline.simulate.radiograph.projection import Ellipsoids

__all__ = [
    "Anatomy",
    "AnatomyParams",
    "Bleed",
    "Catheter",
    "Devices",
    "Shunt",
    "ShuntKind",
    "TumourBody",
    "TumourKind",
    "build_anatomy",
    "inside",
    "volume_ml",
]


# Where great vessels enter or leave the liver; tumours keep clear of these points.
_HUBS = np.array(
    [
        [-7.0, 7.0, -3.0], [-25.0, 8.5, 1.0], [5.0, -13.0, 15.0], [18.0, -20.0, 20.0], [14.0, 36.0, 64.0],
        [5.0, 8.0, -13.0], [5.0, 13.0, -19.0], [12.0, 8.0, -30.0], [10.0, 0.0, -45.0], [57.0, 15.0, 22.0],
    ]
)  # fmt: skip
_TRIES, _STRICT_TRIES = 48, 16


class AnatomyParams(LiverParams, ArteryParams, VeinParams, LesionParams, DeviceParams):
    """Everything about the patient's liver, vessels, tumours and what earlier treatment left."""

    @model_validator(mode="after")
    def _branches_for_feeders(self) -> AnatomyParams:
        if 0 < self.terminals < self.feeders_max * max(self.tumours_max, len(self.tumours_at_mm)):
            raise ValueError("feeders_max times tumours_max must not be above terminals: feeders leave liver branches")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """One patient's liver, vessels and lesions, LPS mm.

    Attributes
    ----------
    lobes : Ellipsoids
        Right, left and caudate lobe, perhaps a Riedel tongue; the liver is their union.
    arteries : Tree
        Node 0 lies in the aorta, with edges to the celiac trunk and the superior mesenteric artery.
    portal : Tree
        Node 0 is the splenomesenteric confluence; flow runs away from it.
    hepatic : Tree
        Node 0 lies in the cava; flow runs to it.
    tributaries : Tree
        Splenic and superior mesenteric vein; node 0 is the confluence and flow runs to it.
    variant : int
        Michels' type, 1 to 10.
    liver_terminals, portal_terminals, hepatic_terminals : tuple of int
        Ends in the liver: nodes of the arteries, of the portal and of the hepatic tree.
    """

    lobes: Ellipsoids
    arteries: Tree
    portal: Tree
    hepatic: Tree
    tributaries: Tree
    tumours: tuple[TumourBody, ...]
    shunts: tuple[Shunt, ...]
    bleed: Bleed | None
    devices: Devices
    variant: int
    liver_terminals: tuple[int, ...]
    portal_terminals: tuple[int, ...]
    hepatic_terminals: tuple[int, ...]

    def place_catheter(self, order: int, toward: int | None = None) -> Catheter:
        """Return a catheter with its tip in the artery of `order` that leads to tumour `toward`.

        Parameters
        ----------
        order : int
            0 celiac (superior mesenteric where that feeds), 1 common hepatic, 2 proper hepatic, 3 lobar,
            4 segmental.
        toward : int, optional
            Index of a tumour, whose greatest feeder is the goal; without, the greatest part of the liver.

        Raises
        ------
        ValueError
            When the order is not from 0 to 4 or there is no such tumour.
        """
        if not 0 <= order <= 4:
            raise ValueError(f"Expected an order from 0 (celiac) to 4 (segmental), found {order}.")
        if toward is not None and not 0 <= toward < len(self.tumours):
            raise ValueError(f"Expected toward to be one of {len(self.tumours)} tumours, found {toward}.")
        return lead_catheter(self.arteries, self._goal(toward), order)

    def _goal(self, toward: int | None) -> int:
        if toward is not None:
            body = self.tumours[toward]
            return max(zip(body.entries, body.branch_starts, strict=True), key=lambda e: self.arteries.flow[e[0]])[1]
        # Downstream along the greatest branch, starting from the artery that feeds most of the liver.
        liver = set(self.liver_terminals)
        ways = [self.arteries.way(t) for t in liver]
        first = max({w[1] for w in ways}, key=lambda n: sum(w[1] == n for w in ways))
        return max((w for w in ways if w[1] == first), key=lambda w: [self.arteries.flow[n] for n in w])[-1]


def build_anatomy(params: AnatomyParams, rng: np.random.Generator) -> Anatomy:
    """Return one patient's anatomy.

    Raises
    ------
    ConfigError
        When tumours as asked for cannot be placed in the liver and fed.
    """
    liver, variant = draw_liver(params, rng), draw_variant(params, rng)
    history, plans = draw_history(params, rng), plan_lesions(params, rng)
    for attempt in range(_TRIES):
        strict = attempt < _STRICT_TRIES
        if attempt >= _TRIES // 8:
            # Too much for this liver: ask for less, but never for less than the settings allow.
            plans = tuple(_shrunk(plan, params.tumour_radius_min_mm) for plan in plans)
        arteries, bodies = _with_tumours(liver, variant, history, plans, params, rng, strict=strict)
        if arteries is not None:
            return _complete(liver, arteries, bodies, history, params, rng)
    raise ConfigError(
        "Expected room in the liver for tumours_max tumours of tumour_radius_min_mm with feeders_max feeders, "
        f"found none in {_TRIES} tries; ask for fewer or smaller ones."
    )


def _shrunk(plan: LesionPlan, least_mm: float) -> LesionPlan:
    if plan.daughter_of is not None:
        return plan
    return replace(plan, radius_mm=max(least_mm, 0.95 * plan.radius_mm))


def _with_tumours(
    liver: Liver,
    variant: int,
    history: History,
    plans: tuple[LesionPlan, ...],
    params: AnatomyParams,
    rng: np.random.Generator,
    *,
    strict: bool,
) -> tuple[Arteries | None, tuple[TumourBody, ...]]:
    bodies = place(plans, liver, _HUBS, params, rng)
    if bodies is None:
        return None, ()
    arteries = lay_arteries(
        liver,
        obstacles_of(bodies),
        variant,
        params,
        rng,
        stump=history.coiled,
        gallbladder=not history.gallbladder_out,
    )
    fed = feed(arteries.tree, bodies, plans, params, rng, strict=strict)
    return (None, ()) if fed is None else (arteries, fed)


def _complete(
    liver: Liver,
    arteries: Arteries,
    bodies: tuple[TumourBody, ...],
    history: History,
    params: AnatomyParams,
    rng: np.random.Generator,
) -> Anatomy:
    obstacles, tree = obstacles_of(bodies), arteries.tree
    grow_twigs(arteries, liver)
    portal = grow_portal(liver, obstacles, params, rng)
    hepatic = grow_hepatic(liver, obstacles, params, rng)
    tributaries = lay_tributaries(portal.tree.position[0], params, rng)
    shunts = draw_shunts(tree, portal.tree, hepatic.tree, bodies, params, rng)
    bleed = draw_bleed(tree, bodies, params, rng)
    tree.settle()
    return Anatomy(
        liver.lobes,
        tree,
        portal.tree,
        hepatic.tree,
        tributaries,
        bodies,
        shunts,
        bleed,
        lay_devices(history, tree, rng),
        arteries.variant,
        tuple(arteries.terminals),
        portal.terminals,
        hepatic.terminals,
    )
