"""What a reader set by hand says so wherever it is written."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import jsonschema
import numpy as np
import pytest

from angio_pipeline.core.corrections import CorrectionOutcome, FeederPlace, Note, RejectFeeder, SetPhase, TumourPlace
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.tumours import ByHand, LesionOrigin
from angio_pipeline.outputs import json_schema, write_report, write_run, write_tables
from angio_pipeline.outputs.documents import run_document
from angio_pipeline.outputs.methods import run_methods
from angio_pipeline.outputs.overlay import overlay_picture

HOSTILE = '"><script>alert(1)</script>'
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def corrected(run_result):
    """The ordinary run with a redrawn tumour, an accepted feeder, a target off every vessel, and three edits."""
    (tumour,) = run_result.tumours
    unknown = {"diameter_px": np.nan, "path_length_px": np.nan, "tortuosity": np.nan, "non_target_fraction": np.nan}
    target = replace(tumour.feeders[0].target, corrected=ByHand.MOVED, **unknown)
    feeder = replace(tumour.feeders[0], probability=1.0, corrected=ByHand.ACCEPTED, target=target)
    tumour = replace(
        tumour,
        origin=LesionOrigin.ROI,
        corrected=ByHand.REDRAWN,
        feeders=(feeder, *tumour.feeders[1:]),
        targets=(target, *tumour.targets[1:]),
    )
    reject = RejectFeeder(
        id="e1",
        time=NOON,
        reviewer=HOSTILE,
        tumour=TumourPlace(id="T1"),
        feeder=FeederPlace(point=(1, 2)),
        comment="Hm.",
    )
    told = (
        CorrectionOutcome(reject, False, "Expected a feeder to reject, found none."),
        CorrectionOutcome(SetPhase(id="e2", time=NOON, arterial=(3, 12)), True, "Set."),
        CorrectionOutcome(Note(id="e3", time=NOON, text=f"Look here {HOSTILE}"), True, "Noted."),
    )
    quality = run_result.quality | Quality.HAND_CORRECTED | Quality.CORRECTION_NOT_APPLIED | Quality.TARGET_OFF_VESSEL
    return replace(run_result, tumours=(tumour,), corrections=told, quality=quality)


def test_the_document_marks_it_and_stays_readable(corrected) -> None:
    document = json.loads(run_document(corrected).model_dump_json())
    jsonschema.validate(document, json_schema("run"), cls=jsonschema.Draft202012Validator)
    (tumour,) = document["tumours"]
    assert (tumour["origin"], tumour["corrected"]) == ("roi", "redrawn")
    assert [feeder["corrected"] for feeder in tumour["feeders"]][:2] == ["accepted", None]
    target = tumour["targets"][0]
    assert target["corrected"] == "moved"
    unknown = ("diameter_px", "path_length_px", "tortuosity", "non_target_fraction")
    assert [target[name] for name in unknown] == [None] * 4
    assert document["phases"]["corrected"]
    assert [(one["id"], one["kind"], one["applied"]) for one in document["corrections"]] == [
        ("e1", "reject_feeder", False),
        ("e2", "set_phase", True),
        ("e3", "note", True),
    ]


def test_a_result_that_nobody_corrected_bears_no_mark(run_result) -> None:
    document = json.loads(run_document(run_result).model_dump_json())
    assert document["corrections"] == []
    assert not document["phases"]["corrected"]
    assert {tumour["corrected"] for tumour in document["tumours"]} == {None}
    assert not any(
        "correction" in sentence.lower().replace("motion correction", "")
        for sentence in run_methods(run_document(run_result))
    )


@pytest.mark.slow
def test_the_picture_shows_it(corrected, run_result) -> None:
    bare = replace(corrected, quality=run_result.quality)
    plain = replace(
        bare,
        tumours=tuple(
            replace(
                one,
                corrected=None,
                feeders=tuple(replace(f, corrected=None) for f in one.feeders),
                targets=tuple(replace(t, corrected=None) for t in one.targets),
            )
            for one in bare.tumours
        ),
    )
    assert not np.array_equal(overlay_picture(bare), overlay_picture(plain))


@pytest.mark.slow
def test_the_page_and_the_tables_tell_it_and_run_no_words_of_the_reader(corrected, tmp_path) -> None:
    subject = tmp_path / "subjects" / "S-1"
    write_run(corrected, subject / "20240311" / "a")
    page = write_report(subject).read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    for words in ("region redrawn by hand", "accepted by hand", "moved by hand", "Look here", "Hm.", "reject feeder"):
        assert words in page
    write_tables(tmp_path)
    feeders = (tmp_path / "feeders.csv").read_text(encoding="utf-8")
    assert ",redrawn," in feeders
    assert ",accepted," in feeders


def test_the_methods_name_the_reader_and_the_last_edit(corrected) -> None:
    told = replace(corrected.corrections[1], edit=corrected.corrections[1].edit.model_copy(update={"reviewer": "R. 7"}))
    document = run_document(replace(corrected, corrections=(told,)))
    (sentence,) = (one for one in run_methods(document) if "R. 7" in one)
    assert sentence == "1 correction by R. 7, the last of 2026-01-02 12:00 UTC, changed what the software had found."
