"""What is true of a simulated run, drawn where the vessels stand in the reference frame.

What counts as visible: the peak contrast of an artery is at least twice the standard deviation
of a subtracted frame's noise, unbroken from the tip, and three times somewhere further along.
Fainter arteries, and the tangle of vessels inside a tumour (vessel and blush at once), go to the
ignore mask.
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

from angio_pipeline.simulate.detector import expose, exposure_level, log_noise
from angio_pipeline.simulate.motion import Breathing
from angio_pipeline.simulate.projection import CArm, Ellipsoids, Tubes, project_ellipsoids
from angio_pipeline.simulate.runs import RunScene
from angio_pipeline.simulate.tree import Territory

__all__ = ["RunTruth", "tell_truth", "write_truth"]

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class RunTruth:
    """The truth of one run: masks (H, W), arrival (H, W) float32, and the document that names them."""

    artery: BoolArray
    ignore: BoolArray
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


def tell_truth(scene: RunScene) -> RunTruth:
    """Return the truth of one run."""
    frame = reference_frame(scene)
    tubes, carm = scene.tubes(frame), scene.plan.carm
    inner = np.asarray(scene.anatomy.tree.territory)[scene.courses.edge] == int(Territory.TUMOUR)
    filled = scene.present * scene.bolus.peak(scene.bolus.artery, scene.delay_s) > 0
    seen = visible_segments(scene) & ~inner
    rise = scene.bolus.rise_s(scene.bolus.artery, scene.delay_s)
    drawn = stamp_tubes(carm, tubes, rise, seen)
    artery = np.isfinite(drawn)
    faint = np.isfinite(stamp_tubes(carm, tubes, rise, filled & ~seen)) & ~artery
    shown = {f"T{i + 1}": _tumour_mask(scene, i, frame) for i in range(len(scene.anatomy.tumours))}
    visible = {name: mask for i, (name, mask) in enumerate(shown.items()) if _blush_visible(scene, i, mask)}
    arrival = np.where(artery, drawn, _tissue_arrival(scene, frame, visible))
    document = {
        "schema": "angio-pipeline/truth/1",
        "artery_mask": "artery.png",
        "vein_mask": None,
        "ignore_mask": "ignore.png",
        "reference_frame": frame,
        "catheter_tip": _rounded(carm.project(tubes.start[:1])[0]),
        "arrival_s": "arrival.npy",
        "motion_px": _rounded(_motion(scene, seen)),
        "tumours": [_tumour(scene, i, frame, seen) for i in range(len(shown)) if f"T{i + 1}" in visible],
        "tumours_not_visible": [{"id": n, "mask": f"tumour-{n}.png"} for n in shown if n not in visible],
        "shunts": [],
    }
    return RunTruth(artery, faint, shown, arrival.astype(np.float32), document)


def reference_frame(scene: RunScene) -> int:
    """Return the frame that holds the most arterial contrast."""
    tubes = scene.courses.tubes
    volume = np.pi * tubes.radius**2 * scene.courses.length_mm()
    load = [float((scene.concentration(k) * volume).sum()) for k in range(len(scene.plan.times_s))]
    return int(np.argmax(load))


def visible_segments(scene: RunScene) -> BoolArray:
    """Return (S,) whether each segment counts as visible."""
    ratio = _peak_over_noise(scene)
    parent = scene.courses.parent
    unbroken = np.zeros(len(ratio), bool)
    for k, above in enumerate(parent):
        unbroken[k] = ratio[k] >= 2 and (above < 0 or unbroken[above])
    further = np.where(unbroken, ratio, 0.0)
    for k in range(len(ratio) - 1, -1, -1):
        if parent[k] >= 0:
            further[parent[k]] = max(further[parent[k]], further[k])
    return unbroken & (further >= 3)


def _peak_over_noise(scene: RunScene) -> Array:
    # A tube seen across, spread by pixel and detector: chord profile convolved with a Gaussian.
    carm, courses = scene.plan.carm, scene.courses
    conc = np.max([scene.concentration(k) for k in range(len(scene.plan.times_s))], axis=0)
    middle = 0.5 * (courses.tubes.start + courses.tubes.end)
    size = carm.pixel_mm * carm.view(middle)[:, 2] / carm.sid_mm
    spread = np.hypot(scene.detector.blur_px, 0.29) * size
    chord = blurred_chord(courses.tubes.radius, spread)
    background = scene.background_attenuation(0)
    level = exposure_level(background)
    expected = expose(background, scene.detector, level)
    direct = np.exp(level - background) * scene.detector.photons
    primary = direct / (1 + scene.detector.scatter) / expected
    masks = max(scene.plan.mask_frames, 1)
    noise = log_noise(expected) * np.sqrt(1 + 1 / masks)
    at = np.clip(np.rint(carm.project(middle)).astype(int), 0, np.array([carm.rows, carm.columns]) - 1)
    factor = cv2.blur(primary / noise, (5, 5))[at[:, 0], at[:, 1]]
    return np.asarray(1e-3 * scene.contrast.mass_attenuation_mm2_mg * conc * chord * factor)


def blurred_chord(radius: Array, spread: Array) -> Array:
    """Return (S,) the chord in mm at a tube's middle after a Gaussian spread, both in mm."""
    x = np.linspace(-4, 4, 81)
    kernel = np.exp(-0.5 * x**2)
    kernel /= kernel.sum()
    offset = spread[:, None] * x
    profile = 2 * np.sqrt(np.maximum(radius[:, None] ** 2 - offset**2, 0.0))
    return np.asarray((profile * kernel).sum(axis=1))


def _tumour_mask(scene: RunScene, index: int, frame: int) -> BoolArray:
    solid = scene.anatomy.tumours[index].solid
    moved = scene.breathing.displacement(solid.centre, frame)
    body = Ellipsoids(solid.centre + moved, solid.shape)
    return np.asarray(project_ellipsoids(scene.plan.carm, body, 1.0) > 0)


def _blush_visible(scene: RunScene, index: int, mask: BoolArray) -> bool:
    # Seen when the middle of the blush rises three times above the noise of a 5 x 5 mean.
    bed = scene.beds[index + 1]
    times = scene.plan.times_s
    peak = max(float(bed.mass_mg(scene.bolus, float(t)).sum()) for t in times)
    area = np.count_nonzero(mask) * scene.plan.carm.isocentre_pixel_mm**2
    mean = scene.contrast.mass_attenuation_mm2_mg * peak / max(area, 1e-9)
    return bool(mean > 3 * 1.4 / np.sqrt(scene.detector.photons) / 5)


def _tissue_arrival(scene: RunScene, frame: int, visible: Mapping[str, BoolArray]) -> Array:
    carm = scene.plan.carm
    arrival = np.full((carm.rows, carm.columns), np.nan)
    for name, mask in visible.items():
        bed = scene.beds[int(name[1:])]
        rise = scene.bolus.rise_s(scene.bolus.tumour, bed.delay_s)
        at = carm.project(bed.centre + scene.breathing.displacement(bed.centre, frame))
        where = np.argwhere(mask)
        nearest = np.argmin(((where[:, None] - at) ** 2).sum(axis=2), axis=1)
        arrival[mask] = rise[nearest]
    return arrival


def _motion(scene: RunScene, seen: BoolArray) -> Array:
    # Mean over the visible vessels' length, against the mean position in the frames before contrast.
    middle = 0.5 * (scene.courses.tubes.start + scene.courses.tubes.end)[seen]
    weight = scene.courses.length_mm()[seen]
    path = mean_positions(scene.plan.carm, middle, weight, scene.breathing, len(scene.plan.times_s))
    return np.asarray(path - path[: max(scene.plan.mask_frames, 1)].mean(axis=0))


def mean_positions(carm: CArm, points: Array, weight: Array, breathing: Breathing, frames: int) -> Array:
    """Return (frames, 2) the weighted mean (row, col) of points (N, 3) in each frame."""
    share = weight / weight.sum()
    return np.stack(
        [(share[:, None] * carm.project(points + breathing.displacement(points, k))).sum(axis=0) for k in range(frames)]
    )


def _tumour(scene: RunScene, index: int, frame: int, seen: BoolArray) -> dict[str, Any]:
    body = scene.anatomy.tumours[index]
    flow = np.asarray(scene.anatomy.tree.flow)[list(body.entries)]
    feeders = [
        _feeder(scene, index, start, entry, float(part), frame)
        for start, entry, part in zip(body.branch_starts, body.entries, flow / flow.sum(), strict=True)
    ]
    last = [scene.courses.last_of_node[entry] for entry in body.entries]
    own = [f for f, k in zip(feeders, last, strict=True) if seen[k]]
    faint = [f for f, k in zip(feeders, last, strict=True) if not seen[k]]
    return {"id": f"T{index + 1}", "mask": f"tumour-T{index + 1}.png", "feeders": own, "faint_feeders": faint}


def _feeder(scene: RunScene, index: int, start: int, entry: int, part: float, frame: int) -> dict[str, Any]:
    courses, tree, carm = scene.courses, scene.anatomy.tree, scene.plan.carm
    way = courses.upstream(courses.last_of_node[entry])
    tubes = scene.tubes(frame)
    line = carm.project(np.vstack([tubes.start[way[:1]], tubes.end[way]]))
    fork = carm.project(tubes.end[[courses.last_of_node[start]]])[0]
    total = np.asarray(tree.flow)[courses.edge[way]]
    own = tumour_flow(scene, index)
    share = np.clip(1 - own[courses.edge[way]] / np.maximum(total, 1e-12), 0, 1)
    return {
        "centreline": _rounded(line),
        "branch_start": _rounded(fork),
        "contribution": round(part, 4),
        "non_target_along": _rounded(np.concatenate([share[:1], share])),
    }


def tumour_flow(scene: RunScene, index: int) -> Array:
    """Return (N,) the share of the root's flow through each tree edge that goes to one tumour."""
    tree = scene.anatomy.tree
    flow = np.zeros(len(tree))
    for entry in scene.anatomy.tumours[index].entries:
        node = entry
        while node >= 0:
            flow[node] += tree.flow[entry]
            node = tree.parent[node]
    inside = (np.asarray(tree.tumour) == index) & (np.asarray(tree.territory) == int(Territory.TUMOUR))
    flow[inside] = np.asarray(tree.flow)[inside]
    return flow


def _rounded(values: Array) -> Any:
    return np.round(np.asarray(values, float), 3).tolist()


def write_truth(truth: RunTruth, directory: Path) -> None:
    """Write truth.json, masks and arrival.npy into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    masks = {"artery.png": truth.artery, "ignore.png": truth.ignore}
    masks |= {f"tumour-{name}.png": mask for name, mask in truth.tumours.items()}
    for name, mask in masks.items():
        if not cv2.imwrite(str(directory / name), mask.astype(np.uint8) * 255):
            raise OSError(f"Expected to write {name} into the truth folder, the encoder refused.")
    np.save(directory / "arrival.npy", truth.arrival_s)
    (directory / "truth.json").write_text(json.dumps(truth.document, indent=1) + "\n", encoding="utf-8")
