from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import datetime

import cv2
import duckdb
import jsonschema
import numpy as np
import pytest

from angio_pipeline.core.embolisation import (
    BlushChange,
    FeederChange,
    Flow,
    Passage,
    Patency,
    ReferenceArtery,
    RunAlignment,
    RunComparison,
    SaceLevel,
    TumourChange,
)
from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.geometry import PixelSpacing, SpacingPlane
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import PhaseRange, Phases
from angio_pipeline.core.tumours import ByHand
from angio_pipeline.outputs import (
    ComparedRuns,
    RunsNotCompared,
    json_schema,
    read_run_result,
    write_comparisons,
    write_index,
    write_record,
    write_report,
    write_run,
    write_tables,
)
from angio_pipeline.outputs.comparison_picture import comparison_picture

pytestmark = pytest.mark.slow

SPACING = PixelSpacing(0.5, 0.5, SpacingPlane.ISOCENTRE, "drawn")
BEFORE = Source("1.2.1", "1.2", "1", "S-1", "20240311", datetime(2024, 3, 11, 10, 5), "XA", "a.dcm", "S1 I1")
AFTER = replace(BEFORE, sop_instance_uid="1.2.2", acquired=datetime(2024, 3, 11, 10, 45), description="S4 I1")
NAN = float("nan")
PATENCIES = (Patency.OPEN, Patency.SLOWED, Patency.CLOSED, Patency.UNKNOWN)


def comparison(*, size: int = 128, read: bool = True) -> RunComparison:
    """One tumour with a feeder of each kind; half its blush is left."""
    rows, cols = np.mgrid[:size, :size]
    mask = np.hypot(rows - 40, cols - 84) <= 16
    picture = (0.1 + 0.5 * mask).astype(np.float32)
    after = (0.1 + 0.25 * mask).astype(np.float32)
    after[:4] = np.nan
    times = np.linspace(-1, 6, 22)
    curve = np.clip(times, 0, 3) / 3 * 0.5
    tumour = TumourChange(
        "T1",
        mask,
        _blush(curve) if read else None,
        _feeders(),
        Flow.REDUCED,
        SaceLevel.LEVEL_III if read else None,
        "Blush reduced: half of it." if read else "The blush cannot be read: arteries lie over most of it.",
    )
    artery = ReferenceArtery(
        np.array([[120.0, 20.0], [104.0, 24.0]]), 5.0, curve, curve * 1.1, (2.0, 2.2), "The widest."
    )
    return RunComparison(
        BEFORE,
        AFTER,
        RunAlignment(np.full((1, 1, 2), 2.5, np.float32), (0.4, -0.1), 0.93, 0.98, True),
        artery,
        times,
        (tumour,),
        picture,
        after,
        3.0,
        ("A caution.",),
        Quality.EIGHT_BIT,
    )


def _blush(curve: np.ndarray) -> BlushChange:
    return BlushChange(
        residual=0.5,
        residual_interval=(0.41, 0.62),
        residual_area=0.3,
        area_before_px=800,
        area_after_px=240,
        surroundings_share=0.9,
        before=Passage(0.5, 0.9, 0.1, 3.0),
        after=Passage(0.25, 0.4, 0.05, NAN),
        curve_before=curve,
        curve_after=curve / 2,
    )


def _feeders() -> tuple[FeederChange, ...]:
    """A feeder of each kind."""
    return tuple(
        FeederChange(
            f"T1-F{k + 1}",
            0.8,
            0.25,
            np.stack([np.linspace(100 - 12 * k, 54 - 4 * k, 40), np.linspace(20, 72, 40)], axis=1),
            kind,
            0.4,
            NAN if kind is Patency.UNKNOWN else 0.3,
            NAN if kind is Patency.UNKNOWN else 0.75,
            (NAN, NAN) if kind is Patency.UNKNOWN else (0.6, 0.9),
            0.3,
            NAN,
            f"Said of {kind.value}.",
        )
        for k, kind in enumerate(PATENCIES)
    )


REFUSED = RunsNotCompared(BEFORE, AFTER, "angle_differs", "Expected one angulation, found two.")


@pytest.fixture(scope="module")
def subject(tmp_path_factory, run_maker):
    path = tmp_path_factory.mktemp("out") / "subjects" / "S-1"
    write_run(run_maker(), path / "20240311" / "a")
    compared = [ComparedRuns(comparison(), "label", SPACING), ComparedRuns(comparison(read=False), "order", None)]
    write_comparisons(
        compared, [REFUSED], path / "embolisation", settings={"embolisation": {"sace": {"no_blush": 0.15}}}
    )
    write_report(path)
    write_tables(path.parents[1])
    write_index(path.parents[1])
    return path


@pytest.fixture(scope="module")
def document(subject):
    return json.loads((subject / "embolisation" / "embolisation.json").read_text(encoding="utf-8"))


def test_the_document_follows_its_schema_and_the_unknown_is_null(document):
    jsonschema.validate(document, json_schema("embolisation"))
    jsonschema.validate(document, json_schema())
    first, second = document["comparisons"]
    assert (first["paired_by"], second["paired_by"]) == ("label", "order")
    (tumour,) = first["tumours"]
    assert (tumour["sace"], tumour["flow"]) == ("III", "reduced")
    assert tumour["blush"]["residual_interval"] == [0.41, 0.62]
    assert tumour["blush"]["after"]["time_to_peak_s"] is None
    assert tumour["feeders"][3]["ratio"] is None
    assert tumour["feeders"][3]["ratio_interval"] is None
    assert tumour["feeders"][3]["patency"] == "cannot tell"
    (unread,) = second["tumours"]
    assert unread["blush"] is None
    assert unread["sace"] is None


def test_square_millimetres_stand_only_where_the_spacing_holds_in_the_patient(document, tmp_path):
    assert document["comparisons"][0]["tumours"][0]["blush"]["area_before_mm2"] == pytest.approx(800 * 0.25)
    at_detector = PixelSpacing(0.5, 0.5, SpacingPlane.DETECTOR)
    write_comparisons([ComparedRuns(comparison(), "order", at_detector)], [], tmp_path, settings={})
    written = json.loads((tmp_path / "embolisation.json").read_text(encoding="utf-8"))
    assert written["comparisons"][0]["tumours"][0]["blush"]["area_before_mm2"] is None


def test_each_comparison_has_its_picture_and_old_ones_go(subject, tmp_path):
    folder = subject / "embolisation"
    assert sorted(p.name for p in folder.glob("*.png")) == ["comparison-1.png", "comparison-2.png"]
    assert cv2.imread(str(folder / "comparison-1.png")) is not None
    write_comparisons([ComparedRuns(comparison(), "label", None)] * 2, [], tmp_path, settings={})
    write_comparisons([], [REFUSED], tmp_path, settings={})
    assert list(tmp_path.glob("*.png")) == []


def test_the_picture_shows_the_loss_and_a_colour_for_each_patency():
    shown = comparison()
    picture = comparison_picture(shown).astype(int)
    panel = picture[56 : 56 + 520]
    before, after, change = panel[:, 10:530], panel[:, 540:1060], panel[:, 1070:1590]
    place = (slice(100, 160), slice(330, 390))  # inside the tumour, beside its feeders
    assert before[place].mean() < after[place].mean() - 20
    red, blue = change[place][..., 0].mean(), change[place][..., 2].mean()
    assert blue > red + 40
    for colour in ((232, 113, 10), (255, 214, 10), (157, 78, 221), (138, 148, 160)):
        near = np.abs(after - colour).sum(axis=-1) < 60
        assert near.sum() > 20, colour
        assert (np.abs(before - colour).sum(axis=-1) < 60).sum() < near.sum()


def test_nothing_gained_and_nothing_lost_is_a_white_panel():
    same = replace(comparison(), picture_after=comparison().picture_before)
    panel = comparison_picture(same)[56 : 56 + 520, 1070:1590].astype(int)
    assert (np.abs(panel - 245).max(axis=-1) < 12).mean() > 0.9


def test_the_report_tells_levels_refusals_and_how_the_runs_were_paired(subject):
    page = (subject / "report.html").read_text(encoding="utf-8")
    for words in (
        "Before against after embolisation",
        "50 % (41–62 %)",
        "30 % (60 of 200 mm²)",
        "Blush reduced: half of it.",
        "arteries lie over most of it",
        "cannot decide",
        "Said of slowed.",
        "The files say which run was made before embolisation",
        "No file says which run was made after embolisation",
        "Not compared (S1 I1 and S4 I1): Expected one angulation, found two.",
        "A caution.",
        "kappa 0.46",
    ):
        assert words in page, words
    assert page.count('src="data:image/webp') >= 2
    index = (subject.parents[1] / "index.html").read_text(encoding="utf-8")
    assert "After embolisation, T1: SACE III, residual blush 50 % (41–62 %)" in index
    assert "embolisation.csv" in index


def test_the_table_has_a_row_for_each_tumour_and_for_each_refusal(subject):
    path = subject.parents[1] / "embolisation.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["compared"], r["tumour"], r["sace"], r["reason"]) for r in rows] == [
        ("true", "T1", "III", ""),
        ("true", "T1", "", ""),
        ("false", "", "", "angle_differs"),
    ]
    assert rows[0]["residual_blush"] == "0.5"
    assert rows[1]["residual_blush"] == ""
    assert [rows[0][f"feeders_{kind}"] for kind in ("open", "slowed", "closed", "unknown")] == ["1"] * 4
    table = duckdb.sql(f"SELECT * FROM '{path.with_suffix('.parquet')}'")
    assert table.columns == list(rows[0])
    assert len(table.fetchall()) == 3


def test_without_a_comparison_the_report_has_no_such_section(tmp_path, run_maker):
    write_run(run_maker(), tmp_path / "S-2" / "20240311" / "a")
    page = write_report(tmp_path / "S-2").read_text(encoding="utf-8")
    assert "Before against after embolisation" not in page


def test_a_comparison_that_failed_says_so(tmp_path, run_maker):
    folder = tmp_path / "S-3"
    write_run(run_maker(), folder / "20240311" / "a")
    write_record(folder / "embolisation", {"digest": None, "reason": "error", "sentence": "Expected this, found that."})
    assert "Not compared: Expected this, found that." in write_report(folder).read_text(encoding="utf-8")


def test_a_result_read_back_is_what_was_written(tmp_path, run_result):
    write_run(run_result, tmp_path)
    again = read_run_result(tmp_path, run_result.run, run_result.subtracted, run_result.maps)
    np.testing.assert_array_equal(again.vessels.artery, run_result.vessels.artery)
    assert again.graph.root == run_result.graph.root
    for one, other in zip(again.graph.branches, run_result.graph.branches, strict=True):
        assert (one.start, one.end) == (other.start, other.end)
        np.testing.assert_allclose(one.centreline, other.centreline, atol=0.01)
        np.testing.assert_allclose(one.radius_px, other.radius_px, atol=0.01)
    for tumour, known in zip(again.tumours, run_result.tumours, strict=True):
        assert (tumour.id, tumour.origin) == (known.id, known.origin)
        np.testing.assert_array_equal(tumour.mask, known.mask)
        for feeder, drawn in zip(tumour.feeders, known.feeders, strict=True):
            assert (feeder.id, feeder.rank, feeder.probability) == (drawn.id, drawn.rank, drawn.probability)
            np.testing.assert_allclose(feeder.centreline, drawn.centreline, atol=0.01)
            assert feeder.diameter_px == pytest.approx(drawn.diameter_px, abs=0.01)
    assert again.tip is not None


def test_a_result_read_back_keeps_what_a_reader_set(tmp_path, run_result):
    set_by_hand = Phases(None, PhaseRange(1, 2), PhaseRange(3, 4), None)
    first, *others = run_result.tumours
    feeder = replace(first.feeders[0], corrected=ByHand.ACCEPTED)
    moved = replace(first.targets[0], corrected=ByHand.MOVED, turns_deg=(31.5,), beyond_last_branch_px=7.25)
    first = replace(first, feeders=(feeder, *first.feeders[1:]), targets=(moved,), corrected=ByHand.REDRAWN)
    maps = replace(run_result.maps, phases=set_by_hand)
    write_run(replace(run_result, maps=maps, tumours=(first, *others)), tmp_path)
    again = read_run_result(tmp_path, run_result.run, run_result.subtracted, run_result.maps)
    assert again.maps.phases == set_by_hand
    assert again.tumours[0].corrected is ByHand.REDRAWN
    assert again.tumours[0].feeders[0].corrected is ByHand.ACCEPTED
    target = again.tumours[0].targets[0]
    assert (target.corrected, target.turns_deg) == (ByHand.MOVED, (31.5,))
    assert target.beyond_last_branch_px == pytest.approx(7.25, abs=0.01)
    assert (again.tip.row, again.tip.col) == (run_result.tip.row, run_result.tip.col)


def test_results_of_another_subtraction_or_without_masks_are_not_read_back(tmp_path, run_result):
    write_run(run_result, tmp_path)
    moved = replace(run_result.subtracted, reference_frame=4)
    with pytest.raises(AngioError, match="the same subtraction"):
        read_run_result(tmp_path, run_result.run, moved, run_result.maps)
    (tmp_path / "artery.png").unlink()
    with pytest.raises(AngioError, match="readable masks"):
        read_run_result(tmp_path, run_result.run, run_result.subtracted, run_result.maps)
    (tmp_path / "analysis.json").unlink()
    with pytest.raises(AngioError, match="readable results"):
        read_run_result(tmp_path, run_result.run, run_result.subtracted, run_result.maps)
