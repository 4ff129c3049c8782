"""Real exports, sound and malformed: analysed or refused, in silence and within memory."""

from __future__ import annotations

import contextlib
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pydicom
import pytest

from angio_pipeline import ingest
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import MaskOperation, Quantity

ROOT = Path(__file__).resolve().parents[2]
REAL = Path(os.environ.get("ANGIO_REAL_DATA", ROOT.parent / "shared" / "data"))
MALFORMED = sorted((REAL / "malformed").rglob("*.dcm")) or [REAL / "malformed" / "absent.dcm"]


@pytest.mark.parametrize("path", MALFORMED, ids=lambda path: path.stem)
def test_every_malformed_file_is_analysed_or_refused(
    real_data: Path, path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert path.is_relative_to(real_data)
    tracemalloc.start()
    found = ingest.discover([path], workspace=tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    count = len(found.runs) + len(found.films) + len(found.volumes) + len(found.rois) + len(found.refusals)
    assert count == 1
    for item in found.films:
        assert np.isfinite(ingest.read_film(item).image).all()
    for refusal in found.refusals:
        assert refusal.sentence.startswith("Expected ")
    assert capfd.readouterr().err == ""


def test_malformed_files_do_not_cost_their_neighbours(real_data: Path, tmp_path: Path) -> None:
    found = ingest.discover([real_data / "malformed", real_data / "xa_phantom"], workspace=tmp_path)
    assert len(found.runs) == 4
    assert len(found.refusals) == len(MALFORMED) + 2


@pytest.mark.slow
def test_the_phantom_runs(real_data: Path, tmp_path: Path) -> None:
    found = ingest.discover([real_data / "xa_phantom"], workspace=tmp_path)
    assert [item.source.file for item in found.runs] == ["IM1", "IM2", "IM3", "IM4"]
    assert len({item.source.subject for item in found.runs}) == 1
    for item, frames in zip(found.runs, (14, 12, 12, 10), strict=True):
        run = ingest.read_run(item)
        truth = pydicom.dcmread(item.paths[0]).pixel_array
        assert np.array_equal(run.frames, truth)
        assert run.shape == (frames, 512, 512)
        assert run.quantity is Quantity.STORED
        assert run.spacing is None
        assert run.pose is not None
        assert run.times_s[1] == pytest.approx(0.0666667)
        assert not run.already_subtracted
        assert {"DISPLAY_VALUES", "EIGHT_BIT", "NOT_CALIBRATED", "COLLIMATED"} <= set(run.quality.names())
        assert not run.valid[:, :8].any()
        assert not run.valid[:5].any()
        assert run.valid[40:470, 40:470].all()


def test_the_coronary_run(real_data: Path, tmp_path: Path) -> None:
    (item,) = ingest.discover([real_data / "xa_coronary"], workspace=tmp_path).runs
    run = ingest.read_run(item)
    assert run.shape == (96, 512, 512)
    assert run.quantity is Quantity.INTENSITY
    assert run.mask_hint is not None
    assert run.mask_hint.operation is MaskOperation.NONE
    assert run.times_s[-1] == pytest.approx(95 * 0.033)
    assert {"EIGHT_BIT", "LOSSY_COMPRESSION", "NOT_CALIBRATED"} <= set(run.quality.names())
    assert not run.valid[:10, :10].any()
    assert not run.valid[-10:].any()
    assert run.valid[130:400, 60:440].all()
    assert 0.7 < run.valid.mean() < 0.85


def test_the_cerebral_film_loses_only_its_round_border(real_data: Path, tmp_path: Path) -> None:
    (item,) = ingest.discover([real_data / "codecs" / "XA1_UNC"], workspace=tmp_path).films
    film = ingest.read_film(item)
    assert film.quantity is Quantity.STORED
    assert Quality.DISPLAY_VALUES in film.quality
    rows, columns = np.ogrid[:1024, :1024]
    distance = np.hypot(rows - 511.5, columns - 511.5)
    assert not film.valid[distance > 516].any()
    assert film.valid[distance < 495].all()


def test_a_ct_given_as_a_run_is_refused(real_data: Path, tmp_path: Path) -> None:
    found = ingest.discover([real_data / "codecs" / "CT1_UNC"], workspace=tmp_path)
    assert [refusal.reason for refusal in found.refusals] == ["too_few_slices"]
    assert "multi-frame run" in found.refusals[0].sentence


def test_a_truncated_real_run_is_refused(real_data: Path, tmp_path: Path) -> None:
    whole = (real_data / "xa_phantom" / "IM4").read_bytes()
    for share in (0.05, 0.5, 0.99):
        path = tmp_path / "cut"
        path.write_bytes(whole[: int(share * len(whole))])
        assert [r.reason for r in ingest.discover([path], workspace=tmp_path / "w").refusals] == ["truncated"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["IM4", "XA1_RLE", "XA1_JPLL", "XA1_JLSL", "XA1_J2KR"])
def test_damaged_real_files_are_read_or_refused(
    real_data: Path, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(17)
    source = real_data / ("xa_phantom" if name.startswith("IM") else "codecs") / name
    for _ in range(10):
        content = bytearray(source.read_bytes())
        for position in rng.integers(0, len(content), 3).tolist() + rng.integers(0, 3000, 2).tolist():
            content[position] = int(rng.integers(256))
        path = tmp_path / "damaged"
        path.write_bytes(content)
        found = ingest.discover([path], workspace=tmp_path / "work")
        assert len(found.runs) + len(found.films) + len(found.volumes) + len(found.refusals) == 1
        for item in (*found.runs, *found.films):
            with contextlib.suppress(InputRefused):
                frames = ingest.read_run(item).frames if item in found.runs else ingest.read_film(item).image
                assert np.isfinite(frames).all()
    assert capfd.readouterr().err == ""
