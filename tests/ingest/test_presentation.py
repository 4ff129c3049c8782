"""Closed graphics of a presentation state enclose the pixels that they were drawn around."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_items import item
from pydicom.dataset import Dataset

from angio_pipeline import ingest
from angio_pipeline.core.errors import InputRefused

GSPS = "1.2.840.10008.5.1.4.1.1.11.1"
XA_GSPS = "1.2.840.10008.5.1.4.1.1.11.5"
UID = "1.2.826.0.1.3680043.8.498.1"
SHAPE = (40, 60)
# Columns before rows, from the corner of the first pixel: around rows 10 to 19 and columns 20 to 39.
SQUARE = [20.0, 10.0, 40.0, 10.0, 40.0, 20.0, 20.0, 20.0, 20.0, 10.0]


def graphic(kind: str, data: list[float], **changed: Any) -> Dataset:
    tags = {
        "GraphicAnnotationUnits": "PIXEL",
        "GraphicDimensions": 2,
        "NumberOfGraphicPoints": len(data) // 2,
        "GraphicData": data,
        "GraphicType": kind,
        "GraphicFilled": "N",
    }
    return item(**{**tags, **changed})


def image(uid: str = UID, frames: list[int] | None = None) -> Dataset:
    made = item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.12.1", ReferencedSOPInstanceUID=uid)
    if frames:
        made.ReferencedFrameNumber = frames
    return made


def annotation(*graphics: Dataset, images: list[Dataset] | None = None, layer: str = "LAYER1") -> Dataset:
    made = item(GraphicLayer=layer, GraphicObjectSequence=list(graphics))
    if images is not None:
        made.ReferencedImageSequence = images
    return made


def write_gsps(dicom: Any, *annotations: Dataset, sop_class: str = GSPS, name: str = "pr.dcm", **tags: Any) -> Path:
    ds = dicom.base(sop_class, "PR")
    ds.ContentLabel, ds.PresentationCreationDate = "REGION", "20260102"
    ds.ReferencedSeriesSequence = [item(SeriesInstanceUID="1.2.3", ReferencedImageSequence=[image()])]
    ds.GraphicAnnotationSequence = list(annotations)
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return dicom.save(ds, name)


def square() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[10:20, 20:40] = True
    return mask


@pytest.mark.parametrize("sop_class", [GSPS, XA_GSPS])
def test_a_closed_polyline_holds_the_pixels_within_its_corners(dicom: Any, sop_class: str) -> None:
    path = write_gsps(dicom, annotation(graphic("POLYLINE", SQUARE), images=[image()]), sop_class=sop_class)
    rois = ingest.read_rois([path])
    (roi,) = rois.drawn_on(UID, SHAPE)
    assert np.array_equal(roi.mask, square())
    assert (roi.id, roi.frames) == ("G1", ())
    assert rois.drawn_on("1.2.3", SHAPE) == ()


def test_an_ellipse_lies_about_the_middle_of_its_axes(dicom: Any) -> None:
    # Major axis along the columns from 10 to 50, minor along the rows from 10 to 30.
    path = write_gsps(dicom, annotation(graphic("ELLIPSE", [10, 20, 50, 20, 30, 10, 30, 30]), images=[image()]))
    (roi,) = ingest.read_rois([path]).drawn_on(UID, SHAPE)
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    inside = ((rows + 0.5 - 20) / 10) ** 2 + ((cols + 0.5 - 30) / 20) ** 2 <= 1
    assert np.count_nonzero(roi.mask ^ inside) < 0.01 * np.count_nonzero(inside)


def test_a_slanted_ellipse_and_a_circle_have_their_area(dicom: Any) -> None:
    slanted = [20, 10, 40, 30, 25, 25, 35, 15]
    path = write_gsps(
        dicom, annotation(graphic("ELLIPSE", slanted), graphic("CIRCLE", [30, 20, 30, 32]), images=[image()])
    )
    ellipse, circle = ingest.read_rois([path]).drawn_on(UID, SHAPE)
    half = np.hypot(10, 10), np.hypot(5, 5)
    assert np.count_nonzero(ellipse.mask) == pytest.approx(np.pi * half[0] * half[1], rel=0.03)
    assert np.count_nonzero(circle.mask) == pytest.approx(np.pi * 12**2, rel=0.02)
    assert np.argwhere(circle.mask).mean(axis=0) == pytest.approx([19.5, 29.5], abs=0.1)


def test_a_curve_through_points_on_a_circle_is_nearly_that_circle(dicom: Any) -> None:
    turn = np.linspace(0, 2 * np.pi, 9)
    data = np.stack([30 + 12 * np.cos(turn), 20 + 12 * np.sin(turn)], axis=1).ravel().tolist()
    path = write_gsps(dicom, annotation(graphic("INTERPOLATED", data), images=[image()]))
    (roi,) = ingest.read_rois([path]).drawn_on(UID, SHAPE)
    assert np.count_nonzero(roi.mask) == pytest.approx(np.pi * 12**2, rel=0.02)


def test_a_filled_graphic_is_closed_though_its_ends_do_not_meet(dicom: Any) -> None:
    open_ = graphic("POLYLINE", SQUARE[:8], GraphicFilled="Y")
    (roi,) = ingest.read_rois([write_gsps(dicom, annotation(open_, images=[image()]))]).drawn_on(UID, SHAPE)
    assert np.array_equal(roi.mask, square())


def test_each_graphic_is_a_region_on_its_own_images_and_frames(dicom: Any) -> None:
    first = annotation(graphic("POLYLINE", SQUARE), images=[image("1.2.1", [3, 4]), image("1.2.2")], layer="T1")
    second = annotation(graphic("CIRCLE", [30, 20, 30, 25]))
    found = ingest.read_rois([write_gsps(dicom, first, second)]).outlines
    assert [(one.id, one.sop_instance_uid, one.frames) for one in found] == [
        ("T1", "1.2.1", (2, 3)),
        ("T1", "1.2.2", ()),
        ("G2", UID, ()),
    ]


def test_rulers_arrows_and_points_beside_a_region_are_passed_over(dicom: Any) -> None:
    beside = [graphic("POLYLINE", [1, 1, 30, 30]), graphic("POINT", [5, 5]), graphic("POLYLINE", SQUARE[:8])]
    path = write_gsps(dicom, annotation(*beside, graphic("POLYLINE", SQUARE), images=[image()]))
    (roi,) = ingest.read_rois([path]).drawn_on(UID, SHAPE)
    assert np.array_equal(roi.mask, square())


def test_a_layer_named_after_a_person_gives_no_id(dicom: Any) -> None:
    path = write_gsps(dicom, annotation(graphic("POLYLINE", SQUARE), images=[image()], layer="DOE JANE"))
    assert [one.id for one in ingest.read_rois([path]).outlines] == ["G1"]


def test_a_region_outside_the_image_is_empty(dicom: Any) -> None:
    path = write_gsps(dicom, annotation(graphic("CIRCLE", [500, 500, 510, 500]), images=[image()]))
    (roi,) = ingest.read_rois([path]).drawn_on(UID, SHAPE)
    assert not roi.mask.any()


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], "a closed polyline"),
        ([graphic("POLYLINE", SQUARE[:8])], "close the outline"),
        ([graphic("POINT", [5, 5])], "a closed polyline"),
        ([graphic("POLYLINE", [value / 60 for value in SQUARE], GraphicAnnotationUnits="DISPLAY")], "DISPLAY"),
        ([graphic("POLYLINE", SQUARE, GraphicAnnotationUnits="MATRIX")], "MATRIX"),
        ([graphic("POLYLINE", SQUARE[:9])], "whole points"),
        ([graphic("POLYLINE", SQUARE, GraphicDimensions=3)], "two dimensions"),
        ([graphic("POLYLINE", [*SQUARE[:8], 20.0, 1e9])], "whole points"),
    ],
)
def test_what_is_no_region_is_refused_with_one_sentence(dicom: Any, parts: list[Dataset], words: str) -> None:
    path = write_gsps(dicom, annotation(*parts, images=[image()]))
    with pytest.raises(InputRefused, match=words) as caught:
        ingest.read_rois([path])
    assert caught.value.reason == "bad_roi"
    assert caught.value.sentence.count(".") == 1


def test_a_region_that_names_no_image_is_refused(dicom: Any) -> None:
    path = write_gsps(dicom, annotation(graphic("POLYLINE", SQUARE)), ReferencedSeriesSequence=[])
    with pytest.raises(InputRefused, match="name the image"):
        ingest.read_rois([path])


def test_among_the_sources_only_a_folder_named_rois_makes_it_a_region(dicom: Any, look: Any) -> None:
    part = annotation(graphic("POLYLINE", SQUARE), images=[image()])
    write_gsps(dicom, part)
    inside = write_gsps(dicom, part, name="rois/pr.dcm")
    found = look(dicom.folder)
    assert [roi.paths for roi in found.rois] == [(inside,)]
    (refusal,) = found.refusals
    assert refusal.reason == "not_ours"
    assert "--roi" in refusal.sentence


def test_the_images_of_a_region_are_known_without_reading_them(dicom: Any) -> None:
    path = write_gsps(dicom, annotation(graphic("POLYLINE", SQUARE), images=[image("1.2.1"), image("1.2.2")]))
    assert ingest.projections_of(path) == {"1.2.1", "1.2.2"}
