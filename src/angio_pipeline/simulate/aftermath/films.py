"""Films of the oil: a spot film in the angiography suite, later ordinary radiographs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field
from pydicom.uid import UID

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.aftermath.deposits import OIL_MG_PER_ML, oil_attenuation
from angio_pipeline.simulate.aftermath.treatment import Lesion
from angio_pipeline.simulate.dicom.dx import FilmKind, film_export, write_dx
from angio_pipeline.simulate.dicom.xa import write_xa
from angio_pipeline.simulate.radiograph.background import draw_background
from angio_pipeline.simulate.radiograph.body import SPINE_MM
from angio_pipeline.simulate.radiograph.collimation import CollimationParams
from angio_pipeline.simulate.radiograph.detector import DetectorParams, acquire, film_detector
from angio_pipeline.simulate.radiograph.exports import ExportParams
from angio_pipeline.simulate.radiograph.projection import CArm, Ellipsoids, project_ellipsoids

if TYPE_CHECKING:
    # A patient is made from settings, the films' among them.
    from angio_pipeline.simulate.patient import Patient

__all__ = ["FilmParams", "write_film"]


class FilmParams(Params):
    """Radiographs after the day of treatment; the film of that day is taken in the suite."""

    kinds: tuple[FilmKind, ...] = Field(
        (FilmKind.XA,), min_length=1, description="what later films are stored as, in turn"
    )
    matrix: int = Field(860, ge=256, le=3000, description="rows and columns of a DX or CR film")
    field_mm: float = Field(430.0, ge=200, le=450, description="width of a DX or CR film at the detector, mm")
    sid_mm: float = Field(1150.0, ge=900, le=2000, description="source to detector of a DX or CR film")
    sod_mm: float = Field(980.0, ge=700, le=1900, description="source to the patient's middle of a DX or CR film")


def write_film(folder: Path, patient: Patient, days: float, number: int) -> dict[str, dict[str, Any]]:
    """Write the film of one date with its regions; return the truth of the oil in it by lesion."""
    params = patient.params
    later = [day for day in params.treatment.film_days if day > 0]
    kind = params.film.kinds[later.index(days) % len(params.film.kinds)] if days in later else FilmKind.XA
    study, series = f"day{round(days):03d}", f"film-{round(days):03d}"
    carm, detector, collimation = _room(patient, kind)
    rng, devices = patient.rng("film", series), patient.anatomy.devices
    background = draw_background(carm, patient.body, params.background, rng, coils=devices.coils, clips=devices.clips)
    total = background.still().astype(float)
    total += oil_attenuation(carm, patient.treatment, days, params.contrast.mass_attenuation_mm2_mg)
    export = film_export(kind, patient.export)
    exposure = acquire([total], detector=detector, collimation=collimation, rng=rng, export=export)
    when = patient.case.at(days) + timedelta(hours=2)
    uid = _write(
        folder / "dicom" / study / f"{series}.dcm",
        patient,
        _Film(kind, study, series, number, when, carm, export, collimation),
        exposure.stored,
    )
    points = {}
    for lesion in patient.treatment.lesions:
        if lesion.deposit is None:
            continue
        _write_region(folder / "rois" / f"{uid}-{lesion.id}.png", carm, _standing(lesion, days))
        points[lesion.id] = {
            "date": f"{when:%Y%m%d}",
            "days": days,
            "modality": "XA" if kind is FilmKind.XA else "CR" if kind is FilmKind.CR else "DX",
            "study_instance_uid": str(patient.case.uid("study", study)),
            "series_instance_uid": str(patient.case.uid("series", study, series)),
            "sop_instance_uid": str(uid),
            "iodine_mg": round(lesion.iodine_mg(days), 4),
            "oil_ml": round(lesion.iodine_mg(days) / OIL_MG_PER_ML, 6),
            "lesion_mask": None,
            "deposit_mask": None,
        }
    return points


@dataclass(frozen=True, slots=True)
class _Film:
    kind: FilmKind
    study: str
    series: str
    number: int
    when: datetime
    carm: CArm
    export: ExportParams
    collimation: CollimationParams


def _write(path: Path, patient: Patient, film: _Film, stored: npt.NDArray[np.uint16]) -> UID:
    if film.kind is FilmKind.XA:
        return write_xa(
            path,
            patient.case,
            study=film.study,
            series=film.series,
            number=film.number,
            when=film.when,
            frames=stored,
            times_s=np.zeros(1),
            carm=film.carm,
            export=film.export,
            collimation=film.collimation,
        )
    return write_dx(
        path,
        patient.case,
        kind=film.kind,
        study=film.study,
        series=film.series,
        number=film.number,
        when=film.when,
        frame=stored[0],
        carm=film.carm,
        export=film.export,
        collimation=film.collimation,
    )


def _room(patient: Patient, kind: FilmKind) -> tuple[CArm, DetectorParams, CollimationParams]:
    # The suite's own C-arm, or a table in the radiology department.
    if kind is FilmKind.XA:
        return patient.carm(), film_detector(patient.detector), patient.collimation
    film = patient.params.film
    size = {"rows": film.matrix, "columns": film.matrix, "field_mm": film.field_mm}
    detector = film_detector(patient.params.detector.model_copy(update=size))
    carm = CArm(
        film.matrix,
        film.matrix,
        detector.pixel_mm,
        film.sid_mm,
        film.sod_mm,
        isocentre_mm=(SPINE_MM[0], 0.0, patient.carm().isocentre_mm[2]),
    )
    return carm, detector, CollimationParams()


def _standing(lesion: Lesion, days: float) -> Ellipsoids:
    # A lesion that shrank draws its outline in; one that has vanished leaves its oil in what was left of it.
    scale = lesion.scale(days) or lesion.vanished_scale
    solid, centre = lesion.body.solid, lesion.body.centre_mm
    return Ellipsoids(centre + scale * (solid.centre - centre), solid.shape / scale)


def _write_region(path: Path, carm: CArm, solid: Ellipsoids) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = project_ellipsoids(carm, solid, 1.0) > 0
    if not cv2.imwrite(str(path), mask.astype(np.uint8) * 255):
        raise OSError(f"Expected to write {path.name}, the encoder refused.")
