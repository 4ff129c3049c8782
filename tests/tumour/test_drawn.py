"""Which tumour is meant, what is said of what was drawn, and where candidates may lie."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from angio_pipeline.core.corrections import AddTumour, GivenEdit, RedrawTumour, RemoveTumour, TumourPlace
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.tumours import ByHand, LesionOrigin, Tumour
from angio_pipeline.tumour.candidates import edge_slope, find_candidates
from angio_pipeline.tumour.corrections import CorrectionParams
from angio_pipeline.tumour.hand_drawn import correct_tumours, find_tumour, next_number, place_words
from angio_pipeline.tumour.tissue import TissuePicture

SIDE = 128
PARAMS = CorrectionParams(tumour_reach_px=40)  # 10 px in a frame of 128
ROWS, COLS = np.mgrid[:SIDE, :SIDE]


def disc(row, col, radius):
    return np.hypot(ROWS - row, COLS - col) <= radius


def tumour(name, row, col, radius=8):
    return Tumour(name, disc(row, col, radius), 0.7, LesionOrigin.DETECTED)


def square(row, col, half):
    return (((row - half, col - half), (row - half, col + half), (row + half, col + half), (row + half, col - half)),)


def given(kind, **told):
    return GivenEdit(kind(id="e1", time=datetime(2026, 1, 2, tzinfo=UTC), **told), reference_frame=3)


def corrected(found, *edits, quality=Quality.NONE):
    return correct_tumours(found, quality, edits, (SIDE, SIDE), params=PARAMS)


TWO = [tumour("T1", 40, 40), tumour("T2", 80, 80)]


@pytest.mark.parametrize(
    ("name", "point", "meant"),
    [
        ("T2", None, "T2"),
        ("T3", None, None),
        (None, (40, 40), "T1"),
        ("T2", (40, 40), "T1"),
        (None, (57.6, 40), "T1"),
        (None, (59, 40), None),
        ("T1", (57, 40), "T1"),
        ("T2", (57, 40), None),
    ],
)
def test_a_tumour_is_meant_by_its_place_or_else_by_its_name(name, point, meant):
    found = find_tumour(TWO, TumourPlace(id=name, point=point), PARAMS)
    assert (found.id if found else None) == meant


@pytest.mark.parametrize("corner", [(0, 0), (127, 127), (-3, 130), (127.4, -0.4)])
def test_a_point_at_the_frames_edge_or_beyond_lies_at_its_edge(corner):
    rows, cols = ((0, 1) if at < 60 else (127, 128) for at in corner)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[rows[0] : rows[1], cols[0] : cols[1]] = True
    exact = CorrectionParams(tumour_reach_px=0)
    only = Tumour("T1", mask, 0.7, LesionOrigin.DETECTED)
    assert find_tumour([only], TumourPlace(point=corner), exact) is only


def test_between_two_in_reach_the_nearer_is_meant():
    near = [tumour("T1", 40, 40), tumour("T2", 40, 62)]
    assert find_tumour(near, TumourPlace(point=(40, 50)), PARAMS).id == "T1"
    assert find_tumour(near, TumourPlace(point=(40, 53)), PARAMS).id == "T2"


def test_places_and_numbers_in_words():
    assert place_words(TumourPlace(id="T3", point=(4.4, 5.6))) == "T3 at (4, 6)"
    assert place_words(TumourPlace(point=(4.4, 5.6))) == "tumour at (4, 6)"
    assert place_words(TumourPlace(id="T3")) == "T3"
    assert next_number(["T1", "T7", "X9", "T7b", "T"], "T") == 8
    assert next_number([], "T") == 1


def test_a_removed_tumour_is_gone_and_what_is_not_there_cannot_be_removed():
    left, _, (told,) = corrected(TWO, given(RemoveTumour, tumour=TumourPlace(id="T1")))
    assert [one.id for one in left] == ["T2"]
    assert (told.sentence, told.applied) == ("T1 was removed.", True)
    same, _, (told,) = corrected(TWO, given(RemoveTumour, tumour=TumourPlace(id="T5")))
    assert list(same) == TWO
    assert (told.sentence, told.applied) == ("Expected a tumour to remove, found none for T5.", False)


def test_an_added_tumour_gets_the_next_number_or_the_name_that_was_asked_for():
    for wanted, name in ((None, "T3"), ("T1", "T3"), ("S4", "S4")):
        now, quality, (told,) = corrected(
            TWO, given(AddTumour, polygons=square(20, 100, 6), tumour_id=wanted), quality=Quality.NO_TUMOUR_BLUSH
        )
        assert [one.id for one in now] == ["T1", "T2", name]
        assert told.sentence == f"{name} was added."
        assert (now[-1].corrected, now[-1].probability, now[-1].origin) == (ByHand.ADDED, 1.0, LesionOrigin.ROI)
        assert quality is Quality.NONE


def test_what_was_drawn_takes_the_place_of_what_it_mostly_covers_unless_that_was_drawn_too():
    now, _, (told,) = corrected(TWO, given(AddTumour, polygons=square(40, 40, 10)))
    assert [one.id for one in now] == ["T2", "T3"]
    assert told.sentence == "T3 was added. It takes the place of T1, which it mostly covers."
    drawn = [replace(TWO[0], corrected=ByHand.ADDED), TWO[1]]
    assert len(corrected(drawn, given(AddTumour, polygons=square(40, 40, 10)))[0]) == 3
    assert len(corrected(TWO, given(AddTumour, polygons=square(40, 40, 3)))[0]) == 3


def test_a_redrawn_tumour_keeps_its_name_and_its_place_in_the_list():
    now, _, (told,) = corrected(TWO, given(RedrawTumour, tumour=TumourPlace(id="T1"), polygons=square(42, 42, 5)))
    assert [one.id for one in now] == ["T1", "T2"]
    assert now[0].corrected is ByHand.REDRAWN
    assert np.argwhere(now[0].mask).mean(axis=0) == pytest.approx((42, 42), abs=0.6)
    assert told.sentence == "T1 was redrawn."


def test_a_tumour_that_is_redrawn_where_none_is_found_any_more_stands_by_itself():
    now, _, (told,) = corrected(TWO, given(RedrawTumour, tumour=TumourPlace(id="T6"), polygons=square(20, 100, 5)))
    assert [one.id for one in now] == ["T1", "T2", "T6"]
    assert told.sentence == "No tumour was found any more for T6; what was drawn stands as T6."


def test_an_outline_beside_the_frame_is_none():
    now, quality, (told,) = corrected(
        TWO, given(AddTumour, polygons=square(-50, -50, 5)), quality=Quality.NO_TUMOUR_BLUSH
    )
    assert list(now) == TWO
    assert not told.applied
    assert told.sentence == "Expected an outline that holds a pixel of the frame, found one that holds none."
    assert quality is Quality.NO_TUMOUR_BLUSH


# --- candidates -----------------------------------------------------------------------------------


def picture(stain, inside=None):
    stain = stain.astype(np.float32)
    inside = np.ones(stain.shape, bool) if inside is None else inside
    slope = np.hypot(*np.gradient(stain)).astype(np.float32)
    frames = np.stack([stain, stain])
    return TissuePicture(frames, np.arange(2.0), np.ones(2), 0, 1, stain, slope, inside, inside, 0.1, 0.01)


def candidates(stain, inside=None):
    return find_candidates(picture(stain, inside), seed_in_liver=0.04, per_size=3)


def best(found, truth):
    return max((np.count_nonzero(one & truth) / np.count_nonzero(one | truth) for one in found), default=0.0)


@pytest.mark.parametrize("radius", [6, 10, 18])
def test_a_disc_that_stands_out_is_outlined_where_it_ends(radius):
    truth = disc(64, 60, radius)
    assert best(candidates(0.1 + 0.2 * truth), truth) > 0.85


def test_nothing_stands_out_of_an_even_stain():
    assert candidates(np.full((SIDE, SIDE), 0.3)) == []
    hole = disc(64, 60, 10)
    assert best(candidates(0.3 - 0.2 * hole), hole) == 0.0


def test_what_means_nothing_in_the_stain_neither_is_a_candidate_nor_hides_one():
    truth, inside = disc(64, 80, 10), np.ones((SIDE, SIDE), bool)
    inside[:, :40] = False
    stain = 0.1 + 0.2 * truth + 5.0 * disc(64, 20, 10)
    found = candidates(stain, inside)
    assert best(found, truth) > 0.85
    assert not any(one[:, :40].any() for one in found)


def test_no_two_candidates_are_nearly_the_same():
    found = candidates(0.1 + 0.2 * disc(40, 40, 10) + 0.3 * disc(90, 90, 14))
    assert best(found, disc(40, 40, 10)) > 0.85
    assert best(found, disc(90, 90, 14)) > 0.85
    shares = [best([one], other) for k, one in enumerate(found) for other in found[:k]]
    assert max(shares, default=0.0) < 0.7


def test_holes_are_filled_and_threads_are_cut():
    ring = disc(64, 64, 16) & ~disc(64, 64, 6)
    thread = np.zeros((SIDE, SIDE), bool)
    thread[63:65, 78:120] = True
    found = candidates(0.1 + 0.2 * (ring | thread))
    assert best(found, disc(64, 64, 16)) > 0.8


def test_the_slope_of_an_edge_is_that_along_the_outline_alone():
    region = disc(64, 64, 10)
    slope = np.where(disc(64, 64, 7), 9.0, 2.0).astype(np.float32)
    assert edge_slope(region, slope) == pytest.approx(2.0)
