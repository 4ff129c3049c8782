"""From pictures of a run, or from one frame, to probabilities of vessels at full size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.errors import ModelError
from angio_pipeline.core.vessels import FrameVessels, VesselProbabilities
from angio_pipeline.networks.engines import Engine, make_engine
from angio_pipeline.networks.feeders import FEEDER_CHANNELS, around, picture_tumour
from angio_pipeline.networks.frames import FRAME_CHANNELS, picture_frame
from angio_pipeline.networks.tiles import predict_tiled
from angio_pipeline.networks.weights import LoadedModel, load_model
from angio_pipeline.numerics.filters import resize
from angio_pipeline.vessels import CHANNELS, WORKING_PX, RunPictures

__all__ = [
    "FeederPredictor",
    "FramePredictor",
    "RunPredictor",
    "load_feeder_predictor",
    "load_frame_predictor",
    "load_run_predictor",
]

FloatArray = npt.NDArray[np.float32]
# One frame of the working size in one piece; beyond that, tiles that overlap by what a vessel needs of context.
_TILE_PX, _OVERLAP_PX = 768, 128


@dataclass(frozen=True, slots=True, eq=False)
class RunPredictor:
    """Tells artery, vein, blush and catheter from the pictures of a run; a `vessels.Predict`."""

    model: LoadedModel
    engine: Engine
    flips: bool = False

    def __call__(self, pictures: RunPictures) -> VesselProbabilities:
        """Return the probabilities, (H, W) each of the run's own size.

        Raises
        ------
        ValueError
            When the pictures are not those that the network was trained on.
        """
        expected = len(self.model.architecture.channels)
        if len(pictures.channels) != expected:
            raise ValueError(f"Expected {expected} pictures, found {len(pictures.channels)}.")
        probability, unfamiliar = _predict(self.model, self.engine, pictures.channels, flips=self.flips)
        inside = pictures.channels[-1] > 0.5
        full = {
            name: _full_size(np.where(inside, image, 0), pictures.shape)
            for name, image in zip(self.model.architecture.classes, probability, strict=True)
        }
        thresholds = dict(
            zip(self.model.architecture.classes, map(float, self.model.calibration.threshold), strict=True)
        )
        return VesselProbabilities(
            **{name: full[name] for name in ("artery", "vein", "blush", "catheter")},
            thresholds=thresholds,
            unfamiliar=unfamiliar,
            network=self.model.label,
        )


@dataclass(frozen=True, slots=True, eq=False)
class FramePredictor:
    """Tells vessels from one unsubtracted frame in which contrast is dark."""

    model: LoadedModel
    engine: Engine
    flips: bool = False

    def __call__(self, image: npt.NDArray[np.floating]) -> FrameVessels:
        """Return the probability of vessel, (H, W), where it begins, and whether the frame is familiar.

        Raises
        ------
        ValueError
            When the image is not two-dimensional or smaller than 32 x 32.
        """
        picture = picture_frame(image, working_px=self.model.architecture.working_px)
        threshold = float(self.model.calibration.threshold[0])
        if not picture.any():
            return FrameVessels(np.zeros(image.shape, np.float32), threshold, unfamiliar=True, network=self.model.label)
        probability, unfamiliar = _predict(self.model, self.engine, picture, flips=self.flips)
        rows, columns = image.shape
        full = _full_size(probability[0], (rows, columns))
        # What stands in for pixels that are not known is no image.
        known = np.where(np.isfinite(image), full, 0).astype(np.float32)
        return FrameVessels(known, threshold, unfamiliar, self.model.label)


@dataclass(frozen=True, slots=True, eq=False)
class FeederPredictor:
    """Tells which pixels belong to a branch that feeds one tumour alone; a `tumour.PredictFeeding`.

    Told is the mean over the flipped pictures: on patients that were not learned from it ranks feeders better, and a
    picture about a tumour is small.
    """

    model: LoadedModel
    engine: Engine
    flips: bool = True

    def __call__(self, pictures: RunPictures, tumour: npt.NDArray[np.bool_]) -> FloatArray:
        """Return the probability, (H, W) of the run's own size, from the run's pictures and a tumour (H, W).

        Raises
        ------
        ValueError
            When the mask is empty, or of another size than the run.
        """
        if tumour.shape != pictures.shape:
            raise ValueError(f"Expected a tumour of {pictures.shape}, found a mask of {tumour.shape}.")
        channels = pictures.channels
        covered = resize(tumour.astype(np.float32), channels.shape[1:])
        # A tumour smaller than a pixel of the working size is where it covers most of one.
        small = covered >= min(0.5, max(float(covered.max()), 1e-6))
        place = around(small)
        shown = picture_tumour(channels[(slice(None), *place)], small[place])
        probability, _ = _predict(self.model, self.engine, shown, flips=self.flips)
        whole = np.zeros(channels.shape[1:], np.float32)
        whole[place] = np.where(channels[-1][place] > 0.5, probability[0], 0)
        return _full_size(whole, pictures.shape)


def load_run_predictor(
    name: str = "run", *, folder: Path | None = None, threads: int | None = None, engine: str = "auto"
) -> RunPredictor:
    """Return the run network of that name.

    Raises
    ------
    ModelError
        When its weights are missing, changed, or those of another network.
    """
    model = _load(name, folder, kind="run", channels=CHANNELS, classes=("artery", "vein", "blush", "catheter"))
    return RunPredictor(model, make_engine(model.tensors, threads=threads, choice=engine))


def load_frame_predictor(
    name: str = "frame", *, folder: Path | None = None, threads: int | None = None, engine: str = "auto"
) -> FramePredictor:
    """Return the frame network of that name.

    Raises
    ------
    ModelError
        When its weights are missing, changed, or those of another network.
    """
    model = _load(name, folder, kind="frame", channels=FRAME_CHANNELS, classes=("vessel",))
    return FramePredictor(model, make_engine(model.tensors, threads=threads, choice=engine))


def load_feeder_predictor(
    name: str = "feeder", *, folder: Path | None = None, threads: int | None = None, engine: str = "auto"
) -> FeederPredictor:
    """Return the feeder network of that name.

    Raises
    ------
    ModelError
        When its weights are missing, changed, or those of another network.
    """
    model = _load(name, folder, kind="feeder", channels=FEEDER_CHANNELS, classes=("feeder",))
    return FeederPredictor(model, make_engine(model.tensors, threads=threads, choice=engine))


def _load(
    name: str, folder: Path | None, *, kind: str, channels: tuple[str, ...], classes: tuple[str, ...]
) -> LoadedModel:
    model = load_model(name, folder)
    told = model.architecture
    sizes = kind == "frame" or told.working_px == WORKING_PX
    if told.kind != kind or told.channels != channels or not set(classes) <= set(told.classes) or not sizes:
        raise ModelError(
            f"Expected {name!r} to be a {kind} network with the classes {', '.join(classes)}, found a {told.kind}"
            f" network with {', '.join(told.classes)} from {len(told.channels)} pictures of {told.working_px} pixels;"
            " train it again."
        )
    return model


def _predict(model: LoadedModel, engine: Engine, image: FloatArray, *, flips: bool) -> tuple[FloatArray, bool]:
    """Return calibrated probabilities (classes, h, w) and whether the picture is unfamiliar."""
    clean = np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32, copy=False)
    logits, description = _tiled(model, engine, clean)
    if flips:
        # All four, so that a flipped picture gives the flipped answer.
        turned = [np.flip(_tiled(model, engine, np.flip(clean, axes))[0], axes) for axes in ((1,), (2,), (1, 2))]
        logits = np.mean([logits, *turned], axis=0, dtype=np.float32)
    calibration = model.calibration
    scaled = calibration.scale[:, None, None] * logits + calibration.offset[:, None, None]
    with np.errstate(over="ignore"):
        probability = 1 / (1 + np.exp(-scaled))
    return probability.astype(np.float32, copy=False), not (calibration.distance(description) <= calibration.limit)


def _tiled(model: LoadedModel, engine: Engine, image: FloatArray) -> tuple[FloatArray, FloatArray]:
    return predict_tiled(
        engine, image, tile_px=_TILE_PX, overlap_px=_OVERLAP_PX, multiple_px=model.architecture.multiple_px
    )


def _full_size(image: FloatArray, shape: tuple[int, int]) -> FloatArray:
    if image.shape == shape:
        return np.asarray(image, dtype=np.float32)
    return np.clip(resize(image, shape), 0, 1)
