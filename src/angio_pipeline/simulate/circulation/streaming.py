"""Contrast is heavier than blood: unequal shares at the first forks, and settling in wide slow vessels.

Both keep iodine: what one branch gains its siblings lose, and a settled column is narrower and stronger.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.anatomy.tree import Tree
from angio_pipeline.simulate.circulation.flows import Supply
from angio_pipeline.simulate.radiograph.projection import Tubes

__all__ = ["settle", "streaming_factor"]

Array = npt.NDArray[np.float64]
# The patient lies on the back: down is to the back, +y.
_DOWN = np.array([0.0, 1.0, 0.0])
_DENSITY_GAIN_PER_MG = 0.9e-3
_GRAVITY_MM_S2 = 9810.0
_NARROWEST = 0.6


def streaming_factor(tree: Tree, supply: Supply, tip: int, forks: int, amount: float, strength: float) -> Array:
    """Return (N,) factors on the concentration in the edge into each node.

    At each of the first `forks` forks beyond the tip the branches that leave downwards get more, the others
    less, so that the flow-weighted mean stays. `amount` 0 to 1 scales the difference; `strength` is the
    concentration at the tip over that injected: an artery filled to its walls cannot stream.
    """
    factor = np.ones(len(tree))
    children = tree.children()
    passed = {tip: 0}
    for node in supply.order.tolist():
        if node not in passed:
            continue
        below = [c for c in children[node] if supply.flow[c] > 0]
        fork = len(below) > 1
        free = amount * max(0.0, 1 - strength * factor[node])
        uneven = _uneven(tree, supply, node, below, free) if fork and passed[node] < forks else 1.0
        factor[children[node]] = factor[node]
        factor[below] = factor[node] * uneven
        passed |= dict.fromkeys(children[node], passed[node] + fork)
    return factor


def _uneven(tree: Tree, supply: Supply, node: int, below: list[int], amount: float) -> Array:
    away = np.asarray(tree.position)[below] - tree.position[node]
    lean = away @ _DOWN / np.maximum(np.linalg.norm(away, axis=1), 1e-9)
    flow = supply.flow[below]
    # Tissue at the fork itself takes the mean.
    return np.asarray(1 + amount * 0.5 * (lean - (flow * lean).sum() / flow.sum()))


def settle(tubes: Tubes, flow_ml_s: Array, iodine_mg_per_ml: Array, amount: float) -> tuple[Tubes, Array]:
    """Return the columns of contrast (S,) that lie on the dependent wall, and the factor on their concentration.

    Parameters
    ----------
    flow_ml_s, iodine_mg_per_ml : (S,)
        Flow and concentration in each tube: wide, slow and strong columns settle (Richardson number).
    amount : float
        0 (mixed) to 1.
    """
    radius = np.maximum(tubes.radius, 1e-6)
    speed = 1000.0 * flow_ml_s / (np.pi * radius**2)
    buoyancy = _DENSITY_GAIN_PER_MG * iodine_mg_per_ml * _GRAVITY_MM_S2 * 2 * radius
    settled = amount * buoyancy / (buoyancy + np.maximum(speed, 1.0) ** 2)
    narrow = 1 - (1 - _NARROWEST) * settled
    sunk = (radius * (1 - narrow))[:, None] * _DOWN
    return Tubes(tubes.start + sunk, tubes.end + sunk, tubes.radius * narrow), 1 / narrow**2
