"""Single images: one channel of numbers in which contrast is dark, or a refusal that says why."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest import read_image
from angio_pipeline.ingest.limits import Limits

SIZE = (40, 56)


def _grey(levels: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, levels, SIZE)


def _written(folder: Path, name: str, pixels: np.ndarray) -> Path:
    path = folder / name
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".tiff"])
@pytest.mark.parametrize(("kind", "levels"), [(np.uint8, 256), (np.uint16, 65536)])
def test_grey_pictures_are_read_as_they_are_stored(
    tmp_path: Path, suffix: str, kind: type[np.generic], levels: int
) -> None:
    grey = _grey(levels).astype(kind)
    read = read_image(_written(tmp_path, f"frame{suffix}", grey))
    assert read.pixels.dtype == np.float32
    assert read.frame is None
    np.testing.assert_array_equal(read.pixels, grey)


def test_a_tiff_of_fractions_is_read_as_it_is_stored(tmp_path: Path) -> None:
    fractions = np.random.default_rng(2).normal(0, 1, SIZE).astype(np.float32)
    np.testing.assert_array_equal(read_image(_written(tmp_path, "frame.tif", fractions)).pixels, fractions)


@pytest.mark.parametrize("name", ["frame.png", "frame.tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colour_is_read_as_grey_and_transparency_is_passed_over(tmp_path: Path, name: str, channels: int) -> None:
    grey = _grey(256).astype(np.uint8)
    colour = np.repeat(grey[..., None], channels, axis=2)
    colour[..., 3:] = 128
    np.testing.assert_allclose(read_image(_written(tmp_path, name, colour)).pixels, grey, atol=1e-3)


def test_the_grey_of_a_colour_is_its_mean(tmp_path: Path) -> None:
    colour = np.zeros((*SIZE, 3), np.uint8)
    colour[..., 0], colour[..., 2] = 30, 240
    assert read_image(_written(tmp_path, "frame.png", colour)).pixels == pytest.approx(90)


@pytest.mark.parametrize("name", ["frame.png", "frame.tif", "frame.dcm"])
def test_a_file_that_is_not_there_or_empty_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputRefused, match="Expected an image, found nothing there") as missing:
        read_image(tmp_path / name)
    (tmp_path / name).touch()
    with pytest.raises(InputRefused, match="Expected an image, found an empty file") as empty:
        read_image(tmp_path / name)
    assert (missing.value.reason, empty.value.reason) == ("not_found", "empty_file")


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="found a folder"):
        read_image(tmp_path)


@pytest.mark.parametrize("name", ["frame.png", "frame.tif"])
def test_what_only_bears_the_name_of_an_image_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("not an image")
    with pytest.raises(InputRefused, match="Expected a PNG or TIFF image, found one that cannot be decoded") as refused:
        read_image(tmp_path / name)
    assert refused.value.reason == "unreadable"


@pytest.mark.parametrize("name", ["frame.png", "frame.tif"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_half_an_image_is_refused(tmp_path: Path, name: str, share: float) -> None:
    path = _written(tmp_path, name, _grey(256).astype(np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputRefused, match="cannot be decoded"):
        read_image(path)


def test_an_image_beyond_the_limit_is_refused_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _written(tmp_path, "frame.png", _grey(256).astype(np.uint8))
    monkeypatch.setattr("angio_pipeline.ingest.images.Limits", lambda: Limits(frame_px=2000))
    with pytest.raises(InputRefused, match="at most 2000 pixels, found 40 x 56") as refused:
        read_image(path)
    assert refused.value.reason == "too_large"


def test_a_text_file_is_refused_by_its_kind(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image at all")
    with pytest.raises(InputRefused) as refused:
        read_image(tmp_path / "notes.txt")
    assert refused.value.reason == "not_image"


def _passage(frames: int = 6, fullest: int = 4, *, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    """Return stored values of a run: noise, and a dark bar that is darkest in one frame."""
    rng = np.random.default_rng(3)
    run = rng.normal(2500, 10, (frames, *size))
    for k in range(frames):
        run[k, 20:26, 8:56] -= 800 / (1 + abs(k - fullest))
    run[:2, 20:26, 8:56] = 2500
    return run.astype(np.uint16)


def test_of_a_run_the_frame_with_the_most_contrast_is_taken(dicom) -> None:
    stored = _passage()
    read = read_image(dicom.run(pixels=stored))
    assert read.frame == 4
    np.testing.assert_allclose(read.pixels, stored[4])


def test_brightness_that_drifts_while_a_vessel_stays_filled_is_no_contrast(dicom) -> None:
    stored = _passage(frames=12, fullest=6).astype(float)
    stored[3:10, 20:26, 8:56] = 1700
    stored[6, 20:26, 8:56] = 1600
    stored -= np.linspace(150, 0, 12)[:, None, None]
    assert 3 <= read_image(dicom.run(pixels=stored.astype(np.uint16))).frame < 10


def test_of_a_run_of_inverted_grey_it_is_the_same_frame(dicom) -> None:
    stored = _passage()
    read = read_image(dicom.run(pixels=4095 - stored, PhotometricInterpretation="MONOCHROME1"))
    assert read.frame == 4
    assert read.pixels[22, 30] < read.pixels[40, 30] - 500


@pytest.mark.parametrize("at", [0, 5])
def test_a_black_frame_is_no_contrast(dicom, at: int) -> None:
    stored = _passage()
    stored[at] = 0
    assert read_image(dicom.run(pixels=stored)).frame == 4


def test_a_frame_that_is_named_is_taken(dicom) -> None:
    stored = _passage()
    read = read_image(dicom.run(pixels=stored), frame=1)
    assert read.frame == 1
    np.testing.assert_allclose(read.pixels, stored[1])


@pytest.mark.parametrize(("frame", "found"), [(6, 7), (-1, 0)])
def test_a_frame_that_the_run_does_not_have_is_refused_in_numbers_from_1(dicom, frame: int, found: int) -> None:
    with pytest.raises(InputRefused, match=f"Expected a frame from 1 to 6, found {found}") as refused:
        read_image(dicom.run(pixels=_passage()), frame=frame)
    assert refused.value.reason == "no_such_frame"


def test_a_film_is_read_whole(dicom) -> None:
    stored = _passage()[4]
    read = read_image(dicom.film(pixels=stored))
    assert read.frame is None
    assert read.pixels[22, 30] < read.pixels[40, 30] - 500


def test_what_lies_behind_a_shutter_is_not_known(dicom) -> None:
    tags = {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 11, "ShutterRightVerticalEdge": 64}
    read = read_image(dicom.run(pixels=_passage(), **tags, ShutterUpperHorizontalEdge=1, ShutterLowerHorizontalEdge=64))
    assert np.isnan(read.pixels[:, :9]).all()
    assert np.isfinite(read.pixels[:, 14:60]).all()


def test_a_single_slice_is_refused_as_it_would_be_in_a_series(dicom) -> None:
    with pytest.raises(InputRefused, match="found 1 CT slice"):
        read_image(dicom.ct_slice("ct.dcm", (0, 0, 0), np.zeros((40, 40))))


def test_a_dicom_that_holds_no_projection_is_refused(sample: Path) -> None:
    with pytest.raises(InputRefused, match="Expected PNG, TIFF or a DICOM angiogram or film") as refused:
        read_image(sample / "case-000" / "rois" / "lesions.dcm")
    assert refused.value.reason == "not_image"


def test_a_refusal_of_the_file_is_the_refusal_of_the_image(dicom) -> None:
    path = dicom.run()
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(InputRefused):
        read_image(path)


def test_the_fullest_frame_of_a_simulated_run_shows_its_arteries(sample: Path) -> None:
    path = sample / "case-000" / "dicom" / "day000" / "frontal.dcm"
    name = pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
    truth = cv2.imread(str(sample / "case-000" / "truth" / name / "artery.png"), cv2.IMREAD_GRAYSCALE)
    fullest, first = read_image(path), read_image(path, frame=0)
    assert fullest.pixels.shape == truth.shape
    darker = np.log(first.pixels + 1) - np.log(fullest.pixels + 1)
    assert np.nanmedian(darker[truth > 127]) > np.nanmedian(darker[truth <= 127]) + 0.05
