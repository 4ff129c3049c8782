"""A background is what the body's solids add up to, in layers; a catheter, what its wall and lumen add up to."""

from dataclasses import replace

import numpy as np
import pytest

from angio_pipeline.simulate.radiograph.background import Background, BackgroundParams, draw_background, project_devices
from angio_pipeline.simulate.radiograph.body import Body, Layer, build_body
from angio_pipeline.simulate.radiograph.catheter import LUMEN_MM, OUTER_MM, project_catheter
from angio_pipeline.simulate.radiograph.motion import MotionParams, draw_breathing
from angio_pipeline.simulate.radiograph.projection import CArm, Ellipsoids, Tubes
from angio_pipeline.simulate.radiograph.texture import folds, grain, mottle, uneven

ARM = CArm(128, 128, 2.4, 1100.0, 750.0)
PLAIN = BackgroundParams(
    texture=0.0, bone_grain=0.0, outline_mm=0.0, edge_mm=0.0, folds=0, strands=0, wedge=0.0, wires=0
)


@pytest.fixture(scope="module")
def body() -> Body:
    lobes = Ellipsoids.aligned([[-42.0, 6, 6], [26.0, -26, 24]], [[60.0, 56, 76], [58.0, 34, 42]])
    return build_body(lobes, np.random.default_rng(0))


def drawn(body: Body, params: BackgroundParams = PLAIN, seed: int = 0, arm: CArm = ARM, **devices: Tubes) -> Background:
    return draw_background(arm, body, params, np.random.default_rng(seed), **devices)


def test_a_ray_through_soft_parts_adds_up_their_water(body: Body) -> None:
    # Beside spine and gas: 195 mm of body, of which 158 within the wall, 117 within the cavity and 79 of liver.
    picture = drawn(body).still()
    row, col = np.rint(ARM.project(np.array([[-75.0, 0.0, 40.0]]))[0]).astype(int)
    water = picture[row, col] / 0.0185
    assert water == pytest.approx(195 * 0.9 + 158 * 0.145 - 117 * 0.105 + 79 * 0.118, rel=0.03)


def test_lung_is_clearer_than_liver_and_spine_darker(body: Body) -> None:
    picture = drawn(body).still()

    def at(point: list[float]) -> float:
        row, col = np.rint(ARM.project(np.array([point]))[0]).astype(int)
        return float(np.median(picture[row - 2 : row + 3, col - 2 : col + 3]))

    liver = at([-50.0, 0.0, 10.0])
    assert at([-80.0, 0.0, 96.0]) < liver - 0.8
    assert at([38.0, 60.0, -30.0]) > liver + 0.2


def test_what_two_organs_push_out_of_the_lung_is_pushed_out_once(body: Body) -> None:
    # Air only ever takes attenuation away: were an overlap subtracted twice, some ray would gain.
    body = replace(body, markings=Tubes(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)))
    whole = drawn(body)
    none = Ellipsoids.aligned([0, 0, 900], [1, 1, 1])
    parts = tuple(replace(part, solids=none) if part.name == "lungs" else part for part in body.parts)
    low = drawn(replace(body, parts=parts, lungs=none))
    bare = np.sum([low.layers[x] for x in (Layer.VISCERA, Layer.HEART, Layer.BOWEL)], axis=0)
    full = np.sum([whole.layers[x] for x in (Layer.VISCERA, Layer.HEART, Layer.BOWEL)], axis=0)
    assert (full - bare).max() < 1e-3
    assert (full - bare).min() < -1.0


def test_nothing_is_missing_where_a_layer_moves_in_from_outside(body: Body) -> None:
    params = BackgroundParams(texture=0.1)
    background = drawn(body, params)
    breathing = draw_breathing(MotionParams(amplitude_mm=6.0), np.arange(6) / 2, np.random.default_rng(0))
    for frame in range(6):
        picture = background.at(breathing, frame)
        assert picture.shape == (128, 128)
        # A replicated border would repeat its rows.
        assert (np.abs(np.diff(picture[:3], axis=0)).max(axis=1) > 1e-4).all()


def test_a_still_patient_shows_the_same_in_every_frame(body: Body) -> None:
    still = MotionParams(amplitude_mm=0, drift_mm=0, heart_mm=0, left_lobe_mm=0, peristalsis_mm=0)
    background = drawn(body, BackgroundParams())
    breathing = draw_breathing(still, np.arange(3) / 2, np.random.default_rng(0))
    np.testing.assert_allclose(background.at(breathing, 2), background.still(), atol=1e-5)


def test_added_oil_moves_with_its_layer(body: Body) -> None:
    background = drawn(body)
    image = np.zeros((background.carm.rows, background.carm.columns))
    image[80, 80] = 1.0
    more = background.with_added(Layer.VISCERA, image)
    assert (more.still() - background.still()).sum() == pytest.approx(1.0, abs=1e-3)
    assert (more.still() - background.still())[80 - background.margin, 80 - background.margin] > 0.9


def test_the_same_seed_draws_the_same_background_and_another_another(body: Body) -> None:
    params = BackgroundParams()
    np.testing.assert_array_equal(drawn(body, params).still(), drawn(body, params).still())
    assert np.abs(drawn(body, params, seed=1).still() - drawn(body, params).still()).max() > 0.01


def test_more_gas_lets_more_through() -> None:
    lobes = Ellipsoids.aligned([[-42.0, 6, 6]], [[60.0, 56, 76]])
    low = CArm(128, 128, 2.4, 1100.0, 750.0, isocentre_mm=(0.0, 0.0, -60.0))
    clear = [drawn(build_body(lobes, np.random.default_rng(3), gas), arm=low).still().mean() for gas in (0.0, 2.0)]
    assert clear[1] < clear[0] - 0.01


def test_coils_are_darker_than_clips() -> None:
    one = Tubes(np.array([[0.0, 0, 0]]), np.array([[8.0, 0, 0]]), np.array([0.2]))
    coil, clip = project_devices(ARM, one, None).max(), project_devices(ARM, None, one).max()
    assert coil > 3 * clip > 0


def test_an_empty_catheter_shows_its_wall_and_a_full_one_its_lumen() -> None:
    fine = CArm(256, 256, 0.1, 1100.0, 750.0)
    course = np.array([[0.0, 0, -60.0], [0.0, 0, -20], [0.0, 0, 20.0], [0, 0, 60.0]])
    empty, full = project_catheter(fine, course), project_catheter(fine, course, 300.0, 1.4)
    profile = empty[128]
    middle = profile[127:129].mean()
    # Two dark lines beside a lighter middle: 2 (R - r) of wall in the middle, 2 sqrt(R^2 - r^2) at the lumen's edge.
    assert middle == pytest.approx(0.20 * 2 * (OUTER_MM - LUMEN_MM), rel=0.02)
    assert profile.max() == pytest.approx(0.20 * 2 * np.sqrt(OUTER_MM**2 - LUMEN_MM**2), rel=0.08)
    assert full[128, 127:129].mean() - middle == pytest.approx(0.3 * 1.4 * 2 * LUMEN_MM, rel=0.02)


def test_no_catheter_draws_nothing() -> None:
    assert not project_catheter(ARM, np.zeros((0, 3))).any()


def test_mottle_falls_with_frequency_as_asked_for() -> None:
    image = mottle((256, 256), 0.5, np.random.default_rng(0), slope=3.0, longest_mm=400.0)
    power = np.abs(np.fft.fft2(image)) ** 2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    low, high = (power[(radius > f / 1.1) & (radius < f * 1.1)].mean() for f in (0.04, 0.16))
    assert np.log(low / high) / np.log(4) == pytest.approx(3.0, abs=0.2)
    assert (image.mean(), image.std()) == pytest.approx((0, 1), abs=1e-3)


def test_uneven_outlines_keep_what_is_inside() -> None:
    disc = (np.hypot(*np.mgrid[-64:64, -64:64]) < 30).astype(np.float32)
    bent = uneven(disc, 1.0, np.random.default_rng(0), sd_mm=2.0, wave_mm=20.0)
    assert bent.sum() == pytest.approx(disc.sum(), rel=0.1)
    assert np.abs(bent - disc).sum() > 50


def test_bone_is_grainy_about_its_own_density() -> None:
    factor = grain((128, 128), 0.5, np.random.default_rng(0), sd=0.1)
    assert (factor.mean(), factor.std()) == pytest.approx((1.0, 0.1), abs=0.02)


def test_no_folds_no_attenuation() -> None:
    assert not folds((64, 64), 1.0, np.random.default_rng(0), count=0, depth=0.1).any()
