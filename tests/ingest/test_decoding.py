"""Frames decoded side by side are those decoded one after the other, and fail like them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import decoded_apart
import hostile_files as hostile
import imagecodecs
import numpy as np
import pytest
from pydicom.pixels import get_encoder
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from angio_pipeline.workers import hold_threads, process_pool, warm_up

SHAPE = (9, 512, 512)
FRAMES = np.random.default_rng(21).integers(0, 4095, SHAPE).astype(np.uint16)


def _rle(frame: np.ndarray) -> bytes:
    kind = {"bits_allocated": 16, "bits_stored": 16, "pixel_representation": 0, "samples_per_pixel": 1}
    size = {"rows": frame.shape[0], "columns": frame.shape[1], "number_of_frames": 1}
    encoder = get_encoder(RLELossless)
    return next(encoder.iter_encode(frame.tobytes(), **size, **kind, photometric_interpretation="MONOCHROME2"))


ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {
    JPEGLosslessSV1: imagecodecs.ljpeg_encode,
    JPEGLSLossless: imagecodecs.jpegls_encode,
    JPEG2000Lossless: partial(imagecodecs.jpeg2k_encode, level=0, codecformat="j2k", reversible=True),
    RLELossless: _rle,
}


@pytest.fixture(scope="module", params=[2, 3])
def worker(request: pytest.FixtureRequest) -> Iterator[ProcessPoolExecutor]:
    """A worker that was given several cores."""
    warm_up()
    with process_pool(1, initializer=partial(hold_threads, request.param), preload="angio_pipeline.pipeline") as pool:
        yield pool


@pytest.fixture(scope="module")
def two_cores() -> Iterator[ProcessPoolExecutor]:
    warm_up()
    with process_pool(1, initializer=partial(hold_threads, 2), preload="angio_pipeline.pipeline") as pool:
        yield pool


def _run(path: Path, syntax: str = JPEGLSLossless) -> Path:
    return hostile.compressed(path, [ENCODERS[syntax](frame) for frame in FRAMES], syntax=syntax, shape=SHAPE)


@pytest.mark.parametrize("syntax", ENCODERS, ids=str)
def test_frames_decoded_side_by_side_equal_what_was_encoded(
    worker: ProcessPoolExecutor, tmp_path: Path, syntax: str
) -> None:
    path = _run(tmp_path / "run.dcm", syntax)
    frames, others = worker.submit(decoded_apart.decoded, path).result()
    assert others >= 1
    here, none = decoded_apart.decoded(path)
    assert none == 0
    assert np.array_equal(frames, here)
    assert frames.dtype == here.dtype
    assert np.array_equal(frames, FRAMES)


def test_a_small_run_is_decoded_alone(two_cores: ProcessPoolExecutor, tmp_path: Path) -> None:
    small = [imagecodecs.jpegls_encode(frame) for frame in hostile.small_frames()]
    path = hostile.compressed(tmp_path / "small.dcm", small, syntax=JPEGLSLossless, shape=(4, 32, 48))
    assert two_cores.submit(decoded_apart.decoded, path).result()[1] == 0


@pytest.mark.parametrize("broken", [0, 4, 8])
def test_a_broken_frame_is_refused_as_by_one_process(
    two_cores: ProcessPoolExecutor, tmp_path: Path, broken: int
) -> None:
    encoded = [ENCODERS[JPEG2000Lossless](frame) for frame in FRAMES]
    encoded[broken] = encoded[broken][:200]
    path = hostile.compressed(tmp_path / "run.dcm", encoded, syntax=JPEG2000Lossless, shape=SHAPE)
    reason, sentence = two_cores.submit(decoded_apart.refused, path).result()
    assert (reason, sentence) == decoded_apart.refused(path)
    assert reason == "corrupt_pixels"
    # The next run is not answered with what was left of this one.
    assert np.array_equal(two_cores.submit(decoded_apart.decoded, _run(tmp_path / "next.dcm")).result()[0], FRAMES)


def test_a_process_that_was_ended_is_replaced(two_cores: ProcessPoolExecutor, tmp_path: Path) -> None:
    path = _run(tmp_path / "run.dcm")
    assert np.array_equal(two_cores.submit(decoded_apart.decoded_after_a_death, path).result(), FRAMES)


def test_a_decoder_that_ends_its_process_costs_the_run_alone(two_cores: ProcessPoolExecutor, tmp_path: Path) -> None:
    path = _run(tmp_path / "run.dcm")
    reason, again = two_cores.submit(decoded_apart.decoded_with_a_death_on_the_way, path).result()
    assert reason == "corrupt_pixels"
    assert np.array_equal(again, FRAMES)


def test_a_script_without_workers_decodes_in_its_own_process(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nimport cv2\ncv2.setNumThreads(2)\n"
        "from angio_pipeline.ingest.headers import read_header\n"
        "from angio_pipeline.ingest.pixels import pixel_format, read_frames\n"
        "header = read_header(Path(sys.argv[1]))\nprint(read_frames(header, pixel_format(header)).shape)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), str(_run(tmp_path / "run.dcm"))], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{SHAPE}\n"
    assert done.stderr == ""
