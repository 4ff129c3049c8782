"""The chosen objects of one run, each to its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from angio_pipeline.core.results import RunResult
from angio_pipeline.outputs.dicom.choice import ObjectChoice, ObjectKind
from angio_pipeline.outputs.dicom.described import Origin
from angio_pipeline.outputs.documents import run_document
from angio_pipeline.outputs.files import write_bytes

__all__ = ["write_run_objects"]

_Makers = Mapping[str, Callable[[], bytes | None]]


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
    for kind in choice.kinds:
        for name, make in _makers(kind, result, origin, directory, choice, weights).items():
            content = make()
            if content is not None:
                write_bytes(directory / name, content)


def _makers(
    kind: ObjectKind,
    result: RunResult,
    origin: Origin,
    directory: Path,
    choice: ObjectChoice,
    weights: Mapping[str, str],
) -> _Makers:
    # Loaded only where asked for: highdicom takes a while.
    match kind:
        case ObjectKind.SEG | ObjectKind.PROBABILITY:
            from angio_pipeline.outputs.dicom.segmentation import (
                mask_segments,
                probability_segments,
                segmentation_bytes,
            )

            segments = mask_segments if kind is ObjectKind.SEG else probability_segments
            return {f"{kind.value}.dcm": lambda: segmentation_bytes(result, origin, segments(result))}
        case ObjectKind.SR:
            from angio_pipeline.outputs.dicom.run_report import run_report_bytes
            from angio_pipeline.outputs.dicom.segmentation import read_segments

            # Segmentations are written first.
            written = read_segments(directory / "seg.dcm") if ObjectKind.SEG in choice.kinds else None
            return {"sr.dcm": lambda: run_report_bytes(run_document(result), origin, weights, written)}
        case ObjectKind.MAPS:
            from angio_pipeline.outputs.dicom.maps import arrival_bytes, peak_bytes

            return {
                "arrival.dcm": lambda: arrival_bytes(result, origin),
                "peak.dcm": lambda: peak_bytes(result, origin),
            }
        case ObjectKind.PRESENTATION:
            from angio_pipeline.outputs.dicom.presentation import presentation_bytes

            return {"presentation.dcm": lambda: presentation_bytes(result, origin)}
        case ObjectKind.SUMMARY:
            from angio_pipeline.outputs.dicom.captures import summary_bytes

            return {"summary.dcm": lambda: summary_bytes(result, origin, directory / "overlay.png")}
        case ObjectKind.CINE:
            from angio_pipeline.outputs.dicom.captures import cine_bytes

            return {"cine.dcm": lambda: cine_bytes(result, origin)}
        case ObjectKind.SUBTRACTED:
            from angio_pipeline.outputs.dicom.subtracted import subtracted_bytes

            return {"subtracted.dcm": lambda: subtracted_bytes(result, origin)}
