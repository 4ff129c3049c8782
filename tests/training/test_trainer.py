"""From a recipe to weights: what is written can be used, and is written once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from angio_pipeline.core.errors import AngioError, ConfigError
from angio_pipeline.networks.definition import SmallUNet, network_of
from angio_pipeline.networks.feeders import FEEDER_CHANNELS
from angio_pipeline.networks.weights import Architecture, LoadedModel, load_model
from angio_pipeline.training import trainer
from angio_pipeline.training.batches import FEEDER_CLASSES, FRAME_CLASSES, RUN_CLASSES, targets_of
from angio_pipeline.training.examples import Label
from angio_pipeline.training.feeder_batches import feeder_pictures
from angio_pipeline.training.packing import CENTRELINE, Packed
from angio_pipeline.training.recipe import DataParams, Recipe
from angio_pipeline.vessels import CHANNELS, WORKING_PX


def _fed(labels: np.ndarray) -> np.ndarray:
    """Return (1, 3, h, w): the blush, fed by the upright artery, and by the one that lies if that is seen."""
    blush, line = (labels & Label.BLUSH) > 0, (labels & CENTRELINE) > 0
    upright = line & (np.arange(labels.shape[1]) < 18)
    return np.stack([blush, upright, line & ~upright])[None]


@pytest.fixture
def patients(tmp_path: Path, scene, pack, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Packed], list[Packed]]:
    """Packed examples to learn from and held out, which stand in for those that `prepare` makes."""
    folder = tmp_path / "packed"
    found = tuple(
        [pack(folder, scene(shift=k), f"{k:05d}-{name}", tumours=_fed(scene(shift=k))) for k in range(count)]
        for name, count in (("frontal", 6), ("held", 3))
    )
    monkeypatch.setattr(trainer, "prepare", lambda data, place, *, workers, progress: found)
    return found


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A folder of two images of a dark bar."""
    folder = tmp_path / "real"
    folder.mkdir()
    truth = np.zeros((WORKING_PX, WORKING_PX), np.uint8)
    truth[200:210, 30:480] = 255
    for name in ("1", "2"):
        cv2.imwrite(str(folder / f"{name}.png"), 150 - truth // 3)
        cv2.imwrite(str(folder / f"{name}_gt.png"), truth)
    return folder


REAL = {"share": 0.5, "train": ("1",), "calibrate": ("2",), "held_out": ("9",)}


def _loaded(path: Path) -> LoadedModel:
    """Return the network as a user loads it, through a manifest that holds the digest of the summary."""
    digest = json.loads((path.parent / "summary.json").read_text())["sha256"]
    (path.parent / "manifest.toml").write_text(
        'schema = "angio-pipeline/models/1"\n[[model]]\n'
        f'name = "{path.stem}"\nfile = "{path.name}"\nsha256 = "{digest}"\n'
        'licence = "Apache-2.0"\ntraining_data = "none"\ncard = "none"\n'
    )
    return load_model(path.stem, path.parent)


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "classes"), [("run", RUN_CLASSES), ("frame", FRAME_CLASSES), ("feeder", FEEDER_CLASSES)]
)
def test_weights_are_read_back_as_the_network_that_was_trained(
    patients, tiny_recipe, tmp_path: Path, kind: str, classes: tuple[str, ...]
) -> None:
    path = trainer.train(tiny_recipe(kind), tmp_path / "out")
    model = _loaded(path)
    assert (model.architecture.kind, model.architecture.classes) == (kind, classes)
    state = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["averaged"]
    for key, value in network_of(model.tensors).state_dict().items():
        assert torch.equal(value, state[f"module.{key}"])


@pytest.mark.slow
def test_the_summary_tells_what_the_weights_hold(patients, tiny_recipe, tmp_path: Path) -> None:
    path = trainer.train(tiny_recipe(), tmp_path / "out")
    told = json.loads((tmp_path / "out" / "summary.json").read_text())
    calibration = _loaded(path).calibration
    assert (told["examples"], told["held_out"]) == (6, 3)
    assert told["parameters"] == sum(p.numel() for p in network_of(_loaded(path).tensors).parameters())
    for k, name in enumerate(RUN_CLASSES):
        assert told["thresholds"][name] == pytest.approx(float(calibration.threshold[k]))
        assert told["calibration"][name] == pytest.approx([calibration.scale[k], calibration.offset[k]])


@pytest.mark.slow
def test_every_held_out_pixel_that_is_known_is_counted_once(patients, tiny_recipe, tmp_path: Path) -> None:
    trainer.train(tiny_recipe(), tmp_path / "out")
    curves = json.loads((tmp_path / "out" / "summary.json").read_text())["reliability"]
    known = sum(targets_of(np.load(one.labels))[1].sum(axis=(1, 2)) for one in patients[1])
    assert [sum(count for _, _, count in curves[name]) for name in RUN_CLASSES] == known.astype(int).tolist()


@pytest.mark.slow
def test_every_held_out_tumour_is_counted_once_in_what_is_about_it(patients, tiny_recipe, tmp_path: Path) -> None:
    path = trainer.train(tiny_recipe("feeder"), tmp_path / "out")
    assert _loaded(path).architecture.channels == FEEDER_CHANNELS
    (curve,) = json.loads((tmp_path / "out" / "summary.json").read_text())["reliability"].values()
    known = sum(int(picture[2].sum()) for one in patients[1] for picture in feeder_pictures(one))
    assert sum(count for _, _, count in curve) == known
    header = (tmp_path / "out" / "validation.csv").read_text().splitlines()[0]
    assert header == "step,dice_feeder,seconds"


def test_examples_without_a_tumour_take_no_part_in_the_training_of_a_feeder_network(
    patients, tiny_recipe, scene, pack, tmp_path: Path
) -> None:
    without = trainer.train(tiny_recipe("feeder"), tmp_path / "without")
    none = [pack(tmp_path / "packed", scene(), f"{k:05d}-none") for k in range(2)]
    patients[0].insert(2, none[0])
    patients[1].insert(1, none[1])
    beside = trainer.train(tiny_recipe("feeder"), tmp_path / "beside")
    told = json.loads((tmp_path / "beside" / "summary.json").read_text())
    assert (told["examples"], told["held_out"]) == (7, 4)
    before = load_file(without)
    for key, value in load_file(beside).items():
        if key.startswith("network."):
            torch.testing.assert_close(value, before[key], rtol=1e-4, atol=1e-6)


def test_held_out_pictures_are_familiar_to_the_network(patients, tiny_recipe, tmp_path: Path) -> None:
    recipe = tiny_recipe()
    model = _loaded(trainer.train(recipe, tmp_path / "out"))
    for one in patients[1]:
        with torch.inference_mode():
            _, description = network_of(model.tensors)(torch.from_numpy(np.load(one.pictures).astype(np.float32)[None]))
        assert model.calibration.distance(description[0].numpy()) <= model.calibration.limit


def test_the_same_call_again_changes_nothing(patients, tiny_recipe, tmp_path: Path) -> None:
    first = trainer.train(tiny_recipe(), tmp_path / "out")
    before = _content(tmp_path / "out")
    assert trainer.train(tiny_recipe(), tmp_path / "out") == first
    assert _content(tmp_path / "out") == before


def test_the_same_recipe_gives_the_same_weights_in_another_folder(patients, tiny_recipe, tmp_path: Path) -> None:
    one, other = (load_file(trainer.train(tiny_recipe(), tmp_path / name)) for name in ("one", "other"))
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("change", [{"widths": (4, 12)}, {"loop": {"steps": 5}}, {"name": "another"}])
def test_a_folder_holds_one_recipe(patients, tiny_recipe, tmp_path: Path, change: dict[str, Any]) -> None:
    trainer.train(tiny_recipe(), tmp_path / "out")
    before = _content(tmp_path / "out")
    with pytest.raises(ConfigError, match="found another; name another folder"):
        trainer.train(tiny_recipe(**change), tmp_path / "out")
    assert _content(tmp_path / "out") == before


@pytest.mark.slow
def test_real_images_are_looked_at_while_training(patients, real: Path, tiny_recipe, tmp_path: Path) -> None:
    trainer.train(tiny_recipe("frame", real=REAL), tmp_path / "out", real=real)
    header = (tmp_path / "out" / "validation.csv").read_text().splitlines()[0]
    assert header == "step,dice_vessel,dice_centreline,dice_real,seconds"


@pytest.mark.parametrize("given", [None, "nowhere"])
def test_a_recipe_that_learns_from_real_images_asks_for_them_before_it_simulates(
    tiny_recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    def never(*given: object, **options: object) -> None:
        raise AssertionError

    monkeypatch.setattr(trainer, "prepare", never)
    with pytest.raises(ConfigError, match="Expected --real FOLDER"):
        trainer.train(tiny_recipe("frame", real=REAL), tmp_path / "out", real=given and tmp_path / given)


def test_a_training_goes_on_from_the_weights_of_the_recipe_it_names(patients, tiny_recipe, tmp_path: Path) -> None:
    before = load_file(trainer.train(tiny_recipe(), tmp_path / "tiny-run"))
    # Hardly a step further, it must still be where the other one ended.
    slow = {"steps": 1, "learning_rate": 1e-9, "weight_decay": 0.0, "average": 0.0, "seed": 77}
    after = load_file(trainer.train(tiny_recipe(name="later", start_from="tiny-run", loop=slow), tmp_path / "later"))
    weights = [key for key in before if key.startswith("network.") and key.endswith("weight")]
    assert weights
    for key in weights:
        torch.testing.assert_close(after[key], before[key], rtol=0, atol=1e-6)


def test_a_feeder_network_goes_on_from_a_run_network_and_first_passes_over_the_tumour(
    patients, tiny_recipe, tmp_path: Path
) -> None:
    before = load_file(trainer.train(tiny_recipe(), tmp_path / "tiny-run"))
    slow = {"steps": 1, "learning_rate": 1e-9, "weight_decay": 0.0, "average": 0.0, "seed": 77}
    recipe = tiny_recipe("feeder", start_from="tiny-run", loop=slow)
    after = load_file(trainer.train(recipe, tmp_path / "tiny-feeder"))
    assert after["network.head.weight"].shape[0] == len(FEEDER_CLASSES)
    seen_by = ("network.down.0.first.weight", "network.down.0.skip.weight")
    for key in seen_by:
        run, tumour = after[key].split([len(CHANNELS), 1], dim=1)
        torch.testing.assert_close(run, before[key], rtol=0, atol=1e-6)
        assert tumour.abs().max() < 1e-6
    within = [key for key in before if key.endswith("weight") and "head" not in key and key not in seen_by]
    assert within
    for key in within:
        torch.testing.assert_close(after[key], before[key], rtol=0, atol=1e-6)


def _architecture(channels: str, classes: int = 2, widths: tuple[int, ...] = (4, 8)) -> Architecture:
    """Return what a network is made from whose inputs are the letters."""
    names = tuple(f"class-{k}" for k in range(classes))
    return Architecture(kind="frame", channels=tuple(channels), classes=names, widths=widths, working_px=64)


def _begun(after: Architecture, path: Path, seed: int = 9) -> SmallUNet:
    torch.manual_seed(seed)
    network = after.build()
    trainer._start_from(network, after, path)
    return network.eval()


@pytest.mark.parametrize("channels", ["abc", "abcde", "abcdef", "axbyc", "xyabc", "cab"])
def test_inputs_that_were_not_given_before_count_for_nothing_wherever_they_stand(models, channels: str) -> None:
    path = models.add("before", channels=tuple("abc"), classes=("class-0", "class-1"))
    before = network_of(load_model("before", models.folder).tensors).eval()
    network = _begun(_architecture(channels), path)
    shown = torch.randn(2, len(channels), 16, 16, generator=torch.Generator().manual_seed(1))
    as_before = shown[:, [channels.index(name) for name in "abc"]]
    with torch.inference_mode():
        for told, expected in zip(network(shown), before(as_before), strict=True):
            torch.testing.assert_close(told, expected, rtol=1e-5, atol=1e-6)


def test_inputs_that_were_not_given_before_are_learned_from(models) -> None:
    path = models.add("before", channels=tuple("abc"), classes=("class-0", "class-1"))
    network = _begun(_architecture("abcxy"), path)
    logits, _ = network(torch.randn(1, 5, 16, 16, generator=torch.Generator().manual_seed(1)))
    torch.autograd.backward(logits.sum())
    gradient = network.get_parameter("down.0.first.weight").grad
    assert gradient is not None
    assert (gradient[:, 3:].abs().amax(dim=(0, 2, 3)) > 0).all()


def test_other_classes_begin_anew_and_what_is_seen_stays(models) -> None:
    path = models.add("before", channels=tuple("abc"), classes=("class-0", "class-1"))
    before = network_of(load_model("before", models.folder).tensors).eval()
    one, other = (_begun(_architecture("abc", classes=1), path, seed) for seed in (1, 2))
    shown = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        (logits, description), (others, _), (_, expected) = one(shown), other(shown), before(shown)
    assert logits.shape == (1, 1, 16, 16)
    assert not torch.equal(logits, others)
    torch.testing.assert_close(description, expected)


@pytest.mark.parametrize(
    ("channels", "widths"),
    [
        ("abc", (4, 12)),
        ("abc", (8, 8)),
        ("abcd", (8, 8)),
        ("abcde", (2, 8)),
        ("abc", (4, 8, 8)),
        ("abc", (4, 4)),
        ("ab", (4, 8)),
        ("abd", (4, 8)),
        ("abcd", (4, 8)),
    ],
)
def test_a_network_of_other_widths_or_of_inputs_that_are_not_given_is_not_gone_on_from(
    models, channels: str, widths: tuple[int, ...]
) -> None:
    path = models.add("before", channels=tuple("abc"), classes=("class-0", "class-1"))
    with pytest.raises(ConfigError, match=r"Expected before\.safetensors to be of the same widths"):
        _begun(_architecture(channels, widths=widths), path)


def test_what_is_gone_on_from_has_to_be_trained_first(patients, tiny_recipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="train 'tiny-run' first"):
        trainer.train(tiny_recipe(name="later", start_from="tiny-run"), tmp_path / "later")


def test_steps_are_told_as_they_are_done(patients, tiny_recipe, tmp_path: Path) -> None:
    told = []
    trainer.train(tiny_recipe(), tmp_path / "out", progress=lambda *values: told.append(values))
    assert told[0] == ("steps", 2, 4)
    assert told[-1] == ("steps", 4, 4)


@pytest.fixture
def made(tmp_path: Path, scene, pack) -> Callable[..., DataParams]:
    """Return a maker of patients that are complete and packed already, so that nothing is simulated."""

    def make(learn: int = 3, hold: int = 2, refused: tuple[int, ...] = ()) -> DataParams:
        for seed, count in ((7, learn), (8, hold)):
            examples = tmp_path / "data" / f"examples-{seed}"
            examples.mkdir(parents=True)
            for number in range(count):
                (examples / f"{number:05d}.json").write_text("{}")
                if number not in refused:
                    (examples / f"{number:05d}-post.npz").write_bytes(b"")
                    pack(tmp_path / "data" / f"packed-{seed}", scene(shift=number % 20), f"{number:05d}-post")
        return DataParams(seed=7, patients=learn, runs_each=1, held_out_seed=8, held_out_patients=hold)

    return make


def _here(jobs, workers):
    return (trainer._make(job) for job in jobs)


def _names(found: list[Packed]) -> list[str]:
    return [f"{one.labels.parent.name}/{one.labels.name.partition('.')[0]}" for one in found]


def test_examples_come_in_the_order_of_patients_whichever_was_ready_first(made, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(trainer, "_made", lambda jobs, workers: _here(list(jobs)[::-1], workers))
    learn, hold = trainer.prepare(made(), tmp_path / "data", workers=1, progress=lambda *values: None)
    assert _names(learn) == [f"packed-7/0000{k}-post" for k in range(3)]
    assert _names(hold) == [f"packed-8/0000{k}-post" for k in range(2)]


def test_patients_are_told_as_they_are_done_and_no_complete_one_is_touched(made, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(trainer, "_made", _here)
    data, told = made(), []
    trainer.prepare(data, tmp_path / "data", workers=1, progress=lambda *values: None)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.*")}
    trainer.prepare(data, tmp_path / "data", workers=1, progress=lambda *values: told.append(values))
    assert told == [("patients", done, 5) for done in range(1, 6)]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.*")} == before


def test_examples_of_other_settings_are_not_taken_for_ours(made, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(trainer, "_made", _here)
    data = made()
    trainer.prepare(data, tmp_path / "data", workers=1, progress=lambda *values: None)
    other = data.model_copy(update={"preset_shares": {"easy": 1.0}})
    with pytest.raises(ConfigError, match="Expected examples-7 to be of these settings and this version"):
        trainer.prepare(other, tmp_path / "data", workers=1, progress=lambda *values: None)


def test_a_patient_of_whom_every_run_was_refused_is_left_out(made, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(trainer, "_made", _here)
    learn, hold = trainer.prepare(made(refused=(1,)), tmp_path / "data", workers=1, progress=lambda *values: None)
    assert _names(learn) == ["packed-7/00000-post", "packed-7/00002-post"]
    assert _names(hold) == ["packed-8/00000-post"]


def test_from_no_example_nothing_is_trained(made, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(trainer, "_made", _here)
    with pytest.raises(AngioError, match="found none"):
        trainer.prepare(made(refused=(0, 1, 2)), tmp_path / "data", workers=1, progress=lambda *values: None)


@pytest.mark.slow
def test_a_recipe_is_trained_from_examples_that_lie_on_disk(made, tiny_recipe, tmp_path: Path) -> None:
    data = made(learn=4).model_dump()
    recipe: Recipe = tiny_recipe(data=data)
    path = trainer.train(recipe, tmp_path / "out", data=tmp_path / "data", workers=1)
    assert _loaded(path).name == "tiny-run"
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["examples"] == 4
    assert not (tmp_path / "out" / "data").exists()


@pytest.mark.parametrize("place", [*trainer._MAKES_EXAMPLES, *trainer._MAKES_PICTURES])
def test_a_change_in_whatever_makes_examples_changes_their_digest(tmp_path: Path, monkeypatch, place: str) -> None:
    original = Path(trainer.angio_pipeline.__file__).parent / place
    file = tmp_path / place if original.is_file() else tmp_path / place / "deep" / "one.py"
    file.parent.mkdir(parents=True)
    file.write_text("ONE = 1\n")
    monkeypatch.setattr(trainer.angio_pipeline, "__file__", str(tmp_path / "__init__.py"))
    before = trainer.code_digest(place)
    file.write_text("ONE = 2\n")
    assert original.exists()
    assert trainer.code_digest(place) != before
