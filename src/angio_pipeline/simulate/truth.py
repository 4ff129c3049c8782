"""What is true of a simulated run, drawn where the vessels stand in the reference frame.

What counts as visible: the peak contrast of an artery is at least twice the standard deviation
of a subtracted frame's noise, unbroken from the tip, and three times somewhere further along.
Fainter arteries, and the tangle of vessels inside a tumour (vessel and blush at once), go to the
ignore mask. A vein counts from three times the noise; what it is joined to does not matter, as
veins fill from tissue. A tumour counts when its blush rises above the liver about it (a
hypovascular one: when it stays below) by three times the noise of a 5 x 5 mean, in some frame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numba
import numpy as np
import numpy.typing as npt

from angio_pipeline.simulate.anatomy.lesions import Shunt, ShuntKind, TumourKind
from angio_pipeline.simulate.anatomy.tree import Territory
from angio_pipeline.simulate.circulation.blush import Bed
from angio_pipeline.simulate.radiograph.catheter import OUTER_MM
from angio_pipeline.simulate.radiograph.detector import Exposure
from angio_pipeline.simulate.radiograph.motion import Breathing
from angio_pipeline.simulate.radiograph.projection import CArm, Ellipsoids, Tubes, project_ellipsoids
from angio_pipeline.simulate.runs import RunScene

__all__ = ["RunTruth", "tell_truth", "write_truth"]

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
VEINS = ("portal", "hepatic", "tributaries")


@dataclass(frozen=True, slots=True, eq=False)
class RunTruth:
    """The truth of one run: masks (H, W), arrival (H, W) float32, and the document that names them."""

    artery: BoolArray
    vein: BoolArray
    ignore: BoolArray
    catheter: BoolArray
    tumours: Mapping[str, BoolArray]
    arrival_s: npt.NDArray[np.float32]
    document: dict[str, Any]


def _stamp(image: Array, at: Array, to: Array, radius: Array, value: Array) -> None:
    # Lowest value wins wherever a pixel's centre lies within radius of the segment from at to to.
    rows, columns = image.shape
    for i in range(len(value)):
        r = radius[i]
        r0 = max(0, int(np.floor(min(at[i, 0], to[i, 0]) - r)))
        r1 = min(rows - 1, int(np.ceil(max(at[i, 0], to[i, 0]) + r)))
        c0 = max(0, int(np.floor(min(at[i, 1], to[i, 1]) - r)))
        c1 = min(columns - 1, int(np.ceil(max(at[i, 1], to[i, 1]) + r)))
        dr, dc = to[i, 0] - at[i, 0], to[i, 1] - at[i, 1]
        norm = max(dr * dr + dc * dc, 1e-12)
        for row in range(r0, r1 + 1):
            for col in range(c0, c1 + 1):
                t = min(1.0, max(0.0, ((row - at[i, 0]) * dr + (col - at[i, 1]) * dc) / norm))
                away = (row - at[i, 0] - t * dr) ** 2 + (col - at[i, 1] - t * dc) ** 2
                if away <= r * r and value[i] < image[row, col]:
                    image[row, col] = value[i]


_stamp = numba.njit(cache=True)(_stamp)


def stamp_tubes(carm: CArm, tubes: Tubes, value: Array, chosen: BoolArray) -> Array:
    """Return (rows, columns): the least value of the chosen tubes over each pixel, infinity where there is none.

    A vessel narrower than a pixel is drawn one pixel wide, so that it stays connected.
    """
    image = np.full((carm.rows, carm.columns), np.inf)
    depth = carm.view(tubes.start)[:, 2]
    radius = np.maximum(tubes.radius * carm.sid_mm / depth / carm.pixel_mm, 0.5)
    at, to = carm.project(tubes.start), carm.project(tubes.end)
    _stamp(image, at[chosen], to[chosen], radius[chosen], np.asarray(value, float)[chosen])
    return image


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    # What the truth needs again and again: the scene, its exposure, and the arteries as seen from the tip.
    scene: RunScene
    exposure: Exposure
    frame: int
    before: IntArray
    turned: BoolArray
    seen: BoolArray

    @property
    def carm(self) -> CArm:
        return self.scene.plan.carm

    def way(self, segment: int) -> list[int]:
        # Segments from the catheter's tip to `segment`, both included.
        way = [segment]
        while self.before[way[-1]] >= 0:
            way.append(int(self.before[way[-1]]))
        return way[::-1]


def tell_truth(
    scene: RunScene,
    exposure: Exposure,
    *,
    already_subtracted: bool = False,
    spacing_told: bool = True,
    frame: int | None = None,
) -> RunTruth:
    """Return the truth of one run, which may have been exported subtracted, or without its spacing.

    Parameters
    ----------
    frame : int, optional
        Where the vessels stand in this frame is what is drawn; the frame of greatest arterial contrast when None.
    """
    frame = reference_frame(scene) if frame is None else frame
    before, turned = from_the_tip(scene)
    view = _View(scene, exposure, frame, before, turned, visible_segments(scene, exposure, before))
    artery, faint, rise = _draw_arteries(view)
    vein, vein_rise = _draw_veins(view)
    shown = {f"T{i + 1}": _tumour_mask(view, i) for i in range(len(scene.anatomy.tumours))}
    visible = _visible_tumours(view, shown)
    arrival = _tissue_arrival(view, visible)
    arrival = np.where(artery, rise, np.where(vein, vein_rise, arrival))
    document = {
        "schema": "angio-pipeline/truth/1",
        "artery_mask": "artery.png",
        "vein_mask": "vein.png" if vein.any() else None,
        "ignore_mask": "ignore.png",
        "catheter_mask": "catheter.png",
        "already_subtracted": already_subtracted,
        "spacing_mm": [round(view.carm.isocentre_pixel_mm, 6)] * 2 if spacing_told else None,
        "reference_frame": frame,
        "catheter_tip": _rounded(view.carm.project(scene.catheter_mm(frame)[-1:])[0]),
        "catheter_order": scene.plan.catheter.order,
        "arrival_s": "arrival.npy",
        "motion_px": _rounded(_motion(view)) if view.seen.any() else None,
        "tumours": [_tumour(view, i) for i in range(len(shown)) if f"T{i + 1}" in visible],
        "tumours_not_visible": [{"id": n, "mask": f"tumour-{n}.png"} for n in shown if n not in visible],
        **_shunts(view),
        "extravasations": _bleeds(view),
    }
    return RunTruth(artery, vein, faint, _catheter(view), shown, arrival.astype(np.float32), document)


def reference_frame(scene: RunScene) -> int:
    """Return the frame that holds the most arterial contrast."""
    courses = scene.courses("arteries")
    volume = np.pi * courses.tubes.radius**2 * courses.length_mm()
    load = [float((scene.circulation.concentration("arteries", float(t)) * volume).sum()) for t in scene.plan.times_s]
    return int(np.argmax(load))


def from_the_tip(scene: RunScene) -> tuple[IntArray, BoolArray]:
    """Return (S,) the segment before each artery segment on the way from the catheter's tip, and whether it is turned.

    Before the first there is none: -1. Downstream of the tip it is the parent. Above the tip the order is
    turned round, since what fills there fills by reflux; a branch that leaves there comes after the reversed
    trunk.
    """
    courses = scene.courses("arteries")
    before = np.array(courses.parent, dtype=np.int64)
    turned = np.zeros(len(before), bool)
    index = np.arange(len(before))
    above = courses.last_of_node[scene.plan.catheter.tip_node]
    below = -1
    while above >= 0:
        before[(courses.parent == above) & (index != below)] = below
        before[above], turned[above] = below, True
        below, above = above, int(courses.parent[above])
    before[(courses.parent < 0) & (index != below)] = below
    return before, turned


def visible_segments(scene: RunScene, exposure: Exposure, before: IntArray) -> BoolArray:
    """Return (S,) whether each artery segment counts as visible."""
    ratio = _peak_over_noise(scene, exposure, "arteries")
    inner = _inside_tumours(scene)
    order = _outwards(before)
    unbroken = np.zeros(len(ratio), bool)
    for k in order:
        unbroken[k] = ratio[k] >= 2 and (before[k] < 0 or unbroken[before[k]])
    further = np.where(unbroken, ratio, 0.0)
    for k in order[::-1]:
        if before[k] >= 0:
            further[before[k]] = max(further[before[k]], further[k])
    return unbroken & (further >= 3) & ~inner


def _outwards(before: IntArray) -> list[int]:
    # Segments in an order in which each comes after the one before it.
    depth = np.full(len(before), -1)
    for k in range(len(before)):
        way = []
        node = k
        while node >= 0 and depth[node] < 0:
            way.append(node)
            node = int(before[node])
        level = depth[node] if node >= 0 else -1
        for step, part in enumerate(reversed(way)):
            depth[part] = level + 1 + step
    return [int(k) for k in np.argsort(depth, kind="stable")]


def _inside_tumours(scene: RunScene) -> BoolArray:
    territory = np.asarray(scene.anatomy.arteries.territory)
    return np.asarray(territory[scene.courses("arteries").edge] == int(Territory.TUMOUR))


def _peak_over_noise(scene: RunScene, exposure: Exposure, which: str) -> Array:
    # A tube seen across, spread by pixel and detector: chord profile convolved with a Gaussian.
    carm, courses = scene.plan.carm, scene.courses(which)
    conc = np.max([scene.circulation.concentration(which, float(t)) for t in scene.plan.times_s], axis=0)
    middle = 0.5 * (courses.tubes.start + courses.tubes.end)
    size = carm.pixel_mm * carm.view(middle)[:, 2] / carm.sid_mm
    spread = np.hypot(scene.detector.spread_px, 0.29) * size
    chord = blurred_chord(courses.tubes.radius, spread)
    at = np.clip(np.rint(carm.project(middle)).astype(int), 0, np.array([carm.rows, carm.columns]) - 1)
    factor = cv2.blur(_signal_over_noise(scene, exposure), (5, 5))[at[:, 0], at[:, 1]]
    return np.asarray(1e-3 * scene.contrast.mass_attenuation_mm2_mg * conc * chord * factor)


def _signal_over_noise(scene: RunScene, exposure: Exposure) -> Array:
    # How much a unit of attenuation shows in a subtracted frame, in standard deviations of its noise.
    masks = max(scene.plan.mask_frames, 1)
    return np.asarray(exposure.primary_share / (exposure.noise * np.sqrt(1 + 1 / masks)))


def blurred_chord(radius: Array, spread: Array) -> Array:
    """Return (S,) the chord in mm at a tube's middle after a Gaussian spread, both in mm."""
    x = np.linspace(-4, 4, 81)
    kernel = np.exp(-0.5 * x**2)
    kernel /= kernel.sum()
    offset = spread[:, None] * x
    profile = 2 * np.sqrt(np.maximum(radius[:, None] ** 2 - offset**2, 0.0))
    return np.asarray((profile * kernel).sum(axis=1))


def _draw_arteries(view: _View) -> tuple[BoolArray, BoolArray, Array]:
    scene = view.scene
    tubes = scene.tubes("arteries", view.frame)
    rise = scene.circulation.rise_s("arteries")
    filled = np.isfinite(rise)
    drawn = stamp_tubes(view.carm, tubes, rise, view.seen & filled)
    opened = view.exposure.open_area
    artery = np.isfinite(drawn) & opened
    faint = np.isfinite(stamp_tubes(view.carm, tubes, rise, filled & ~view.seen)) & ~artery
    return artery, faint | (np.isfinite(drawn) & ~opened), drawn


def _draw_veins(view: _View) -> tuple[BoolArray, Array]:
    least = np.full((view.carm.rows, view.carm.columns), np.inf)
    for which in VEINS:
        ratio = _peak_over_noise(view.scene, view.exposure, which)
        rise = view.scene.circulation.rise_s(which)
        seen = np.isfinite(rise) & (ratio >= 3)
        if seen.any():
            drawn = stamp_tubes(view.carm, view.scene.tubes(which, view.frame), rise, seen)
            least = np.minimum(least, drawn)
    return np.isfinite(least) & view.exposure.open_area, least


def _catheter(view: _View) -> BoolArray:
    course = view.scene.catheter_mm(view.frame)
    tubes = Tubes(course[:-1], course[1:], np.full(len(course) - 1, OUTER_MM))
    every = np.ones(len(course) - 1, bool)
    drawn = stamp_tubes(view.carm, tubes, np.zeros(len(course) - 1), every)
    return np.isfinite(drawn) & view.exposure.open_area


def _tumour_mask(view: _View, index: int) -> BoolArray:
    solid = view.scene.anatomy.tumours[index].solid
    moved = view.scene.breathing.displacement(solid.centre, view.frame)
    body = Ellipsoids(solid.centre + moved, solid.shape)
    return np.asarray(project_ellipsoids(view.carm, body, 1.0) > 0) & view.exposure.open_area


def _visible_tumours(view: _View, shown: Mapping[str, BoolArray]) -> dict[str, BoolArray]:
    scene = view.scene
    late = [k for k, t in enumerate(scene.plan.times_s) if t > scene.injection.start_s]
    chosen = late[:: max(1, len(late) // 6)]
    scale = cv2.blur(_signal_over_noise(scene, view.exposure), (5, 5)) * 5
    signs = {name: _blush_sign(scene, index) for index, name in enumerate(shown)}
    contrast = dict.fromkeys(shown, 0.0)
    for k in chosen:
        image = scene.tissue_attenuation(k) * scale
        for name, mask in shown.items():
            around = _around(mask, shown) & view.exposure.open_area
            if mask.any() and around.any():
                difference = float(image[mask].mean() - image[around].mean())
                contrast[name] = max(contrast[name], signs[name] * difference)
    return {name: mask for name, mask in shown.items() if contrast[name] >= 3}


def _blush_sign(scene: RunScene, index: int) -> int:
    # A hypovascular tumour shows as a gap in the liver's stain; any other that shows as one was embolised,
    # and where its blush was there is none to find.
    body = scene.anatomy.tumours[index]
    untouched = float(np.mean(scene.plan.kept[list(body.entries)])) > 0.5
    return -1 if body.kind is TumourKind.HYPOVASCULAR and untouched else 1


def _around(mask: BoolArray, shown: Mapping[str, BoolArray]) -> BoolArray:
    size = max(9, round(mask.shape[0] / 32) | 1)
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((size, size), np.uint8)) > 0
    return np.asarray(grown & ~np.logical_or.reduce(list(shown.values())))


def _beds_of(scene: RunScene, index: int) -> list[Bed]:
    return [bed for bed in scene.circulation.beds if bed.tumour == index]


def _tissue_arrival(view: _View, visible: Mapping[str, BoolArray]) -> Array:
    arrival = np.full((view.carm.rows, view.carm.columns), np.nan)
    for name, mask in visible.items():
        for bed in _beds_of(view.scene, int(name[1:]) - 1):
            rise = bed.rise_s()
            known = np.isfinite(rise)
            if not known.any():
                continue
            moved = bed.centre[known] + view.scene.breathing.displacement(bed.centre[known], view.frame)
            where = np.argwhere(mask)
            nearest = np.argmin(((where[:, None] - view.carm.project(moved)) ** 2).sum(axis=2), axis=1)
            arrival[mask] = rise[known][nearest]
    return arrival


def _motion(view: _View) -> Array:
    # Mean over the visible vessels' length, against the mean position in the frames before contrast.
    scene, courses = view.scene, view.scene.courses("arteries")
    middle = 0.5 * (courses.tubes.start + courses.tubes.end)[view.seen]
    weight = courses.length_mm()[view.seen]
    path = mean_positions(view.carm, middle, weight, scene.breathing, len(scene.plan.times_s))
    return np.asarray(path - path[: max(scene.plan.mask_frames, 1)].mean(axis=0))


def mean_positions(carm: CArm, points: Array, weight: Array, breathing: Breathing, frames: int) -> Array:
    """Return (frames, 2) the weighted mean (row, col) of points (N, 3) in each frame."""
    share = weight / weight.sum()
    return np.stack(
        [(share[:, None] * carm.project(points + breathing.displacement(points, k))).sum(axis=0) for k in range(frames)]
    )


def _tumour(view: _View, index: int) -> dict[str, Any]:
    body = view.scene.anatomy.tumours[index]
    flow = edge_flow(view.scene)[list(body.entries)]
    parts = flow / flow.sum() if flow.sum() > 0 else np.zeros(len(flow))
    feeders = [
        (_feeder(view, index, start, entry, float(part)), _feeder_shown(view, start, entry))
        for start, entry, part in zip(body.branch_starts, body.entries, parts, strict=True)
    ]
    main = body.daughter_of
    return {
        "id": f"T{index + 1}",
        "mask": f"tumour-T{index + 1}.png",
        "kind": body.kind.value,
        "daughter_of": None if main is None else f"T{main + 1}",
        "feeders": [feeder for feeder, shown in feeders if shown],
        "faint_feeders": [feeder for feeder, shown in feeders if not shown],
    }


def _own_part(view: _View, start: int, entry: int) -> list[int]:
    # The feeder's own segments: from its fork, or from the tip when that stands beyond the fork, to the tumour.
    courses = view.scene.courses("arteries")
    after_fork = courses.upstream(courses.last_of_node[entry])
    after_fork = after_fork[after_fork.index(courses.last_of_node[start]) + 1 :]
    walked = set(view.way(courses.last_of_node[entry]))
    return [k for k in after_fork if k in walked]


def _feeder_shown(view: _View, start: int, entry: int) -> bool:
    # Visible to its end, and mostly inside the picture.
    own = _own_part(view, start, entry)
    if not own or not view.seen[own[-1]]:
        return False
    at = np.rint(view.carm.project(view.scene.tubes("arteries", view.frame).end[own])).astype(int)
    inside = ((at >= 0) & (at < [view.carm.rows, view.carm.columns])).all(axis=1)
    opened = np.zeros(len(own), bool)
    opened[inside] = view.exposure.open_area[tuple(at[inside].T)]
    return bool(opened.mean() >= 0.7)


def _feeder(view: _View, index: int, start: int, entry: int, part: float) -> dict[str, Any]:
    courses = view.scene.courses("arteries")
    way = view.way(courses.last_of_node[entry])
    own = _own_part(view, start, entry)
    tubes = view.scene.tubes("arteries", view.frame)
    tip = view.scene.catheter_mm(view.frame)[-1:]
    far = np.where(view.turned[way, None], tubes.start[way], tubes.end[way])
    line = view.carm.project(np.vstack([tip, far]))
    begin = tubes.start[own[:1]] if own else tubes.end[way[-1:]]
    total = edge_flow(view.scene)[courses.edge[way]]
    share = np.clip(1 - tumour_flow(view.scene, index)[courses.edge[way]] / np.maximum(total, 1e-12), 0, 1)
    return {
        "centreline": _rounded(line),
        "branch_start": _rounded(view.carm.project(begin)[0]),
        "contribution": round(part, 4),
        "non_target_along": _rounded(np.concatenate([share[:1], share])),
    }


def edge_flow(scene: RunScene) -> Array:
    """Return (N,) ml/s through each edge of the arteries, as embolisation left it."""
    flow = np.zeros(len(scene.anatomy.arteries))
    flow[scene.courses("arteries").edge] = scene.circulation.flow_ml_s("arteries")
    return flow


def tumour_flow(scene: RunScene, index: int) -> Array:
    """Return (N,) ml/s through each edge of the arteries that go to one tumour, as embolisation left it."""
    tree, through = scene.anatomy.arteries, edge_flow(scene)
    flow = np.zeros(len(tree))
    for entry in scene.anatomy.tumours[index].entries:
        node = entry
        while node >= 0:
            flow[node] += through[entry]
            node = tree.parent[node]
    inside = (np.asarray(tree.tumour) == index) & (np.asarray(tree.territory) == int(Territory.TUMOUR))
    flow[inside] = through[inside]
    return flow


def _shunts(view: _View) -> dict[str, list[dict[str, Any]]]:
    told: dict[str, list[dict[str, Any]]] = {"shunts": [], "shunts_not_visible": []}
    for shunt in view.scene.anatomy.shunts:
        moved = shunt.at_mm[None] + view.scene.breathing.displacement(shunt.at_mm[None], view.frame)
        row, col = (round(float(v), 3) for v in view.carm.project(moved)[0])
        entry = {"kind": shunt.kind.value, "row": row, "col": col}
        told["shunts" if _shunt_shown(view, shunt) else "shunts_not_visible"].append(entry)
    return told


def _shunt_shown(view: _View, shunt: Shunt) -> bool:
    # The vein behind the opening stands out.
    which = "portal" if shunt.kind is ShuntKind.ARTERIOPORTAL else "hepatic"
    here = np.isin(view.scene.courses(which).edge, behind_opening(view.scene, shunt))
    ratio = _peak_over_noise(view.scene, view.exposure, which)
    return bool(here.any() and ratio[here].max() >= 3)


def behind_opening(scene: RunScene, shunt: Shunt) -> IntArray:
    """Return the edges of the portal or hepatic tree that the shunt's blood enters first."""
    if shunt.kind is ShuntKind.ARTERIOVENOUS:
        return np.array([shunt.vein_node])
    return np.flatnonzero(np.asarray(scene.anatomy.portal.parent) == shunt.vein_node)


def _bleeds(view: _View) -> list[dict[str, float]]:
    bleed = view.scene.anatomy.bleed
    if bleed is None:
        return []
    last = view.scene.courses("arteries").last_of_node[bleed.artery_node]
    if not view.seen[last]:
        return []
    moved = bleed.at_mm[None] + view.scene.breathing.displacement(bleed.at_mm[None], view.frame)
    row, col = view.carm.project(moved)[0]
    return [{"row": round(float(row), 3), "col": round(float(col), 3)}]


def _rounded(values: Array) -> Any:
    return np.round(np.asarray(values, float), 3).tolist()


def write_truth(truth: RunTruth, directory: Path) -> None:
    """Write truth.json, masks and arrival.npy into `directory`.

    Raises
    ------
    OSError
        When a file cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    masks = {"artery.png": truth.artery, "ignore.png": truth.ignore, "catheter.png": truth.catheter}
    if truth.document["vein_mask"] is not None:
        masks["vein.png"] = truth.vein
    masks |= {f"tumour-{name}.png": mask for name, mask in truth.tumours.items()}
    for name, mask in masks.items():
        if not cv2.imwrite(str(directory / name), mask.astype(np.uint8) * 255):
            raise OSError(f"Expected to write {name} into the truth folder, the encoder refused.")
    np.save(directory / "arrival.npy", truth.arrival_s)
    (directory / "truth.json").write_text(json.dumps(truth.document, indent=1) + "\n", encoding="utf-8")
