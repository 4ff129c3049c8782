"""The picture of flow: what its colours, arrows and numbers may say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from angio_pipeline.core.measures import VelocityState
from angio_pipeline.core.quality import Quality
from angio_pipeline.outputs.branches import main_branches
from angio_pipeline.outputs.documents import graph_document
from angio_pipeline.outputs.flow_picture import _places, _quantity, flow_picture


def colourful(picture, frame_px=1024):
    """Share of the picture itself, without its panel, that is neither grey nor the plain blue-grey of lines."""
    inside = picture[40:1000, :frame_px].astype(int)
    return float((inside.max(axis=2) - inside.min(axis=2) > 90).mean())


@pytest.fixture(scope="module")
def picture(run_maker):
    return flow_picture(run_maker())


def without_velocity(result, state=VelocityState.UNRESOLVED):
    unknown = {"velocity_px_s": np.nan, "velocity_interval_px_s": (np.nan, np.nan), "velocity_state": state}
    return replace(result, measures=tuple(replace(m, **unknown) for m in result.measures))


def without_times(result):
    bare = without_velocity(result, VelocityState.NOT_TIMED)
    return replace(
        bare, measures=tuple(replace(m, arrival_start_s=np.nan, arrival_end_s=np.nan) for m in bare.measures)
    )


@pytest.mark.slow
def test_the_picture_has_the_frames_size_beside_a_panel(picture):
    assert picture.dtype == np.uint8
    assert picture.shape[1] > 1024
    assert colourful(picture) > 0.005


def test_velocity_is_told_in_millimetres_only_with_a_calibration(run_maker):
    assert _quantity(graph_document(run_maker())).unit == "mm/s"
    assert _quantity(graph_document(run_maker(spacing=None))).unit == "px/s"


@pytest.mark.slow
def test_without_a_velocity_colour_is_arrival_and_without_times_there_is_none(run_maker):
    assert _quantity(graph_document(without_velocity(run_maker()))).unit == "s"
    assert _quantity(graph_document(run_maker(quality=Quality.TIMES_UNKNOWN))) is None
    plain = flow_picture(without_times(run_maker(tumour=False)))
    assert colourful(plain) < 0.001


def test_a_branch_without_a_velocity_has_no_colour_of_one(run_maker):
    values = _quantity(graph_document(run_maker())).values
    assert np.isnan(values[-1])
    assert np.isfinite(values[:-1]).all()


class Canvas:
    scale = 4.0

    @staticmethod
    def display(points):
        return (np.asarray(points, float)[:, ::-1] + 0.5) * 4.0


def test_arrows_point_the_way_that_the_branch_runs(run_result):
    for branch in run_result.graph.branches:
        for at, along in _places(branch, Canvas):
            line = Canvas.display(branch.centreline)
            near = int(np.argmin(np.linalg.norm(line - at, axis=1)))
            step = line[min(near + 3, len(line) - 1)] - line[max(near - 3, 0)]
            assert along @ step > 0
            assert np.linalg.norm(along) == pytest.approx(1)


def test_the_largest_branches_are_numbered_first_and_those_without_velocity_not_at_all(run_result):
    document = graph_document(run_result)
    main = main_branches(document)
    sizes = [b.length_px * b.mean_diameter_px**2 for b in document.branches]
    assert [sizes[k] for k in main] == sorted((sizes[k] for k in main), reverse=True)
    assert len(main) == 8
    assert len(document.branches) - 1 not in main


def test_what_the_root_does_not_reach_is_never_a_main_branch(run_result):
    lost = replace(run_result, measures=(replace(run_result.measures[0], generation=None), *run_result.measures[1:]))
    assert 0 in main_branches(graph_document(run_result))
    assert 0 not in main_branches(graph_document(lost))


def test_where_nothing_has_a_velocity_the_largest_are_numbered_all_the_same(run_result):
    assert len(main_branches(graph_document(without_velocity(run_result)))) == 8
