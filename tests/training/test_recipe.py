"""Recipes: every one that the project carries loads, and nothing in one is passed over."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from angio_pipeline.assets import configs_dir
from angio_pipeline.core.errors import ConfigError
from angio_pipeline.simulate import load_preset
from angio_pipeline.training import load_recipe
from angio_pipeline.training.kinds import KINDS

RECIPES = sorted(path.stem for path in (configs_dir() / "training").glob("*.toml"))
SMALL = """
name = "small"
kind = "run"
widths = [4, 8]
[data]
seed = 1
patients = 1
held_out_seed = 2
[loss]
classes = [1, 1, 1, 1, 1]
[loop]
steps = 1
"""


@pytest.fixture(scope="module")
def kept_for_tests() -> set[int]:
    """Return the seeds that the benchmarks themselves use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
        networks, clinical = importlib.import_module("networks"), importlib.import_module("clinical")
    return {*networks.SEEDS.values(), clinical.Choice().seed}


def test_the_project_carries_recipes() -> None:
    assert {"run", "frame", "frame-simulation", "feeder"} <= set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_bears_the_name_of_its_file(name: str) -> None:
    assert load_recipe(name).name == name


@pytest.mark.parametrize("name", RECIPES)
def test_no_recipe_learns_from_or_holds_out_what_tests_are_kept_for(name: str, kept_for_tests: set[int]) -> None:
    data = load_recipe(name).data
    assert not {data.seed, data.held_out_seed} & kept_for_tests


def test_a_recipe_that_learns_from_whom_it_holds_out_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    load_recipe(str(path))
    path.write_text(SMALL.replace("held_out_seed = 2", "held_out_seed = 1"))
    with pytest.raises(ConfigError, match="held_out_seed must differ"):
        load_recipe(str(path))


def _of(kind: str, weights: int) -> str:
    """Return the small recipe for another kind of network."""
    return SMALL.replace('kind = "run"', f'kind = "{kind}"').replace("[1, 1, 1, 1, 1]", str([1] * weights))


@pytest.mark.parametrize(("kind", "classes"), [("run", 5), ("frame", 2), ("feeder", 1)])
def test_each_kind_has_a_weight_for_each_of_its_classes(tmp_path: Path, kind: str, classes: int) -> None:
    path = tmp_path / "small.toml"
    for weights in (1, 2, 4, 5, 6):
        path.write_text(_of(kind, weights))
        if weights == classes:
            assert load_recipe(str(path)).kind == kind
        else:
            with pytest.raises(ConfigError, match=f"must hold {classes} weights for a {kind} network"):
                load_recipe(str(path))


@pytest.mark.parametrize(("kind", "weights"), [("run", 5), ("feeder", 1)])
def test_real_frames_are_for_networks_of_frames_alone(tmp_path: Path, kind: str, weights: int) -> None:
    real = '[real]\ntrain = ["1"]\ncalibrate = ["2"]\nheld_out = ["3"]\n[loss]'
    path = tmp_path / "small.toml"
    path.write_text(_of("frame", 2).replace("[loss]", real))
    assert load_recipe(str(path)).real is not None
    path.write_text(_of(kind, weights).replace("[loss]", real))
    with pytest.raises(ConfigError, match="are for frame networks"):
        load_recipe(str(path))


@pytest.mark.parametrize("shared", [("train", "calibrate"), ("train", "held_out"), ("calibrate", "held_out")])
def test_a_real_image_is_in_one_list_only(tmp_path: Path, shared: tuple[str, str]) -> None:
    lists = {"train": ["1"], "calibrate": ["2"], "held_out": ["3"]}
    frame = _of("frame", 2)
    path = tmp_path / "small.toml"

    def write() -> None:
        told = "".join(f"{name} = {values}\n" for name, values in lists.items()).replace("'", '"')
        path.write_text(frame.replace("[loss]", f"[real]\n{told}[loss]"))

    write()
    load_recipe(str(path))
    lists[shared[0]] = lists[shared[1]]
    write()
    with pytest.raises(ConfigError, match="must share no image"):
        load_recipe(str(path))


@pytest.mark.parametrize("name", RECIPES)
def test_patients_come_from_presets_that_there_are(name: str) -> None:
    data = load_recipe(name).data
    for preset in {**data.preset_shares, **data.held_out_shares}:
        load_preset(preset)


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_recipe_goes_on_from_has_the_same_shape(name: str) -> None:
    recipe = load_recipe(name)
    if recipe.start_from is not None:
        before = load_recipe(recipe.start_from)
        assert before.widths == recipe.widths
        assert set(KINDS[before.kind].channels) <= set(KINDS[recipe.kind].channels)


def test_a_file_of_ones_own_is_a_recipe_too(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(SMALL)
    assert load_recipe(str(tmp_path / "mine.toml")).widths == (4, 8)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (SMALL + "momentum = 0.9\n", r"'loop\.momentum'.*no such setting"),
        (SMALL.replace("patients = 1", "patients = 1\nshares = 1"), r"'data\.shares'.*no such setting"),
        ("colour = 'red'\n" + SMALL, "'colour'.*no such setting"),
        (SMALL + "[crops]\nsize = 3\n", r"'crops\.size'.*no such setting"),
        (SMALL.replace("steps = 1", "steps = 0"), r"'loop\.steps'.*greater than"),
        (SMALL.replace('kind = "run"', 'kind = "film"'), "'kind'"),
        (SMALL.replace("seed = 1\n", "", 1), r"'data\.seed'.*required"),
        ("name =", "TOML"),
    ],
)
def test_what_is_unknown_missing_or_out_of_range_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_recipe(str(tmp_path / "mine.toml"))


def test_a_recipe_that_there_is_not_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"frame-simulation, run.*found neither under 'nonsense'"):
        load_recipe("nonsense")
    with pytest.raises(ConfigError, match="found neither"):
        load_recipe(str(tmp_path / "nowhere.toml"))
