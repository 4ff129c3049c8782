"""Whatever a maker's habits and the storage, the reader finds the same contrast, opening and times in a file."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from angio_pipeline.core.geometry import SpacingPlane
from angio_pipeline.core.runs import AngioRun, Quantity
from angio_pipeline.ingest import discover, read_film, read_run
from angio_pipeline.simulate.dicom.common import Case
from angio_pipeline.simulate.dicom.dx import FilmKind, film_export, write_dx
from angio_pipeline.simulate.dicom.xa import write_xa
from angio_pipeline.simulate.radiograph.collimation import CollimationParams, Outside
from angio_pipeline.simulate.radiograph.detector import DetectorParams, acquire
from angio_pipeline.simulate.radiograph.exports import ExportParams, Storage, Vendor
from angio_pipeline.simulate.radiograph.projection import CArm

WHEN = datetime(2024, 3, 4, 10, 0)
TIMES = np.array([0.0, 0.3333, 0.6667, 1.0, 2.0])
DETECTOR = DetectorParams(rows=192, columns=192, photons=50000.0, lag=0.0)
BLADES = CollimationParams(left=0.15, bottom=0.1, outside=Outside.BLACK)


def scene() -> list[np.ndarray]:
    """Three frames of uneven ground, then two with a dark patch."""
    row, col = np.mgrid[:192, :192]
    ground = 3.5 + 0.3 * np.sin(row / 25.0) + 0.002 * col
    dark = ground.copy()
    dark[80:110, 90:130] += 0.5
    return [ground] * 3 + [dark] * 2


def read(tmp_path: Path, export: ExportParams) -> AngioRun:
    made = acquire(
        scene(), detector=DETECTOR, collimation=BLADES, rng=np.random.default_rng(2), export=export, mask_frames=3
    )
    write_xa(
        tmp_path / "run.dcm", Case(1, 0, WHEN), study="a", series="b", number=101, when=WHEN, frames=made.stored,
        times_s=TIMES, carm=CArm(192, 192, DETECTOR.pixel_mm, 1100.0, 750.0, -30.0, 10.0), export=export,
        collimation=BLADES, mask_frames=3,
    )  # fmt: skip
    return read_run(discover([tmp_path / "run.dcm"], workspace=tmp_path / "work").runs[0])


def patch_depth(run: AngioRun) -> float:
    frames = np.asarray(run.frames, float)
    log = -np.log(np.maximum(frames, 1)) if run.quantity is Quantity.INTENSITY else -frames
    change = log[3:].mean(axis=0) - log[:3].mean(axis=0)
    return float(change[88:102, 100:120].mean() - change[30:60, 60:160].mean())


@pytest.mark.parametrize("vendor", list(Vendor))
@pytest.mark.parametrize("storage", [Storage.LIN, Storage.LOG])
@pytest.mark.parametrize("inverted", [False, True])
def test_contrast_comes_back(tmp_path: Path, vendor: Vendor, storage: Storage, inverted: bool) -> None:
    plain = patch_depth(read(tmp_path, ExportParams(bits=16)))
    run = read(tmp_path, ExportParams(vendor=vendor, storage=storage, bits=14, inverted=inverted))
    assert run.quantity is Quantity.INTENSITY
    assert patch_depth(run) == pytest.approx(plain, rel=0.03)
    assert 0.3 < plain < 0.5


@pytest.mark.parametrize("vendor", list(Vendor))
def test_times_spacing_and_opening_come_back(tmp_path: Path, vendor: Vendor) -> None:
    run = read(tmp_path, ExportParams(vendor=vendor))
    np.testing.assert_allclose(run.times_s, TIMES, atol=2e-4)
    assert run.spacing is not None
    assert run.spacing.plane is SpacingPlane.ISOCENTRE
    assert run.spacing.mean_mm == pytest.approx(DETECTOR.pixel_mm * 750 / 1100, rel=1e-3)
    assert run.pose is not None
    assert (run.pose.primary_deg, run.pose.secondary_deg) == (-30, 10)
    assert not run.valid[:, :26].any()
    assert not run.valid[176:].any()
    assert run.valid[20:165, 40:180].mean() > 0.99


@pytest.mark.parametrize("vendor", [Vendor.GENERIC, Vendor.PHILIPS])
def test_a_subtracted_export_that_says_so_is_known(tmp_path: Path, vendor: Vendor) -> None:
    assert read(tmp_path, ExportParams(vendor=vendor, already_subtracted=True)).already_subtracted


def test_a_subtraction_hint_is_no_subtraction(tmp_path: Path) -> None:
    run = read(tmp_path, ExportParams(vendor=Vendor.SIEMENS))
    assert not run.already_subtracted
    assert run.mask_hint is not None
    assert run.mask_hint.mask_frames == (0, 1, 2)


@pytest.mark.parametrize("kind", [FilmKind.DX_PROCESSING, FilmKind.DX_PRESENTATION, FilmKind.CR])
def test_oil_is_dark_in_every_kind_of_film_once_read(tmp_path: Path, kind: FilmKind) -> None:
    export = film_export(kind, ExportParams())
    film = acquire(
        scene()[-1:], detector=DETECTOR, collimation=CollimationParams(), rng=np.random.default_rng(0), export=export
    )
    write_dx(
        tmp_path / "film.dcm", Case(1, 0, WHEN), kind=kind, study="a", series="f", number=101, when=WHEN,
        frame=film.stored[0], carm=CArm(192, 192, DETECTOR.pixel_mm, 1100.0, 1000.0), export=export,
    )  # fmt: skip
    found = read_film(discover([tmp_path / "film.dcm"], workspace=tmp_path / "work").films[0])
    image = np.asarray(found.image, float)
    # Once read, brighter means more X-rays in every film.
    assert image[85:105, 95:125].mean() < 0.98 * image[85:105, 140:170].mean()
