"""When each frame was taken, from whatever the file offers, and how far that can be trusted.

Order of trust: each frame's own date and time (enhanced objects), the vector or the constant
that the Frame Increment Pointer names, the one it does not name, a display rate (flagged), and
last the frame's number (flagged): no rate is ever assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.quality import Quality
from angio_pipeline.ingest.dates import parse_datetime
from angio_pipeline.ingest.headers import find_in_groups, integer, items, number, numbers

__all__ = ["FrameTimes", "frame_times"]

_FRAME_TIME, _FRAME_TIME_VECTOR = 0x00181063, 0x00181065
_SHORTEST_MS = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class FrameTimes:
    """Start of each frame: (T,) float64 seconds from the first, and where that came from."""

    times_s: npt.NDArray[np.float64]
    how: str
    quality: Quality = Quality.NONE


def frame_times(dataset: Dataset, frames: int) -> FrameTimes:
    """Return the start of each frame in seconds; frame numbers, flagged, where the file tells no times.

    Raises
    ------
    InputRefused
        `bad_timing`: the times do not increase, or are not one a frame.
    """
    per_frame = _from_functional_groups(dataset, frames)
    if per_frame is not None:
        return per_frame
    tags = {int(tag) for tag in numbers(dataset, "FrameIncrementPointer")}
    readers = [_from_vector, _from_constant]
    if _FRAME_TIME in tags and _FRAME_TIME_VECTOR not in tags:
        readers.reverse()
    for reader in readers:
        found = reader(dataset, frames)
        if found is not None:
            return found
    return _from_display_rate(dataset, frames) or FrameTimes(
        np.arange(frames, dtype=np.float64), "frame numbers", Quality.TIMES_UNKNOWN
    )


def _from_functional_groups(dataset: Dataset, frames: int) -> FrameTimes | None:
    groups = items(dataset, "PerFrameFunctionalGroupsSequence")
    if not groups:
        return None
    for keyword in ("FrameAcquisitionDateTime", "FrameReferenceDateTime"):
        moments = [parse_datetime(find_in_groups(group, keyword)) for group in groups]
        known = [moment for moment in moments if moment is not None]
        if len(known) == frames == len(moments):
            seconds = np.array([(moment - known[0]).total_seconds() for moment in known])
            if frames > 1 and not np.ptp(seconds):
                continue  # one date and time for the whole run tells no frame's time
            _check_increasing(seconds, keyword)
            return FrameTimes(seconds, keyword)
    return None


def _from_vector(dataset: Dataset, frames: int) -> FrameTimes | None:
    steps_ms = numbers(dataset, "FrameTimeVector")
    if not steps_ms:
        return None
    if len(steps_ms) != frames:
        raise InputRefused(
            f"Expected one FrameTimeVector entry a frame, found {len(steps_ms)} for {frames} frames. "
            "Check FrameTimeVector.",
            reason="bad_timing",
        )
    times = np.cumsum(np.asarray(steps_ms, dtype=np.float64)) / 1000.0
    times -= times[0]
    _check_increasing(times, "FrameTimeVector")
    return FrameTimes(times, "FrameTimeVector")


def _from_constant(dataset: Dataset, frames: int) -> FrameTimes | None:
    step_ms = number(dataset, "FrameTime")
    if step_ms is None or step_ms < _SHORTEST_MS:
        return None
    return FrameTimes(np.arange(frames, dtype=np.float64) * (step_ms / 1000.0), "FrameTime")


def _from_display_rate(dataset: Dataset, frames: int) -> FrameTimes | None:
    for keyword in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = integer(dataset, keyword)
        if rate is not None and 0 < rate <= 1000:
            return FrameTimes(
                np.arange(frames, dtype=np.float64) * (1.0 / rate), keyword, Quality.TIMES_FROM_DISPLAY_RATE
            )
    return None


def _check_increasing(times_s: npt.NDArray[np.float64], keyword: str) -> None:
    steps = np.diff(times_s)
    if (steps > 0).all():
        return
    frame = int(np.argmax(steps <= 0)) + 1
    raise InputRefused(
        f"Expected times_s to increase; frame {frame} is {abs(steps[frame - 1]):.2f} s before frame {frame - 1}. "
        f"Check {keyword}.",
        reason="bad_timing",
    )
