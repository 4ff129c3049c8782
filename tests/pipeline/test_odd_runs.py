"""What a run may look like when something is missing or too much: a result all the same, and flags that say so.

The whole story is told with the steps that always tell it. What the network says of each pixel is drawn here, and so
known; contrast comes up the drawn vessels in the frames themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.followups import FilmRoi
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.runs import AngioRun, Quantity
from angio_pipeline.core.vessels import FrameVessels, VesselProbabilities
from angio_pipeline.outputs import write_run
from angio_pipeline.pipeline import Networks, process_run

pytestmark = pytest.mark.slow

SIZE = (192, 192)
Points = list[tuple[int, int]]
Tell = Callable[..., RunResult]

TRUNK: Points = [(180, 96), (60, 96)]
# Up the trunk, round both sides of a lozenge, and on.
LOOP: list[Points] = [[(180, 96), (140, 96)], [(140, 96), (100, 60), (60, 96)], [(140, 96), (100, 132), (60, 96)],
                      [(60, 96), (25, 96)]]  # fmt: skip


def _drawn(lines: list[Points], width: int = 6) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    for points in lines:
        cv2.polylines(mask, [np.array([(col, row) for row, col in points])], False, 1, width)
    return mask > 0


def _run(artery: np.ndarray) -> AngioRun:
    """Contrast enters at the foot of the picture and rises 80 pixels a second."""
    rng = np.random.default_rng(4)
    times = np.arange(14) * 0.4
    texture = cv2.GaussianBlur(rng.standard_normal(SIZE), (0, 0), 4)
    late = times[:, None] - 1.4 - (SIZE[0] - np.arange(SIZE[0])) / 80
    bolus = np.clip(late / 0.4, 0, 1) * np.exp(-np.maximum(late - 2, 0))
    frames = 2 + texture + 0.5 * artery * bolus[:, :, None] + 0.01 * rng.standard_normal((len(times), *SIZE))
    return AngioRun(frames.astype(np.float32), times, Quantity.ATTENUATION, np.ones(SIZE, bool), Source("1.2.3", "1.2"))


@pytest.fixture
def tell(tmp_path: Path) -> Tell:
    """Return what tells and writes the story of drawn arteries, with blush and catheter as the network sees them."""

    def told(
        lines: list[Points],
        *,
        unseen: list[Points] | None = None,
        blush: np.ndarray | None = None,
        catheter: list[Points] | None = None,
        rois: Sequence[FilmRoi] = (),
    ) -> RunResult:
        artery = _drawn(lines)
        seen = [artery, np.zeros(SIZE), np.zeros(SIZE) if blush is None else blush, _drawn(catheter or [], 3)]
        said = VesselProbabilities(*(np.where(image, 0.95, 0.02).astype(np.float32) for image in seen))
        nothing = FrameVessels(np.zeros(SIZE, np.float32), 0.5, False, "")
        networks = Networks(run=lambda pictures: said, frame=lambda image: nothing)
        run = _run(artery | _drawn(unseen or []))
        result = process_run(run, config=PipelineConfig(), rois=rois, networks=networks)
        write_run(result, tmp_path)
        document = json.loads((tmp_path / "analysis.json").read_text())
        assert set(result.quality.names()) <= set(document["quality"])
        assert document["vessels"]["branches"] == len(result.graph.branches)
        assert len(document["tumours"]) == len(result.tumours)
        return result

    return told


def test_without_vessels_there_is_no_tree_and_no_tip_and_the_flags_say_so(tell: Tell) -> None:
    result = tell([])
    assert (result.graph.branches, result.graph.root, result.tip, result.shunts) == ((), None, None, ())
    assert Quality.NO_VESSELS | Quality.NO_TUMOUR_BLUSH in result.quality


def test_vessels_that_are_filled_but_not_seen_leave_a_tumour_without_feeder(tell: Tell) -> None:
    lesion = cv2.circle(np.zeros(SIZE, np.uint8), (96, 60), 18, 1, -1) > 0
    result = tell([], unseen=[TRUNK], rois=[FilmRoi("L1", lesion, "1.2.3")])
    assert [one.feeders for one in result.tumours] == [()]
    assert Quality.NO_FEEDER in result.quality


def test_without_a_tumour_the_tree_stands_and_the_flag_says_so(tell: Tell) -> None:
    result = tell([TRUNK])
    assert len(result.graph.branches) == 1
    assert result.tumours == ()
    assert Quality.NO_TUMOUR_BLUSH in result.quality
    assert Quality.BLUSH_EVERYWHERE not in result.quality


def test_blush_that_is_the_whole_picture_is_no_tumour_and_is_flagged(tell: Tell) -> None:
    result = tell([TRUNK], blush=np.ones(SIZE, bool))
    assert result.tumours == ()
    assert Quality.NO_TUMOUR_BLUSH | Quality.BLUSH_EVERYWHERE in result.quality


def test_a_region_drawn_over_the_whole_picture_is_taken_as_it_was_given(tell: Tell) -> None:
    (tumour,) = tell([TRUNK], rois=[FilmRoi("L1", np.ones(SIZE, bool), "1.2.3")]).tumours
    assert tumour.mask.all()


def test_every_branch_of_a_loop_is_reached_once_from_the_root(tell: Tell) -> None:
    result = tell(LOOP)
    graph = result.graph
    assert graph.root is not None
    ways = [graph.path_to(k) for k in range(len(graph.branches))]
    assert all(graph.branches[way[0]].start == graph.root and len(set(way)) == len(way) for way in ways)
    lines = np.vstack([branch.centreline for branch in graph.branches])
    for place in ((100, 60), (100, 132), (30, 96)):
        assert np.linalg.norm(lines - place, axis=1).min() < 5
    assert len(result.measures) == len(graph.branches)


def test_islands_are_trees_of_their_own_away_from_the_root(tell: Tell) -> None:
    graph = tell([[(180, 40), (40, 40)], [(180, 150), (110, 150)]]).graph
    assert len(graph.branches) == 2
    assert graph.parents() == (None, None)
    assert sum(branch.start == graph.root for branch in graph.branches) == 1


def test_a_catheter_whose_tip_is_out_of_view_leaves_the_root_assumed(tell: Tell) -> None:
    passing: Points = [(0, 20), (191, 30)]
    result = tell([TRUNK], catheter=[passing])
    assert result.tip is None
    assert Quality.NO_CATHETER_TIP | Quality.ROOT_ASSUMED in result.quality
    assert result.graph.root is not None


def test_a_tip_that_is_seen_is_where_the_tree_begins(tell: Tell) -> None:
    result = tell([[(140, 96), (20, 96)]], catheter=[[(191, 96), (138, 96)]])
    assert result.tip is not None
    assert np.hypot(result.tip.row - 140, result.tip.col - 96) < 12
    assert Quality.NO_CATHETER_TIP not in result.quality
