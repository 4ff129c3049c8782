"""Training examples: simulated runs, read and subtracted as a user's runs are, each with its truth.

A run is written as DICOM, read back by `ingest` and subtracted by `dsa`, so that a network learns from what
the pipeline really gives it: what is left of motion, what an export did to the values. The truth is drawn where
the vessels stand in the frame that the subtraction chose. An example depends on seed and number only.
"""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from angio_pipeline import dsa, ingest
from angio_pipeline.config import PipelineConfig
from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import AngioRun, Background, SubtractedRun
from angio_pipeline.evaluate.lines import branch_between, resampled
from angio_pipeline.simulate.angiography import stage
from angio_pipeline.simulate.dicom.xa import write_xa
from angio_pipeline.simulate.patient import Patient, make_patient
from angio_pipeline.simulate.population import make_case
from angio_pipeline.simulate.presets import load_preset
from angio_pipeline.simulate.radiograph.detector import Exposure
from angio_pipeline.simulate.runs import RunScene, record
from angio_pipeline.simulate.truth import RunTruth, tell_truth
from angio_pipeline.training.randomise import draw_laboratory
from angio_pipeline.workers import hold_threads

__all__ = [
    "RUN_NAMES",
    "Label",
    "TumourLabels",
    "example_paths",
    "load_labels",
    "load_subtracted",
    "load_tumours",
    "make_examples",
    "read_back",
]

RUN_NAMES = ("frontal", "oblique", "post")


class Label:
    """Bits of the label picture, (H, W) uint8."""

    ARTERY = 1
    VEIN = 2
    BLUSH = 4
    CATHETER = 8
    ARTERY_UNSURE = 16
    BLUSH_UNSURE = 32


def example_paths(folder: Path, number: int) -> tuple[Path, ...]:
    """Return where the examples of one patient lie, those that are there."""
    return tuple(sorted(folder.glob(f"{number:05d}-*.npz")))


def make_examples(
    folder: Path,
    *,
    seed: int,
    number: int,
    preset_shares: Mapping[str, float],
    randomised: bool = True,
    runs: int = 2,
    config: PipelineConfig | None = None,
) -> tuple[Path, ...]:
    """Write the examples of one patient and return their paths; a patient that is complete is left as it is.

    Parameters
    ----------
    randomised : bool
        Draw the laboratory anew (`draw_laboratory`); otherwise the preset is taken as it is.
    runs : int
        How many of frontal, oblique and post are made, drawn at random.
    """
    done = folder / f"{number:05d}.json"
    if done.is_file():
        return example_paths(folder, number)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, number])
    if randomised:
        params = draw_laboratory(preset_shares, rng)
    else:
        names = sorted(preset_shares)
        shares = np.array([preset_shares[name] for name in names])
        params = load_preset(names[int(rng.choice(len(names), p=shares / shares.sum()))])
    patient = make_patient(make_case(seed, number), params)
    chosen = rng.permutation(len(RUN_NAMES))[:runs]
    written = {}
    for index in sorted(int(k) for k in chosen):
        name = RUN_NAMES[index]
        path = folder / f"{number:05d}-{name}.npz"
        try:
            written[path.name] = _make_example(path, patient, name, config or PipelineConfig())
        except AngioError as error:
            # What the pipeline refuses it cannot learn from; the reason is kept beside the rest.
            written[path.name] = {"refused": error.reason}
    done.write_text(json.dumps(written), encoding="utf-8")
    return example_paths(folder, number)


def _make_example(path: Path, patient: Patient, name: str, config: PipelineConfig) -> dict[str, Any]:
    scene = stage(patient, name)
    exposure = record(scene, patient.export, patient.rng("quanta", name))
    run = dsa.set_aside_broken(read_back(patient, scene, exposure, name))
    choice = dsa.choose_mask(run, params=config.mask)
    sub = dsa.denoise(dsa.subtract(run, choice, params=config.subtract), params=config.denoise)
    truth = tell_truth(scene, exposure, already_subtracted=patient.export.already_subtracted, frame=sub.reference_frame)
    _save(path, labels=_labels(truth), **_tumour_arrays(truth), **_subtracted_arrays(sub))
    return {"reference_frame": sub.reference_frame}


def read_back(patient: Patient, scene: RunScene, exposure: Exposure, name: str) -> AngioRun:
    """Return a run as a user's program reads it: written as DICOM and read by `ingest`.

    Raises
    ------
    AngioError
        When `ingest` refuses it.
    """
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "run.dcm"
        write_xa(
            file,
            patient.case,
            study="day000",
            series=name,
            number=101,
            when=patient.case.treated + timedelta(minutes=10),
            frames=exposure.stored,
            times_s=scene.plan.times_s,
            carm=scene.plan.carm,
            export=patient.export,
            collimation=patient.collimation,
            mask_frames=max(scene.plan.mask_frames, 1),
        )
        found = ingest.discover([file], workspace=Path(place))
        if not found.runs:
            raise AngioError(found.refusals[0].sentence, reason=found.refusals[0].reason)
        return ingest.read_run(found.runs[0])


def _labels(truth: RunTruth) -> npt.NDArray[np.uint8]:
    """Return (H, W) bits of `Label`."""
    labels = np.zeros(truth.artery.shape, np.uint8)
    visible = {tumour["id"] for tumour in truth.document["tumours"]}
    for bit, mask in (
        (Label.ARTERY, truth.artery),
        (Label.VEIN, truth.vein),
        (Label.CATHETER, truth.catheter),
        (Label.ARTERY_UNSURE, truth.ignore),
        *((Label.BLUSH if name in visible else Label.BLUSH_UNSURE, mask) for name, mask in truth.tumours.items()),
    ):
        labels[mask] |= bit
    return labels


def _tumour_arrays(truth: RunTruth) -> dict[str, npt.NDArray[Any]]:
    """Return (H, W) uint16 with a bit for each visible tumour in order, and their feeders as JSON."""
    told = truth.document["tumours"][:16]
    tumours = np.zeros(truth.artery.shape, np.uint16)
    for k, tumour in enumerate(told):
        tumours[truth.tumours[tumour["id"]]] |= 1 << k
    feeders = [{name: tumour[name] for name in ("feeders", "faint_feeders")} for tumour in told]
    return {"tumours": tumours, "feeders": np.array(json.dumps(feeders))}


def _subtracted_arrays(sub: SubtractedRun) -> dict[str, npt.NDArray[Any]]:
    return {
        "frames": sub.frames.astype(np.float16),
        "attenuation": sub.attenuation.astype(np.float16),
        "uncorrected": sub.uncorrected.astype(np.float16),
        "times_s": sub.times_s,
        "valid": sub.valid,
        "usable": sub.usable,
        "motion_px": sub.motion_px,
        "mask_frames": np.array(sub.mask_frames, dtype=np.int64),
        "numbers": np.array(
            [sub.reference_frame, sub.noise_sd, sub.residual_before, sub.residual_after, int(sub.quality)]
        ),
        "background": np.array(sub.background.value),
    }


def _save(path: Path, **arrays: npt.NDArray[Any]) -> None:
    hidden = path.with_suffix(".unfinished")
    with hidden.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
    hidden.rename(path)


def load_subtracted(path: Path) -> SubtractedRun:
    """Return the subtracted run of an example; values are rounded to half precision."""
    from angio_pipeline.core.provenance import Source

    with np.load(path) as stored:
        reference, noise, before, after, quality = stored["numbers"]
        return SubtractedRun(
            frames=stored["frames"].astype(np.float32),
            times_s=stored["times_s"],
            valid=stored["valid"],
            usable=stored["usable"],
            background=Background(str(stored["background"])),
            mask_frames=tuple(int(k) for k in stored["mask_frames"]),
            reference_frame=int(reference),
            motion_px=stored["motion_px"],
            residual_before=float(before),
            residual_after=float(after),
            noise_sd=float(noise),
            uncorrected=stored["uncorrected"].astype(np.float32),
            attenuation=stored["attenuation"].astype(np.float32),
            source=Source(sop_instance_uid="", series_instance_uid="", file=path.name),
            quality=Quality(int(quality)),
        )


def load_labels(path: Path) -> npt.NDArray[np.uint8]:
    """Return the label picture of an example, (H, W) bits of `Label`."""
    with np.load(path) as stored:
        labels: npt.NDArray[np.uint8] = stored["labels"]
    return labels


@dataclass(frozen=True, slots=True, eq=False)
class TumourLabels:
    """A visible tumour (H, W) bool, and the branches that feed it alone, each (K, 2) (row, col), up to where it begins.

    Whether the faint ones are seen is open.
    """

    mask: npt.NDArray[np.bool_]
    feeders: tuple[npt.NDArray[np.float64], ...]
    faint: tuple[npt.NDArray[np.float64], ...]


def load_tumours(path: Path) -> tuple[TumourLabels, ...]:
    """Return the visible tumours of an example."""
    with np.load(path) as stored:
        bits, told = stored["tumours"], json.loads(str(stored["feeders"]))
    return tuple(
        TumourLabels((bits >> k & 1) > 0, *(tuple(map(_own_part, one[name])) for name in ("feeders", "faint_feeders")))
        for k, one in enumerate(told)
    )


def _own_part(feeder: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    return resampled(branch_between(feeder["centreline"], feeder["branch_start"]))


def begin_worker() -> None:
    """Hold this process to one thread, as there is one a core, and leave an interrupt to the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hold_threads(1)
