"""Lesions found by their oil, where no region was given.

Oil is bright and sits inside the liver. Bone, contrast in vessels or bowel, stones and metal are bright too, but
are not enclosed by liver, or are not bright or large enough. What one scan leaves in doubt, because it is faint or
borders on the liver's surface, a later scan may settle: oil fades and some of it stays, bone and calcium do not fade,
and contrast medium in the bowel leaves nothing. What cannot be told apart is left to a region given by the reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage, spatial

from angio_pipeline.core.params import Params
from angio_pipeline.core.tumours import LesionOrigin
from angio_pipeline.lipiodol.lesions import Lesion
from angio_pipeline.lipiodol.tissue import Tissue, liver_around
from angio_pipeline.numerics import volumes as space

__all__ = ["FindingParams", "OtherScan", "find_lesions"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class FindingParams(Params):
    """Settings of finding lesions by their oil.

    Where a later scan decides, less is enough (`doubtful_enclosed`, `doubtful_touching`, faint oil): the densest
    tenth of a piece must have fallen to between `stays` and `fades` of what it was.
    """

    peak_hu: float = Field(
        120.0, ge=30.0, description="how far above liver the densest tenth of a deposit must lie, HU"
    )
    enclosed: float = Field(
        0.5, ge=0.0, le=1.0, description="share of a deposit's surroundings that must be liver (half at its surface)"
    )
    touching: float = Field(0.4, ge=0.0, le=1.0, description="the same before the rim that a lesion parted is restored")
    metal_ml: float = Field(1.5, ge=0.0, description="what is smaller and denser than metal_hu is a clip or a coil, ml")
    metal_hu: float = Field(
        800.0, ge=300.0, description="what is denser and smaller than metal_ml is a clip or a coil, HU"
    )
    least_ml: float = Field(0.1, ge=0.0, description="least size of a lesion, ml")
    greatest_ml: float = Field(1500.0, gt=0.0, description="greatest size of a lesion, ml")
    group_mm: float = Field(6.0, ge=0.0, le=30.0, description="pieces no farther apart are one lesion, mm")
    rib_mm: float = Field(6.0, ge=1.0, le=20.0, description="more than half of a rib's thickness, mm")
    nodule: float = Field(
        0.2, ge=0.0, le=1.0, description="share of the main piece below which one beside it may be a nodule"
    )
    most_lesions: int = Field(10, ge=1, description="that many lesions are kept, those that hold most")
    doubtful_enclosed: float = Field(0.4, ge=0.0, le=1.0, description="enclosed, where a later scan decides")
    doubtful_touching: float = Field(0.15, ge=0.0, le=1.0, description="touching, where a later scan decides")
    faint_hu: float = Field(20.0, ge=10.0, description="rise above liver of faint oil that a later scan decides on, HU")
    faint_ml: float = Field(1.0, ge=0.1, description="least piece of faint oil, ml")
    faint_mm: float = Field(4.0, ge=1.0, le=20.0, description="radius of the ball that faint oil must hold, mm")
    blur_mm: float = Field(2.5, ge=0.0, le=8.0, description="blur of both scans where they are compared, SD in mm")
    settled_mm: float = Field(7.5, ge=0.0, description="how far from its place oil is looked for in the other scan, mm")
    enhanced_hu: float = Field(
        150.0, ge=0.0, description="what was brighter before treatment is more than enhancement, HU above liver"
    )
    fades: float = Field(0.75, gt=0.0, lt=1.0, description="oil falls below this share of what it was")
    stays: float = Field(0.1, ge=0.0, lt=1.0, description="oil keeps more than this share of what it was")


@dataclass(frozen=True, slots=True, eq=False)
class OtherScan:
    """Another scan, and the (4, 4) motions that lead there: as organs go with the breath, and as bone goes."""

    tissue: Tissue
    organs: FloatArray
    bone: FloatArray


def find_lesions(
    tissue: Tissue,
    from_reference: FloatArray,
    *,
    before: Sequence[OtherScan] = (),
    later: Sequence[OtherScan] = (),
    params: FindingParams,
) -> tuple[Lesion, ...]:
    """Return the deposits in the liver, greatest amount first, as lesions L1, L2, …

    Parameters
    ----------
    tissue : Tissue
        Of a plain scan, where `later` holds any.
    before
        Scans before treatment: what was as bright in one of them is not oil of this treatment.
    later
        Plain scans that followed: without one, what a single scan leaves in doubt is no lesion.
    """
    if not tissue.liver.any():
        return ()
    course = _Course(tissue, before, later, params)
    found = [piece for piece in _surely(tissue, params) if not course.was_there(piece)]
    if later:
        found += _at_the_surface(tissue, course, found, params)
        found += _faint(tissue, course, found, params)
    found.sort(key=lambda one: -float((tissue.hu[one] - tissue.liver_hu).sum()))
    return tuple(
        _as_lesion(f"L{i + 1}", group, tissue, from_reference, params)
        for i, group in enumerate(found[: params.most_lesions])
    )


def _surely(tissue: Tissue, params: FindingParams) -> list[BoolArray]:
    """Return what one scan tells by itself: bright, and enclosed by liver."""
    found: list[BoolArray] = []
    taken = np.zeros(tissue.bright.shape, dtype=np.bool_)
    for group in _groups(tissue, params):
        if (group & taken).any():
            continue
        if _is_metal(tissue, group, params):
            taken |= group  # nor are its pieces oil
        elif _is_oil(tissue, group, params):
            taken |= group
            found += _parted(tissue, group, params)
    return found


def _at_the_surface(
    tissue: Tissue, course: _Course, found: Sequence[BoolArray], params: FindingParams
) -> list[BoolArray]:
    """Return bright pieces that less liver encloses, and that fade as oil does."""
    less = params.model_copy(update={"enclosed": params.doubtful_enclosed, "touching": params.doubtful_touching})
    taken = _union(found, tissue)
    out = []
    for group in _groups(tissue, params):
        doubtful = not (group & taken).any() and not _is_metal(tissue, group, params) and _is_oil(tissue, group, less)
        if doubtful and course.fades(group) and not course.was_there(group):
            taken |= group
            out.append(group)
    return out


def _faint(tissue: Tissue, course: _Course, found: Sequence[BoolArray], params: FindingParams) -> list[BoolArray]:
    """Return what is a little brighter than the liver around it, wide enough to be no vessel, and fades."""
    excess = course.now
    # Bone and dense oil are faint at their blurred edges.
    dense = space.dilate((excess > params.peak_hu) | _union(found, tissue), tissue.affine, 2 * params.blur_mm)
    pale = space.open_by_ball(tissue.body & (excess > params.faint_hu) & ~dense, tissue.affine, params.faint_mm)
    joined = space.dilate(pale, tissue.affine, params.group_mm / 2)
    seen = replace(tissue, bright=tissue.bright | pale)
    near_liver = space.dilate(tissue.liver, tissue.affine, params.group_mm)
    return [
        piece
        for piece in _touched(joined, near_liver, kept=pale)
        if params.faint_ml <= np.count_nonzero(piece) * tissue.voxel_ml <= params.greatest_ml
        and _is_enclosed(seen, piece, params)
        and course.fades(piece)
        and not course.was_there(piece)
    ]


class _Course:
    """A scan's excess over its liver beside that of earlier and later scans, laid upon it."""

    def __init__(
        self, tissue: Tissue, before: Sequence[OtherScan], later: Sequence[OtherScan], params: FindingParams
    ) -> None:
        self._params, self._tissue = params, tissue
        self.now = space.smooth(tissue.hu, tissue.affine, params.blur_mm) - tissue.liver_hu
        self._before = [(self._laid(one, one.organs), self._laid(one, one.bone)) for one in before]
        self._later = [(self._laid(one, one.organs), self._laid(one, one.bone)) for one in later]

    def _laid(self, other: OtherScan, motion: FloatArray) -> npt.NDArray[np.float32]:
        own, there = self._tissue, other.tissue
        blurred = space.smooth(there.hu, there.affine, self._params.blur_mm) - there.liver_hu
        return space.resample(blurred, there.affine, own.hu.shape, own.affine, motion=motion, fill=np.nan)

    def was_there(self, piece: BoolArray) -> bool:
        """Return whether a piece was about as bright before treatment: calcium, metal, oil of long ago.

        A tumour that enhances is as bright as faint oil, but not as calcium.
        """
        now = self._bright_now(piece)
        bright = max(self._params.fades, self._params.enhanced_hu / now)
        return any(max(shares) > bright for shares in self._shares(piece, self._before))

    def fades(self, piece: BoolArray) -> bool:
        """Return whether a piece is oil by what becomes of it: it loses much, and not at once all.

        What follows the bone must be less as well: a rib beside the liver seems to vanish where the breath is followed.
        """
        left = self._shares(piece, self._later)
        if not left:
            return False
        stays = max(organs for organs, _ in left) >= self._params.stays
        return stays and min(max(shares) for shares in left) <= self._params.fades

    def _bright_now(self, piece: BoolArray) -> float:
        # A tiny piece beside fat may be blurred to less than liver.
        return max(_densest(self.now[piece], _tenth(piece)), 1.0)

    def _shares(
        self, piece: BoolArray, others: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
    ) -> list[tuple[float, float]]:
        """Return the densest tenth of a piece in other scans over what it is now, by the organs' and the bone's motion.

        A scan that does not hold the place tells nothing, and other bright things about the piece are left out.
        """
        params, affine = self._params, self._tissue.affine
        box = space.bounding_box(piece, affine, margin_mm=2 * params.settled_mm)
        own = piece[box]
        beside = space.dilate((self.now[box] > params.faint_hu) & ~space.dilate(own, affine, 5.0), affine, 2.5)
        about = space.dilate(own, affine, params.settled_mm) & ~beside
        densest, now = _tenth(own), self._bright_now(piece)
        return [
            (_densest(organs[box][about], densest) / now, _densest(np.nan_to_num(bone[box][about]), densest) / now)
            for organs, bone in others
            if np.isfinite(organs[box][about]).all()
        ]


def _tenth(piece: BoolArray) -> int:
    return max(3, int(np.count_nonzero(piece)) // 10)


def _densest(values: npt.NDArray[np.float32], count: int) -> float:
    return float(np.sort(values)[-count:].mean())


def _union(pieces: Sequence[BoolArray], tissue: Tissue) -> BoolArray:
    out = np.zeros(tissue.bright.shape, dtype=np.bool_)
    for piece in pieces:
        out |= piece
    return out


def _groups(tissue: Tissue, params: FindingParams) -> Iterable[BoolArray]:
    # Pieces that lie together are one lesion. Where such a group has swallowed a rib it fails as
    # a whole, and its pieces are tried one by one; last, what is thicker than a rib that it touches.
    near_liver = space.dilate(tissue.liver, tissue.affine, params.group_mm)
    for pieces in (
        space.dilate(tissue.bright, tissue.affine, params.group_mm / 2),
        tissue.bright,
        space.open_by_ball(tissue.bright, tissue.affine, params.rib_mm),
    ):
        yield from _touched(pieces, near_liver & tissue.bright, kept=tissue.bright)


def _touched(pieces: BoolArray, place: BoolArray, *, kept: BoolArray | None = None) -> Iterator[BoolArray]:
    """Return the connected pieces that reach a place, each cut to what is kept."""
    labels, _ = ndimage.label(pieces)
    hit = np.unique(labels[place])
    for label in hit[hit > 0]:
        piece = labels == label
        yield piece if kept is None else piece & kept


def _parted(tissue: Tissue, group: BoolArray, params: FindingParams) -> list[BoolArray]:
    """Return the lesions of one group: the main one, and each nodule beside it.

    Fragments of one lesion lie within its outline or are of its size; a small piece whose middle lies outside the
    convex outline of the main piece is a nodule of its own.
    """
    labels, count = ndimage.label(group)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    main = int(sizes.argmax())
    points = np.argwhere(labels == main)
    # A plate has no convex outline in space.
    if count == 1 or sizes[main] < 30 or np.ptp(points, axis=0).min() < 2:
        return [group]
    outline = spatial.Delaunay(points)
    own, nodules = group.copy(), []
    for label in range(1, count + 1):
        piece = labels == label
        outside = outline.find_simplex(np.argwhere(piece).mean(axis=0)) < 0
        if label != main and sizes[label] < params.nodule * sizes[main] and outside and _is_oil(tissue, piece, params):
            nodules.append(piece)
            own &= ~piece
    return [own, *nodules]


def _is_metal(tissue: Tissue, group: BoolArray, params: FindingParams) -> bool:
    small = float(np.count_nonzero(group)) * tissue.voxel_ml < params.metal_ml
    return small and float(tissue.hu[group].max()) > params.metal_hu


def _is_oil(tissue: Tissue, group: BoolArray, params: FindingParams) -> bool:
    volume_ml = float(np.count_nonzero(group)) * tissue.voxel_ml
    if not params.least_ml <= volume_ml <= params.greatest_ml:
        return False
    if float(np.percentile(tissue.hu[group], 90)) < tissue.liver_hu + params.peak_hu:
        return False
    return _is_enclosed(tissue, group, params)


def _is_enclosed(tissue: Tissue, group: BoolArray, params: FindingParams) -> bool:
    """Return whether enough of a bright piece's surroundings is liver, before and after its rim is restored.

    Muscle may be as dense as liver and bone lies in it: such a piece is enclosed only by what was
    restored, hardly by the liver as first seen.
    """
    shell = _surroundings(tissue, group)
    # Few pieces touch any liver, and only for those is its rim worth to be looked for.
    if not shell.any() or float(tissue.liver[shell].mean()) < params.touching:
        return False
    restored = np.zeros(shell.shape, dtype=np.bool_)
    liver, box = liver_around(tissue, group)
    restored[box] = liver
    return float(restored[shell].mean()) >= params.enclosed


def _surroundings(tissue: Tissue, group: BoolArray) -> BoolArray:
    """Return the voxels beyond a piece's blurred edge that are not bright themselves."""
    step = float(space.spacing_mm(tissue.affine)[0])
    box = space.bounding_box(group, tissue.affine, margin_mm=5 * step)
    distance = space.distance_mm(group[box], tissue.affine)
    out = np.zeros(group.shape, dtype=np.bool_)
    out[box] = (distance > 2 * step) & (distance <= 4.5 * step) & ~tissue.bright[box]
    return out


def _as_lesion(
    name: str, group: BoolArray, tissue: Tissue, from_reference: FloatArray, params: FindingParams
) -> Lesion:
    box = space.bounding_box(group, tissue.affine, margin_mm=params.group_mm + 5.0)
    affine = space.crop_affine(tissue.affine, box)
    closed = space.dilate(space.dilate(group[box], affine, params.group_mm), affine, -params.group_mm)
    hull = ndimage.binary_fill_holes(closed | group[box])
    return Lesion(name, np.asarray(hull), affine, from_reference, LesionOrigin.DETECTED)
