"""Stored integers through a look-up table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from angio_pipeline.numerics.tables import look_up, look_up_minus, look_up_shrunk

ENTRIES = {np.uint8: 256, np.uint16: 65536}


def _stored(dtype: type, shape: tuple[int, ...] = (4, 30, 37)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, ENTRIES[dtype], shape).astype(dtype)


def _table(dtype: type) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(ENTRIES[dtype]).astype(np.float32)


@pytest.mark.parametrize("dtype", ENTRIES)
@pytest.mark.parametrize("shape", [(37,), (30, 37), (4, 30, 37), (0, 30, 37), (3, 512, 513)])
def test_looking_up_is_indexing(dtype: type, shape: tuple[int, ...]) -> None:
    stored, table = _stored(dtype, shape), _table(dtype)
    found = look_up(stored, table)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, table[stored])


def test_the_first_and_the_last_entry_are_reached() -> None:
    table = np.arange(65536, dtype=np.float32)
    np.testing.assert_array_equal(look_up(np.array([0, 65535], np.uint16), table), [0, 65535])


def test_a_view_with_gaps_is_looked_up_as_its_copy() -> None:
    stored, table = _stored(np.uint16), _table(np.uint16)
    view = stored[::2, ::-1, 1::3]
    np.testing.assert_array_equal(look_up(view, table), table[view])


def test_looking_up_writes_to_nothing_that_it_is_given() -> None:
    stored, table = _stored(np.uint8), _table(np.uint8)
    stored.flags.writeable = table.flags.writeable = False
    np.testing.assert_array_equal(look_up(stored, table), table[stored])


@pytest.mark.parametrize("dtype", ENTRIES)
def test_looking_up_minus_a_mask_is_the_logarithm_minus_the_mask(dtype: type) -> None:
    stored = _stored(dtype)
    mask = np.random.default_rng(2).normal(-5, 1, stored.shape[1:]).astype(np.float32)
    table = -np.log(np.arange(ENTRIES[dtype], dtype=np.float64) + 1).astype(np.float32)
    wanted = -np.log(stored.astype(np.float64) + 1) - mask
    np.testing.assert_allclose(look_up_minus(stored, table, mask), wanted, atol=4e-6)


def test_a_frame_minus_itself_is_nothing() -> None:
    stored, table = _stored(np.uint16), _table(np.uint16)
    assert not look_up_minus(stored[2:3], table, table[stored[2]]).any()


def test_the_difference_is_written_where_told() -> None:
    stored, table = _stored(np.uint16), _table(np.uint16)
    mask = table[stored[0]]
    out = np.full(stored.shape, np.nan, np.float32)
    assert look_up_minus(stored, table, mask, out=out) is out
    np.testing.assert_array_equal(out, table[stored] - mask)


@pytest.mark.parametrize(
    "out",
    [
        np.empty((4, 30, 40), np.float32)[:, :, :37],
        np.empty((4, 30, 37), np.float64),
        np.empty((3, 30, 37), np.float32),
    ],
    ids=["with gaps", "of another type", "of another shape"],
)
def test_where_nothing_can_be_written_is_refused(out: np.ndarray) -> None:
    stored, table = _stored(np.uint16), _table(np.uint16)
    with pytest.raises(ValueError, match=r"Expected `out` as one block of float32 .*, found "):
        look_up_minus(stored, table, table[stored[0]], out=out)


def test_a_mask_and_frames_with_gaps_are_subtracted_as_their_copies() -> None:
    stored, table = _stored(np.uint16, (4, 60, 74))[:, ::2, ::2], _table(np.uint16)
    mask = np.random.default_rng(2).random((37, 30))[:, ::-1].T
    np.testing.assert_allclose(look_up_minus(stored, table, mask), table[stored] - mask, atol=1e-6)


def test_no_frames_have_no_difference() -> None:
    assert look_up_minus(_stored(np.uint8, (0, 6, 7)), _table(np.uint8), np.zeros((6, 7), np.float32)).shape == (
        0,
        6,
        7,
    )


@pytest.mark.parametrize("shape", [(4, 30, 36), (4, 29, 37), (30, 37)])
def test_frames_of_another_size_than_the_mask_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Expected frames of the mask's size \(30, 37\), found"):
        look_up_minus(_stored(np.uint16, shape), _table(np.uint16), np.zeros((30, 37), np.float32))


USES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "look_up": look_up,
    "look_up_minus": lambda stored, table: look_up_minus(stored, table, np.zeros(stored.shape[1:], np.float32)),
    "look_up_shrunk": lambda stored, table: look_up_shrunk(stored, table, 2),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("dtype", ENTRIES)
def test_a_table_with_an_entry_too_few_is_refused(
    use: Callable[[np.ndarray, np.ndarray], np.ndarray], dtype: type
) -> None:
    n, name = ENTRIES[dtype], np.dtype(dtype).name
    with pytest.raises(ValueError, match=f"Expected a table of {n} entries for {name} values, found {n - 1}"):
        use(_stored(dtype), _table(dtype)[:-1])


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("dtype", ["int16", "uint32", "float32", ">u2"])
def test_values_of_another_kind_are_refused(use: Callable[[np.ndarray, np.ndarray], np.ndarray], dtype: str) -> None:
    stored = np.zeros((2, 6, 6), dtype)
    with pytest.raises(ValueError, match=f"Expected stored values of 8 or 16 unsigned bits, found {stored.dtype}"):
        use(stored, _table(np.uint16))


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_shrinking_takes_means_over_blocks_of_what_the_table_says(factor: int) -> None:
    stored, table = _stored(np.uint16, (3, 30, 60)), _table(np.uint16)
    wanted = table[stored].reshape(3, 30 // factor, factor, 60 // factor, factor).mean(axis=(2, 4))
    np.testing.assert_allclose(look_up_shrunk(stored, table, factor), wanted, atol=1e-6)


def test_a_ragged_edge_counts_in_no_block() -> None:
    stored, table = _stored(np.uint8, (2, 31, 38)), _table(np.uint8)
    np.testing.assert_array_equal(look_up_shrunk(stored, table, 3), look_up_shrunk(stored[:, :30, :36], table, 3))


def test_a_frame_smaller_than_a_block_becomes_its_mean() -> None:
    stored = np.full((1, 2, 8), 7, np.uint8)
    np.testing.assert_allclose(look_up_shrunk(stored, np.arange(256, dtype=np.float32), 4), 7)
