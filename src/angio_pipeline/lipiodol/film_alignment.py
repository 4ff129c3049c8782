"""Alignment of radiographs of one patient: shift, turn and scale, blind to the lesion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.followups import Radiograph
from angio_pipeline.core.params import Params
from angio_pipeline.numerics import rigid

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = ["AlignedFilm", "FilmAlignmentParams", "align_film"]

Image = npt.NDArray[np.float64]
BoolImage = npt.NDArray[np.bool_]


class FilmAlignmentParams(Params):
    """Settings of the films' alignment."""

    working_px: int = Field(256, ge=64, le=1024, description="longer side at which films are aligned, pixels")
    iterations: int = Field(150, ge=1, description="greatest number of steps")
    threads: int = Field(1, ge=1, description="threads")


@dataclass(frozen=True, slots=True, eq=False)
class AlignedFilm:
    """A film in its place on the reference's pixels.

    Attributes
    ----------
    picture : ndarray, (H, W)
        The film's picture on the reference's pixels, 0 where the film has no data.
    seen : ndarray, (H, W) bool
        Where the film has data.
    """

    picture: Image
    seen: BoolImage
    carry: Callable[[Image], Image]


def align_film(
    film: Radiograph,
    picture: Image,
    reference: Radiograph,
    target: Image,
    avoid: BoolImage,
    middles: tuple[Image, Image] | None = None,
    *,
    params: FilmAlignmentParams,
) -> AlignedFilm:
    """Return a film on the reference's pixels; `carry` takes further pictures on the film's pixels there.

    Parameters
    ----------
    picture, target : ndarray, (H, W)
        What is matched: the film's and the reference's attenuation, each in its own units.
    avoid : ndarray, reference's pixels, bool
        The lesion, left out of the metric.
    middles : pair of ndarray (2,), optional
        The same point on the reference and on the film, (row, col): where the search may start.
    """
    fixed, moving = _normalised(target, reference.valid), _normalised(picture, film.valid)
    spacing = [_spacing(each, film, reference) for each in (reference, film)]
    import SimpleITK as sitk

    fixed_image, moving_image = _picture(fixed, spacing[0]), _picture(moving, spacing[1])
    near = ndimage.binary_dilation(avoid, iterations=3)
    usable = reference.valid & ~near
    usable_image = _picture(usable.astype(np.uint8), spacing[0])
    starts = [_first_shift(fixed, moving, spacing, params)]
    if middles is not None:
        here, there = (middle * s for middle, s in zip(middles, spacing, strict=True))
        starts.append((float(there[1] - here[1]), float(there[0] - here[0])))

    def mover(transform: sitk.Transform) -> Callable[[Image], Image]:
        def carry(layer: Image) -> Image:
            out = sitk.Resample(_picture(layer, spacing[1]), fixed_image, transform, sitk.sitkLinear, 0.0)
            return np.asarray(sitk.GetArrayFromImage(out), dtype=np.float64)

        return carry

    movers = [mover(_refine(fixed_image, moving_image, usable_image, start, params)) for start in starts]
    best = max(movers, key=lambda carry: _likeness(carry(moving), fixed, usable & _sees(carry, film)))
    return AlignedFilm(best(picture), _sees(best, film), best)


def _sees(carry: Callable[[Image], Image], film: Radiograph) -> BoolImage:
    return np.asarray(carry(film.valid.astype(np.float64)) > 0.999)


def _likeness(moved: Image, fixed: Image, where: BoolImage) -> float:
    """Return the correlation over what both show; -1 when that is less than a quarter of the picture."""
    if np.count_nonzero(where) < 0.25 * where.size:
        return -1.0
    a, b = moved[where], fixed[where]
    spread = float(a.std() * b.std())
    return float(np.mean((a - a.mean()) * (b - b.mean())) / spread) if spread > 0 else -1.0


def _spacing(film: Radiograph, a: Radiograph, b: Radiograph) -> tuple[float, float]:
    # Millimetres only when both films have them in the same plane; otherwise pixels on both.
    if a.spacing is None or b.spacing is None or a.spacing.plane is not b.spacing.plane or film.spacing is None:
        return 1.0, 1.0
    return film.spacing.row_mm, film.spacing.col_mm


def _normalised(image: Image, valid: BoolImage) -> Image:
    values = image[valid] if valid.any() else image
    low, middle, high = np.percentile(values, [5, 50, 95])
    out = np.clip((image - middle) / max(high - low, 1e-9), -1.0, 1.0)
    return np.where(valid, out, 0.0)


def _picture(image: npt.NDArray[np.float64] | npt.NDArray[np.uint8], spacing: tuple[float, float]) -> sitk.Image:
    import SimpleITK as sitk

    picture = sitk.GetImageFromArray(image if image.dtype == np.uint8 else image.astype(np.float32))
    picture.SetSpacing((spacing[1], spacing[0]))
    return picture


def _first_shift(
    fixed: Image, moving: Image, spacing: list[tuple[float, float]], params: FilmAlignmentParams
) -> tuple[float, float]:
    """Return the (x, y) translation in the images' units that agrees best, on a coarse grid."""
    step = max(fixed.shape[0] * spacing[0][0], fixed.shape[1] * spacing[0][1]) / params.working_px * 4
    coarse = [
        np.asarray(ndimage.zoom(image, (s[0] / step, s[1] / step), order=1), dtype=np.float32)
        for image, s in zip((fixed, moving), spacing, strict=True)
    ]
    row, col = rigid.search_shift(coarse[0], coarse[1], least_overlap=0.5).tolist()
    return col * step, row * step


def _refine(
    fixed: sitk.Image, moving: sitk.Image, usable: sitk.Image, start: tuple[float, float], params: FilmAlignmentParams
) -> sitk.Transform:
    import SimpleITK as sitk

    similarity = sitk.Similarity2DTransform()
    size, spacing = fixed.GetSize(), fixed.GetSpacing()
    similarity.SetCenter([0.5 * n * s for n, s in zip(size, spacing, strict=True)])
    similarity.SetTranslation(start)
    shrink = max(1, round(max(size) / params.working_px))
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(params.threads)
    method.SetMetricAsCorrelation()
    method.SetMetricFixedMask(usable)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, params.iterations)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2 * shrink, shrink])
    method.SetSmoothingSigmasPerLevel([2.0 * shrink, 0.5 * shrink])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    method.SetInitialTransform(similarity, inPlace=True)
    first = sitk.Similarity2DTransform(similarity)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:
        return first  # all overlap was lost on the way: the coarse shift is the best that is known
    return similarity
