"""The chosen objects of one run, each to its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from angio_pipeline.core.results import RunResult
from angio_pipeline.outputs.dicom.choice import ObjectChoice, ObjectKind
from angio_pipeline.outputs.dicom.origin import Origin
from angio_pipeline.outputs.documents import run_document
from angio_pipeline.outputs.files import write_bytes

__all__ = ["write_run_objects"]

_Makers = Mapping[str, Callable[[], bytes | None]]
"""What makes each file of a kind of object; None where there is nothing to write."""


@dataclass(frozen=True, slots=True, eq=False)
class _Written:
    """The run whose objects are written, and what they are told besides."""

    result: RunResult
    origin: Origin
    directory: Path
    choice: ObjectChoice
    weights: Mapping[str, str]


def write_run_objects(
    result: RunResult, origin: Origin, directory: Path, *, choice: ObjectChoice, weights: Mapping[str, str]
) -> None:
    """Write the chosen objects of a run into `directory`, which holds its other results already.

    Files: `seg.dcm`, `sr.dcm`, `summary.dcm`, `probability.dcm`, `arrival.dcm` (unless the file gave no times) and
    `peak.dcm`, `presentation.dcm`, `cine.dcm`, `subtracted.dcm`.

    Parameters
    ----------
    weights : mapping of str to str
        SHA-256 of the weights of each network that was asked, by name.

    Raises
    ------
    OSError
        When a file cannot be written.
    """
    run = _Written(result, origin, directory, choice, weights)
    for kind in choice.kinds:
        for name, make in _MAKERS[kind](run).items():
            content = make()
            if content is not None:
                write_bytes(directory / name, content)


# What makes an object is loaded only where the object is asked for: highdicom takes a while.


def _segmentation(run: _Written) -> _Makers:
    from angio_pipeline.outputs.dicom.segmentation import mask_segments, segmentation_bytes

    return {"seg.dcm": lambda: segmentation_bytes(run.result, run.origin, mask_segments(run.result))}


def _probability(run: _Written) -> _Makers:
    from angio_pipeline.outputs.dicom.segmentation import probability_segments, segmentation_bytes

    return {"probability.dcm": lambda: segmentation_bytes(run.result, run.origin, probability_segments(run.result))}


def _report(run: _Written) -> _Makers:
    from angio_pipeline.outputs.dicom.run_report import run_report_bytes
    from angio_pipeline.outputs.dicom.segmentation import read_segments

    # Segmentations are written first.
    segments = read_segments(run.directory / "seg.dcm") if ObjectKind.SEG in run.choice.kinds else None
    return {"sr.dcm": lambda: run_report_bytes(run_document(run.result), run.origin, run.weights, segments)}


def _maps(run: _Written) -> _Makers:
    from angio_pipeline.outputs.dicom.maps import arrival_bytes, peak_bytes

    return {
        "arrival.dcm": lambda: arrival_bytes(run.result, run.origin),
        "peak.dcm": lambda: peak_bytes(run.result, run.origin),
    }


def _presentation(run: _Written) -> _Makers:
    from angio_pipeline.outputs.dicom.presentation import presentation_bytes

    return {"presentation.dcm": lambda: presentation_bytes(run.result, run.origin)}


def _summary(run: _Written) -> _Makers:
    from angio_pipeline.outputs.dicom.captures import summary_bytes

    return {"summary.dcm": lambda: summary_bytes(run.result, run.origin, run.directory / "overlay.png")}


def _cine(run: _Written) -> _Makers:
    from angio_pipeline.outputs.dicom.captures import cine_bytes

    return {"cine.dcm": lambda: cine_bytes(run.result, run.origin)}


def _subtracted(run: _Written) -> _Makers:
    from angio_pipeline.outputs.dicom.subtracted import subtracted_bytes

    return {"subtracted.dcm": lambda: subtracted_bytes(run.result, run.origin)}


_MAKERS: dict[ObjectKind, Callable[[_Written], _Makers]] = {
    ObjectKind.SEG: _segmentation,
    ObjectKind.PROBABILITY: _probability,
    ObjectKind.SR: _report,
    ObjectKind.MAPS: _maps,
    ObjectKind.PRESENTATION: _presentation,
    ObjectKind.SUMMARY: _summary,
    ObjectKind.CINE: _cine,
    ObjectKind.SUBTRACTED: _subtracted,
}
