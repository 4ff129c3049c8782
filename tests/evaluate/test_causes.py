"""Why feeders are missed and wrongly called: one hand-made run, spoilt in one way at a time."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from judged_runs import LINE, SIZE, tumour, write_result, write_truth

from angio_pipeline.evaluate import evaluate
from angio_pipeline.evaluate.causes import FalseCause, MissedCause

UID = "1.2"
HALVES = ([[31.0, float(c)] for c in range(2, 33)], [[31.0, float(c)] for c in range(32, 45)])


def along(row: float, first: int = 2, last: int = 44) -> list[list[float]]:
    return [[row, float(c)] for c in range(first, last + 1)]


def listed(line: list[list[float]] = LINE, probability: float = 0.9, **more: Any) -> dict[str, Any]:
    return {"probability": probability, "centreline": line, "branch_start": line[len(line) // 2]} | more


def result(root: Path, *feeders: dict[str, Any], mask: str = "tumour-T1.png", **vessels: Any) -> Path:
    told = {"artery_mask": "artery.png"} | vessels
    return write_result(root, UID, tumours=[tumour(mask, feeders=list(feeders))], vessels=told)


def write_graph(folder: Path, *branches: tuple[int, int, list[list[float]]]) -> None:
    rows = [{"start": start, "end": end, "centreline": line} for start, end, line in branches]
    (folder / "graph.json").write_text(json.dumps({"root": 0, "branches": rows}))


def causes(root: Path) -> tuple[dict[str, int], dict[str, int]]:
    found = evaluate(root / "truth", root / "out")
    (row,) = found.per_run
    missed, false = row["feeders_missed_because"], row["feeders_false_because"]
    # Every missed and every false feeder has one cause.
    assert sum(missed.values()) == row["feeders_true"] - row["feeders_found"]
    assert sum(false.values()) == row["feeders_called"] - row["feeders_found"]
    return missed, false


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    write_truth(tmp_path / "truth", "case-000", UID)
    return tmp_path


def change_truth(root: Path, **changes: Any) -> None:
    file = root / "truth" / "case-000" / "truth" / UID / "truth.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_what_is_right_has_no_cause(root: Path) -> None:
    result(root / "out", listed())
    assert causes(root) == ({}, {})


def test_without_a_result_nothing_else_is_blamed(root: Path) -> None:
    assert causes(root) == ({MissedCause.NO_RESULT: 1}, {})


def test_without_its_tumour_a_feeder_cannot_be_found(root: Path) -> None:
    result(root / "out", mask="tumour-T2.png")
    assert causes(root) == ({MissedCause.NO_TUMOUR: 1}, {})


@pytest.mark.parametrize(
    ("ambiguous", "cause"), [(False, MissedCause.IMPROBABLE), (True, MissedCause.AMBIGUOUS)], ids=["plain", "crossing"]
)
def test_a_feeder_that_is_listed_below_a_half_is_told_apart_by_its_flag(
    root: Path, ambiguous: bool, cause: MissedCause
) -> None:
    result(root / "out", listed(probability=0.4, overlap_ambiguous=ambiguous))
    assert causes(root) == ({cause: 1}, {})


def test_two_true_feeders_under_one_that_is_listed_are_one_too_few(root: Path) -> None:
    feeders = [{"centreline": along(row), "branch_start": [row, 20.0]} for row in (31.0, 32.0)]
    change_truth(root, tumours=[{"id": "T1", "mask": "tumour-T1.png", "feeders": feeders}])
    result(root / "out", listed())
    assert causes(root) == ({MissedCause.SHARED: 1}, {})


def test_a_feeder_beside_the_mask_was_not_segmented(root: Path) -> None:
    folder = result(root / "out", graph="graph.json")
    cv2.imwrite(str(folder / "artery.png"), np.zeros((SIZE, SIZE), np.uint8))
    write_graph(folder, (0, 1, LINE))
    assert causes(root) == ({MissedCause.NOT_SEGMENTED: 1}, {})


@pytest.mark.parametrize("content", [None, "{", '{"root": 0, "branches": []}'])
def test_without_a_tree_a_segmented_feeder_is_not_in_it(root: Path, content: str | None) -> None:
    folder = result(root / "out", graph="graph.json")
    if content is not None:
        (folder / "graph.json").write_text(content)
    assert causes(root) == ({MissedCause.NOT_IN_TREE: 1}, {})


def test_branches_that_meet_head_on_are_no_way(root: Path) -> None:
    folder = result(root / "out", graph="graph.json")
    write_graph(folder, (0, 1, HALVES[0]), (2, 1, HALVES[1][::-1]))
    assert causes(root) == ({MissedCause.NO_WAY: 1}, {})


def test_branches_that_follow_each_other_are_a_way_that_was_not_listed(root: Path) -> None:
    folder = result(root / "out", graph="graph.json")
    write_graph(folder, (0, 1, HALVES[0]), (1, 2, HALVES[1]))
    assert causes(root) == ({MissedCause.NOT_LISTED: 1}, {})


def test_a_tree_that_runs_in_a_circle_ends(root: Path) -> None:
    folder = result(root / "out", graph="graph.json")
    write_graph(folder, (1, 0, HALVES[0]), (0, 1, HALVES[1]))
    assert causes(root) == ({MissedCause.NOT_LISTED: 1}, {})


def test_a_feeder_of_no_tumour_is_the_tumours_fault(root: Path) -> None:
    result(root / "out", listed(), mask="tumour-T2.png")
    assert causes(root) == ({MissedCause.NO_TUMOUR: 1}, {FalseCause.NO_TUMOUR: 1})


def test_a_true_feeder_called_twice_is_once_too_many(root: Path) -> None:
    result(root / "out", listed(), listed(probability=0.8))
    assert causes(root) == ({}, {FalseCause.TWICE: 1})


def test_the_feeder_of_another_tumour_is_told(root: Path) -> None:
    tumours = [
        {
            "id": f"T{k}",
            "mask": f"tumour-T{k}.png",
            "feeders": [{"centreline": along(row), "branch_start": [row, 20.0]}],
        }
        for k, row in ((1, 31.0), (9, 50.0))
    ]
    change_truth(root, tumours=tumours, tumours_not_visible=[])
    result(root / "out", listed(), listed(along(50.0)))
    assert causes(root) == ({MissedCause.NO_TUMOUR: 1}, {FalseCause.OTHER_TUMOUR: 1})


def test_half_of_a_true_feeder_is_told_from_one_that_is_none(root: Path) -> None:
    result(root / "out", listed(along(31.0, 2, 29)))
    missed, false = causes(root)
    assert false == {FalseCause.IN_PART: 1}
    assert sum(missed.values()) == 1


@pytest.mark.parametrize(
    ("drawn", "cause"), [(False, FalseCause.NO_ARTERY), (True, FalseCause.PASSES)], ids=["nothing", "artery"]
)
def test_a_false_feeder_runs_along_an_artery_or_along_none(root: Path, drawn: bool, cause: FalseCause) -> None:
    if drawn:
        file = root / "truth" / "case-000" / "truth" / UID / "artery.png"
        mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        assert mask is not None
        mask[45:48] = 255
        cv2.imwrite(str(file), mask)
    result(root / "out", listed(), listed(along(46.0)))
    assert causes(root) == ({}, {cause: 1})


def test_a_faint_feeder_is_neither_missed_nor_false(root: Path) -> None:
    faint = {"centreline": along(46.0), "branch_start": [46.0, 20.0]}
    true = {"centreline": LINE, "branch_start": [31.0, 20.0]}
    change_truth(root, tumours=[{"id": "T1", "mask": "tumour-T1.png", "feeders": [true], "faint_feeders": [faint]}])
    folder = result(root / "out", listed())
    assert causes(root) == ({}, {})
    document = json.loads((folder / "analysis.json").read_text())
    document["tumours"][0]["feeders"].append(listed(along(46.0)))
    (folder / "analysis.json").write_text(json.dumps(document))
    assert causes(root) == ({}, {})
