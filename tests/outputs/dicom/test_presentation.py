"""How the run is to be shown: the mask, the shift, the window, and what is drawn where."""

from __future__ import annotations

import io
from dataclasses import replace

import cv2
import numpy as np
import pydicom
import pytest
from dicom_objects import complaints, said_by
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, GrayscaleSoftcopyPresentationStateStorage

from angio_pipeline.core.runs import Background, Quantity
from angio_pipeline.outputs.dicom.presentation import presentation_bytes

# Type 1 attributes of the modules that the validator at hand does not know (PS3.3 C.11.19, C.11.21).
NEEDED = {
    "MaskSubtractionSequence": ("MaskOperation", "ApplicableFrameRange", "MaskFrameNumbers", "PixelShiftSequence"),
    "PixelShiftSequence": ("RegionPixelShiftSequence", "PixelShiftFrameRange"),
    "RegionPixelShiftSequence": ("MaskSubPixelShift",),
    "PixelIntensityRelationshipLUTSequence": ("LUTDescriptor", "LUTData", "LUTFunction", "LUTFrameRange"),
    "MultiFramePresentationSequence": ("FrameDisplaySequence",),
    "FrameDisplaySequence": (
        "StartTrim",
        "StopTrim",
        "RecommendedDisplayFrameRateInFloat",
        "SkipFrameRangeFlag",
        "RecommendedViewingMode",
        "DisplayFilterPercentage",
        "MaskVisibilityPercentage",
    ),
}


def as_intensities(result):
    """The run as a detector stores it: whole numbers that fall by e for a unit of attenuation."""
    frames = np.rint(3000 * np.exp(-np.clip(result.run.frames, -0.2, 5))).astype(np.uint16)
    return replace(result, run=replace(result.run, frames=frames, quantity=Quantity.INTENSITY, white_level=4095.0))


@pytest.fixture(scope="module")
def shown(run_result, origin_of):
    result = as_intensities(run_result)
    return result, pydicom.dcmread(io.BytesIO(presentation_bytes(result, origin_of(result))))


def graphics(ds, layer):
    (annotation,) = [one for one in ds.GraphicAnnotationSequence if one.GraphicLayer == layer]
    return annotation, annotation.get("GraphicObjectSequence", [])


def points(graphic):
    return np.reshape(graphic.GraphicData, (-1, 2))[:, ::-1] - 0.5


def test_feeders_are_drawn_where_they_run(shown):
    result, ds = shown
    annotation, lines = graphics(ds, "FEEDERS")
    feeders = [one for one in result.tumours[0].feeders if one.worth_showing]
    assert len(lines) == len(feeders)
    for line, feeder in zip(lines, feeders, strict=True):
        np.testing.assert_allclose(points(line), feeder.centreline[feeder.own_start :], atol=1e-3)
    assert annotation.ReferencedImageSequence[0].ReferencedFrameNumber == result.subtracted.reference_frame + 1


def test_targets_are_rings_about_their_place_with_words(shown):
    result, ds = shown
    annotation, marks = graphics(ds, "TARGETS")
    rings = [points(one) for one in marks if one.GraphicType == "CIRCLE"]
    assert len(rings) == len(result.tumours[0].targets)
    for ring, target in zip(rings, result.tumours[0].targets, strict=True):
        np.testing.assert_allclose(ring[0], (target.row, target.col), atol=1e-3)
        assert np.linalg.norm(ring[1] - ring[0]) == pytest.approx(6, abs=1e-3)
    assert all(one.UnformattedTextValue.startswith("Target") for one in annotation.TextObjectSequence)


def test_a_tumour_s_outline_encloses_it(shown):
    result, ds = shown
    _, lines = graphics(ds, "TUMORS")
    ring = points(lines[0])
    np.testing.assert_array_equal(ring[0], ring[-1])
    np.testing.assert_allclose(ring.mean(axis=0), result.tumours[0].centroid, atol=1.5)


def test_the_mask_moves_with_every_frame_s_motion(shown):
    result, ds = shown
    (subtraction,) = ds.MaskSubtractionSequence
    assert list(subtraction.MaskFrameNumbers) == [k + 1 for k in result.subtracted.mask_frames]
    told = np.zeros_like(result.subtracted.motion_px)
    covered = np.zeros(len(told), int)
    for shift in subtraction.PixelShiftSequence:
        first, last = shift.PixelShiftFrameRange
        down, left = shift.RegionPixelShiftSequence[0].MaskSubPixelShift
        told[first - 1 : last] = down, -left
        covered[first - 1 : last] += 1
    np.testing.assert_array_equal(covered, 1)
    np.testing.assert_allclose(told, np.nan_to_num(result.subtracted.motion_px), atol=6e-4)


def test_a_viewer_that_follows_it_sees_the_vessels_black_and_the_rest_grey(shown):
    """The pipeline of PS3.4 N.2: to the logarithm, minus the mask, through the window."""
    result, ds = shown
    (subtraction,) = ds.MaskSubtractionSequence
    table = np.frombuffer(subtraction.PixelIntensityRelationshipLUTSequence[0].LUTData, "<u2").astype(float)
    frames = table[result.run.frames]
    mask = frames[[k - 1 for k in subtraction.MaskFrameNumbers]].mean(axis=0)
    (window,) = ds.SoftcopyVOILUTSequence
    low = float(window.WindowCenter) - float(window.WindowWidth) / 2
    grey = (frames[result.subtracted.reference_frame] - mask - low) / float(window.WindowWidth)
    valid = result.subtracted.valid
    contrast = result.subtracted.frames[result.subtracted.reference_frame]
    full = (contrast > np.percentile(contrast[valid], 99.5)) & valid
    assert np.median(grey[full]) < 0.25
    empty = valid & ~result.vessels.artery & ~result.tumours[0].mask
    assert 0.55 < np.median(grey[empty]) < 0.95


def shown_by_dcmtk(ds, values, tmp_path):
    """What dcmtk's renderer makes of an image (H, W) under a state, 0 to 255; the image is one that is subtracted.

    Debian's dcmtk subtracts no masks and knows plain states alone: of the state it is given the rest.
    """
    plain = pydicom.dcmread(io.BytesIO(_bytes(ds)))
    for keyword in ("MaskSubtractionSequence", "MultiFramePresentationSequence"):
        if keyword in plain:
            delattr(plain, keyword)
    plain.SOPClassUID = plain.file_meta.MediaStorageSOPClassUID = GrayscaleSoftcopyPresentationStateStorage
    plain.save_as(tmp_path / "state.dcm")
    image = Dataset()
    reference = plain.ReferencedSeriesSequence[0]
    image.SOPClassUID = reference.ReferencedImageSequence[0].ReferencedSOPClassUID
    image.SOPInstanceUID = reference.ReferencedImageSequence[0].ReferencedSOPInstanceUID
    image.SeriesInstanceUID, image.StudyInstanceUID = reference.SeriesInstanceUID, plain.StudyInstanceUID
    image.Rows, image.Columns = values.shape
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 1
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.PixelData = np.rint(values).astype("<i2").tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    said_by("dcmp2pgm", "-p", *(str(tmp_path / name) for name in ("state.dcm", "image.dcm", "shown.pgm")))
    return cv2.imread(str(tmp_path / "shown.pgm"), cv2.IMREAD_GRAYSCALE).astype(float)


@pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE"])
def test_another_renderer_shows_window_and_shape_as_told(shown, tmp_path, shape):
    result, ds = shown
    state = pydicom.dcmread(io.BytesIO(_bytes(ds)))
    state.PresentationLUTShape = shape
    (subtraction,) = ds.MaskSubtractionSequence
    table = np.frombuffer(subtraction.PixelIntensityRelationshipLUTSequence[0].LUTData, "<u2").astype(float)
    frames = table[result.run.frames]
    mask = frames[[k - 1 for k in subtraction.MaskFrameNumbers]].mean(axis=0)
    values = np.rint(frames[result.subtracted.reference_frame] - mask)
    seen = shown_by_dcmtk(state, values, tmp_path)
    (window,) = ds.SoftcopyVOILUTSequence
    centre, width = float(window.WindowCenter), float(window.WindowWidth)
    # PS3.3 C.11.2.1.2.1
    grey = np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    wanted = 255 * (grey if shape == "IDENTITY" else 1 - grey)
    np.testing.assert_allclose(seen, wanted, atol=1.5)
    assert np.ptp(seen) > 200
    artery = np.median(seen[result.vessels.artery])
    beside = np.median(seen[result.subtracted.valid & ~result.vessels.artery])
    assert (artery < beside) == (shape == "IDENTITY")


def test_a_run_without_mask_frames_is_not_subtracted(run_result, origin_of):
    sub = replace(run_result.subtracted, background=Background.ALREADY_SUBTRACTED, mask_frames=())
    result = replace(run_result, subtracted=sub)
    ds = pydicom.dcmread(io.BytesIO(presentation_bytes(result, origin_of(result))))
    assert "MaskSubtractionSequence" not in ds


def test_a_run_stored_white_on_black_is_turned_over(run_result, origin_of):
    told = origin_of(run_result, PhotometricInterpretation="MONOCHROME1")
    ds = pydicom.dcmread(io.BytesIO(presentation_bytes(run_result, told)))
    assert ds.PresentationLUTShape == "INVERSE"


@pytest.mark.parametrize(
    "told",
    [
        {"PixelIntensityRelationship": "LOG"},
        {"PixelIntensityRelationshipSign": -1},
        {"PhotometricInterpretation": "MONOCHROME1"},
    ],
    ids=["led back by a table", "falling", "turned over"],
)
def test_values_that_are_not_the_stored_ones_give_no_window_and_no_table(run_result, origin_of, told):
    result = as_intensities(run_result)
    ds = pydicom.dcmread(io.BytesIO(presentation_bytes(result, origin_of(result, **told))))
    assert "SoftcopyVOILUTSequence" not in ds
    assert "PixelIntensityRelationshipLUTSequence" not in ds.MaskSubtractionSequence[0]


def test_nothing_found_draws_nothing(run_maker, origin_of):
    result = run_maker(tumour=False, vessels=False)
    ds = pydicom.dcmread(io.BytesIO(presentation_bytes(result, origin_of(result))))
    assert "GraphicAnnotationSequence" not in ds
    assert "GraphicLayerSequence" not in ds


def test_what_only_xa_states_hold_is_complete(shown):
    _, ds = shown
    found = {element.keyword: element.value for element in ds.iterall() if element.keyword in NEEDED}
    assert set(found) == set(NEEDED)
    for keyword, names in NEEDED.items():
        for item in found[keyword]:
            assert [name for name in names if name not in item] == [], keyword


def test_a_validator_finds_no_fault_in_what_all_states_hold(shown, tmp_path):
    # `dciodvfy` does not know the XA/XRF state: it is shown the rest as the plain one.
    ds = pydicom.dcmread(io.BytesIO(_bytes(shown[1])))
    del ds.MaskSubtractionSequence, ds.MultiFramePresentationSequence
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = GrayscaleSoftcopyPresentationStateStorage
    path = tmp_path / "plain.dcm"
    ds.save_as(path)
    assert complaints(path) == []


def test_the_checker_of_presentation_states_passes_it(shown, tmp_path):
    path = tmp_path / "presentation.dcm"
    path.write_bytes(_bytes(shown[1]))
    assert "Test passed" in said_by("dcmpschk", str(path))


def _bytes(ds):
    stream = io.BytesIO()
    ds.save_as(stream)
    return stream.getvalue()
