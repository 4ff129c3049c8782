"""Reports of follow-ups as another reader sees them: the numbers of `lipiodol.json` and `response.json`."""

from __future__ import annotations

import json
from dataclasses import replace

import pydicom
import pytest
from dicom_objects import complaints, ct_headers, report_groups, said_by
from response_lesions import lesion

from angio_pipeline.core.response import Histology
from angio_pipeline.outputs import write_follow_up
from angio_pipeline.outputs.dicom import Origin, choose_objects
from angio_pipeline.response import ResponseParams, judge_lesions

pytestmark = pytest.mark.slow

POINT = {
    "iodine_mg": ("IODINE", "mg"),
    "oil_ml": ("OIL", "ml"),
    "relative_amount": ("RELATIVE_AMOUNT", "1"),
    "volume_mm3": ("118565006", "mm3"),
    "retention": ("RETENTION", "1"),
    "clipped_voxels": ("CLIPPED_VOXELS", "1"),
}
ENDS = {
    "iodine_mg_interval": (("IODINE_LOW", "mg"), ("IODINE_HIGH", "mg")),
    "retention_interval": (("RETENTION_LOW", "1"), ("RETENTION_HIGH", "1")),
}
SIZES = {
    "longest_mm": ("LONGEST", "mm"),
    "across_mm": ("ACROSS", "mm"),
    "product_mm2": ("PRODUCT", "mm2"),
    "longest_3d_mm": ("LONGEST_3D", "mm"),
    "volume_ml": ("VOLUME", "ml"),
}
NECROSIS = {
    "enhancing_ml": "ENHANCING",
    "non_enhancing_ml": "NON_ENHANCING",
    "covered_ml": "COVERED",
    "rim_ml": "RIM",
    "rim_enhancing_ml": "RIM_ENHANCING",
}
CALL = {
    "change_from_baseline": "CHANGE_BASELINE",
    "change_from_nadir": "CHANGE_NADIR",
    "density_change": "DENSITY_CHANGE",
    "effect": "EFFECT",
}
SUMS = {"value": "SUM", "baseline": "SUM_BASELINE", "nadir": "SUM_NADIR"}


def known(pairs):
    return {code: [value] for code, value in pairs if value is not None}


def of_point(point):
    pairs = [(code, point[name]) for name, code in POINT.items()]
    for name, codes in ENDS.items():
        pairs += zip(codes, point[name] or (None, None), strict=True)
    pairs += [((f"COVERAGE_{hu}", "%"), share) for hu, share in (point["coverage"] or {}).items()]
    if point["residual"] is not None:
        left = point["residual"]
        pairs += [(("ARTERIAL_MINUS_PORTAL", "[hnsf'U]"), left["arterial_minus_portal_hu"])]
        pairs += zip((("ARTERIAL_LOW", "[hnsf'U]"), ("ARTERIAL_HIGH", "[hnsf'U]")), left["interval_hu"], strict=True)
        pairs += [(("LIVING", "ml"), left["living_ml"])]
    return known(pairs)


def of_kinetics(kinetics):
    low, high = kinetics["half_life_interval"]
    half = kinetics["half_life_days"]
    return known([(("HALF_LIFE", "d"), half), (("HALF_LIFE_LOW", "d"), low), (("HALF_LIFE_HIGH", "d"), high)])


def expected_oil(document):
    """(id, days, numbers) of every group of the report."""
    out = []
    courses = [(one["id"], one) for one in document["lesions"]]
    courses += [("liver", document["liver"])] if document["liver"] else []
    for name, course in courses:
        out += [(name, point["days"], of_point(point)) for point in course["timepoints"]]
        out += [(f"{name} washout", None, of_kinetics(course["kinetics"]))] if course["kinetics"] else []
    for search in document["non_target"]:
        for count, piece in enumerate(search["pieces"], start=1):
            low, high = piece["iodine_mg_interval"]
            pairs = [(("OIL", "ml"), piece["volume_ml"]), (("IODINE", "mg"), piece["iodine_mg"])]
            pairs += [(("IODINE_LOW", "mg"), low), (("IODINE_HIGH", "mg"), high)]
            out.append((f"stray oil {search['date']} {count}", search["days"], known(pairs)))
    return out


def of_lesion(at):
    sized = [("", at["whole"])] + [(f"_VIABLE_{one.upper()}", extent) for one, extent in at["viable"].items()]
    pairs = [
        ((f"{code}{suffix}", unit), extent[name])
        for suffix, extent in sized
        if extent is not None
        for name, (code, unit) in SIZES.items()
    ]
    pairs += [(("MEAN_HU", "[hnsf'U]"), at["mean_hu"]), (("THRESHOLD_HU", "[hnsf'U]"), at["threshold_hu"])]
    if at["necrosis"] is not None:
        pairs += [((code, "ml"), at["necrosis"][name]) for name, code in NECROSIS.items()]
        shares = at["necrosis"]["necrotic_percent"]
        pairs += [((f"NECROTIC_{one.upper()}", "%"), share) for one, share in shares.items()]
    return known(pairs)


def expected_response(document):
    out = [(one["id"], at["days"], of_lesion(at)) for one in document["lesions"] for at in one["timepoints"]]
    for point in document["timepoints"]:
        for reason in point["reasons"]:
            pairs = [((code, reason["unit"] or "1"), reason[name]) for name, code in SUMS.items()]
            pairs += [((code, "1"), reason[name]) for name, code in CALL.items()]
            out.append((reason["name"], point["days"], known(pairs)))
    out += [(f"best {one['name']}", None, known([(("BEST_DAYS", "d"), one["days"])])) for one in document["best"]]
    for one in document["necrosis"]:
        pairs = [(("NECROSIS_REFERENCE", "%"), one["percent"]), (("NECROSIS_IMAGING", "%"), one["imaging_percent"])]
        out.append((f"{one['lesion']} necrosis", None, known(pairs)))
    return out


def read(path):
    return [(group["id"], group.get("days"), group["numbers"]) for group in report_groups(path)]


@pytest.fixture(params=[False, True], ids=["bounded", "unbounded"])
def written(request, follow_up_maker, folder_of, tmp_path):
    result = follow_up_maker(unbounded=request.param)
    write_follow_up(result, tmp_path, folder_of=folder_of, origin_of=origin_of(result))
    return tmp_path, result


def origin_of(result):
    deposits = {p.source: p.deposit for lesion in result.lesions for p in lesion.timepoints if p.deposit is not None}
    return lambda source: Origin(source, ct_headers(deposits[source], source) if source in deposits else ())


def test_the_oil_s_numbers_are_those_of_the_document(written):
    folder, _ = written
    document = json.loads((folder / "lipiodol.json").read_text())
    wanted = expected_oil(document)
    assert read(folder / "lipiodol-sr.dcm") == wanted
    assert sum(len(numbers) for _, _, numbers in wanted) > 30


def test_words_about_the_oil_are_answers(written):
    folder, result = written
    first = report_groups(folder / "lipiodol-sr.dcm")[0]
    point = result.lesions[0].timepoints[0]
    assert ("Distribution of the oil", point.pattern.value.capitalize()) in first["answers"]
    assert ("Quality Issue", "Clipped hu") in first["answers"]


def test_each_scan_is_named_by_one_of_its_own_slices(written):
    folder, result = written
    groups = report_groups(folder / "lipiodol-sr.dcm")
    for group, point in zip(groups, result.lesions[0].timepoints, strict=False):
        named = [uid.startswith(f"{point.source.series_instance_uid}.") for uid, _ in group["images"]]
        assert named == ([True] if point.deposit is not None else [])


def test_it_is_filed_with_the_latest_scan_and_names_the_others_as_evidence(written):
    folder, result = written
    ds = pydicom.dcmread(folder / "lipiodol-sr.dcm")
    studies = {point.source.study_instance_uid for point in result.lesions[0].timepoints}
    latest = max(result.lesions[0].timepoints, key=lambda point: point.source.date).source
    assert ds.StudyInstanceUID == latest.study_instance_uid
    others = {one.StudyInstanceUID for one in ds.get("PertinentOtherEvidenceSequence", [])}
    assert others | {ds.StudyInstanceUID} == studies


def test_a_validator_finds_no_fault_and_another_reader_prints_it(written):
    folder, _ = written
    assert complaints(folder / "lipiodol-sr.dcm") == []
    assert "Half-life of the oil" in said_by("dsrdump", str(folder / "lipiodol-sr.dcm"))


def test_without_objects_there_are_none(follow_up_maker, folder_of, tmp_path):
    write_follow_up(follow_up_maker(), tmp_path, folder_of=folder_of, choice=choose_objects(["none"]))
    assert list(tmp_path.rglob("*.dcm")) == []
    assert (tmp_path / "lipiodol.json").is_file()


def test_a_patient_without_any_lesion_has_no_report(follow_up_maker, folder_of, tmp_path):
    nothing = replace(follow_up_maker(), lesions=(), liver=None)
    write_follow_up(nothing, tmp_path, folder_of=folder_of)
    assert not (tmp_path / "lipiodol-sr.dcm").exists()


@pytest.fixture
def judged(follow_up_maker, folder_of, tmp_path):
    lesions = [lesion("L1", 40.0, 25.0), lesion("L2", 20.0, 15.0, missing="cut off by the edge of the scan")]
    response = judge_lesions(lesions, histology=[Histology(80.0, lesion_id="L1")], params=ResponseParams())
    result = replace(follow_up_maker(), response=response)
    write_follow_up(result, tmp_path, folder_of=folder_of, origin_of=origin_of(result))
    return tmp_path


def test_the_response_s_numbers_are_those_of_the_document(judged):
    document = json.loads((judged / "response.json").read_text())
    wanted = expected_response(document)
    assert read(judged / "response-sr.dcm") == wanted
    assert sum(len(numbers) for _, _, numbers in wanted) > 50


def test_every_call_is_told_with_its_rule(judged):
    document = json.loads((judged / "response.json").read_text())
    groups = report_groups(judged / "response-sr.dcm")
    reasons = [reason for point in document["timepoints"] for reason in point["reasons"]]
    told = [group for group in groups if group["finding"] == "Response to treatment" and "days" in group]
    words = {"CR": "Complete response", "PR": "Partial response", "SD": "Stable disease", "PD": "Progressive disease"}
    words["NE"] = "Not evaluable"
    assert len(told) == len(reasons) > 5
    for group, reason in zip(told, reasons, strict=True):
        call = words.get(reason["call"], f"Response {reason['call']}")
        assert ("Response", call) in group["answers"], reason["name"]
        assert ("Comment", reason["sentence"]) in group["texts"]


def test_a_validator_finds_no_fault_in_the_response(judged):
    assert complaints(judged / "response-sr.dcm") == []
    assert "Response to treatment" in said_by("dsrdump", str(judged / "response-sr.dcm"))
