"""What a worker that was given cores is asked to do with a compressed run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest.headers import read_header
from angio_pipeline.ingest.pixels import pixel_format, read_frames


def decoded(path: Path) -> npt.NDArray[Any]:
    """The frames of a run."""
    header = read_header(path)
    return np.array(read_frames(header, pixel_format(header)))


def refused(path: Path) -> tuple[str, str]:
    """The reason and the sentence with which a damaged run is refused."""
    try:
        decoded(path)
    except InputRefused as error:
        return error.reason, error.sentence
    return "", ""
