"""Examples: made once, from seed and number alone, and what the pipeline refuses is told and left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from angio_pipeline.simulate.truth import RunTruth
from angio_pipeline.training import examples as module
from angio_pipeline.training import packing
from angio_pipeline.training.examples import (
    RUN_NAMES,
    Label,
    TumourLabels,
    example_paths,
    load_labels,
    load_subtracted,
    load_tumours,
    make_examples,
)
from angio_pipeline.training.packing import CENTRELINE, Packed, load_packed_tumours, pack_run, packed_paths
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


# Where the two branches of the scene's Y fork and end, and the way of the catheter up to there.
FORK, LEFT_END, RIGHT_END = (150.0, 128.0), (70.0, 70.0), (80.0, 200.0)
TRUNK = ((236.0, 128.0), (190.0, 128.0))


def _feeder(*line: tuple[float, float], starts: tuple[float, float] = FORK) -> dict[str, Any]:
    return {"centreline": [*TRUNK, *line], "branch_start": starts, "contribution": 1.0}


def _told(name: str, feeders: Sequence[dict[str, Any]] = (), faint: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    return {"id": name, "kind": "hypervascular", "feeders": list(feeders), "faint_feeders": list(faint)}


def _truth(
    tumours: dict[str, np.ndarray], told: Sequence[dict[str, Any]], artery: np.ndarray | None = None
) -> RunTruth:
    """Return the truth of a run that shows arteries, and tumours of which those that are told of are seen."""
    nothing = np.zeros(next(iter(tumours.values())).shape, bool)
    return RunTruth(
        artery=nothing if artery is None else artery,
        vein=nothing,
        ignore=nothing,
        catheter=nothing,
        tumours=tumours,
        arrival_s=np.zeros(nothing.shape, np.float32),
        document={"tumours": list(told)},
    )


@pytest.fixture(scope="module")
def truth(still_scene) -> RunTruth:
    """The Y's truth: its tumour, one that is not seen, and one that lies upon the first and is told of before it."""
    unseen, upon = np.zeros((2, 256, 256), bool)
    unseen[200:220, 30:50] = upon[40:60, 70:90] = True
    told = (
        _told("T3", [_feeder(FORK, RIGHT_END)], [_feeder(FORK, (100.0, 60.0)), _feeder(FORK, (160.0, 30.0))]),
        _told("T1", [_feeder(FORK, (110.0, 99.0), LEFT_END)]),
    )
    return _truth({"T1": still_scene.tumour, "T2": unseen, "T3": upon}, told, still_scene.artery)


@pytest.fixture(scope="module")
def kept(
    still_scene, truth: RunTruth, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, SubtractedRun, np.ndarray]:
    """A subtracted Y of vessels with its labels and tumours, as an example keeps it."""
    run = still_scene.run
    sub = subtract(run, choose_mask(run, params=MaskParams()), params=SubtractParams())
    labels = module._labels(truth)
    path = tmp_path_factory.mktemp("examples") / "00000-frontal.npz"
    module._save(path, labels=labels, **module._tumour_arrays(truth), **module._subtracted_arrays(sub))
    return path, sub, labels


@pytest.mark.slow
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


def test_labels_tell_the_tumours_that_are_seen_from_those_that_are_not(kept, truth: RunTruth) -> None:
    labels = kept[2]
    np.testing.assert_array_equal((labels & Label.ARTERY) > 0, truth.artery)
    np.testing.assert_array_equal((labels & Label.BLUSH) > 0, truth.tumours["T1"] | truth.tumours["T3"])
    np.testing.assert_array_equal((labels & Label.BLUSH_UNSURE) > 0, truth.tumours["T2"])


def test_tumours_that_are_seen_are_read_in_the_order_they_were_told_in(kept, truth: RunTruth) -> None:
    upon, below = load_tumours(kept[0])
    assert (upon.mask & below.mask).any()
    np.testing.assert_array_equal(upon.mask, truth.tumours["T3"])
    np.testing.assert_array_equal(below.mask, truth.tumours["T1"])
    assert [(len(one.feeders), len(one.faint)) for one in (upon, below)] == [(1, 2), (1, 0)]


def test_a_feeder_is_the_part_that_feeds_the_tumour_alone(kept) -> None:
    upon, below = load_tumours(kept[0])
    for line, end in zip((*upon.feeders, *below.feeders), (RIGHT_END, LEFT_END), strict=True):
        assert tuple(line[0]) == FORK
        assert tuple(line[-1]) == end
        steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
        assert steps.max() <= 0.5 + 1e-9
        assert steps.sum() == pytest.approx(np.hypot(*np.subtract(end, FORK)), rel=0.01)
    assert [tuple(line[-1]) for line in upon.faint] == [(100.0, 60.0), (160.0, 30.0)]


def test_of_very_many_tumours_the_first_sixteen_are_kept(tmp_path: Path) -> None:
    masks = {f"T{k + 1}": np.arange(400).reshape(20, 20) // 20 == k for k in range(18)}
    told = [_told(name, [_feeder(FORK, (float(k), 0.0))]) for k, name in enumerate(masks)]
    module._save(tmp_path / "many.npz", **module._tumour_arrays(_truth(masks, told)))
    read = load_tumours(tmp_path / "many.npz")
    assert len(read) == 16
    for k, tumour in enumerate(read):
        np.testing.assert_array_equal(tumour.mask, masks[f"T{k + 1}"])
        assert tuple(tumour.feeders[0][-1]) == (k, 0)


def test_where_no_tumour_is_seen_none_is_read(tmp_path: Path) -> None:
    unseen = _truth({"T1": np.ones((20, 20), bool)}, ())
    module._save(tmp_path / "none.npz", **module._tumour_arrays(unseen))
    assert load_tumours(tmp_path / "none.npz") == ()


@pytest.fixture(scope="module")
def packed(kept, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return pack_run(kept[0], tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module")
def packed_arrays(packed: Packed) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def test_packed_tumours_are_those_of_the_example_in_its_order_at_the_working_size(packed, truth: RunTruth) -> None:
    tumours = load_packed_tumours(packed, WORKING_PX)
    assert tumours.shape == (2, 3, WORKING_PX, WORKING_PX)
    for packed_one, name in zip(tumours, ("T3", "T1"), strict=True):
        np.testing.assert_array_equal(packed_one[0], np.kron(truth.tumours[name], np.ones((2, 2), bool)))


def _away(from_px: tuple[float, float], to_px: tuple[float, float]) -> np.ndarray:
    """Return how far each pixel of the working size is from a line between pixels of the run, which is half as wide."""
    at = np.stack(np.mgrid[:WORKING_PX, :WORKING_PX], axis=-1)
    first, last = (2 * np.array(end) + 0.5 for end in (from_px, to_px))
    along = np.clip((at - first) @ (last - first) / ((last - first) @ (last - first)), 0, 1)
    return np.linalg.norm(at - first - along[..., None] * (last - first), axis=-1)


def test_feeders_are_packed_where_they_are_and_hardly_wider_than_a_vessel(packed) -> None:
    upon, below = load_packed_tumours(packed, WORKING_PX)
    for drawn, ends in ((upon[1], (RIGHT_END,)), (below[1], (LEFT_END,)), (upon[2], ((100.0, 60.0), (160.0, 30.0)))):
        away = np.min([_away(FORK, end) for end in ends], axis=0)
        assert drawn[away < 1.4].all()
        assert not drawn[away > 3].any()
    assert not below[2].any()


def test_packed_feeders_lie_in_the_arteries_of_the_pictures(packed, packed_arrays) -> None:
    pictures, labels, _ = packed_arrays
    arterial = pictures[CHANNELS.index("arterial")].astype(np.float32)
    for _, feeder, _ in load_packed_tumours(packed, WORKING_PX):
        assert ((labels[feeder] & Label.ARTERY) > 0).mean() > 0.97
        # Moved by a vessel's breadth, it lies beside them.
        moved = [np.roll(feeder, shift, axis=1) for shift in (-16, 16)]
        assert all(arterial[feeder].mean() > 1.5 * arterial[aside].mean() for aside in moved)


def test_a_run_larger_than_the_working_size_is_packed_smaller_its_sides_each_by_their_own_scale() -> None:
    mask = np.zeros((80, 120), bool)
    mask[20:60, 30:90] = True
    line = np.array([[10.0, 15.0], [70.0, 105.0]])
    ((tumour, feeder, faint),) = packing._tumours_at((TumourLabels(mask, (line,), ()),), (40, 40))
    assert tumour[10:30, 10:30].all()
    assert tumour.sum() == 400
    rows, columns = np.nonzero(feeder)
    assert np.abs(rows - columns).max() <= 3
    assert (rows.min(), rows.max()) == (pytest.approx(5, abs=2), pytest.approx(35, abs=2))
    assert not faint.any()


def test_a_tumour_that_the_working_size_has_no_pixel_of_is_left_out() -> None:
    line = np.array([[10.0, 15.0], [50.0, 55.0]])
    edge, body = np.zeros((2, 64, 64), bool)
    edge[63, 63] = body[20:30, 20:30] = True
    tumours = packing._tumours_at([TumourLabels(mask, (line,), ()) for mask in (edge, body)], (32, 32))
    assert [int(one[0].sum()) for one in tumours] == [25]


@pytest.mark.parametrize("missing", ["frame", "tumours"])
def test_what_is_packed_already_is_left_as_it_is_and_what_is_not_whole_is_packed(
    kept, tmp_path: Path, missing: str
) -> None:
    packed = packed_paths(tmp_path, kept[0])
    for path in (packed.pictures, packed.labels, packed.frame, packed.tumours):
        assert not packed.complete
        path.write_bytes(b"as it was")
    assert pack_run(kept[0], tmp_path) == packed
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"as it was"}
    getattr(packed, missing).unlink()
    assert pack_run(kept[0], tmp_path).complete
    assert len(load_packed_tumours(packed, WORKING_PX)) == 2
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
