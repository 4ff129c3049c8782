"""One angiographic run: frames as the detector stores them, and where everything truly is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.anatomy.anatomy import Anatomy
from angio_pipeline.simulate.anatomy.courses import Courses, Vasculature
from angio_pipeline.simulate.anatomy.devices import Catheter
from angio_pipeline.simulate.circulation.circulation import Circulation, circulate
from angio_pipeline.simulate.circulation.contrast import ContrastParams, Injection
from angio_pipeline.simulate.radiograph.background import Background
from angio_pipeline.simulate.radiograph.catheter import project_catheter
from angio_pipeline.simulate.radiograph.collimation import CollimationParams
from angio_pipeline.simulate.radiograph.detector import DetectorParams, Exposure, acquire
from angio_pipeline.simulate.radiograph.exports import ExportParams
from angio_pipeline.simulate.radiograph.motion import Breathing
from angio_pipeline.simulate.radiograph.projection import CArm, Tubes, project_tubes

__all__ = ["RunParams", "RunPlan", "RunScene", "frame_times", "record", "stage_run"]

Array = npt.NDArray[np.float64]
TREES = ("arteries", "portal", "hepatic", "tributaries")


class RunParams(Params):
    """Frames of a run, a fast part then a slow part, and where the catheter stands."""

    fast_frames: int = Field(14, ge=3, le=200, description="frames of the arterial part")
    fast_fps: float = Field(3.0, gt=0, le=30, description="frames a second of the arterial part")
    slow_frames: int = Field(6, ge=0, le=200, description="frames of the late part")
    slow_fps: float = Field(1.0, gt=0, le=30, description="frames a second of the late part")
    mask_frames: int = Field(3, ge=0, le=20, description="frames before contrast arrives at the tip")
    catheter_orders: tuple[int, ...] = Field(
        (1,),
        min_length=1,
        description="where the tip may stand: 0 celiac, 1 common hepatic, 2 proper hepatic, 3 lobar, 4 segmental",
    )

    @model_validator(mode="after")
    def _possible(self) -> RunParams:
        if not all(0 <= order <= 4 for order in self.catheter_orders):
            raise ValueError("catheter_orders must be from 0 to 4")
        if self.mask_frames >= self.fast_frames + self.slow_frames:
            raise ValueError("mask_frames must be fewer than all frames")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class RunPlan:
    """What makes one run of a patient differ from another; `kept` (arteries' nodes,) is the flow embolisation left."""

    name: str
    carm: CArm
    times_s: Array
    mask_frames: int
    catheter: Catheter
    kept: Array


@dataclass(frozen=True, slots=True, eq=False)
class RunScene:
    """Everything needed to draw any frame without noise."""

    plan: RunPlan
    anatomy: Anatomy
    vessels: Vasculature
    breathing: Breathing
    background: Background
    injection: Injection
    circulation: Circulation
    contrast: ContrastParams
    detector: DetectorParams
    collimation: CollimationParams

    def courses(self, which: str) -> Courses:
        """Return the courses of one of `TREES`."""
        courses: Courses = getattr(self.vessels, which)
        return courses

    def tubes(self, which: str, frame: int) -> Tubes:
        """Return the vessels of one tree where they stand in `frame`."""
        return _moved(self.courses(which).tubes, self.breathing, frame)

    def vessel_attenuation(self, frame: int, which: str = "arteries") -> Array:
        """Return (rows, columns) attenuation by contrast in one tree."""
        time = float(self.plan.times_s[frame])
        tubes, conc = self.circulation.columns(which, self.tubes(which, frame), time)
        weight = 1e-3 * self.contrast.mass_attenuation_mm2_mg * conc
        seen = weight > _LEAST
        image = np.zeros((self.plan.carm.rows, self.plan.carm.columns))
        return project_tubes(self.plan.carm, tubes, np.where(seen, weight, 0.0)) if seen.any() else image

    def tissue_attenuation(self, frame: int) -> Array:
        """Return (rows, columns) attenuation by contrast in tissue: tumours, liver, spleen, what has bled out."""
        time = float(self.plan.times_s[frame])
        image = np.zeros((self.plan.carm.rows, self.plan.carm.columns))
        for bed in self.circulation.beds:
            image += bed.areal_density(self.plan.carm, time, self.breathing.displacement(bed.centre, frame))
        return image * self.contrast.mass_attenuation_mm2_mg

    def catheter_mm(self, frame: int) -> Array:
        """Return (K, 3) the catheter's course: its tip moves with the liver, its aortic part stands still."""
        course = self.plan.catheter.course_mm
        run = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(course, axis=0), axis=1))])
        share = np.clip(1 - (run[-1] - run) / _LOOSE_MM, 0, 1)[:, None]
        return np.asarray(course + share * self.breathing.displacement(course, frame))

    def catheter_attenuation(self, frame: int) -> Array:
        """Return (rows, columns) attenuation of the catheter and of the contrast in its lumen."""
        since = float(self.plan.times_s[frame]) - self.injection.start_s
        # The column of contrast that was injected last stays in the lumen.
        filled = self.injection.iodine_mg_per_ml if since > -_LUMEN_S else 0.0
        return project_catheter(self.plan.carm, self.catheter_mm(frame), filled, self.contrast.mass_attenuation_mm2_mg)

    def contrast_attenuation(self, frame: int) -> Array:
        """Return (rows, columns) attenuation of all contrast medium outside the catheter."""
        return sum((self.vessel_attenuation(frame, which) for which in TREES), self.tissue_attenuation(frame))

    def background_attenuation(self, frame: int) -> Array:
        """Return (rows, columns) attenuation of everything but contrast medium and catheter."""
        return np.asarray(self.background.at(self.breathing, frame), float)

    def frames(self) -> Iterator[Array]:
        """Return the total attenuation (rows, columns) of each frame."""
        for k in range(len(self.plan.times_s)):
            yield self.background_attenuation(k) + self.catheter_attenuation(k) + self.contrast_attenuation(k)


# Attenuation a millimetre below which a segment is not worth drawing; the catheter's last part that
# follows the liver; how long before the injection its lumen is filled.
_LEAST = 1e-7
_LOOSE_MM = 60.0
_LUMEN_S = 0.15


def _moved(tubes: Tubes, breathing: Breathing, frame: int) -> Tubes:
    start = tubes.start + breathing.displacement(tubes.start, frame)
    return Tubes(start, tubes.end + breathing.displacement(tubes.end, frame), tubes.radius)


def frame_times(params: RunParams) -> Array:
    """Return (T,) seconds of the frames from the first."""
    steps = [1 / params.fast_fps] * (params.fast_frames - 1) + [1 / params.slow_fps] * params.slow_frames
    return np.concatenate([[0.0], np.cumsum(np.round(steps, 4))])


def stage_run(
    plan: RunPlan,
    anatomy: Anatomy,
    vessels: Vasculature,
    breathing: Breathing,
    background: Background,
    *,
    contrast: ContrastParams,
    detector: DetectorParams,
    collimation: CollimationParams,
) -> RunScene:
    """Return the scene of one run; contrast reaches the tip just after the last mask frame."""
    times = plan.times_s
    start = 0.5 * (times[plan.mask_frames - 1] + times[plan.mask_frames]) if plan.mask_frames else -1.0
    # A branch takes what it can carry: the pump is set lower the further out the tip stands.
    flow = float(anatomy.arteries.flow[plan.catheter.tip_node])
    rate = min(contrast.injection_ml_s, contrast.injection_over_flow * flow)
    injection = Injection(
        tip_node=plan.catheter.tip_node,
        rate_ml_s=rate,
        duration_s=contrast.injection_s,
        iodine_mg_per_ml=contrast.iodine_mg_per_ml,
        start_s=float(start),
        ramp_s=contrast.ramp_s,
    )
    flowing = circulate(anatomy, vessels, injection, contrast, kept=plan.kept, until_s=float(times[-1]))
    return RunScene(plan, anatomy, vessels, breathing, background, injection, flowing, contrast, detector, collimation)


def record(scene: RunScene, export: ExportParams, rng: np.random.Generator) -> Exposure:
    """Return the frames as stored, and what the detector makes of small changes of attenuation."""
    return acquire(
        scene.frames(),
        detector=scene.detector,
        collimation=scene.collimation,
        rng=rng,
        export=export,
        mask_frames=max(scene.plan.mask_frames, 1),
    )
