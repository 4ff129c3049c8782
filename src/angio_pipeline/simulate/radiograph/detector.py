"""From attenuation to what the detector saw: spectrum, blades, scatter, quanta, spread, glare, lag.

Strategy: each step is one array pass or one small convolution, in the order of nature. The
spectrum hardens, blades cut the beam, thick parts scatter widely, quanta arrive at random, the
phosphor spreads light (near by its MTF, far as veiling glare) and keeps some for the next frame,
electronics add noise. Long kernels act on shrunken pictures, the MTF in the frequency domain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.radiograph.collimation import CollimationParams, draw_opening
from angio_pipeline.simulate.radiograph.exports import ExportParams, store_frames

__all__ = [
    "DetectorParams",
    "Exposure",
    "acquire",
    "binned",
    "exposure_level",
    "film_detector",
    "harden",
]

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]
_PAD = 16
# Quanta of RQA5 a mm² and nGy (IEC 61267), times the quantum efficiency of 0.5 mm of caesium iodide.
_QUANTA_PER_MM2_NGY = 30.2 * 0.7


class DetectorParams(Params):
    """Spectrum, dose, scatter and sharpness."""

    rows: int = Field(512, ge=128, le=2048, description="rows of the picture")
    columns: int = Field(512, ge=128, le=2048, description="columns of the picture")
    field_mm: float = Field(318.0, ge=100, le=450, description="width of the picture at the detector, mm")
    photons: float = Field(6000.0, ge=50, le=1e6, description="quanta a pixel and frame in the picture's middle")
    beam_hardening: float = Field(
        0.02, ge=0, le=0.3, description="relative variance of the attenuation coefficient over the spectrum"
    )
    scatter: float = Field(0.3, ge=0, le=3, description="scatter over primary behind the grid, in the picture's middle")
    scatter_mm: float = Field(28.0, ge=5, le=150, description="standard deviation of scatter at the detector, mm")
    glare: float = Field(0.05, ge=0, le=0.5, description="share of the light that spreads far: veiling glare")
    glare_mm: float = Field(2.5, ge=0.5, le=30, description="standard deviation of the near half of the glare, mm")
    blur_px: float = Field(0.5, ge=0, le=3, description="unsharpness of focal spot and movement, sd in pixels")
    mtf_half_per_mm: float = Field(
        1.0, ge=0.2, le=10, description="cycles a mm at which the phosphor's MTF, 1/(1+(f/f50)^2), is one half"
    )
    electronic_noise: float = Field(6.0, ge=0, le=500, description="noise of the electronics, sd in quanta a pixel")
    lag: float = Field(0.02, ge=0, le=0.5, description="share of the frame before that is left in each frame")
    exposure_drift: float = Field(0.0, ge=0, le=0.5, description="greatest relative change of exposure over a run")

    @property
    def pixel_mm(self) -> float:
        """Pixel spacing at the detector."""
        return self.field_mm / self.columns

    @property
    def dose_ngy(self) -> float:
        """Air kerma a frame at the detector, in the picture's middle, that gives `photons`."""
        return self.photons / (_QUANTA_PER_MM2_NGY * self.pixel_mm**2)

    @property
    def spread_px(self) -> float:
        """Standard deviation of the Gaussian that is as wide as geometric unsharpness and MTF together."""
        phosphor = 1 / (np.sqrt(2) * np.pi * self.mtf_half_per_mm * self.pixel_mm)
        return float(np.hypot(self.blur_px, phosphor))


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """A run as stored, and what became of attenuation on the way.

    Attributes
    ----------
    stored : (T, H, W) uint16
    open_area : (H, W) bool, False behind blades and shutters
    noise : (H, W) standard deviation of the attenuation of one frame, as if there were no blades
    primary_share : (H, W) how much of a small, wide change of attenuation the signal's log shows:
        what scatter, glare and hardening leave of it; as if there were no blades
    """

    stored: npt.NDArray[np.uint16]
    open_area: npt.NDArray[np.bool_]
    noise: Array
    primary_share: Array


def binned(detector: DetectorParams, export: ExportParams) -> DetectorParams:
    """Return the detector read out on the export's matrix, with the same dose on the same field."""
    if export.matrix is None or export.matrix == detector.columns:
        return detector
    rows = round(export.matrix * detector.rows / detector.columns)
    quanta = detector.photons * (detector.columns / export.matrix) ** 2
    blur = detector.blur_px * export.matrix / detector.columns
    return detector.model_copy(
        update={"rows": rows, "columns": export.matrix, "photons": quanta, "blur_px": min(blur, 3.0)}
    )


def film_detector(detector: DetectorParams, dose: float = 4.0) -> DetectorParams:
    """Return the detector as set for a single film: several times the dose of a run's frame."""
    return detector.model_copy(update={"photons": dose * detector.photons, "lag": 0.0, "exposure_drift": 0.0})


def harden(attenuation: Image, beam_hardening: float) -> Image:
    """Return the effective attenuation of a spectrum, which saturates with thickness.

    With attenuation coefficients gamma-distributed over the spectrum, of relative variance v, the
    mean of exp(-A) over it is (1 + v A)^(-1/v): what lies behind more tissue, iodine too, counts for
    1 / (1 + v A) of itself.
    """
    if beam_hardening == 0:
        return attenuation
    return np.asarray(np.log1p(beam_hardening * np.maximum(attenuation, 0)) / np.float32(beam_hardening))


def acquire(
    frames: Iterable[npt.NDArray[np.floating]],
    *,
    detector: DetectorParams,
    collimation: CollimationParams,
    rng: np.random.Generator,
    export: ExportParams | None = None,
    mask_frames: int = 1,
) -> Exposure:
    """Return the exposure of a run from the total attenuation (H, W) of each frame.

    The exposure is set on the first frame and locked. `export` says how frames are stored;
    `mask_frames` is how many of the first an already subtracted export takes as mask.
    """
    export = ExportParams() if export is None else export
    opening = draw_opening(detector.rows, detector.columns, collimation)
    mtf, gains = _transfer(detector), _Gains(detector.exposure_drift, rng)
    signal: list[Image] = []
    level, noise, share = 0.0, np.zeros(0), np.zeros(0)
    for number, frame in enumerate(frames):
        attenuation = np.asarray(frame, np.float32)
        if number == 0:
            level = exposure_level(attenuation)
            noise, share = _sensitivity(attenuation, level, detector, mtf)
        quanta = gains.at(number) * _quanta(attenuation, opening.beam, level, detector)[0]
        quanta += np.sqrt(quanta) * rng.standard_normal(quanta.shape, dtype=np.float32)
        light = _glare(_spread(np.maximum(quanta, 0), mtf), detector)
        light += np.float32(detector.electronic_noise) * rng.standard_normal(light.shape, dtype=np.float32)
        if signal:
            light = (1 - detector.lag) * light + detector.lag * signal[-1]
        signal.append(np.asarray(light, np.float32))
    stored = store_frames(signal, opening.open, export, collimation.outside, mask_frames=mask_frames)
    return Exposure(stored, opening.open, noise, share)


class _Gains:
    """Drift of the automatic exposure: over some frames to a new level, and a slow wave about it; both are drawn."""

    def __init__(self, drift: float, rng: np.random.Generator) -> None:
        self.drift = drift
        self.sign, self.settle = float(rng.choice([-1.0, 1.0])), float(rng.uniform(2.0, 6.0))
        self.period, self.phase = float(rng.uniform(9.0, 20.0)), float(rng.uniform(0, 2 * np.pi))

    def at(self, frame: int) -> np.float32:
        wave = np.sin(2 * np.pi * frame / self.period + self.phase) - np.sin(self.phase)
        shape = self.sign * 0.6 * (1 - np.exp(-frame / self.settle)) + 0.2 * wave
        return np.float32(1 + self.drift * shape)


def exposure_level(attenuation: npt.NDArray[np.floating]) -> float:
    """Return the attenuation for which the exposure is set: the median of the picture's middle."""
    h, w = attenuation.shape
    return float(np.median(attenuation[h // 4 : 3 * h // 4, w // 4 : 3 * w // 4]))


def _quanta(attenuation: Image, beam: Image, level: float, detector: DetectorParams) -> tuple[Image, Image]:
    # Expected quanta of primary and scatter together, and of the primary alone.
    middle = float(harden(np.full(1, level, np.float32), detector.beam_hardening)[0])
    effective = harden(attenuation, detector.beam_hardening)
    primary = np.exp(np.float32(middle) - effective) * beam
    if detector.blur_px > 0:
        primary = cv2.GaussianBlur(primary, (0, 0), detector.blur_px)
    scale = np.float32(detector.photons / (1 + detector.scatter))
    if detector.scatter == 0:
        return primary * scale, primary * scale
    source = primary * np.clip(effective / np.float32(max(middle, 0.1)), 0, 3)
    veil = _wide(source, [(0.6, detector.scatter_mm), (0.4, 2.6 * detector.scatter_mm)], detector.pixel_mm)
    return np.asarray(scale * (primary + np.float32(detector.scatter) * veil)), primary * scale


def _wide(image: Image, kernels: list[tuple[float, float]], pixel_mm: float) -> Image:
    # Sum of Gaussians (share, sd in mm) on a picture shrunk so that each sd is a few pixels there;
    # beyond the picture there is no beam.
    h, w = image.shape
    total = np.zeros(image.shape, np.float32)
    for share, sd_mm in kernels:
        sd = sd_mm / pixel_mm
        step = int(2 ** np.clip(np.floor(np.log2(max(sd / 2.5, 1.0))), 0, 4))
        small = cv2.resize(image, (w // step, h // step), interpolation=cv2.INTER_AREA) if step > 1 else image
        soft = cv2.GaussianBlur(small, (0, 0), sd / step, borderType=cv2.BORDER_CONSTANT)
        total += np.float32(share) * (cv2.resize(soft, (w, h), interpolation=cv2.INTER_LINEAR) if step > 1 else soft)
    return total


def _transfer(detector: DetectorParams) -> Image:
    """Return the phosphor's MTF on the grid of frequencies of a padded picture."""
    shape = detector.rows + 2 * _PAD, detector.columns + 2 * _PAD
    down = scipy.fft.fftfreq(shape[0], detector.pixel_mm)[:, None]
    along = scipy.fft.rfftfreq(shape[1], detector.pixel_mm)
    return np.asarray(1 / (1 + (down**2 + along**2) / detector.mtf_half_per_mm**2), np.float32)


def _spread(image: Image, mtf: Image) -> Image:
    padded = cv2.copyMakeBorder(image, _PAD, _PAD, _PAD, _PAD, cv2.BORDER_REFLECT_101)
    spread = scipy.fft.irfft2(scipy.fft.rfft2(padded) * mtf, s=padded.shape)
    return np.asarray(spread[_PAD:-_PAD, _PAD:-_PAD], np.float32)


def _glare(light: Image, detector: DetectorParams) -> Image:
    if detector.glare == 0:
        return light
    far = _wide(light, [(0.5, detector.glare_mm), (0.5, 16 * detector.glare_mm)], detector.pixel_mm)
    return np.asarray((1 - detector.glare) * light + detector.glare * far, np.float32)


def _sensitivity(attenuation: Image, level: float, detector: DetectorParams, mtf: Image) -> tuple[Array, Array]:
    total, primary = _quanta(attenuation, np.ones_like(attenuation), level, detector)
    light = _glare(total, detector)
    kept = 1 - detector.glare
    # What spreading leaves of white noise: the mean square of the MTF over all frequencies.
    power = np.where(np.arange(mtf.shape[1]) > 0, 2.0, 1.0)
    smooth = float((mtf.astype(float) ** 2 * power).sum() / (power.sum() * mtf.shape[0]))
    variance = total * (kept**2 * smooth) + detector.electronic_noise**2
    variance *= (1 - detector.lag) / (1 + detector.lag)
    noise = np.sqrt(variance) / light
    share = kept * primary / light / (1 + detector.beam_hardening * np.maximum(attenuation, 0))
    return noise.astype(float), share.astype(float)
