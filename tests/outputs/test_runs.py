from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from angio_pipeline.core.quality import Quality
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.runs import Background, Correction
from angio_pipeline.outputs import RunDocument, write_record, write_run
from angio_pipeline.outputs.documents import graph_document, run_document
from angio_pipeline.outputs.methods import run_methods


@pytest.fixture(scope="module")
def folder(run_result, tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    write_run(run_result, path)
    return path


@pytest.mark.slow
def test_every_file_that_the_document_names_is_there(folder):
    document = RunDocument.model_validate_json((folder / "analysis.json").read_bytes())
    named = [document.vessels.artery_mask, document.vessels.graph, *(t.mask for t in document.tumours)]
    pictures = ["overlay.png", "flow.png", "thumbnail.png", "before.png", "after.png"]
    for name in [*named, *pictures, "maps.npz", "curves.json", "branches.csv"]:
        assert (folder / name).stat().st_size > 0, name
    assert not (folder / "record.json").exists()


@pytest.mark.slow
def test_masks_are_eight_bit_of_the_frames_size_and_hold_the_mask(folder, run_result):
    for name, mask in (("artery.png", run_result.vessels.artery), ("tumour-T1.png", run_result.tumours[0].mask)):
        picture = cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED)
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, np.where(mask, 255, 0))


def test_maps_are_float32_of_the_frames_size(folder, run_result):
    with np.load(folder / "maps.npz", allow_pickle=False) as maps:
        assert {"arrival_s", "time_to_peak_s", "peak", "auc"} <= set(maps)
        assert all(maps[name].dtype == np.float32 and maps[name].shape == (256, 256) for name in maps)
        np.testing.assert_array_equal(maps["arrival_s"], run_result.maps.arrival_s)


@pytest.mark.slow
def test_maps_hold_no_time_when_the_file_gave_none(run_maker, tmp_path):
    write_run(run_maker(quality=Quality.TIMES_UNKNOWN), tmp_path)
    with np.load(tmp_path / "maps.npz", allow_pickle=False) as maps:
        assert np.isnan(maps["arrival_s"]).all()
        assert np.isnan(maps["time_to_peak_s"]).all()
        assert np.isfinite(maps["peak"]).any()


def test_the_graph_is_directed_and_joins_its_nodes(folder):
    graph = json.loads((folder / "graph.json").read_text())
    nodes = {n["id"]: np.array([n["row"], n["col"]]) for n in graph["nodes"]}
    for branch in graph["branches"]:
        line = np.array(branch["centreline"])
        assert np.linalg.norm(line[0] - nodes[branch["start"]]) < 0.1
        assert np.linalg.norm(line[-1] - nodes[branch["end"]]) < 0.1
        assert len(line) == len(branch["radius_px"]) == len(branch["arrival_s"])


@pytest.mark.slow
def test_a_second_analysis_leaves_nothing_of_the_first(run_maker, tmp_path):
    write_run(run_maker(), tmp_path)
    write_record(tmp_path, {"digest": "old"})
    write_run(run_maker(tumour=False, vessels=False), tmp_path)
    assert not (tmp_path / "record.json").exists()
    assert list(tmp_path.glob("tumour-*.png")) == []
    assert not (tmp_path / "flow.png").exists()
    assert len((tmp_path / "branches.csv").read_text().splitlines()) == 1
    assert list(tmp_path.glob(".tmp-*")) == []


@pytest.mark.slow
def test_importing_the_room_loads_no_drawing_or_volume_library():
    code = (
        "import sys, angio_pipeline.outputs; "
        "print(*sorted({'matplotlib', 'SimpleITK', 'duckdb', 'cv2', 'jinja2', 'torch'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"background": Background.SPATIAL}, {"residual_before": np.nan, "residual_after": np.nan}],
    ids=["correction thrown away", "no correction"],
)
def test_no_motion_correction_is_claimed_where_none_was_kept(run_result, tmp_path, changes):
    write_run(replace(run_result, subtracted=replace(run_result.subtracted, **changes)), tmp_path)
    document = RunDocument.model_validate_json((tmp_path / "analysis.json").read_bytes())
    words = " ".join(run_methods(document))
    assert "Motion was not corrected." in words
    assert "Motion correction took" not in words
    assert not list(tmp_path.glob("before.png")) + list(tmp_path.glob("after.png"))


def test_frames_that_served_no_mask_are_not_called_one(run_result):
    spatial = replace(run_result, subtracted=replace(run_result.subtracted, background=Background.SPATIAL))
    assert "made the mask" not in " ".join(run_methods(RunDocument.model_validate(run_document(spatial))))


def _with_motion(result: RunResult, **changes: object) -> RunDocument:
    motion = replace(result.subtracted.motion, **changes)
    return RunDocument.model_validate(
        run_document(replace(result, subtracted=replace(result.subtracted, motion=motion)))
    )


def test_the_correction_used_is_written_down(run_result):
    cut = _with_motion(run_result).subtraction
    assert (cut.correction, cut.mask_scope) == ("automatic", "patch")
    assert cut.residual_layers.shift[0] == 0.02
    assert cut.residual_layers.masks[3] is None
    assert set(cut.mask_shift_px) == {(0.0, 0.0)}


def test_a_shift_by_hand_is_told_with_its_size(run_result):
    count = len(run_result.subtracted.frames)
    shift = np.tile((1.5, -0.25), (count, 1))
    document = _with_motion(run_result, correction=Correction.HAND, mask_shift_px=shift)
    words = " ".join(run_methods(document))
    assert "Moving the mask by (1.5, -0.25) px, as given by hand, in place of motion correction took" in words


def test_a_shift_of_the_file_is_told_as_where_the_correction_began(run_result):
    count = len(run_result.subtracted.frames)
    shift = np.where(np.arange(count)[:, None] < 5, 0.0, (2.0, 0.0))
    words = " ".join(run_methods(_with_motion(run_result, mask_shift_px=shift)))
    assert "which also tried the mask shift of the file ((2, 0) px)" in words


@pytest.mark.slow
def test_no_correction_claims_no_change(run_result, tmp_path):
    motion = replace(run_result.subtracted.motion, correction=Correction.NONE)
    write_run(replace(run_result, subtracted=replace(run_result.subtracted, motion=motion)), tmp_path)
    document = RunDocument.model_validate_json((tmp_path / "analysis.json").read_bytes())
    assert "Motion was not corrected." in " ".join(run_methods(document))
    assert not (tmp_path / "before.png").exists()


def test_denoising_is_told(run_result):
    assert "Noise" not in " ".join(run_methods(_with_motion(run_result)))
    quiet = replace(run_result, subtracted=replace(run_result.subtracted, denoised=True))
    assert "Noise that no course over time explains" in " ".join(
        run_methods(RunDocument.model_validate(run_document(quiet)))
    )


def test_the_graph_holds_every_branchs_measures_in_both_units(folder, run_result):
    spacing = run_result.run.spacing.mean_mm
    graph = json.loads((folder / "graph.json").read_text())
    for written, measured in zip(graph["branches"], run_result.measures, strict=True):
        assert written["strahler_order"] == measured.strahler_order
        assert written["length_mm"] == pytest.approx(spacing * measured.length_px, rel=1e-3)
        assert written["mean_diameter_mm"] == pytest.approx(spacing * measured.diameter_px, rel=1e-3)
    first, last = graph["branches"][0], graph["branches"][-1]
    assert first["velocity_mm_s"] == pytest.approx(spacing * run_result.measures[0].velocity_px_s, rel=1e-3)
    low, high = first["velocity_interval_mm_s"]
    assert low < first["velocity_mm_s"] < high
    assert (last["velocity_px_s"], last["velocity_interval_px_s"], last["velocity_state"]) == (None, None, "unresolved")


def test_oblong_pixels_scale_a_branch_by_the_way_it_runs(run_maker):
    oblong = replace(run_maker().run.spacing, row_mm=0.6, col_mm=0.3)
    result = run_maker(spacing=oblong)
    for branch, written in zip(result.graph.branches, graph_document(result).branches, strict=True):
        true = np.linalg.norm(np.diff(branch.centreline, axis=0) * (0.6, 0.3), axis=1).sum()
        assert written.length_mm == pytest.approx(true, rel=1e-3)


@pytest.mark.parametrize("changes", [{"spacing": None}, {"quality": Quality.TIMES_UNKNOWN}], ids=["scale", "times"])
def test_what_the_file_does_not_give_is_null_in_every_measure(run_maker, changes):
    branch = graph_document(run_maker(**changes)).branches[0]
    assert branch.velocity_mm_s is None
    assert branch.tortuosity is not None
    if "quality" in changes:
        assert branch.velocity_px_s is None
        assert branch.arrival_start_s is None
        assert branch.velocity_state == "not timed"
    else:
        assert branch.length_mm is None
        assert branch.velocity_px_s is not None
