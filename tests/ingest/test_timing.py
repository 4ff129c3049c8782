"""Frame times come from the file, or are said to be unknown."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.quality import Quality
from angio_pipeline.ingest.timing import frame_times

FRAME_TIME, VECTOR = 0x00181063, 0x00181065


def header(**tags: object) -> Dataset:
    ds = Dataset()
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def enhanced(keyword: str, moments: list[str]) -> Dataset:
    groups = []
    for moment in moments:
        group = Dataset()
        group.FrameContentSequence = [header(**{keyword: moment})]
        groups.append(group)
    return header(PerFrameFunctionalGroupsSequence=groups)


def test_frame_time_is_the_constant_step_in_milliseconds() -> None:
    times = frame_times(header(FrameIncrementPointer=FRAME_TIME, FrameTime=250), 4)
    assert times.times_s == pytest.approx([0, 0.25, 0.5, 0.75])
    assert times.quality == Quality.NONE


def test_frame_time_vector_holds_the_steps_whatever_its_first_entry() -> None:
    for first in (0, 40):
        times = frame_times(header(FrameIncrementPointer=VECTOR, FrameTimeVector=[first, 133, 133, 500]), 4)
        assert times.times_s == pytest.approx([0, 0.133, 0.266, 0.766])


def test_the_pointer_chooses_between_constant_and_vector() -> None:
    both = {"FrameTime": 100, "FrameTimeVector": [0, 500, 500]}
    assert frame_times(header(FrameIncrementPointer=FRAME_TIME, **both), 3).times_s[-1] == pytest.approx(0.2)
    assert frame_times(header(FrameIncrementPointer=VECTOR, **both), 3).times_s[-1] == pytest.approx(1.0)


def test_a_pointer_may_name_several_elements() -> None:
    ds = header(FrameIncrementPointer=[FRAME_TIME, 0x00540010], FrameTime=100, FrameTimeVector=[0, 500, 500])
    assert frame_times(ds, 3).times_s[-1] == pytest.approx(0.2)


def test_a_vector_that_the_pointer_does_not_name_is_not_believed() -> None:
    ds = header(FrameIncrementPointer=FRAME_TIME, FrameTime=100, FrameTimeVector=[0, -1, 0])
    assert frame_times(ds, 5).times_s[-1] == pytest.approx(0.4)


def test_without_a_pointer_the_vector_beats_the_constant() -> None:
    times = frame_times(header(FrameTime=100, FrameTimeVector=[0, 500, 500]), 3)
    assert times.how == "FrameTimeVector"


@pytest.mark.parametrize("keyword", ["FrameAcquisitionDateTime", "FrameReferenceDateTime"])
def test_enhanced_frames_carry_their_own_times(keyword: str) -> None:
    ds = enhanced(keyword, ["20260102235959.500000", "20260103000000.250000", "20260103000002.0"])
    assert frame_times(ds, 3).times_s == pytest.approx([0, 0.75, 2.5])


def test_one_moment_for_all_frames_is_no_time() -> None:
    ds = enhanced("FrameAcquisitionDateTime", ["20260102120000"] * 3)
    assert Quality.TIMES_UNKNOWN in frame_times(ds, 3).quality


def test_absent_times_are_frame_numbers_and_flagged() -> None:
    times = frame_times(header(), 5)
    assert np.array_equal(times.times_s, np.arange(5))
    assert times.quality == Quality.TIMES_UNKNOWN


@pytest.mark.parametrize("keyword", ["CineRate", "RecommendedDisplayFrameRate"])
def test_a_display_rate_is_used_and_flagged(keyword: str) -> None:
    times = frame_times(header(**{keyword: "4"}), 3)
    assert times.times_s == pytest.approx([0, 0.25, 0.5])
    assert times.quality == Quality.TIMES_FROM_DISPLAY_RATE


@pytest.mark.parametrize("step", [0, -33, 0.01])
def test_an_impossible_frame_time_is_no_time(step: float) -> None:
    assert Quality.TIMES_UNKNOWN in frame_times(header(FrameTime=step), 3).quality


def test_a_vector_that_goes_back_is_refused_by_frame_and_amount() -> None:
    ds = header(FrameTimeVector=[0, *[500] * 13, -200, 500])
    with pytest.raises(InputRefused, match=r"frame 14 is 0\.20 s before frame 13\. Check FrameTimeVector") as caught:
        frame_times(ds, 16)
    assert caught.value.reason == "bad_timing"


def test_a_vector_that_stands_still_is_refused() -> None:
    with pytest.raises(InputRefused, match=r"frame 2 is 0\.00 s before frame 1"):
        frame_times(header(FrameTimeVector=[0, 500, 0]), 3)


@pytest.mark.parametrize("length", [2, 4])
def test_a_vector_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(InputRefused, match=f"found {length} for 3 frames"):
        frame_times(header(FrameTimeVector=[500] * length), 3)


def test_enhanced_times_that_go_back_are_refused() -> None:
    ds = enhanced("FrameAcquisitionDateTime", ["20260102120001", "20260102120000"])
    with pytest.raises(InputRefused, match="Check FrameAcquisitionDateTime"):
        frame_times(ds, 2)
