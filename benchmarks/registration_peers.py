"""Ways to lay one CT of the liver upon another that others offer, each as its own examples suggest.

Every function takes two volumes on grids of cubic voxels (`Seen`), cut to the box around the liver, and the rigid
motion that this program finds around the liver, and returns where points of the fixed volume lie in the moving one.
So nobody fails for want of a start or is slowed by a body that nobody asks for. Only the masked B-spline is told of
oil, liver and bone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from angio_pipeline.numerics import volumes as space

__all__ = ["PEERS", "Seen"]

FloatArray = npt.NDArray[np.float64]
Place = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Windowed attenuation, (Z, Y, X), with its affine to LPS (axes along the world's, cubic voxels).

    `parts` is what this program compares: the liver and a shell around it, without oil and bone.
    """

    grey: npt.NDArray[np.float32]
    affine: FloatArray
    parts: npt.NDArray[np.bool_]

    def boxed(self, margin_mm: float) -> Seen:
        """Return it cut to the box of its parts and a margin about them."""
        box = space.bounding_box(self.parts, self.affine, margin_mm=margin_mm)
        affine = space.crop_affine(self.affine, box)
        return Seen(np.ascontiguousarray(self.grey[box]), affine, np.ascontiguousarray(self.parts[box]))


def bspline(fixed: Seen, moving: Seen, start: FloatArray) -> Place:
    """Return a B-spline of 30 mm on top of it, squared differences, in three levels of resolution."""
    return _placed(_bspline(fixed, moving, start, masked=False))


def bspline_masked(fixed: Seen, moving: Seen, start: FloatArray) -> Place:
    """Return the same B-spline, told what to compare by the masks that this program uses."""
    return _placed(_bspline(fixed, moving, start, masked=True))


def _bspline(fixed: Seen, moving: Seen, start: FloatArray, *, masked: bool) -> sitk.Transform:
    a, b = _image(fixed), _image(moving)
    first = _affine(start)
    size = [max(round(n * s / 30.0), 1) for n, s in zip(a.GetSize(), a.GetSpacing(), strict=True)]
    spline = sitk.BSplineTransformInitializer(a, size)
    method = _method((4, 2, 1))
    method.SetMovingInitialTransform(first)
    method.SetInitialTransform(spline, inPlace=True)
    method.SetOptimizerAsLBFGSB(gradientConvergenceTolerance=1e-5, numberOfIterations=60)
    if masked:
        method.SetMetricFixedMask(_image(fixed, fixed.parts.astype(np.uint8)))
        method.SetMetricMovingMask(_image(moving, moving.parts.astype(np.uint8)))
    method.Execute(a, b)
    return sitk.CompositeTransform([first, spline])


def syn(fixed: Seen, moving: Seen, start: FloatArray) -> Place:
    """Return the symmetric diffeomorphism of dipy on top of it, local correlation, as in its 3-D example."""
    from dipy.align.imwarp import SymmetricDiffeomorphicRegistration
    from dipy.align.metrics import CCMetric

    a, b = _image(fixed), _image(moving)
    first = _affine(start)
    # Laid on the fixed grid by the rigid motion; what dipy adds is a displacement there.
    laid = sitk.GetArrayFromImage(sitk.Resample(b, a, first, sitk.sitkLinear, float(fixed.grey.min())))
    registration = SymmetricDiffeomorphicRegistration(CCMetric(3), level_iters=[10, 10, 5])
    found = registration.optimize(fixed.grey.astype(np.float64), laid.astype(np.float64))
    inverse = np.linalg.inv(fixed.affine)

    def place(points: FloatArray) -> FloatArray:
        index = points @ inverse[:3, :3].T + inverse[:3, 3]
        there = np.asarray(found.transform_points(index))
        return _placed(first)(there @ fixed.affine[:3, :3].T + fixed.affine[:3, 3])

    return place


PEERS: dict[str, Callable[[Seen, Seen, FloatArray], Place]] = {
    "SimpleITK B-spline": bspline,
    "SimpleITK B-spline, masked": bspline_masked,
    "dipy SyN": syn,
}


def _image(seen: Seen, values: npt.NDArray[Any] | None = None) -> sitk.Image:
    image = sitk.GetImageFromArray(seen.grey if values is None else values)
    step = float(seen.affine[2, 0])
    image.SetSpacing([step] * 3)
    image.SetOrigin([float(v) for v in seen.affine[:3, 3]])
    return image


def _method(shrink: tuple[int, ...]) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMeanSquares()
    method.SetMetricSamplingStrategy(method.RANDOM)
    # The share of voxels of SimpleITK's own B-spline examples is 1 %; a box this small takes more.
    method.SetMetricSamplingPercentage(0.05, seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel(list(shrink))
    method.SetSmoothingSigmasPerLevel([float(s // 2) for s in shrink])
    return method


def _affine(motion: FloatArray) -> sitk.Transform:
    out = sitk.AffineTransform(3)
    out.SetMatrix([float(v) for v in motion[:3, :3].ravel()])
    out.SetTranslation([float(v) for v in motion[:3, 3]])
    return out


def _placed(transform: sitk.Transform) -> Place:
    return lambda points: np.array([transform.TransformPoint([float(v) for v in p]) for p in points])
