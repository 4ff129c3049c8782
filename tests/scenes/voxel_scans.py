"""Scans of a few drawn voxels: unequal sides, and an origin that is none, so that no axis stands for another."""

from __future__ import annotations

import numpy as np

from angio_pipeline.core.followups import CtVolume
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.tumours import LesionOrigin
from angio_pipeline.lipiodol.lesions import Lesion
from angio_pipeline.lipiodol.registration import Alignment
from angio_pipeline.lipiodol.scans import Scan
from angio_pipeline.lipiodol.tissue import Tissue

STEP, LIVER = 2.0, 55.0
SHAPE = (30, 34, 38)
MIDDLE = (15, 17, 19)
ORIGIN = (-20.0, 15.0, 40.0)
SAME = np.eye(4)
GRID = np.eye(4)
GRID[:3, :3] = np.array([[0, 0, STEP], [0, STEP, 0], [STEP, 0, 0]])
GRID[:3, 3] = ORIGIN
Z, Y, X = np.indices(SHAPE)
ML = STEP**3 / 1000


def ball(radius_mm, z=MIDDLE[0], y=MIDDLE[1], x=MIDDLE[2]):
    return STEP * np.sqrt((Z - z) ** 2 + (Y - y) ** 2 + (X - x) ** 2) <= radius_mm


def place(z, y, x):
    """Where a voxel's middle lies, LPS."""
    return np.array(ORIGIN) + STEP * np.array([x, y, z])


def shift(x=0.0, y=0.0, z=0.0):
    out = np.eye(4)
    out[:3, 3] = [x, y, z]
    return out


def drawn(*pieces, level=LIVER):
    """Attenuation of liver with pieces that rise above it."""
    hu = np.full(SHAPE, level, np.float32)
    for mask, rise in pieces:
        hu[mask] = level + rise
    return hu


def tissue(hu, *, liver=None, body=None, level=LIVER):
    hu, everywhere = np.asarray(hu, np.float32), np.ones(SHAPE, bool)
    body = everywhere if body is None else body
    liver = (everywhere if liver is None else liver) & body
    return Tissue(hu, GRID, body, body & (np.abs(hu - level) < 25), liver, body & (hu > level + 60), level)


def scan(
    hu,
    *,
    days=10.0,
    baseline=False,
    contrast=False,
    uid="1.1",
    alignment=None,
    liver=None,
    body=None,
    kvp=120.0,
    **more,
):
    seen = tissue(hu, liver=liver, body=body)
    volume = CtVolume(seen.hu, GRID, Source("1." + uid, uid, date="20240101", file=uid), kvp=kvp, **more)
    return Scan(volume, days, baseline, contrast, seen, alignment or Alignment(SAME, 1.0))


def lesion(mask, name="L1", *, from_reference=SAME, origin=LesionOrigin.ROI):
    return Lesion(name, mask, GRID, from_reference, origin)
