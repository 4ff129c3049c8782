"""What a segmented image leaves behind: a mask, a probability, a row."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from angio_pipeline.core.vessels import FrameVessels
from angio_pipeline.outputs import SegmentedImage, write_segmentation, write_segmented

PROBABILITY = np.linspace(0, 1, 33 * 47, dtype=np.float32).reshape(33, 47)


def _write(out: Path, probability: np.ndarray = PROBABILITY, **options) -> SegmentedImage:
    frame = options.pop("frame", None)
    return write_segmentation(out, "one", FrameVessels(probability, **options), file="one.tif", frame=frame)


def _read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_a_mask_is_0_or_255_and_of_the_images_size(tmp_path: Path) -> None:
    _write(tmp_path)
    mask = _read(tmp_path / "one.png")
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, np.where(PROBABILITY >= 0.5, 255, 0))


def test_a_probability_has_16_bits_and_65535_is_certain(tmp_path: Path) -> None:
    _write(tmp_path)
    stored = _read(tmp_path / "one-probability.png")
    assert stored.dtype == np.uint16
    assert (stored[0, 0], stored[-1, -1]) == (0, 65535)
    np.testing.assert_allclose(stored / 65535, PROBABILITY, atol=0.51 / 65535)


def test_a_pixel_is_vessel_from_the_threshold_on(tmp_path: Path) -> None:
    _write(tmp_path, np.array([[0.2, 0.4, 0.6]], np.float32), threshold=np.float32(0.4))
    np.testing.assert_array_equal(_read(tmp_path / "one.png"), [[0, 255, 255]])


def test_a_row_tells_size_share_and_the_frame_from_1(tmp_path: Path) -> None:
    row = _write(tmp_path, np.array([[0.9, 0.1, 0.1, 0.1]], np.float32), frame=6)
    assert row == SegmentedImage("one", "one.tif", rows=1, columns=4, frame=7, vessel_share=0.25, quality="")


@pytest.mark.parametrize(
    ("probability", "unfamiliar", "quality"),
    [(0.9, False, ""), (0.1, False, "NO_VESSELS"), (0.9, True, "UNFAMILIAR"), (0.1, True, "NO_VESSELS;UNFAMILIAR")],
)
def test_what_has_to_be_known_is_told_by_its_flags(
    tmp_path: Path, probability: float, unfamiliar: bool, quality: str
) -> None:
    assert _write(tmp_path, np.full((4, 4), probability, np.float32), unfamiliar=unfamiliar).quality == quality


def test_the_table_has_one_line_an_image_and_no_frame_where_there_was_none(tmp_path: Path) -> None:
    write_segmented(tmp_path, [_write(tmp_path), _write(tmp_path, frame=0)])
    with (tmp_path / "segment.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == ["", "1"]
    assert {row["rows"] for row in rows} == {"33"}
    assert list(rows[0]) == ["name", "file", "rows", "columns", "frame", "vessel_share", "quality"]


def test_a_table_of_no_image_has_its_heading(tmp_path: Path) -> None:
    write_segmented(tmp_path, [])
    assert (tmp_path / "segment.csv").read_text() == "name,file,rows,columns,frame,vessel_share,quality\n"
