"""Laws of the iodine mass, on a small piece of liver around a known amount."""

from __future__ import annotations

from dataclasses import replace

import lipiodol_phantom as ph
import numpy as np
import pytest

from angio_pipeline.core.quality import Quality
from angio_pipeline.lipiodol.deposit import DepositParams
from angio_pipeline.lipiodol.lesions import cut_patch, lesion_from_roi
from angio_pipeline.lipiodol.mass import (
    MassEstimate,
    MassParams,
    Offset,
    SharedDraws,
    estimate_background,
    estimate_offset,
    iodine_slope,
    measure_mass,
    prepare,
)

# The phantom's lesions are as dense as its liver.
MASS = MassParams(offset_hu=-4.0, offset_sd_hu=4.0)


def piece(oil=ph.none, *, spacing=(3.0, 1.5, 1.5), **options):
    """A box of 75 mm around the lesion."""
    shape = tuple(round(75 / s) for s in spacing)
    grid = ph.affine(spacing, shape, shift=ph.CENTRE)
    return ph.scan(oil, shape=shape, grid=grid, **options)


def sight(volume, *, radius_mm=12.0, outline_shift=0.0):
    lesion = lesion_from_roi(ph.roi(radius_mm, volume, centre=ph.beside(outline_shift, 0, 0)), np.eye(4))
    patch = cut_patch(volume, np.eye(4), lesion, (), margin_mm=24.0, padding_mm=5.0)
    liver = np.ones(patch.hu.shape, dtype=bool)
    ready = prepare(patch, liver, ph.LIVER_HU, mass=MASS, deposit=DepositParams())
    assert ready is not None
    return patch, *ready


def mass_of(volume, *, offset: Offset | None = None, **options) -> MassEstimate:
    patch, background, deposit = sight(volume, **options)
    rng = np.random.default_rng(1)
    shared = SharedDraws(*rng.normal(size=(3, MASS.draws)))
    offset = estimate_offset([(patch, background)], [], params=MASS) if offset is None else offset
    return measure_mass(patch, volume, background, deposit, offset, shared, params=MASS, rng=rng)


@pytest.mark.parametrize(("mg", "radius"), [(200.0, 12.0), (60.0, 8.0), (15.0, 5.0)])
def test_a_known_blob_gives_its_mass(mg, radius):
    found = mass_of(piece(ph.ball(mg, radius), seed=3), radius_mm=radius)
    assert found.mg == pytest.approx(mg, rel=0.04)


@pytest.mark.parametrize("blur", [0.6, 1.5, 2.5])
def test_blur_moves_no_mass(blur):
    found = mass_of(piece(ph.ball(120, 12, blur_mm=blur), noise_hu=4, seed=4))
    assert found.mg == pytest.approx(120, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [(1.5, 0.8, 0.8), (3, 1.5, 1.5), (5.0, 0.9, 0.9)])
def test_mass_does_not_depend_on_the_grid(spacing):
    found = mass_of(piece(ph.ball(120, 12), spacing=spacing, seed=5))
    assert found.mg == pytest.approx(120, rel=0.04)


def test_adding_a_blob_adds_its_mass():
    inside = ph.ball(30, 5, centre=ph.beside(4, 0, 0))
    one, both = ph.ball(100, 12), lambda p: ph.ball(100, 12)(p) + inside(p)
    zero = Offset(0, 3)
    added = mass_of(piece(both, seed=6), offset=zero).mg - mass_of(piece(one, seed=6), offset=zero).mg
    assert added == pytest.approx(30, rel=0.02)


def test_a_constant_added_everywhere_adds_no_mass():
    plain = piece(ph.ball(100, 12), seed=7)
    raised = replace(plain, hu=plain.hu + 17)
    assert mass_of(raised).mg == pytest.approx(mass_of(plain).mg, rel=0.005)


def test_a_shading_across_the_scan_adds_no_mass():
    def shading(p):
        return 0.25 * (p - ph.CENTRE)[..., 0]

    found = mass_of(piece(ph.ball(100, 12), extra=shading, seed=8))
    assert found.mg == pytest.approx(100, rel=0.04)


def test_an_outline_a_few_millimetres_off_does_not_lose_oil():
    found = mass_of(piece(ph.ball(100, 12), seed=9), outline_shift=4.0)
    assert found.mg == pytest.approx(100, rel=0.05)


def test_no_oil_gives_an_interval_that_holds_nothing():
    low, high = mass_of(piece(seed=10)).interval_mg
    assert low <= 0 <= high


def test_a_rib_beside_the_lesion_is_not_oil():
    def rib(p):
        return 500.0 * (np.abs((p - ph.CENTRE)[..., 1] - 18) < 3)

    volume = piece(ph.ball(100, 12), extra=rib, seed=11)
    patch, *_ = sight(volume)
    liver = (np.moveaxis(np.indices(patch.hu.shape), 0, -1) @ patch.affine[:3, :3].T + patch.affine[:3, 3])[..., 1]
    ready = prepare(patch, liver < ph.CENTRE[1] + 14, ph.LIVER_HU, mass=MASS, deposit=DepositParams())
    assert ready is not None
    shared = SharedDraws(*np.zeros((3, MASS.draws)))
    rng = np.random.default_rng(2)
    found = measure_mass(patch, volume, *ready, Offset(0, 0), shared, params=MASS, rng=rng)
    assert found.mg == pytest.approx(100, rel=0.06)


def test_fat_beside_the_lesion_does_not_hide_oil():
    def fat(p):
        return -150.0 * ((p - ph.CENTRE)[..., 1] > 16)

    assert mass_of(piece(ph.ball(100, 12), extra=fat, seed=12)).mg == pytest.approx(100, rel=0.06)


@pytest.mark.slow
def test_the_interval_holds_the_truth_as_often_as_it_says():
    hits = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        mg = float(rng.uniform(10, 150))
        found = mass_of(piece(ph.ball(mg, 12), seed=1000 + seed))
        hits.append(found.interval_mg[0] <= mg <= found.interval_mg[1])
    assert 0.88 <= np.mean(hits) <= 1.0


def test_the_interval_widens_with_noise():
    quiet = mass_of(piece(ph.ball(20, 12), noise_hu=5, seed=13), offset=Offset(0, 0)).interval_mg
    noisy = mass_of(piece(ph.ball(20, 12), noise_hu=40, seed=13), offset=Offset(0, 0)).interval_mg
    assert noisy[1] - noisy[0] > 1.6 * (quiet[1] - quiet[0])


@pytest.mark.parametrize(("kvp", "slope"), [(80, 41), (100, 31.5), (120, 25), (140, 21.2), (110, 28.25)])
def test_the_slope_follows_the_table(kvp, slope):
    assert iodine_slope(kvp, params=MASS) == (pytest.approx(slope), Quality.NONE)


def test_a_missing_voltage_is_assumed_and_said():
    assert iodine_slope(None, params=MASS) == (25.0, Quality.KVP_ASSUMED)


def test_mass_does_not_depend_on_the_voltage():
    low = mass_of(piece(ph.ball(100, 12), kvp=80, slope=41, seed=14)).mg
    assert low == pytest.approx(mass_of(piece(ph.ball(100, 12), seed=14)).mg, rel=0.03)


def test_clipped_voxels_are_counted_flagged_and_open_the_interval_upwards():
    oil = ph.ball(900, 8, blur_mm=2.5)
    whole, cut = piece(oil, seed=15), piece(oil, seed=15, clip_hu=3071)
    truth, found = mass_of(whole, radius_mm=8), mass_of(cut, radius_mm=8)
    assert Quality.CLIPPED_HU in found.quality
    assert found.clipped_voxels == np.count_nonzero(cut.hu == 3071)
    assert truth.clipped_voxels == 0
    assert found.mg < truth.mg
    # The tail below the clip foretells what is hidden above it: the interval reaches up, not down.
    assert found.interval_mg[1] - found.mg > 1.5 * (truth.interval_mg[1] - truth.mg)


def test_a_lesion_at_the_edge_is_flagged():
    shape = (8, 50, 50)
    grid = ph.affine((3.0, 1.5, 1.5), shape, shift=ph.beside(0, 0, 6))
    found = mass_of(ph.scan(ph.ball(100, 12), shape=shape, grid=grid))
    assert Quality.LESION_AT_EDGE in found.quality


def test_a_dark_tumour_is_known_from_the_scan_before_treatment():
    def dark(p):
        return -12.0 * (np.linalg.norm(p - ph.CENTRE, axis=-1) < 12)

    before = sight(piece(extra=dark, seed=16))[:2]
    offset = estimate_offset([], [before], params=MASS)
    assert offset.hu == pytest.approx(-12, abs=1.5)
    found = mass_of(piece(ph.ball(20, 12), extra=dark, seed=17), offset=offset)
    assert found.mg == pytest.approx(20, abs=1.5)


def test_a_tumour_seen_darker_than_liver_bounds_its_offset():
    def dark(p):
        return -12.0 * (np.linalg.norm(p - ph.CENTRE, axis=-1) < 12)

    patch, background, _ = sight(piece(extra=dark, seed=18))
    # Oil only adds: what is seen is a bound from above, and oil may hide below it.
    settings = MassParams()
    assert -22 < estimate_offset([(patch, background)], [], params=settings).hu < -11
    assert estimate_offset([], [], params=settings) == Offset(settings.offset_hu, settings.offset_sd_hu)


def test_without_liver_around_there_is_no_background():
    volume = piece(extra=lambda p: -1000.0 * (np.linalg.norm(p - ph.CENTRE, axis=-1) > 14))
    lesion = lesion_from_roi(ph.roi(12, volume), np.eye(4))
    patch = cut_patch(volume, np.eye(4), lesion, (), margin_mm=24.0, padding_mm=5.0)
    none = estimate_background(patch, np.zeros(patch.hu.shape, dtype=bool), ph.LIVER_HU, None, params=MASS)
    assert none is None
