"""One compressed frame into stored values: which decoder reads which transfer syntax, and what it is asked.

All but lossy JPEG is read by code that lets other threads run and says so when a stream is damaged. Lossy JPEG
is pydicom's: its decoder makes up what is missing, and complains on the process's standard error alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.encaps import encapsulate
from pydicom.pixels import decoders
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from angio_pipeline.ingest.codestreams import read_codestream
from angio_pipeline.ingest.decoder_complaints import caught_complaints
from angio_pipeline.ingest.headers import quiet_pydicom
from angio_pipeline.ingest.lossless_jpeg import decode_lossless_jpeg, is_lossless_jpeg
from angio_pipeline.ingest.run_lengths import decode_run_lengths

__all__ = ["PixelFormat", "decode_frame", "decoder_name", "is_decodable", "lets_threads_run"]

_OF_PYDICOM = {one.UID for one in vars(decoders).values() if isinstance(one, Decoder)}
_JPEG_LOSSLESS = {JPEGLossless, JPEGLosslessSV1}
_JPEG_LS = {JPEGLSLossless, JPEGLSNearLossless}
_JPEG_2000 = {JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K}
_IN_THREADS = {*_JPEG_LOSSLESS, *_JPEG_LS, *_JPEG_2000, RLELossless}
# Behind the end of an image stands nothing but what makes its length even, or fills its fragment.
_ENDED = re.compile(rb"\xff\xd9[\x00\xff]*\Z")


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the stored values lie in the file."""

    rows: int
    columns: int
    frames: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    photometric: str

    @property
    def pixels(self) -> int:
        """Number of pixels in one frame."""
        return self.rows * self.columns

    @property
    def value_range(self) -> tuple[int, int]:
        """Least and greatest value that the stored bits can hold."""
        if self.signed:
            return -(1 << (self.stored - 1)), (1 << (self.stored - 1)) - 1
        return 0, (1 << self.stored) - 1


def is_decodable(syntax: UID) -> bool:
    """Return whether pixel data of a transfer syntax, compressed or not, are read here."""
    with quiet_pydicom():
        return syntax in _IN_THREADS or (syntax in _OF_PYDICOM and bool(get_decoder(syntax).is_available))


def lets_threads_run(syntax: UID) -> bool:
    """Return whether several threads that decode frames of a transfer syntax gain anything."""
    return syntax in _IN_THREADS


def decoder_name(syntax: UID) -> str:
    """Return what reads the frames of a transfer syntax here, or `none`."""
    if syntax in _JPEG_LS or syntax in _JPEG_2000:
        return "imagecodecs"
    if syntax in _IN_THREADS:
        return "angio-pipeline"
    return ", ".join(get_decoder(syntax).available_plugins) or "none"


def decode_frame(syntax: UID, data: bytes, found: PixelFormat) -> npt.NDArray[np.generic]:
    """Return the stored values of one compressed frame, (H, W), whose header has been checked.

    Raises
    ------
    Exception
        Of almost any type, as decoders do: the frame does not decode.
    """
    if syntax == RLELossless:
        samples = decode_run_lengths(data, found.rows, found.columns, found.allocated // 8)
        return _stored(samples, found, found.stored)
    if syntax in _JPEG_LOSSLESS and is_lossless_jpeg(data):
        return _stored(decode_lossless_jpeg(data), found, found.stored)
    if syntax in _JPEG_LS or syntax in _JPEG_2000:
        return _stored(_decode_by_library(syntax, data), found, _precision(syntax, data))
    return _decode_by_pydicom(syntax, data, found)


def _decode_by_library(syntax: UID, data: bytes) -> npt.NDArray[Any]:
    # Loaded where it is needed: few files are compressed in these ways.
    import imagecodecs

    if syntax in _JPEG_2000:
        # One decoder for high throughput, too: the one made for that returns an image of half a stream.
        return imagecodecs.jpeg2k_decode(data, numthreads=1)
    if not _ENDED.search(data):
        # The decoder may look for the end for ever.
        raise ValueError("a stream that does not end")
    return imagecodecs.jpegls_decode(data)


def _precision(syntax: UID, data: bytes) -> int:
    found = read_codestream(syntax, data)
    assert found is not None
    return found.precision


def _stored(samples: npt.NDArray[Any], found: PixelFormat, bits: int) -> npt.NDArray[np.generic]:
    """Return samples as what the file says they are: of its width, their lowest bits signed or not."""
    values = samples.astype(f"{'i' if found.signed else 'u'}{found.allocated // 8}", copy=False)
    spare = found.allocated - bits
    return (values << spare) >> spare if spare > 0 else values


def _decode_by_pydicom(syntax: UID, data: bytes, found: PixelFormat) -> npt.NDArray[np.generic]:
    options: dict[str, Any] = {
        "rows": found.rows,
        "columns": found.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": found.photometric,
        "bits_allocated": found.allocated,
        "bits_stored": found.stored,
        "pixel_representation": int(found.signed),
        "pixel_keyword": "PixelData",
    }
    with caught_complaints() as complaints, quiet_pydicom():
        frame, _ = get_decoder(syntax).as_array(encapsulate([data]), index=0, raw=True, **options)
    if complaints:
        raise ValueError("the decoder made up what the stream lacks")
    return frame
