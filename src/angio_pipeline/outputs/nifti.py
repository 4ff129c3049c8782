"""A mask as NIfTI-1, written here because the general writers turn a tilted gantry upright.

Only what a mask needs: one unsigned byte a voxel, and the affine in the `sform` (NIfTI-1 standard,
https://nifti.nimh.nih.gov/nifti-1), which holds any affine, sheared ones too.
"""

from __future__ import annotations

import gzip
import struct

import numpy as np
import numpy.typing as npt

__all__ = ["nifti_bytes"]

_HEADER_BYTES = 348
_DATA_OFFSET = 352
_UINT8 = 2
_MM = 2
_SCANNER_ANATOMICAL = 1


def nifti_bytes(mask: npt.NDArray[np.bool_], affine: npt.NDArray[np.float64]) -> bytes:
    """Return a gzipped NIfTI-1 file of a mask, the same bytes for the same mask.

    Parameters
    ----------
    mask : ndarray, (Z, Y, X) bool
        True becomes 1.
    affine : ndarray, (4, 4) float64
        (z, y, x, 1) indices to patient LPS millimetres, as in `CtVolume`; in the file it is RAS.

    Raises
    ------
    ValueError
        When an axis is longer than the format can count (32 767).
    """
    if max(mask.shape) > np.iinfo(np.int16).max:
        raise ValueError(f"Expected axes of at most 32767 voxels, found {mask.shape}.")
    columns = affine[:, [2, 1, 0, 3]]  # the file counts (x, y, z)
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ columns
    spacing = np.linalg.norm(columns[:3, :3], axis=0)
    header = bytearray(_DATA_OFFSET)
    struct.pack_into("<i", header, 0, _HEADER_BYTES)
    struct.pack_into("<8h", header, 40, 3, *mask.shape[::-1], 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, _UINT8, 8)
    struct.pack_into("<8f", header, 76, 1.0, *spacing, 0.0, 0.0, 0.0, 0.0)
    struct.pack_into("<3f", header, 108, float(_DATA_OFFSET), 1.0, 0.0)
    struct.pack_into("<B", header, 123, _MM)
    struct.pack_into("<2h", header, 252, 0, _SCANNER_ANATOMICAL)
    struct.pack_into("<12f", header, 280, *ras[:3].ravel())
    struct.pack_into("<4s", header, 344, b"n+1\0")
    return gzip.compress(bytes(header) + mask.astype(np.uint8).tobytes(), compresslevel=6, mtime=0)
