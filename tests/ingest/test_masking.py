"""The mask that the file asks for, with frames counted from 0."""

from pydicom.dataset import Dataset

from angio_pipeline.core.runs import MaskOperation
from angio_pipeline.ingest.masking import mask_hint


def header(*operations: dict[str, object]) -> Dataset:
    ds = Dataset()
    ds.MaskSubtractionSequence = []
    for tags in operations:
        one = Dataset()
        for keyword, value in tags.items():
            setattr(one, keyword, value)
        ds.MaskSubtractionSequence.append(one)
    return ds


def test_average_mask_frames_count_from_zero_and_columns_of_a_shift_from_the_left() -> None:
    ds = header(
        {
            "MaskOperation": "AVG_SUB",
            "MaskFrameNumbers": [1, 2],
            "ApplicableFrameRange": [3, 8, 9, 10],
            "MaskSubPixelShift": [0.5, -1.25],
        }
    )
    hint = mask_hint(ds, 10)
    assert hint is not None
    assert hint.operation is MaskOperation.AVG_SUB
    assert hint.mask_frames == (0, 1)
    assert hint.applicable == ((2, 7), (8, 9))
    assert [(s.first, s.last, s.shift_px) for s in hint.sub_pixel_shifts] == [
        (2, 7, (0.5, 1.25)),
        (8, 9, (0.5, 1.25)),
    ]


def test_time_differences_carry_their_offset() -> None:
    for name in ("TID", "REV_TID"):
        hint = mask_hint(header({"MaskOperation": name, "TIDOffset": 3}), 10)
        assert hint is not None
        assert (hint.operation, hint.tid_offset) == (MaskOperation(name), 3)


def test_the_offset_of_a_time_difference_is_one_unless_given() -> None:
    hint = mask_hint(header({"MaskOperation": "TID"}), 10)
    assert hint is not None
    assert hint.tid_offset == 1


def test_no_sequence_is_no_hint_and_none_is_a_hint_of_none() -> None:
    assert mask_hint(Dataset(), 10) is None
    hint = mask_hint(header({"MaskOperation": "NONE", "MaskFrameNumbers": 0}), 10)
    assert hint is not None
    assert hint.operation is MaskOperation.NONE
    assert hint.mask_frames == ()


def test_the_first_operation_that_does_something_counts() -> None:
    ds = header({"MaskOperation": "NONE"}, {"MaskOperation": "AVG_SUB", "MaskFrameNumbers": 2})
    hint = mask_hint(ds, 10)
    assert hint is not None
    assert hint.mask_frames == (1,)


def test_mask_frames_outside_the_run_are_dropped_and_an_empty_average_is_none() -> None:
    hint = mask_hint(header({"MaskOperation": "AVG_SUB", "MaskFrameNumbers": [0, 3, 99]}), 10)
    assert hint is not None
    assert hint.mask_frames == (2,)
    empty = mask_hint(header({"MaskOperation": "AVG_SUB", "MaskFrameNumbers": [99]}), 10)
    assert empty is not None
    assert empty.operation is MaskOperation.NONE


def test_an_unknown_operation_is_none() -> None:
    hint = mask_hint(header({"MaskOperation": "MAGIC"}), 10)
    assert hint is not None
    assert hint.operation is MaskOperation.NONE


def test_every_averaging_operation_may_shift_the_mask_for_its_own_frames() -> None:
    first = {"MaskOperation": "AVG_SUB", "MaskFrameNumbers": 1, "MaskSubPixelShift": [1.0, 0.0]}
    ds = header(
        first | {"ApplicableFrameRange": [2, 5]},
        first | {"ApplicableFrameRange": [6, 10], "MaskSubPixelShift": [0.0, 2.5]},
    )
    hint = mask_hint(ds, 10)
    assert hint is not None
    shifts = hint.shifts_px(10)
    assert shifts[0].tolist() == [0, 0]
    assert shifts[4].tolist() == [1.0, 0]
    assert shifts[9].tolist() == [0, -2.5]


def test_a_shift_without_a_range_is_for_all_frames_and_half_a_shift_is_none() -> None:
    hint = mask_hint(header({"MaskOperation": "AVG_SUB", "MaskFrameNumbers": 1, "MaskSubPixelShift": [0.5, 0.5]}), 4)
    assert hint is not None
    assert (hint.shifts_px(4) == [0.5, -0.5]).all()
    hint = mask_hint(header({"MaskOperation": "AVG_SUB", "MaskFrameNumbers": 1, "MaskSubPixelShift": [0.5]}), 4)
    assert hint is not None
    assert hint.sub_pixel_shifts == ()


def test_a_shift_of_another_mask_is_not_that_of_the_first() -> None:
    ds = header(
        {"MaskOperation": "AVG_SUB", "MaskFrameNumbers": 1},
        {"MaskOperation": "AVG_SUB", "MaskFrameNumbers": 9, "MaskSubPixelShift": [3.0, 0.0]},
    )
    hint = mask_hint(ds, 10)
    assert hint is not None
    assert hint.sub_pixel_shifts == ()
