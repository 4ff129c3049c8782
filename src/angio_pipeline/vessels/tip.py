"""Where the tree begins: the catheter tip, seen by where contrast comes from and by the catheter itself.

Strategy: contrast leaves the tip first, so the root is where arrival is earliest; it is a
place of large calibre; and a catheter, dark in the mask frames, leads up to it from outside.
Each is a named score; their sum ranks open ends and points along the tree. Where a network has told the catheter,
`catheter.find_tip` says where it ends, and that is the root.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.params import Params
from angio_pipeline.core.runs import Background, SubtractedRun
from angio_pipeline.core.vessels import CatheterTip
from angio_pipeline.numerics.ridges import bright_ridges
from angio_pipeline.vessels.network import Network

__all__ = ["TipParams", "find_root"]


class TipParams(Params):
    """Weights of `find_root`; lengths are for a 512-pixel frame."""

    arrival_per_s: float = Field(2.0, ge=0, description="what a second of later arrival costs an end of the tree")
    calibre: float = Field(1.5, ge=0, description="times the calibre as a share of the widest")
    open_end: float = Field(0.8, ge=0, description="for an open end of the tree")
    catheter: float = Field(1.2, ge=0, description="for a line in the mask frames that leads up to it")
    catheter_sigma_px: float = Field(1.5, gt=0, description="width of a catheter, SD in pixels")
    catheter_in_noise: float = Field(6.0, gt=0, description="ridge response in the mask frames that counts as full")
    reach_px: tuple[float, float] = Field((8.0, 24.0), description="where the catheter is looked for")
    even_score: float = Field(2.7, description="score at which the tip is as likely right as wrong")
    certainty: float = Field(2.5, gt=0, description="how fast the odds change with the score")
    min_probability: float = Field(0.5, ge=0, le=1, description="below, the tip is called not found")


@dataclass(frozen=True, slots=True)
class _Candidate:
    node: int
    score: float
    catheter: float


def find_root(
    network: Network,
    artery: npt.NDArray[np.bool_],
    sub: SubtractedRun,
    *,
    params: TipParams,
    seen: CatheterTip | None = None,
    looked_for: bool = False,
) -> tuple[int | None, CatheterTip | None]:
    """Return the node where the tree begins and, if there is evidence of it, the catheter tip.

    Parameters
    ----------
    seen : CatheterTip, optional
        Where the catheter itself says that its tip is; the node nearest to it is the root.
    looked_for : bool
        The catheter was looked for by what tells it: where it was not seen to end, its tip is not in view.

    The root is None for an empty network. The tip is None when its probability is low or
    contrast is not seen to come; the root is then only the likeliest origin.
    """
    if not network.edges:
        return None, None
    scale = max(artery.shape) / 512
    if seen is not None and seen.probability >= params.min_probability:
        return _nearest_node(network, (seen.row, seen.col)), seen
    ridge = _catheter_ridges(sub, params, scale)
    candidates = _candidates(network, artery, ridge, params, scale)
    best = max(candidates, key=lambda c: c.score)
    # An open end of full calibre that fills first and has a catheter behind it scores about 3.5.
    probability = float(1 / (1 + np.exp(-params.certainty * (best.score - params.even_score))))
    if looked_for or probability < params.min_probability or not sub.timing_measurable:
        return best.node, None
    row, col = network.nodes[best.node]
    return best.node, CatheterTip(float(row), float(col), probability)


def _nearest_node(network: Network, point: tuple[float, float]) -> int:
    """Return the node nearest to a point, open ends and places of full calibre before stray pieces."""
    size = _component_length(network)
    large = [node for node in network.incident() if size[node] > 0.3]
    return min(large, key=lambda node: float(np.linalg.norm(network.nodes[node] - point)))


def _catheter_ridges(sub: SubtractedRun, params: TipParams, scale: float) -> npt.NDArray[np.float32] | None:
    """Return dark lines of the mask frames in noise units, or None without a mask."""
    if sub.background not in (Background.MASK, Background.TEMPORAL):
        return None
    # As it was moved onto the reference frame: there the arteries are, and the tip among them.
    mask_image = sub.attenuation - sub.frames[sub.reference_frame]
    sigma = params.catheter_sigma_px * scale
    # Anatomy is rough: what counts as noise is the usual response of this very picture.
    response = bright_ridges(mask_image, (sigma,), noise_sd=1.0).strength
    usual = float(np.percentile(response[sub.valid], 75)) if sub.valid.any() else 0.0
    return np.asarray(response / max(usual, 1e-9), dtype=np.float32)


def _candidates(
    network: Network,
    artery: npt.NDArray[np.bool_],
    ridge: npt.NDArray[np.float32] | None,
    params: TipParams,
    scale: float,
) -> list[_Candidate]:
    at = network.incident()
    arrivals = np.concatenate([e.arrival_s for e in network.edges])
    first = float(np.nanpercentile(arrivals, 2)) if np.isfinite(arrivals).any() else 0.0
    widest = max(float(np.percentile(np.concatenate([e.radius_px for e in network.edges]), 98)), 1.0)
    size = _component_length(network)
    arrival_at, radius_at = _at_ends(network)
    lines = _leads_up(network.nodes[list(at)], artery, ridge, params, scale)
    out = []
    for (node, numbers), catheter in zip(at.items(), lines.tolist(), strict=True):
        near = [(k, 1 if network.edges[k].b == node else 0) for k in numbers]
        known = [a for k, end in near if (a := arrival_at[k][end]) == a]
        arrival = min(known, default=first)
        radius = max(radius_at[k][end] for k, end in near)
        score = -params.arrival_per_s * max(0.0, arrival - first)
        score += params.calibre * min(radius / widest, 1.0) + params.catheter * catheter
        score += params.open_end * (len(numbers) == 1)
        # A stray piece far from the tree must not become its root.
        score -= 3.0 * (1 - size[node])
        out.append(_Candidate(node, float(score), catheter))
    return out


def _at_ends(network: Network) -> tuple[list[list[float]], list[list[float]]]:
    """Return of each edge (E, 2) arrival, NaN where unknown, and radius close to its nodes a and b."""
    size = np.array([len(e.path) for e in network.edges])
    last = np.cumsum(size)
    steps = np.arange(15)
    within = steps < size[:, None]
    arrival, radius = (np.concatenate([getattr(e, n) for e in network.edges]) for n in ("arrival_s", "radius_px"))
    arrivals, radii = [], []
    for at in ((last - size)[:, None] + steps, last[:, None] - 1 - steps):
        part = np.where(within, arrival[np.where(within, at, 0)], np.nan)
        known = np.isfinite(part)
        count = known.sum(axis=1)
        mean = np.where(known, part, 0.0).sum(axis=1) / np.maximum(count, 1)
        arrivals.append(np.where(count > 0, mean, np.nan))
        radii.append(np.nanmedian(np.where(within, radius[np.where(within, at, 0)], np.nan), axis=1))
    return np.stack(arrivals, axis=1).tolist(), np.stack(radii, axis=1).tolist()


def _component_length(network: Network) -> dict[int, float]:
    """Return for each node the length of its piece, as a share of the longest piece."""
    label = np.arange(len(network.nodes))
    for edge in network.edges:
        low, high = sorted((label[edge.a], label[edge.b]))
        label[label == high] = low
    length = np.zeros(len(network.nodes))
    for edge in network.edges:
        length[label[edge.a]] += edge.length_px
    longest = max(float(length.max()), 1e-9)
    return {node: float(length[label[node]] / longest) for node in range(len(network.nodes))}


def _leads_up(
    points: npt.NDArray[np.float64],
    artery: npt.NDArray[np.bool_],
    ridge: npt.NDArray[np.float32] | None,
    params: TipParams,
    scale: float,
) -> npt.NDArray[np.float64]:
    """Return 0 to 1 for each point (N, 2): its best straight line of mask ridge outwards, clear of the artery."""
    if ridge is None:
        return np.zeros(len(points))
    near, far = (r * scale for r in params.reach_px)
    distance = np.arange(near, far)
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    rows = points[:, 0, None, None] + np.sin(angles)[:, None] * distance
    cols = points[:, 1, None, None] + np.cos(angles)[:, None] * distance
    strength = ndimage.map_coordinates(ridge, [rows, cols], order=1, mode="constant")
    inside = ndimage.map_coordinates(artery.view(np.uint8), [rows, cols], order=0, mode="constant", cval=1)
    strength = np.where(inside > 0, 0, np.minimum(strength, params.catheter_in_noise))
    best = strength.mean(axis=2).max(axis=1)
    return np.asarray(np.clip(best / params.catheter_in_noise, 0, 1), dtype=np.float64)
