"""A patient's lesions over time: targets, nodes, pieces, what has merged, what is new, what is missing."""

from dataclasses import replace

import pytest

from angio_pipeline.core.response import Call, Extent, LesionAtDate, LesionHistory, OilConvention
from angio_pipeline.response import ResponseParams, judge_lesions
from angio_pipeline.response.extent import add_pieces
from angio_pipeline.response.targets import Candidate, TargetParams, choose_targets

GONE = Extent(0.0, 0.0, 0.0, 0.0, 0.0)
EVERY = tuple(OilConvention)


def ball(mm, across=None):
    across = mm if across is None else across
    return Extent(mm, across, mm * across, 0.5236e-3 * mm**3, mm)


def sizes(name, *mm, days=(-3.0, 28.0, 84.0), viable=None, oil=False, hu=None, **more):
    """A lesion by its diameters; None: not evaluated. Its living part likewise, the whole where not given."""
    dates = []
    for k, (size, day) in enumerate(zip(mm, days, strict=False)):
        whole = None if size is None else size if isinstance(size, Extent) else ball(size) if size else GONE
        living = whole if viable is None else None if viable[k] is None else ball(viable[k]) if viable[k] else GONE
        dates.append(
            LesionAtDate(
                f"2024{k + 1:02d}01", day, whole,
                viable={} if living is None else dict.fromkeys(EVERY, living),
                mean_hu=None if hu is None else hu[k], phase=None if hu is None else "portal venous",
                holds_oil=oil and day >= 0, missing="" if whole else "not seen", viable_missing="" if living else "-",
            )
        )  # fmt: skip
    return LesionHistory(name, tuple(dates), **more)


def calls(*lesions, name="recist", **settings):
    result = judge_lesions(lesions, params=ResponseParams(**settings))
    return [next(call for call in date.calls if call.name == name) for date in result.dates]


def changed(lesion, k, **fields):
    dates = list(lesion.dates)
    dates[k] = replace(dates[k], **fields)
    return replace(lesion, dates=tuple(dates))


def test_targets_are_the_largest_five_and_two_an_organ():
    every = [Candidate(f"L{i}", 50.0 - i, organ) for i, organ in enumerate(["liver"] * 3 + ["lung"] * 3 + ["bone"] * 2)]
    assert choose_targets(every, params=TargetParams()) == ("L0", "L1", "L3", "L4", "L6")


@pytest.mark.parametrize(
    ("candidate", "is_one"),
    [
        (Candidate("a", 10.0), True),
        (Candidate("b", 9.9), False),
        (Candidate("c", 12.0, slice_mm=7.0), False),
        (Candidate("d", 14.0, slice_mm=7.0), True),
        (Candidate("e", 14.9, node=True), False),
        (Candidate("f", 15.0, node=True), True),
        (Candidate("g", 40.0, measurable=False), False),
    ],
)
def test_a_target_has_to_be_large_enough_to_be_measured(candidate, is_one):
    assert bool(choose_targets([candidate], params=TargetParams())) is is_one


def test_sums_are_over_the_targets_and_the_nadir_is_the_least_before_now():
    first, second = calls(sizes("L1", 40, 20, 30), sizes("L2", 20, 15, 16))
    assert (first.value, first.baseline, first.nadir) == (35.0, 60.0, 60.0)
    assert (first.call, second.call) == (Call.PR, Call.PD)
    assert second.nadir == 35.0
    assert second.change_from_baseline == pytest.approx(46 / 60 - 1)


def test_a_third_lesion_of_the_liver_is_no_target_and_keeps_the_response_from_being_complete():
    first, second = calls(sizes("L1", 40, 0, 0), sizes("L2", 20, 0, 0), sizes("L3", 12, 12, 0))
    assert (first.targets, first.non_targets) == (("L1", "L2"), ("L3",))
    assert (first.target_call, first.non_target_call, first.call) == (Call.CR, Call.NON_CR_NON_PD, Call.PR)
    assert second.call is Call.CR


def test_a_reader_may_call_another_lesion_unequivocally_worse():
    lesions = [sizes("L1", 40, 20, 20), sizes("L2", 30, 20, 20), sizes("L3", 12, 14, 30, worse=(84.0,))]
    assert [call.call for call in calls(*lesions)] == [Call.PR, Call.PD]


def test_a_node_counts_by_its_short_axis_and_is_normal_below_10_mm():
    node = sizes("N1", ball(30, 20), ball(25, 10.0), ball(20, 9.9), node=True, organ="node")
    first, second = calls(node)
    assert (first.baseline, first.value, first.call) == (20.0, 10.0, Call.PR)
    assert (second.value, second.call) == (9.9, Call.CR)


def test_a_complete_response_leaves_a_sum_where_nodes_are_targets():
    lesions = [sizes("L1", 30, 0, 0), sizes("N1", ball(25, 16), ball(15, 9), ball(15, 9), node=True, organ="node")]
    first, _ = calls(*lesions)
    assert (first.value, first.call) == (9.0, Call.CR)


def test_a_node_between_10_and_15_mm_is_no_target():
    lesions = [sizes("L1", 30, 30, 0), sizes("N1", ball(20, 12), ball(20, 12), ball(9, 9), node=True, organ="node")]
    first, second = calls(*lesions)
    assert first.non_targets == ("N1",)
    assert second.call is Call.CR


def test_a_lesion_in_pieces_is_the_sum_of_them():
    split = add_pieces([ball(12), ball(10, 5)])
    assert (split.longest_mm, split.product_mm2) == (22.0, 194.0)
    first, _ = calls(sizes("L1", 30, split, split))
    assert first.value == 22.0


def test_lesions_that_have_merged_are_measured_as_one():
    lesions = [sizes("L1", 30, 30, 55), changed(sizes("L2", 20, 20, None), 2, merged_into="L1")]
    first, second = calls(*lesions)
    assert (first.value, second.value) == (50.0, 55.0)
    assert second.call is Call.SD


def test_what_is_too_small_to_measure_counts_5_mm_and_is_not_gone():
    first, _ = calls(changed(sizes("L1", 20, 0, 0), 1, too_small=True))
    assert (first.value, first.call) == (5.0, Call.PR)


def test_a_target_that_was_not_evaluated_makes_the_date_not_evaluable():
    first, second = calls(sizes("L1", 40, None, 20), sizes("L2", 20, 15, 15))
    assert (first.call, first.value) == (Call.NE, None)
    assert "L1: not seen" in first.sentence
    assert second.call is Call.PR
    assert second.nadir == 60.0


def test_progression_shows_even_where_a_target_was_not_evaluated():
    first, _ = calls(sizes("L1", 30, None, 30), sizes("L2", 20, 80, 20))
    assert first.call is Call.PD


def test_a_new_lesion_is_progression_except_where_a_criterion_knows_none():
    lesions = [sizes("L1", 40, 10, 10), sizes("L9", None, None, 15, new_on=84.0)]
    for name, last in (("recist", Call.PD), ("who", Call.PD), ("mrecist/tissue", Call.PD),
                       ("qeasl/tissue", Call.PR), ("recicl/tissue", Call.TE3)):  # fmt: skip
        assert calls(*lesions, name=name)[1].call is last, name
    assert calls(*lesions)[0].call is Call.PR
    assert calls(*lesions)[1].new_lesions == ("L9",)


def test_a_new_nodule_below_1_cm_waits_by_mrecist():
    lesions = [sizes("L1", 40, 10, 10), sizes("L9", None, 6, 12, new_on=28.0)]
    assert [call.call for call in calls(*lesions, name="mrecist/tissue")] == [Call.PR, Call.PD]


def test_mrecist_goes_by_what_enhances_and_chooses_targets_that_do():
    lesions = [sizes("L1", 40, 40, 40, viable=(40, 20, 0)), sizes("L2", 60, 60, 60, viable=(0, 0, 0))]
    first, second = calls(*lesions, name="mrecist/oil_necrotic")
    assert (first.targets, first.call) == (("L1",), Call.PR)
    # The other never enhanced, and is still there.
    assert second.call is Call.PR
    assert calls(*lesions)[0].call is Call.SD


def test_conventions_are_judged_apart():
    lesion = sizes("L1", 40, 40, 40)
    lesion = changed(lesion, 1, viable={OilConvention.OIL_NECROTIC: GONE, OilConvention.OIL_ENHANCING: ball(40)})
    told = {name: calls(lesion, name=f"mrecist/{name}")[0] for name in EVERY}
    assert told["oil_necrotic"].call is Call.CR
    assert told["oil_enhancing"].call is Call.SD
    assert told["tissue"].call is Call.NE


def test_choi_compares_attenuation_weighted_by_volume_unless_a_target_holds_oil():
    plain = calls(sizes("L1", 40, 40, 40, hu=(80.0, 60.0, 80.0)), name="choi")[0]
    assert (plain.call, plain.density_valid) == (Call.PR, True)
    assert plain.density_change == pytest.approx(-0.25)
    oiled = calls(sizes("L1", 40, 40, 40, hu=(80.0, 600.0, 80.0), oil=True), name="choi")[0]
    assert (oiled.call, oiled.density_valid, oiled.density_change) == (Call.SD, False, None)


def test_easl_calls_enhancement_that_comes_back_progression():
    assert calls(sizes("L1", 40, 40, 40, viable=(40, 0, 3)), name="easl/tissue")[1].rule == "easl/new-enhancement"


def test_a_patient_without_a_target_is_judged_by_other_lesions():
    call = calls(sizes("L1", 8, 8, 0))[0]
    assert (call.call, call.rule, call.table_row) == (
        Call.NON_CR_NON_PD, "recist/no-target", "table-2/non-CR/non-PD, none")  # fmt: skip


def test_without_a_scan_before_treatment_there_is_no_call():
    result = judge_lesions([sizes("L1", 40, 20, days=(1.0, 28.0))], params=ResponseParams())
    assert (result.dates, result.best) == ((), ())
    assert result.reason == "no scan before treatment"


def test_the_last_scan_before_treatment_is_the_baseline():
    lesion = sizes("L1", 20, 40, 28, days=(-60.0, -3.0, 28.0))
    result = judge_lesions([lesion], params=ResponseParams())
    assert result.baseline_date == "20240201"
    assert result.dates[0].calls[0].call is Call.PR


def test_the_best_response_is_told_for_every_criterion():
    result = judge_lesions([sizes("L1", 40, 20, 60)], params=ResponseParams())
    assert {best.name: best.call for best in result.best}["recist"] is Call.PR
    assert {best.name: best.call for best in result.best}["recicl/tissue"] is Call.TE3
    strict = judge_lesions([sizes("L1", 40, 20, 60)], params=ResponseParams(best={"confirm": True}))
    assert {best.name: best.call for best in strict.best}["recist"] is Call.PD


def test_lesions_with_different_dates_are_refused():
    with pytest.raises(ValueError, match="same dates"):
        judge_lesions([sizes("L1", 40, 20), sizes("L2", 40)], params=ResponseParams())
