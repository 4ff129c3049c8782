"""From the catheter's tip through arteries, tissue and veins: where iodine is at any time.

Order of the story: the injection spreads through the arteries; terminals hand it to tissue; spleen,
stomach, pancreas and bowel drain into the portal vein, which feeds the liver a second time; liver and
tumours drain into the hepatic veins and those into the cava. Shunts skip the tissue. Blood flow is
steady and contrast does not change it, so that everything is a sum of delayed signals.
Units: mg I/ml, ml/s, s, mg.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from angio_pipeline.simulate.anatomy.anatomy import Anatomy
from angio_pipeline.simulate.anatomy.courses import Courses, Vasculature
from angio_pipeline.simulate.anatomy.lesions import ShuntKind
from angio_pipeline.simulate.circulation.arterial_phase import ArterialPhase, fill_arteries
from angio_pipeline.simulate.circulation.blush import Bed, make_bed
from angio_pipeline.simulate.circulation.contrast import ContrastParams, Injection, Pulse
from angio_pipeline.simulate.circulation.flows import all_over, nearby, segment_ml, shed
from angio_pipeline.simulate.circulation.mixtures import Filling, Mixture, stay
from angio_pipeline.simulate.circulation.signals import STEP_S, Signals, Tables, Terms, running_integral
from angio_pipeline.simulate.circulation.streaming import settle
from angio_pipeline.simulate.circulation.tissue import Tissue, tissues_of
from angio_pipeline.simulate.circulation.venous_phase import Joined, Opening, Outflow, fill_joining, fill_portal
from angio_pipeline.simulate.radiograph.projection import Tubes

__all__ = ["Circulation", "Ledger", "circulate"]

Array = npt.NDArray[np.float64]
_SCAN_S = 0.1
_FILLED_MG_ML = 1e-3
_TUMOUR_VEINS = 12


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where the iodine is, mg; each part is computed from what it holds, none as the others' remainder."""

    injected_mg: float
    arteries_mg: float
    tissue_mg: float
    veins_mg: float
    drained_mg: float

    @property
    def found_mg(self) -> float:
        """Return the sum of all that was found."""
        return self.arteries_mg + self.tissue_mg + self.veins_mg + self.drained_mg


@dataclass(frozen=True, slots=True, eq=False)
class _Filled:
    mixture: Mixture
    volume_ml: Array
    flow_ml_s: Array


@dataclass(frozen=True, slots=True, eq=False)
class Circulation:
    """The passage of one injection; times are those of the run's clock.

    Attributes
    ----------
    beds : tuple of Bed
        Liver first, then each tumour in order, then spleen, organs and a bleed's pool where there are any.
    """

    injection: Injection
    params: ContrastParams
    until_s: float
    beds: tuple[Bed, ...]
    _vessels: dict[str, _Filled]
    _cava: Mixture
    _aorta: Pulse
    _returned_mg: Array
    _known: dict[str, tuple[Array, Array]] = field(default_factory=dict)

    def concentration(self, which: str, time_s: float) -> Array:
        """Return (S,) mg/ml in each segment of "arteries", "portal", "hepatic" or "tributaries"."""
        return self._of(which).mixture.at(time_s - self.injection.start_s)

    def peak(self, which: str) -> Array:
        """Return (S,) mg/ml, the greatest concentration until the run's end."""
        return self._passage(which)[0]

    def rise_s(self, which: str) -> Array:
        """Return (S,) seconds of half the peak on the rising side; NaN in segments that do not fill."""
        return self._passage(which)[1]

    def columns(self, which: str, tubes: Tubes, time_s: float) -> tuple[Tubes, Array]:
        """Return the contrast in vessels `tubes` as it lies, and its concentration (S,) mg/ml.

        Without layering these are the vessels themselves.
        """
        conc = self.concentration(which, time_s)
        if self.params.layering <= 0:
            return tubes, conc
        settled, factor = settle(tubes, self._of(which).flow_ml_s, conc, self.params.layering)
        return settled, conc * factor

    def volume_ml(self, which: str) -> Array:
        """Return (S,) the volume of each segment."""
        return self._of(which).volume_ml

    def flow_ml_s(self, which: str) -> Array:
        """Return (S,) the blood flow through each segment, as embolisation left it."""
        return self._of(which).flow_ml_s

    def ledger(self, time_s: float) -> Ledger:
        """Return where the iodine is at `time_s`."""
        age = time_s - self.injection.start_s
        held = {name: float(part.mixture.at(age) @ part.volume_ml) for name, part in self._vessels.items()}
        rate = self.injection.rate_ml_s * self.injection.iodine_mg_per_ml
        given = Pulse(np.array([rate]), np.zeros(1), np.array([self.injection.duration_s]), self.injection.ramp_s)
        tissue = sum(float(bed.mass_mg(time_s).sum()) for bed in self.beds)
        veins = held["portal"] + held["hepatic"] + held["tributaries"]
        return Ledger(float(given.integral(np.array([age]))[0]), held["arteries"], tissue, veins, self._drained(age))

    def _drained(self, age: float) -> float:
        back = float(np.interp(age, np.arange(len(self._returned_mg)) * STEP_S, self._returned_mg))
        ages, _ = self._cava_flux()
        gone = np.interp(age, ages, self._known["drained"][1])
        return float(gone + self._aorta.integral(np.array([age]))[0] - back)

    def _cava_flux(self) -> tuple[Array, Array]:
        # mg/s into the cava; its integral is kept beside it.
        if "cava" not in self._known:
            ages = np.arange(0.0, self.until_s - self.injection.start_s + 2 * _SCAN_S, _SCAN_S)
            flux = self._cava.over(ages)[:, 0]
            gone = np.concatenate([[0.0], np.cumsum(0.5 * _SCAN_S * (flux[1:] + flux[:-1]))])
            self._known.update(cava=(ages, flux), drained=(ages, gone))
        return self._known["cava"]

    def _passage(self, which: str) -> tuple[Array, Array]:
        if which not in self._known:
            # Veins fill slowly.
            step = _SCAN_S if which == "arteries" else 2 * _SCAN_S
            ages = np.arange(0.0, self.until_s - self.injection.start_s + step, step)
            peak, rise = self._of(which).mixture.peak_and_rise(ages)
            rise = np.where(peak > _FILLED_MG_ML, rise + self.injection.start_s, np.nan)
            self._known[which] = (peak, rise)
        return self._known[which]

    def _of(self, which: str) -> _Filled:
        if which not in self._vessels:
            raise ValueError(f"Expected which to be one of {', '.join(self._vessels)}, found {which!r}.")
        return self._vessels[which]


def circulate(
    anatomy: Anatomy,
    courses: Vasculature,
    injection: Injection,
    params: ContrastParams,
    *,
    kept: npt.ArrayLike,
    until_s: float,
) -> Circulation:
    """Return the passage of one injection until `until_s` on the run's clock.

    Parameters
    ----------
    kept : (arteries' nodes,)
        Share of native flow that embolisation left to what lies beyond each node; 1 is untouched.

    Raises
    ------
    ValueError
        When the tip is no node of the arteries, the run ends before the injection, or `kept` does not fit.
    """
    if injection.tip_node >= len(anatomy.arteries):
        nodes = len(anatomy.arteries)
        raise ValueError(
            f"Expected tip_node below the arteries' {nodes} nodes, found {injection.tip_node}; correct it."
        )
    horizon = until_s - injection.start_s
    if not 0 < horizon <= 90:
        raise ValueError(
            f"Expected until_s within 90 s after the injection's start_s, found {horizon:.2f} s after it; correct one."
        )
    share = np.asarray(kept, float)
    first = _follow(anatomy, courses, injection, params, share, until_s, None)
    if params.recirculation <= 0:
        return first
    return _follow(anatomy, courses, injection, params, share, until_s, _coming_round(first, params))


def _coming_round(first: Circulation, params: ContrastParams) -> Array:
    # mg/ml in the aorta on the signals' clock: what drained, after heart and lungs, in all the blood.
    ages, flux = first._cava_flux()
    signals = Signals(first.until_s - first.injection.start_s, params.dispersion_s)
    drained = np.interp(signals.times_s, ages, flux, right=0.0) + first._aorta.at(signals.times_s)
    after = np.zeros(1, np.int64)
    signals.add(params.recirculation * drained / params.cardiac_output_ml_s)
    for _ in range(4):
        after = signals.through(after, params.recirculation_s / 4)
    return signals.curve(int(after[0]))


def _follow(
    anatomy: Anatomy,
    courses: Vasculature,
    injection: Injection,
    params: ContrastParams,
    kept: Array,
    until_s: float,
    returned: Array | None,
) -> Circulation:
    signals = Signals(until_s - injection.start_s, params.dispersion_s)
    arteries = fill_arteries(anatomy.arteries, courses.arteries, injection, params, kept, signals, returned)
    tissues = tissues_of(anatomy, courses.arteries, arteries.supply.native_shed, params)
    entering = [_enter(signals, arteries, tissue) for tissue in tissues]
    passed = [_Passed.through(signals, t, e) for t, e in zip(tissues[1:], entering[1:], strict=True)]
    collected = _collect(anatomy, courses, passed, signals)
    openings = _openings(anatomy, arteries, ShuntKind.ARTERIOPORTAL)
    scale = _portal_scale(anatomy, tissues[0], params)
    portal = fill_portal(anatomy.portal, courses.portal, scale, collected.at_root, openings, signals)
    liver = _Passed.through(signals, tissues[0], _fed_twice(signals, entering[0], portal.leaving))
    openings = _openings(anatomy, arteries, ShuntKind.ARTERIOVENOUS)
    hepatic = _drain(anatomy, courses, [liver, *passed], openings, signals)
    tables = signals.tables()
    clock = (injection.start_s, until_s)
    beds = tuple(make_bed(anatomy, p.tissue, p.held, tables, params, clock) for p in [liver, *passed])
    vessels = {
        "arteries": _filled(arteries.filling, courses.arteries, arteries.supply.flow[courses.arteries.edge], tables),
        "portal": _filled(portal.filling, courses.portal, portal.flow_ml_s, tables),
        "hepatic": _filled(hepatic.filling, courses.hepatic, hepatic.flow_ml_s, tables),
        "tributaries": _filled(collected.filling, courses.tributaries, collected.flow_ml_s, tables),
    }
    cava = Mixture.of(tables, hepatic.at_root, np.zeros(1, np.int64), np.zeros(1), np.ones(1))
    back = np.zeros(1) if returned is None else running_integral(arteries.supply.flow[0] * returned)
    return Circulation(injection, params, until_s, beds, vessels, cava, arteries.spread.aorta, back)


def _collect(anatomy: Anatomy, courses: Vasculature, passed: list[_Passed], signals: Signals) -> Joined:
    # Spleen, stomach, pancreas and bowel, into the veins that join to the portal vein.
    splanchnic = [p.leaving for p in passed if p.tissue.kind in ("spleen", "organs")]
    drained = [(leaving, nearby(leaving.at_mm, anatomy.tributaries)) for leaving in splanchnic]
    return fill_joining(anatomy.tributaries, courses.tributaries, drained, [], signals)


def _drain(
    anatomy: Anatomy, courses: Vasculature, passed: list[_Passed], openings: list[Opening], signals: Signals
) -> Joined:
    drained = []
    for p in passed:
        if p.tissue.kind == "liver":
            drained.append((p.leaving, all_over(p.leaving.at_mm, anatomy.hepatic)))
        elif p.tissue.kind == "tumour":
            drained.append((p.leaving, nearby(p.leaving.at_mm, anatomy.hepatic, _TUMOUR_VEINS)))
    return fill_joining(anatomy.hepatic, courses.hepatic, drained, openings, signals)


@dataclass(frozen=True, slots=True, eq=False)
class _Passed:
    tissue: Tissue
    held: Terms
    leaving: Outflow

    @classmethod
    def through(cls, signals: Signals, tissue: Tissue, entering: Outflow) -> _Passed:
        held, leaving = stay(signals, entering.terms, tissue.tanks_s)
        return cls(tissue, held, Outflow(entering.at_mm, entering.flow_ml_s, leaving))


def _enter(signals: Signals, arteries: ArterialPhase, tissue: Tissue) -> Outflow:
    flow = arteries.supply.shed[tissue.nodes]
    terms = signals.binned(arteries.at(tissue.nodes, flow).given_to(tissue.blob))
    blood = np.bincount(tissue.blob, flow, minlength=len(tissue.centre))
    return Outflow(tissue.centre, np.asarray(blood, float), terms)


def _fed_twice(signals: Signals, arterial: Outflow, portal: Outflow) -> Outflow:
    # Each end of the portal vein feeds the part of the liver nearest to it.
    if len(arterial.at_mm) == 0 or len(portal.at_mm) == 0:
        return arterial
    blob = np.asarray(cKDTree(arterial.at_mm).query(portal.at_mm)[1], np.int64)
    flow = arterial.flow_ml_s + np.bincount(blob, portal.flow_ml_s, minlength=len(arterial.flow_ml_s))
    terms = Terms.join([arterial.terms, portal.terms.given_to(blob)])
    return Outflow(arterial.at_mm, flow, signals.binned(terms))


def _portal_scale(anatomy: Anatomy, liver: Tissue, params: ContrastParams) -> float:
    # The portal vein's flow follows from the liver's arterial flow and the share that is arterial.
    arterial = float(liver.native_ml_s.sum())
    portal = float(shed(np.asarray(anatomy.portal.parent, np.int64), np.asarray(anatomy.portal.flow, float)).sum())
    return arterial * (1 - params.arterial_share) / params.arterial_share / max(portal, 1e-9)


def _openings(anatomy: Anatomy, arteries: ArterialPhase, kind: ShuntKind) -> list[Opening]:
    found = []
    for shunt in anatomy.shunts:
        node = np.array([shunt.artery_node])
        flow = arteries.supply.shed[node]
        if shunt.kind is kind and flow[0] > 0:
            found.append(Opening(shunt.vein_node, float(flow[0]), arteries.at(node, flow)))
    return found


def _filled(filling: Filling, courses: Courses, flow_ml_s: Array, tables: Tables) -> _Filled:
    return _Filled(filling.mixture(tables), segment_ml(courses), flow_ml_s)
