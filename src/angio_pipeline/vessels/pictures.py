"""A run as a network sees it: what each pixel does over time, and what anatomy lies beneath, at one size.

Strategy: contrast passes once, so a run is told by few pictures. Frames are averaged in windows that are
counted from the onset of contrast, narrow while arteries fill and wide later on; beside them stand the
arterial phase, the reference frame, the run's end and its mean, the maps of the passage, the anatomy that was
subtracted (catheter and coils show in it, and so do the edges that motion leaves), how restless each pixel
is, and how far it stands out of the noise. All are made at one working size, about as many pixels across as
the network was trained on. Nothing is scaled by the picture itself: the same contrast gives the same
numbers in every run.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Background, PerfusionMaps, SubtractedRun
from angio_pipeline.numerics.filters import gaussian, masked_gaussian, resize

__all__ = ["CHANNELS", "MOMENTS_S", "WORKING_PX", "RunPictures", "picture_run", "working_shape"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

WORKING_PX = 512
# Middles of the windows, seconds after onset; each reaches to its neighbours' middles.
MOMENTS_S = (0.3, 0.8, 1.4, 2.2, 3.2, 4.6, 6.5, 9.0)
CHANNELS = (
    *(f"contrast_{moment:g}_s" for moment in MOMENTS_S),
    "arterial",
    "reference",
    "last",
    "mean",
    "arrival",
    "time_to_peak",
    "timed",
    "anatomy",
    "restless",
    "over_noise",
    "valid",
)

# What counts as one in each kind of channel: attenuation of a middling branch, of a catheter's edge, seconds.
_CONTRAST, _ANATOMY, _RESTLESS, _SECONDS, _NOISES = 0.1, 0.05, 0.02, 4.0, 6.0
_ANATOMY_PX = 12.0
_LONGEST = 8
_SMOOTHING_PX = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class RunPictures:
    """Channels (C, h, w) float32 in the order of `CHANNELS`, at the working size of a run of `shape` (H, W)."""

    channels: FloatArray
    shape: tuple[int, int]


def working_shape(shape: tuple[int, int], working_px: int = WORKING_PX) -> tuple[int, int]:
    """Return rows and columns at which the shorter side has `working_px` pixels, the longer at most 8 times as many."""
    # A strip is not blown up without end.
    scale = min(working_px / min(shape), _LONGEST * working_px / max(shape))
    rows, columns = (max(1, round(side * scale)) for side in shape)
    return rows, columns


def picture_run(sub: SubtractedRun, maps: PerfusionMaps) -> RunPictures:
    """Return the pictures of a run; what is not known or not valid is 0."""
    rows, columns = sub.frames.shape[1:]
    size = working_shape((rows, columns))
    usable = np.flatnonzero(sub.usable)
    frames = np.stack([_resized(sub.frames[t], size) for t in usable])
    times = sub.times_s[usable] - sub.times_s[maps.phases.arterial.first]
    valid = _resized(sub.valid.astype(np.float32), size) > 0.999
    arterial = _arterial(frames, usable, sub, maps)
    timed = sub.timing_measurable and Quality.TIMES_UNKNOWN not in sub.quality
    channels = [_squashed(picture, _CONTRAST) for picture in _moments(frames, times, timed=timed)]
    reference = _resized(sub.frames[sub.reference_frame], size)
    # Veins are fullest when the run ends, wherever that falls among the windows; a blush that is faint stands
    # out best in the mean of all frames.
    last, mean = frames[-2:].mean(axis=0), frames.mean(axis=0)
    channels += [_squashed(picture, _CONTRAST) for picture in (arterial, reference, last, mean)]
    channels += _times(sub, maps, size, timed=timed)
    channels.append(_squashed(_anatomy(sub, size, valid), _ANATOMY))
    channels.append(_squashed(_restlessness(frames), _RESTLESS))
    # A pixel of the working size averages those it covers, and their noise.
    noise_sd = max(sub.noise_sd * min(1.0, size[0] / rows), 1e-6)
    channels.append(_squashed(arterial / noise_sd, _NOISES))
    stack = np.stack(channels).astype(np.float32, copy=False)
    stack[:, ~valid] = 0
    return RunPictures(np.concatenate([stack, valid[None].astype(np.float32)]), (rows, columns))


def _resized(image: npt.NDArray[np.floating], size: tuple[int, int]) -> FloatArray:
    return np.asarray(image, dtype=np.float32) if image.shape == size else resize(image, size)


def _squashed(image: FloatArray, one: float) -> FloatArray:
    # About linear up to `one`, logarithmic beyond: faint branches and a full trunk in one range.
    return np.asarray(np.arcsinh(image * np.float32(1 / one)), dtype=np.float32)


def _moments(frames: FloatArray, times_s: npt.NDArray[np.float64], *, timed: bool) -> list[FloatArray]:
    """Return the mean contrast in each window after onset; zeros where no frame lies in it."""
    empty = np.zeros(frames.shape[1:], np.float32)
    if not timed:
        return [empty] * len(MOMENTS_S)
    ends = (-0.2, *MOMENTS_S, 2 * MOMENTS_S[-1])
    out = []
    for before, middle, after in zip(ends, ends[1:], ends[2:], strict=False):
        weight = np.interp(times_s, (before, middle, after), (0.0, 1.0, 0.0))
        chosen = weight > 0.02
        total = weight[chosen].sum()
        if not chosen.any():
            # Between two frames far apart the nearer one stands in, unless the run is over.
            nearest = int(np.argmin(np.abs(times_s - middle)))
            out.append(frames[nearest] if times_s[-1] > middle else empty)
            continue
        share = (weight[chosen] / total).astype(np.float32)
        out.append(np.tensordot(share, frames[chosen], axes=1))
    return out


def _arterial(frames: FloatArray, usable: npt.NDArray[np.intp], sub: SubtractedRun, maps: PerfusionMaps) -> FloatArray:
    first, last = maps.phases.arterial.first, maps.phases.arterial.last
    chosen = np.flatnonzero((usable >= first) & (usable <= last))
    if not len(chosen):
        chosen = np.flatnonzero(usable == sub.reference_frame) if sub.usable[sub.reference_frame] else np.array([0])
    if not sub.timing_measurable:
        return gaussian(frames[chosen].mean(axis=0), _SMOOTHING_PX)
    out = gaussian(frames[chosen[0]], _SMOOTHING_PX)
    for k in chosen[1:]:
        out = np.maximum(out, gaussian(frames[k], _SMOOTHING_PX))
    return out


def _times(sub: SubtractedRun, maps: PerfusionMaps, size: tuple[int, int], *, timed: bool) -> list[FloatArray]:
    """Return arrival and time to peak after onset, and where they are known."""
    onset = float(sub.times_s[maps.phases.arterial.first])
    out = []
    for image in (maps.arrival_s, maps.time_to_peak_s):
        # Times are not averaged: between an artery and the liver about it there is no time that means anything.
        chosen = image
        if image.shape != size:
            chosen = np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_NEAREST))
        known = np.isfinite(chosen) & timed
        late = np.where(known, chosen - onset, 0.0)
        out.append(np.clip(late / _SECONDS, -1, 3).astype(np.float32))
    return [*out, known.astype(np.float32)]


def _anatomy(sub: SubtractedRun, size: tuple[int, int], valid: BoolArray) -> FloatArray:
    """Return the fine structure of what was subtracted; nothing where the file came subtracted."""
    if sub.background is Background.ALREADY_SUBTRACTED:
        return np.zeros(size, np.float32)
    below = _resized(np.where(sub.valid, sub.attenuation - sub.frames[sub.reference_frame], 0), size)
    # A shutter's edge is no anatomy.
    return below - masked_gaussian(below, valid, _ANATOMY_PX)


def _restlessness(frames: FloatArray) -> FloatArray:
    """Return the root-mean-square of each pixel's second difference over time: noise, and what motion left."""
    if len(frames) < 3:
        return np.zeros(frames.shape[1:], np.float32)
    total = np.zeros(frames.shape[1:], np.float32)
    for k in range(1, len(frames) - 1):
        bend = frames[k] - 0.5 * (frames[k - 1] + frames[k + 1])
        total += bend * bend
    return np.sqrt(total / (len(frames) - 2))
