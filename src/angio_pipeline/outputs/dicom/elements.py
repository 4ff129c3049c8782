"""Small builders: items of sequences, decimal strings, points as graphics have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

__all__ = ["decimal", "graphic_points", "item", "tell_dimension"]


def item(**elements: Any) -> Dataset:
    """Return a data set of these elements; a list of data sets becomes a sequence."""
    made = Dataset()
    for keyword, value in elements.items():
        nested = isinstance(value, list) and value and isinstance(value[0], Dataset)
        setattr(made, keyword, Sequence(value) if nested else value)
    return made


def decimal(value: float) -> str:
    """Return a number as a decimal string of at most sixteen characters."""
    return f"{value:.8g}"


def graphic_points(points: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return (row, col) points as (column, row), (K, 2), counted from the corner of the first pixel, not its centre."""
    return np.asarray(np.asarray(points, dtype=np.float64).reshape(-1, 2)[:, ::-1] + 0.5, dtype=np.float32)


def tell_dimension(ds: Dataset, organization: str, *, pointer: int, group: int, label: str) -> None:
    """Say along which one dimension the frames of an object are ordered: the element, and the group that holds it."""
    ds.DimensionOrganizationSequence = [item(DimensionOrganizationUID=organization)]
    ds.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=organization,
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=group,
            DimensionDescriptionLabel=label,
        )
    ]
