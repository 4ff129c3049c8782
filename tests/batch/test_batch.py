from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from dicom_items import item
from small_runs import write_small_runs

from angio_pipeline import batch, ingest
from angio_pipeline.batch import engines
from angio_pipeline.batch.executing import execute
from angio_pipeline.batch.plan import FollowUpTask, RunTask, make_plan
from angio_pipeline.batch.tasks import Settings, run_task, task_digest
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.provenance import Source
from angio_pipeline.outputs import choose_objects

# What a batch makes of its tasks does not depend on networks.
PLAIN = PipelineConfig.model_validate({"segment": {"method": "filter"}, "feeders": {"network": ""}})
UID = "1.2.3.1"


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """A small XA run on disk; `UID` is its own."""
    (path,) = write_small_runs(tmp_path / "in", 1)
    return path


def _write_xa(path: Path, attenuation: np.ndarray, times_s: np.ndarray, *, uid: str = "1.2.3.4") -> Path:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = XRayAngiographicImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid
    ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.Modality = "1.2.3", "1.2", "XA"
    ds.PatientID, ds.PatientName = "CANARY-ID", "Canary^Name"
    ds.StudyDate = ds.AcquisitionDate = "20250102"
    ds.StudyTime = ds.AcquisitionTime = "101500"
    ds.SeriesNumber, ds.InstanceNumber = 3, 4
    counts = np.round(4000 * np.exp(-(attenuation - attenuation.min()) / 2)).astype(np.uint16)
    ds.Rows, ds.Columns = counts.shape[1:]
    ds.NumberOfFrames = len(counts)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelIntensityRelationship = "LIN"
    ds.FrameIncrementPointer = 0x00181065
    ds.FrameTimeVector = [0.0, *(np.diff(times_s) * 1000)]
    ds.PixelData = counts.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def _plan(*sources: Path, workspace: Path) -> batch.Plan:
    return make_plan(ingest.discover(list(sources), workspace=workspace))


def test_a_run_is_analysed_and_its_record_is_the_last_file(run_file: Path, tmp_path: Path) -> None:
    (task,) = _plan(run_file, workspace=tmp_path).runs
    outcome = run_task(task, Settings(tmp_path / "out", PLAIN))
    assert outcome.analysed
    assert outcome.refusals == ()
    folder = tmp_path / "out" / "subjects" / task.subject / task.folder
    record = json.loads((folder / "record.json").read_text())
    assert record["digest"] == task_digest(task, PLAIN)
    others = [p.stat().st_mtime_ns for p in folder.iterdir() if p.name != "record.json"]
    assert (folder / "record.json").stat().st_mtime_ns >= max(others)


def test_an_unchanged_task_is_not_done_again_and_a_changed_setting_is(run_file: Path, tmp_path: Path) -> None:
    (task,) = _plan(run_file, workspace=tmp_path).runs
    settings = Settings(tmp_path / "out", PLAIN)
    assert not run_task(task, settings).resumed
    assert run_task(task, settings).resumed
    assert not run_task(task, Settings(tmp_path / "out", PLAIN, resume=False)).resumed
    other = PipelineConfig.model_validate({**PLAIN.model_dump(), "mask": {"most_candidates": 2}})
    assert task_digest(task, other) != task_digest(task, PLAIN)


def test_another_choice_of_objects_is_another_analysis(run_file: Path, tmp_path: Path) -> None:
    (task,) = _plan(run_file, workspace=tmp_path).runs
    choices = [choose_objects(), choose_objects(["all"]), choose_objects(keep_identity=True)]
    digests = [task_digest(task, PipelineConfig(), choice) for choice in choices]
    assert len(set(digests)) == 3
    assert task_digest(task, PipelineConfig()) == digests[0]


def test_the_identity_that_is_kept_reaches_the_objects_alone(run_file: Path, tmp_path: Path) -> None:
    plan = _plan(run_file, workspace=tmp_path)
    objects = choose_objects(["seg", "sr"], keep_identity=True)
    execute(plan, Settings(tmp_path / "out", PLAIN, debug=True, objects=objects))
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    named = [path.name for path in written if b"CANARY" in path.read_bytes().upper()]
    assert sorted(named) == ["seg.dcm", "sr.dcm"]


def test_no_name_of_the_patient_reaches_any_output(run_file: Path, tmp_path: Path) -> None:
    plan = _plan(run_file, workspace=tmp_path)
    report = execute(plan, Settings(tmp_path / "out", PLAIN, debug=True))
    assert report.analysed == 1
    for path in (tmp_path / "out").rglob("*"):
        assert "canary" not in str(path.relative_to(tmp_path)).lower()
        if path.is_file():
            assert b"canary" not in path.read_bytes().lower(), path.name


def test_a_broken_file_is_refused_by_name_and_its_neighbour_lives(run_file: Path, tmp_path: Path) -> None:
    (run_file.parent / "broken.dcm").write_bytes(run_file.read_bytes()[:3000])
    (run_file.parent / "empty.dcm").touch()
    plan = _plan(run_file.parent, workspace=tmp_path)
    report = execute(plan, Settings(tmp_path / "out", PLAIN, debug=True))
    assert report.analysed == 1
    listed = (tmp_path / "out" / "refused.csv").read_text()
    assert "broken.dcm" in listed
    assert "empty_file" in listed
    assert (tmp_path / "out" / "index.html").is_file()


def test_a_single_frame_alone_is_refused_with_its_reason(still_scene, tmp_path: Path) -> None:
    path = _write_xa(tmp_path / "one.dcm", still_scene.run.frames[:1], still_scene.run.times_s[:1])
    plan = _plan(path, workspace=tmp_path)
    assert len(plan) == 0
    assert [r.reason for r in plan.refusals] == ["single_frame"]


def test_an_unforeseen_error_is_one_sentence_without_its_message(run_file: Path, tmp_path: Path, monkeypatch) -> None:
    def explode(*args: object, **kwargs: object) -> None:
        raise RuntimeError("Canary^Name")

    monkeypatch.setattr("angio_pipeline.pipeline.process_run", explode)
    (task,) = _plan(run_file, workspace=tmp_path).runs
    outcome = run_task(task, Settings(tmp_path / "out", PLAIN))
    assert not outcome.analysed
    assert outcome.refusals[0].reason == "internal_error"
    assert "Canary" not in outcome.refusals[0].sentence
    with pytest.raises(RuntimeError, match="Canary"):
        run_task(task, Settings(tmp_path / "out", PLAIN, debug=True))


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    write_small_runs(tmp_path / "in", 2)
    plan = _plan(tmp_path / "in", workspace=tmp_path)
    assert len(plan.runs) == 2
    execute(plan, Settings(tmp_path / "a", PLAIN, debug=True))
    execute(plan, Settings(tmp_path / "b", PLAIN), workers=2)
    documents = sorted((tmp_path / "a").rglob("analysis.json"))
    assert len(documents) == 2
    for document in documents:
        twin = tmp_path / "b" / document.relative_to(tmp_path / "a")
        assert document.read_bytes() == twin.read_bytes()


def test_what_an_earlier_analysis_left_is_gone_after_a_failure(run_file: Path, tmp_path: Path, monkeypatch) -> None:
    (task,) = _plan(run_file, workspace=tmp_path).runs
    settings = Settings(tmp_path / "out", PLAIN, resume=False)
    folder = tmp_path / "out" / "subjects" / task.subject / task.folder
    assert run_task(task, settings).analysed
    assert (folder / "analysis.json").is_file()

    def explode(*args: object, **kwargs: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("angio_pipeline.pipeline.process_run", explode)
    assert not run_task(task, settings).analysed
    assert not (folder / "analysis.json").exists()
    assert json.loads((folder / "record.json").read_text())["reason"] == "internal_error"


def test_a_resumed_task_tells_its_refusals_again(run_file: Path, tmp_path: Path) -> None:
    (task,) = _plan(run_file, workspace=tmp_path).runs
    settings = Settings(tmp_path / "out", PLAIN)
    run_task(task, settings)
    path = tmp_path / "out" / "subjects" / task.subject / task.folder / "record.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "refusals": [["a.dcm", "truncated", "Cut short."]]}))
    again = run_task(task, settings)
    assert again.resumed
    assert [(r.path, r.reason) for r in again.refusals] == [("a.dcm", "truncated")]


def test_a_region_goes_to_its_own_image_and_patient_alone(tmp_path: Path) -> None:
    def run(uid: str, subject: str) -> ingest.RunItem:
        return ingest.RunItem((tmp_path / uid,), Source(uid, "1", subject=subject), shown=(uid,))

    def drawn(name: str, subject: str) -> ingest.RoiItem:
        return ingest.RoiItem((tmp_path / name,), Source("9.9", "9", subject=subject), shown=(name,))

    found = ingest.Discovery(runs=(run("1.1", "PA"), run("1.2", "PB")), rois=(drawn("a.dcm", "PA"),))
    plan = make_plan(found, [tmp_path / "1.2-L1.png", tmp_path / "7.7-L1.png"])
    rois = {task.subject: [path.name for path in task.rois] for task in plan.runs}
    assert rois == {"PA": ["a.dcm"], "PB": ["1.2-L1.png"]}
    assert [(Path(r.path).name, r.reason) for r in plan.refusals] == [("7.7-L1.png", "roi_not_matched")]


def test_a_name_in_a_path_stays_out_of_the_results(tmp_path: Path) -> None:
    (plain,) = write_small_runs(tmp_path / "CANARY JANE", 1)
    path = plain.rename(plain.with_name("canary.dcm"))
    report = execute(_plan(path.parent.parent, workspace=tmp_path / "w"), Settings(tmp_path / "out", PLAIN, debug=True))
    assert report.analysed == 1
    for written in (tmp_path / "out").rglob("*"):
        if written.is_file() and written.name != "refused.csv":
            assert b"canary" not in written.read_bytes().lower(), written.name


def _write_outline(path: Path, uid: str, centre: tuple[float, float], radius: float) -> Path:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    # Columns before rows, from the corner of the first pixel.
    col, row = centre[1] + 0.5, centre[0] + 0.5
    circle = item(
        GraphicAnnotationUnits="PIXEL", GraphicDimensions=2, NumberOfGraphicPoints=2, GraphicType="CIRCLE",
        GraphicData=[col, row, col + radius, row], GraphicFilled="N",
    )  # fmt: skip
    drawn_on = item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.12.1", ReferencedSOPInstanceUID=uid)
    ds = item(SOPClassUID="1.2.840.10008.5.1.4.1.1.11.1", SOPInstanceUID="1.2.9.9", Modality="PR", PatientID="OTHER")
    ds.GraphicAnnotationSequence = [
        item(GraphicLayer="L1", GraphicObjectSequence=[circle], ReferencedImageSequence=[drawn_on])
    ]
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)
    return path


def test_an_outline_of_a_presentation_state_takes_the_place_of_detection(run_file: Path, tmp_path: Path) -> None:
    found = ingest.discover([run_file], workspace=tmp_path)
    fitting = _write_outline(tmp_path / "a.dcm", UID, (62.0, 64.0), 18.0)
    other = _write_outline(tmp_path / "b.dcm", "9.9.9", (62.0, 64.0), 18.0)
    plan = make_plan(found, [fitting, other])
    assert [(Path(r.path).name, r.reason) for r in plan.refusals] == [("b.dcm", "roi_not_matched")]
    (task,) = plan.runs
    assert task.rois == (fitting,)
    settings = Settings(tmp_path / "out", PLAIN)
    assert run_task(task, settings).analysed
    folder = tmp_path / "out" / "subjects" / task.subject / task.folder
    (tumour,) = json.loads((folder / "analysis.json").read_text())["tumours"]
    assert (tumour["id"], tumour["origin"], tumour["corrected"]) == ("L1", "roi", None)
    assert tumour["centroid"] == pytest.approx([62, 64], abs=0.1)
    assert tumour["area_px"] == pytest.approx(np.pi * 18**2, rel=0.02)


def _corrections(path: Path, runs: dict[str, list[dict]]) -> Path:
    edited = {uid: {"reference_frame": 9, "edits": edits} for uid, edits in runs.items()}
    path.write_text(json.dumps({"schema": "angio-pipeline/corrections/1", "runs": edited}))
    return path


def _edit(name: str, **told: object) -> dict:
    return {"id": name, "time": "2026-11-27T08:00:00Z", **(told or {"kind": "note", "text": name})}


def test_corrections_make_only_the_run_that_they_concern_be_done_again(still_scene, tmp_path: Path) -> None:
    for k in range(2):
        _write_xa(tmp_path / "in" / f"{k}.dcm", still_scene.run.frames, still_scene.run.times_s, uid=f"1.2.{k}")
    found = ingest.discover([tmp_path / "in"], workspace=tmp_path)

    def digests(*files: Path) -> dict[str, str]:
        tasks = make_plan(found, corrections=files).runs
        return {task.item.source.sop_instance_uid: task_digest(task, PipelineConfig()) for task in tasks}

    plain = digests()
    first = digests(_corrections(tmp_path / "a.json", {"1.2.0": [_edit("a")], "1.2.1": []}))
    assert first["1.2.0"] != plain["1.2.0"]
    assert first["1.2.1"] == plain["1.2.1"]
    second = digests(_corrections(tmp_path / "b.json", {"1.2.0": [_edit("a")], "1.2.1": [_edit("b")]}))
    assert second["1.2.0"] == first["1.2.0"]
    assert second["1.2.1"] != plain["1.2.1"]


def test_corrections_of_a_run_that_is_not_there_are_named(run_file: Path, tmp_path: Path) -> None:
    path = _corrections(tmp_path / "c.json", {"9.8.7": [_edit("a"), _edit("b")]})
    plan = make_plan(ingest.discover([run_file], workspace=tmp_path), corrections=[path])
    (refusal,) = plan.refusals
    assert refusal.reason == "correction_not_matched"
    assert refusal.path == str(path)
    assert "2 of run 9.8.7" in refusal.sentence


def test_an_edit_that_fits_nothing_is_refused_by_name_and_again_when_resumed(run_file: Path, tmp_path: Path) -> None:
    lost = _edit("lost", kind="remove_tumour", tumour={"point": [10.0, 120.0]})
    path = _corrections(tmp_path / "c.json", {UID: [lost, _edit("seen")]})
    (task,) = make_plan(ingest.discover([run_file], workspace=tmp_path), corrections=[path]).runs
    settings = Settings(tmp_path / "out", PLAIN)
    first, again = run_task(task, settings), run_task(task, settings)
    assert again.resumed
    for outcome in (first, again):
        (refusal,) = outcome.refusals
        assert refusal.reason == "correction_not_applied"
        assert "lost (remove_tumour)" in refusal.sentence
    folder = tmp_path / "out" / "subjects" / task.subject / task.folder
    document = json.loads((folder / "analysis.json").read_text())
    assert [(one["id"], one["applied"]) for one in document["corrections"]] == [("lost", False), ("seen", True)]
    assert "CORRECTION_NOT_APPLIED" in document["quality"]
    assert "HAND_CORRECTED" not in document["quality"]


def test_readings_go_to_their_patient_and_what_is_said_of_others_is_named(still_scene, tmp_path: Path) -> None:
    for k in range(2):
        _write_xa(tmp_path / "in" / f"{k}.dcm", still_scene.run.frames[:1], still_scene.run.times_s[:1], uid=f"1.2.{k}")
    found = ingest.discover([tmp_path / "in"], workspace=tmp_path)
    (plain,) = make_plan(found).follow_ups

    def told(*rows: str) -> tuple[FollowUpTask, list[str]]:
        path = tmp_path / "readings.csv"
        path.write_text("\n".join(["subject,date,lesion,statement", *rows]))
        plan = make_plan(found, readings=[path])
        return plan.follow_ups[0], [refusal.sentence for refusal in plan.refusals]

    def digest(task: FollowUpTask) -> str:
        return task_digest(task, PipelineConfig())

    gone, refused = told(",20250102,L1,gone")
    assert [(one.subject, one.lesion_id) for one in gone.readings] == [(plain.subject, "L1")]
    assert refused == []
    named, refused = told(f"{plain.subject},20250102,L1,gone", "P000000000000,20250102,L1,worse")
    assert [sentence[:5] for sentence in refused] == ["Row 2"]
    assert "found another name" in refused[0]
    assert "P000000000000" not in refused[0]
    assert digest(named) == digest(gone) != digest(plain)
    changed, _ = told(",20250102,L1,too small")
    assert digest(changed) not in (digest(gone), digest(plain))


KILLER = """
import os
from angio_pipeline.batch import Outcome, jobs

def run_task(task, settings, begin):
    if task.item.source.description == "kill":
        os._exit(9)
    return Outcome(task.subject, analysed=True)

def do_job(job):
    jobs.run_task = run_task
    return jobs.do_job(job)
"""


def test_a_task_that_kills_its_worker_is_refused_and_the_others_finish(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "killer.py").write_text(KILLER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(engines, "do_job", importlib.import_module("killer").do_job)

    def task(name: str) -> RunTask:
        source = Source(name, "1", subject="P1", file=f"{name}.dcm", description=name)
        return RunTask(ingest.RunItem((tmp_path / name,), source, shown=(f"{name}.dcm",)))

    plan = batch.Plan((task("one"), task("kill"), task("two")), ())
    report = execute(plan, Settings(tmp_path / "out", PLAIN), workers=1)
    assert report.analysed == 2
    assert [r.reason for r in report.refusals] == ["worker_died"]
    assert report.refusals[0].path == "kill.dcm"


def test_a_page_is_written_anew_when_its_results_change_and_only_then(run_file: Path, tmp_path: Path) -> None:
    def page_of(**how: bool) -> tuple[int, str]:
        execute(plan, Settings(tmp_path / "out", PLAIN, debug=True, **how))
        (page,) = (tmp_path / "out").rglob("report.html")
        return page.stat().st_mtime_ns, page.read_text()

    plan = _plan(run_file, workspace=tmp_path)
    first, again, anew = page_of(), page_of(), page_of(resume=False)
    assert again == first
    assert anew[0] > first[0]
    assert anew[1] == first[1]


def test_no_page_outlives_the_results_that_it_tells_of(run_file: Path, tmp_path: Path, monkeypatch) -> None:
    plan = _plan(run_file, workspace=tmp_path)
    execute(plan, Settings(tmp_path / "out", PLAIN, debug=True))

    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("angio_pipeline.outputs.write_run", stop)
    with pytest.raises(KeyboardInterrupt):
        execute(plan, Settings(tmp_path / "out", PLAIN, resume=False, debug=True))
    assert not list((tmp_path / "out").rglob("report.html"))
