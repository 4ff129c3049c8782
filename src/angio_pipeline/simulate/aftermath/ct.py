"""CT of the digital patient at one date: every contrast phase of the visit, and the truth in its voxels.

Order of making: the body is painted with the values of each phase, tumours are poured over it by
the share of each voxel they fill, oil is added by its mass, the reconstruction's kernel blurs (or
sharpens) and adds its noise, and the result is stored as integers that end at 3071 HU.

Iodine adds `slope` HU per mg/ml: 41, 31.5, 25 and 21.2 at 80, 100, 120 and 140 kVp, interpolated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from scipy import fft
from scipy.ndimage import gaussian_filter1d

from angio_pipeline.core.followups import Completeness, Pattern
from angio_pipeline.core.params import Params
from angio_pipeline.simulate.aftermath.ct_painting import Paint, VoxelGrid, Window, paint, pour
from angio_pipeline.simulate.aftermath.ct_placement import Placement
from angio_pipeline.simulate.aftermath.deposits import OilGrid
from angio_pipeline.simulate.aftermath.treatment import Lesion, Treatment
from angio_pipeline.simulate.anatomy.anatomy import Anatomy
from angio_pipeline.simulate.anatomy.courses import Courses, Vasculature
from angio_pipeline.simulate.anatomy.lesions import TumourKind
from angio_pipeline.simulate.radiograph.body import Body, Layer
from angio_pipeline.simulate.radiograph.projection import Ellipsoids, Tubes

__all__ = [
    "CLIP_HU",
    "CtParams",
    "CtPhase",
    "CtScan",
    "CtVisit",
    "Kernel",
    "draw_placement",
    "enhancement_hu",
    "iodine_slope",
    "plan_visits",
    "scan_visit",
]

Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

CLIP_HU = 3071
NECROTIC_HU = 34.0
_KVP, _SLOPE = (80.0, 100.0, 120.0, 140.0), (41.0, 31.5, 25.0, 21.2)
# Less oil than this (10 HU at 120 kVp) no longer counts as a deposit.
_LEAST_OIL_MG_ML = 0.4
_COVERAGE_HU = (75.0, 160.0, 215.0)
_FINEST_VESSEL_MM = 0.6
_BODY_MM = (38.0, 2.0, 188.0, 122.0)


class CtPhase(StrEnum):
    """When the scan was taken after contrast medium into a vein."""

    PLAIN = "plain"
    ARTERIAL = "arterial"
    PORTAL = "portal"


class Kernel(StrEnum):
    """Reconstruction kernel."""

    SOFT = "soft"
    SHARP = "sharp"


# Enhancement at 120 kVp in late arterial and portal venous phase, by part of the body; nothing else enhances.
_ENHANCEMENT: dict[str, tuple[float, float]] = {
    "aorta": (270, 120), "cava": (35, 95), "heart": (190, 110), "liver": (14, 54), "liver veins": (40, 120),
    "spleen": (85, 70), "kidneys": (120, 145), "stomach": (14, 22), "loops": (22, 38), "muscle": (5, 14),
    "psoas": (5, 14), "back": (5, 14), "pancreas": (75, 50), "duodenum": (25, 38),
}  # fmt: skip
_ARTERIES, _PORTAL, _HEPATIC = (270.0, 120.0), (55.0, 128.0), (4.0, 116.0)
_BLOOD_HU = 42.0
_TUMOUR = {
    TumourKind.HYPERVASCULAR: (72.0, 36.0),
    TumourKind.RIM: (50.0, 44.0),
    TumourKind.HYPOVASCULAR: (8.0, 26.0),
}


class CtParams(Params):
    """When and how the patient is scanned."""

    baseline_day: float = Field(-3.0, ge=-180, lt=0, description="day of the scan before treatment")
    days: tuple[float, ...] = Field((1.0, 28.0, 84.0), min_length=1, description="days of the scans after treatment")
    baseline_phases: tuple[CtPhase, ...] = Field((CtPhase.ARTERIAL,), min_length=1, description="before treatment")
    early_phases: tuple[CtPhase, ...] = Field((CtPhase.PLAIN,), min_length=1, description="in the first week after it")
    late_phases: tuple[CtPhase, ...] = Field(
        (CtPhase.PLAIN, CtPhase.ARTERIAL), min_length=1, description="at later visits"
    )
    kvp: float = Field(120, ge=80, le=140, description="tube voltage, kV")
    matrix: int = Field(256, ge=64, le=1024, description="rows and columns")
    field_mm: float = Field(400.0, ge=200, le=500, description="width of the reconstructed field")
    low_mm: float = Field(-78.0, ge=-170, le=0, description="lowest slice, from the liver's hilum")
    high_mm: float = Field(93.0, gt=0, le=160, description="highest slice")
    slice_mm: float = Field(3.0, ge=0.5, le=10, description="thickness of a slice")
    increment_mm: float | None = Field(None, ge=0.4, le=10, description="distance of slices; unset: their thickness")
    kernel: Kernel = Field(Kernel.SOFT, description="soft or sharp")
    kernel_mm: float = Field(0.7, ge=0.2, le=3, description="standard deviation of the soft kernel in the plane")
    noise_hu: float = Field(
        14.0, ge=0, le=100, description="standard deviation of noise in the body's middle, soft kernel"
    )
    noise_reach: float = Field(
        0.45, ge=0, le=3, description="standard deviation of the noise's correlation along z, in slice thicknesses"
    )
    cupping_hu: float = Field(0.0, ge=0, le=200, description="darkening towards the middle, as in cone-beam scans")
    contrast_spread: float = Field(0.12, ge=0, le=1, description="standard deviation of the log of enhancement")
    shift_mm: float = Field(4.0, ge=0, le=40, description="standard deviation of the patient's position between dates")
    turn_deg: float = Field(1.5, ge=0, le=20, description="standard deviation of the patient's roll between dates")
    breath_mm: float = Field(4.0, ge=0, le=25, description="standard deviation of the level of breath between dates")
    bend_mm: float = Field(1.0, ge=0, le=8, description="standard deviation of the uneven shift of the liver")
    other_protocol: float = Field(
        0.0, ge=0, le=1, description="share of later visits scanned otherwise: 100 kVp, sharp kernel, thicker slices"
    )

    @model_validator(mode="after")
    def _in_order(self) -> CtParams:
        if min(self.days) <= 0:
            raise ValueError("days must all be after treatment (above 0); the scan before it is baseline_day")
        if any(b - a < 0.5 for a, b in zip(self.days, self.days[1:], strict=False)):
            raise ValueError("days must increase, by half a day at least")
        if len({round(day) for day in self.days}) < len(self.days):
            raise ValueError("days must fall on different days when rounded to whole ones")
        for name in ("baseline_phases", "early_phases", "late_phases"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} must not name a phase twice")
        return self


@dataclass(frozen=True, slots=True)
class CtVisit:
    """One date and the phases scanned there."""

    days: float
    phases: tuple[CtPhase, ...]


def plan_visits(params: CtParams) -> tuple[CtVisit, ...]:
    """Return the visits in order, the one before treatment first."""
    after = (CtVisit(day, params.early_phases if day <= 7 else params.late_phases) for day in params.days)
    return (CtVisit(params.baseline_day, params.baseline_phases), *after)


@dataclass(frozen=True, slots=True, eq=False)
class CtScan:
    """One series: stored Hounsfield units, geometry, and truth in the same voxels.

    Attributes
    ----------
    hu : (Z, Y, X) int16
        Ends at `clip_hu`.
    origin_mm : (3,)
        LPS centre of voxel (0, 0, 0); axes are along LPS.
    spacing_mm : (z, y, x)
        z is the distance between slices; `slice_mm` is their thickness.
    hu_per_mg_ml : float
        What iodine adds at this tube voltage.
    lesions, deposits : dict of (Z, Y, X) bool
        A voxel belongs to a lesion when at least half its volume lies in it, and to a deposit when at least
        half its volume holds the lesion's own oil: a tenth of the lesion's mean concentration or more, and
        0.4 mg/ml or more at that date.
    iodine_mg, rim_iodine_mg : dict of float
        In each tumour, and in the liver at its surface. Nothing outside the scan is left out.
    liver_iodine_mg : float
        In all liver, the rims included.
    wall_iodine_mg : dict of float
        In the walls of organs reached by mistake.
    centroid_mm : dict of (3,)
        Where the lesions' centres lie in this scan.
    clipped_voxels : dict of int
        Voxels of each deposit stored at `clip_hu`.
    coverage : dict of dict
        Percent of each tumour above 75, 160 and 215 HU without contrast medium, as it truly is (before blur
        and noise); empty without oil.
    completeness : dict
        By the share above 75 HU: complete beyond 90 % and without the great defect of pattern II, poor below
        50 %, moderate between (doi:10.1186/s40644-016-0090-4); None without oil.
    """

    days: float
    phase: CtPhase
    hu: npt.NDArray[np.int16]
    origin_mm: Array
    spacing_mm: tuple[float, float, float]
    slice_mm: float
    kvp: float
    kernel: Kernel
    hu_per_mg_ml: float
    lesions: dict[str, BoolArray]
    deposits: dict[str, BoolArray]
    iodine_mg: dict[str, float]
    rim_iodine_mg: dict[str, float]
    liver_iodine_mg: float
    wall_iodine_mg: dict[str, float]
    centroid_mm: dict[str, Array]
    clipped_voxels: dict[str, int]
    coverage: dict[str, dict[str, float]]
    completeness: dict[str, Completeness | None]
    placement: Placement
    clip_hu: int = CLIP_HU


def iodine_slope(kvp: float) -> float:
    """Return the Hounsfield units that 1 mg of iodine a ml adds at a tube voltage."""
    return float(np.interp(kvp, _KVP, _SLOPE))


def enhancement_hu(kind: TumourKind, phase: CtPhase, kvp: float = 120.0) -> float:
    """Return what living tumour of a kind gains in a phase, of an injection of average strength."""
    return _gain(_TUMOUR[kind], phase, iodine_slope(kvp) / _SLOPE[2])


def _gain(arterial_portal: tuple[float, float], phase: CtPhase, strength: float) -> float:
    if phase is CtPhase.PLAIN:
        return 0.0
    return strength * arterial_portal[phase is CtPhase.PORTAL]


def draw_placement(params: CtParams, rng: np.random.Generator) -> Placement:
    """Return how the patient lies in the scanner at one visit."""
    return Placement(
        rng.normal(0, params.shift_mm, 3),
        float(np.deg2rad(rng.normal(0, params.turn_deg))),
        float(np.clip(rng.normal(0, params.breath_mm), -25, 25)),
        float(rng.normal(0, params.bend_mm)),
        rng.uniform(0, 2 * np.pi, 4),
    )


def scan_visit(
    body: Body,
    anatomy: Anatomy,
    treatment: Treatment,
    visit: CtVisit,
    params: CtParams,
    rng: np.random.Generator,
    *,
    vessels: Vasculature | None = None,
) -> tuple[CtScan, ...]:
    """Return one scan for each phase of a visit, all in the same position.

    Parameters
    ----------
    vessels : Vasculature, optional
        Courses of the patient's vessels; without them the body's own liver veins are drawn.
    """
    place_rng, protocol_rng, noise_rng = rng.spawn(3)
    placement = draw_placement(params, place_rng)
    params = _protocol(params, visit.days, protocol_rng)
    grid = _voxels(params, protocol_rng)
    strength = iodine_slope(params.kvp) / _SLOPE[2] * float(np.exp(protocol_rng.normal(0, params.contrast_spread)))
    paints = _couch(placement, len(visit.phases))
    paints += _paints(body, anatomy, vessels, visit.phases, strength, params.kvp)
    clean = paint(paints, grid, placement)
    truths = []
    for lesion in treatment.all_lesions:
        poured = _pour_lesion(lesion, visit.days, treatment, grid, placement)
        if poured is not None:
            _cover(clean, poured, lesion, visit.phases, strength)
            truths.append((lesion, poured))
    oil = _oil(treatment, visit.days, truths, grid, placement)
    clean += np.float32(iodine_slope(params.kvp)) * oil
    reconstructed = _reconstruct(clean, grid, params, placement, noise_rng)
    return tuple(
        _tell(hu, phase, visit.days, treatment, truths, grid, placement, params)
        for phase, hu in zip(visit.phases, reconstructed, strict=True)
    )


def _protocol(params: CtParams, days: float, rng: np.random.Generator) -> CtParams:
    # Another scanner, another day. The draw is made always, so that the knob changes nothing else.
    if rng.random() >= params.other_protocol or days <= 7:
        return params
    other = {"kvp": 100.0, "kernel": Kernel.SHARP, "slice_mm": min(10.0, 1.5 * params.slice_mm), "increment_mm": None}
    return params.model_copy(update=other)


def _voxels(params: CtParams, rng: np.random.Generator) -> VoxelGrid:
    pixel = params.field_mm / params.matrix
    gap = params.increment_mm or params.slice_mm
    count = round((params.high_mm - params.low_mm) / gap) + 1
    half = 0.5 * params.field_mm - 0.5 * pixel
    aside = np.round(rng.normal(0, 2, 2), 1)
    origin = np.array([_BODY_MM[0] - half + aside[0], _BODY_MM[1] - half + aside[1], params.low_mm])
    return VoxelGrid(origin, (gap, pixel, pixel), (count, params.matrix, params.matrix), params.slice_mm)


def _paints(
    body: Body,
    anatomy: Anatomy,
    vessels: Vasculature | None,
    phases: Sequence[CtPhase],
    strength: float,
    kvp: float,
) -> list[Paint]:
    def values(plain: float, gain: tuple[float, float]) -> tuple[float, ...]:
        return tuple(plain + _gain(gain, phase, strength) for phase in phases)

    paints: list[Paint] = []
    # Bone holds calcium, which gains at low voltage as iodine does, if less.
    bone = (iodine_slope(kvp) / _SLOPE[2]) ** 0.6
    for part in body.parts:
        if part.name == "liver veins" and vessels is not None:
            paints += _vessel_paints(vessels, values)
            continue
        plain = part.hu * bone if part.hu > 150 else part.hu
        moved = part.layer in (Layer.VISCERA, Layer.BOWEL)
        paints.append(Paint(part.solids, values(plain, _ENHANCEMENT.get(part.name, (0, 0))), moved, part.organic))
    metal = (9000.0, 6000.0)
    for tubes, hu in zip((anatomy.devices.coils, anatomy.devices.clips), metal, strict=True):
        paints += [Paint(tubes, (hu,) * len(phases), True)] if len(tubes.radius) else []
    return paints


def _couch(placement: Placement, phases: int) -> list[Paint]:
    # A hollow carbon lens under the back: it stays in the scanner however the patient lies on it.
    under = np.array([[_BODY_MM[0], _BODY_MM[1] + _BODY_MM[3] + 13, 0.0]])
    c, s = np.cos(placement.turn_rad), np.sin(placement.turn_rad)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    centre = placement.to_patient(under, viscera=False)
    shells = (((215.0, 15.0, 2000.0), 150.0), ((211.0, 11.5, 2000.0), -960.0))
    return [
        Paint(Ellipsoids(centre, (np.diag(1 / np.array(r)) @ turn)[None]), (hu,) * phases, False) for r, hu in shells
    ]


def _vessel_paints(
    vessels: Vasculature, values: Callable[[float, tuple[float, float]], tuple[float, ...]]
) -> list[Paint]:
    trees: list[tuple[Courses, tuple[float, float]]] = [
        (vessels.hepatic, _HEPATIC),
        (vessels.portal, _PORTAL),
        (vessels.tributaries, _PORTAL),
        (vessels.arteries, _ARTERIES),
    ]
    paints = []
    for course, gain in trees:
        wide = course.tubes.radius >= _FINEST_VESSEL_MM
        tubes = Tubes(course.tubes.start[wide], course.tubes.end[wide], course.tubes.radius[wide])
        if len(tubes.radius):
            paints.append(Paint(tubes, values(_BLOOD_HU, gain), True))
    return paints


_SOLID, _LIVING, _REGION, _OIL, _RIM = range(5)


def _pour_lesion(
    lesion: Lesion, days: float, treatment: Treatment, grid: VoxelGrid, placement: Placement
) -> Window | None:
    # Shares of tumour, living tumour and deposit, and oil in tumour and rim, mg/ml.
    scale = lesion.scale(days)
    own, rim = treatment.lesion_oil(lesion, days), treatment.rim_oil(lesion, days)
    if scale == 0 and own is None:
        return None
    fields = np.zeros((5, *lesion.grid.solid.shape), np.float32)
    if scale > 0:
        fields[_SOLID], fields[_LIVING] = lesion.grid.solid, lesion.living(days)
    if own is not None and rim is not None and lesion.deposit is not None:
        fields[_REGION] = lesion.grid.solid * (lesion.deposit.region & (own.mg_ml >= _LEAST_OIL_MG_ML))
        fields[_OIL], fields[_RIM] = own.mg_ml, rim.mg_ml
    step = own.step_mm if own is not None else scale * lesion.grid.step_mm
    return pour(fields, lesion.grid.centre_mm, step, grid, placement)


def _cover(clean: FloatArray, poured: Window, lesion: Lesion, phases: Sequence[CtPhase], strength: float) -> None:
    solid = np.minimum(poured.values[_SOLID], 1)
    living = np.minimum(poured.values[_LIVING], solid)
    for image, phase in zip(clean, phases, strict=True):
        alive = lesion.body.native_hu + _gain(_TUMOUR[lesion.body.kind], phase, strength)
        view = image[poured.where]
        view += living * np.float32(alive) + (solid - living) * np.float32(NECROTIC_HU) - solid * view


def _oil(
    treatment: Treatment,
    days: float,
    truths: Sequence[tuple[Lesion, Window]],
    grid: VoxelGrid,
    placement: Placement,
) -> FloatArray:
    oil = np.zeros(grid.shape, np.float32)
    for _, poured in truths:
        oil[poured.where] += poured.values[_OIL] + poured.values[_RIM]
    for stray in treatment.stray_oil(days):
        poured_stray = _pour_oil(stray, grid, placement)
        if poured_stray is not None:
            oil[poured_stray.where] += poured_stray.values[0]
    return oil


def _pour_oil(oil: OilGrid, grid: VoxelGrid, placement: Placement) -> Window | None:
    return pour(oil.mg_ml[None], oil.centre_mm, oil.step_mm, grid, placement)


def _reconstruct(
    clean: FloatArray, grid: VoxelGrid, params: CtParams, placement: Placement, rng: np.random.Generator
) -> FloatArray:
    # Blur and noise slice by slice in the frequency domain; the kernel keeps the mean.
    mtf, shape, soft = _kernel(grid, params)
    middle = placement.to_scanner(np.array([[*_BODY_MM[:2], 0.0]]), viscera=False)[0]
    x = (grid.origin_mm[0] + grid.spacing_mm[2] * np.arange(grid.shape[2]) - middle[0]) / _BODY_MM[2]
    y = (grid.origin_mm[1] + grid.spacing_mm[1] * np.arange(grid.shape[1]) - middle[1]) / _BODY_MM[3]
    away = (x**2 + (y**2)[:, None]).astype(np.float32)
    # Rays through the middle cross most tissue: noise is greatest there.
    local = (params.noise_hu / soft * (0.4 + 0.6 * np.exp(-0.8 * away))).astype(np.float32)
    for image in clean:
        if params.cupping_hu > 0:
            image -= np.float32(params.cupping_hu) * np.exp(-1.5 * away) * (away < 1.1)
        noise = _white(grid, params, rng) if params.noise_hu > 0 else None
        for k, plane in enumerate(image):
            blurred = fft.irfft2(fft.rfft2(plane) * mtf, plane.shape)
            if noise is not None:
                blurred += local * fft.irfft2(fft.rfft2(noise[k]) * shape, plane.shape)
            image[k] = blurred
    return clean


def _kernel(grid: VoxelGrid, params: CtParams) -> tuple[FloatArray, FloatArray, float]:
    # Transfer function, noise amplitude over frequency, and the noise of the soft kernel that it is measured by.
    fy, fx = fft.fftfreq(grid.shape[1], grid.spacing_mm[1]), fft.rfftfreq(grid.shape[2], grid.spacing_mm[2])
    squared = fy[:, None] ** 2 + fx[None] ** 2
    soft = np.exp(-2 * np.pi**2 * params.kernel_mm**2 * squared)
    mtf = soft
    if params.kernel is Kernel.SHARP:
        edge = squared / 0.3**2
        mtf = np.exp(-2 * np.pi**2 * (0.5 * params.kernel_mm) ** 2 * squared) * (1 + 0.8 * edge * np.exp(-edge))
    # Filtered back-projection leaves noise power that rises with frequency before the kernel lets it fall.
    ramp = np.sqrt(np.sqrt(squared) + 0.01)
    twice = np.full(len(fx), 2.0)
    twice[0] = 1.0
    if grid.shape[2] % 2 == 0:
        twice[-1] = 1.0
    power = ((ramp * soft) ** 2 * twice).sum() / (grid.shape[1] * grid.shape[2])
    return mtf.astype(np.float32), (ramp * mtf).astype(np.float32), float(np.sqrt(power))


def _white(grid: VoxelGrid, params: CtParams, rng: np.random.Generator) -> FloatArray:
    # White in the plane, correlated along z; standard deviation 1.
    noise = rng.standard_normal(grid.shape, dtype=np.float32)
    reach = params.noise_reach * params.slice_mm / grid.spacing_mm[0]
    if reach < 0.15 or grid.shape[0] < 3:
        return noise
    impulse = np.zeros(2 * int(4 * reach + 1) + 1)
    impulse[len(impulse) // 2] = 1
    power = float((gaussian_filter1d(impulse, reach) ** 2).sum())
    return np.asarray(gaussian_filter1d(noise, reach, axis=0, mode="wrap") / np.float32(np.sqrt(power)))


def _tell(
    hu: FloatArray,
    phase: CtPhase,
    days: float,
    treatment: Treatment,
    truths: Sequence[tuple[Lesion, Window]],
    grid: VoxelGrid,
    placement: Placement,
    params: CtParams,
) -> CtScan:
    stored = np.clip(np.rint(hu), -1024, CLIP_HU).astype(np.int16)
    lesions = {lesion.id: _mask(grid, poured, _SOLID) for lesion, poured in truths}
    deposits = {lesion.id: _mask(grid, poured, _REGION) for lesion, poured in truths}
    known = [lesion for lesion, _ in truths]
    covered = {lesion.id: cover_percent(lesion, days, params.kvp) for lesion in known}
    at = placement.to_scanner(np.array([lesion.body.centre_mm for lesion in known]).reshape(-1, 3))
    return CtScan(
        days=days,
        phase=phase,
        hu=stored,
        origin_mm=grid.origin_mm,
        spacing_mm=grid.spacing_mm,
        slice_mm=grid.slice_mm,
        kvp=params.kvp,
        kernel=params.kernel,
        hu_per_mg_ml=iodine_slope(params.kvp),
        lesions=lesions,
        deposits=deposits,
        iodine_mg={lesion.id: lesion.iodine_mg(days) for lesion in known},
        rim_iodine_mg={lesion.id: treatment.rim_iodine_mg(lesion, days) for lesion in known},
        liver_iodine_mg=treatment.liver_iodine_mg(days),
        wall_iodine_mg=treatment.wall_iodine_mg(days),
        centroid_mm={lesion.id: point for lesion, point in zip(known, at, strict=True)},
        clipped_voxels={name: int(np.count_nonzero(stored[mask] >= CLIP_HU)) for name, mask in deposits.items()},
        coverage=covered,
        completeness={lesion.id: _completeness(lesion, covered[lesion.id]) for lesion in known},
        placement=placement,
    )


def cover_percent(lesion: Lesion, days: float, kvp: float) -> dict[str, float]:
    """Return the percent of a tumour above 75, 160 and 215 HU without contrast medium; empty without oil."""
    scale = lesion.scale(days)
    if lesion.deposit is None or days < 0 or scale == 0:
        return {}
    solid = lesion.grid.solid
    inside = solid > 0.5
    alive = lesion.living(days)[inside] / solid[inside]
    oil = lesion.deposit.oil.mg_ml[inside] / solid[inside] * np.float32(lesion.left(days) / scale**3)
    hu = alive * lesion.body.native_hu + (1 - alive) * NECROTIC_HU + np.float32(iodine_slope(kvp)) * oil
    return {f"{t:g}": 100 * float(np.mean(hu > t)) for t in _COVERAGE_HU}


def _completeness(lesion: Lesion, covered: dict[str, float]) -> Completeness | None:
    if not covered:
        return None
    if covered["75"] > 90 and lesion.pattern is not Pattern.DEFECTIVE:
        return Completeness.COMPLETE
    return Completeness.POOR if covered["75"] < 50 else Completeness.MODERATE


def _mask(grid: VoxelGrid, poured: Window, field: int) -> BoolArray:
    mask = np.zeros(grid.shape, bool)
    # Half, less what rounding of float32 sums may take.
    mask[poured.where] = poured.values[field] >= 0.4999
    return mask
