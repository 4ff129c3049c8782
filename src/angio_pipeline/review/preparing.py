"""What the worker does for the page: frames of a run in three layers, scans of a follow-up on one grid.

Frames are read, linearised and subtracted by the pipeline's own functions, with the settings that stand in the run's
analysis, so that the page shows what was measured. They come in two parts: what needs nothing but the file is there
within a second, what is corrected for motion takes many. Everything becomes 16 bits with a slope and an intercept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.errors import AngioError
from angio_pipeline.outputs.files import write_json
from angio_pipeline.review.sources import FoundInputs

if TYPE_CHECKING:
    from angio_pipeline import ingest
    from angio_pipeline.config import PipelineConfig
    from angio_pipeline.core.runs import AngioRun, SubtractedRun

__all__ = ["prepare_corrected", "prepare_follow_up", "prepare_plain", "warm_up"]

_LEVELS = 65535
_HU_INTERCEPT = -2048.0


def warm_up() -> None:
    """Load the libraries and the compiled code that the first run would else wait for; in the worker."""
    from angio_pipeline import ingest  # noqa: F401  # imported for its own sake
    from angio_pipeline.numerics.tables import look_up

    look_up(np.zeros((2, 2), np.uint16), np.zeros(_LEVELS + 1, np.float32))


def prepare_plain(found: FoundInputs, uid: str, expected: Mapping[str, Any], folder: Path) -> None:
    """Write what a run shows without any correction: its raw frames with `info.json`, then its subtracted ones.

    It takes little longer than to read the run, so that a reader looks at frames while the correction is worked out.

    Parameters
    ----------
    found : FoundInputs
        Of the patient whose run has the SOP instance UID `uid`.
    expected : mapping
        `frames`, `rows`, `columns`, `reference_frame` and `mask_frames` of the analysis.

    Raises
    ------
    AngioError
        When the file cannot be read, or is not what was analysed.
    """
    item, run = _read(found, uid, expected)
    folder.mkdir(parents=True)
    reference = expected["reference_frame"]
    layers = {"raw": {**_write_layer(folder / "raw.npy", run.frames), "unit": _raw_unit(run.quantity.value)}}
    layers["raw"]["window"] = _plain_window(run.frames[reference], run.valid)
    told = {"layers": layers, "frame_of_reference_uid": _frame_of_reference(item)}
    _write_info(folder, told)
    if expected["mask_frames"]:
        layers["subtracted"] = _write_subtraction(folder, run, expected["mask_frames"], reference)
        _write_info(folder, told)


def prepare_corrected(
    found: FoundInputs, uid: str, settings: Mapping[str, Any], expected: Mapping[str, Any], folder: Path
) -> None:
    """Write the frames of a run as they were measured, corrected for motion, and `info.json` last.

    Parameters
    ----------
    settings : mapping
        As in `analysis.json`.

    Raises
    ------
    AngioError
        When the file cannot be read, or is subtracted in another way than it was when it was analysed.
    """
    _, run = _read(found, uid, expected)
    sub = _subtracted(run, _config(settings))
    if sub.reference_frame != expected["reference_frame"]:
        raise AngioError(
            "Expected the subtraction that was analysed, found that this version makes another; run again."
        )
    folder.mkdir(parents=True)
    window = _vessel_window(sub.frames[sub.reference_frame], sub.valid)
    np.save(folder / "valid.npy", sub.valid)
    layer = {**_write_layer(folder / "corrected.npy", sub.frames), "unit": "attenuation", "window": window}
    _write_info(folder, {"layers": {"corrected": layer}})


def _read(found: FoundInputs, uid: str, expected: Mapping[str, Any]) -> tuple[ingest.RunItem, AngioRun]:
    from angio_pipeline import ingest

    item = next(one for one in found.unpack().runs if one.source.sop_instance_uid == uid)
    run = ingest.read_run(item)
    if run.shape != (expected["frames"], expected["rows"], expected["columns"]):
        raise AngioError("Expected the image that was analysed, found one of another size; analyse it again.")
    return item, run


def _subtracted(run: AngioRun, config: PipelineConfig) -> SubtractedRun:
    from angio_pipeline import dsa

    whole = dsa.set_aside_broken(run)
    choice = dsa.choose_mask(whole, params=config.mask)
    return dsa.denoise(dsa.subtract(whole, choice, params=config.subtract), params=config.denoise)


def _write_info(folder: Path, told: Mapping[str, Any]) -> None:
    # Whoever reads it meanwhile finds the whole of it, and what it tells of is written.
    write_json(folder / "info.json", told)


def _config(settings: Mapping[str, Any]) -> PipelineConfig:
    from pydantic import ValidationError

    from angio_pipeline.config import PipelineConfig

    try:
        return PipelineConfig.model_validate(settings)
    except ValidationError:
        sentence = "Expected settings that this version knows, found others in the analysis; analyse the run again."
        raise AngioError(sentence) from None


def _raw_unit(quantity: str) -> str:
    return "attenuation" if quantity == "attenuation" else "stored value"


def _frame_of_reference(item: ingest.RunItem) -> str | None:
    import pydicom

    read = pydicom.dcmread(item.paths[0], stop_before_pixels=True, specific_tags=["FrameOfReferenceUID"])
    return str(read.get("FrameOfReferenceUID") or "") or None


def _write_layer(path: Path, frames: npt.NDArray[Any]) -> dict[str, Any]:
    """Write frames as (T, H, W) uint16 and return how they are read; whole numbers of 16 bits stay as they are."""
    if frames.dtype == np.uint16:
        np.save(path, frames)
        return {"slope": 1.0, "intercept": 0.0}
    low, high = float(frames.min()), float(frames.max())
    slope = max(high - low, 1e-9) / _LEVELS
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=frames.shape)
    for t, frame in enumerate(frames):
        out[t] = np.rint((frame - low) / slope)
    out.flush()
    return {"slope": slope, "intercept": low}


def _write_subtraction(folder: Path, run: AngioRun, mask_frames: Sequence[int], reference: int) -> dict[str, Any]:
    """Write the attenuation of every frame and of the mask, so that a mask moved by hand is subtracted at once."""
    from angio_pipeline.dsa.linear import linear_frame

    frames = np.stack([linear_frame(run, t) for t in range(run.shape[0])])
    mask = frames[list(mask_frames)].mean(axis=0, dtype=np.float64).astype(np.float32)
    np.save(folder / "mask.npy", mask)
    told = _write_layer(folder / "attenuation.npy", frames)
    reach = float(frames.max() - frames.min())
    layer = {"slope": max(2 * reach, 1e-9) / _LEVELS, "intercept": -reach, "unit": "attenuation"}
    layer["window"] = _vessel_window(frames[reference] - mask, run.valid)
    return {**layer, "attenuation_slope": told["slope"], "attenuation_intercept": told["intercept"]}


def _plain_window(frame: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> dict[str, float]:
    values = frame[valid] if valid.any() else frame.ravel()
    low, high = (float(value) for value in np.percentile(values, (0.5, 99.5)))
    return {"center": (low + high) / 2, "width": max(high - low, 1e-6)}


def _vessel_window(frame: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> dict[str, float]:
    from angio_pipeline.outputs.pictures import vessel_window

    low, high = vessel_window(frame, valid)
    return {"center": (low + high) / 2, "width": high - low}


def prepare_follow_up(
    found: FoundInputs,
    scans: Sequence[tuple[int, str, Sequence[Sequence[float]] | None]],
    reference: str,
    deposits: Sequence[tuple[int, str, Path]],
    folder: Path,
) -> None:
    """Write every scan and every deposit on the grid of the reference scan, and `info.json` last.

    Parameters
    ----------
    scans : sequence
        Number of a scan, its series instance UID, and the (4, 4) motion from the reference's LPS points to its own;
        None leaves it where the scanner's table put it.
    deposits : sequence
        Number of a scan, name of a lesion, and the file with its deposit.
    """
    from angio_pipeline import ingest
    from angio_pipeline.numerics import volumes as space

    items = {item.source.series_instance_uid: item for item in found.unpack().volumes}
    grid = ingest.read_volume(items[reference])
    shape, affine = grid.hu.shape, np.asarray(grid.affine)
    folder.mkdir(parents=True)
    motions: dict[int, npt.NDArray[np.float64]] = {}
    for index, uid, motion in scans:
        motions[index] = np.eye(4) if motion is None else np.asarray(motion, dtype=np.float64)
        volume = grid if uid == reference else ingest.read_volume(items[uid])
        hu = (
            volume.hu
            if volume is grid
            else space.resample(volume.hu, volume.affine, shape, affine, motion=motions[index], fill=-1024.0)
        )
        np.save(folder / f"scan-{index}.npy", np.clip(np.rint(hu - _HU_INTERCEPT), 0, _LEVELS).astype(np.uint16))
    written: dict[str, list[str]] = {}
    for index, lesion, path in deposits:
        if index in motions and (mask := _deposit(path, shape, affine, motions[index])) is not None:
            np.save(folder / f"deposit-{index}-{len(written.get(str(index), []))}.npy", mask)
            written.setdefault(str(index), []).append(lesion)
    info = {"shape": shape, "affine": affine.tolist(), "deposits": written, "slope": 1.0, "intercept": _HU_INTERCEPT}
    _write_info(folder, info)


def _deposit(
    path: Path, shape: tuple[int, ...], affine: npt.NDArray[np.float64], motion: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_] | None:
    """Return a deposit on the grid, None where the file holds none."""
    from angio_pipeline import ingest
    from angio_pipeline.numerics import volumes as space

    try:
        (roi,) = ingest.read_rois([path]).volumes
    except (AngioError, ValueError):  # an empty mask has no label
        return None
    return space.resample_mask(roi.mask, np.asarray(roi.affine), shape, affine, motion=motion)
