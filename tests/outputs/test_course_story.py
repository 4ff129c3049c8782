"""The sentence that tells a lesion's course: the last plain scan speaks, whatever else was taken that day."""

import pytest

from angio_pipeline.outputs.report import course_story, turns_words
from angio_pipeline.outputs.schemas import LiverDocument, TimepointDocument


def _point(days: float, retention: float, quality: list[str]) -> TimepointDocument:
    empty = dict.fromkeys(set(TimepointDocument.model_fields) - {"view", "view_window", "view_unit"})
    known = {
        "date": "20240401",
        "days": days,
        "study_instance_uid": "1.2",
        "series_instance_uid": "1.2.3",
        "modality": "CT",
        "retention": retention,
        "quality": quality,
        "quality_sentences": [],
        "sop_instance_uid": "",
        "file": "",
    }
    return TimepointDocument(**(empty | known))


def test_of_one_visit_the_plain_scan_is_told_and_not_the_enhanced_one() -> None:
    points = [_point(1.0, 1.0, []), _point(84.0, 0.31, []), _point(84.001, 1.2, ["CONTRAST_ENHANCED"])]
    story = course_story(LiverDocument(timepoints=points, kinetics=None))
    assert "31 % of the iodine of the first plain scan" in story
    assert "120 %" not in story


def test_where_only_enhanced_scans_were_taken_they_are_told() -> None:
    story = course_story(LiverDocument(timepoints=[_point(84.0, 0.4, ["CONTRAST_ENHANCED"])], kinetics=None))
    assert "40 %" in story


def test_one_image_is_told_in_the_singular() -> None:
    told = [course_story(LiverDocument(timepoints=[_point(1.0, 1.0, [])] * n, kinetics=None)) for n in (1, 2)]
    assert [words.split(";")[0] for words in told] == ["1 image", "2 images"]


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        ([], "–"),
        ([6.0, 58.7], "none sharp, at most 59°"),
        ([6.0, 60.0], "1 sharp turn, 60°"),
        ([92.9, 40.1, 119.1, 66.2], "3 sharp turns, sharpest 119°"),
    ],
)
def test_turns_are_told_by_how_many_are_sharp_and_the_sharpest(turns: list[float], words: str) -> None:
    assert turns_words(turns) == words
