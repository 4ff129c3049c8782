"""One run's result to its folder: document, masks, maps, curves and pictures."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from angio_pipeline.core.quality import Quality
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.runs import Background, Correction, SubtractedRun
from angio_pipeline.outputs.documents import (
    curves_document,
    graph_document,
    run_document,
    run_quality,
    tumour_mask_name,
)
from angio_pipeline.outputs.files import clear_results, replacing, write_json
from angio_pipeline.outputs.flow_picture import flow_picture
from angio_pipeline.outputs.overlay import overlay_picture
from angio_pipeline.outputs.pictures import grey_vessels, resized, vessel_window, write_mask, write_png
from angio_pipeline.outputs.tables import write_branches

__all__ = ["write_run"]

_FLICKER_PX = 768
_THUMBNAIL_PX = 240


def write_run(result: RunResult, directory: Path) -> None:
    """Write everything of one run below `directory`, except the record that says it is complete.

    Files: `analysis.json`, `graph.json`, `branches.csv`, `curves.json`, `artery.png`, `vein.png` when veins
    were told from arteries, `tumour-<id>.png`, `maps.npz`, `overlay.png`, `flow.png` when there are branches,
    `thumbnail.png`, and `before.png` and `after.png` when a motion correction was kept.

    Raises
    ------
    OSError
        When the folder cannot be written.
    """
    from angio_pipeline.numerics.compiled import each_in_threads

    directory.mkdir(parents=True, exist_ok=True)
    clear_results(directory)
    # Pictures take about as long as all else: drawing on one core, compressing on the other.
    parts = (_write_arrays, _write_pictures, _write_documents)
    each_in_threads(lambda k: parts[k](result, directory), len(parts))


def _write_arrays(result: RunResult, directory: Path) -> None:
    _write_masks(result, directory)
    _write_maps(result, directory / "maps.npz")


def _write_documents(result: RunResult, directory: Path) -> None:
    graph = graph_document(result)
    write_json(directory / "graph.json", graph)
    write_branches(directory / "branches.csv", graph)
    write_json(directory / "curves.json", curves_document(result))
    write_json(directory / "analysis.json", run_document(result))


def _write_masks(result: RunResult, directory: Path) -> None:
    write_mask(directory / "artery.png", result.vessels.artery)
    if result.vessels.catheter is not None:
        write_mask(directory / "catheter.png", result.vessels.catheter)
    if result.vessels.vein is not None:
        write_mask(directory / "vein.png", result.vessels.vein)
    for tumour in result.tumours:
        write_mask(directory / tumour_mask_name(tumour.id), tumour.mask)


def _write_maps(result: RunResult, path: Path) -> None:
    """Maps as (H, W) float32; those that hold a unit of time are NaN when the file gave no times."""
    maps = {"peak": result.maps.peak}
    for name in ("arrival_s", "time_to_peak_s", "auc", "wash_in"):
        values = getattr(result.maps, name)
        unknown = Quality.TIMES_UNKNOWN in run_quality(result)
        maps[name] = np.full_like(values, np.nan) if unknown else values
    # What `numpy.savez_compressed` writes, compressed less hard: noise hardly gets smaller, only slower.
    with replacing(path) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        for name, values in maps.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(values), allow_pickle=False)


def _write_pictures(result: RunResult, directory: Path) -> None:
    picture = overlay_picture(result)
    write_png(directory / "overlay.png", picture)
    if result.graph.branches:
        write_png(directory / "flow.png", flow_picture(result))
    subtracted = result.subtracted
    live = subtracted.frames[subtracted.reference_frame]
    window = vessel_window(live, subtracted.valid)
    after = grey_vessels(live, subtracted.valid, window)
    write_png(directory / "thumbnail.png", resized(after, _THUMBNAIL_PX))
    if _motion_corrected(subtracted):
        before = grey_vessels(subtracted.uncorrected, subtracted.valid, window)
        write_png(directory / "before.png", resized(before, _FLICKER_PX))
        write_png(directory / "after.png", resized(after, _FLICKER_PX))


def _motion_corrected(subtracted: SubtractedRun) -> bool:
    known = np.isfinite([subtracted.residual_before, subtracted.residual_after]).all()
    moved = subtracted.motion is None or subtracted.motion.correction is not Correction.NONE
    return bool(known) and moved and subtracted.background in (Background.MASK, Background.TEMPORAL)
