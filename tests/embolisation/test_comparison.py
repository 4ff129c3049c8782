from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from embolisation_scene import FORK, LIVER_END, Scene, make_run, with_probability

from angio_pipeline.core.embolisation import Flow, Patency, SaceLevel
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Background
from angio_pipeline.embolisation import EmbolisationParams, compare_runs
from angio_pipeline.embolisation.endpoint import SaceParams, flow_to

PARAMS = EmbolisationParams()


def compared(before, scene=None, **changed):
    return compare_runs(before, make_run(scene or Scene(seed=2), **changed), params=PARAMS)


@pytest.mark.slow
def test_a_run_against_itself_changes_nothing_and_is_level_one(before):
    found = compare_runs(before, before, params=PARAMS)
    (tumour,) = found.tumours
    assert tumour.blush is not None
    assert tumour.blush.residual == pytest.approx(1, abs=1e-6)
    assert tumour.blush.residual_area == 1
    assert tumour.blush.before == tumour.blush.after
    assert tumour.feeders[0].ratio == pytest.approx(1, abs=1e-6)
    assert (tumour.feeders[0].patency, tumour.flow, tumour.sace) == (Patency.OPEN, Flow.NORMAL, SaceLevel.LEVEL_I)
    np.testing.assert_allclose(found.alignment.offsets_px, 0, atol=0.02)
    np.testing.assert_array_equal(found.picture_before, found.picture_after)


@pytest.mark.parametrize(
    "scene",
    [
        Scene(seed=2, dose=1.7),
        Scene(seed=2, dose=0.6),
        Scene(seed=2, late_s=1.3),
        Scene(seed=2, lasts_s=1.5),
        Scene(seed=2, lasts_s=4.5),
    ],
)
def test_strength_time_and_length_of_the_injection_drop_out(before, scene):
    (tumour,) = compared(before, scene).tumours
    assert tumour.blush.residual == pytest.approx(1, abs=0.05)
    assert tumour.blush.residual_area == pytest.approx(1, abs=0.05)
    assert tumour.feeders[0].ratio == pytest.approx(1, abs=0.05)
    assert tumour.feeders[0].delay_after_s == pytest.approx(tumour.feeders[0].delay_before_s, abs=0.1)
    assert tumour.sace is SaceLevel.LEVEL_I


def test_injections_of_different_length_are_told(before):
    lasted = compared(before, Scene(seed=2, lasts_s=1.5)).reference.durations_s
    assert lasted == pytest.approx((3, 1.5), abs=0.3)
    assert any("injections lasted" in caution for caution in compared(before, Scene(seed=2, lasts_s=1.5)).cautions)
    (tumour,) = compared(before, Scene(seed=2, late_s=1.3)).tumours
    assert tumour.blush.after.time_to_peak_s == pytest.approx(tumour.blush.before.time_to_peak_s, abs=0.35)


@pytest.mark.parametrize("scene", [Scene(seed=2), Scene(seed=2, breath=9), Scene(seed=2, breath=-7, moved=(10, 12))])
def test_a_trunk_that_alone_is_left_is_level_four(before, scene):
    (tumour,) = compared(before, replace(scene, flow=0, blush=0, stasis=True)).tumours
    assert tumour.feeders[0].patency is Patency.CLOSED
    assert tumour.sace is SaceLevel.LEVEL_IV


@pytest.mark.slow
def test_another_vessel_that_lies_over_a_closed_feeder_does_not_open_it():
    before = make_run(Scene(neighbour=True))
    (tumour,) = compare_runs(before, make_run(Scene(seed=2, neighbour=True, flow=0, blush=0)), params=PARAMS).tumours
    assert tumour.feeders[0].patency is Patency.CLOSED
    (tumour,) = compare_runs(before, make_run(Scene(seed=2, neighbour=True)), params=PARAMS).tumours
    assert tumour.feeders[0].patency is Patency.OPEN
    # Were the tree not known to have it, it would be read as the feeder's own contrast.
    unknown = replace(before, graph=make_run(Scene()).graph)
    (tumour,) = compare_runs(unknown, make_run(Scene(seed=2, neighbour=True, flow=0, blush=0)), params=PARAMS).tumours
    assert tumour.feeders[0].patency is not Patency.CLOSED


def test_a_feeder_with_little_contrast_that_is_not_late_is_neither_closed_nor_slowed(before):
    (tumour,) = compared(before, Scene(seed=2, feeder=0.07, blush=0.4)).tumours
    assert tumour.feeders[0].ratio == pytest.approx(0.35, abs=0.04)
    assert tumour.feeders[0].patency is Patency.UNKNOWN
    assert "another vessel that lies over it" in tumour.feeders[0].reason
    assert tumour.flow is None


@pytest.mark.parametrize("left", [0.7, 0.4, 0.2])
def test_residual_blush_is_the_share_that_was_left(before, left):
    (tumour,) = compared(before, Scene(seed=2, blush=left)).tumours
    blush = tumour.blush
    assert blush.residual == pytest.approx(left, abs=0.05)
    assert blush.residual_interval[0] < left < blush.residual_interval[1]
    for name in ("peak", "auc", "wash_in"):
        assert getattr(blush.after, name) / getattr(blush.before, name) == pytest.approx(left, abs=0.12), name
    assert tumour.sace is SaceLevel.LEVEL_II
    assert "flow normal" in tumour.reason


def test_half_a_tumour_that_stains_is_half_the_area(before):
    whole, none = make_run(Scene(seed=2)), make_run(Scene(seed=2, blush=0))
    right = np.arange(256) >= 196
    frames = np.where(right, whole.subtracted.frames, none.subtracted.frames)
    after = replace(whole, subtracted=replace(whole.subtracted, frames=frames))
    (tumour,) = compare_runs(before, after, params=PARAMS).tumours
    assert tumour.blush.residual_area == pytest.approx(0.5, abs=0.06)
    assert 0.35 < tumour.blush.residual < 0.65


def test_a_feeder_that_is_cut_with_its_blush_is_level_four(before):
    (tumour,) = compared(before, Scene(seed=2, flow=0, blush=0)).tumours
    (feeder,) = tumour.feeders
    assert feeder.patency is Patency.CLOSED
    assert feeder.ratio_interval[1] < 0.2
    assert np.isnan(feeder.delay_after_s)
    assert (tumour.flow, tumour.sace) == (Flow.NONE, SaceLevel.LEVEL_IV)


def test_a_filled_feeder_that_fills_late_is_slowed_by_that_time(before):
    (tumour,) = compared(before, Scene(seed=2, blush=0.4, slow_s=1.2)).tumours
    (feeder,) = tumour.feeders
    assert feeder.ratio == pytest.approx(1, abs=0.05)
    assert feeder.delay_after_s - feeder.delay_before_s == pytest.approx(1.2, abs=0.1)
    assert (feeder.patency, tumour.sace) == (Patency.SLOWED, SaceLevel.LEVEL_III)


def test_blush_without_flow_and_flow_without_blush_are_no_level(before):
    (tumour,) = compared(before, Scene(seed=2, flow=0, blush=0.5)).tumours
    assert tumour.sace is None
    assert "another vessel may supply it" in tumour.reason
    (tumour,) = compared(before, Scene(seed=2, blush=0)).tumours
    assert tumour.sace is None
    assert "may not be this tumour's" in tumour.reason


@pytest.mark.parametrize(
    "scene",
    [
        Scene(seed=2, moved=(14, -21), blush=0.4, slow_s=1.2),
        Scene(seed=2, breath=9, blush=0.4, slow_s=1.2),
        Scene(seed=2, moved=(-9, 12), breath=-7, blush=0.4, slow_s=1.2),
    ],
)
def test_a_shifted_table_and_another_breath_are_made_good(before, scene):
    found = compared(before, scene)
    assert found.alignment.by_vessels
    assert found.alignment.mean_shift_px == pytest.approx((scene.moved[0] + scene.breath, scene.moved[1]), abs=0.3)
    assert found.alignment.anatomy_shift_px == pytest.approx(scene.moved, abs=0.3)
    (tumour,) = found.tumours
    assert tumour.blush.residual == pytest.approx(0.4, abs=0.05)
    assert (tumour.feeders[0].patency, tumour.sace) == (Patency.SLOWED, SaceLevel.LEVEL_III)


def test_without_vessels_to_align_by_no_feeder_is_judged(before):
    after = make_run(Scene(seed=2))
    # Only bone is left of the run after: what is injected elsewhere shows none of the vessels.
    empty = np.random.default_rng(0).normal(0, 0.004, after.subtracted.frames.shape).astype(np.float32)
    gone = replace(
        after.subtracted,
        frames=empty,
        attenuation=after.subtracted.attenuation - after.subtracted.frames[after.subtracted.reference_frame],
    )
    with pytest.raises(InputRefused) as refused:
        compare_runs(before, replace(after, subtracted=gone), params=PARAMS)
    assert refused.value.reason == "artery_not_filled"


def test_a_feeder_in_the_noise_cannot_be_told():
    faint = {"noise": 0.03, "feeder": 0.001}
    (tumour,) = compare_runs(make_run(Scene(**faint)), make_run(Scene(seed=2, **faint)), params=PARAMS).tumours
    assert tumour.feeders[0].patency is Patency.UNKNOWN
    assert "noise" in tumour.feeders[0].reason
    assert tumour.flow is None


def test_of_slowed_supply_is_spoken_only_where_there_is_some(before):
    (tumour,) = compared(before, Scene(seed=2, blush=0.4, slow_s=1.2)).tumours
    (feeder,) = tumour.feeders
    opened, slowed, closed = (
        replace(feeder, contribution=0.5, patency=kind) for kind in (Patency.OPEN, Patency.SLOWED, Patency.CLOSED)
    )
    flow, said = flow_to([opened, closed], params=SaceParams())
    assert (flow, said) == (Flow.REDUCED, "flow reduced: 50 % of the supply is open and 50 % closed")
    _, said = flow_to([slowed, closed], params=SaceParams())
    assert said == "flow reduced: 0 % of the supply is open and 50 % closed, the rest slowed"


def test_flow_is_judged_by_likely_feeders_only(before):
    unlikely = with_probability(before, 0.2)
    (tumour,) = compare_runs(unlikely, make_run(Scene(seed=2, blush=0.4)), params=PARAMS).tumours
    assert tumour.flow is None
    assert tumour.sace is None
    assert "no likely feeder" in tumour.reason
    (same,) = compare_runs(unlikely, make_run(Scene(seed=2)), params=PARAMS).tumours
    assert same.sace is SaceLevel.LEVEL_I


def test_a_tumour_under_an_artery_or_out_of_view_is_not_read(before):
    (tumour,) = before.tumours
    artery = before.vessels.artery | tumour.mask
    covered = replace(before, vessels=replace(before.vessels, artery=artery, probability=artery.astype(np.float32)))
    (found,) = compare_runs(covered, make_run(Scene(seed=2)), params=PARAMS).tumours
    assert found.blush is None
    assert "arteries lie over most of it" in found.reason
    sub = make_run(Scene(seed=2)).subtracted
    valid = np.ones(sub.valid.shape, bool)
    valid[:, 185:] = False
    narrow = replace(make_run(Scene(seed=2)), subtracted=replace(sub, valid=valid))
    (found,) = compare_runs(before, narrow, params=PARAMS).tumours
    assert "outside what both runs show" in found.reason


def test_a_more_selective_catheter_leaves_the_level_open(before):
    after = make_run(Scene(seed=2))
    row, col = (0.5 * (a + b) for a, b in zip(FORK, LIVER_END, strict=True))
    moved = replace(after, tip=replace(after.tip, row=row, col=col))
    found = compare_runs(before, moved, params=PARAMS)
    assert found.tumours[0].sace is None
    assert "farther down the tree" in found.tumours[0].reason
    assert found.tumours[0].reason in found.cautions


def test_already_subtracted_runs_are_aligned_by_their_vessels(before):
    def subtracted(result):
        return replace(result, subtracted=replace(result.subtracted, background=Background.ALREADY_SUBTRACTED))

    after = make_run(Scene(seed=2, moved=(6, 4), blush=0.4))
    found = compare_runs(subtracted(before), subtracted(after), params=PARAMS)
    assert found.alignment.anatomy_shift_px is None
    assert found.alignment.mean_shift_px == pytest.approx((6, 4), abs=0.3)
    assert any("rests on their files" in caution for caution in found.cautions)
    assert found.tumours[0].blush.residual == pytest.approx(0.4, abs=0.05)


def test_display_values_widen_the_interval_and_are_told(before):
    def displayed(result):
        return replace(result, subtracted=replace(result.subtracted, quality=Quality.DISPLAY_VALUES))

    after = make_run(Scene(seed=2, blush=0.4))
    plain = compare_runs(before, after, params=PARAMS)
    rough = compare_runs(displayed(before), displayed(after), params=PARAMS)
    ends = [found.tumours[0].blush.residual_interval for found in (plain, rough)]
    assert ends[1][1] > ends[0][1] + 0.02
    assert any("display transform" in caution for caution in rough.cautions)
    assert not any("display transform" in caution for caution in plain.cautions)


def test_the_reference_artery_is_a_large_one_and_no_likely_feeder(before):
    found = compared(before)
    rows, cols = found.reference.line.T
    assert abs(cols.mean() - 122) < 4
    assert rows.min() > FORK[0] - 5
    assert 0.25 < found.reference.before.max() < 0.5


def test_another_patient_of_the_same_geometry_is_refused(before):
    rng = np.random.default_rng(5)
    after = make_run(Scene(seed=2))
    sub = after.subtracted
    other = replace(
        sub, frames=sub.frames[:, ::-1, ::-1], attenuation=rng.normal(1, 0.05, sub.valid.shape).astype(np.float32)
    )
    with pytest.raises(InputRefused, match="anatomy or vessels of both runs to agree") as refused:
        compare_runs(before, replace(after, subtracted=other), params=PARAMS)
    assert refused.value.reason == "not_aligned"


def test_runs_without_tumour_artery_or_time_are_refused_by_name(before):
    for changed, reason in (
        ({"before": make_run(tumour=False)}, "no_tumour"),
        ({"after": make_run(Scene(seed=2, frames=11))}, "run_too_short"),
        ({"before": replace(before, graph=replace(before.graph, branches=(), root=None))}, "no_artery"),
    ):
        pair = {"before": before, "after": make_run(Scene(seed=2))} | changed
        with pytest.raises(InputRefused, match=r"^Expected .*found") as refused:
            compare_runs(pair["before"], pair["after"], params=PARAMS)
        assert refused.value.reason == reason
