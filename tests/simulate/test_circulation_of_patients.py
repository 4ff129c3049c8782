"""The laws of the circulation hold in patients as they are drawn."""

from typing import Any

import numpy as np
import pytest

from angio_pipeline.simulate.anatomy.anatomy import Anatomy, AnatomyParams, build_anatomy
from angio_pipeline.simulate.anatomy.courses import Vasculature, lay_vasculature
from angio_pipeline.simulate.anatomy.lesions import ShuntKind, TumourKind
from angio_pipeline.simulate.anatomy.tree import Territory
from angio_pipeline.simulate.circulation.blush import solid_volume_mm3
from angio_pipeline.simulate.circulation.circulation import Circulation, circulate
from angio_pipeline.simulate.circulation.contrast import ContrastParams, Injection

pytestmark = pytest.mark.slow

Patient = tuple[Anatomy, Vasculature]


@pytest.fixture(scope="module", params=[5, 11])
def patient(request: pytest.FixtureRequest) -> Patient:
    """A patient with tumours, both kinds of shunt and a bleed."""
    params = AnatomyParams(
        terminals=150,
        tumours_min=2,
        tumours_max=3,
        arterioportal_probability=1,
        arteriovenous_probability=1,
        bleed_probability=1,
    )
    anatomy = build_anatomy(params, np.random.default_rng(request.param))
    return anatomy, lay_vasculature(anatomy, 0.06, np.random.default_rng(1))


def inject(patient: Patient, order: int, over_flow: float, residual: float = 1.0, **params: Any) -> Circulation:
    anatomy, courses = patient
    tip = anatomy.place_catheter(order, 0).tip_node
    rate = over_flow * anatomy.arteries.flow[tip]
    fed = np.isin(anatomy.arteries.territory, [int(Territory.FEEDER), int(Territory.TUMOUR)])
    kept = np.where(fed, residual, 1.0)
    injection = Injection(tip, rate, 2.6, 300.0, 0.5)
    return circulate(anatomy, courses, injection, ContrastParams(**params), kept=kept, until_s=20.0)


@pytest.mark.parametrize(
    ("order", "over_flow", "residual", "params"),
    [
        (0, 0.4, 1.0, {}),
        (0, 1.3, 1.0, {}),
        (1, 0.8, 0.0, {}),
        (3, 0.7, 0.05, {}),
        (3, 1.6, 1.0, {}),
        (4, 4.0, 1.0, {}),
        (0, 0.4, 1.0, {"streaming": 1.0, "recirculation": 1.0, "recirculation_s": 6.0}),
    ],
)
def test_iodine_is_kept(
    patient: Patient, order: int, over_flow: float, residual: float, params: dict[str, Any]
) -> None:
    circulation = inject(patient, order, over_flow, residual, **params)
    for time in (0.9, 1.5, 2.5, 3.1, 3.4, 4.0, 6.0, 10.0, 20.0):
        ledger = circulation.ledger(time)
        assert ledger.found_mg == pytest.approx(ledger.injected_mg, rel=0.01), time


def test_arrival_never_falls_away_from_the_tip(patient: Patient) -> None:
    circulation, courses = inject(patient, 3, 0.8), patient[1].arteries
    rise, peak, joined = circulation.rise_s("arteries"), circulation.peak("arteries"), courses.parent >= 0
    both = joined & (peak > 1) & (peak[courses.parent] > 1)
    # Stumps of closed branches are filled with the vessel they hang on.
    both &= circulation.flow_ml_s("arteries") > 0
    assert both.sum() > 500
    assert (rise[both] >= rise[courses.parent[both]]).all()
    # The few segments above the tip into which contrast mixes fill together.
    assert (rise[both] > rise[courses.parent[both]]).mean() > 0.99


def test_only_shunts_fill_veins_before_the_liver(patient: Patient) -> None:
    anatomy, courses = patient
    circulation = inject(patient, 1, 0.8)
    liver = float(np.nanmin(circulation.beds[0].rise_s()))
    for shunt in anatomy.shunts:
        which = "portal" if shunt.kind is ShuntKind.ARTERIOPORTAL else "hepatic"
        tree, laid = getattr(anatomy, which), getattr(courses, which)
        nodes = tree.children()[shunt.vein_node] if which == "portal" else [shunt.vein_node]
        early = circulation.rise_s(which)[np.isin(laid.edge, nodes)]
        if len(nodes) == 0:
            continue
        assert np.nanmin(early) < liver + 0.5
    plain = {name: circulation.rise_s(name) for name in ("portal", "hepatic")}
    assert np.nanmedian(plain["hepatic"]) > liver
    assert np.nanmedian(plain["portal"]) > liver


def test_tumours_take_iodine_by_their_kind(patient: Patient) -> None:
    anatomy, _ = patient
    circulation = inject(patient, 1, 0.8)
    liver = circulation.beds[0].mass_mg(4.0).sum() / solid_volume_mm3(anatomy.lobes)
    # A tumour fed from elsewhere in a variant takes none.
    taken = [bed for bed in circulation.beds if bed.kind == "tumour" and bed.mass_mg(4.0).sum() > 0]
    assert taken
    for bed in taken:
        if anatomy.tumours[bed.tumour].kind is TumourKind.HYPERVASCULAR:
            assert bed.mass_mg(4.0).sum() / bed.volume_mm3 > 1.5 * liver


def test_without_a_shunt_no_vein_precedes_the_stain() -> None:
    anatomy = build_anatomy(AnatomyParams(terminals=150), np.random.default_rng(2))
    courses = lay_vasculature(anatomy, 0.06, np.random.default_rng(1))
    circulation = inject((anatomy, courses), 1, 0.8)
    stain = min(float(np.nanmin(bed.rise_s())) for bed in circulation.beds if np.isfinite(bed.rise_s()).any())
    assert np.nanmin(circulation.rise_s("hepatic")) > stain
    assert np.nanmin(circulation.rise_s("portal")) > stain
