"""Draw the runs whose feeders came out worst: where true feeders run, what was listed, and why they differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from angio_pipeline.evaluate.causes import FeederErrors, feeder_errors
from angio_pipeline.evaluate.documents import RunPair, pair_cases, read_mask
from angio_pipeline.evaluate.feeders import feeder_places
from angio_pipeline.evaluate.lines import branch_between

Picture = npt.NDArray[np.uint8]
SCALE = 2
# Blue, green, red, as OpenCV has them.
TUMOUR, FOUND, MISSED, CALLED, LISTED = (0, 200, 255), (0, 170, 0), (0, 0, 230), (230, 180, 0), (200, 160, 160)
LEGEND = (
    ("true tumour", TUMOUR),
    ("true feeder, found", FOUND),
    ("true feeder, missed", MISSED),
    ("called", CALLED),
    ("listed, improbable", LISTED),
)


def draw_worst(patients: Path, results: Path, rows: Sequence[dict[str, Any]], out: Path, *, count: int) -> None:
    """Write a picture of each of the runs with most errors that have a result, the worst first."""
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.png"):
        old.unlink()
    worst = sorted((row for row in rows if row["has_result"]), key=lambda row: -_errors(row))[:count]
    for rank, row in enumerate(row for row in worst if _errors(row)):
        (case,) = pair_cases(patients, results, only=[row["sop_instance_uid"]]).cases
        cv2.imwrite(str(out / f"{rank + 1:02d}-{case.name}.png"), draw_run(case.runs[0]))


def _errors(row: dict[str, Any]) -> int:
    return sum(sum(row[f"feeders_{kind}_because"].values()) for kind in ("missed", "false"))


def draw_run(pair: RunPair) -> Picture:
    """Return the subtraction of a run that has a result with true and listed feeders over it, and the causes below."""
    assert pair.answer is not None
    assert pair.answer_dir is not None
    errors = feeder_errors(pair)
    file = pair.answer_dir / "after.png"
    # Runs that come subtracted have no picture of what the correction did.
    grey = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) if file.is_file() else None
    if grey is None:
        grey = np.full(read_mask(pair.truth_dir / pair.truth.artery_mask).shape, 128, np.uint8)
    picture: Picture = np.asarray(
        cv2.cvtColor(cv2.resize(grey, None, fx=SCALE, fy=SCALE), cv2.COLOR_GRAY2BGR), np.uint8
    )
    for tumour in pair.truth.tumours:
        mask = np.repeat(np.repeat(pair.truth_mask(tumour.mask), SCALE, axis=0), SCALE, axis=1).astype(np.uint8)
        cv2.drawContours(picture, cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], -1, TUMOUR, 1)
    missed = {id(place.feeder) for place, _ in errors.missed}
    for place in feeder_places(pair):
        if not place.faint:
            course = branch_between(place.feeder.centreline, place.feeder.branch_start)
            _draw(picture, course, MISSED if id(place.feeder) in missed else FOUND, 3)
    for feeder in (one for tumour in pair.answer.tumours for one in tumour.feeders if one.centreline):
        course = branch_between(feeder.centreline, feeder.branch_start or feeder.centreline[0])
        _draw(picture, course, CALLED if feeder.probability >= 0.5 else LISTED, 1)
    for k, (place, _) in enumerate(errors.missed):
        row, col = (round(SCALE * value) for value in place.feeder.branch_start)
        _write(picture, str(k + 1), (col + 6, row - 6), MISSED)
    return np.vstack([picture, _words(errors, picture.shape[1])])


def _draw(picture: Picture, line: npt.NDArray[np.float64], colour: tuple[int, int, int], width: int) -> None:
    points = np.rint((line[:, ::-1] + 0.5) * SCALE * 16).astype(np.int32)
    cv2.polylines(picture, [points], False, colour, width, cv2.LINE_AA, shift=4)


def _words(errors: FeederErrors, width: int) -> Picture:
    told = [(f"{k + 1} missed: {cause}", MISSED) for k, (_, cause) in enumerate(errors.missed)]
    told += [(f"false: {cause}", CALLED) for _, cause in errors.false]
    rows = max(len(told), len(LEGEND))
    strip = np.full((24 * rows + 12, width, 3), 255, np.uint8)
    for column, words in ((10, LEGEND), (width // 3, told)):
        for k, (text, colour) in enumerate(words):
            _write(strip, text, (column, 24 * k + 22), colour)
    return strip


def _write(picture: Picture, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.55, colour, 1, cv2.LINE_AA)
