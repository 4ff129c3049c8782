"""Vessel trees with truth, for `graph.py` and `graph_weights.py`: projections of three-dimensional trees.

A tree of the simulator (least volume, Murray's radii, smooth courses) is seen by its C-arm; contrast flows through it
at the speed that flow and width give, attenuation adds where tubes overlap, the detector spreads it and adds noise.
Only end branches that stick out are drawn, and all that is drawn is truth: forks are the tree's own, crossings are
where projected pieces that are no neighbours along the tree meet. A fork or crossing is clear when a reader could
trace it: no other vessel lies over the fork; both vessels of the crossing are seen free of all others before it and
beyond it. The mask has the ragged edge of a segmentation: the tubes' shadow, spread and with noise, above one half.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.special import erf

from angio_pipeline import perfusion
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.runs import Background, PerfusionMaps, SubtractedRun
from angio_pipeline.core.vessels import VesselSegmentation
from angio_pipeline.perfusion import PerfusionParams
from angio_pipeline.simulate.anatomy.arteries import ArteryParams, lay_arteries
from angio_pipeline.simulate.anatomy.courses import Courses, lay_courses
from angio_pipeline.simulate.anatomy.liver import LiverParams, draw_liver, points_within, spread_points
from angio_pipeline.simulate.anatomy.tree import Territory, Tree
from angio_pipeline.simulate.radiograph.projection import CArm, Ellipsoids, Tubes, project_tubes

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Rng = np.random.Generator

KINDS = ("clean", "dense", "liver")
TERMINALS = {"clean": 21, "dense": 80}
# Attenuation a mm of full contrast, and the noise of a frame: as the simulator's runs show them.
PER_MM, NOISE_SD = 0.1, 0.006
FIELD_MM, SID_MM, SOD_MM = 318.0, 1100.0, 750.0
FRAMES, FPS, STARTS_S, INJECTED_S = 16, 3.0, 1.2, 2.6
BLUR_AT_512_PX = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class TrueTree:
    """The edges of a projected tree, from fork to fork, each after its parent.

    Attributes
    ----------
    lines : list of (K, 2) arrays
        (row, col) in the direction of flow.
    radii_px : list of (K,) arrays
    parents : list of int, -1 at the root
    """

    lines: list[Array]
    radii_px: list[Array]
    parents: list[int]

    def children(self, edge: int) -> list[int]:
        """Return the edges that an edge flows into."""
        return [k for k, parent in enumerate(self.parents) if parent == edge]

    def way(self, edge: int) -> list[int]:
        """Return the edges from the root to an edge."""
        way = [edge]
        while self.parents[way[0]] >= 0:
            way.insert(0, self.parents[way[0]])
        return way

    def tips(self) -> list[int]:
        """Return the edges without children."""
        return [edge for edge in range(len(self.lines)) if not self.children(edge)]


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where two edges pass over each other: place (row, col), edges, angle between them, greater radius.

    Clear when both are seen free of others before it and beyond it.
    """

    row: float
    col: float
    edges: tuple[int, int]
    angle_deg: float
    radius_px: float
    clear: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Fork:
    """Where an edge divides: place (row, col) and the edge's radius; told once for each child more than one.

    `stretch` (K, 2) is the thinner child's line from there to where it is first seen beside the other vessels of the
    fork: anywhere on it the fork may be told. Clear when no other vessel lies over the fork.
    """

    place: Array
    radius_px: float
    stretch: Array
    clear: bool


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A tree and its run."""

    tree: TrueTree
    segmentation: VesselSegmentation
    sub: SubtractedRun
    maps: PerfusionMaps
    forks: list[Fork]
    crossings: list[Crossing]

    @property
    def scale(self) -> float:
        """Frame size over 512."""
        return float(max(self.segmentation.artery.shape)) / 512


def make_scene(kind: str, seed: int, size_px: int = 1024, *, gaps: int = 0) -> Scene:
    """Return a scene of one of `KINDS`; `gaps` stretches of thin vessels are missing in its mask."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    tree, start, angles = _liver_tree(rng) if kind == "liver" else _free_tree(kind, rng)
    courses = lay_courses(tree, 0.06, rng)
    chosen = _below(tree, start)
    carm = _carm(size_px, courses, chosen, angles)
    pieces = Pieces.of(carm, tree, courses, chosen)
    pieces = pieces.readable(size_px / 512)
    true = pieces.edges()
    sub = _run(carm, pieces, rng)
    maps = perfusion.measure(sub, params=PerfusionParams())
    mask = _ragged(carm, pieces, rng)
    for _ in range(gaps):
        mask &= ~_gap(true, mask.shape, rng)
    catheter = _catheter(true, mask.shape)
    segmentation = VesselSegmentation(mask.astype(np.float32), mask, catheter=catheter, method="truth")
    return scene_of(pieces, segmentation, sub, maps)


def scene_of(pieces: Pieces, segmentation: VesselSegmentation, sub: SubtractedRun, maps: PerfusionMaps) -> Scene:
    """Return the scene in which these pieces of vessels are all that is true."""
    true, scale = pieces.edges(), max(segmentation.artery.shape) / 512
    seen = [_seen_free(true, edge, scale) for edge in range(len(true.lines))]
    return Scene(true, segmentation, sub, maps, find_forks(true), find_crossings(true, seen, scale))


def _free_tree(kind: str, rng: Rng) -> tuple[Tree, int, tuple[float, float]]:
    # A trunk that enters a flat body from one end, or two such bodies one behind the other.
    depths = (0.0,) if kind == "clean" else (-32.0, 32.0)
    trunk = np.array([[-74.0, 0.0, -76.0], [-66.0, 0.0, -67.0], [-58.0, 0.0, -58.0]]) + rng.normal(0, 1.5, (3, 3))
    tree = Tree(trunk[0], ArteryParams().murray_mm())
    above = tree.path(0, trunk[1:], Territory.TRUNK)
    count = TERMINALS[kind] // len(depths)
    for depth, territory in zip(depths, (Territory.RIGHT_LIVER, Territory.LEFT_LIVER), strict=False):
        body = Ellipsoids.aligned([0.0, depth, 0.0], [78.0, 12.0, 78.0])
        aside = rng.normal(0, 6.0) if len(depths) > 1 else 0.0
        stem = np.array([[-50.0 - aside, 0.4 * depth, -50.0 + aside], [-40.0 - 2 * aside, depth, -40.0 + 2 * aside]])
        first = tree.path(above, stem, territory)
        points = spread_points(points_within(body, 6 * count, rng), count)
        flow = 7.0 / len(depths) * rng.dirichlet(np.full(count, 6.0))
        tree.supply(first, float(flow[0]))
        tree.grow(points[1:], flow[1:], territory, source=trunk[0], least_mm=4.0)
    return tree, 0, (float(rng.uniform(-20, 20)), float(rng.uniform(-10, 10)))


def _liver_tree(rng: Rng) -> tuple[Tree, int, tuple[float, float]]:
    # The simulator's hepatic arteries down to about 0.4 mm radius, from the common hepatic artery on.
    liver = draw_liver(LiverParams(), rng)
    arteries = lay_arteries(liver, np.zeros((0, 4)), 1, ArteryParams(terminals=1000), rng)
    return arteries.tree, arteries.origin["common"], (float(rng.uniform(-30, 30)), float(rng.uniform(-15, 15)))


def _below(tree: Tree, start: int) -> BoolArray:
    # Which tree edges (named by their lower node) hang below `start`, its own edge included.
    chosen = np.zeros(len(tree), bool)
    children = tree.children()
    stack = [start] if start else list(children[0])
    while stack:
        node = stack.pop()
        chosen[node] = tree.flow[node] > 0.02
        stack += children[node]
    return chosen


def _carm(size_px: int, courses: Courses, chosen: BoolArray, angles: tuple[float, float]) -> CArm:
    seen = chosen[courses.edge]
    middle = 0.5 * (courses.tubes.start[seen].min(axis=0) + courses.tubes.start[seen].max(axis=0))
    at: tuple[float, float, float] = (float(middle[0]), float(middle[1]), float(middle[2]))
    return CArm(size_px, size_px, FIELD_MM / size_px, SID_MM, SOD_MM, *angles, isocentre_mm=at)


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Straight pieces of the vessels that are drawn, as they are seen, each after the one `before` it (-1: none)."""

    tubes: Tubes
    at: Array
    to: Array
    radius_px: Array
    delay_s: Array
    before: npt.NDArray[np.int64]

    @classmethod
    def of(cls, carm: CArm, tree: Tree, courses: Courses, chosen: BoolArray) -> Pieces:
        """Return the pieces of the chosen edges of a tree, and when contrast reaches the end of each."""
        flow = np.asarray(tree.flow)[courses.edge]
        length = courses.length_mm()
        transit = length * np.pi * courses.tubes.radius**2 / np.maximum(1e3 * flow, 1e-6)
        keep = chosen[courses.edge]
        number = np.cumsum(keep) - 1
        above = courses.parent[keep]
        before = np.where((above >= 0) & keep[above], number[above], -1)
        delay = np.zeros(len(before))
        own = transit[keep]
        for k, parent in enumerate(before):
            delay[k] = own[k] + (delay[parent] if parent >= 0 else 0.0)
        tubes = Tubes(courses.tubes.start[keep], courses.tubes.end[keep], courses.tubes.radius[keep])
        scale = carm.sid_mm / carm.view(tubes.start)[:, 2] / carm.pixel_mm
        at, to = carm.project(tubes.start), carm.project(tubes.end)
        return cls(tubes, at, to, tubes.radius * scale, delay, before)

    def keeping(self, keep: BoolArray) -> Pieces:
        """Return the pieces that are kept; what is above a kept piece is kept."""
        number = np.cumsum(keep) - 1
        above = self.before[keep]
        tubes = Tubes(self.tubes.start[keep], self.tubes.end[keep], self.tubes.radius[keep])
        renamed = np.where(above >= 0, number[above], -1)
        return Pieces(tubes, self.at[keep], self.to[keep], self.radius_px[keep], self.delay_s[keep], renamed)

    def chains(self) -> tuple[list[list[int]], list[int]]:
        """Return the pieces of each edge from fork to fork, and each edge's parent."""
        below: list[list[int]] = [[] for _ in self.before]
        roots: list[int] = []
        for k, parent in enumerate(self.before):
            (below[parent] if parent >= 0 else roots).append(k)
        chains, parents = [], []
        waiting = [(k, -1) for k in roots]
        for first, parent in waiting:
            chain = [first]
            while len(below[chain[-1]]) == 1:
                chain.append(below[chain[-1]][0])
            chains.append(chain)
            parents.append(parent)
            waiting += [(k, len(chains) - 1) for k in below[chain[-1]]]
        return chains, parents

    def within_others(self) -> BoolArray:
        """Return which pieces lie inside the vessel they leave: blood that is in both is there once."""
        below: list[list[int]] = [[] for _ in self.before]
        for k, parent in enumerate(self.before):
            if parent >= 0:
                below[parent].append(k)
        found = np.zeros(len(self.before), bool)
        for fork, children in enumerate(below):
            main = max(children, key=lambda k: self.tubes.radius[k], default=-1)
            around = [fork]
            while self.before[around[-1]] >= 0 and len(around) < 12:
                around.append(int(self.before[around[-1]]))
            for _ in range(12):
                around += [main] if main >= 0 else []
                main = below[main][0] if main >= 0 and below[main] else -1
            for first in children:
                k = first if first not in around else -1
                while k >= 0 and self._inside(k, around):
                    found[k] = True
                    k = below[k][0] if len(below[k]) == 1 else -1
        return found

    def _inside(self, piece: int, others: list[int]) -> bool:
        middle = 0.5 * (self.tubes.start[piece] + self.tubes.end[piece])
        away = _away(middle, self.tubes.start[others], self.tubes.end[others])
        return bool((away < self.tubes.radius[others]).any())

    def readable(self, scale: float) -> Pieces:
        """Return the pieces without end branches that stick out of other vessels too little to be traced."""
        pieces = self
        while True:
            chains, parents = pieces.chains()
            ends = [k for k in range(len(chains)) if k not in set(parents)]
            gone = [k for k in ends if pieces._hardly_seen(chains, k, scale)]
            if not gone:
                return pieces
            keep = np.ones(len(pieces.before), bool)
            for k in gone:
                keep[chains[k]] = False
            pieces = pieces.keeping(keep)

    def _hardly_seen(self, chains: list[list[int]], edge: int, scale: float) -> bool:
        # Too short beside its width, or curled up because it runs towards the viewer.
        chain = chains[edge]
        length = float(np.linalg.norm(self.to[chain] - self.at[chain], axis=1).sum())
        straight = float(np.linalg.norm(self.to[chain[-1]] - self.at[chain[0]]))
        least = 5.0 * scale + 3.0 * float(self.radius_px[chain[0]])
        return self._sticks_out(chains, edge) < least or straight < 0.6 * length

    def _sticks_out(self, chains: list[list[int]], edge: int) -> float:
        own = np.zeros(len(self.before), bool)
        own[chains[edge]] = True
        length = 0.0
        for k in chains[edge]:
            near = _away(0.5 * (self.at[k] + self.to[k]), self.at[~own], self.to[~own])
            if (near > self.radius_px[~own]).all():
                length += float(np.linalg.norm(self.to[k] - self.at[k]))
        return length

    def edges(self) -> TrueTree:
        """Return the tree of the pieces."""
        chains, parents = self.chains()
        lines = [np.vstack([self.at[c[:1]], self.to[c]]) for c in chains]
        radii = [np.concatenate([self.radius_px[c[:1]], self.radius_px[c]]) for c in chains]
        return TrueTree(lines, radii, parents)


def _away(point: Array, start: Array, end: Array) -> Array:
    way = end - start
    share = np.clip(((point - start) * way).sum(axis=1) / np.maximum((way**2).sum(axis=1), 1e-12), 0, 1)
    return np.asarray(np.linalg.norm(point - start - share[:, None] * way, axis=1))


def _seen_free(tree: TrueTree, edge: int, scale: float) -> tuple[Array, BoolArray]:
    """Return points along an edge, a pixel apart, and where it is free of all others for three pixels (at 512)."""
    line, radius = _fine(tree.lines[edge], tree.radii_px[edge])
    free = np.ones(len(line), bool)
    for k, (other, width) in enumerate(zip(tree.lines, tree.radii_px, strict=True)):
        apart = np.maximum(other.min(axis=0) - line.max(axis=0), line.min(axis=0) - other.max(axis=0))
        if k == edge or (apart > 40).any():
            continue
        fine, reach = _fine(other, width)
        away, at = cKDTree(fine).query(line)
        free &= away > reach[at] + 0.5 * radius
    long = np.zeros(len(line), bool)
    start = 0
    for k in range(1, len(line) + 1):
        if k == len(line) or free[k] != free[start]:
            long[start:k] = free[start] and k - start >= 3 * scale
            start = k
    return line, long


def _fine(line: Array, radius: Array) -> tuple[Array, Array]:
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.append(np.arange(0.0, along[-1], 1.0), along[-1])
    return np.stack([np.interp(at, along, line[:, k]) for k in range(2)], axis=1), np.interp(at, along, radius)


def find_forks(tree: TrueTree) -> list[Fork]:
    """Return the forks of a tree."""
    found = []
    for edge, line in enumerate(tree.lines):
        children = tree.children(edge)
        by_width = sorted(children, key=lambda k: -float(np.median(tree.radii_px[k])))
        for child in by_width[1:]:
            hidden = _hidden_stretch(tree, child, [edge, *(k for k in children if k != child)])
            fork = Fork(line[-1], float(tree.radii_px[edge][-1]), hidden, True)
            found.append(replace(fork, clear=_uncovered(tree, fork, edge)))
    return found


def _hidden_stretch(tree: TrueTree, child: int, others: list[int]) -> Array:
    # The beginning of a child's line, as long as it runs within the vessels it leaves.
    line, _ = _fine(tree.lines[child], tree.radii_px[child])
    within = np.zeros(len(line), bool)
    for other in others:
        fine, reach = _fine(tree.lines[other], tree.radii_px[other])
        away, at = cKDTree(fine).query(line)
        within |= away < reach[at]
    return line[: max(1, int(np.argmin(within)) if not within.all() else len(line))]


def _uncovered(tree: TrueTree, fork: Fork, edge: int) -> bool:
    # Whether no vessel lies over a fork save those that come from it, lead to it or leave beside it.
    family = {edge, *tree.way(edge)[-3:]}
    for k in list(family):
        family |= set(tree.children(k))
    for k in tree.children(edge):
        family |= set(tree.children(k))
    for k, (line, radius) in enumerate(zip(tree.lines, tree.radii_px, strict=True)):
        if k not in family and (np.linalg.norm(line - fork.place, axis=1) < radius + fork.radius_px).any():
            return False
    return True


def find_crossings(tree: TrueTree, seen: list[tuple[Array, BoolArray]], scale: float) -> list[Crossing]:
    """Return where pieces meet that are no neighbours along the tree; meetings a few widths apart are one."""
    meetings = []
    for i in range(len(tree.lines)):
        for j in range(i + 1, len(tree.lines)):
            meetings += _meetings(tree, i, j)
    found: list[Crossing] = []
    for one in sorted(meetings, key=lambda m: -m.angle_deg):
        apart = [np.hypot(one.row - f.row, one.col - f.col) for f in found if f.edges == one.edges]
        if not apart or min(apart) > 6 * one.radius_px + 6:
            found.append(replace(one, clear=all(_seen_on_both_sides(tree, one, e, seen, scale) for e in one.edges)))
    return found


def _seen_on_both_sides(
    tree: TrueTree, crossing: Crossing, edge: int, seen: list[tuple[Array, BoolArray]], scale: float
) -> bool:
    # Before it on its way from the root, and beyond it on its way to any tip.
    def near(part: int) -> BoolArray:
        line, free = seen[part]
        return np.asarray(free & (np.linalg.norm(line - (crossing.row, crossing.col), axis=1) < reach))

    reach = 3 * crossing.radius_px + 10 * scale
    at = int(np.argmin(np.linalg.norm(seen[edge][0] - (crossing.row, crossing.col), axis=1)))
    before = near(edge)[:at].any() or any(near(k).any() for k in tree.way(edge)[:-1])
    beyond, waiting = near(edge)[at:].any(), tree.children(edge)
    for k in waiting:
        beyond |= near(k).any()
        waiting += tree.children(k)
    return bool(before and beyond)


def _meetings(tree: TrueTree, i: int, j: int) -> list[Crossing]:
    a, b = tree.lines[i], tree.lines[j]
    if (a.min(axis=0) > b.max(axis=0)).any() or (b.min(axis=0) > a.max(axis=0)).any():
        return []
    p, r = a[:-1, None], np.diff(a, axis=0)[:, None]
    q, s = b[None, :-1], np.diff(b, axis=0)[None]
    denominator = _cross(r, s)
    with np.errstate(divide="ignore", invalid="ignore"):
        t, u = _cross(q - p, s) / denominator, _cross(q - p, r) / denominator
    hits = np.argwhere((t >= 0) & (t < 1) & (u >= 0) & (u < 1))
    found = []
    for m, n in hits:
        place = a[m] + t[m, n] * (a[m + 1] - a[m])
        radius = float(max(tree.radii_px[i][m], tree.radii_px[j][n]))
        if _along(tree, i, m, j, n) < 4 * radius + 8:
            continue
        one, two = a[m + 1] - a[m], b[n + 1] - b[n]
        cosine = abs(float(one @ two)) / max(float(np.linalg.norm(one) * np.linalg.norm(two)), 1e-12)
        angle = float(np.rad2deg(np.arccos(min(1.0, cosine))))
        found.append(Crossing(float(place[0]), float(place[1]), (i, j), angle, radius))
    return found


def _cross(a: Array, b: Array) -> Array:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def _along(tree: TrueTree, i: int, m: int, j: int, n: int) -> float:
    # How far apart two points are along the tree, in pixels of the picture.
    one, two = tree.way(i), tree.way(j)
    shared = len([1 for a, b in zip(one, two, strict=False) if a == b])
    ends = {i: m, j: n}

    def down(way: list[int]) -> float:
        # From where the two ways part to the point.
        return sum(_length(tree.lines[e][: ends[e] + 1] if e == way[-1] else tree.lines[e]) for e in way[shared:])

    if shared == len(one) or shared == len(two):
        # One edge lies on the way to the other.
        upper, at, longer = (i, m, two) if shared == len(one) else (j, n, one)
        return _length(tree.lines[upper][at:]) + down(longer)
    return down(one) + down(two)


def _length(line: Array) -> float:
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())


def _run(carm: CArm, pieces: Pieces, rng: Rng) -> SubtractedRun:
    times = np.arange(FRAMES) / FPS
    frames = np.zeros((FRAMES, carm.rows, carm.columns), np.float32)
    blur = BLUR_AT_512_PX * carm.columns / 512
    spread = np.sqrt(0.15**2 + 0.12 * pieces.delay_s)
    alone = ~pieces.within_others()
    for k, time in enumerate(times):
        since = (time - STARTS_S - pieces.delay_s) / (np.sqrt(2) * spread)
        course = 0.5 * (erf(since) - erf(since - INJECTED_S / (np.sqrt(2) * spread)))
        image = project_tubes(carm, pieces.tubes, PER_MM * course * alone)
        frames[k] = cv2.GaussianBlur(image.astype(np.float32), (0, 0), blur)
    best = int(np.argmax(frames.sum(axis=(1, 2))))
    frames += rng.normal(0, NOISE_SD, frames.shape).astype(np.float32)
    whole = np.ones(frames.shape[1:], bool)
    return SubtractedRun(
        frames=frames,
        times_s=times,
        valid=whole,
        usable=np.ones(FRAMES, bool),
        background=Background.MASK,
        mask_frames=(0, 1, 2),
        reference_frame=best,
        motion_px=np.zeros((FRAMES, 2)),
        residual_before=NOISE_SD,
        residual_after=NOISE_SD,
        noise_sd=NOISE_SD,
        uncorrected=frames[best],
        attenuation=frames[best],
        source=Source("", ""),
    )


def _ragged(carm: CArm, pieces: Pieces, rng: Rng) -> BoolArray:
    # The shadow of the tubes on a grid four times as fine, spread, with noise that a few pixels share.
    fine, shape = 4, (carm.rows, carm.columns)
    shadow = np.zeros((shape[0] * fine, shape[1] * fine), np.uint8)
    for a, b, r in zip(pieces.at, pieces.to, pieces.radius_px, strict=True):
        ends = [(round(16 * fine * (float(p[1]) + 0.5)), round(16 * fine * (float(p[0]) + 0.5))) for p in (a, b)]
        cv2.line(shadow, ends[0], ends[1], 255, max(1, round(2 * fine * max(float(r), 0.6))), cv2.LINE_8, 4)
    share = np.asarray(cv2.resize(shadow, shape[::-1], interpolation=cv2.INTER_AREA), np.float32) / 255
    spread = np.asarray(cv2.GaussianBlur(share, (0, 0), 0.8))
    noise = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), 1.2)
    return _largest(np.asarray(spread + 0.12 * noise / noise.std() > 0.5))


def _largest(mask: BoolArray) -> BoolArray:
    # Without specks: what stands alone and is small.
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= 25
    keep[0] = False
    return np.asarray(keep[labels], dtype=np.bool_) if count > 1 else mask


def _gap(tree: TrueTree, shape: tuple[int, ...], rng: Rng) -> BoolArray:
    # A disc over some place of a thin edge.
    least = 60 * shape[1] / 1024
    edges = [e for e in range(len(tree.lines)) if _length(tree.lines[e]) > least and tree.parents[e] >= 0]
    edges.sort(key=lambda e: float(np.median(tree.radii_px[e])))
    edge = int(rng.choice(edges[: max(1, len(edges) // 2)]))
    line = tree.lines[edge]
    place = line[round((len(line) - 1) * rng.uniform(0.35, 0.65))]
    away = np.hypot(*(np.indices(shape) - place[:, None, None]))
    return np.asarray(away < rng.uniform(5, 10) * shape[1] / 1024 + float(np.median(tree.radii_px[edge])))


def _catheter(tree: TrueTree, shape: tuple[int, ...]) -> BoolArray:
    # A catheter that comes straight from behind and ends at the root.
    first = tree.lines[0]
    back = first[0] - first[min(6, len(first) - 1)]
    far = first[0] + 160 * shape[1] / 1024 * back / max(float(np.linalg.norm(back)), 1e-9)
    image = np.zeros(shape, np.uint8)
    ends = [(round(float(p[1])), round(float(p[0]))) for p in (far, first[0])]
    cv2.line(image, ends[0], ends[1], 1, max(2, round(4 * shape[1] / 1024)))
    return image > 0
