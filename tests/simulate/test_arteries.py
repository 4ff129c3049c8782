"""Each of Michels' types leads the hepatic arteries from where it says."""

import numpy as np
import pytest

from angio_pipeline.simulate.anatomy.arteries import (
    MICHELS_SHARE,
    Arteries,
    ArteryParams,
    draw_variant,
    grow_twigs,
    lay_arteries,
)
from angio_pipeline.simulate.anatomy.liver import LiverParams, draw_liver

_NONE = np.zeros((0, 4))
_RIGHT, _LEFT = ("segment 5", "segment 6", "segment 7", "segment 8"), ("segment 2", "segment 3")


def _laid(variant: int, seed: int = 0, **how: bool) -> Arteries:
    rng = np.random.default_rng(seed)
    return lay_arteries(draw_liver(LiverParams(), rng), _NONE, variant, ArteryParams(terminals=60), rng, **how)


def _way(arteries: Arteries, part: str) -> list[str]:
    # Names of the arteries passed from the aorta to a part, each once.
    tree = arteries.tree
    return list(dict.fromkeys(tree.name[n] for n in tree.way(tree.named(part)[-1])))


def _through(variant: int, part: str, seed: int = 0) -> set[str]:
    return set(_way(_laid(variant, seed), part))


def test_type_one_sends_everything_through_celiac_common_and_proper_hepatic() -> None:
    arteries = _laid(1)
    for part in (*_RIGHT, *_LEFT, "segment 4"):
        assert _way(arteries, part)[1:4] == ["celiac", "common hepatic", "proper hepatic"]
    assert all("right hepatic" in _way(arteries, part) for part in _RIGHT)
    assert all("left hepatic" in _way(arteries, part) for part in _LEFT)


@pytest.mark.parametrize(
    ("variant", "replaced_right", "replaced_left"),
    [(1, False, False), (2, False, True), (3, True, False), (4, True, True), (9, False, False), (10, False, False)],
)
def test_replaced_arteries_supply_their_whole_lobe(variant: int, replaced_right: bool, replaced_left: bool) -> None:
    for part in _RIGHT:
        way = _through(variant, part)
        assert ({"superior mesenteric", "replaced right hepatic"} <= way) == replaced_right
        assert ("right hepatic" in way) != replaced_right
    for part in _LEFT:
        way = _through(variant, part)
        assert ({"left gastric", "replaced left hepatic"} <= way) == replaced_left
        assert ("left hepatic" in way) != replaced_left


@pytest.mark.parametrize(("variant", "right", "left"), [(5, False, True), (6, True, False), (7, True, True)])
def test_accessory_arteries_supply_a_part_and_the_usual_one_the_rest(variant: int, right: bool, left: bool) -> None:
    assert ("accessory right hepatic" in _through(variant, "segment 6")) == right
    assert ("accessory left hepatic" in _through(variant, "segment 2")) == left
    assert "right hepatic" in _through(variant, "segment 8")
    assert "left hepatic" in _through(variant, "segment 3")


def test_type_eight_replaces_one_side_and_adds_to_the_other() -> None:
    seen = set()
    for seed in range(8):
        names = set(_laid(8, seed).tree.name)
        right, left = "replaced right hepatic" in names, "replaced left hepatic" in names
        assert right != left
        assert ("accessory left hepatic" if right else "accessory right hepatic") in names
        seen.add(right)
    assert seen == {True, False}


def test_type_nine_comes_from_the_superior_mesenteric_and_ten_from_the_left_gastric() -> None:
    assert _way(_laid(9), "common hepatic")[1:] == ["superior mesenteric", "common hepatic"]
    assert _way(_laid(10), "common hepatic")[1:] == ["celiac", "left gastric", "common hepatic"]


def test_types_are_drawn_as_often_as_michels_found_them() -> None:
    rng = np.random.default_rng(0)
    drawn = np.bincount([draw_variant(ArteryParams(), rng) for _ in range(4000)], minlength=11)[1:]
    share = np.asarray(MICHELS_SHARE)
    assert share.sum() == pytest.approx(1.0)
    assert (np.abs(drawn - 4000 * share) < 5 * np.sqrt(4000 * share) + 3).all()


def test_a_type_asked_for_is_the_type_given() -> None:
    assert all(draw_variant(ArteryParams(variant=7), np.random.default_rng(s)) == 7 for s in range(5))


@pytest.mark.parametrize("variant", range(1, 11))
def test_stomach_duodenum_and_gallbladder_have_arteries_in_every_type(variant: int) -> None:
    names = set(_laid(variant).tree.name)
    assert {"gastroduodenal", "right gastric", "left gastric", "cystic", "splenic", "gastroepiploic"} <= names


@pytest.mark.slow
def test_small_arteries_have_more_than_one_origin() -> None:
    def origin(seed: int, name: str) -> str:
        tree = _laid(1, seed).tree
        return tree.name[tree.parent[tree.named(name)[0]]]

    assert len({origin(seed, "right gastric") for seed in range(20)}) > 1
    assert len({origin(seed, "cystic") for seed in range(20)}) > 1


def test_a_coiled_artery_ends_in_a_stump_and_no_gallbladder_needs_no_artery() -> None:
    names = set(_laid(1, stump=True, gallbladder=False).tree.name)
    assert "gastroduodenal" in names
    assert not {"gastroepiploic", "pancreaticoduodenal", "cystic"} & names


def test_no_liver_twig_ends_wider_than_asked() -> None:
    rng = np.random.default_rng(1)
    liver, params = draw_liver(LiverParams(), rng), ArteryParams(smallest_diameter_mm=0.6)
    arteries = lay_arteries(liver, _NONE, 1, params, rng)
    grow_twigs(arteries, liver)
    width = 2 * arteries.tree.radii_mm()[arteries.terminals]
    assert width.max() <= 0.6
    assert width.min() > 0.45
