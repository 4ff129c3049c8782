"""Damaged files and copies: nothing that was cut short leaves as if it were whole, and no whole file is lost to one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless, RLELossless

from angio_pipeline.ingest.deidentification import Keyed, Option, find_tasks, read_profile
from angio_pipeline.ingest.pseudonym import read_key

Plan = Callable[..., tuple[list[str], dict[str, str]]]
CT, SEG, RTSTRUCT = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "66.4", "481.3"))
REPORT, STATE = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.11.1"


@pytest.fixture
def plan(dicom: Any, tmp_path: Path) -> Plan:
    """The names of the files that are copied, and the reason of each that is not."""

    def planned() -> tuple[list[str], dict[str, str]]:
        chosen = read_profile(extra=[Option.CLEAN_STRUCTURED])
        keyed = Keyed(read_key(), chosen.weeks)
        tasks, refusals, _ = find_tasks([dicom.folder], chosen, keyed=keyed, workspace=tmp_path / "w", numbers={})
        return sorted(task.path.name for task in tasks), {Path(r.path).name: r.reason for r in refusals}

    return planned


def cut(path: Path, share: float, name: str = "cut.dcm") -> Path:
    """A file beside another that holds the first part of it."""
    content = path.read_bytes()
    target = path.with_name(name)
    target.write_bytes(content[: int(len(content) * share)])
    return target


def frames() -> npt.NDArray[np.uint16]:
    return np.random.default_rng(5).integers(0, 4096, (4, 40, 48)).astype(np.uint16)


@pytest.mark.parametrize(
    "coded", [{}, {"syntax": JPEGLSLossless, "encode": imagecodecs.jpegls_encode}], ids=["plain", "JPEG-LS"]
)
def test_the_whole_file_of_an_object_is_copied_and_its_stumps_are_refused(
    dicom: Any, plan: Plan, coded: dict[str, Any]
) -> None:
    good = dicom.run("good.dcm", frames(), **coded)
    (dicom.folder / "cut-header.dcm").write_bytes(good.read_bytes()[:500])
    cut(good, 0.6)
    assert plan() == (["good.dcm"], {"cut-header.dcm": "no_pixel_data", "cut.dcm": "truncated"})


def test_of_files_of_one_object_the_first_is_copied_and_the_others_are_compared_with_it(dicom: Any, plan: Plan) -> None:
    first = dicom.run("a.dcm", frames())
    cut(first, 1, "b.dcm")
    other = pydicom.dcmread(first)
    other.SeriesNumber = 7
    other.save_as(dicom.folder / "c.dcm")
    assert plan() == (["a.dcm"], {"b.dcm": "duplicate", "c.dcm": "conflicting_duplicate"})


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize(
    "coded",
    [{}, {"syntax": JPEGLSLossless, "encode": imagecodecs.jpegls_encode}],
    ids=["plain", "JPEG-LS"],
)
def test_a_run_that_is_cut_anywhere_in_its_pixels_is_refused_and_its_neighbour_copied(
    dicom: Any, plan: Plan, coded: dict[str, Any], share: float
) -> None:
    dicom.run("neighbour.dcm", frames(), **coded)
    whole = dicom.run("whole.dcm", frames(), **coded)
    cut(whole, share)
    whole.unlink()
    assert plan() == (["neighbour.dcm"], {"cut.dcm": "truncated"})


def test_frames_of_several_fragments_that_end_at_a_fragment_are_refused(dicom: Any, plan: Plan) -> None:
    path = dicom.run("whole.dcm", frames(), syntax=JPEGLSLossless, encode=imagecodecs.jpegls_encode)
    ds = pydicom.dcmread(path)
    ds.PixelData = encapsulate([imagecodecs.jpegls_encode(one) for one in frames()], fragments_per_frame=3)
    ds["PixelData"].is_undefined_length = True
    ds.save_as(path)
    content = path.read_bytes()
    last = content.rfind(b"\xfe\xff\x00\xe0")
    (dicom.folder / "cut.dcm").write_bytes(content[:last])
    assert content[:last].count(b"\xfe\xff\x00\xe0") > 4  # still more fragments than frames
    assert plan() == (["whole.dcm"], {"cut.dcm": "truncated"})


def test_a_slice_without_its_last_third_is_refused(dicom: Any, plan: Plan) -> None:
    slices = [dicom.ct_slice(f"{k}.dcm", (0, 0, k), np.zeros((64, 64), int)) for k in range(3)]
    cut(slices[1], 2 / 3, "1.dcm")
    assert plan() == (["0.dcm", "2.dcm"], {"1.dcm": "truncated"})


def test_a_colour_picture_is_judged_by_all_of_its_samples(dicom: Any, plan: Plan) -> None:
    pixels = np.zeros((30, 40 * 3), np.uint8)
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "Columns": 40}
    dicom.film("whole.dcm", pixels, sop_class="1.2.840.10008.5.1.4.1.1.7", modality="OT", **colour)
    cut(dicom.film("b.dcm", pixels, sop_class="1.2.840.10008.5.1.4.1.1.7", modality="OT", **colour), 0.6, "b.dcm")
    assert plan() == (["whole.dcm"], {"b.dcm": "truncated"})


def test_packed_bits_of_a_segmentation_are_enough_and_one_without_pixels_is_refused(dicom: Any, plan: Plan) -> None:
    for name, held in (("whole.dcm", 4 * 9 * 9), ("none.dcm", None), ("cut.dcm", 160)):
        ds = dicom.base(SEG, "SEG")
        ds.Rows, ds.Columns, ds.NumberOfFrames, ds.BitsAllocated, ds.SamplesPerPixel = 9, 9, 4, 1, 1
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation, ds.PhotometricInterpretation = 1, 0, 0, "MONOCHROME2"
        if held is not None:
            ds.PixelData = bytes((held + 7) // 8 + (held + 7) // 8 % 2)
            ds["PixelData"].VR = "OB"
        dicom.save(ds, name)
    assert plan() == (["whole.dcm"], {"none.dcm": "no_pixel_data", "cut.dcm": "truncated"})


def contours(dicom: Any, sop_class: str, modality: str) -> Dataset:
    ds = dicom.base(sop_class, modality)
    item = Dataset()
    item.ValueType, item.TextValue = "TEXT", "lesion in the liver " * 40
    ds.ContentSequence = [item] * 3
    return ds


@pytest.mark.parametrize(
    ("sop_class", "modality"), [(REPORT, "SR"), (STATE, "PR"), (RTSTRUCT, "RTSTRUCT")], ids=["SR", "PR", "RTSTRUCT"]
)
def test_objects_that_have_no_pixels_are_copied_when_they_are_whole(
    dicom: Any, plan: Plan, sop_class: str, modality: str
) -> None:
    whole = dicom.save(contours(dicom, sop_class, modality), "whole.dcm")
    cut(whole, 0.7)
    assert plan() == (["whole.dcm"], {"cut.dcm": "truncated"})


def test_compression_that_no_decoder_is_asked_for_is_copied_as_before(dicom: Any, plan: Plan) -> None:
    dicom.run("rle.dcm", frames(), syntax=RLELossless, encode=lambda frame: frame.tobytes())
    assert plan() == (["rle.dcm"], {})
