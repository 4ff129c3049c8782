"""Pairs of CT scans of one abdomen between which the way of every point of the liver is known.

Three kinds. *breath*: a simulated patient scanned twice, eleven weeks of washout between the scans; the second
time the patient lies shifted and turned and breathes to another level, and the viscera slide along the wall (the
simulator's own field, which keeps volumes). *swelling*: the second scan moreover drawn through a smooth field that
swells one part of the liver and shrinks another. *real*: a real CT and the same drawn through such a field, with
noise of its own and blobs of oil, of which the second scan has kept a third. Truth is the field, never an image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from angio_pipeline.core.followups import CtVolume
from angio_pipeline.core.provenance import Source
from angio_pipeline.lipiodol.tissue import TissueParams, survey
from angio_pipeline.simulate import load_preset
from angio_pipeline.simulate.aftermath.ct import CtParams, CtPhase, CtScan, CtVisit, draw_placement, scan_visit
from angio_pipeline.simulate.aftermath.ct_placement import Placement
from angio_pipeline.simulate.anatomy.liver import points_within
from angio_pipeline.simulate.patient import Patient, make_patient
from angio_pipeline.simulate.population import make_case

__all__ = ["RegistrationCase", "make_registration_case"]

FloatArray = npt.NDArray[np.float64]
Way = Callable[[FloatArray], FloatArray]

SLICES, MATRIX = 100, 256
TARGETS = 2000


@dataclass(frozen=True, slots=True, eq=False)
class RegistrationCase:
    """Two scans and where points of the liver of the first lie in the second.

    Attributes
    ----------
    fixed, moving : CtVolume
    targets, truth : ndarray, (N, 3) float64
        LPS points of the liver in the fixed scan, and the same points of tissue in the moving scan.
    oil : ndarray, (N,) bool
        Targets within 10 mm of oil.
    """

    name: str
    fixed: CtVolume
    moving: CtVolume
    targets: FloatArray
    truth: FloatArray
    oil: npt.NDArray[np.bool_]


def make_registration_case(kind: str, seed: int, breath_mm: float, *, real: Path | None = None) -> RegistrationCase:
    """Return a pair whose livers lie about `breath_mm` apart along the body.

    Raises
    ------
    FileNotFoundError
        When a real scan is asked for and there is none.
    """
    if kind == "real":
        return _real_case(seed, breath_mm, real or Path())
    patient, first, second, params = _two_scans(seed, breath_mm)
    rng = np.random.default_rng([seed, 11])
    targets = first.placement.to_scanner(points_within(patient.anatomy.lobes, TARGETS, rng))
    truth = second.placement.to_scanner(first.placement.to_patient(targets))
    fixed, moving = _volume(first, params), _volume(second, params)
    if kind == "swelling":
        way, back = _swelling(truth, 0.5 * breath_mm, rng)
        moving = _drawn_through(moving, back, rng, noise_hu=0.0)
        truth = way(truth)
    inside = _within(fixed, targets) & _within(moving, truth)
    near = np.zeros(len(targets), np.bool_)
    for centre in first.centroid_mm.values():
        near |= np.linalg.norm(targets - centre, axis=1) < 25.0
    name = f"{kind}, patient {seed}, {breath_mm:g} mm"
    return RegistrationCase(name, fixed, moving, targets[inside], truth[inside], near[inside])


def _two_scans(seed: int, breath_mm: float) -> tuple[Patient, CtScan, CtScan, CtParams]:
    preset = load_preset("clinical")
    gap = (preset.ct.high_mm - preset.ct.low_mm) / (SLICES - 1)
    params = preset.ct.model_copy(
        update={
            "matrix": MATRIX, "slice_mm": 2.0, "increment_mm": gap, "breath_mm": max(breath_mm, 1.0), "bend_mm": 2.0,
            "shift_mm": 6.0, "turn_deg": 3.0, "other_protocol": 0.0,
        }
    )  # fmt: skip
    patient = make_patient(make_case(seed, 0), preset)
    first, second = _seeds(params, seed, breath_mm)
    scans = [
        scan_visit(patient.body, patient.anatomy, patient.treatment, CtVisit(days, (CtPhase.PLAIN,)), params,
                   np.random.default_rng(number), vessels=patient.vessels)[0]
        for days, number in ((7.0, first), (84.0, second))
    ]  # fmt: skip
    return patient, scans[0], scans[1], params


def _seeds(params: CtParams, seed: int, breath_mm: float) -> tuple[list[int], list[int]]:
    # Placements are drawn by the simulator; the first pair whose levels of breath are as far apart as asked is taken.
    def level(number: list[int]) -> Placement:
        return draw_placement(params, np.random.default_rng(number).spawn(3)[0])

    for k in range(10_000):
        pair = [seed, 2 * k], [seed, 2 * k + 1]
        if abs(abs(level(pair[0]).breath_mm - level(pair[1]).breath_mm) - breath_mm) < 0.5:
            return pair
    raise ValueError(f"Expected placements {breath_mm} mm apart among those drawn, found none.")


def _volume(scan: CtScan, params: CtParams) -> CtVolume:
    affine = np.eye(4)
    z, y, x = scan.spacing_mm
    affine[:3, :3] = [[0, 0, x], [0, y, 0], [z, 0, 0]]
    affine[:3, 3] = scan.origin_mm
    source = Source("1", "2", date="20240101", modality="CT")
    return CtVolume(scan.hu.astype(np.float32), affine, source, kvp=params.kvp, clip_hu=scan.clip_hu)


def _swelling(points: FloatArray, reach_mm: float, rng: np.random.Generator) -> tuple[Way, Way]:
    """Return a smooth field that swells and shrinks, and its inverse."""
    centres = points[rng.integers(len(points), size=4)]
    pushes = rng.normal(0, 1, (4, 3))
    pushes *= reach_mm / np.linalg.norm(pushes, axis=1, keepdims=True)

    def shift(p: FloatArray) -> FloatArray:
        gap = p[:, None] - centres
        return np.asarray((np.exp(-0.5 * (gap**2).sum(axis=-1) / 45.0**2)[..., None] * pushes).sum(axis=1))

    def forth(p: FloatArray) -> FloatArray:
        return p + shift(p)

    def back(p: FloatArray) -> FloatArray:
        found = p
        for _ in range(30):
            found = p - shift(found)
        return found

    return forth, back


def _drawn_through(volume: CtVolume, back: Way, rng: np.random.Generator, *, noise_hu: float) -> CtVolume:
    """Return the scan of an abdomen whose every point has gone where a field took it."""
    shape = volume.hu.shape
    out, known = np.empty(shape, np.float32), np.zeros(shape[0])
    inverse = np.linalg.inv(volume.affine)
    # Cubic splines, so that drawing through blurs little.
    spline = ndimage.spline_filter(volume.hu, order=3, mode="nearest").astype(np.float32)
    plane = np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[2]), indexing="ij"), axis=-1).reshape(-1, 2)
    for z in range(shape[0]):
        index = np.column_stack([np.full(len(plane), z), plane]).astype(float)
        world = back(index @ volume.affine[:3, :3].T + volume.affine[:3, 3])
        at = (world @ inverse[:3, :3].T + inverse[:3, 3]).T
        known[z] = np.mean((at[0] >= 0) & (at[0] <= shape[0] - 1))
        out[z] = ndimage.map_coordinates(spline, at, order=3, mode="nearest", prefilter=False).reshape(shape[1:])
    out += _noise(shape, noise_hu, rng)
    # Slices of which the first scan shows too little are not made up.
    kept = np.flatnonzero(known > 0.98)
    affine = volume.affine.copy()
    affine[:3, 3] += kept[0] * affine[:3, 0]
    hu = np.clip(out[kept[0] : kept[-1] + 1], -1024, 3071)
    return CtVolume(hu, affine, volume.source, kvp=volume.kvp, clip_hu=3071)


def _noise(shape: tuple[int, ...], noise_hu: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    if noise_hu == 0:
        return np.zeros(shape, np.float32)
    white = ndimage.gaussian_filter(rng.normal(0, 1, shape).astype(np.float32), (0, 0.7, 0.7))
    return np.asarray(noise_hu * white / white.std(), dtype=np.float32)


def _within(volume: CtVolume, points: FloatArray) -> npt.NDArray[np.bool_]:
    index = (points - volume.affine[:3, 3]) @ np.linalg.inv(volume.affine[:3, :3]).T
    return np.asarray(np.all((index > 0) & (index < np.array(volume.hu.shape) - 1), axis=1))


# --- the real scan


def _real_case(seed: int, breath_mm: float, folder: Path) -> RegistrationCase:
    if not (folder / "example_ct.nii.gz").is_file():
        raise FileNotFoundError(f"Expected example_ct.nii.gz in {folder}; name the folder of the real scan by --real.")
    image = sitk.ReadImage(str(folder / "example_ct.nii.gz"))
    affine = _affine(image)
    hu = sitk.GetArrayFromImage(image).astype(np.float32)
    source = Source("1", "2", date="20240101", modality="CT")
    # Nobody drew this liver: the points are those of the liver as the program first sees it. Their way is known.
    seen = survey(CtVolume(hu, affine, source, kvp=120.0), params=TissueParams())
    rng = np.random.default_rng([seed, 12])
    where = np.argwhere(ndimage.binary_erosion(seen.liver, iterations=3))
    inner = where[rng.integers(len(where), size=TARGETS)] @ seen.affine[:3, :3].T + seen.affine[:3, 3]
    centres = inner[rng.integers(len(inner), size=2)]
    grid = np.moveaxis(np.indices(hu.shape).astype(np.float32), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    oil = sum(
        (
            600.0 / (1 + np.exp((np.linalg.norm(grid - c, axis=-1) - r) / 1.0))
            for c, r in zip(centres, (13.0, 9.0), strict=True)
        ),
        start=np.zeros(hu.shape),
    )
    fixed = CtVolume((hu + oil).astype(np.float32), affine, source, kvp=120.0)
    later = CtVolume((hu + oil / 3).astype(np.float32), affine, source, kvp=120.0)
    way, back = _whole_body(inner, breath_mm, rng)
    moving = _drawn_through(later, back, rng, noise_hu=10.0)
    truth = way(inner)
    near = np.linalg.norm(inner[:, None] - centres, axis=-1).min(axis=1) < 25.0
    inside = _within(moving, truth)
    name = f"real, field {seed}, {breath_mm:g} mm"
    return RegistrationCase(name, fixed, moving, inner[inside], truth[inside], near[inside])


def _affine(image: sitk.Image) -> FloatArray:
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, :3], affine[:3, 3] = direction[:, ::-1], image.GetOrigin()
    return affine


def _whole_body(inner: FloatArray, breath_mm: float, rng: np.random.Generator) -> tuple[Way, Way]:
    # Breath wanes with the distance from the liver's middle; the patient lies turned and shifted on top of it.
    middle = inner.mean(axis=0)
    local, local_back = _swelling(inner, 0.4 * breath_mm, rng)
    turn = np.deg2rad(rng.normal(0, 2.0))
    c, s = np.cos(turn), np.sin(turn)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    shift = rng.normal(0, 4.0, 3)

    def breath(p: FloatArray) -> FloatArray:
        out = np.zeros_like(p)
        out[:, 2] = -breath_mm * np.exp(-0.5 * (((p - middle) / (110.0, 90.0, 120.0)) ** 2).sum(axis=1))
        return out

    def way(p: FloatArray) -> FloatArray:
        q = local(p)
        return np.asarray((q + breath(q) - middle) @ rotation.T + middle + shift)

    def back(p: FloatArray) -> FloatArray:
        q = (p - shift - middle) @ rotation + middle
        found = q
        for _ in range(30):
            found = q - breath(found)
        return local_back(found)

    return way, back
