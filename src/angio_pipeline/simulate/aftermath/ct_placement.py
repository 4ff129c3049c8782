"""How the patient lies in the scanner at one date: shifted, rolled, at another level of breath.

Viscera move against the static body by three shears in turn, each of which moves points along one
axis by an amount that depends on the other two: the field is smooth, its inverse is exact, and its
Jacobian is 1 everywhere, so no organ gains or loses volume and no oil gains or loses mass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["Placement", "into_patient", "into_scanner"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """The patient in the scanner.

    Attributes
    ----------
    shift_mm : (3,) LPS
    turn_rad : float
        Roll about the long axis.
    breath_mm : float
        Level of breath: how far the liver lies to the feet of where it lay at treatment.
    bend_mm : float
        Amplitude of the uneven part of the displacement.
    phase : (4,)
        Where the uneven part's waves begin.
    """

    shift_mm: Array
    turn_rad: float
    breath_mm: float
    bend_mm: float
    phase: Array

    @classmethod
    def at_rest(cls) -> Placement:
        """Return the patient as at treatment."""
        return cls(np.zeros(3), 0.0, 0.0, 0.0, np.zeros(4))

    def numbers(self) -> Array:
        """Return the (11,) numbers that the compiled code takes."""
        turn = [np.cos(self.turn_rad), np.sin(self.turn_rad)]
        return np.array([*self.shift_mm, *turn, self.breath_mm, self.bend_mm, *self.phase])

    def to_scanner(self, points_mm: Array, *, viscera: bool = True) -> Array:
        """Return where points (N, 3) of the patient, of viscera or of the static body, lie in the scanner."""
        return _each(np.atleast_2d(np.asarray(points_mm, float)), self.numbers(), viscera, True)

    def to_patient(self, points_mm: Array, *, viscera: bool = True) -> Array:
        """Return which points (N, 3) of the patient lie at points of the scanner."""
        return _each(np.atleast_2d(np.asarray(points_mm, float)), self.numbers(), viscera, False)

    @property
    def reach_mm(self) -> float:
        """Greatest displacement of viscera against the static body along any axis."""
        return abs(self.breath_mm) * 1.25 + 2.0 * abs(self.bend_mm)

    @property
    def slope(self) -> float:
        """Bound of how much the displacement differs between two points, over their distance along any axis."""
        return 0.25 * abs(self.breath_mm) / 70 + 4 * abs(self.bend_mm) / 50


def _along_z(x: float, y: float, p: Array) -> float:
    # To the feet: more in front and to the right, as the diaphragm does.
    wave = np.sin(x / 55.0 + p[7]) * np.cos(y / 60.0 + p[8])
    return float(-p[5] * (1 + 0.25 * np.sin(x / 70.0 + p[7])) + p[6] * wave)


def _along_y(x: float, z: float, p: Array) -> float:
    return float(-0.25 * p[5] + p[6] * np.sin(x / 60.0 + p[9]) * np.cos(z / 65.0 + p[8]))


def _along_x(y: float, z: float, p: Array) -> float:
    return float(0.7 * p[6] * np.sin(y / 50.0 + p[10]) * np.cos(z / 60.0 + p[9]))


_along_z = numba.njit(cache=True)(_along_z)
_along_y = numba.njit(cache=True)(_along_y)
_along_x = numba.njit(cache=True)(_along_x)


def into_scanner(x: float, y: float, z: float, p: Array, viscera: bool) -> tuple[float, float, float]:
    """Return where one point of the patient lies in the scanner; `p` is `Placement.numbers()`."""
    if viscera:
        z += _along_z(x, y, p)
        y += _along_y(x, z, p)
        x += _along_x(y, z, p)
    return p[3] * x - p[4] * y + p[0], p[4] * x + p[3] * y + p[1], z + p[2]


def into_patient(x: float, y: float, z: float, p: Array, viscera: bool) -> tuple[float, float, float]:
    """Return which point of the patient lies at one point of the scanner; `p` is `Placement.numbers()`."""
    u, v, z = x - p[0], y - p[1], z - p[2]
    x, y = p[3] * u + p[4] * v, -p[4] * u + p[3] * v
    if viscera:
        x -= _along_x(y, z, p)
        y -= _along_y(x, z, p)
        z -= _along_z(x, y, p)
    return x, y, z


into_scanner = numba.njit(cache=True)(into_scanner)
into_patient = numba.njit(cache=True)(into_patient)


def _each(points: Array, p: Array, viscera: bool, forward: bool) -> Array:
    out = np.empty_like(points)
    for i in range(len(points)):
        if forward:
            out[i, 0], out[i, 1], out[i, 2] = into_scanner(points[i, 0], points[i, 1], points[i, 2], p, viscera)
        else:
            out[i, 0], out[i, 1], out[i, 2] = into_patient(points[i, 0], points[i, 1], points[i, 2], p, viscera)
    return out


_each = numba.njit(cache=True)(_each)
