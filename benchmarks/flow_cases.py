"""Simulated runs whose velocities are known, and which true arteries a branch of the found tree follows.

In the simulator contrast passes a segment in its volume over its flow, so that the true velocity along a way is
its length over the sum of these times: flow over cross-section, meaned as the bolus means it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from angio_pipeline import vessels
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.runs import PerfusionMaps, SubtractedRun
from angio_pipeline.core.vessels import VesselGraph, VesselSegmentation
from angio_pipeline.pipeline import subtract_run
from angio_pipeline.simulate.angiography import stage
from angio_pipeline.simulate.patient import Patient
from angio_pipeline.simulate.runs import RunScene, record
from angio_pipeline.simulate.truth import RunTruth, from_the_tip, tell_truth
from angio_pipeline.training.examples import read_back

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
# A branch follows an artery when this share of its points lies upon it, no further off than this (pixels) or than
# this share of its radius.
LEAST_SHARE, NEAR_PX, NEAR_RADIUS = 0.8, 1.5, 0.6


@dataclass(frozen=True, slots=True, eq=False)
class FlowCase:
    """One run as the pipeline sees it, with the truth drawn where its vessels stand."""

    sub: SubtractedRun
    maps: PerfusionMaps
    truth: RunTruth
    arteries: Arteries


@dataclass(frozen=True, slots=True)
class TrueFlow:
    """What is true of a branch that follows an artery: mean velocity in space and in projection, and its transit."""

    space_mm_s: float
    projection_mm_s: float
    transit_s: float


class Arteries:
    """The true arteries as they lie in one frame, and how long contrast takes through each segment."""

    def __init__(self, scene: RunScene, frame: int) -> None:
        courses, tubes, carm = scene.courses("arteries"), scene.tubes("arteries", frame), scene.plan.carm
        flow, volume = scene.circulation.flow_ml_s("arteries"), scene.circulation.volume_ml("arteries")
        self.pixel_mm = carm.isocentre_pixel_mm
        self.start, self.end = carm.project(tubes.start), carm.project(tubes.end)
        self.radius_px = tubes.radius * carm.sid_mm / carm.view(tubes.start)[:, 2] / carm.pixel_mm
        self.length_mm = courses.length_mm()
        self.projected_px = np.linalg.norm(self.end - self.start, axis=1)
        self.transit_s = np.divide(volume, flow, out=np.full(len(flow), np.nan), where=flow > 0)
        self.before, self.turned = from_the_tip(scene)
        self.filled = np.flatnonzero(np.isfinite(scene.circulation.rise_s("arteries")))
        self._middle = 0.5 * (self.start + self.end)
        self._tree = cKDTree(self._middle[self.filled])

    def along(self, line: Array) -> TrueFlow | None:
        """Return the true flow along a centreline (K, 2); None where it follows no artery, or one against the flow.

        Arteries above the catheter's tip do not count: what fills there is not carried by the flow.
        """
        way = self._best_way(line)
        if way is None or self.turned[way].any() or not np.isfinite(self.transit_s[way]).all():
            return None
        seconds = float(self.transit_s[way].sum())
        projected = float(self.projected_px[way].sum()) * self.pixel_mm
        return TrueFlow(float(self.length_mm[way].sum()) / seconds, projected / seconds, seconds)

    def _best_way(self, line: Array) -> IntArray | None:
        # Among all segments near the last quarter: the way down to one of them that covers most of the line.
        tail = line[min(len(line) - 1, 3 * len(line) // 4) :]
        near = {int(self.filled[k]) for found in self._tree.query_ball_point(tail, 4.0) for k in found}
        best, best_share = None, LEAST_SHARE
        for last in sorted(near, key=lambda k: (-self.radius_px[k], k)):
            way = self._way_within(last, line)
            share, first, end = self._covered(way, line)
            if share > best_share + 1e-9 and end > first:
                best, best_share = way[first : end + 1], share
        return best

    def _way_within(self, last: int, line: Array) -> IntArray:
        low, high = line.min(axis=0) - 8, line.max(axis=0) + 8
        way: list[int] = []
        while last >= 0 and (self._middle[last] > low).all() and (self._middle[last] < high).all():
            way.append(last)
            last = int(self.before[last])
        return np.array(way[::-1], np.int64)

    def _covered(self, way: IntArray, line: Array) -> tuple[float, int, int]:
        # The share of the line that lies upon the way, and where on the way it begins and ends.
        if len(way) < 2:
            return 0.0, 0, 0
        nearest = cKDTree(self._middle[way]).query(line)[1]
        start, along = self.start[way][nearest], (self.end - self.start)[way][nearest]
        share = np.clip(((line - start) * along).sum(axis=1) / np.maximum((along**2).sum(axis=1), 1e-9), 0, 1)
        off = np.linalg.norm(line - start - share[:, None] * along, axis=1)
        upon = off <= np.maximum(NEAR_PX, NEAR_RADIUS * self.radius_px[way][nearest])
        return float(upon.mean()), int(nearest[0]), int(nearest[-1])


def make_case(patient: Patient, name: str, config: PipelineConfig) -> FlowCase:
    """Return one run of a patient, written as DICOM, read back and subtracted as a user's is."""
    scene = stage(patient, name)
    exposure = record(scene, patient.export, patient.rng("quanta", name))
    sub, maps = subtract_run(read_back(patient, scene, exposure, name), config=config)
    truth = tell_truth(scene, exposure, already_subtracted=patient.export.already_subtracted, frame=sub.reference_frame)
    return FlowCase(sub, maps, truth, Arteries(scene, sub.reference_frame))


def true_vessels(case: FlowCase) -> VesselSegmentation:
    """Return the segmentation that the truth is: visible arteries, and the catheter."""
    artery = case.truth.artery & case.sub.valid
    return VesselSegmentation(artery.astype(np.float32), artery, catheter=case.truth.catheter)


def grow_graph(case: FlowCase, found: VesselSegmentation, config: PipelineConfig) -> VesselGraph:
    """Return the rooted tree of a segmentation; visible tumours are where vessels end."""
    names = {tumour["id"] for tumour in case.truth.document["tumours"]}
    masks = [mask for name, mask in case.truth.tumours.items() if name in names]
    tumours = np.logical_or.reduce([np.zeros_like(found.artery), *masks])
    return vessels.build_graph(found, case.sub, case.maps, params=config.graph, tumours=tumours)[0]
