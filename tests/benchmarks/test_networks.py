"""What plain filters are given beside the networks: the threshold that is best, and no more than that."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
SIZE = (96, 96)


@pytest.fixture(scope="module")
def networks() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module("networks")


@pytest.fixture
def truth() -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    cv2.line(mask, (10, 20), (80, 70), 1, 5)
    return mask > 0


def test_a_response_that_is_the_truth_scores_one_at_some_threshold(networks: ModuleType, truth: np.ndarray) -> None:
    response = truth + 0.3 * np.random.default_rng(0).random(SIZE)
    scores = networks.best(response.astype(np.float32), truth, np.zeros(SIZE, bool), np.ones(SIZE, bool))
    # The nearest of sixty quantiles is not quite the truth's own share.
    assert scores["dice"] > 0.95


def test_a_response_without_a_clue_scores_little(networks: ModuleType, truth: np.ndarray) -> None:
    response = np.random.default_rng(0).random(SIZE).astype(np.float32)
    scores = networks.best(response, truth, np.zeros(SIZE, bool), np.ones(SIZE, bool))
    assert scores["dice"] < 0.2


def test_what_lies_in_the_ignored_part_costs_nothing(networks: ModuleType, truth: np.ndarray) -> None:
    ignored = np.zeros(SIZE, bool)
    ignored[80:] = True
    response = (truth | ignored).astype(np.float32)
    response += 0.1 * np.random.default_rng(0).random(SIZE).astype(np.float32)
    whole = np.ones(SIZE, bool)
    counted = networks.best(response, truth, np.zeros(SIZE, bool), whole)["dice"]
    assert networks.best(response, truth, ignored, whole)["dice"] > counted


def test_recall_of_main_branches_is_the_share_of_their_polygons(networks: ModuleType, tmp_path: Path) -> None:
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "images" / "1.png"), np.zeros((100, 100), np.uint8))
    (tmp_path / "labels" / "1.txt").write_text("3 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n")

    class Half:
        def __call__(self, image: np.ndarray):
            mask = np.zeros(image.shape, bool)
            mask[:, :30] = True
            return type("Told", (), {"mask": mask})()

    found = networks._arcade_recall(tmp_path, Half())
    assert found["images"] == 1
    assert found["recall"] == pytest.approx(0.5, abs=0.03)
