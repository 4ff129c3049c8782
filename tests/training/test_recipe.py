"""Recipes: every one that the project carries loads, and nothing in one is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from angio_pipeline.assets import configs_dir
from angio_pipeline.core.errors import ConfigError
from angio_pipeline.simulate import load_preset
from angio_pipeline.training import load_recipe
from angio_pipeline.training.batches import FRAME_CLASSES, RUN_CLASSES

RECIPES = sorted(path.stem for path in (configs_dir() / "training").glob("*.toml"))
# The patients on whom the networks are tested, and those of docs/accuracy.md.
KEPT_FOR_TESTS = {5001, 5002, 2026}

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


def test_the_project_carries_recipes() -> None:
    assert {"run", "frame", "frame-simulation"} <= set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_bears_the_name_of_its_file(name: str) -> None:
    assert load_recipe(name).name == name


@pytest.mark.parametrize("name", RECIPES)
def test_no_recipe_learns_from_or_holds_out_what_tests_are_kept_for(name: str) -> None:
    data = load_recipe(name).data
    assert not {data.seed, data.held_out_seed} & KEPT_FOR_TESTS


@pytest.mark.parametrize("name", RECIPES)
def test_held_out_patients_are_others_than_those_learned_from(name: str) -> None:
    data = load_recipe(name).data
    assert data.seed != data.held_out_seed


@pytest.mark.parametrize("name", RECIPES)
def test_held_out_images_are_others_than_those_learned_from(name: str) -> None:
    real = load_recipe(name).real
    assert real is None or not set(real.train + real.calibrate) & set(real.held_out)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_weighs_every_class_of_its_kind(name: str) -> None:
    recipe = load_recipe(name)
    assert len(recipe.loss.classes) == len(RUN_CLASSES if recipe.kind == "run" else FRAME_CLASSES)


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
        assert (before.kind, before.widths) == (recipe.kind, recipe.widths)


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
