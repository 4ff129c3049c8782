"""Angiographic runs: as acquired, subtracted, and as maps of perfusion.

Arrays are (T, H, W); points are (row, col); after linearisation contrast is positive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.arrays import frozen_array
from angio_pipeline.core.geometry import CArmPose, PixelSpacing
from angio_pipeline.core.provenance import Provenance, Source
from angio_pipeline.core.quality import Quality

__all__ = [
    "AngioRun",
    "Background",
    "Correction",
    "FrameShift",
    "MaskHint",
    "MaskOperation",
    "MotionReport",
    "PerfusionMaps",
    "PhaseRange",
    "Phases",
    "Quantity",
    "Stage",
    "SubtractedRun",
]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class Quantity(StrEnum):
    """What the numbers of a run mean.

    STORED rises with transmitted X-rays through an unknown monotone display transform (DISP);
    INTENSITY is proportional to transmitted X-rays (LIN); LOG_INTENSITY to their logarithm
    (LOG), up to an unknown scale; ATTENUATION is the negative natural logarithm of
    transmission: contrast is positive.
    """

    STORED = "stored"
    INTENSITY = "intensity"
    LOG_INTENSITY = "log_intensity"
    ATTENUATION = "attenuation"


class Stage(StrEnum):
    """What a file says of when a run was made: before embolisation or after it."""

    BEFORE = "before"
    AFTER = "after"


class MaskOperation(StrEnum):
    """Mask Operation (0028,6101) of the Mask Subtraction Sequence (PS3.3 C.7.6.10)."""

    NONE = "NONE"
    AVG_SUB = "AVG_SUB"
    TID = "TID"
    REV_TID = "REV_TID"


@dataclass(frozen=True, slots=True)
class FrameShift:
    """By how much the mask is moved, (row, col) pixels, for the frames from first to last, both included."""

    first: int
    last: int
    shift_px: tuple[float, float]


@dataclass(frozen=True, slots=True)
class MaskHint:
    """What the file's Mask Subtraction Sequence asks for; frame numbers are 0-based here.

    `sub_pixel_shifts` are of all averaging operations, the rest of the first that does something.
    """

    operation: MaskOperation
    mask_frames: tuple[int, ...] = ()
    applicable: tuple[tuple[int, int], ...] = ()
    tid_offset: int = 1
    sub_pixel_shifts: tuple[FrameShift, ...] = ()

    def shifts_px(self, frames: int) -> npt.NDArray[np.float64]:
        """Return the shift of the mask for each frame, (frames, 2); 0 where none is asked for."""
        out = np.zeros((frames, 2))
        for told in self.sub_pixel_shifts:
            out[told.first : told.last + 1] = told.shift_px
        return out


@dataclass(frozen=True, slots=True, eq=False)
class AngioRun:
    """One angiographic run as acquired.

    Attributes
    ----------
    frames : ndarray, (T, H, W) uint16 or float32
        Whole numbers as stored, or float32, finite everywhere; what the numbers mean is
        `quantity`. Photometric inversion has been undone: in STORED, INTENSITY and
        LOG_INTENSITY brighter means more X-rays. ATTENUATION is always float32.
    times_s : ndarray, (T,) float64
        Start of each frame, increasing, first is 0. Frame numbers when the flag
        TIMES_UNKNOWN is set.
    valid : ndarray, (H, W) bool
        False behind shutters, outside the detector, and under burnt-in graphics.
    already_subtracted : bool
        What the file's header says; `dsa` looks at the pixels as well.
    white_level : float or None
        The brightest value the storage can hold, for quantities that have one.
    broken : tuple of int
        Frames that are blank or wholly unlike the others and take part in nothing.
    """

    frames: FloatArray | npt.NDArray[np.uint16]
    times_s: npt.NDArray[np.float64]
    quantity: Quantity
    valid: BoolArray
    source: Source
    spacing: PixelSpacing | None = None
    pose: CArmPose | None = None
    mask_hint: MaskHint | None = None
    already_subtracted: bool = False
    white_level: float | None = None
    table_mm: tuple[float, float, float] | None = None
    broken: tuple[int, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
    quality: Quality = Quality.NONE

    def __post_init__(self) -> None:
        stored = getattr(self.frames, "dtype", None) == np.uint16 and self.quantity is not Quantity.ATTENUATION
        dtype = np.uint16 if stored else np.float32
        frames = frozen_array(self.frames, "frames", ndim=3, dtype=dtype, finite=not stored)
        object.__setattr__(self, "frames", frames)
        times = frozen_array(self.times_s, "times_s", ndim=1, dtype=np.float64, finite=True)
        object.__setattr__(self, "times_s", times)
        valid = frozen_array(self.valid, "valid", ndim=2, dtype=np.bool_, shape=frames.shape[1:])
        object.__setattr__(self, "valid", valid)
        _check_times(times, len(frames))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, rows, columns."""
        t, h, w = self.frames.shape
        return t, h, w


def _check_times(times: npt.NDArray[np.float64], n_frames: int) -> None:
    if len(times) != n_frames:
        raise ValueError(f"Expected one time a frame, found {len(times)} times for {n_frames} frames.")
    if n_frames == 0:
        raise ValueError("Expected at least one frame, found none.")
    steps = np.diff(times)
    if times[0] != 0 or (steps <= 0).any():
        bad = int(np.argmax(steps <= 0)) + 1 if (steps <= 0).any() else 0
        raise ValueError(
            f"Expected times_s to start at 0 and increase; frame {bad} is at {times[bad]:.3f} s "
            f"after {times[max(bad - 1, 0)]:.3f} s. Check FrameTimeVector."
        )


class Background(StrEnum):
    """What was subtracted."""

    MASK = "mask"
    TEMPORAL = "temporal"
    SPATIAL = "spatial"
    ALREADY_SUBTRACTED = "already_subtracted"


class Correction(StrEnum):
    """Where the correction of motion comes from."""

    NONE = "none"
    AUTOMATIC = "automatic"
    HEADER = "header"
    HAND = "hand"


@dataclass(frozen=True, slots=True, eq=False)
class MotionReport:
    """How motion was corrected, and what each layer of the correction left outside vessels.

    Attributes
    ----------
    correction : Correction
    mask_shift_px : ndarray, (T, 2) float64
        (row, col) by which the file or the user asks the mask to be moved for each frame; 0 otherwise.
    mask_scope : str
        What one choice of mask frames held for: run, frame or patch.
    residual_none, residual_shift, residual_field, residual_masks : ndarray, (T,) float64
        Root-mean-square difference of each frame over the vessel-free valid region, attenuation
        units: as acquired, after one shift a frame, after a smooth field, and after the choice of
        mask frames; NaN where a layer was not applied.
    """

    correction: Correction
    mask_shift_px: npt.NDArray[np.float64]
    mask_scope: str
    residual_none: npt.NDArray[np.float64]
    residual_shift: npt.NDArray[np.float64]
    residual_field: npt.NDArray[np.float64]
    residual_masks: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(np.asarray(self.residual_none))
        for name in ("residual_none", "residual_shift", "residual_field", "residual_masks"):
            value = frozen_array(getattr(self, name), name, ndim=1, dtype=np.float64, shape=(count,))
            object.__setattr__(self, name, value)
        shift = frozen_array(self.mask_shift_px, "mask_shift_px", ndim=2, dtype=np.float64, shape=(count, 2))
        object.__setattr__(self, "mask_shift_px", shift)


@dataclass(frozen=True, slots=True, eq=False)
class SubtractedRun:
    """A run after subtraction, every frame aligned to where the vessels stand in `reference_frame`.

    Attributes
    ----------
    frames : ndarray, (T, H, W) float32
        Attenuation above background; contrast is positive. 0 outside `valid`.
    valid : ndarray, (H, W) bool
        Pixels that mean something in every usable frame.
    usable : ndarray, (T,) bool
        Frames that could be aligned; the others take no part in the maps.
    mask_frames : tuple of int
        Frames that were averaged into the mask (0-based); empty without a mask.
    motion_px : ndarray, (T, 2) float64
        Mean displacement (row, col) of each frame against the mean position in the mask frames (in
        the reference frame where there are none), over the anatomy that carries the vessels; NaN
        where it could not be estimated.
    residual_before, residual_after : float
        Root-mean-square difference over the vessel-free valid region, before and after
        motion correction, attenuation units; NaN where there is no mask.
    noise_sd : float
        Standard deviation of one subtracted frame's noise, attenuation units.
    uncorrected : ndarray, (H, W) float32
        The reference frame minus its mask as both stand, for the flicker.
    attenuation : ndarray, (H, W) float32
        The reference frame before subtraction: deposition must be looked for here.
    motion : MotionReport or None
        None where there is no mask to lie against.
    denoised : bool
        Noise was taken out over time; `noise_sd` is what is left.
    """

    frames: FloatArray
    times_s: npt.NDArray[np.float64]
    valid: BoolArray
    usable: BoolArray
    background: Background
    mask_frames: tuple[int, ...]
    reference_frame: int
    motion_px: npt.NDArray[np.float64]
    residual_before: float
    residual_after: float
    noise_sd: float
    uncorrected: FloatArray
    attenuation: FloatArray
    source: Source
    spacing: PixelSpacing | None = None
    pose: CArmPose | None = None
    motion: MotionReport | None = None
    denoised: bool = False
    provenance: Provenance = field(default_factory=Provenance)
    quality: Quality = Quality.NONE

    def __post_init__(self) -> None:
        frames = frozen_array(self.frames, "frames", ndim=3, dtype=np.float32)
        size = frames.shape[1:]
        object.__setattr__(self, "frames", frames)
        for name, ndim, dtype, shape in (
            ("times_s", 1, np.float64, (len(frames),)),
            ("valid", 2, np.bool_, size),
            ("usable", 1, np.bool_, (len(frames),)),
            ("motion_px", 2, np.float64, (len(frames), 2)),
            ("uncorrected", 2, np.float32, size),
            ("attenuation", 2, np.float32, size),
        ):
            value = frozen_array(getattr(self, name), name, ndim=ndim, dtype=dtype, shape=shape)
            object.__setattr__(self, name, value)
        if not 0 <= self.reference_frame < len(frames):
            raise ValueError(f"Expected reference_frame below {len(frames)}, found {self.reference_frame}.")

    @property
    def timing_measurable(self) -> bool:
        """Whether contrast is seen to come: not when the run starts filled, nor frame by frame without a mask."""
        return self.background is not Background.SPATIAL and Quality.FILLED_FROM_FIRST_FRAME not in self.quality


@dataclass(frozen=True, slots=True)
class PhaseRange:
    """First and last frame of a phase, both included, 0-based."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last:
            raise ValueError(f"Expected 0 <= first <= last, found {self.first}..{self.last}.")


@dataclass(frozen=True, slots=True)
class Phases:
    """The phases of a run; `None` where a phase was not seen."""

    pre_contrast: PhaseRange | None
    arterial: PhaseRange
    parenchymal: PhaseRange | None
    venous: PhaseRange | None


@dataclass(frozen=True, slots=True, eq=False)
class PerfusionMaps:
    """Maps of the passage of contrast, each (H, W) float32, NaN where undefined.

    Attributes
    ----------
    arrival_s : seconds; first crossing of a tenth to half of the rise, interpolated between frames.
    time_to_peak_s : seconds of the (interpolated) maximum.
    peak : attenuation units, the maximum above background.
    auc : attenuation units x seconds.
    wash_in : attenuation units per second, steepest rise.
    frame_interval_s : float
        Median interval; differences finer than this are interpolated.
    """

    arrival_s: FloatArray
    time_to_peak_s: FloatArray
    peak: FloatArray
    auc: FloatArray
    wash_in: FloatArray
    phases: Phases
    frame_interval_s: float
    quality: Quality = Quality.NONE

    def __post_init__(self) -> None:
        shape = np.asarray(self.peak).shape
        for name in ("arrival_s", "time_to_peak_s", "peak", "auc", "wash_in"):
            value = frozen_array(getattr(self, name), name, ndim=2, dtype=np.float32, shape=shape)
            object.__setattr__(self, name, value)
