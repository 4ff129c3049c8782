"""Only pixels that mean something are valid; thin dark anatomy at the border is kept."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import Dataset

from angio_pipeline.core.quality import Quality
from angio_pipeline.ingest.shutters import tagged_area, valid_area

Frames = npt.NDArray[np.float32]
SIZE = 160


def header(**tags: object) -> Dataset:
    ds = Dataset()
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def anatomy(frames: int = 6, *, seed: int = 4) -> Frames:
    """Noisy frames of uneven brightness, around 2000 of 4095."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE
    level = 2000 + 500 * np.sin(3 * rows) - 300 * columns
    return (level + rng.normal(0, 30, (frames, SIZE, SIZE))).astype(np.float32)


def found(frames: Frames, *, lossy: bool = False, **tags: object) -> Any:
    return valid_area(header(**tags), frames, np.zeros(frames.shape[1:], dtype=np.bool_), lossy=lossy)


def test_an_open_frame_is_valid_throughout() -> None:
    area = found(anatomy())
    assert area.valid.all()
    assert area.quality == Quality.NONE


@pytest.mark.parametrize("kind", ["Shutter", "Collimator"])
def test_a_rectangle_counts_from_one_and_its_edges_are_outside(kind: str) -> None:
    tags = {
        f"{kind}Shape": "RECTANGULAR",
        f"{kind}LeftVerticalEdge": 8,
        f"{kind}RightVerticalEdge": 150,
        f"{kind}UpperHorizontalEdge": 6,
        f"{kind}LowerHorizontalEdge": 140,
    }
    rows, columns = np.nonzero(tagged_area(header(**tags), SIZE, SIZE))
    assert (columns.min() + 1, columns.max() + 1) == (9, 149)
    assert (rows.min() + 1, rows.max() + 1) == (7, 139)


def test_edges_at_the_frame_leave_all_of_it() -> None:
    tags = {
        "ShutterShape": "RECTANGULAR",
        "ShutterLeftVerticalEdge": 1,
        "ShutterRightVerticalEdge": SIZE,
        "ShutterUpperHorizontalEdge": 0,
        "ShutterLowerHorizontalEdge": SIZE + 1,
    }
    assert tagged_area(header(**tags), SIZE, SIZE).all()


def test_a_circle_has_its_area() -> None:
    ds = header(ShutterShape="CIRCULAR", CenterOfCircularShutter=[80, 90], RadiusOfCircularShutter=50)
    area = tagged_area(ds, SIZE, SIZE)
    assert area.sum() == pytest.approx(np.pi * 50**2, rel=0.01)
    rows, columns = np.nonzero(area)
    assert (rows.mean() + 1, columns.mean() + 1) == pytest.approx((80, 90))


def test_a_polygon_is_filled_in_row_column_order() -> None:
    ds = header(ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter=[11, 21, 11, 121, 61, 121, 61, 21])
    rows, columns = np.nonzero(tagged_area(ds, SIZE, SIZE))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 60, 20, 120)


def test_several_shapes_leave_what_all_leave() -> None:
    ds = header(
        ShutterShape=["CIRCULAR", "RECTANGULAR"],
        CenterOfCircularShutter=[80, 80],
        RadiusOfCircularShutter=60,
        ShutterLeftVerticalEdge=80,
        ShutterRightVerticalEdge=SIZE,
        ShutterUpperHorizontalEdge=1,
        ShutterLowerHorizontalEdge=SIZE,
    )
    area = tagged_area(ds, SIZE, SIZE)
    assert area.sum() == pytest.approx(0.5 * np.pi * 60**2, rel=0.05)


def test_broken_tags_hide_nothing() -> None:
    assert tagged_area(header(ShutterShape="RECTANGULAR", ShutterLeftVerticalEdge=10), SIZE, SIZE).all()
    assert tagged_area(header(ShutterShape="CIRCULAR", CenterOfCircularShutter=[5, 5]), SIZE, SIZE).all()
    assert tagged_area(header(ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter=[1, 2, 3]), SIZE, SIZE).all()


def test_tags_that_leave_nearly_nothing_are_not_believed() -> None:
    area = found(anatomy(), ShutterShape="CIRCULAR", CenterOfCircularShutter=[5, 5], RadiusOfCircularShutter=3)
    assert area.valid.all()


def test_enhanced_shutters_are_found_in_the_functional_groups() -> None:
    shutter = header(ShutterShape="CIRCULAR", CenterOfCircularShutter=[80, 80], RadiusOfCircularShutter=50)
    frame = header(FrameDisplayShutterSequence=[shutter])
    area = tagged_area(header(PerFrameFunctionalGroupsSequence=[frame]), SIZE, SIZE)
    assert not area[0, 0]
    assert area[80, 80]


@pytest.mark.parametrize("lossy", [False, True])
def test_a_black_circular_border_is_left_out(lossy: bool) -> None:
    frames = anatomy()
    rows, columns = np.ogrid[:SIZE, :SIZE]
    outside = (rows - 80) ** 2 + (columns - 80) ** 2 > 78**2
    frames[:, outside] = 0
    if lossy:
        frames[:, outside] += np.random.default_rng(1).uniform(0, 20, (6, int(outside.sum())))
    area = found(frames, lossy=lossy)
    assert not area.valid[outside].any()
    assert area.valid[~outside].mean() > (0.65 if lossy else 0.9)
    assert Quality.COLLIMATED in area.quality


@pytest.mark.parametrize("value", [0, 1500, 4095])
def test_constant_lines_at_the_border_are_left_out_whatever_their_value(value: float) -> None:
    frames = anatomy()
    frames[:, :12] = value
    frames[:, :, -7:] = value
    area = found(frames)
    assert not area.valid[:12].any()
    assert not area.valid[:, -7:].any()
    assert area.valid[16:, :-10].all()


def test_a_noisy_blade_with_a_sharp_edge_is_left_out() -> None:
    frames = anatomy()
    shade = np.ones((SIZE, SIZE), dtype=np.float32)
    shade[:, :30] = 0.1
    frames *= cv2.GaussianBlur(shade, (0, 0), 1.5)
    area = found(frames)
    assert not area.valid[5:-5, :30].any()
    assert area.valid[:, 45:].mean() > 0.99


def test_dark_anatomy_with_a_soft_edge_is_kept() -> None:
    frames = anatomy()
    shade = np.ones((SIZE, SIZE), dtype=np.float32)
    shade[:, :50] = 0.15
    frames *= cv2.GaussianBlur(shade, (0, 0), 14)
    assert found(frames).valid.all()


def test_a_filled_vessel_that_crosses_the_border_is_kept() -> None:
    frames = anatomy()
    for frame in frames:
        cv2.line(frame, (0, 40), (SIZE, 120), 60.0, 4)
    assert found(frames).valid.all()


@pytest.mark.parametrize("lossy", [False, True])
def test_burnt_in_text_is_left_out_and_flagged(lossy: bool) -> None:
    frames = anatomy(8)
    plain = np.zeros((SIZE, SIZE), dtype=np.uint8)
    cv2.putText(plain, "LAO 30 kV 80", (10, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1, 1, cv2.LINE_8)
    letters = plain.astype(np.bool_)
    frames[:, letters] = 4095
    area = found(frames, lossy=lossy)
    assert not area.valid[letters].any()
    assert area.valid.mean() > 0.9
    assert Quality.BURNT_IN_OVERLAY in area.quality


def test_a_lone_clip_is_not_text() -> None:
    frames = anatomy(8)
    frames[:, 70:74, 80:84] = 4095
    area = found(frames)
    assert area.valid.all()
    assert Quality.BURNT_IN_OVERLAY not in area.quality


def test_saturated_speckle_is_not_text() -> None:
    frames = np.minimum(anatomy(4) + 1700, 4095)
    assert found(frames).valid.all()


def test_a_declared_burnt_in_annotation_is_flagged() -> None:
    assert Quality.BURNT_IN_OVERLAY in found(anatomy(), BurnedInAnnotation="YES").quality


def test_brightness_scale_does_not_change_the_area() -> None:
    frames = anatomy()
    frames[:, :, :20] = 0
    assert np.array_equal(found(frames).valid, found(np.float32(0.01) * frames).valid)
