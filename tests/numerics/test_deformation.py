"""Laws of smooth displacement: no motion gives none, a known one is found, folds show, a rigid one is told exactly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from angio_pipeline.numerics import volumes as space
from angio_pipeline.numerics.deformation import Deformation, fit_deformation, lattice_over, nearest_rigid
from angio_pipeline.numerics.rigid import moving_image, rotation_about

SHAPE = (30, 36, 40)
AFFINE = np.array([[0, 0, 2.5, -50], [0, 2.5, 0, -45], [2.5, 0, 0, -37], [0, 0, 0, 1.0]])


def texture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, SHAPE).astype(np.float32)
    smooth = ndimage.gaussian_filter(noise, 2.0)
    return 100 * smooth / smooth.std()


def at_rest(step_mm: float = 15.0, motion: np.ndarray | None = None) -> Deformation:
    shape, grid = lattice_over(np.ones(SHAPE, bool), AFFINE, step_mm)
    return Deformation(np.eye(4) if motion is None else motion, np.zeros((*shape, 3)), grid)


def waves(points: np.ndarray, reach_mm: float) -> np.ndarray:
    x, y, z = np.moveaxis(points, -1, 0)
    return reach_mm * np.stack([np.sin(y / 40), np.cos(z / 45), np.sin(x / 50)], axis=-1)


def with_waves(reach_mm: float) -> Deformation:
    rest = at_rest()
    nodes = np.moveaxis(np.indices(rest.nodes.shape[:3]), 0, -1)
    return Deformation(rest.motion, waves(space.to_world(rest.affine, nodes), reach_mm), rest.affine)


def fitted(fixed: np.ndarray, moving: np.ndarray, start: Deformation) -> Deformation:
    where = np.argwhere(np.ones(SHAPE, bool))
    image = moving_image(moving, np.ones(SHAPE, bool), AFFINE, blur_mm=2.0)
    values = space.smooth(fixed, AFFINE, 2.0)[tuple(where.T)]
    points = space.to_world(AFFINE, where)
    return fit_deformation(values, points, image, start, bending=5.0, stretching=0.05)


def moved_by(image: np.ndarray, truth: Deformation) -> np.ndarray:
    """The image whose every point has gone where `truth` takes it."""
    points = space.to_world(AFFINE, np.moveaxis(np.indices(SHAPE), 0, -1))
    index = np.moveaxis(space.to_index(AFFINE, truth.back(points)), -1, 0)
    return ndimage.map_coordinates(image, index, order=3, mode="nearest").astype(np.float32)


def test_an_image_lies_on_itself():
    found = fitted(texture(), texture(), at_rest())
    assert np.abs(found.nodes).max() < 0.02


@pytest.mark.slow
def test_a_known_displacement_is_found():
    truth = with_waves(2.5)
    found = fitted(texture(), moved_by(texture(), truth), at_rest())
    points = np.random.default_rng(1).uniform(-25, 25, (200, 3))
    assert np.median(np.linalg.norm(found.at(points) - truth.at(points), axis=1)) < 0.3


@pytest.mark.slow
def test_other_greys_change_nothing():
    truth = with_waves(2.5)
    moved = moved_by(texture(), truth)
    plain, scaled = (fitted(texture(), image, at_rest()) for image in (moved, 0.7 * moved + 40))
    np.testing.assert_allclose(plain.nodes, scaled.nodes, atol=0.05)


def test_too_few_points_leave_the_start():
    start = at_rest(motion=rotation_about(np.zeros(3), np.zeros(3), np.array([500.0, 0, 0])))
    assert fitted(texture(), texture(), start) is start


def test_back_undoes_at():
    field = with_waves(4.0)
    points = np.random.default_rng(2).uniform(-25, 25, (50, 3))
    np.testing.assert_allclose(field.back(field.at(points)), points, atol=1e-3)


def test_a_rigid_motion_keeps_volumes():
    motion = rotation_about(np.zeros(3), np.array([0.1, -0.2, 0.3]), np.array([5.0, 6, 7]))
    np.testing.assert_allclose(at_rest(motion=motion).volume_change_on(SHAPE, AFFINE), 1.0, atol=1e-4)


def test_stretching_by_a_tenth_is_a_tenth_more_volume():
    rest = at_rest()
    nodes = space.to_world(rest.affine, np.moveaxis(np.indices(rest.nodes.shape[:3]), 0, -1))
    stretched = Deformation(rest.motion, nodes * [0.1, 0, 0], rest.affine)
    np.testing.assert_allclose(stretched.volume_change_on(SHAPE, AFFINE)[5:-5, 5:-5, 5:-5], 1.1, atol=1e-4)


def test_a_fold_shows_as_a_volume_below_zero():
    rest = at_rest()
    nodes = space.to_world(rest.affine, np.moveaxis(np.indices(rest.nodes.shape[:3]), 0, -1))
    folded = Deformation(rest.motion, nodes * [-1.5, 0, 0], rest.affine)
    assert folded.volume_change_on(SHAPE, AFFINE).min() == pytest.approx(-0.5, abs=1e-3)


def test_the_nearest_rigid_motion_of_a_rigid_one_is_itself():
    motion = rotation_about(np.ones(3), np.array([0.1, -0.2, 0.3]), np.array([5.0, 6, 7]))
    points = np.random.default_rng(3).normal(0, 20, (30, 3))
    np.testing.assert_allclose(nearest_rigid(points, space.to_world(motion, points)), motion, atol=1e-9)


def test_a_mirror_image_is_no_rigid_motion():
    points = np.random.default_rng(4).normal(0, 20, (30, 3))
    assert np.linalg.det(nearest_rigid(points, points * [-1, 1, 1])[:3, :3]) == pytest.approx(1)


def test_a_lattice_needs_a_mask():
    with pytest.raises(ValueError, match="at least one voxel"):
        lattice_over(np.zeros(SHAPE, bool), AFFINE, 10.0)
