from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from embolisation_scene import POSE, SPACING, Scene, make_run

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.geometry import CArmPose, PixelSpacing, SpacingPlane
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Quantity
from angio_pipeline.embolisation import GeometryParams, check_geometry

AFTER = Scene(seed=2)


@pytest.mark.parametrize(
    ("changed", "reason", "words"),
    [
        ({"pose": replace(POSE, primary_deg=-30.0)}, "angle_differs", "-30.0 / 0.0 degrees after"),
        ({"pose": replace(POSE, secondary_deg=8.0)}, "angle_differs", "0.0 / 8.0 degrees after"),
        ({"pose": None}, "angle_unknown", "found none for the other"),
        ({"pose": replace(POSE, sid_mm=1200.0)}, "distance_differs", "1100 mm before and 1200 mm after"),
        ({"pose": replace(POSE, sod_mm=700.0)}, "distance_differs", "source-patient"),
        (
            {"spacing": PixelSpacing(0.42, 0.42, SpacingPlane.ISOCENTRE)},
            "field_differs",
            "154 x 154 mm before and 108 x 108 mm after",
        ),
        ({"table_mm": (60.0, 0.0, 0.0)}, "table_differs", "60 mm between the runs"),
        ({"table_mm": (0.0, 90.0, 0.0)}, "table_differs", "found 90 mm"),
    ],
)
def test_what_differs_is_refused_by_name_with_both_values(before, changed, reason, words):
    with pytest.raises(InputRefused) as refused:
        check_geometry(before, make_run(AFTER, **changed), params=GeometryParams())
    assert refused.value.reason == reason
    assert words in refused.value.sentence


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"pose": replace(POSE, primary_deg=1.5, secondary_deg=-2.0)},
        {"pose": CArmPose(0.0, 0.0)},
        {"table_mm": (3.0, 15.0, -20.0)},
        {"table_mm": None},
        {"spacing": None},
        {"spacing": PixelSpacing(SPACING.row_mm * 1.4, SPACING.col_mm * 1.4, SpacingPlane.DETECTOR)},
    ],
)
def test_small_differences_and_what_no_file_tells_pass(before, changed):
    check_geometry(before, make_run(AFTER, **changed), params=GeometryParams())


def test_angles_that_are_not_told_pass_when_the_settings_say_so(before):
    after = make_run(AFTER, pose=None)
    check_geometry(before, after, params=GeometryParams(need_angles=False))


def test_angles_are_compared_around_the_circle(before):
    turned = replace(before, run=replace(before.run, pose=replace(POSE, primary_deg=179.5)))
    check_geometry(turned, make_run(AFTER, pose=replace(POSE, primary_deg=-179.5)), params=GeometryParams())


def test_values_of_another_kind_another_matrix_or_without_times_are_refused(before):
    after = make_run(AFTER)
    stored = replace(after, run=replace(after.run, frames=after.run.frames.astype(np.uint16), quantity=Quantity.STORED))
    sub = after.subtracted
    smaller = replace(
        sub,
        frames=sub.frames[:, ::2, ::2],
        valid=sub.valid[::2, ::2],
        uncorrected=sub.uncorrected[::2, ::2],
        attenuation=sub.attenuation[::2, ::2],
    )
    untimed = replace(sub, quality=Quality.TIMES_UNKNOWN)
    filled = replace(sub, quality=Quality.FILLED_FROM_FIRST_FRAME)
    for other, reason in (
        (stored, "values_differ"),
        (replace(after, subtracted=smaller), "matrix_differs"),
        (replace(after, subtracted=untimed), "times_unknown"),
        (replace(after, subtracted=filled), "inflow_not_seen"),
    ):
        with pytest.raises(InputRefused, match=r"^Expected .*found .*; .*\.$") as refused:
            check_geometry(before, other, params=GeometryParams())
        assert refused.value.reason == reason
