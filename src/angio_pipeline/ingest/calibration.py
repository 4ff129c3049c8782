"""Where the pixels lie: the spacing and the plane in which it holds, the C-arm's pose, the table.

Imager Pixel Spacing is at the detector, never in the patient (PS3.3 10.7). It becomes a
patient spacing only through the ratio of source-patient to source-detector distance or an
estimated magnification; a spacing calibrated on an object of known size beats both.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.geometry import CArmPose, PixelSpacing, SpacingPlane
from angio_pipeline.ingest.headers import find, number, numbers, text

__all__ = ["check_still", "pixel_spacing", "pose", "table_position"]

_CALIBRATIONS = {"GEOMETRY": "geometric calibration", "FIDUCIAL": "object of known size"}
_AGREEMENT = 0.05
_ANGLES, _AXES = ("Primary", "Secondary"), ("Vertical", "Longitudinal", "Lateral")
_STILL_DEG, _STILL_MM = 5.0, 10.0


def pixel_spacing(dataset: Dataset) -> PixelSpacing | None:
    """Return the spacing of a projection in the best plane that the file supports, None without any."""
    calibrated = _pair(dataset, "ObjectPixelSpacingInCenterOfBeam")
    if calibrated is not None:
        return _spacing(calibrated, SpacingPlane.CALIBRATED, "object pixel spacing in the beam's centre")
    imager, corrected = _pair(dataset, "ImagerPixelSpacing"), _pair(dataset, "PixelSpacing")
    kind = text(dataset, "PixelSpacingCalibrationType").upper()
    if corrected is not None and kind in _CALIBRATIONS:
        return _spacing(corrected, SpacingPlane.CALIBRATED, f"Pixel Spacing, {_CALIBRATIONS[kind]}")
    if imager is not None:
        return _scaled(imager, dataset)
    # Alone, Pixel Spacing of a projection may be anything: believe only what holds at the detector.
    return None if corrected is None else _spacing(corrected, SpacingPlane.DETECTOR, "Pixel Spacing, unexplained")


def _scaled(imager: tuple[float, float], dataset: Dataset) -> PixelSpacing | None:
    distances, estimate = _geometric_magnification(dataset), number(dataset, "EstimatedRadiographicMagnificationFactor")
    if estimate is not None and not 1.0 <= estimate < 5.0:
        estimate = None
    if distances is None and estimate is None:
        return _spacing(imager, SpacingPlane.DETECTOR, "Imager Pixel Spacing, at the detector")
    if distances is not None and estimate is not None and abs(distances / estimate - 1) > _AGREEMENT:
        return _spacing(imager, SpacingPlane.DETECTOR, "Imager Pixel Spacing; distances contradict the magnification")
    magnification = distances if distances is not None else estimate
    assert magnification is not None
    how = "source distances" if distances is not None else "estimated magnification"
    return _spacing(
        (imager[0] / magnification, imager[1] / magnification),
        SpacingPlane.ISOCENTRE,
        f"Imager Pixel Spacing scaled by {how} (magnification {magnification:.3f})",
    )


def _geometric_magnification(dataset: Dataset) -> float | None:
    sid, sod = _distances(dataset)
    if sid is None or sod is None or not 1.0 <= sid / sod < 5.0:
        return None
    return sid / sod


def _distances(dataset: Dataset) -> tuple[float | None, float | None]:
    """Source-detector and source-patient (or source-isocentre) distance in millimetres."""
    sid = number(dataset, "DistanceSourceToDetector")
    sod = number(dataset, "DistanceSourceToPatient")
    if sod is None or sod <= 0:
        sod = number(dataset, "DistanceSourceToIsocenter")
    return (sid if sid and sid > 0 else None), (sod if sod and sod > 0 else None)


def _pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    values = numbers(dataset, keyword)
    if len(values) != 2 or not all(0 < value < 50 for value in values):
        return None
    return values[0], values[1]


def _spacing(pair: tuple[float, float], plane: SpacingPlane, how: str) -> PixelSpacing:
    return PixelSpacing(pair[0], pair[1], plane, how)


def pose(dataset: Dataset) -> CArmPose | None:
    """Return the C-arm's angulation (of the first frame) and distances, None without angles."""
    primary, secondary = number(dataset, "PositionerPrimaryAngle"), number(dataset, "PositionerSecondaryAngle")
    if primary is None or secondary is None:
        return None
    sid, sod = _distances(dataset)
    return CArmPose(primary, secondary, sid, sod)


def check_still(dataset: Dataset) -> None:
    """Refuse a run during which the C-arm or the table moves: its frames show no one projection.

    Raises
    ------
    InputRefused
        `moving_gantry`.
    """
    turned = _travel(dataset, "PositionerMotion", [f"Positioner{axis}AngleIncrement" for axis in _ANGLES])
    moved = _travel(dataset, "TableMotion", [f"Table{axis}Increment" for axis in _AXES])
    if turned > _STILL_DEG or moved > _STILL_MM:
        raise InputRefused(
            f"Expected a run with C-arm and table at rest, found {turned:.0f} degrees and {moved:.0f} mm of motion; "
            "give it to a reconstruction instead.",
            reason="moving_gantry",
        )


def _travel(dataset: Dataset, motion: str, increments: Sequence[str]) -> float:
    """The farthest that a declared motion goes, whether the file counts from the first frame or the one before."""
    if text(dataset, motion).upper() != "DYNAMIC":
        return 0.0
    steps = [numbers(dataset, keyword) for keyword in increments]
    return max((max(*map(abs, values), abs(sum(values))) for values in steps if len(values) > 1), default=0.0)


def table_position(dataset: Dataset) -> tuple[float, float, float] | None:
    """Return the table top's position (vertical, longitudinal, lateral) in millimetres, else None."""
    names = ("TableTopVerticalPosition", "TableTopLongitudinalPosition", "TableTopLateralPosition")
    found = [number(dataset, name) for name in names if find(dataset, name) is not None]
    known = [value for value in found if value is not None]
    return (known[0], known[1], known[2]) if len(known) == 3 else None
