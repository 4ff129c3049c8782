"""What a worker that was given cores is asked to do with a compressed run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.ingest import decoding
from angio_pipeline.ingest.headers import read_header
from angio_pipeline.ingest.pixels import pixel_format, read_frames


def decoded(path: Path) -> tuple[npt.NDArray[Any], int]:
    """The frames of a run, and how many processes beside this one had a part in it."""
    header = read_header(path)
    found = pixel_format(header)
    return np.array(read_frames(header, found)), len(decoding._processes_beside(found))


def refused(path: Path) -> tuple[str, str]:
    """The reason and the sentence with which a damaged run is refused."""
    try:
        decoded(path)
    except InputRefused as error:
        return error.reason, error.sentence
    return "", ""


def decoded_after_a_death(path: Path) -> npt.NDArray[Any]:
    """The frames of a run that is decoded when the process beside this one has been ended by the system."""
    decoded(path)
    (other,) = decoding._beside(cv2.getNumThreads() - 1)
    other._process.kill()
    other._process.join()
    return decoded(path)[0]


def decoded_with_a_death_on_the_way(path: Path) -> tuple[str, npt.NDArray[Any]]:
    """How a run is refused whose decoder ends the process beside this one, and the frames of the next attempt."""
    decoded(path)
    (other,) = decoding._beside(cv2.getNumThreads() - 1)
    ask = other.ask

    def asked(function: Any, *arguments: Any) -> None:
        # What a crash of native code looks like from here.
        ask(_end_of_process)

    other.ask = asked  # type: ignore[method-assign]  # one process of many is led astray
    return refused(path)[0], decoded(path)[0]


def _end_of_process() -> None:
    import os

    os.abort()
