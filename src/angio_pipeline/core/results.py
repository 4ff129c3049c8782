"""What the pipeline hands to the outputs: one result a run, one a patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.corrections import CorrectionOutcome
from angio_pipeline.core.followups import LesionCourse, ScanAlignment, StrayOilSearch
from angio_pipeline.core.measures import BranchMeasures
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.response import ResponseResult
from angio_pipeline.core.runs import AngioRun, PerfusionMaps, SubtractedRun
from angio_pipeline.core.tumours import Shunt, Tumour
from angio_pipeline.core.vessels import CatheterTip, VesselGraph, VesselSegmentation

__all__ = ["FollowUpResult", "Refusal", "RunResult", "TimeDensityCurve"]


@dataclass(frozen=True, slots=True, eq=False)
class TimeDensityCurve:
    """Mean attenuation over a region against time: (T,) float64, NaN in frames left out."""

    label: str
    values: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """Everything measured on one run; `measures` are those of the graph's branches, in their order."""

    run: AngioRun
    subtracted: SubtractedRun
    maps: PerfusionMaps
    vessels: VesselSegmentation
    graph: VesselGraph
    tip: CatheterTip | None
    tumours: tuple[Tumour, ...]
    shunts: tuple[Shunt, ...]
    curves: tuple[TimeDensityCurve, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    quality: Quality = Quality.NONE
    measures: tuple[BranchMeasures, ...] = ()
    corrections: tuple[CorrectionOutcome, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """One input that was not analysed: its path, the reason's code, one sentence."""

    path: str
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True, eq=False)
class FollowUpResult:
    """The course of every lesion of one patient, of the liver beside it, and the response when it was judged.

    Attributes
    ----------
    stray_oil : tuple of StrayOilSearch
        The plain scans after treatment that another scan could be compared with.
    """

    lesions: tuple[LesionCourse, ...]
    liver: LesionCourse | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    quality: Quality = Quality.NONE
    left_out: tuple[Refusal, ...] = ()
    alignments: tuple[ScanAlignment, ...] = ()
    response: ResponseResult | None = None
    stray_oil: tuple[StrayOilSearch, ...] = ()
