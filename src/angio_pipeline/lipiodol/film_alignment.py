"""Alignment of radiographs of one patient: shift, turn and scale, blind to the lesion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from pydantic import Field
from scipy import ndimage

from angio_pipeline.core.followups import Radiograph
from angio_pipeline.core.params import Params
from angio_pipeline.numerics import rigid

__all__ = ["FilmAlignmentParams", "align_film"]

Image = npt.NDArray[np.float64]
BoolImage = npt.NDArray[np.bool_]


class FilmAlignmentParams(Params):
    """Settings of the films' alignment; `working_px` is the longer side at which it is done."""

    working_px: int = Field(256, ge=64, le=1024)
    iterations: int = Field(150, ge=1)
    threads: int = Field(1, ge=1)


def align_film(
    film: Radiograph,
    layers: Sequence[Image],
    reference: Radiograph,
    target: Image,
    avoid: BoolImage,
    *,
    params: FilmAlignmentParams,
) -> tuple[list[Image], BoolImage]:
    """Return a film's layers on the reference's pixels, and where the film has data there.

    Parameters
    ----------
    layers : sequence of ndarray, (H, W)
        Pictures on the film's pixels; the first is matched with `target`.
    target : ndarray
        The reference's attenuation.
    avoid : ndarray, reference's pixels, bool
        The lesion, left out of the metric.
    """
    fixed = _normalised(target, reference.valid)
    moving = _normalised(layers[0], film.valid)
    spacing = [_spacing(each, film, reference) for each in (reference, film)]
    fixed_image, moving_image = _picture(fixed, spacing[0]), _picture(moving, spacing[1])
    near = ndimage.binary_dilation(avoid, iterations=3)
    usable = _picture((reference.valid & ~near).astype(np.uint8), spacing[0])
    start = _first_shift(fixed, moving, spacing, params)
    transform = _refine(fixed_image, moving_image, usable, start, params)

    def moved(layer: Image) -> Image:
        picture = sitk.Resample(_picture(layer, spacing[1]), fixed_image, transform, sitk.sitkLinear, 0.0)
        return np.asarray(sitk.GetArrayFromImage(picture), dtype=np.float64)

    return [moved(layer) for layer in layers], moved(film.valid.astype(np.float64)) > 0.999


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
