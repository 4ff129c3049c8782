"""The detector's steps are those of physics: each is tried alone where its answer is known."""

import numpy as np
import pytest
from pydantic import ValidationError

from angio_pipeline.simulate.radiograph.collimation import CollimationParams, Outside, draw_opening
from angio_pipeline.simulate.radiograph.detector import DetectorParams, acquire, binned, film_detector, harden
from angio_pipeline.simulate.radiograph.exports import ExportParams, Storage

IDEAL = {
    "rows": 128, "columns": 128, "beam_hardening": 0.0, "scatter": 0.0, "glare": 0.0, "blur_px": 0.0,
    "mtf_half_per_mm": 10.0, "electronic_noise": 0.0, "lag": 0.0, "photons": 1e6,
}  # fmt: skip
OPEN = CollimationParams()
FINE = ExportParams(bits=16)


def detector(**changed: object) -> DetectorParams:
    return DetectorParams.model_validate({**IDEAL, **changed})


def patch(depth: float, ground: float = 3.0, half: int = 10) -> np.ndarray:
    image = np.full((128, 128), ground)
    image[64 - half : 64 + half, 64 - half : 64 + half] += depth
    return image


def take(frames: list[np.ndarray], seed: int = 0, collimation: CollimationParams = OPEN, **changed: object):
    return acquire(
        frames, detector=detector(**changed), collimation=collimation, rng=np.random.default_rng(seed), export=FINE
    )


def contrast(depth: float, ground: float = 3.0, half: int = 10, **changed: object) -> float:
    frames = [np.full((128, 128), ground), patch(depth, ground, half)]
    log = -np.log(take(frames, **changed).stored.astype(float))
    return float((log[1] - log[0])[60:68, 60:68].mean())


def test_an_ideal_detector_shows_beers_law() -> None:
    assert contrast(0.4) == pytest.approx(0.4, abs=0.002)


def test_attenuation_saturates_behind_a_thick_patient() -> None:
    thin, thick = contrast(0.2, ground=1.0, beam_hardening=0.1), contrast(0.2, ground=6.0, beam_hardening=0.1)
    assert thin == pytest.approx(0.2 / 1.1, rel=0.03)
    assert thick == pytest.approx(0.2 / 1.6, rel=0.03)


def test_hardening_is_the_mean_over_a_gamma_spectrum() -> None:
    # Coefficients drawn from the distribution it claims to average.
    share = np.random.default_rng(0).gamma(1 / 0.05, 0.05, 200_000)
    drawn = -np.log(np.exp(-3.0 * share).mean())
    assert harden(np.array([3.0], np.float32), 0.05)[0] == pytest.approx(drawn, rel=0.002)


def test_scatter_and_glare_lessen_contrast_and_the_exposure_says_by_how_much() -> None:
    seen = contrast(0.01, scatter=0.6, glare=0.08, beam_hardening=0.03, half=4, photons=1e6, mtf_half_per_mm=10.0)
    clear = take([np.full((128, 128), 3.0)], scatter=0.6, glare=0.08, beam_hardening=0.03)
    assert 0.4 < clear.primary_share[64, 64] < 0.7
    assert seen == pytest.approx(0.01 * clear.primary_share[64, 64], rel=0.12)


def test_scatter_over_primary_is_as_asked_for_under_a_wide_beam() -> None:
    clear = take([np.full((512, 512), 3.0)], rows=512, columns=512, field_mm=450.0, scatter=0.6, scatter_mm=5.0)
    assert clear.primary_share[256, 256] == pytest.approx(1 / 1.6, rel=0.02)


def test_scatter_reaches_behind_the_blades() -> None:
    blades = CollimationParams(left=0.3, leak=0.0, penumbra_px=0.0)
    without = take([np.full((128, 128), 3.0)], collimation=blades).stored[0, 60, 20]
    with_scatter = take([np.full((128, 128), 3.0)], collimation=blades, scatter=0.6).stored[0, 60, 20]
    assert without == 0
    assert with_scatter > 1000


@pytest.mark.parametrize("photons", [500.0, 5000.0, 50000.0])
def test_noise_is_that_of_the_dose(photons: float) -> None:
    flat = [np.full((128, 128), 3.0)] * 6
    made = take(flat, photons=photons, mtf_half_per_mm=1.0, electronic_noise=5.0, glare=0.05, scatter=0.3)
    log = np.log(made.stored[:, 32:96, 32:96].astype(float))
    between = np.diff(log, axis=0).std() / np.sqrt(2)
    assert between == pytest.approx(float(made.noise[64, 64]), rel=0.05)


def test_a_sharp_detectors_noise_is_one_over_the_root_of_the_quanta() -> None:
    made = take([np.full((128, 128), 3.0)], photons=2500.0)
    assert made.noise[64, 64] == pytest.approx(1 / 50, rel=0.05)


def test_the_spread_is_the_stated_curve() -> None:
    # A wave of known frequency comes out with the share that 1 / (1 + (f / f50)^2) leaves.
    pixel = detector().pixel_mm
    for cycles in (8, 16, 24):
        wave = 0.02 * np.cos(2 * np.pi * cycles * np.arange(128) / 128)
        made = take([np.full((128, 128), 3.0) + wave], mtf_half_per_mm=0.2).stored[0].astype(float)
        # The phosphor needs a few pixels from the picture's border.
        kernel = np.exp(-2j * np.pi * cycles * np.arange(128) / 128)
        seen = np.abs((np.log(made).mean(axis=0) - np.log(made).mean()) @ kernel) * 2 / 128
        expected = 0.02 / (1 + (cycles / (128 * pixel) / 0.2) ** 2)
        assert seen == pytest.approx(expected, rel=0.08)


def test_lag_leaves_a_share_of_the_frame_before() -> None:
    frames = [np.full((128, 128), 3.0), patch(2.0), np.full((128, 128), 3.0)]
    with_lag = take(frames, lag=0.1).stored[2].astype(float)
    left = with_lag[60:68, 60:68].mean() / with_lag[5:20, 5:20].mean()
    # What the second frame was short of: 0.9 of 1 - exp(-2), a tenth of which is still missing.
    assert 1 - left == pytest.approx(0.1 * 0.9 * (1 - np.exp(-2)), rel=0.05)


def test_exposure_drifts_no_further_than_asked_for() -> None:
    made = take([np.full((128, 128), 3.0)] * 30, exposure_drift=0.1).stored
    level = made[:, 40:90, 40:90].mean(axis=(1, 2))
    change = np.abs(level / level[0] - 1)
    assert 0.02 < change.max() <= 0.1 + 1e-3


def test_dose_and_quanta_agree() -> None:
    # 30.2 quanta a mm² and nGy, of which the phosphor takes seven in ten.
    one = detector(photons=2114.0, rows=100 + 28, columns=128, field_mm=128.0)
    assert one.dose_ngy == pytest.approx(100.0)
    assert film_detector(one).dose_ngy == pytest.approx(400.0)


def test_a_finer_matrix_shares_the_same_dose() -> None:
    one = detector(photons=4000.0)
    finer = binned(one, ExportParams(matrix=256))
    assert (finer.rows, finer.columns, finer.photons) == (256, 256, 1000.0)
    assert finer.dose_ngy == pytest.approx(one.dose_ngy)


def test_noise_and_share_are_told_as_if_there_were_no_blades() -> None:
    frame = [patch(0.5)]
    closed = take(frame, collimation=CollimationParams(left=0.3, circle=0.8), scatter=0.5)
    opened = take(frame, scatter=0.5)
    np.testing.assert_array_equal(closed.noise, opened.noise)
    np.testing.assert_array_equal(closed.primary_share, opened.primary_share)
    assert not closed.open_area.all()
    assert opened.open_area.all()


@pytest.mark.parametrize(("outside", "value"), [(Outside.BLACK, 0), (Outside.WHITE, 65535)])
def test_shutters_are_filled_evenly(outside: Outside, value: int) -> None:
    made = take([patch(0.5)], collimation=CollimationParams(top=0.2, circle=0.9, outside=outside))
    assert (made.stored[0][~made.open_area] == value).all()


def test_blades_that_leave_nothing_open_are_refused() -> None:
    with pytest.raises(ValidationError, match="left and right together"):
        CollimationParams(left=0.45, right=0.45)


def test_a_round_opening_is_round() -> None:
    opening = draw_opening(200, 200, CollimationParams(circle=0.9))
    assert opening.open.mean() == pytest.approx(np.pi * 0.81 / 4, rel=0.01)
    assert opening.shapes == ["CIRCULAR"]


@pytest.mark.parametrize("storage", list(Storage))
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_every_storage_keeps_brighter_brighter_and_within_its_bits(storage: Storage, bits: int) -> None:
    wedge = np.broadcast_to(np.linspace(5.0, 2.0, 128), (128, 128))
    export = ExportParams(storage=storage, bits=bits)
    made = acquire([wedge], detector=detector(), collimation=OPEN, rng=np.random.default_rng(0), export=export)
    profile = made.stored[0].astype(float).mean(axis=0)
    assert 0.9 * 2**bits < made.stored.max() < 2**bits
    assert (np.diff(profile) > -2e-3 * 2**bits).all()


def test_a_subtracted_export_shows_contrast_alone() -> None:
    ground = 3.0 + 0.5 * np.sin(np.arange(128) / 9)[:, None] * np.ones(128)
    frames = [ground, ground, ground + patch(0.6, 0.0)]
    export = ExportParams(already_subtracted=True, bits=12)
    made = acquire(
        frames, detector=detector(), collimation=OPEN, rng=np.random.default_rng(0), export=export, mask_frames=2
    )
    last = made.stored[2].astype(float)
    elsewhere = np.r_[last[:40].ravel(), last[90:].ravel()]
    assert elsewhere.std() < 0.01 * elsewhere.mean()
    assert last[64, 64] == pytest.approx(elsewhere.mean() * (1 - 0.6 / 1.2), rel=0.02)


def test_sharpening_belongs_to_the_display() -> None:
    with pytest.raises(ValidationError, match="edge_enhancement must be 0 unless storage is DISP"):
        ExportParams(edge_enhancement=0.5)


def test_the_same_seed_gives_the_same_frames() -> None:
    first, again = take([patch(0.5)] * 2, seed=5), take([patch(0.5)] * 2, seed=5)
    np.testing.assert_array_equal(first.stored, again.stored)
