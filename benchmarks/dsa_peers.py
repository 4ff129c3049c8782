"""Ways to lay a mask upon live frames that others offer, each with the settings that its own manual suggests.

Every function takes attenuation, (T, H, W) float32, whose first frame is the mask, and returns where in the
mask each frame's anatomy stands: (T, h, w, 2) offsets (row, col), or (T, 1, 1, 2) for one shift a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def none(frames: FloatArray) -> FloatArray:
    """Return no motion."""
    return np.zeros((len(frames), 1, 1, 2), np.float32)


def _ecc(frames: FloatArray, motion: int) -> list[FloatArray]:
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    # The stubs know no missing mask.
    ecc: Any = cv2.findTransformECC
    matrices, last = [], np.eye(2, 3, dtype=np.float32)
    for frame in frames:
        _, found = ecc(frame, frames[0], last.copy(), motion, criteria, None, 5)
        last = np.asarray(found, np.float32)
        matrices.append(last)
    return matrices


def ecc_translation(frames: FloatArray) -> FloatArray:
    """Return shifts by OpenCV's enhanced correlation coefficient."""
    matrices = _ecc(frames, cv2.MOTION_TRANSLATION)
    return np.array([[[[m[1, 2], m[0, 2]]]] for m in matrices], np.float32)


def ecc_affine(frames: FloatArray) -> FloatArray:
    """Return affine fields by OpenCV's enhanced correlation coefficient."""
    rows, cols = np.mgrid[: frames.shape[1], : frames.shape[2]].astype(np.float32)
    out = np.empty((*frames.shape, 2), np.float32)
    for field, m in zip(out, _ecc(frames, cv2.MOTION_AFFINE), strict=True):
        field[..., 0] = m[1, 0] * cols + m[1, 1] * rows + m[1, 2] - rows
        field[..., 1] = m[0, 0] * cols + m[0, 1] * rows + m[0, 2] - cols
    return out


def dis_flow(frames: FloatArray) -> FloatArray:
    """Return dense fields by OpenCV's DIS optical flow, preset MEDIUM, on 8 bits as it asks for."""
    low, high = np.percentile(frames[0], [0.5, 99.5])
    grey = np.clip((frames - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    nothing = np.zeros((*grey[0].shape, 2), np.float32)
    return np.stack([flow.calc(frame, grey[0], nothing.copy())[..., ::-1] for frame in grey])


def phase_correlation(frames: FloatArray) -> FloatArray:
    """Return shifts by scikit-image's phase correlation, windowed, not normalised, to a hundredth of a pixel."""
    from skimage.registration import phase_cross_correlation

    window = np.outer(np.hanning(frames.shape[1]), np.hanning(frames.shape[2])).astype(np.float32)
    windowed = [(frame - frame.mean()) * window for frame in frames]
    # What it returns takes the frame back to the mask; where the mask's pixel is read is the same with the sign turned.
    shifts = [
        phase_cross_correlation(frame, windowed[0], upsample_factor=100, normalization=None)[0] for frame in windowed
    ]
    return -np.array(shifts, np.float32)[:, None, None, :]


def stackreg_translation(frames: FloatArray) -> FloatArray:
    """Return shifts by pystackreg."""
    from pystackreg import StackReg

    method = StackReg(StackReg.TRANSLATION)
    matrices = [method.register(frame, frames[0]) for frame in frames.astype(np.float64)]
    return np.array([[[[m[1, 2], m[0, 2]]]] for m in matrices], np.float32)


def mattes_translation(frames: FloatArray) -> FloatArray:
    """Return shifts by SimpleITK with Mattes mutual information."""
    import SimpleITK as sitk

    mask, shifts = sitk.GetImageFromArray(frames[0]), []
    for frame in frames:
        method = _mattes(sitk)
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 100)
        method.SetInitialTransform(sitk.TranslationTransform(2), inPlace=False)
        found = method.Execute(sitk.GetImageFromArray(frame), mask)
        shifts.append(sitk.CompositeTransform(found).GetNthTransform(0).GetParameters()[::-1])
    return np.array(shifts, np.float32)[:, None, None, :]


def mattes_bspline(frames: FloatArray) -> FloatArray:
    """Return fields by SimpleITK's B-splines, 8 x 8 cells, with Mattes mutual information."""
    import SimpleITK as sitk

    mask, out = sitk.GetImageFromArray(frames[0]), np.empty((*frames.shape, 2), np.float32)
    for field, frame in zip(out, frames, strict=True):
        fixed = sitk.GetImageFromArray(frame)
        method = _mattes(sitk)
        method.SetOptimizerAsLBFGSB(gradientConvergenceTolerance=1e-5, numberOfIterations=60)
        method.SetInitialTransform(sitk.BSplineTransformInitializer(fixed, [8, 8], 3), inPlace=False)
        found = method.Execute(fixed, mask)
        moved = sitk.TransformToDisplacementField(found, sitk.sitkVectorFloat32, fixed.GetSize())
        field[...] = sitk.GetArrayFromImage(moved)[..., ::-1]
    return out


def _mattes(sitk: Any) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(0.1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2.0, 1.0, 0.0])
    return method


def at_half_size(method: Callable[[FloatArray], FloatArray]) -> Callable[[FloatArray], FloatArray]:
    """Return the method working on frames of half the size, as this program does."""

    def halved(frames: FloatArray) -> FloatArray:
        size = (frames.shape[2] // 2, frames.shape[1] // 2)
        small = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])
        fields = 2 * method(small.astype(np.float32))
        if fields.shape[1:3] == (1, 1):
            return fields
        whole = (frames.shape[2], frames.shape[1])
        return np.stack([cv2.resize(field, whole, interpolation=cv2.INTER_LINEAR) for field in fields])

    return halved
