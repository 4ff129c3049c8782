"""What is measured on real and simulated pictures is right on pictures whose answer is known; the page holds it."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[2]
START, END = "<!-- realism: written by benchmarks/realism.py -->", "<!-- end of realism -->"


@pytest.fixture(scope="module")
def measures() -> ModuleType:
    return _module("image_measures")


@pytest.fixture(scope="module")
def realism() -> ModuleType:
    return _module("realism")


def _module(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module(name)


def noisy(sigma: float, blur_px: float, frames: int = 4, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ground = 400 * np.exp(np.cumsum(0.002 * rng.standard_normal((256, 256)), axis=1))
    noise = np.stack([ndimage.gaussian_filter(rng.standard_normal((256, 256)), blur_px) for _ in range(frames)])
    return np.asarray(ground * (1 + sigma * noise))


def tube(width: float, depth: float, size: int = 200) -> tuple[np.ndarray, np.ndarray]:
    # A cylinder seen across: the chord's profile, slanted so that it falls on no grid line.
    rows, cols = np.indices((size, size))
    across = (cols - size / 2) * np.cos(0.3) - (rows - size / 2) * np.sin(0.3)
    chord = np.sqrt(np.clip(1 - (2 * across / width) ** 2, 0, 1))
    return 500 * np.exp(-depth * chord), np.abs(across) <= width / 2


def test_noise_is_measured_as_it_was_drawn(measures: ModuleType) -> None:
    frames = noisy(0.02, 0.0)
    _, sigma = measures.noise_spectrum(frames, np.ones((256, 256), bool), pairs=True)
    assert sigma == pytest.approx(0.02, rel=0.05)


def test_white_noise_is_as_strong_at_fine_as_at_coarse_scale(measures: ModuleType) -> None:
    power, _ = measures.noise_spectrum(noisy(0.02, 0.0), np.ones((256, 256), bool), pairs=True)
    assert measures.fine_over_coarse(power) == pytest.approx(1.0, abs=0.1)


def test_blurred_noise_loses_its_fine_part_as_the_blur_says(measures: ModuleType) -> None:
    power, _ = measures.noise_spectrum(noisy(0.02, 0.6), np.ones((256, 256), bool), pairs=True)
    kernel = ndimage.gaussian_filter(np.eye(1, 256 * 256, 256 * 128 + 128).reshape(256, 256), 0.6)
    share = measures._radial(np.abs(np.fft.fft2(kernel)) ** 2)
    assert measures.fine_over_coarse(power) == pytest.approx(measures.fine_over_coarse(share), abs=0.06)


def test_a_ground_whose_power_falls_with_a_known_slope_gives_that_slope(measures: ModuleType) -> None:
    rng = np.random.default_rng(2)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(512), np.fft.fftfreq(512), indexing="ij"))
    frequency[0, 0] = 1
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((512, 512))) * frequency**-1.4).real
    grey = 300 * np.exp(0.1 * field / field.std())
    everywhere = np.ones(grey.shape, bool)
    assert measures.background_slope(grey, everywhere, ~everywhere) == pytest.approx(2.8, abs=0.25)


def test_a_tube_has_its_width_depth_and_edge(measures: ModuleType) -> None:
    grey, mask = tube(11, 0.4)
    found = measures.measure_crossings(grey, mask, np.ones(mask.shape, bool), np.random.default_rng(0))
    assert np.median(measures.widths_px(mask)) == pytest.approx(11, abs=1.5)
    # The middle third of a chord's profile lies at 0.98 of its depth, and 10 to 90 % take 0.28 of its width.
    assert np.nanmedian(found.depth) == pytest.approx(0.4 * 0.98, rel=0.02)
    assert np.nanmedian(found.edge_px) == pytest.approx(0.28 * 11, abs=0.4)


def test_twice_the_noise_is_half_the_contrast_to_noise(measures: ModuleType) -> None:
    grey, mask = tube(11, 0.4)
    noise = np.random.default_rng(3).standard_normal(grey.shape)
    ratio = [
        np.median(
            measures.measure_crossings(grey * (1 + s * noise), mask, mask | ~mask, np.random.default_rng(0)).to_noise
        )
        for s in (0.01, 0.02)
    ]
    assert ratio[0] == pytest.approx(2 * ratio[1], rel=0.05)


def test_the_shutter_is_no_part_of_the_picture_but_a_vessel_that_leaves_it_is(measures: ModuleType) -> None:
    grey = np.full((256, 256), 200.0)
    grey[:, :40] = 2.0
    grey[100:103, 40:] = 15.0
    area = measures.open_area(grey)
    assert not area[:, :40].any()
    assert area[101, 60:240].all()


def test_lines_on_an_even_ground_are_more_peaked_than_mottle(measures: ModuleType) -> None:
    rng = np.random.default_rng(4)
    mottle = 300 * np.exp(0.05 * ndimage.gaussian_filter(rng.standard_normal((256, 256)), 2))
    lined, _ = tube(3, 0.1, 256)
    everywhere = np.ones((256, 256), bool)
    peaked = [measures.band_structure(g, everywhere, ~everywhere, None)[1][1] for g in (mottle, lined)]
    assert abs(peaked[0]) < 0.7
    assert peaked[1] > 5


def test_the_curve_of_a_bolus_has_its_rise_and_its_width(measures: ModuleType) -> None:
    times = np.arange(0, 12, 0.1)
    curve = np.interp(times, [1, 3, 5, 7], [0, 1, 1, 0])
    assert measures.rise_and_width_s(curve, times) == pytest.approx((1.6, 4.0), abs=0.05)
    assert np.isnan(measures.rise_and_width_s(curve[:40], times[:40])[1])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One simulated patient of the sample's and one drawn vessel in the place of the real files."""
    simulated, real = tmp_path_factory.mktemp("simulated"), tmp_path_factory.mktemp("real")
    sample = ROOT / "data" / "sample"
    case = next(p.parent for p in [*sample.glob("dicom"), *sample.glob("*/dicom")])
    shutil.copytree(
        case, simulated / "easy" / "case-000", ignore=shutil.ignore_patterns("*-ct", "celiac*", "frontal*", "*.nii.gz")
    )
    (real / "vessels_dca").mkdir()
    grey, mask = tube(9, 0.3)
    for name, image in (("1.png", grey / 2), ("1_gt.png", 255.0 * mask)):
        cv2.imwrite(str(real / "vessels_dca" / name), image.astype(np.uint8))
    return real, simulated


@pytest.mark.slow
def test_one_command_measures_draws_and_writes(
    realism: ModuleType, tiny: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "docs" / "simulator.md"
    page.parent.mkdir()
    page.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    given = {"real": tiny[0], "simulated": tiny[1], "out": tmp_path / "realism.json", "page": page}
    monkeypatch.setattr(sys, "argv", ["realism.py", *(f"--{k}={v}" for k, v in given.items())])
    realism.main()
    groups = json.loads((tmp_path / "realism.json").read_text())["groups"]
    assert set(groups) == {"easy", "vessels_dca"}
    assert groups["vessels_dca"]["width_px"][2] == pytest.approx(9, abs=1.5)
    words = page.read_text()
    assert words.startswith("before\n")
    assert words.endswith("after\n")
    assert "old" not in words
    assert len(list((page.parent / "images").glob("realism-*.png"))) == 4


def test_the_page_shows_what_was_measured(realism: ModuleType) -> None:
    document = json.loads((ROOT / "benchmarks" / "realism.json").read_text())
    page = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    shown = page.split(f"{START}\n")[1].split(f"\n{END}")[0]
    assert shown == realism.section(document), "run benchmarks/realism.py"
    assert {"easy", "clinical", "hard", "xa_phantom", "xa_coronary", "vessels_dca"} <= set(document["groups"])


def test_the_pictures_of_the_page_are_small(realism: ModuleType) -> None:
    page = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    named = re.findall(r"!\[[^\]]*\]\((images/realism-[\w.-]+)\)", page)
    assert len(named) == 4
    assert sum((ROOT / "docs" / name).stat().st_size for name in named) < 3e6
