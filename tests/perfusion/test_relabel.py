"""Phases that a reader set hold; the others keep what is left to them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from angio_pipeline.core.corrections import GivenEdit, Note, SetPhase
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import PerfusionMaps, PhaseRange, Phases
from angio_pipeline.perfusion import relabel_phases

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def maps() -> PerfusionMaps:
    """Frames 0 to 2 without contrast, 3 to 9 arterial, 10 to 15 parenchymal; the run ends at frame 19."""
    blank = np.zeros((4, 4), np.float32)
    phases = Phases(PhaseRange(0, 2), PhaseRange(3, 9), PhaseRange(10, 15), None)
    return PerfusionMaps(blank, blank, blank, blank, blank, phases, 0.4, Quality.NO_WASHOUT_SEEN)


def given(name="e1", **phases):
    return GivenEdit(SetPhase(id=name, time=NOON, **phases), reference_frame=0)


def ranges(maps: PerfusionMaps) -> list[tuple[int, int] | None]:
    phases = maps.phases
    found = (phases.pre_contrast, phases.arterial, phases.parenchymal, phases.venous)
    return [None if one is None else (one.first, one.last) for one in found]


@pytest.mark.parametrize(
    ("told", "want"),
    [
        ({"arterial": (3, 9)}, [(0, 2), (3, 9), (10, 15), None]),
        ({"arterial": (4, 12)}, [(0, 2), (4, 12), (13, 15), None]),
        ({"arterial": (1, 17)}, [(0, 0), (1, 17), None, None]),
        ({"parenchymal": (8, 12), "venous": (13, 19)}, [(0, 2), (3, 7), (8, 12), (13, 19)]),
        ({"not_seen": ("parenchymal",)}, [(0, 2), (3, 9), None, None]),
        ({"not_seen": ("pre_contrast",), "arterial": (0, 9)}, [None, (0, 9), (10, 15), None]),
    ],
)
def test_a_phase_that_was_set_holds_and_its_neighbours_yield(maps, told, want) -> None:
    changed, (answer,) = relabel_phases(maps, [given(**told)], 20)
    assert ranges(changed) == want
    assert answer.applied


def test_a_venous_phase_that_was_set_shows_the_washout(maps) -> None:
    changed, _ = relabel_phases(maps, [given(venous=(16, 19))], 20)
    assert changed.quality is Quality.NONE
    changed, _ = relabel_phases(maps, [given(arterial=(3, 8))], 20)
    assert changed.quality is Quality.NO_WASHOUT_SEEN


def test_the_later_of_two_edits_holds(maps) -> None:
    changed, told = relabel_phases(maps, [given("a", arterial=(4, 12)), given("b", arterial=(5, 11))], 20)
    assert ranges(changed) == [(0, 2), (5, 11), (13, 15), None]
    assert [one.applied for one in told] == [True, True]


@pytest.mark.parametrize(
    ("told", "words"), [({"venous": (16, 20)}, "frame 20"), ({"parenchymal": (3, 19)}, "left for the arterial phase")]
)
def test_phases_that_do_not_fit_the_run_are_told_and_change_nothing(maps, told, words) -> None:
    changed, (answer,) = relabel_phases(maps, [given(**told)], 20)
    assert changed is maps
    assert not answer.applied
    assert words in answer.sentence


def test_frames_are_told_counted_from_one(maps) -> None:
    _, (answer,) = relabel_phases(maps, [given(arterial=(3, 9), not_seen=("venous",))], 20)
    assert answer.sentence == "Set: arterial 4–10, venous not seen (frames counted from 1)."


def test_other_edits_are_passed_over(maps) -> None:
    note = GivenEdit(Note(id="n", time=NOON, text="late"), reference_frame=0)
    assert relabel_phases(maps, [note], 20) == (maps, ())
