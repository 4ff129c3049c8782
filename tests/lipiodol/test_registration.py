"""Laws of the alignment: it finds motion and bending, does not see oil, and refuses what cannot be."""

from __future__ import annotations

from dataclasses import replace

import lipiodol_phantom as ph
import numpy as np
import pytest
from scipy import ndimage

from angio_pipeline.core.quality import Quality
from angio_pipeline.lipiodol.deforming import Bend, DeformationParams, why_not
from angio_pipeline.lipiodol.registration import RegistrationParams, align
from angio_pipeline.lipiodol.tissue import Tissue, TissueParams, survey
from angio_pipeline.numerics import volumes as space
from angio_pipeline.numerics.deformation import Deformation

pytestmark = pytest.mark.slow

PARAMS = RegistrationParams()
SHAPE, SPACING = (44, 110, 132), (3.0, 2.2, 2.2)


def look(oil=ph.none, **options) -> Tissue:
    options = {"shape": SHAPE, "spacing": SPACING} | options
    return survey(ph.scan(oil, **options), params=TissueParams())


@pytest.fixture(scope="module")
def reference() -> Tissue:
    return look(ph.ball(140, 15), seed=1)


def error_mm(found: np.ndarray, truth: np.ndarray) -> float:
    points = ph.CENTRE + np.random.default_rng(0).uniform(-30, 30, (50, 3))
    moved = [points @ m[:3, :3].T + m[:3, 3] for m in (found, truth)]
    return float(np.linalg.norm(moved[0] - moved[1], axis=1).max())


@pytest.mark.parametrize(
    ("turn", "shift"), [((0, 0, 0), (3.3, -2.1, 4.7)), ((2, -3, 4), (6, -5, 8)), ((0, 0, -6), (-25, 18, 12))]
)
def test_a_rigid_motion_is_found_again(reference, turn, shift):
    motion = ph.rigid(turn, shift)
    found = align(reference, look(motion=motion, seed=2), params=PARAMS)
    assert error_mm(found.motion, motion) < 1.0
    assert found.quality == Quality.NONE


def test_washout_is_not_motion(reference):
    gone, kept = (align(reference, look(oil, seed=3), params=PARAMS) for oil in (ph.none, ph.ball(140, 15)))
    assert error_mm(gone.motion, np.eye(4)) < 0.3
    assert error_mm(gone.motion, kept.motion) < 0.3


def test_scans_that_agree_stay_as_they_are(reference):
    found = align(reference, reference, same_frame=True, params=PARAMS)
    np.testing.assert_array_equal(found.motion, np.eye(4))
    assert found.score == pytest.approx(1)


def test_bone_is_followed_by_itself_when_a_breath_has_moved_the_rest(reference):
    breath = np.array([0.0, 0.0, 12.0])

    def breathed(p):
        # Bone where it was, all else as a breath has moved it.
        still, moved = ph.anatomy(p), ph.anatomy(p - breath)
        soft = np.where(moved > 150, -90.0, moved)
        return np.where(still > 150, still, soft) - still

    found = align(reference, look(extra=breathed, seed=4), params=PARAMS)
    np.testing.assert_allclose(found.of_bone[:3, 3], 0, atol=1.0)
    np.testing.assert_allclose(found.motion[:3, 3], breath, atol=2.5)


def test_a_scan_of_fewer_slices_is_placed_right(reference):
    grid = ph.affine(SPACING, (24, 110, 132), shift=(8, -6, 9))
    found = align(reference, look(grid=grid, shape=(24, 110, 132), seed=4), params=PARAMS)
    assert error_mm(found.motion, np.eye(4)) < 1.0


def test_another_thing_altogether_is_flagged(reference):
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 300, reference.hu.shape).astype(np.float32)
    nothing = np.zeros(noise.shape, dtype=bool)
    other = Tissue(noise, reference.affine, nothing, nothing, nothing, nothing, float("nan"))
    assert align(reference, other, params=PARAMS).quality == Quality.REGISTRATION_POOR


# --- the liver's bending


def bent(points: np.ndarray, reach_mm: float) -> np.ndarray:
    """Where a breath takes points of the liver: to the feet, more so in front, and aside."""
    x, y, z = np.moveaxis(points, -1, 0)
    shift = np.stack([0.3 * np.sin(z / 45), 0.25 * np.cos(x / 50), -0.6 - 0.4 * np.sin(y / 40)], axis=-1)
    return points + reach_mm * shift


def drawn(reference: Tissue, place) -> Tissue:
    """The reference as it looks when every point of it has gone where `place` takes it."""
    points = space.to_world(reference.affine, np.moveaxis(np.indices(reference.hu.shape), 0, -1))
    back = points
    for _ in range(30):
        back = back + points - place(back)
    index = np.moveaxis(space.to_index(reference.affine, back), -1, 0)

    def carried(values: np.ndarray) -> np.ndarray:
        return ndimage.map_coordinates(values.astype(np.float32), index, order=1, mode="nearest")

    masks = {name: carried(getattr(reference, name)) > 0.5 for name in ("body", "like", "liver", "bright")}
    return replace(reference, hu=carried(reference.hu), **masks)


def inside_liver(tissue: Tissue, count: int = 300) -> np.ndarray:
    where = np.argwhere(space.dilate(tissue.liver, tissue.affine, -5.0))
    return space.to_world(tissue.affine, where[np.random.default_rng(6).permutation(len(where))[:count]])


@pytest.fixture(scope="module")
def breathed(reference) -> Tissue:
    return drawn(reference, lambda points: bent(points, 8.0))


def test_a_bent_liver_is_followed_better_than_by_a_rigid_body(reference, breathed):
    found = align(reference, breathed, params=PARAMS)
    points = inside_liver(reference)
    by_bend = np.linalg.norm(found.place(points) - bent(points, 8.0), axis=1)
    by_body = np.linalg.norm(space.to_world(found.motion, points) - bent(points, 8.0), axis=1)
    assert np.median(by_bend) < 1.0
    assert np.median(by_bend) < 0.6 * np.median(by_body)
    assert found.score > found.rigid_score
    assert found.edge_gap_mm[1] < 0.3 * found.edge_gap_mm[0]
    low, high = found.bend.volume_change
    assert 0.6 < low <= 1 <= high < 1.6


def test_washout_does_not_bend_the_liver(reference):
    found = align(reference, look(ph.none, motion=ph.rigid((0, 0, 2), (3, -2, 4)), seed=3), params=PARAMS)
    points = ph.CENTRE + np.random.default_rng(7).uniform(-12, 12, (100, 3))
    truth = ph.rigid((0, 0, 2), (3, -2, 4))
    assert np.linalg.norm(found.place(points) - space.to_world(truth, points), axis=1).max() < 1.0


def test_about_a_lesion_the_motion_is_rigid_and_where_the_lesion_is(reference, breathed):
    found = align(reference, breathed, params=PARAMS)
    points = ph.CENTRE + np.random.default_rng(8).uniform(-10, 10, (50, 3))
    motion = found.near(points)
    np.testing.assert_allclose(motion[:3, :3] @ motion[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(motion[:3, :3]) == pytest.approx(1)
    assert np.linalg.norm(space.to_world(motion, points) - bent(points, 8.0), axis=1).mean() < 1.5
    np.testing.assert_allclose(found.near_in_scan(space.to_world(motion, points)), motion, atol=0.3)


def test_a_liver_that_would_fold_is_aligned_as_a_rigid_body(reference, breathed):
    strict = PARAMS.model_copy(update={"deformation": DeformationParams(volume_change=(0.999, 1.001))})
    found = align(reference, breathed, params=strict)
    assert found.bend is None
    assert found.quality & Quality.DEFORMATION_REFUSED
    assert "keep 0.999 to 1.001 of its volume" in found.not_bent


def test_a_fold_is_told_as_a_fold():
    still = Deformation(np.eye(4), np.zeros((2, 2, 2, 3)), np.eye(4))
    assert "folds the liver" in why_not(Bend(still, 5.0, (-0.2, 1.4)), params=DeformationParams())
    assert "bend by 30 mm" in why_not(Bend(still, 45.0, (0.9, 1.1)), params=DeformationParams())
    assert why_not(Bend(still, 5.0, (0.9, 1.1)), params=DeformationParams()) is None


def head() -> Tissue:
    """A skull with its brain, in the geometry of the reference."""
    volume = ph.scan(shape=SHAPE, spacing=SPACING, seed=4)
    index = np.moveaxis(np.indices(SHAPE), 0, -1)
    r = np.linalg.norm(space.to_world(volume.affine, index) - [0, 0, -5], axis=-1)
    noise = np.random.default_rng(9).normal(0, 8, SHAPE)
    hu = np.where(r < 68, 35.0, np.where(r < 75, 900.0, np.where(r < 80, 20.0, -1000.0))) + noise
    return survey(replace(volume, hu=hu.astype(np.float32)), params=TissueParams())


def test_other_anatomy_is_refused_in_one_sentence(reference):
    found = align(reference, head(), params=PARAMS)
    assert found.refusal is not None
    assert found.refusal.startswith("Expected a scan that matches the reference around the liver")
    assert found.bend is None
