"""One digital patient from a seed: who it is, what was done, and all files that come of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from angio_pipeline.simulate.aftermath.treatment import Treatment, draw_treatment
from angio_pipeline.simulate.anatomy.anatomy import Anatomy, build_anatomy
from angio_pipeline.simulate.anatomy.courses import Vasculature, lay_vasculature
from angio_pipeline.simulate.cohort import PatientPlan, plan_patient
from angio_pipeline.simulate.dicom.common import Case
from angio_pipeline.simulate.presets import SimulationParams
from angio_pipeline.simulate.radiograph.body import Body, build_body
from angio_pipeline.simulate.radiograph.collimation import CollimationParams
from angio_pipeline.simulate.radiograph.detector import DetectorParams, binned
from angio_pipeline.simulate.radiograph.exports import ExportParams
from angio_pipeline.simulate.radiograph.projection import CArm

__all__ = ["Patient", "make_patient"]


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """Everything about one patient that no single picture decides.

    Attributes
    ----------
    detector, export, collimation : DetectorParams, ExportParams, CollimationParams
        The laboratory in which the patient is treated.
    """

    case: Case
    params: SimulationParams
    plan: PatientPlan
    anatomy: Anatomy
    vessels: Vasculature
    body: Body
    treatment: Treatment
    detector: DetectorParams
    export: ExportParams
    collimation: CollimationParams

    def rng(self, *words: str) -> np.random.Generator:
        """Return the random numbers of one part of the patient: adding one part changes no other."""
        return _stream(self.case, *words)

    def carm(self, primary_deg: float = 0.0, secondary_deg: float = 0.0) -> CArm:
        """Return the C-arm of the patient's laboratory."""
        geometry, detector = self.params.geometry, self.detector
        return CArm(
            detector.rows,
            detector.columns,
            detector.pixel_mm,
            geometry.sid_mm,
            geometry.sod_mm,
            primary_deg,
            secondary_deg,
            isocentre_mm=(-geometry.right_mm, 0.0, -geometry.below_mm),
        )


def _stream(case: Case, *words: str) -> np.random.Generator:
    return np.random.default_rng(int(case.uid("rng", *words).split(".")[-1]))


def make_patient(case: Case, params: SimulationParams, plan: PatientPlan | None = None) -> Patient:
    """Return the patient of a case; a plan that is not given is drawn for the anatomy.

    Raises
    ------
    ConfigError
        When no anatomy can be made as the settings ask.
    """
    anatomy = build_anatomy(params.anatomy, _stream(case, "anatomy"))
    vessels = lay_vasculature(anatomy, params.anatomy.tortuosity, _stream(case, "courses"))
    body = build_body(anatomy.lobes, _stream(case, "body"), params.background.gas)
    plan = plan or _draw_plan(case, params, anatomy)
    treatment = draw_treatment(
        anatomy, plan, params.treatment, _stream(case, "treatment"), deposit=params.deposit, body=body
    )
    draw = _stream(case, "laboratory")
    export = params.exports[int(draw.integers(len(params.exports)))]
    collimation = params.collimations[int(draw.integers(len(params.collimations)))]
    detector = binned(params.detector, export)
    case = replace(case, sex=plan.sex, age_years=plan.age_years)
    return Patient(case, params, plan, anatomy, vessels, body, treatment, detector, export, collimation)


def _draw_plan(case: Case, params: SimulationParams, anatomy: Anatomy) -> PatientPlan:
    size_mm = max((2 * tumour.radius_mm for tumour in anatomy.tumours), default=None)
    daughters = any(tumour.daughter_of is not None for tumour in anatomy.tumours)
    return plan_patient(params.cohort, _stream(case, "plan"), size_mm=size_mm, daughters=daughters)
