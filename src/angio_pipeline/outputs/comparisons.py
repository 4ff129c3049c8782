"""A patient's comparisons to their folder: the document and a picture for each pair of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from angio_pipeline import __version__
from angio_pipeline.core.embolisation import BlushChange, FeederChange, Passage, RunComparison, TumourChange
from angio_pipeline.core.geometry import PixelSpacing
from angio_pipeline.core.provenance import Source
from angio_pipeline.outputs.comparison_picture import comparison_picture
from angio_pipeline.outputs.documents import plain, source_document
from angio_pipeline.outputs.files import clear_results, write_json
from angio_pipeline.outputs.pictures import write_png
from angio_pipeline.outputs.schemas import (
    AlignmentDocument,
    BlushChangeDocument,
    ComparisonDocument,
    EmbolisationDocument,
    FeederChangeDocument,
    NotComparedDocument,
    PassageDocument,
    ReferenceArteryDocument,
    SoftwareDocument,
    TumourChangeDocument,
)

__all__ = ["ComparedRuns", "RunsNotCompared", "write_comparisons"]


@dataclass(frozen=True, slots=True, eq=False)
class ComparedRuns:
    """A comparison with how the runs were paired (`label` or `order`) and the spacing of the run before."""

    comparison: RunComparison
    paired_by: str
    spacing: PixelSpacing | None


@dataclass(frozen=True, slots=True)
class RunsNotCompared:
    """Two runs, as far as there are two, that were not compared: the reason's code and one sentence."""

    before: Source | None
    after: Source | None
    reason: str
    sentence: str


def write_comparisons(
    compared: Sequence[ComparedRuns],
    not_compared: Sequence[RunsNotCompared],
    folder: Path,
    *,
    settings: Mapping[str, object],
) -> None:
    """Write `embolisation.json` and `comparison-<n>.png` into `folder`.

    Raises
    ------
    OSError
        When the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clear_results(folder)
    names = [f"comparison-{number}.png" for number in range(1, len(compared) + 1)]
    for one, name in zip(compared, names, strict=True):
        write_png(folder / name, comparison_picture(one.comparison))
    document = EmbolisationDocument(
        comparisons=[_comparison(one, name) for one, name in zip(compared, names, strict=True)],
        not_compared=[
            NotComparedDocument(
                before=one.before and source_document(one.before),
                after=one.after and source_document(one.after),
                reason=one.reason,
                sentence=one.sentence,
            )
            for one in not_compared
        ],
        settings=plain(settings),
        software=SoftwareDocument(name="angio-pipeline", version=__version__),
    )
    write_json(folder / "embolisation.json", document)


def _comparison(one: ComparedRuns, picture: str) -> ComparisonDocument:
    found = one.comparison
    alignment, artery = found.alignment, found.reference
    usable = one.spacing if one.spacing is not None and one.spacing.in_patient else None
    shift = alignment.anatomy_shift_px
    return ComparisonDocument(
        before=source_document(found.before),
        after=source_document(found.after),
        paired_by="label" if one.paired_by == "label" else "order",
        alignment=AlignmentDocument(
            shift_px=_pair(alignment.mean_shift_px),
            anatomy_shift_px=None if shift is None else _pair(shift),
            anatomy_match=_number(alignment.anatomy_match, 3),
            vessel_match=_number(alignment.vessel_match, 3),
            by_vessels=alignment.by_vessels,
        ),
        reference_artery=ReferenceArteryDocument(
            how=artery.how,
            centreline=_points(artery.line),
            diameter_px=_number(artery.diameter_px, 2),
            peak_before=_number(float(artery.before.max())),
            peak_after=_number(float(artery.after.max())),
            area_before=_number(artery.areas_s[0]),
            area_after=_number(artery.areas_s[1]),
            curve_before=_numbers(artery.before),
            curve_after=_numbers(artery.after),
        ),
        times_s=[round(float(t), 3) for t in found.times_s],
        tumours=[_tumour(tumour, usable) for tumour in found.tumours],
        picture=picture,
        picture_time_s=round(found.picture_time_s, 3),
        cautions=list(found.cautions),
        quality=found.quality.names(),
        quality_sentences=found.quality.sentences(),
    )


def _tumour(tumour: TumourChange, spacing: PixelSpacing | None) -> TumourChangeDocument:
    return TumourChangeDocument(
        id=tumour.id,
        blush=None if tumour.blush is None else _blush(tumour.blush, spacing),
        feeders=[_feeder(feeder) for feeder in tumour.feeders],
        flow=tumour.flow,
        sace=tumour.sace,
        reason=tumour.reason,
    )


def _blush(blush: BlushChange, spacing: PixelSpacing | None) -> BlushChangeDocument:
    per_px = None if spacing is None else spacing.row_mm * spacing.col_mm
    return BlushChangeDocument(
        residual=_number(blush.residual, 4),
        residual_interval=_interval(blush.residual_interval),
        residual_area=_number(blush.residual_area, 4),
        area_before_px=blush.area_before_px,
        area_after_px=blush.area_after_px,
        area_before_mm2=None if per_px is None else _number(blush.area_before_px * per_px, 2),
        area_after_mm2=None if per_px is None else _number(blush.area_after_px * per_px, 2),
        surroundings_share=_number(blush.surroundings_share, 3),
        before=_passage(blush.before),
        after=_passage(blush.after),
        curve_before=_numbers(blush.curve_before),
        curve_after=_numbers(blush.curve_after),
    )


def _passage(passage: Passage) -> PassageDocument:
    return PassageDocument(
        peak=_number(passage.peak, 4),
        auc=_number(passage.auc, 4),
        wash_in=_number(passage.wash_in, 4),
        time_to_peak_s=_number(passage.time_to_peak_s, 3),
    )


def _feeder(feeder: FeederChange) -> FeederChangeDocument:
    return FeederChangeDocument(
        id=feeder.id,
        probability=feeder.probability,
        contribution=feeder.contribution,
        patency=feeder.patency,
        contrast_before=_number(feeder.contrast_before, 4),
        contrast_after=_number(feeder.contrast_after, 4),
        ratio=_number(feeder.ratio, 4),
        ratio_interval=_interval(feeder.ratio_interval),
        delay_before_s=_number(feeder.delay_before_s, 3),
        delay_after_s=_number(feeder.delay_after_s, 3),
        centreline=_points(feeder.line),
        reason=feeder.reason,
    )


def _number(value: float, digits: int = 6) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None


def _numbers(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [_number(float(value), 5) for value in values]


def _interval(pair: tuple[float, float]) -> tuple[float | None, float | None] | None:
    low, high = (_number(end, 4) for end in pair)
    return None if low is None and high is None else (low, high)


def _pair(point: tuple[float, float]) -> tuple[float, float]:
    return round(point[0], 2), round(point[1], 2)


def _points(line: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    return [(round(float(row), 2), round(float(col), 2)) for row, col in line]
