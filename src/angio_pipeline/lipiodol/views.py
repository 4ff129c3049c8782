"""Aligned slices for the report: the same plane through a lesion at every date."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.followups import AlignedView
from angio_pipeline.core.params import Params
from angio_pipeline.lipiodol.deposit import Deposit
from angio_pipeline.lipiodol.lesions import Lesion, Patch
from angio_pipeline.lipiodol.scans import Scan
from angio_pipeline.numerics import volumes as space

__all__ = ["ViewParams", "aligned_view"]


class ViewParams(Params):
    """Settings of the pictures: one window for all dates, in HU."""

    pixel_mm: float = Field(0.8, gt=0.1, le=5.0, description="side of a pixel, mm")
    side_px: int = Field(160, ge=16, le=1024, description="side of the pictures, pixels")
    window_hu: tuple[float, float] = Field((-100.0, 400.0), description="window of all dates, HU")


def aligned_view(
    scan: Scan, lesion: Lesion, patch: Patch | None, deposit: Deposit | None, *, params: ViewParams
) -> AlignedView:
    """Return the axial plane of the reference through the lesion, as this scan shows it.

    The picture runs as a reader expects: patient's right on the left, front at the top.
    """
    grid = _plane(lesion, params)
    shape = (1, params.side_px, params.side_px)
    motion = scan.motion_to(lesion)
    image = space.resample(scan.volume.hu, scan.volume.affine, shape, grid, motion=motion, fill=-1000.0)[0]
    outline: npt.NDArray[np.bool_] = np.zeros(image.shape, dtype=np.bool_)
    if patch is not None and deposit is not None:
        outline = space.resample_mask(deposit.mask, patch.affine, shape, grid, motion=motion)[0]
    own = space.resample_mask(lesion.mask, lesion.affine, shape, grid, motion=lesion.from_reference)[0]
    return AlignedView(image, outline, own, params.window_hu)


def _plane(lesion: Lesion, params: ViewParams) -> npt.NDArray[np.float64]:
    half = 0.5 * (params.side_px - 1) * params.pixel_mm
    grid = np.eye(4)
    step = params.pixel_mm
    grid[:3, :3] = np.array([[0, 0, step], [0, step, 0], [step, 0, 0]])
    grid[:3, 3] = np.array(lesion.centroid_mm) - [half, half, 0.0]
    return grid
