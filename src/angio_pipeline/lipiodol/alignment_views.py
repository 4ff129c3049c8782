"""What is told of each scan's alignment: numbers, and pictures that alternate with the reference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from angio_pipeline.core.followups import AlignmentMethod, AlignmentPictures, ScanAlignment
from angio_pipeline.lipiodol.matching import Place
from angio_pipeline.lipiodol.scans import Scan
from angio_pipeline.lipiodol.tissue import Tissue
from angio_pipeline.numerics import volumes as space

__all__ = ["tell_alignment"]

FloatArray = npt.NDArray[np.float64]
_WINDOW_HU = (-110.0, 190.0)


def tell_alignment(scan: Scan, reference: Scan) -> ScanAlignment:
    """Return how a scan was laid upon the reference, and how well."""
    source, found = scan.volume.source, scan.alignment
    if scan is reference:
        return ScanAlignment(source, scan.days, AlignmentMethod.REFERENCE, motion=np.eye(4))
    bend = found.bend
    method = AlignmentMethod.RIGID if bend is None else AlignmentMethod.DEFORMABLE
    before, after = (gap if np.isfinite(gap) else None for gap in found.edge_gap_mm)
    return ScanAlignment(
        source,
        scan.days,
        AlignmentMethod.REFUSED if found.refusal else method,
        correlation=found.score if np.isfinite(found.score) else None,
        edge_gap_before_mm=before,
        edge_gap_mm=after,
        shift_mm=_shift(scan, reference.tissue),
        bend_mm=None if bend is None else bend.reach_mm,
        volume_change=None if bend is None else bend.volume_change,
        reason=found.refusal or found.not_bent,
        pictures=_pictures(scan, reference.tissue),
        motion=None if found.refusal else _motion(scan, reference.tissue),
    )


def _motion(scan: Scan, tissue: Tissue) -> FloatArray:
    """Return the rigid motion that is nearest to the alignment about the liver, (4, 4)."""
    mask = tissue.liver if tissue.liver.any() else tissue.body
    if not mask.any():
        return scan.alignment.motion
    return scan.alignment.near(space.to_world(tissue.affine, np.argwhere(mask)))


def _shift(scan: Scan, tissue: Tissue) -> float:
    """Return how far the middle of the liver (of the body where there is none) has gone."""
    mask = tissue.liver if tissue.liver.any() else tissue.body
    if not mask.any():
        return float("nan")
    points = space.to_world(tissue.affine, np.argwhere(mask).mean(axis=0, keepdims=True))
    return float(np.linalg.norm(scan.alignment.place(points) - points))


def _pictures(scan: Scan, tissue: Tissue) -> AlignmentPictures:
    mask = tissue.liver if tissue.liver.any() else np.ones(tissue.hu.shape, dtype=np.bool_)
    z, y, _ = np.argwhere(mask).mean(axis=0).astype(int).tolist()
    index = np.moveaxis(np.indices(tissue.hu.shape), 0, -1)
    # Patient's right on the left; front at the top above, head at the top below.
    planes = [index[z].astype(float), index[::-1, y].astype(float)]

    def drawn(shown: Tissue, place: Place) -> npt.NDArray[np.float32]:
        return np.vstack([_plane(shown, place(space.to_world(tissue.affine, plane))) for plane in planes])

    def stays(points: FloatArray) -> FloatArray:
        return points

    return AlignmentPictures(
        drawn(tissue, stays), drawn(scan.tissue, stays), drawn(scan.tissue, scan.alignment.place), _WINDOW_HU
    )


def _plane(shown: Tissue, points: FloatArray) -> npt.NDArray[np.float32]:
    index = np.moveaxis(space.to_index(shown.affine, points), -1, 0)
    out = ndimage.map_coordinates(shown.hu, index, order=1, mode="constant", cval=-1000.0)
    return np.asarray(out, dtype=np.float32)
