"""What images say of a treatment among several of the same patient, from the files that an analysis leaves."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from angio_pipeline.core.followups import OilPlace, StrayOil, StrayOilSearch
from angio_pipeline.core.records import ProcedureRecord
from angio_pipeline.outputs import write_follow_up, write_run
from angio_pipeline.outputs.cohort.evidence import evidence_of
from angio_pipeline.outputs.folders import SubjectFolder, read_subject


def treated(row: int, day: date | None) -> ProcedureRecord:
    return ProcedureRecord(row=row, patient_id="1", date=day)


FIRST, SECOND = treated(1, date(2024, 3, 11)), treated(2, date(2024, 4, 1))


@pytest.fixture(scope="module")
def subject(tmp_path_factory, run_maker, follow_up_maker) -> SubjectFolder:
    """A run on the day of the first treatment; scans 1 and 7 days after it, 0 and 14 days after the second."""
    path = tmp_path_factory.mktemp("out") / "subjects" / "S-1"
    write_run(run_maker(), path / "20240311" / "a")
    followed = follow_up_maker()
    *_, last = followed.lesions[0].timepoints
    piece = StrayOil(OilPlace.GALLBLADDER, (0.0, 0.0, 0.0), 1.0, 30.0, (20.0, 40.0))
    searches = tuple(
        StrayOilSearch(point.source, point.days, "1.2.3", True, (piece,) if point is last else ())
        for point in followed.lesions[0].timepoints
        if point.source.modality == "CT"
    )
    write_follow_up(
        replace(followed, stray_oil=searches), path, folder_of=lambda s: f"{s.date}/{s.series_instance_uid}"
    )
    return read_subject(path)


@pytest.mark.slow
def test_a_run_counts_for_the_treatment_of_its_day_and_not_for_the_next(subject: SubjectFolder) -> None:
    first, second = (evidence_of(subject, one, [FIRST, SECOND]) for one in (FIRST, SECOND))
    assert (first.runs_before, second.runs_before) == (1, 0)
    assert (first.bifurcations is None, second.bifurcations) == (False, None)
    assert 0 <= first.non_target_fraction <= 1


@pytest.mark.slow
def test_scans_count_for_the_treatment_that_they_follow(subject: SubjectFolder) -> None:
    first, second = (evidence_of(subject, one, [FIRST, SECOND]) for one in (FIRST, SECOND))
    assert (first.films, second.films) == (1 + 2, 2)
    assert (first.non_target_oil, second.non_target_oil) == ((), (OilPlace.GALLBLADDER.value,))


def test_a_single_treatment_has_all_that_follows_it(subject: SubjectFolder) -> None:
    alone = evidence_of(subject, FIRST, [FIRST])
    assert (alone.films, alone.non_target_oil) == (5, (OilPlace.GALLBLADDER.value,))


def test_a_treatment_without_a_date_has_all_images(subject: SubjectFolder) -> None:
    undated = treated(1, None)
    assert evidence_of(subject, undated, [undated, SECOND]).films == 5
