"""A file of corrections is read whole or refused with one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

from angio_pipeline import ingest
from angio_pipeline.core.corrections import CorrectionsDocument
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.outputs import json_schema

UID = "1.2.826.0.1"
TUMOUR = {"id": "T1", "point": [62.0, 64.0]}
FEEDER = {"id": "T1-F1", "point": [110.0, 99.0], "branch_start": [150.0, 128.0]}
DRAWN = {"polygons": [[[10, 10], [10, 20], [20, 20]]]}
KINDS: dict[str, dict[str, Any]] = {
    "accept_feeder": {"tumour": TUMOUR, "feeder": FEEDER},
    "reject_feeder": {"tumour": TUMOUR, "feeder": FEEDER},
    "add_feeder": {"tumour": TUMOUR, "click": [110, 99]},
    "move_target": {"tumour": TUMOUR, "feeder": FEEDER, "origin": [100, 90], "to": [110.5, 99]},
    "add_tumour": DRAWN,
    "redraw_tumour": {"tumour": TUMOUR, **DRAWN},
    "remove_tumour": {"tumour": TUMOUR},
    "set_phase": {"arterial": [3, 9], "not_seen": ["venous"]},
    "note": {"text": "The portal vein is open."},
}


def edit(kind: str = "add_feeder", name: str = "e1", **changed: Any) -> dict[str, Any]:
    whole = {"id": name, "time": "2026-11-27T08:00:00Z", "kind": kind, **KINDS.get(kind, {}), **changed}
    return {key: value for key, value in whole.items() if value != "left out"}


def document(*edits: dict[str, Any], uid: str = UID, **changed: Any) -> dict[str, Any]:
    runs = {uid: {"reference_frame": 9, "rows": 256, "columns": 256, "edits": list(edits)}}
    return {"schema": "angio-pipeline/corrections/1", "runs": runs, **changed}


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(tmp_path: Path, content: object) -> tuple[Any, ...]:
    return ingest.read_corrections([write(tmp_path / "c.json", content)], UID)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_edit_is_read_and_follows_the_public_schema(tmp_path: Path, kind: str) -> None:
    content = document(edit(kind, reviewer="A. B.", comment="why"))
    (given,) = read(tmp_path, content)
    assert given.edit.kind == kind
    assert (given.reference_frame, given.size) == (9, (256, 256))
    for schema in (json_schema("corrections"), json_schema()):
        jsonschema.validate(content, schema, cls=jsonschema.Draft202012Validator)
    again = CorrectionsDocument.model_validate(content).model_dump(mode="json")
    assert CorrectionsDocument.model_validate(again) == CorrectionsDocument.model_validate(content)


@pytest.mark.parametrize("key", ["id", "time", "kind"])
def test_the_public_schema_refuses_an_edit_without_its_identity(key: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document(edit(**{key: "left out"})), json_schema("corrections"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "hold JSON"),
        ("[1", "hold JSON"),
        ("\x00\xff", "hold JSON"),
        ("[" * 100000, "hold JSON"),
        ('{"schema": "a", "schema": "b"}', "stands twice"),
        ([], "found none"),
        ({"runs": {}}, "found none"),
        (document(schema="angio-pipeline/corrections/2"), "found angio-pipeline/corrections/2"),
        (document(uid="CANARY"), "at runs.CANARY"),
        (document(edit("erase_tumour")), "erase_tumour"),
        (document(edit(click=[1])), "click.1: field required"),
        (document(edit(click=[1, 2, 3])), "click"),
        (document(edit(click=["a", 2])), "click.0"),
        (document(edit(click=[1e9, 2])), "click.0"),
        (document(edit(click=[float("nan"), 2])), "finite"),
        (document(edit(clik=[1, 2])), "clik: extra inputs"),
        (document(edit(id="two words")), "id"),
        (document(edit(time="2026-11-27T08:00:00")), "timezone"),
        (document(edit(time="yesterday")), "time"),
        (document(edit(tumour={})), "a point in the tumour, or its id"),
        (document(edit("reject_feeder", feeder={"id": "T1-F1"})), "as ids may change"),
        (document(edit("add_tumour", polygons=None)), "either polygons or a mask"),
        (document(edit("add_tumour", mask="a.png")), "either polygons or a mask"),
        (document(edit("add_tumour", polygons=[[[1, 1], [2, 2]]])), "polygons.0"),
        (document(edit("add_tumour", polygons=None, mask="../a.png")), "mask"),
        (document(edit("add_tumour", polygons=None, mask="gone.png")), "the mask gone.png"),
        (document(edit("set_phase", arterial="left out", not_seen="left out")), "at least one phase"),
        (document(edit("set_phase", not_seen=["arterial"])), "not_seen.0"),
        (document(edit("set_phase", venous=[12, 14])), "either with its frames or not seen"),
        (document(edit("set_phase", arterial=[9, 3])), "follow each other"),
        (document(edit("set_phase", arterial=[3, 9], parenchymal=[9, 12])), "follow each other"),
        (document(edit("note", text="")), "text"),
        (document(edit(), edit()), "e1 twice"),
        (document(edit(reference_frame=-1)), "reference_frame"),
    ],
)
def test_a_malformed_document_is_refused_with_one_sentence_that_says_where(
    tmp_path: Path, content: object, words: str
) -> None:
    with pytest.raises(InputRefused) as caught:
        read(tmp_path, content)
    assert caught.value.reason == "bad_corrections"
    assert caught.value.sentence.startswith("Expected")
    assert words in caught.value.sentence
    assert "\n" not in caught.value.sentence
    assert len(caught.value.sentence) < 400


def test_the_example_of_the_guide_is_read(tmp_path: Path) -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "corrections.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", guide, flags=re.DOTALL)
    path = write(tmp_path / "c.json", example)
    assert ingest.corrected_runs(path) == {"1.2.840.1": 3}
    ingest.check_corrections([path])


def test_the_guide_tells_of_every_kind() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "corrections.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`([a-z]+_[a-z]+|note)`(?=[,| ])", guide)) >= set(KINDS)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"none\.json"):
        ingest.read_corrections([tmp_path / "none.json"], UID)


def test_edits_come_in_the_order_of_time_whatever_their_zone_and_file(tmp_path: Path) -> None:
    late = edit(name="late", time="2026-11-27T08:30:00+00:00")
    early = edit(name="early", time="2026-11-27T09:00:00+01:00")
    first = write(tmp_path / "a.json", document(late))
    second = write(tmp_path / "b.json", document(early))
    assert [one.edit.id for one in ingest.read_corrections([first, second], UID)] == ["early", "late"]


def test_an_edit_that_stands_in_two_files_counts_once_and_two_that_differ_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", document(edit()))
    second = write(tmp_path / "b.json", document(edit(), edit(name="e2")))
    assert [one.edit.id for one in ingest.read_corrections([first, second], UID)] == ["e1", "e2"]
    third = write(tmp_path / "c.json", document(edit(click=[1, 1])))
    with pytest.raises(InputRefused, match="both e1"):
        ingest.check_corrections([first, third])


def test_one_file_may_hold_many_runs(tmp_path: Path) -> None:
    content = document(edit())
    content["runs"]["1.2.9"] = {"reference_frame": 2, "edits": [edit("note", "n"), edit(name="m", reference_frame=5)]}
    content["runs"]["1.2.8"] = {"reference_frame": 2, "edits": []}
    path = write(tmp_path / "c.json", content)
    assert ingest.corrected_runs(path) == {UID: 1, "1.2.9": 2}
    assert [one.reference_frame for one in ingest.read_corrections([path], "1.2.9")] == [5, 2]
    assert ingest.read_corrections([path], "9.9") == ()


def test_a_mask_beside_the_document_is_read_with_it(tmp_path: Path) -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:9, 7:19] = True
    assert cv2.imwrite(str(tmp_path / "t1.png"), mask.astype(np.uint8) * 255)
    (given,) = read(tmp_path, document(edit("redraw_tumour", polygons=None, mask="t1.png")))
    assert np.array_equal(given.mask, mask)


def test_the_digest_changes_with_an_edit_and_with_its_mask_alone(tmp_path: Path) -> None:
    content = document(edit("add_tumour", polygons=None, mask="t1.png"))
    digests = []
    for value in (0, 255, 255):
        picture = np.full((20, 30), 255, np.uint8)
        picture[3, 4] = value
        assert cv2.imwrite(str(tmp_path / "t1.png"), picture)
        digests.append(ingest.edits_digest(read(tmp_path, content)))
    assert digests[0] != digests[1]
    assert digests[1] == digests[2]
    content["runs"]["1.2.9"] = {"reference_frame": 2, "edits": [edit()]}
    assert ingest.edits_digest(read(tmp_path, content)) == digests[2]
    content["runs"][UID]["edits"][0]["comment"] = "new"
    assert ingest.edits_digest(read(tmp_path, content)) != digests[2]
