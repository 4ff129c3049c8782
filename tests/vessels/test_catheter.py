"""Where a catheter that a network has told ends, drawn: a line that leads into an artery that fills from its end."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.runs import Background, SubtractedRun
from angio_pipeline.core.vessels import CatheterTip, VesselSegmentation
from angio_pipeline.perfusion import PerfusionParams, measure
from angio_pipeline.vessels import GraphParams, build_graph
from angio_pipeline.vessels.catheter import CatheterParams, find_tip

SIZE = (256, 256)
TIMES = np.arange(14) / 3
Points = list[tuple[int, int]]

ARTERY: Points = [(100, 120), (110, 180), (160, 240)]
CATHETER: Points = [(255, 60), (140, 70), (100, 125)]


def _line(points: Points, width: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    cv2.polylines(mask, [np.array([(col, row) for row, col in points])], False, 1, width)
    return mask > 0


def _run(artery: np.ndarray) -> SubtractedRun:
    # The bolus goes along the artery to the right, 100 px a second.
    rng = np.random.default_rng(1)
    delay = np.maximum(np.arange(SIZE[1]) - 120, 0) / 100
    bolus = np.clip((TIMES[:, None] - 1.0 - delay) / 0.4, 0, 1)
    frames = 0.4 * artery * bolus[:, None, :] + 0.003 * rng.standard_normal((len(TIMES), *SIZE))
    frames = frames.astype(np.float32)
    return SubtractedRun(
        frames=frames, times_s=TIMES, valid=np.ones(SIZE, np.bool_), usable=np.ones(len(TIMES), np.bool_),
        background=Background.MASK, mask_frames=(0, 1), reference_frame=9, motion_px=np.zeros((len(TIMES), 2)),
        residual_before=0.003, residual_after=0.003, noise_sd=0.003, uncorrected=frames[9], attenuation=frames[9],
        source=Source("1.2.3", "1.2"),
    )  # fmt: skip


def _vessels(catheter: np.ndarray, artery: np.ndarray) -> VesselSegmentation:
    told = np.where(catheter, 0.95, 0.01).astype(np.float32)
    return VesselSegmentation(
        artery.astype(np.float32), artery, catheter=catheter, catheter_probability=told, method="network"
    )


def _tip(catheter: np.ndarray, artery: np.ndarray | None = None) -> CatheterTip | None:
    drawn = _line(ARTERY, 9) if artery is None else artery
    sub = _run(drawn)
    return build_graph(_vessels(catheter, drawn), sub, measure(sub, params=PerfusionParams()), params=GraphParams())[1]


def _place(tip: CatheterTip | None) -> tuple[float, float]:
    assert tip is not None
    return tip.row, tip.col


def test_the_end_in_the_artery_is_the_tip_and_the_root_lies_there() -> None:
    artery = _line(ARTERY, 9)
    sub = _run(artery)
    graph, tip = build_graph(
        _vessels(_line(CATHETER, 3), artery), sub, measure(sub, params=PerfusionParams()), params=GraphParams()
    )
    assert _place(tip) == pytest.approx((100, 125), abs=3)
    assert graph.root is not None
    assert np.hypot(*(graph.nodes[graph.root] - (100, 120))) < 8


def test_a_catheter_told_in_pieces_ends_where_it_ends_whole() -> None:
    broken = _line(CATHETER, 3)
    broken[150:164] = False
    assert _place(_tip(broken)) == pytest.approx((100, 125), abs=3)


def test_a_catheter_that_turns_back_over_itself_ends_in_the_artery_not_in_its_bend() -> None:
    # Up, over the top, and down into the artery, as from the aorta into the celiac trunk.
    bend: Points = [(255, 100), (70, 100), (60, 106), (60, 114), (70, 120), (100, 122)]
    assert _place(_tip(_line(bend, 3))) == pytest.approx((100, 122), abs=3)


def test_a_catheter_that_ends_away_from_all_arteries_has_no_tip() -> None:
    assert _tip(_line([(255, 20), (200, 20), (150, 24)], 3)) is None


def test_a_speck_is_no_catheter_and_where_none_is_told_no_tip_is_in_view() -> None:
    assert _tip(_line([(100, 122), (104, 128)], 3)) is None
    assert _tip(np.zeros(SIZE, bool)) is None


def test_a_catheter_that_only_passes_through_the_picture_has_no_tip() -> None:
    assert _tip(_line([(255, 60), (0, 60)], 3), _line([(248, 60), (248, 120)], 9)) is None


def test_twice_the_pixels_put_the_tip_at_twice_the_place() -> None:
    artery, catheter = _line(ARTERY, 9), _line(CATHETER, 3)
    sub = _run(artery)
    frames, valid = (np.repeat(np.repeat(picture, 2, -1), 2, -2) for picture in (sub.frames, sub.valid))
    large = replace(sub, frames=frames, valid=valid, uncorrected=frames[9], attenuation=frames[9])
    seen = []
    for run, factor in ((sub, 1), (large, 2)):
        grown = [np.kron(mask, np.ones((factor, factor), bool)) for mask in (catheter, artery)]
        maps = measure(run, params=PerfusionParams())
        seen.append(np.array(_place(find_tip(_vessels(*grown), run, maps, params=CatheterParams()))))
    assert seen[1] / 2 == pytest.approx(seen[0], abs=4)
