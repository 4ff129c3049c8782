"""Checks that the nouns of `core` run once, when they are made."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["frozen_array"]


def frozen_array(
    value: npt.ArrayLike,
    name: str,
    *,
    ndim: int,
    dtype: npt.DTypeLike,
    shape: tuple[int | None, ...] | None = None,
    finite: bool = False,
) -> npt.NDArray[Any]:
    """Return `value` as a read-only array, without a copy where none is needed.

    Parameters
    ----------
    value : array_like
        What the caller gave.
    name : str
        The field's name, used in the error sentence.
    ndim, dtype, shape
        What is required; `None` inside `shape` matches any length.
    finite : bool
        Refuse NaN and infinity.

    Raises
    ------
    ValueError
        When dimension, shape or finiteness is not as required.
    """
    try:
        array = np.asarray(value, dtype=dtype)
    except ValueError:
        raise ValueError(f"Expected {name} of one shape, found several; give arrays of one size.") from None
    if array.ndim != ndim:
        raise ValueError(f"Expected {name} with {ndim} dimensions, found {array.ndim}.")
    if shape is not None and any(
        want is not None and want != got for want, got in zip(shape, array.shape, strict=True)
    ):
        raise ValueError(f"Expected {name} of shape {shape}, found {array.shape}.")
    if finite and array.size and not np.isfinite(array).all():
        raise ValueError(f"Expected finite {name}, found NaN or infinity; mark undefined pixels in `valid`.")
    view = array.view()
    view.flags.writeable = False
    return view
