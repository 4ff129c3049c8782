"""Impossible settings are refused in one sentence that names the field; a file changes what it holds and no more."""

import math
from collections.abc import Iterator
from pathlib import Path

import annotated_types
import pytest
from pydantic.fields import FieldInfo

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.core.params import Params
from angio_pipeline.simulate.presets import PRESETS, SimulationParams, each_group, load_preset


def write(folder: Path, text: str, name: str = "mine.toml") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_preset(write(folder, text))
    sentence = caught.value.sentence
    assert "\n" not in sentence
    assert sentence.startswith("Expected")
    assert sentence.endswith(".")
    return sentence


def bounds(field: FieldInfo) -> tuple[float | None, float | None]:
    """Return the least and the greatest allowed value of a field, None without one."""
    low = high = None
    for rule in field.metadata:
        if isinstance(rule, annotated_types.Ge | annotated_types.Gt):
            low = getattr(rule, "ge", getattr(rule, "gt", None))
        if isinstance(rule, annotated_types.Le | annotated_types.Lt):
            high = getattr(rule, "le", getattr(rule, "lt", None))
    return low, high


def plain_fields() -> Iterator[tuple[str, str, FieldInfo]]:
    for path, group in each_group(SimulationParams()):
        if not path or path.startswith("cohort.arms"):
            continue
        for name, field in type(group).model_fields.items():
            if not isinstance(getattr(group, name), Params | tuple):
                yield path, name, field


def table(path: str) -> str:
    """Return the heading in TOML of a group: `motions.0` is the first of a list of tables."""
    return f"[[{path.removesuffix('.0')}]]" if path.endswith(".0") else f"[{path}]"


FIELDS = {f"{path}.{name}": (path, name, field) for path, name, field in plain_fields()}
NUMBERS = {key: value for key, value in FIELDS.items() if value[2].annotation in (int, float)}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load_and_differ_from_each_other(name: str) -> None:
    others = [load_preset(other) for other in PRESETS if other != name]
    assert load_preset(name) not in others


@pytest.mark.parametrize("key", NUMBERS)
def test_every_number_has_both_ends_and_is_refused_beyond_them_by_name(key: str, tmp_path: Path) -> None:
    path, name, field = NUMBERS[key]
    low, high = bounds(field)
    assert low is not None, f"{key} has no lower bound"
    assert high is not None, f"{key} has no upper bound"
    for value in (low - 1, high + 1):
        assert key in refusal(tmp_path, f"{table(path)}\n{name} = {value}\n")


@pytest.mark.parametrize("key", FIELDS)
def test_every_field_of_another_type_is_refused_by_name(key: str, tmp_path: Path) -> None:
    path, name, _ = FIELDS[key]
    assert key in refusal(tmp_path, f"{table(path)}\n{name} = {{ odd = 1 }}\n")


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", ["nan", "inf", '"many"'])
def test_what_is_no_number_is_refused_by_name(key: str, value: str, tmp_path: Path) -> None:
    path, name, _ = NUMBERS[key]
    assert key in refusal(tmp_path, f"{table(path)}\n{name} = {value}\n")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[contrast]\ninjection_ml_s = -1.0\n", "contrast.injection_ml_s in mine.toml: input should be greater than 0"),
        ("[geometry]\nsod_mm = 1100.0\nsid_mm = 1000.0\n", "geometry.sod_mm must be at least 50 below"),
        ("[anatomy]\ntumours_min = 4\ntumours_max = 2\n", "anatomy.tumours_min must not exceed tumours_max"),
        ("[anatomy]\nfeeders_min = 3\nfeeders_max = 1\n", "anatomy.feeders_min must not exceed"),
        ("[ct]\ndays = [28.0, 1.0]\n", "ct.days must increase"),
        ("[ct]\ndays = [1.0, 1.0]\n", "ct.days must increase"),
        ("[ct]\ndays = [-1.0, 1.0]\n", "ct.days must all be after treatment"),
        (
            "[treatment]\nfilm_days = [-1.0, 1.0]\n",
            "treatment.film_days must increase and must not be before treatment",
        ),
        ("[anatomy]\nterminals = 20\ntumours_max = 6\nfeeders_max = 4\n", "anatomy.feeders_max times tumours_max"),
        ('[ct]\ndays = ["soon"]\n', "ct.days.0"),
        ("[treatment]\nfilm_days = [28.0, 0.0]\n", "treatment.film_days must increase"),
        ("[detector]\ncolour = 3\n", "detector.colour"),
        ("[weather]\nrain = 3\n", "weather"),
        ("seed = 3\n", "seed"),
        ("anatomy = 3\n", "anatomy"),
        ('[[cohort.arms]]\nname = "a"\nembolic = "glue"\n', "cohort.arms.0.embolic"),
        ('[[cohort.arms]]\nname = "a"\nembolic = "microspheres"\n', "cohort.arms.0.catheter_order_min must be 4"),
        ('[[cohort.arms]]\nname = "a"\noil_min_ml = 3.0\n', "cohort.arms.0.oil_min_ml must not exceed"),
        ("[[cohort.arms]]\noil_max_ml = 3.0\n", "cohort.arms.0.name"),
        (
            '[[cohort.arms]]\nname = "a"\n'
            '[[cohort.arms.agents]]\nname = "doxorubicin"\ndose_min_mg = 40\ndose_max_mg = 400\n',
            "cohort.arms.0.agents.0.dose_min_mg and dose_max_mg of doxorubicin",
        ),
        ("[cohort]\nchild_b_share = 0.9\nchild_c_share = 0.2\n", "cohort.child_b_share"),
        (
            "[cohort.survival]\nfollow_up_min_days = 900\nfollow_up_max_days = 90\n",
            "cohort.survival.follow_up_min_days",
        ),
        ("[ct\n", "to be TOML"),
        ('extends = "nowhere"\n', "nowhere"),
        ('extends = "nowhere.toml"\n', "nowhere.toml"),
        ('extends = "mine.toml"\n', "leads back to itself"),
        ("extends = 3\n", "extends in mine.toml"),
    ],
)
def test_impossible_settings_are_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    assert named in refusal(tmp_path, text)


def test_a_patient_may_have_no_films(tmp_path: Path) -> None:
    assert load_preset(write(tmp_path, "[treatment]\nfilm_days = []\n")).treatment.film_days == ()


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="to be TOML"):
        load_preset(str(tmp_path / "mine.toml"))


def test_an_unknown_preset_is_refused_and_the_known_are_named() -> None:
    with pytest.raises(ConfigError, match=r"easy, clinical, hard.*impossible"):
        load_preset("impossible")


def test_extends_changes_one_knob_and_keeps_the_rest(tmp_path: Path) -> None:
    base = load_preset("clinical")
    changed = load_preset(write(tmp_path, 'extends = "clinical"\n[background]\ngas = 2.25\n'))
    assert changed.background.gas == 2.25
    assert changed == base.model_copy(update={"background": base.background.model_copy(update={"gas": 2.25})})


def test_extends_may_name_another_file_beside_it(tmp_path: Path) -> None:
    write(tmp_path, 'extends = "hard"\n[background]\ngas = 2.5\n', "first.toml")
    second = load_preset(write(tmp_path, 'extends = "first.toml"\n[background]\nwires = 5\n'))
    hard = load_preset("hard").background
    found = second.background
    assert (found.gas, found.wires, found.texture) == (2.5, 5, hard.texture)


def test_a_table_that_is_given_in_part_keeps_the_groups_own_defaults(tmp_path: Path) -> None:
    # The short run's defaults differ from those of a run.
    params = load_preset(write(tmp_path, "[short_run]\nslow_fps = 0.5\n"))
    assert params.short_run == SimulationParams().short_run.model_copy(update={"slow_fps": 0.5})


def test_a_list_replaces_the_list_it_stands_for(tmp_path: Path) -> None:
    params = load_preset(write(tmp_path, '[[cohort.arms]]\nname = "only"\n'))
    assert [arm.name for arm in params.cohort.arms] == ["only"]


def test_no_default_is_infinite() -> None:
    for path, group in each_group(SimulationParams()):
        for name, value in group:
            assert not isinstance(value, float) or math.isfinite(value), f"{path}.{name}"
