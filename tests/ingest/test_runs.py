"""A run means the same whatever way its file stores it: brighter is more X-rays, in the right quantity."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from angio_pipeline import ingest
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.geometry import SpacingPlane
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import AngioRun, MaskOperation, Quantity

Read = Callable[[Path], Any]
Stored = npt.NDArray[np.uint16]


@pytest.fixture
def stored() -> Stored:
    return np.random.default_rng(7).integers(1000, 4095, (4, 32, 48)).astype(np.uint16)


@pytest.mark.parametrize(
    ("relationship", "quantity", "flag"),
    [
        ("LIN", Quantity.INTENSITY, Quality.NONE),
        ("LOG", Quantity.LOG_INTENSITY, Quality.NONE),
        ("DISP", Quantity.STORED, Quality.DISPLAY_VALUES),
        ("OTHER", Quantity.STORED, Quality.DISPLAY_VALUES),
        (None, Quantity.STORED, Quality.DISPLAY_VALUES),
    ],
)
def test_the_relationship_names_the_quantity(
    dicom: Any, read_one: Read, stored: Stored, relationship: str | None, quantity: Quantity, flag: Quality
) -> None:
    run = read_one(dicom.run(pixels=stored, PixelIntensityRelationship=relationship))
    assert run.quantity is quantity
    assert (run.quality & Quality.DISPLAY_VALUES) == flag
    assert np.array_equal(run.frames, stored)
    assert run.white_level == 4095


def test_inverted_storage_reads_as_the_same_run(dicom: Any, read_one: Read, stored: Stored) -> None:
    plain: AngioRun = read_one(dicom.run("plain.dcm", stored))
    turned = (4095 - stored).astype(np.uint16)
    for index, tags in enumerate(
        (
            {"PhotometricInterpretation": "MONOCHROME1"},
            {"PhotometricInterpretation": "MONOCHROME1", "PixelIntensityRelationshipSign": -1},
            {"PhotometricInterpretation": "MONOCHROME2", "PixelIntensityRelationshipSign": -1},
        )
    ):
        run: AngioRun = read_one(dicom.run(f"{index}.dcm", turned, **tags))
        assert np.array_equal(run.frames, plain.frames)
        assert run.white_level == plain.white_level


def test_the_sign_beats_the_photometric_interpretation_and_the_contradiction_is_flagged(
    dicom: Any, read_one: Read, stored: Stored
) -> None:
    run = read_one(dicom.run(pixels=stored, PhotometricInterpretation="MONOCHROME1", PixelIntensityRelationshipSign=1))
    assert np.array_equal(run.frames, stored)
    assert Quality.PHOTOMETRIC_ASSUMED in run.quality


def test_rescale_is_applied_and_a_falling_one_keeps_brighter_meaning_more(
    dicom: Any, read_one: Read, stored: Stored
) -> None:
    rising = read_one(dicom.run("a.dcm", stored, RescaleSlope="2", RescaleIntercept="10"))
    assert np.array_equal(rising.frames, 2.0 * stored + 10)
    assert rising.white_level == 2 * 4095 + 10
    falling = read_one(
        dicom.run("b.dcm", stored, RescaleSlope="-1", RescaleIntercept="4095", PixelIntensityRelationshipSign=-1)
    )
    assert np.array_equal(falling.frames, 4095.0 - stored)


def test_a_table_back_to_linear_turns_log_into_intensity(dicom: Any, read_one: Read, stored: Stored) -> None:
    table = np.round(np.exp(np.arange(4096) / 400)).astype(np.uint16)
    lut = Dataset()
    lut.LUTDescriptor, lut.ModalityLUTType = [4096, 0, 16], "US"
    lut.LUTData = table.tobytes()
    lut["LUTData"].VR = "OW"
    run = read_one(dicom.run(pixels=stored, PixelIntensityRelationship="LOG", ModalityLUTSequence=[lut]))
    assert run.quantity is Quantity.INTENSITY
    assert np.array_equal(run.frames, table[stored])
    assert run.white_level == table[-1]


def test_a_table_that_is_not_monotone_is_not_used(dicom: Any, read_one: Read, stored: Stored) -> None:
    lut = Dataset()
    lut.LUTDescriptor, lut.ModalityLUTType = [4, 0, 16], "US"
    lut.LUTData = np.array([0, 5, 3, 9], dtype=np.uint16).tobytes()
    lut["LUTData"].VR = "OW"
    run = read_one(dicom.run(pixels=stored, PixelIntensityRelationship="LOG", ModalityLUTSequence=[lut]))
    assert run.quantity is Quantity.LOG_INTENSITY


def test_signed_pixels_keep_their_sign(dicom: Any, read_one: Read) -> None:
    values = np.random.default_rng(3).integers(-2048, 2047, (3, 20, 22)).astype(np.int16)
    run = read_one(dicom.run(pixels=values))
    assert np.array_equal(run.frames, values)
    assert run.white_level == 2047


def test_a_sign_bit_below_the_top_of_the_word_is_extended(dicom: Any, read_one: Read) -> None:
    values = np.random.default_rng(3).integers(-2048, 2047, (3, 20, 22)).astype(np.int16)
    word = (values & 0x0FFF).astype(np.uint16)
    run = read_one(dicom.run(pixels=word, PixelRepresentation=1))
    assert np.array_equal(run.frames, values)


def test_a_high_bit_above_the_stored_bits_shifts_the_value_down(dicom: Any, read_one: Read, stored: Stored) -> None:
    run = read_one(dicom.run(pixels=(stored << 4).astype(np.uint16), BitsStored=12, HighBit=15))
    assert np.array_equal(run.frames, stored)


def test_an_overlay_in_the_unused_bits_leaves_no_trace(dicom: Any, read_one: Read, stored: Stored) -> None:
    drawn = stored.copy()
    drawn[:, 5:9, 5:30] |= 1 << 12
    path = dicom.run("overlay.dcm", drawn)
    run = read_one(path)
    assert np.array_equal(run.frames, stored)
    assert run.valid.all()


def test_an_overlay_within_the_stored_bits_is_left_out_of_the_valid_area(dicom: Any, look: Any) -> None:
    values = np.random.default_rng(3).integers(0, 2047, (3, 40, 40)).astype(np.uint16)
    values[:, 5:9, 5:30] |= 1 << 11
    ds_path = dicom.run(pixels=values)
    import pydicom

    ds = pydicom.dcmread(ds_path)
    ds.add_new((0x6000, 0x0102), "US", 11)
    ds.save_as(ds_path)
    run = ingest.read_run(look(ds_path).runs[0])
    assert not run.valid[5:9, 5:30].any()
    assert run.valid[20:].all()


def test_padding_is_not_valid(dicom: Any, read_one: Read, stored: Stored) -> None:
    stored[:, :, :6] = 0
    stored[2, 10, 20] = 0
    run = read_one(dicom.run(pixels=stored, PixelPaddingValue=0))
    assert not run.valid[:, :6].any()
    assert not run.valid[10, 20]
    assert np.isfinite(run.frames).all()


def test_eight_bits_and_declared_loss_are_flagged(dicom: Any, read_one: Read) -> None:
    values = np.random.default_rng(3).integers(60, 250, (3, 20, 21)).astype(np.uint8)
    run = read_one(dicom.run(pixels=values, LossyImageCompression="01"))
    assert np.array_equal(run.frames, values)
    assert Quality.EIGHT_BIT in run.quality
    assert Quality.LOSSY_COMPRESSION in run.quality


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("shape", [(3, 20, 22), (3, 5, 7)])
def test_every_byte_order_reads_as_the_same_run(
    dicom: Any, read_one: Read, syntax: str, shape: tuple[int, ...]
) -> None:
    values = np.random.default_rng(5).integers(100, 4095, shape).astype(np.uint16)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = dicom.run(pixels=values, syntax=syntax)
    assert np.array_equal(read_one(path).frames, values)


def test_a_deflated_file_reads_as_the_same_run(dicom: Any, read_one: Read, stored: Stored) -> None:
    path = dicom.run(pixels=stored, syntax="1.2.840.10008.1.2.1.99")
    assert np.array_equal(read_one(path).frames, stored)


@pytest.mark.parametrize(
    "tags",
    [
        {"ImageType": ["DERIVED", "PRIMARY", "SINGLE PLANE", "SUBTRACTED"]},
        {"ImageType": ["DERIVED", "PRIMARY", "SINGLE PLANE", "", "DSA"]},
        {"DerivationDescription": "Digital subtraction with mask frame 1"},
    ],
)
def test_header_evidence_of_subtraction(dicom: Any, read_one: Read, tags: dict[str, Any]) -> None:
    run = read_one(dicom.run(**tags))
    assert run.already_subtracted
    assert Quality.ALREADY_SUBTRACTED in run.quality


@pytest.mark.parametrize(
    "tags",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "SINGLE PLANE", "UNSUBTRACTED"]},
        {"DerivationDescription": "Not subtracted, window applied"},
        {"RecommendedViewingMode": "SUB"},
        {"ImageType": ["DERIVED", "PRIMARY", "SINGLE PLANE"], "DerivationDescription": "no subtraction"},
    ],
)
def test_what_only_speaks_of_subtraction_is_no_evidence(dicom: Any, read_one: Read, tags: dict[str, Any]) -> None:
    assert not read_one(dicom.run(**tags)).already_subtracted


def test_geometry_timing_and_source_reach_the_run(dicom: Any, read_one: Read, stored: Stored) -> None:
    mask = Dataset()
    mask.MaskOperation, mask.MaskFrameNumbers = "AVG_SUB", [1]
    path = dicom.run(
        pixels=stored,
        ImagerPixelSpacing=[0.3, 0.3],
        DistanceSourceToDetector=1200,
        DistanceSourceToPatient=800,
        PositionerPrimaryAngle=-30,
        PositionerSecondaryAngle=10,
        MaskSubtractionSequence=[mask],
        FrameIncrementPointer=0x00181065,
        FrameTimeVector=[0, 133, 133, 500],
        AcquisitionDate="20260103",
        AcquisitionTime="101113.5",
    )
    run: AngioRun = read_one(path)
    assert run.spacing is not None
    assert run.spacing.plane is SpacingPlane.ISOCENTRE
    assert Quality.NOT_CALIBRATED not in run.quality
    assert run.pose is not None
    assert (run.pose.primary_deg, run.pose.secondary_deg) == (-30, 10)
    assert run.mask_hint is not None
    assert run.mask_hint.operation is MaskOperation.AVG_SUB
    assert run.times_s == pytest.approx([0, 0.133, 0.266, 0.766])
    assert run.source.date == "20260103"
    assert run.source.acquired == datetime(2026, 1, 3, 10, 11, 13, 500000)
    assert run.source.description == "S3 I1"
    assert run.provenance.operations[0].arguments["times"] == "FrameTimeVector"


def test_nothing_of_the_patient_reaches_the_source(dicom: Any, read_one: Read) -> None:
    run = read_one(dicom.run(SeriesDescription="SECRET PATIENT series"))
    shown = repr((run.source, run.provenance, ingest.series_folder(run.source)))
    for word in ("SECRET", "MRN", "0042", "1950"):
        assert word not in shown


def test_enhanced_xa_reads_like_a_classic_run(dicom: Any, read_one: Read, stored: Stored) -> None:
    groups = []
    for index in range(len(stored)):
        content, group = Dataset(), Dataset()
        content.FrameAcquisitionDateTime = f"202601021011{12 + index:02d}.5"
        group.FrameContentSequence = [content]
        groups.append(group)
    properties, shared = Dataset(), Dataset()
    properties.ImagerPixelSpacing = [0.3, 0.3]
    shared.FramePixelDataPropertiesSequence = [properties]
    path = dicom.run(
        pixels=stored,
        sop_class="1.2.840.10008.5.1.4.1.1.12.1.1",
        FrameTime=None,
        FrameIncrementPointer=None,
        PerFrameFunctionalGroupsSequence=groups,
        SharedFunctionalGroupsSequence=[shared],
    )
    run: AngioRun = read_one(path)
    assert np.array_equal(run.frames, stored)
    assert run.times_s == pytest.approx([0, 1, 2, 3])
    assert run.spacing is not None
    assert run.spacing.plane is SpacingPlane.DETECTOR
    assert Quality.NOT_CALIBRATED in run.quality


def test_broken_timing_refuses_the_run_when_it_is_read(dicom: Any, look: Any) -> None:
    found = look(dicom.run(FrameTime=None, FrameIncrementPointer=0x00181065, FrameTimeVector=[0, 100, -100, 100]))
    with pytest.raises(InputRefused, match="Check FrameTimeVector"):
        ingest.read_run(found.runs[0])


@pytest.mark.parametrize(
    ("modality", "sop_class"), [("RF", "1.2.840.10008.5.1.4.1.1.12.2"), ("XA", "1.2.840.10008.5.1.4.1.1.7.3")]
)
def test_fluoroscopy_and_captured_angiography_are_runs(
    dicom: Any, read_one: Read, modality: str, sop_class: str
) -> None:
    assert read_one(dicom.run(modality=modality, sop_class=sop_class)).shape == (4, 32, 48)
