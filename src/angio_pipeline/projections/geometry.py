"""First step: from the tags of two runs to what a point seen in one tells of the other.

Coordinates are DICOM LPS millimetres with the C-arm's isocentre as origin: the one point that stays where it is
when the arm turns. Positive primary angle is LAO, positive secondary angle cranial (PS3.3 C.8.7.5); at 0 / 0 the
source is below the table and the picture is seen with the patient's right on its left, head up. A picture point is
the homogeneous (row, col, 1), the central ray meets the middle of the frame.

What a point of one view is in the other is a line (Hartley & Zisserman, Multiple View Geometry, 2nd edition,
equation 9.1: F = [e']x P' P+). Angles are told to a degree or so, and table and patient may move between runs: each
view therefore takes a small displacement and turn of the patient, with a spread that widens the line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.geometry import CArmPose, PixelSpacing, SpacingPlane
from angio_pipeline.core.params import Params
from angio_pipeline.core.runs import AngioRun

__all__ = [
    "PairGeometry",
    "View",
    "ViewParams",
    "check_angles",
    "height_axis",
    "plane_heights_mm",
    "triangulate",
    "view_of",
    "views_apart_deg",
]

Array = npt.NDArray[np.float64]


class ViewParams(Params):
    """Settings of `view_of` and `check_angles`; what stands in for a missing tag is a usual value, set by hand."""

    least_apart_deg: float = Field(15.0, gt=0, le=90, description="between the central rays, for two projections")
    sid_mm: float = Field(1050.0, gt=0, description="source to detector, where a file does not tell")
    sod_over_sid: float = Field(0.7, gt=0, lt=1, description="source to isocentre over it, where a file does not tell")
    field_mm: float = Field(300.0, gt=0, description="longer side of the detector's field, where no spacing is told")


@dataclass(frozen=True, slots=True)
class View:
    """One projection.

    Attributes
    ----------
    pose : CArmPose
        With both distances.
    focal_px : (float, float)
        Source-detector distance in pixels, along rows and columns.
    size : (int, int)
        Rows, columns.
    shift_mm : (float, float, float)
        Displacement of the patient against the isocentre, LPS.
    turn_deg : (float, float)
        What primary and secondary angle truly are beyond what the file tells.
    scale_told : bool
        Whether the pixels' size comes from the file.
    """

    pose: CArmPose
    focal_px: tuple[float, float]
    size: tuple[int, int]
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn_deg: tuple[float, float] = (0.0, 0.0)
    scale_told: bool = True

    def axes(self) -> tuple[Array, Array, Array]:
        """Return unit vectors down along rows, right along columns, and from source to detector, LPS."""
        p, s = (
            np.deg2rad(self.pose.primary_deg + self.turn_deg[0]),
            np.deg2rad(self.pose.secondary_deg + self.turn_deg[1]),
        )
        right = np.array([np.cos(p), np.sin(p), 0.0])
        forward = np.array([np.sin(p) * np.cos(s), -np.cos(p) * np.cos(s), np.sin(s)])
        return np.cross(right, forward), right, forward

    @property
    def sod_mm(self) -> float:
        """Source to isocentre."""
        assert self.pose.sod_mm is not None
        return self.pose.sod_mm

    @property
    def matrix(self) -> Array:
        """The (3, 4) projection: LPS mm and 1 to a multiple of (row, col, 1)."""
        down, right, forward = self.axes()
        middle = (np.array(self.size) - 1) / 2
        turned = np.stack(
            [self.focal_px[0] * down + middle[0] * forward, self.focal_px[1] * right + middle[1] * forward, forward]
        )
        source = -self.sod_mm * forward - np.array(self.shift_mm)
        return np.hstack([turned, -(turned @ source)[:, None]])

    @property
    def source_mm(self) -> Array:
        """The focal spot, LPS, in the patient's frame."""
        return np.asarray(-self.sod_mm * self.axes()[2] - np.array(self.shift_mm))

    @property
    def pixel_mm(self) -> float:
        """Mean pixel spacing in the isocentre's plane."""
        return float(np.mean([self.sod_mm / f for f in self.focal_px]))

    def project(self, points_mm: Array) -> Array:
        """Return (N, 2) (row, col) of points (N, 3) LPS mm."""
        seen = points_mm @ self.matrix[:, :3].T + self.matrix[:, 3]
        return np.asarray(seen[:, :2] / seen[:, 2:])


def view_of(run: AngioRun, *, params: ViewParams) -> View:
    """Return the projection that a run's tags tell.

    Raises
    ------
    InputRefused
        `angle_unknown` when the file does not tell the C-arm's angles.
    """
    if run.pose is None:
        raise InputRefused(
            "Expected the C-arm's angles of both runs, found none for at least one; match the two views by eye.",
            reason="angle_unknown",
        )
    rows, columns = run.shape[1:]
    sid = run.pose.sid_mm or params.sid_mm
    sod = run.pose.sod_mm or sid * params.sod_over_sid
    spacing = run.spacing or _usual_spacing(max(rows, columns), params)
    # A spacing in the patient is that of the isocentre's plane; one at the detector lies a whole SID away.
    distance = sod if spacing.in_patient else sid
    focal = distance / spacing.row_mm, distance / spacing.col_mm
    pose = CArmPose(run.pose.primary_deg, run.pose.secondary_deg, sid, sod)
    return View(pose, focal, (rows, columns), scale_told=run.spacing is not None and run.spacing.in_patient)


def _usual_spacing(longest: int, params: ViewParams) -> PixelSpacing:
    size = params.field_mm / longest
    return PixelSpacing(size, size, SpacingPlane.DETECTOR, "assumed")


def views_apart_deg(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the angle between the central rays of two (primary, secondary) angulations, degrees, 0 to 90.

    Opposite rays show the same picture mirrored and are no two projections.
    """
    first, second = (View(CArmPose(*a, 1.0, 1.0), (1.0, 1.0), (1, 1)).axes()[2] for a in (one, other))
    return float(np.degrees(np.arccos(np.clip(abs(first @ second), 0, 1))))


def check_angles(one: View, other: View, *, params: ViewParams) -> None:
    """Return when two views are far enough apart to tell depth.

    Raises
    ------
    InputRefused
        `views_alike`.
    """
    pair = [(view.pose.primary_deg, view.pose.secondary_deg) for view in (one, other)]
    apart = views_apart_deg(pair[0], pair[1])
    if apart < params.least_apart_deg:
        raise InputRefused(
            f"Expected two views at least {params.least_apart_deg:g} degrees apart, found {apart:.0f} degrees "
            f"({_degrees(pair[0])} and {_degrees(pair[1])}); nearly one view does not tell depth.",
            reason="views_alike",
        )


def _degrees(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.0f} / {pair[1]:.0f}"


@dataclass(frozen=True, slots=True, eq=False)
class PairGeometry:
    """Two views of one patient and how well the second's place is known against the first.

    Attributes
    ----------
    covariance : ndarray, (5, 5) float64
        Of the second view's displacement (mm, LPS) and turn (degrees).
    """

    first: View
    second: View
    covariance: Array

    def moved(self, change: Array) -> PairGeometry:
        """Return the pair with the second view displaced and turned by (5,) mm and degrees more."""
        shift = tuple(float(v) for v in np.array(self.second.shift_mm) + change[:3])
        turn = tuple(float(v) for v in np.array(self.second.turn_deg) + change[3:])
        return replace(
            self,
            second=replace(self.second, shift_mm=(shift[0], shift[1], shift[2]), turn_deg=(turn[0], turn[1])),
        )

    def swapped(self) -> PairGeometry:
        """Return the pair with first and second view exchanged; what is known of their places stays as it is."""
        return replace(self, first=self.second, second=self.first)

    @property
    def fundamental(self) -> Array:
        """(3, 3) F with x2' F x1 = 0 for homogeneous (row, col, 1) of one point in both views."""
        p1, p2 = self.first.matrix, self.second.matrix
        r, c, w = p2 @ np.append(self.first.source_mm, 1.0)
        cross = np.array([[0.0, -w, c], [w, 0.0, -r], [-c, r, 0.0]])
        return np.asarray(cross @ p2 @ np.linalg.pinv(p1))

    def lines(self, points: Array) -> Array:
        """Return (N, 3) unit epipolar lines (a, b, c), a row + b col + c = 0, of points (N, 2) of the first view."""
        lines = np.column_stack([points, np.ones(len(points))]) @ self.fundamental.T
        # The sign is that of a line which runs to the right, so that distances keep their side from pair to pair.
        lines *= np.where(lines[:, :1] < 0, -1.0, 1.0) if abs(lines[:, 0]).sum() > abs(lines[:, 1]).sum() else 1.0
        return np.asarray(lines / np.linalg.norm(lines[:, :2], axis=1, keepdims=True))

    def distances_mm(self, points: Array, others: Array) -> Array:
        """Return (N, M) signed distances of points (M, 2) of the second view from the lines of points (N, 2), mm."""
        homogeneous = np.column_stack([others, np.ones(len(others))])
        return np.asarray(self.lines(points) @ homogeneous.T * self.second.pixel_mm)

    def spreads_mm(self, points: Array, others: Array) -> Array:
        """Return (N,) SDs of the distances of pairs of points (N, 2) that come from the second view's place."""
        step = np.array([0.5, 0.5, 0.5, 0.1, 0.1])
        slopes = []
        for k in range(5):
            change = np.zeros(5)
            change[k] = step[k]
            up, down = (self._paired(self.moved(sign * change), points, others) for sign in (1, -1))
            slopes.append((up - down) / (2 * step[k]))
        slope = np.stack(slopes, axis=1)
        return np.asarray(np.sqrt(np.maximum(np.einsum("ni,ij,nj->n", slope, self.covariance, slope), 0)))

    @staticmethod
    def _paired(pair: PairGeometry, points: Array, others: Array) -> Array:
        lines = pair.lines(points)
        return np.asarray(
            (lines[:, :2] * others).sum(axis=1) * pair.second.pixel_mm + lines[:, 2] * pair.second.pixel_mm
        )


def triangulate(pair: PairGeometry, points: Array, others: Array) -> tuple[Array, Array]:
    """Return (N, 3) LPS mm of points seen at (N, 2) and (N, 2), and the (N,) gap between their rays, mm.

    The middle of the shortest stretch between both rays (Hartley & Sturm 1997, doi:10.1006/cviu.1997.0547).
    """
    starts = pair.first.source_mm, pair.second.source_mm
    u, v = _rays(pair.first, points), _rays(pair.second, others)
    between = starts[1] - starts[0]
    cosine = (u * v).sum(axis=1)
    lower = np.maximum(1 - cosine**2, 1e-12)
    along_u, along_v = u @ between, v @ between
    a = (along_u - cosine * along_v) / lower
    b = (cosine * along_u - along_v) / lower
    one, other = starts[0] + a[:, None] * u, starts[1] + b[:, None] * v
    return (one + other) / 2, np.linalg.norm(one - other, axis=1)


def _rays(view: View, points: Array) -> Array:
    directions = np.column_stack([points, np.ones(len(points))]) @ np.linalg.inv(view.matrix[:, :3]).T
    return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))


def plane_heights_mm(pair: PairGeometry, points: Array, *, second: bool) -> Array:
    """Return (N,) on which plane through both sources each point (N, 2) of one view lies, as a height, mm.

    All that one such plane holds is seen on one line of either view. The height is that over the isocentre: angle
    about the line between the sources times its distance.
    """
    sources = pair.first.source_mm, pair.second.source_mm
    along = (sources[1] - sources[0]) / np.linalg.norm(sources[1] - sources[0])
    inwards = -(sources[0] + sources[1]) / 2
    inwards -= (inwards @ along) * along
    distance = float(np.linalg.norm(inwards))
    inwards /= distance
    rays = _rays(pair.second if second else pair.first, points)
    # Height grows towards the head, whichever view comes first.
    up = np.cross(along, inwards)
    up *= 1.0 if up[2] >= 0 else -1.0
    return np.asarray(np.arctan2(rays @ up, rays @ inwards) * distance)


def height_axis(pair: PairGeometry) -> Array:
    """Return the unit vector (3,), LPS, along which a displacement between the views is seen across their lines."""
    along = pair.second.source_mm - pair.first.source_mm
    inwards = -(pair.first.source_mm + pair.second.source_mm)
    up = np.cross(along, inwards)
    up /= np.linalg.norm(up)
    return np.asarray(up if up[2] >= 0 else -up)
