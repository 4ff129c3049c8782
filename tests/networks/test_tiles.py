"""Cut into tiles and put together, a picture is as if it had been seen whole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from angio_pipeline.networks.tiles import predict_tiled

SIZES = [(33, 47), (7, 7), (1, 1), (64, 64), (65, 64), (200, 40), (1100, 600)]
Answer = tuple[np.ndarray, np.ndarray]


def _picture(rows: int, columns: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(rows).normal(0, 1, (channels, rows, columns)).astype(np.float32)


def _same(image: np.ndarray) -> Answer:
    return image.copy(), image.mean(axis=(1, 2))


def _blurred(image: np.ndarray) -> Answer:
    # Sees a pixel's neighbours; beyond the edge it sees nothing, like a convolution that is padded.
    mean = [cv2.blur(channel, (3, 3), borderType=cv2.BORDER_CONSTANT) for channel in image]
    return np.stack(mean), image.mean(axis=(1, 2))


def _tiled(forward, image: np.ndarray, *, tile: int = 64, overlap: int = 16, multiple: int = 8) -> Answer:
    return predict_tiled(forward, image, tile_px=tile, overlap_px=overlap, multiple_px=multiple)


@pytest.mark.parametrize("size", SIZES)
def test_a_picture_of_any_size_keeps_its_size(size: tuple[int, int]) -> None:
    assert _tiled(_same, _picture(*size, channels=2))[0].shape == (2, *size)


@pytest.mark.parametrize("size", SIZES)
def test_what_looks_at_single_pixels_says_the_same_tiled_and_whole(size: tuple[int, int]) -> None:
    image = _picture(*size)
    np.testing.assert_allclose(_tiled(_same, image)[0], image, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_constant_in_gives_constant_out(size: tuple[int, int]) -> None:
    np.testing.assert_allclose(_tiled(_same, np.full((1, *size), 3.0, np.float32))[0], 3.0, atol=1e-5)


def test_away_from_seams_what_looks_at_neighbours_says_the_same_tiled_and_whole() -> None:
    image = _picture(200, 112)
    tiled, whole = _tiled(_blurred, image)[0], _blurred(image)[0]
    # Columns: tiles begin at 0 and 48, and end at 64 and 112.
    away = np.ones(112, bool)
    away[[48, 63]] = False
    rows = np.ones(200, bool)
    rows[[45, 46, 63, 64, 90, 91, 108, 109, 110, 136, 154, 155]] = False
    np.testing.assert_allclose(tiled[:, rows][:, :, away], whole[:, rows][:, :, away], atol=1e-5)


def test_at_a_seam_a_tiles_edge_counts_for_little() -> None:
    image = _picture(200, 112)
    wrong = np.abs(_tiled(_blurred, image)[0] - _blurred(image)[0])
    assert 0 < wrong.max() < 0.15


@pytest.mark.parametrize("size", SIZES)
def test_a_network_only_meets_multiples_no_larger_than_a_tile(size: tuple[int, int]) -> None:
    met: list[tuple[int, ...]] = []

    def forward(image: np.ndarray) -> Answer:
        assert image.flags.c_contiguous
        met.append(image.shape[1:])
        return _same(image)

    _tiled(forward, _picture(*size))
    assert met
    assert all(side % 8 == 0 and side <= 64 for shape in met for side in shape)


def test_no_tile_is_a_sliver() -> None:
    met: list[tuple[int, ...]] = []

    def forward(image: np.ndarray) -> Answer:
        met.append(image.shape[1:])
        return _same(image)

    _tiled(forward, _picture(66, 130))
    assert set(met) == {(64, 64)}


def test_a_picture_that_fits_is_seen_once() -> None:
    seen = []
    _tiled(lambda image: seen.append(1) or _same(image), _picture(64, 50))
    assert len(seen) == 1


def test_a_smaller_picture_is_padded_with_nothing_below_and_beside() -> None:
    met: list[np.ndarray] = []
    _tiled(lambda image: met.append(image) or _same(image), np.ones((1, 5, 9), np.float32))
    assert met[0].shape == (1, 8, 16)
    assert met[0].sum() == 45


def test_the_description_is_the_mean_over_tiles() -> None:
    image = np.zeros((1, 64, 128), np.float32)
    image[:, :, 64:] = 1
    assert _tiled(_same, image, overlap=0)[1] == pytest.approx([0.5])
