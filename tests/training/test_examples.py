"""Examples: made once, from seed and number alone, and what the pipeline refuses is told and left out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.runs import SubtractedRun
from angio_pipeline.dsa import MaskParams, SubtractParams, choose_mask, subtract
from angio_pipeline.simulate import load_preset
from angio_pipeline.training import examples as module
from angio_pipeline.training.examples import (
    RUN_NAMES,
    Label,
    example_paths,
    load_labels,
    load_subtracted,
    make_examples,
)
from angio_pipeline.training.packing import CENTRELINE, pack_run, packed_paths
from angio_pipeline.vessels import CHANNELS, WORKING_PX

SHARES = {"clinical": 0.5, "easy": 0.5}


@dataclass
class Bench:
    """Stands in for the simulator: says for which patients and runs it was asked."""

    asked: list[tuple[str, str, str]] = field(default_factory=list)
    refuses: tuple[str, ...] = ()

    def make(self, path: Path, patient: Any, name: str, config: Any) -> dict[str, Any]:
        if name in self.refuses:
            raise AngioError("Expected a run, found none.", reason="no_run")
        self.asked.append((repr(patient.case), patient.params.model_dump_json(), name))
        path.write_bytes(repr(self.asked[-1]).encode())
        return {"reference_frame": 3}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    stand_in = Bench()
    monkeypatch.setattr(module, "make_patient", lambda case, params: SimpleNamespace(case=case, params=params))
    monkeypatch.setattr(module, "_make_example", stand_in.make)
    return stand_in


def _make(folder: Path, *, seed: int = 3, number: int = 0, **options: Any) -> tuple[Path, ...]:
    return make_examples(folder, seed=seed, number=number, preset_shares=SHARES, **options)


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_example_is_the_same_whatever_was_made_before_it(bench: Bench, tmp_path: Path) -> None:
    for number in range(4):
        _make(tmp_path / "all", number=number)
    _make(tmp_path / "one", number=2)
    one = _content(tmp_path / "one")
    assert len(one) == 3
    assert {name: text for name, text in _content(tmp_path / "all").items() if name in one} == one


def test_other_seeds_and_other_numbers_are_other_patients(bench: Bench, tmp_path: Path) -> None:
    for seed in (3, 4):
        for number in range(3):
            _make(tmp_path / str(seed), seed=seed, number=number, runs=1)
    assert len({(case, params) for case, params, _ in bench.asked}) == 6


def test_a_patient_that_is_complete_is_left_as_it_is(bench: Bench, tmp_path: Path) -> None:
    paths = _make(tmp_path)
    before = _content(tmp_path)
    bench.refuses = RUN_NAMES
    assert _make(tmp_path) == paths
    assert _content(tmp_path) == before


def test_a_patient_that_was_stopped_half_way_is_made_again(bench: Bench, tmp_path: Path) -> None:
    paths = _make(tmp_path)
    before = _content(tmp_path)
    (tmp_path / "00000.json").unlink()
    paths[0].write_bytes(b"half")
    assert _make(tmp_path) == paths
    assert _content(tmp_path) == before


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_as_many_runs_are_made_as_were_asked_for_none_of_them_twice(bench: Bench, tmp_path: Path, runs: int) -> None:
    for number in range(8):
        assert len(_make(tmp_path, number=number, runs=runs)) == runs
    assert {name for _, _, name in bench.asked} == set(RUN_NAMES)


def test_what_is_refused_is_told_and_leaves_no_example(bench: Bench, tmp_path: Path) -> None:
    bench.refuses = ("oblique",)
    paths = _make(tmp_path, runs=3)
    assert [path.stem for path in paths] == ["00000-frontal", "00000-post"]
    told = json.loads((tmp_path / "00000.json").read_text())
    assert told["00000-oblique.npz"] == {"refused": "no_run"}
    assert told["00000-post.npz"] == {"reference_frame": 3}


def test_held_out_patients_are_treated_as_their_preset_says(bench: Bench, tmp_path: Path) -> None:
    for number in range(8):
        _make(tmp_path, number=number, runs=1, randomised=False)
    assert {params for _, params, _ in bench.asked} == {load_preset(name).model_dump_json() for name in SHARES}


def test_paths_are_those_of_one_patient(tmp_path: Path) -> None:
    for name in ("00001-frontal.npz", "00001-post.npz", "00011-post.npz", "00001.json", "00001-oblique.unfinished"):
        (tmp_path / name).touch()
    assert [path.name for path in example_paths(tmp_path, 1)] == ["00001-frontal.npz", "00001-post.npz"]
    assert example_paths(tmp_path, 2) == ()


@pytest.fixture(scope="module")
def kept(still_scene, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SubtractedRun, np.ndarray]:
    """A subtracted Y of vessels with its labels, as an example keeps it."""
    run = still_scene.run
    sub = subtract(run, choose_mask(run, params=MaskParams()), params=SubtractParams())
    labels = np.where(still_scene.artery, Label.ARTERY, 0) | np.where(still_scene.tumour, Label.BLUSH, 0)
    path = tmp_path_factory.mktemp("examples") / "00000-frontal.npz"
    module._save(path, labels=labels.astype(np.uint8), **module._subtracted_arrays(sub))
    return path, sub, labels.astype(np.uint8)


def test_a_run_is_read_as_it_was_kept_to_half_precision(kept: tuple[Path, SubtractedRun, np.ndarray]) -> None:
    path, sub, labels = kept
    read = load_subtracted(path)
    for name in ("frames", "attenuation", "uncorrected"):
        np.testing.assert_allclose(getattr(read, name), getattr(sub, name), rtol=1e-3, atol=1e-6)
    for name in ("times_s", "valid", "usable", "motion_px"):
        np.testing.assert_array_equal(getattr(read, name), getattr(sub, name))
    for name in ("mask_frames", "reference_frame", "background", "quality", "noise_sd"):
        assert getattr(read, name) == getattr(sub, name)
    np.testing.assert_array_equal(load_labels(path), labels)


@pytest.fixture(scope="module")
def packed_arrays(kept, tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    packed = pack_run(kept[0], tmp_path_factory.mktemp("packed"))
    return np.load(packed.pictures), np.load(packed.labels), np.load(packed.frame)


def test_packed_pictures_and_labels_lie_upon_each_other(packed_arrays) -> None:
    pictures, labels, _ = packed_arrays
    assert pictures.shape == (len(CHANNELS), *labels.shape)
    assert min(labels.shape) == WORKING_PX
    artery = (labels & Label.ARTERY) > 0
    arterial = pictures[CHANNELS.index("arterial")].astype(np.float32)
    nothing = (labels == 0) & (pictures[CHANNELS.index("valid")] > 0)
    assert np.median(arterial[artery]) > 3 * np.percentile(np.abs(arterial[nothing]), 90)
    # Shifted by a vessel's breadth it fits worse, whichever way.
    assert all(
        arterial[artery].mean() > 1.2 * arterial[np.roll(artery, shift, axis)].mean()
        for axis in (0, 1)
        for shift in (-16, 16)
    )


def test_the_centreline_lies_in_the_artery_and_is_a_pixel_broad(packed_arrays) -> None:
    _, labels, _ = packed_arrays
    line = (labels & CENTRELINE) > 0
    assert line.any()
    assert ((labels[line] & Label.ARTERY) > 0).all()
    # The trunk stands upright: one pixel in each of its rows.
    trunk = line[320:440]
    np.testing.assert_array_equal(trunk.sum(axis=1), 1)


def test_a_packed_frame_is_the_frame_its_contrast_and_how_far_that_is_above_noise(kept, packed_arrays) -> None:
    _, sub, _ = kept
    attenuation, contrast, over_noise = packed_arrays[2].astype(np.float32)
    np.testing.assert_allclose(attenuation, sub.attenuation, rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(contrast, sub.frames[sub.reference_frame], rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(over_noise * sub.noise_sd, contrast, rtol=2e-3, atol=1e-3)


def test_what_is_packed_already_is_left_as_it_is_and_what_is_not_whole_is_packed(
    kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = packed_paths(tmp_path, kept[0])
    for path in (packed.pictures, packed.labels, packed.frame):
        assert not packed.complete
        path.write_bytes(b"as it was")
    assert pack_run(kept[0], tmp_path) == packed
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"as it was"}
    packed.frame.unlink()
    assert pack_run(kept[0], tmp_path).complete
    assert np.load(packed.labels).dtype == np.uint8
    assert {path.suffix for path in tmp_path.iterdir()} == {".npy"}


@pytest.mark.slow
def test_an_easy_patient_becomes_an_example_whose_arteries_are_where_contrast_is(tmp_path: Path) -> None:
    made = make_examples(tmp_path / "a", seed=3, number=0, preset_shares={"easy": 1.0}, randomised=False, runs=1)
    again = make_examples(tmp_path / "b", seed=3, number=0, preset_shares={"easy": 1.0}, randomised=False, runs=1)
    (path,), (other,) = made, again
    sub, labels = load_subtracted(path), load_labels(path)
    np.testing.assert_array_equal(sub.frames, load_subtracted(other).frames)
    np.testing.assert_array_equal(labels, load_labels(other))
    artery = sub.valid & ((labels & Label.ARTERY) > 0)
    contrast = sub.frames[sub.reference_frame]
    nothing = sub.valid & (labels == 0)
    assert artery.any()
    assert np.median(contrast[artery]) > 4 * sub.noise_sd + np.median(contrast[nothing])
    assert set(json.loads((tmp_path / "a" / "00000.json").read_text())) == {path.name}
