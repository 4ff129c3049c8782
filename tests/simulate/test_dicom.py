"""Every kind of file the simulator writes follows the standard, and says what was stored."""

from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from dicom_objects import errors_in

from angio_pipeline.simulate.aftermath.ct import CtPhase, Kernel
from angio_pipeline.simulate.dicom.common import Case
from angio_pipeline.simulate.dicom.ct import write_ct
from angio_pipeline.simulate.dicom.dx import FilmKind, film_export, write_dx
from angio_pipeline.simulate.dicom.seg import write_segmentation
from angio_pipeline.simulate.dicom.xa import write_xa
from angio_pipeline.simulate.radiograph.collimation import CollimationParams, Outside, draw_opening
from angio_pipeline.simulate.radiograph.detector import DetectorParams, acquire
from angio_pipeline.simulate.radiograph.exports import ExportParams, Storage, Vendor
from angio_pipeline.simulate.radiograph.projection import CArm

WHEN = datetime(2024, 3, 4, 10, 0)
CASE = Case(4, 0, WHEN, sex="F", age_years=63.4)
ARM = CArm(128, 128, 2.4, 1100.0, 750.0, -30.0, 10.0)
UNEVEN = np.array([0.0, 0.3333, 0.6667, 1.6667])
BLADES = CollimationParams(left=0.1, top=0.05, circle=1.1, outside=Outside.BLACK)


def run(export: ExportParams, collimation: CollimationParams = BLADES, frames: int = 4) -> np.ndarray:
    clear = np.full((128, 128), 3.0)
    clear[:, 64:] += 0.5
    dark = clear.copy()
    dark[40:60, 40:90] += 0.6
    detector = DetectorParams(rows=128, columns=128)
    shown = [clear] * (frames // 2) + [dark] * (frames - frames // 2)
    made = acquire(shown, detector=detector, collimation=collimation, rng=np.random.default_rng(1), export=export)
    return made.stored


def xa(
    path: Path,
    export: ExportParams,
    times: np.ndarray = UNEVEN,
    arm: CArm = ARM,
    collimation: CollimationParams = BLADES,
) -> pydicom.Dataset:
    frames = run(export, collimation, len(times))
    write_xa(
        path, CASE, study="day000", series="celiac", number=101, when=WHEN, frames=frames, times_s=times, carm=arm,
        export=export, collimation=collimation, mask_frames=2,
    )  # fmt: skip
    ds = pydicom.dcmread(path)
    np.testing.assert_array_equal(ds.pixel_array, frames if len(times) > 1 else frames[0])
    return ds


@pytest.mark.parametrize("vendor", list(Vendor))
@pytest.mark.parametrize("storage", list(Storage))
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_run_follows_the_standard(tmp_path: Path, vendor: Vendor, storage: Storage, bits: int) -> None:
    path = tmp_path / "run.dcm"
    ds = xa(path, ExportParams(vendor=vendor, storage=storage, bits=bits))
    assert ds.BitsStored >= bits
    assert not errors_in(path)


@pytest.mark.parametrize("storage", list(Storage))
def test_an_inverted_run_breaks_one_rule_as_inverted_exports_do(tmp_path: Path, storage: Storage) -> None:
    # The X-Ray Image Module allows MONOCHROME2 only; archives hold the other kind all the same.
    path = tmp_path / "run.dcm"
    ds = xa(path, ExportParams(storage=storage, inverted=True))
    assert ds.PhotometricInterpretation == "MONOCHROME1"
    plain = xa(tmp_path / "plain.dcm", ExportParams(storage=storage))
    np.testing.assert_array_equal(ds.pixel_array, 4095 - plain.pixel_array)
    assert all("MONOCHROME1" in line for line in errors_in(path))


def test_the_way_back_from_a_logarithmic_run_is_linear_in_the_beam(tmp_path: Path) -> None:
    for inverted in (False, True):
        log = xa(tmp_path / "log.dcm", ExportParams(storage=Storage.LOG, bits=12, inverted=inverted))
        line = xa(tmp_path / "lin.dcm", ExportParams(storage=Storage.LIN, bits=12))
        table = np.frombuffer(log.ModalityLUTSequence[0].LUTData, "<u2")
        back = table[log.pixel_array] / 65535 * 4095
        inside = (line.pixel_array > 200) & (line.pixel_array < 4000)
        np.testing.assert_allclose(back[inside], line.pixel_array[inside], rtol=0.01)


@pytest.mark.parametrize("vendor", list(Vendor))
def test_a_film_and_a_subtracted_run_follow_the_standard(tmp_path: Path, vendor: Vendor) -> None:
    film, subtracted = tmp_path / "film.dcm", tmp_path / "subtracted.dcm"
    xa(film, ExportParams(vendor=vendor), times=np.zeros(1))
    ds = xa(subtracted, ExportParams(vendor=vendor, already_subtracted=True, bits=8))
    assert ds.ImageType[0] == "DERIVED"
    assert "MaskSubtractionSequence" not in ds
    assert not errors_in(film)
    assert not errors_in(subtracted)


@pytest.mark.parametrize("kind", [FilmKind.DX_PROCESSING, FilmKind.DX_PRESENTATION, FilmKind.CR])
@pytest.mark.parametrize("vendor", list(Vendor))
def test_a_radiograph_follows_the_standard(tmp_path: Path, kind: FilmKind, vendor: Vendor) -> None:
    export = film_export(kind, ExportParams(vendor=vendor))
    path = tmp_path / "film.dcm"
    frame = run(export, frames=1)[0]
    write_dx(
        path, CASE, kind=kind, study="day028", series="film", number=404, when=WHEN, frame=frame, carm=ARM,
        export=export, collimation=BLADES,
    )  # fmt: skip
    ds = pydicom.dcmread(path)
    np.testing.assert_array_equal(ds.pixel_array, frame)
    # Behind more attenuation values are higher exactly when the sign is -1; bones are shown white.
    inside = frame[70:110, 20:110].astype(float)
    rises = inside[:, -30:].mean() > inside[:, :30].mean()
    assert ds.PixelIntensityRelationshipSign == (-1 if rises else 1)
    assert ds.PhotometricInterpretation == ("MONOCHROME2" if rises else "MONOCHROME1")
    assert not errors_in(path)


@pytest.mark.parametrize("phase", list(CtPhase))
def test_scans_and_their_segmentation_follow_the_standard(tmp_path: Path, phase: CtPhase) -> None:
    lesion = np.zeros((3, 32, 32), bool)
    lesion[1:, 10:20, 12:18] = True
    scan = SimpleNamespace(
        phase=phase, hu=np.full((3, 32, 32), 60, np.int16), origin_mm=np.array([-60.0, -60.0, -5.0]),
        spacing_mm=(2.5, 4.0, 4.0), slice_mm=3.0, kvp=120.0, kernel=Kernel.SOFT, lesions={"L1": lesion},
    )  # fmt: skip
    headers = write_ct(tmp_path / "ct", CASE, study="day001-ct", series=phase.value, number=201, when=WHEN, scan=scan)
    write_segmentation(tmp_path / "seg.dcm", CASE, study="day001-ct", when=WHEN, scan=scan, slices=headers)
    first = pydicom.dcmread(tmp_path / "ct" / "001.dcm")
    np.testing.assert_array_equal(first.pixel_array.astype(int) + int(first.RescaleIntercept), scan.hu[0])
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == first.SeriesInstanceUID
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")[: lesion[1:].size]
    np.testing.assert_array_equal(bits.reshape(2, 32, 32), lesion[1:])
    assert not errors_in(tmp_path / "ct" / "001.dcm")
    assert not errors_in(tmp_path / "seg.dcm")


def test_a_file_carries_the_patients_sex_and_age_and_the_same_bytes_again(tmp_path: Path) -> None:
    ds = xa(tmp_path / "a.dcm", ExportParams())
    xa(tmp_path / "b.dcm", ExportParams())
    assert (ds.PatientSex, ds.PatientAge) == ("F", "063Y")
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()


def test_even_runs_may_give_one_frame_time_and_uneven_ones_a_vector(tmp_path: Path) -> None:
    even = xa(tmp_path / "even.dcm", ExportParams(vendor=Vendor.GE), times=np.arange(4) / 3)
    uneven = xa(tmp_path / "uneven.dcm", ExportParams(vendor=Vendor.GE))
    assert float(even.FrameTime) == pytest.approx(333.333)
    assert "FrameTimeVector" not in even
    assert np.cumsum([float(v) for v in uneven.FrameTimeVector]) == pytest.approx(1000 * UNEVEN, abs=0.2)


@pytest.mark.parametrize(
    ("vendor", "present", "absent"),
    [
        (Vendor.GE, ["MaskSubtractionSequence", "CollimatorShape"], ["ShutterShape"]),
        (Vendor.PHILIPS, ["RecommendedDisplayFrameRate", "PixelPaddingValue"], ["DistanceSourceToPatient"]),
        (Vendor.SIEMENS, ["MaskSubtractionSequence"], ["EstimatedRadiographicMagnificationFactor"]),
        (Vendor.GENERIC, ["ShutterShape", "ImagerPixelSpacing"], ["MaskSubtractionSequence"]),
    ],
)
def test_makers_habits_differ(tmp_path: Path, vendor: Vendor, present: list[str], absent: list[str]) -> None:
    ds = xa(tmp_path / "run.dcm", ExportParams(vendor=vendor))
    assert all(keyword in ds for keyword in present)
    assert not any(keyword in ds for keyword in absent)
    assert any(element.tag.is_private for element in ds) == (vendor is not Vendor.GENERIC)
    assert "digital patient" in ds.ManufacturerModelName


def test_a_display_export_loses_the_spacing_where_that_is_the_habit(tmp_path: Path) -> None:
    ds = xa(tmp_path / "run.dcm", ExportParams(vendor=Vendor.GE, storage=Storage.DISP, bits=8))
    assert "ImagerPixelSpacing" not in ds
    assert ds.BitsAllocated == 8


def test_shutter_tags_give_the_opening_back(tmp_path: Path) -> None:
    ds = xa(tmp_path / "run.dcm", ExportParams())
    row, col = np.ogrid[1:129, 1:129]
    inside = (col > ds.ShutterLeftVerticalEdge) & (row > ds.ShutterUpperHorizontalEdge)
    centre, radius = ds.CenterOfCircularShutter, ds.RadiusOfCircularShutter
    inside &= (row - centre[0]) ** 2 + (col - centre[1]) ** 2 < radius**2
    np.testing.assert_array_equal(inside, draw_opening(128, 128, BLADES).open)
