"""What is said of feeders follows from the figures: verdicts, gains with their intervals, every cause in its table."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from angio_pipeline.evaluate.causes import FalseCause, MissedCause

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def feeders() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module("feeders")


def row(case: str, true: int, found: int, called: int) -> dict[str, Any]:
    return {"case": case, "feeders_true": true, "feeders_found": found, "feeders_called": called}


def figures(feeders: ModuleType, value: float) -> dict[str, Any]:
    metrics: dict[str, dict[str, Any]] = {}
    for group, key, *_ in feeders.ASKED:
        metrics.setdefault(group, {})[key] = {"value": value, "interval": [value - 0.1, value + 0.1], "count": 7}
    told = {"runs": 3, "runs_without_result": 1, "metrics": metrics}
    names = ("frontal", "region", "frontal by both", "oblique", "oblique by both")
    counts = {"missed": {MissedCause.NO_WAY.value: 5}, "false": {FalseCause.TWICE.value: 4}}
    return {
        "evaluations": dict.fromkeys(names, told),
        "causes": {"frontal": counts, "region": {"missed": {}, "false": {}}},
        "gain": {key: {"value": 0.04, "interval": [-0.01, 0.09]} for key in ("sensitivity", "ppv")},
        "cases": 3,
        "seed": 5001,
        "measured_with": "0, commit 1",
    }


def test_every_cause_has_its_words_in_its_order(feeders: ModuleType) -> None:
    assert list(feeders.MISSED) == list(MissedCause)
    assert list(feeders.FALSE) == list(FalseCause)


def test_what_is_asked_of_hard_patients_is_not_what_is_asked_of_clinical_ones(feeders: ModuleType) -> None:
    text = feeders.section({"clinical": figures(feeders, 0.85), "hard": figures(feeders, 0.85)})
    assert "| feeders, sensitivity | ≥ 0.90 | 0.850 (0.750 to 0.950) | no | 7 |" in text
    assert "| feeders, sensitivity | ≥ 0.80 | 0.850 (0.750 to 0.950) | yes | 7 |" in text
    # An error is to be small.
    assert "| feeders, expected calibration error | ≤ 0.05 | 0.850 (0.750 to 0.950) | no |" in text


def test_what_is_not_known_is_not_reached(feeders: ModuleType) -> None:
    assert feeders.reached(None, "≥", 0.9) == "–"
    assert feeders.value_of({"value": None, "interval": None}) == "–"


def test_causes_of_each_preset_stand_in_columns_without_and_with_regions(feeders: ModuleType) -> None:
    text = feeders.section({"clinical": figures(feeders, 0.5)})
    line = next(line for line in text.splitlines() if line.startswith(f"| {MissedCause.NO_WAY} |"))
    assert line.endswith("| 5 | 0 |")
    assert "| all | | 5 | 0 |" in text
    assert "| all | | 4 | 0 |" in text


def test_causes_are_summed_over_runs(feeders: ModuleType) -> None:
    rows = [{"feeders_missed_because": {"a": 1, "b": 2}, "feeders_false_because": {}}] * 2
    assert feeders.causes(rows) == {"missed": {"a": 2, "b": 4}, "false": {}}


def test_a_gain_is_that_of_the_sums_and_every_patient_alike_leaves_no_doubt(feeders: ModuleType) -> None:
    before, after = ([row(f"case-{k}", 10, found, 8) for k in range(5)] for found in (5, 6))
    gain = feeders.gain(before, after, "feeders_true")
    assert gain["value"] == pytest.approx(0.1)
    assert gain["interval"] == pytest.approx([0.1, 0.1])
    assert feeders.points(gain) == "+10.0 points (+10.0 to +10.0)"


def test_a_gain_in_a_share_of_nothing_is_unknown(feeders: ModuleType) -> None:
    rows = [row("case-0", 3, 0, 0), row("case-1", 3, 0, 0)]
    assert feeders.gain(rows, rows, "feeders_called") == {"value": None, "interval": None}


def test_the_interval_of_a_gain_holds_what_patients_differ_by(feeders: ModuleType) -> None:
    rng = np.random.default_rng(1)
    found = rng.integers(2, 8, 40)
    before = [row(f"case-{k:02d}", 10, int(n), 10) for k, n in enumerate(found)]
    after = [row(f"case-{k:02d}", 10, int(n + rng.integers(-1, 3)), 10) for k, n in enumerate(found)]
    gain = feeders.gain(before, after, "feeders_true")
    assert gain["interval"][0] < gain["value"] < gain["interval"][1]
    assert gain["interval"][1] - gain["interval"][0] < 0.15


def test_regions_are_named_by_their_run_and_tumour(feeders: ModuleType, sample: Path, tmp_path: Path) -> None:
    case = next(path.parent for path in sorted(sample.rglob("truth")) if any(path.glob("*/truth.json")))
    file = next(path for path in sorted(case.rglob("*.dcm")) if (case / "truth" / feeders.uid_of(path)).is_dir())
    told = json.loads((case / "truth" / feeders.uid_of(file) / "truth.json").read_text(encoding="utf-8"))
    assert file.parents[2] == case
    written = feeders.write_regions([file], tmp_path / "results", tmp_path / "regions")
    assert {path.name for path in written} == {f"{feeders.uid_of(file)}-{t['id']}.png" for t in told["tumours"]}
    assert len(written) > 0
