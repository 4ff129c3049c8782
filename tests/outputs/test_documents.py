from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from angio_pipeline.core.geometry import PixelSpacing, SpacingPlane
from angio_pipeline.core.quality import Quality
from angio_pipeline.outputs import LipiodolDocument, RunDocument, json_schema
from angio_pipeline.outputs.documents import (
    curves_document,
    follow_up_document,
    graph_document,
    plain,
    run_document,
)

CONTRACT = {
    "": "schema source image subtraction phases catheter_tip vessels tumours shunts quality",
    "source": "sop_instance_uid series_instance_uid file",
    "image": "rows columns frames times_s spacing_mm spacing_plane pose_deg",
    "subtraction": "already_subtracted mask_frames reference_frame motion_px residual_before residual_after",
    "phases": "arterial parenchymal venous",
    "catheter_tip": "row col probability",
    "vessels": "artery_mask vein_mask graph branches length_mm length_px",
    "tumours.0": "id centroid area_mm2 area_px mask probability origin feeders targets",
    "tumours.0.feeders.0": "id rank probability contribution centreline branch_start diameter_mm diameter_px "
    "arrival_s overlap_ambiguous target",
    "tumours.0.feeders.0.target": "row col diameter_mm path_length_mm bifurcations tortuosity non_target_fraction",
    "tumours.0.targets.0": "row col covers non_target_fraction",
    "shunts.0": "kind probability row col arrival_s",
}
LIPIODOL_CONTRACT = {
    "": "schema lesions liver",
    "lesions.0": "id centroid_mm timepoints kinetics",
    "lesions.0.timepoints.0": "date days study_instance_uid series_instance_uid modality deposit_mask iodine_mg "
    "iodine_mg_interval oil_ml relative_amount volume_mm3 coverage retention retention_interval pattern completeness "
    "margin_grade clipped_voxels quality",
    "lesions.0.kinetics": "model half_life_days half_life_interval",
    "liver": "timepoints kinetics",
}


def as_json(document):
    return json.loads(document.model_dump_json())


def at(content, path):
    for key in path.split(".") if path else ():
        content = content[int(key) if key.isdigit() else key]
    return content


def keys_ending(content, ending):
    """Every (key, value) whose key ends so, settings and provenance apart."""
    if isinstance(content, list):
        return [pair for item in content for pair in keys_ending(item, ending)]
    if not isinstance(content, dict):
        return []
    own = [(k, v) for k, v in content.items() if k.endswith(ending)]
    deeper = (v for k, v in content.items() if k not in ("settings", "provenance"))
    return own + [pair for value in deeper for pair in keys_ending(value, ending)]


@pytest.mark.parametrize("path", CONTRACT)
def test_analysis_holds_every_key_of_the_contract(run_result, path):
    assert set(CONTRACT[path].split()) <= set(at(as_json(run_document(run_result)), path))


@pytest.mark.parametrize("path", LIPIODOL_CONTRACT)
def test_lipiodol_holds_every_key_of_the_contract(follow_up_maker, folder_of, path):
    document = as_json(follow_up_document(follow_up_maker(), folder_of))
    assert set(LIPIODOL_CONTRACT[path].split()) <= set(at(document, path))


@pytest.mark.slow
def test_every_document_is_valid_against_its_own_schema(run_result, follow_up_maker, folder_of):
    documents = {
        "run": run_document(run_result),
        "graph": graph_document(run_result),
        "curves": curves_document(run_result),
        "lipiodol": follow_up_document(follow_up_maker(unbounded=True), folder_of),
    }
    for kind, document in documents.items():
        jsonschema.validate(as_json(document), json_schema(kind), cls=jsonschema.Draft202012Validator)
        jsonschema.validate(as_json(document), json_schema(), cls=jsonschema.Draft202012Validator)


def test_the_schema_refuses_a_document_without_its_tumours(run_result):
    document = as_json(run_document(run_result))
    del document["tumours"]
    with pytest.raises(jsonschema.ValidationError, match="tumours"):
        jsonschema.validate(document, json_schema("run"))


def test_the_schema_of_an_unknown_document_is_refused():
    with pytest.raises(ValueError, match="Expected one of run"):
        json_schema("patient")


def test_a_document_survives_its_own_text(run_result, follow_up_maker, folder_of):
    run = run_document(run_result)
    assert RunDocument.model_validate_json(run.model_dump_json()) == run
    course = follow_up_document(follow_up_maker(), folder_of)
    assert LipiodolDocument.model_validate_json(course.model_dump_json()) == course


@pytest.mark.parametrize("spacing", [None, PixelSpacing(0.2, 0.2, SpacingPlane.DETECTOR)])
def test_no_millimetre_is_given_without_a_scale_in_the_patient(run_maker, spacing):
    document = as_json(run_document(run_maker(spacing=spacing)))
    document["image"].pop("detector_spacing_mm")
    assert [v for _, v in keys_ending(document, "_mm") + keys_ending(document, "_mm2") if v is not None] == []
    assert document["image"]["spacing_plane"] == ("none" if spacing is None else "detector")
    assert document["vessels"]["length_px"] > 0


def test_twice_the_spacing_is_twice_the_length_and_four_times_the_area(run_maker):
    single, double = (
        run_document(run_maker(spacing=PixelSpacing(mm, mm, SpacingPlane.CALIBRATED))) for mm in (0.2, 0.4)
    )
    assert double.vessels.length_mm == pytest.approx(2 * single.vessels.length_mm)
    assert double.tumours[0].area_mm2 == pytest.approx(4 * single.tumours[0].area_mm2)
    first, second = single.tumours[0].feeders[0], double.tumours[0].feeders[0]
    assert second.diameter_mm == pytest.approx(2 * first.diameter_mm)
    assert second.target.path_length_mm == pytest.approx(2 * first.target.path_length_mm)


def test_lengths_follow_each_axis_of_an_oblong_pixel(run_maker):
    document = run_document(run_maker(spacing=PixelSpacing(0.2, 0.4, SpacingPlane.CALIBRATED)))
    px = document.vessels.length_px
    assert 0.2 * px < document.vessels.length_mm < 0.4 * px


def test_no_second_is_given_when_the_file_has_no_times(run_maker):
    result = run_maker(quality=Quality.TIMES_UNKNOWN)
    documents = [as_json(d(result)) for d in (run_document, graph_document, curves_document)]
    for value in (v for d in documents for _, v in keys_ending(d, "_s")):
        assert value is None or (isinstance(value, list) and set(value) == {None})
    assert len(documents[0]["image"]["times_s"]) == documents[0]["image"]["frames"]


def test_what_is_not_a_number_becomes_null(run_result):
    lost = replace(run_result.subtracted, residual_before=np.nan, noise_sd=np.inf)
    document = as_json(run_document(replace(run_result, subtracted=lost)))
    assert document["subtraction"]["residual_before"] is None
    assert document["subtraction"]["noise_sd"] is None
    assert document["subtraction"]["motion_px"][3] == [None, None]


def test_an_unbounded_half_life_has_no_upper_end(follow_up_maker, folder_of):
    document = follow_up_document(follow_up_maker(unbounded=True), folder_of)
    assert document.lesions[0].kinetics.half_life_interval == (29.0, None)


def test_flags_of_every_stage_reach_the_document(run_result):
    maps = replace(run_result.maps, quality=Quality.LOW_TIME_RESOLUTION)
    document = run_document(replace(run_result, maps=maps))
    assert {"LOW_TIME_RESOLUTION", "OVERLAP_AMBIGUOUS"} <= set(document.quality)
    assert len(document.quality) == len(document.quality_sentences)


def test_settings_of_any_kind_become_json():
    given = {"a": (1, np.float32(0.5)), "b": {"c": np.nan, "d": SpacingPlane.NONE}, "e": np.arange(2), 3: {True}}
    assert plain(given) == {"a": [1, 0.5], "b": {"c": None, "d": "none"}, "e": [0, 1], "3": [True]}


def test_two_films_of_one_series_have_names_of_their_own(follow_up_maker, folder_of):
    result = follow_up_maker()
    lesion = result.lesions[0]
    twice = replace(lesion, timepoints=(*lesion.timepoints, lesion.timepoints[2]))
    views = [p.view for p in follow_up_document(replace(result, lesions=(twice,)), folder_of).lesions[0].timepoints]
    assert len(set(views)) == len(views)
