"""Blush on a drawn liver: arteries empty, tissue stains, veins fill last."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Background, SubtractedRun
from angio_pipeline.core.tumours import Tumour
from angio_pipeline.core.vessels import VesselSegmentation
from angio_pipeline.perfusion import PerfusionParams, measure
from angio_pipeline.tumour import BlushParams, find_blush
from angio_pipeline.tumour.tissue import picture_tissue

TIMES = np.concatenate([np.arange(14) / 3, 14 / 3 + np.arange(6)])
LIVER, RIGHT, LEFT = (128, 128), (95, 75), (160, 165)


def _disc(centre: tuple[int, int], radius: float, softness: float = 1.5, size: int = 256) -> np.ndarray:
    rows, cols = np.mgrid[:size, :size]
    inside = np.hypot(rows - centre[0], cols - centre[1]) <= radius
    return cv2.GaussianBlur(inside.astype(np.float32), (0, 0), softness)


def _arteries() -> np.ndarray:
    big = np.zeros((1024, 1024), np.float32)
    for ends, width in (((230, 128), (130, 128)), 5), (((130, 128), RIGHT), 4), (((130, 128), LEFT), 4):
        (r0, c0), (r1, c1) = ends
        cv2.line(big, (c0 * 4, r0 * 4), (c1 * 4, r1 * 4), 1.0, width * 4)
    return cv2.resize(big, (256, 256), interpolation=cv2.INTER_AREA)


BOLUS = np.clip((TIMES - 1.0) / 0.6, 0, 1) * np.clip((4.9 - TIMES) / 0.8, 0, 1)
TISSUE = np.clip((TIMES - 1.5) / 3.0, 0, 1) * np.exp(-np.maximum(TIMES - 4.5, 0) / 12)
LATE = np.clip((TIMES - 6.5) / 3.0, 0, 1)


def _run(*stains: tuple[np.ndarray, np.ndarray], seed: int = 1) -> tuple[SubtractedRun, VesselSegmentation]:
    """Return a run with arteries, a liver of 0.1, and the pictures given, each with its course."""
    rng = np.random.default_rng(seed)
    artery = _arteries()
    parts = [(0.4 * artery, BOLUS), (0.1 * _disc(LIVER, 95, 4), TISSUE), *stains]
    drawn = sum(course[:, None, None] * picture for picture, course in parts)
    frames = (drawn + 0.004 * rng.standard_normal(drawn.shape)).astype(np.float32)
    still = np.zeros((256, 256), np.float32)
    sub = SubtractedRun(
        frames=frames,
        times_s=TIMES,
        valid=np.ones((256, 256), np.bool_),
        usable=np.ones(len(TIMES), np.bool_),
        background=Background.MASK,
        mask_frames=(0, 1),
        reference_frame=8,
        motion_px=np.zeros((len(TIMES), 2)),
        residual_before=0.004,
        residual_after=0.004,
        noise_sd=0.004,
        uncorrected=still,
        attenuation=still,
        source=Source("1.2.3", "1.2"),
    )
    return sub, VesselSegmentation(artery, artery > 0.5)


def _found(sub: SubtractedRun, vessels: VesselSegmentation) -> list[np.ndarray]:
    maps = measure(sub, params=PerfusionParams())
    return [t.mask for t in find_blush(sub, maps, vessels, params=BlushParams())[0]]


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def test_two_tumours_are_two_regions_where_they_are() -> None:
    first, second = _disc(RIGHT, 16), _disc(LEFT, 11)
    found = _found(*_run((0.15 * first, TISSUE), (0.12 * second, TISSUE)))
    assert len(found) == 2
    for truth in (first, second):
        assert max(_iou(mask, truth > 0.5) for mask in found) > 0.7


def test_a_ring_with_a_dark_core_is_one_region_with_its_core() -> None:
    whole = _disc(RIGHT, 18)
    (found,) = _found(*_run((0.15 * (whole - _disc(RIGHT, 10)), TISSUE)))
    assert _iou(found, whole > 0.5) > 0.7


def test_a_liver_without_a_tumour_has_none() -> None:
    assert _found(*_run()) == []


def test_what_fills_last_is_a_vein_and_no_tumour() -> None:
    assert _found(*_run((0.15 * _disc(LEFT, 12), LATE))) == []


def test_a_moved_dome_is_no_tumour() -> None:
    dome, moved = _disc(LIVER, 95), _disc((LIVER[0] - 6, LIVER[1]), 95)
    drift = np.linspace(0, 1, len(TIMES))
    assert _found(*_run((0.25 * (moved - dome), drift))) == []


def test_the_stain_is_taken_once_the_arteries_have_emptied_and_before_the_veins_fill() -> None:
    sub, vessels = _run((0.3 * _disc(LEFT, 12), LATE))
    picture = picture_tissue(sub, vessels, window_s=2.5, emptied_share=0.3)
    chosen = slice(picture.first, picture.last + 1)
    assert BOLUS[chosen].max() < 0.35
    assert LATE[chosen].mean() < 0.2
    assert picture.liver == pytest.approx(0.1 * TISSUE[chosen].mean(), rel=0.15)


def test_twice_the_contrast_changes_neither_region_nor_probability() -> None:
    sub, vessels = _run((0.15 * _disc(RIGHT, 16), TISSUE))
    double = replace(sub, frames=2 * sub.frames, noise_sd=2 * sub.noise_sd)
    maps = measure(sub, params=PerfusionParams())
    (one,), _ = find_blush(sub, maps, vessels, params=BlushParams())
    (other,), _ = find_blush(double, maps, vessels, params=BlushParams())
    assert _iou(one.mask, other.mask) > 0.99
    assert other.probability == pytest.approx(one.probability, abs=1e-3)


def test_twice_the_pixels_give_the_same_tumour_four_times_as_large() -> None:
    sub, vessels = _run((0.15 * _disc(RIGHT, 16), TISSUE))

    def grown(image: np.ndarray) -> np.ndarray:
        return np.repeat(np.repeat(image, 2, axis=-2), 2, axis=-1)

    large = replace(
        sub,
        frames=grown(sub.frames),
        valid=grown(sub.valid),
        uncorrected=grown(sub.uncorrected),
        attenuation=grown(sub.attenuation),
    )
    (small,), (big,) = (
        _found(sub, vessels),
        _found(large, VesselSegmentation(grown(vessels.probability), grown(vessels.artery))),
    )
    assert big.sum() == pytest.approx(4 * small.sum(), rel=0.05)


def _told(*spots: tuple[np.ndarray, float], threshold: float = 0.5) -> tuple[tuple[Tumour, ...], Quality]:
    """Return what `find_blush` makes of a network's blush: discs, each of one probability."""
    sub, vessels = _run()
    blush = np.zeros((256, 256), np.float32)
    for where, probability in spots:
        blush[where > 0.5] = probability
    told = replace(vessels, blush=blush, blush_threshold=threshold)
    return find_blush(sub, measure(sub, params=PerfusionParams()), told, params=BlushParams())


def test_blush_that_a_network_tells_is_taken_likeliest_first() -> None:
    (first, second), quality = _told((_disc(RIGHT, 16), 0.7), (_disc(LEFT, 11), 0.9))
    assert (first.id, second.id) == ("T1", "T2")
    assert (first.probability, second.probability) == pytest.approx((0.9, 0.7))
    np.testing.assert_array_equal(first.mask, _disc(LEFT, 11) > 0.5)
    assert quality is Quality.NONE


def test_two_touching_tumours_that_a_network_tells_are_two() -> None:
    found, _ = _told((_disc((100, 100), 20), 0.9), (_disc((100, 138), 20), 0.9))
    assert len(found) == 2


@pytest.mark.parametrize(
    "spot",
    [(_disc(RIGHT, 16), 0.4), (_disc(RIGHT, 1.0, 0.3), 0.9)],
    ids=["not probable", "smaller than 4 pixels of 512"],
)
def test_blush_that_is_faint_or_small_is_no_tumour(spot: tuple[np.ndarray, float]) -> None:
    assert _told(spot) == ((), Quality.NO_TUMOUR_BLUSH)


def test_blush_begins_at_the_networks_threshold() -> None:
    assert len(_told((_disc(RIGHT, 16), 0.6), threshold=0.55)[0]) == 1
    assert len(_told((_disc(RIGHT, 16), 0.6), threshold=0.65)[0]) == 0


def test_a_network_that_tells_no_blush_leaves_none_to_the_filter() -> None:
    sub, vessels = _run((0.15 * _disc(RIGHT, 16), TISSUE))
    told = replace(vessels, blush=np.zeros((256, 256), np.float32))
    maps = measure(sub, params=PerfusionParams())
    assert find_blush(sub, maps, told, params=BlushParams()) == ((), Quality.NO_TUMOUR_BLUSH)


def test_where_contrast_is_not_seen_to_come_a_networks_blush_is_not_taken() -> None:
    sub, vessels = _run()
    sub = replace(sub, background=Background.SPATIAL)
    told = replace(vessels, blush=np.ones((256, 256), np.float32))
    maps = measure(sub, params=PerfusionParams())
    assert find_blush(sub, maps, told, params=BlushParams()) == ((), Quality.NO_TUMOUR_BLUSH)


def test_no_more_tumours_are_told_than_asked_for() -> None:
    sub, vessels = _run()
    blush = np.zeros((256, 256), np.float32)
    for k in range(5):
        blush[_disc((40, 30 + 45 * k), 10) > 0.5] = 0.5 + 0.1 * k
    maps = measure(sub, params=PerfusionParams())
    found, _ = find_blush(sub, maps, replace(vessels, blush=blush), params=BlushParams(max_count=2))
    assert [tumour.probability for tumour in found] == pytest.approx([0.9, 0.8])
