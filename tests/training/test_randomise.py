"""Every training patient is treated in a possible laboratory of its own."""

from __future__ import annotations

import numpy as np
import pytest

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.simulate import SimulationParams, load_preset
from angio_pipeline.training.randomise import draw_laboratory

SHARES = {"clinical": 0.6, "hard": 0.3, "easy": 0.1}


def _draw(*seed: int, shares: dict[str, float] = SHARES) -> SimulationParams:
    return draw_laboratory(shares, np.random.default_rng(seed))


@pytest.mark.parametrize("preset", sorted(SHARES))
def test_every_laboratory_that_is_drawn_is_possible(preset: str) -> None:
    for seed in range(60):
        drawn = _draw(1, seed, shares={preset: 1.0})
        assert SimulationParams.model_validate(drawn.model_dump()) == drawn


def test_the_same_seed_draws_the_same_laboratory() -> None:
    assert _draw(41, 3) == _draw(41, 3)


def test_no_two_seeds_draw_the_same_laboratory() -> None:
    drawn = [_draw(41, number).model_dump_json() for number in range(20)]
    assert len(set(drawn)) == len(drawn)


def test_the_order_in_which_presets_are_named_changes_nothing() -> None:
    assert _draw(2, shares=dict(reversed(SHARES.items()))) == _draw(2)


def test_shares_need_not_sum_to_one() -> None:
    assert _draw(3, shares={name: 5 * share for name, share in SHARES.items()}) == _draw(3)


def test_a_preset_without_a_share_is_never_the_start() -> None:
    # Of the anatomy only tortuosity is drawn anew; the rest tells the preset.
    rest = {name: load_preset(name).anatomy.model_dump(exclude={"tortuosity"}) for name in ("easy", "hard")}
    assert rest["easy"] != rest["hard"]
    for seed in range(20):
        drawn = _draw(4, seed, shares={"easy": 1.0, "hard": 0.0})
        assert drawn.anatomy.model_dump(exclude={"tortuosity"}) == rest["easy"]


def test_laboratories_differ_more_than_presets_do() -> None:
    photons = [_draw(5, seed).detector.photons for seed in range(60)]
    presets = [load_preset(name).detector.photons for name in SHARES]
    assert min(photons) < min(presets)
    assert max(photons) > max(presets)


def test_every_kind_of_export_is_drawn() -> None:
    exports = [_draw(6, seed).exports[0] for seed in range(120)]
    assert {one.storage for one in exports} == {"LIN", "LOG", "DISP"}
    assert {one.already_subtracted for one in exports} == {True, False}
    assert len({one.vendor for one in exports}) == 4


def test_only_what_is_made_for_display_is_sharpened() -> None:
    for seed in range(120):
        export = _draw(7, seed).exports[0]
        assert export.edge_enhancement == 0 or export.storage == "DISP"


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ConfigError, match="preset"):
        _draw(8, shares={"impossible": 1.0})
