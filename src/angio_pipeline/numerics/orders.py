"""Choices that keep an order: a column for each row that never goes back. Knows no medicine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from angio_pipeline.numerics.compiled import compiled

__all__ = ["least_in_order"]


def least_in_order(cost: npt.NDArray[np.float64], most_steps: int) -> tuple[npt.NDArray[np.int64], float]:
    """Return a column for each row of least summed cost, each no less than the one before and near it.

    Parameters
    ----------
    cost : ndarray, (N, M) float64
        Of each column in each row.
    most_steps : int
        By how many columns a choice may lie beyond that of the row before.

    Returns
    -------
    (ndarray (N,) int64, float)
        The columns and their summed cost; dynamic programming (Sakoe & Chiba 1978,
        doi:10.1109/TASSP.1978.1163055) with both ends free.
    """
    order, total = _least(np.ascontiguousarray(cost, dtype=np.float64), most_steps)
    return order, float(total)


def _least(cost: npt.NDArray[np.float64], most_steps: int) -> tuple[npt.NDArray[np.int64], float]:
    rows, columns = cost.shape
    came = np.zeros((rows, columns), np.int64)
    total = cost[0].copy()
    new = np.empty(columns)
    for i in range(1, rows):
        for j in range(columns):
            best, step = total[j], 0
            for ahead in range(1, min(most_steps, j) + 1):
                if total[j - ahead] < best:
                    best, step = total[j - ahead], ahead
            new[j] = best + cost[i, j]
            came[i, j] = step
        total[:] = new
    order = np.empty(rows, np.int64)
    order[rows - 1] = np.argmin(total)
    for i in range(rows - 1, 0, -1):
        order[i - 1] = order[i] - came[i, order[i]]
    return order, total.min()


_least = compiled(_least)
