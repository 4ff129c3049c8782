"""The stain on the detector is the iodine in the tissue, inside the tissue's outline."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from angio_pipeline.simulate.anatomy.lesions import TumourBody, TumourKind
from angio_pipeline.simulate.circulation.blush import Bed, make_bed, solid_volume_mm3
from angio_pipeline.simulate.circulation.contrast import ContrastParams, Pulse
from angio_pipeline.simulate.circulation.mixtures import stay
from angio_pipeline.simulate.circulation.signals import Signals, Tables, Terms
from angio_pipeline.simulate.circulation.tissue import Tissue
from angio_pipeline.simulate.radiograph.projection import CArm, Ellipsoids, project_union

Array = npt.NDArray[np.float64]
CARM = CArm(256, 256, 1.2, 1100.0, 750.0)
CENTRE = np.array([-30.0, 0.0, 10.0])
LOBES = Ellipsoids.aligned([[-42, 0, 6], [26, -10, 24]], [[60, 56, 66], [58, 34, 42]])
TIME_S = 4.0


def made(count: int, seed: int = 0) -> tuple[Tables, Terms, Array]:
    """Tables of a bolus, what `count` blobs of tissue hold of it, and the blobs' flows."""
    signals = Signals(30.0, 0.12)
    signals.add(Pulse(np.array([100.0]), np.zeros(1), np.array([2.5]), 0.3).at(signals.times_s))
    rng = np.random.default_rng(seed)
    flow = rng.uniform(0.05, 0.1, count)
    entering = Terms(np.arange(count), np.zeros(count, np.int64), rng.uniform(0.8, 1.6, count), flow)
    held, _ = stay(signals, entering, (6.0,))
    return signals.tables(), held, flow


def ball(radius: float, centre: Array = CENTRE) -> Ellipsoids:
    return Ellipsoids.aligned(centre[None], np.full((1, 3), radius))


def tumour(kind: TumourKind = TumourKind.HYPERVASCULAR, core: float = 0.0) -> TumourBody:
    return TumourBody(CENTRE, 20.0, ball(20.0), kind, core=ball(core) if core else None)


def bed(kind: str, body: TumourBody | None = None, **params: Any) -> Bed:
    rng = np.random.default_rng(3)
    count = {"tumour": 60, "liver": 200, "pool": 1}.get(kind, 20)
    away = rng.normal(size=(count, 3))
    away *= (rng.uniform(0, 1, (count, 1)) ** (1 / 3)) / np.linalg.norm(away, axis=1, keepdims=True)
    at = CENTRE + 18 * away
    if kind == "liver":
        at = np.vstack([LOBES.centre[k] + away[k::2] / np.diag(LOBES.shape[k]) for k in (0, 1)])
    tables, held, flow = made(count)
    sigma = np.full(count, {"tumour": 3.0, "liver": 13.0}.get(kind, 6.0))
    tissue = Tissue(kind, 0 if kind == "tumour" else -1, np.arange(count), np.arange(count), at, sigma, flow, (6.0,))
    anatomy: Any = SimpleNamespace(lobes=LOBES, tumours=() if body is None else (body,))
    return make_bed(anatomy, tissue, held, tables, ContrastParams(**params), (0.0, 20.0))


def still(of: Bed) -> Array:
    return np.zeros_like(of.centre)


def drawn_mg(of: Bed, depth_mm: float = 750.0, carm: CArm = CARM) -> float:
    pixel = carm.pixel_mm * depth_mm / carm.sid_mm
    return float(of.areal_density(carm, TIME_S, still(of)).sum()) * pixel**2


@pytest.mark.slow
@pytest.mark.parametrize("kind", [TumourKind.HYPERVASCULAR, TumourKind.RIM, TumourKind.HYPOVASCULAR])
@pytest.mark.parametrize("evenness", [0.0, 0.45, 1.0])
def test_the_iodine_drawn_of_a_tumour_is_the_iodine_it_holds(kind: TumourKind, evenness: float) -> None:
    blush = bed("tumour", tumour(kind, 12.0 if kind is TumourKind.RIM else 0.0), blush_evenness=evenness)
    assert drawn_mg(blush) == pytest.approx(blush.mass_mg(TIME_S).sum(), rel=0.01)


@pytest.mark.parametrize("kind", ["spleen", "organs", "pool"])
def test_the_iodine_drawn_of_an_organ_is_the_iodine_it_holds(kind: str) -> None:
    stain = bed(kind)
    held = stain.mass_mg(TIME_S)
    depth = float(np.average(CARM.view(stain.centre)[:, 2], weights=held))
    assert drawn_mg(stain, depth) == pytest.approx(held.sum(), rel=0.01)


@pytest.mark.parametrize("body", [None, tumour()])
def test_the_iodine_drawn_of_the_liver_is_the_iodine_it_holds(body: TumourBody | None) -> None:
    stain = bed("liver", body)
    wide = replace(CARM, rows=340, columns=340)
    assert drawn_mg(stain, 750.0, wide) == pytest.approx(stain.mass_mg(TIME_S).sum(), rel=0.02)


def test_a_blush_ends_at_the_tumours_outline() -> None:
    blush = bed("tumour", tumour())
    image = blush.areal_density(CARM, TIME_S, still(blush))
    outline = project_union(CARM, ball(20.0)) > 0
    assert image[~outline].max() == 0
    assert (image[project_union(CARM, ball(18.0)) > 0] > 0).all()


def test_a_blush_is_uneven_as_asked() -> None:
    inner = project_union(CARM, ball(12.0)) > 0
    spread = []
    for evenness in (1.0, 0.45, 0.0):
        blush = bed("tumour", tumour(), blush_evenness=evenness)
        ratio = blush.areal_density(CARM, TIME_S, still(blush))[inner] / project_union(CARM, ball(20.0))[inner]
        spread.append(float(ratio.std() / ratio.mean()))
    assert spread[0] < 0.01
    assert spread[0] < spread[1] < spread[2]


def test_the_core_of_a_rim_tumour_stays_dark() -> None:
    rim, whole = (
        bed("tumour", tumour(kind, core), blush_evenness=1.0)
        for kind, core in ((TumourKind.RIM, 14.0), (TumourKind.HYPERVASCULAR, 0.0))
    )
    middle = tuple(np.rint(CARM.project(CENTRE[None])[0]).astype(int))
    edge = project_union(CARM, ball(20.0)) - project_union(CARM, ball(14.0))
    ring = np.unravel_index(np.argmax(edge), edge.shape)
    shown = [b.areal_density(CARM, TIME_S, still(b)) for b in (rim, whole)]
    assert shown[0][middle] < 0.5 * shown[0][ring]
    assert shown[1][middle] > shown[1][ring]


def test_a_tumour_leaves_a_hole_in_the_livers_stain() -> None:
    whole, hollow = bed("liver"), bed("liver", tumour(TumourKind.HYPOVASCULAR))
    middle = tuple(np.rint(CARM.project(CENTRE[None])[0]).astype(int))
    before, after = (b.areal_density(CARM, TIME_S, still(b)) for b in (whole, hollow))
    thickness = project_union(CARM, LOBES)[middle]
    assert after[middle] / before[middle] == pytest.approx(1 - 40.0 / thickness, abs=0.08)


def test_the_livers_stain_ends_at_its_outline() -> None:
    stain = bed("liver")
    image = stain.areal_density(CARM, TIME_S, still(stain))
    outline = project_union(CARM, Ellipsoids(LOBES.centre, LOBES.shape / 1.1)) > 0
    assert image[~outline].max() < 0.01 * image.max()


def test_part_of_the_liver_that_gets_nothing_stays_dark() -> None:
    stain = bed("liver")
    left = stain.centre[:, 0] > 10
    factor = np.where(left[stain.mixture.group], 0.0, 1.0)
    half = replace(stain, mixture=replace(stain.mixture, strength=factor))
    image, place = (
        half.areal_density(CARM, TIME_S, still(half)),
        CARM.project(np.array([LOBES.centre[0], [60, -10, 24]])),
    )
    at = np.rint(place).astype(int)
    assert image[tuple(at[1])] < 0.05 * image[tuple(at[0])]


def test_a_stain_moves_with_its_tissue() -> None:
    blush = bed("tumour", tumour())
    moved = blush.areal_density(CARM, TIME_S, still(blush) + np.array([0.0, 0.0, -8.0]))
    rows = np.arange(CARM.rows)
    first, second = (
        float((rows[:, None] * image).sum() / image.sum())
        for image in (blush.areal_density(CARM, TIME_S, still(blush)), moved)
    )
    assert second - first == pytest.approx(8.0 / CARM.isocentre_pixel_mm, abs=0.05)


def test_nothing_is_drawn_before_contrast_comes() -> None:
    for kind in ("liver", "tumour", "spleen"):
        stain = bed(kind, tumour())
        assert stain.areal_density(CARM, -0.2, still(stain)).max() == 0


def test_a_pool_grows_as_it_fills() -> None:
    pool = bed("pool")
    widths = [pool._widths(np.array([mass]))[0] for mass in (1.0, 20.0, 160.0)]
    assert widths[0] < widths[1] < widths[2]
    assert widths[2] / widths[1] == pytest.approx(2.0, rel=0.01)


def test_the_volume_of_a_union_counts_overlaps_once() -> None:
    one = ball(10.0)
    assert solid_volume_mm3(one) == pytest.approx(4 / 3 * np.pi * 1000, rel=2e-3)
    twice = Ellipsoids(np.vstack([one.centre, one.centre]), np.vstack([one.shape, one.shape]))
    assert solid_volume_mm3(twice) == pytest.approx(4 / 3 * np.pi * 1000, rel=2e-3)
    apart = Ellipsoids.aligned([[0, 0, 0], [40, 5, 0]], [[10, 10, 10], [5, 6, 7]])
    assert solid_volume_mm3(apart) == pytest.approx(4 / 3 * np.pi * (1000 + 210), rel=5e-3)
