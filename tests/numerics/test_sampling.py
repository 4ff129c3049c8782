"""A frame read where its anatomy stands, minus a mask read where its anatomy stands."""

from __future__ import annotations

import numpy as np
import pytest

from angio_pipeline.numerics.sampling import blend, difference_at, sample_lattice

# More rows than are done at a time.
SHAPE = (300, 170)
STILL = np.zeros((3, 2, 2), np.float32)


def _noise(seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _shift(row: float, col: float, cells: tuple[int, int] = (3, 2)) -> np.ndarray:
    return np.broadcast_to(np.array([row, col], np.float32), (*cells, 2))


def _random_field(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (6, 4, 2)).astype(np.float32)


def _difference(
    frame: np.ndarray,
    mask: np.ndarray,
    frame_field: np.ndarray | None,
    mask_field: np.ndarray,
    *,
    valid: np.ndarray | None = None,
    offset: float = 0.0,
    step: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the difference and what was seen, in new arrays."""
    size = tuple(-(-n // step) for n in frame.shape)
    out, seen = np.full(size, np.nan, np.float32), np.ones(size, bool)
    valid = np.ones(frame.shape, bool) if valid is None else valid
    difference_at(frame, mask, frame_field, mask_field, out=out, seen=seen, valid=valid, offset=offset, step=step)
    return out, seen


@pytest.mark.parametrize("frame_field", [None, STILL], ids=["none", "zeros"])
def test_without_displacement_the_difference_is_exact(frame_field: np.ndarray | None) -> None:
    frame, mask = _noise(0), _noise(1)
    out, seen = _difference(frame, mask, frame_field, STILL)
    np.testing.assert_array_equal(out, frame - mask)
    assert seen.all()


def test_the_difference_is_written_where_told() -> None:
    out = np.full((SHAPE[0], 2 * SHAPE[1]), np.nan, np.float32)
    view, everywhere = out[:, ::2], np.ones(SHAPE, bool)
    back = difference_at(_noise(0), _noise(1), None, STILL, out=view, seen=everywhere.copy(), valid=everywhere)
    assert back is view
    np.testing.assert_array_equal(out[:, ::2], _noise(0) - _noise(1))
    assert np.isnan(out[:, 1::2]).all()


@pytest.mark.parametrize(("row", "col"), [(3, 0), (0, -4), (2, 5), (-1, -2)])
def test_a_frame_is_read_at_a_whole_shift(row: int, col: int) -> None:
    frame, mask = _noise(0), _noise(1)
    out, _ = _difference(frame, mask, _shift(row, col), STILL)
    wanted = np.roll(frame, (-row, -col), (0, 1)) - mask
    np.testing.assert_allclose(out[6:-6, 6:-6], wanted[6:-6, 6:-6], atol=5e-4)


@pytest.mark.parametrize(("row", "col"), [(3, 0), (0, -4), (2, 5), (-1, -2)])
def test_a_mask_is_read_at_a_whole_shift(row: int, col: int) -> None:
    frame, mask = _noise(0), _noise(1)
    out, _ = _difference(frame, mask, None, _shift(row, col))
    wanted = frame - np.roll(mask, (-row, -col), (0, 1))
    np.testing.assert_allclose(out[6:-6, 6:-6], wanted[6:-6, 6:-6], atol=5e-4)


@pytest.mark.parametrize("of_frame", [True, False], ids=["frame", "mask"])
@pytest.mark.parametrize(("row", "col"), [(3, 0), (0, -4), (2, 5), (-1, -2)])
def test_what_is_read_outside_was_not_seen(row: int, col: int, of_frame: bool) -> None:
    fields = (_shift(row, col), STILL) if of_frame else (None, _shift(row, col))
    _, seen = _difference(_noise(0), _noise(1), *fields)
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    inside = (rows + row >= 0) & (rows + row < SHAPE[0]) & (cols + col >= 0) & (cols + col < SHAPE[1])
    np.testing.assert_array_equal(seen, inside)


def test_what_was_not_seen_before_stays_unseen() -> None:
    out, seen, everywhere = np.empty(SHAPE, np.float32), np.ones(SHAPE, bool), np.ones(SHAPE, bool)
    seen[200, 20] = False
    difference_at(_noise(0), _noise(1), STILL, STILL, out=out, seen=seen, valid=everywhere)
    assert np.argwhere(~seen).tolist() == [[200, 20]]


@pytest.mark.parametrize("of_frame", [True, False], ids=["frame", "mask"])
def test_a_pixel_that_would_read_an_invalid_one_was_not_seen(of_frame: bool) -> None:
    valid = np.ones(SHAPE, bool)
    valid[150, 60] = False
    fields = (_shift(5, -7), STILL) if of_frame else (STILL, _shift(5, -7))
    _, seen = _difference(_noise(0), _noise(1), *fields, valid=valid)
    assert not seen[145, 67]
    assert not seen[150, 60]
    assert seen[8:-8, 8:-8].sum() == seen[8:-8, 8:-8].size - 2


def test_a_frame_that_is_not_moved_is_not_seen_where_it_is_invalid() -> None:
    valid = np.ones(SHAPE, bool)
    valid[150, 60] = False
    _, seen = _difference(_noise(0), _noise(1), None, _shift(5, -7), valid=valid)
    assert not seen[150, 60]
    assert not seen[145, 67]


def test_the_offset_is_taken_off() -> None:
    frame, mask, field = _noise(0), _noise(1), _random_field(2)
    plain, _ = _difference(frame, mask, field, STILL)
    less, _ = _difference(frame, mask, field, STILL, offset=0.75)
    np.testing.assert_allclose(less, plain - 0.75, atol=1e-6)


@pytest.mark.parametrize("moved", [True, False], ids=["moved", "still"])
@pytest.mark.parametrize("step", [2, 3, 4, 7])
def test_every_so_many_pixels_are_those_of_the_whole(step: int, moved: bool) -> None:
    frame_field = _random_field(2) if moved else None
    valid = _noise(5) < 1.5
    whole, all_seen = _difference(_noise(0), _noise(1), frame_field, _random_field(3), valid=valid)
    some, seen = _difference(_noise(0), _noise(1), frame_field, _random_field(3), valid=valid, step=step)
    np.testing.assert_allclose(some, whole[::step, ::step], atol=1e-5)
    np.testing.assert_array_equal(seen, all_seen[::step, ::step])


def test_equal_images_read_at_equal_places_leave_nothing() -> None:
    out, _ = _difference(_noise(0), _noise(0), _random_field(2), _random_field(2))
    assert not out.any()


def test_images_with_gaps_in_memory_and_in_double_precision_are_read_as_they_are() -> None:
    big = np.random.default_rng(0).standard_normal((SHAPE[1], 2 * SHAPE[0]))
    frame = big[:, ::2].T
    out, _ = _difference(frame, _noise(1), _random_field(2), STILL)
    wanted, _ = _difference(np.ascontiguousarray(frame, np.float32), _noise(1), _random_field(2), STILL)
    np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize(("row", "col"), [(0.3, -0.3), (0.5, 0.5), (-0.8, 0.1), (2.25, -3.6)])
def test_a_smooth_blob_is_read_between_pixels(row: float, col: float) -> None:
    rows, cols = np.mgrid[:80, :90].astype(np.float64)

    def blob(r: float, c: float) -> np.ndarray:
        return np.exp(-((rows - 40 + r) ** 2 + (cols - 45 + c) ** 2) / (2 * 6**2)).astype(np.float32)

    moved, _ = sample_lattice(blob(0, 0), _shift(row, col), np.ones((80, 90), bool))
    np.testing.assert_allclose(moved, blob(row, col), atol=0.01)


@pytest.mark.parametrize("shift", [0.1, 0.2, 0.7])
def test_a_slope_is_read_to_a_32nd_of_a_pixel(shift: float) -> None:
    slope = np.mgrid[:80, :90][0].astype(np.float32)
    moved, _ = sample_lattice(slope, _shift(shift, 0), np.ones((80, 90), bool))
    np.testing.assert_allclose((moved - slope)[5:-5], shift, atol=1 / 32)


def test_sampling_an_image_by_a_lattice_is_its_difference_with_nothing() -> None:
    valid = _noise(5) < 1.5
    image, seen = sample_lattice(_noise(0), _random_field(2), valid)
    wanted, _ = _difference(_noise(0), np.zeros(SHAPE, np.float32), _random_field(2), STILL)
    np.testing.assert_array_equal(image, wanted)
    assert seen.any()
    assert not seen.all()


def test_an_image_sampled_where_it_is_stays_as_it_is() -> None:
    image, seen = sample_lattice(_noise(0), STILL, np.ones(SHAPE, bool))
    np.testing.assert_array_equal(image, _noise(0))
    assert seen.all()


@pytest.mark.parametrize("patches", [(1, 1), (1, 3), (4, 5)])
def test_a_blend_of_equal_images_is_that_image(patches: tuple[int, int]) -> None:
    shares = np.random.default_rng(0).random((3, *patches)).astype(np.float32)
    shares /= shares.sum(axis=0)
    images = np.broadcast_to(_noise(0), (3, *SHAPE))
    np.testing.assert_allclose(blend(images, shares, np.arange(3)), images[0], atol=2e-6)


def test_an_image_with_the_whole_share_is_the_blend() -> None:
    images = np.stack([_noise(0), _noise(1)])
    shares = np.stack([np.zeros((4, 5), np.float32), np.ones((4, 5), np.float32)])
    np.testing.assert_array_equal(blend(images, shares, np.array([0, 1])), images[1])


def test_images_that_are_not_chosen_add_nothing() -> None:
    images = np.stack([np.full(SHAPE, np.nan, np.float32), _noise(1)])
    np.testing.assert_array_equal(blend(images, np.ones((2, 4, 5), np.float32), np.array([1])), images[1])


def test_shares_run_straight_between_the_centres_of_patches() -> None:
    images = np.stack([np.zeros((20, 40), np.float32), np.ones((20, 40), np.float32)])
    right = np.array([[0.0, 1.0]], np.float32)
    across = blend(images, np.stack([1 - right, right]), np.array([0, 1]))[10]
    wanted = np.clip((np.arange(40) + 0.5 - 10) / 20, 0, 1)
    np.testing.assert_allclose(across, wanted, atol=1e-5)
