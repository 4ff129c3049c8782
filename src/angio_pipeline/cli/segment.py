"""`angio segment`: vessels in single images."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from angio_pipeline.cli.ending import end_wrong_usage, need_no_file_at, need_place_for

if TYPE_CHECKING:
    from angio_pipeline.networks.prediction import FramePredictor
    from angio_pipeline.outputs import SegmentedImage

__all__ = ["segment"]

_SUFFIXES = {".png", ".tif", ".tiff", ".dcm", ".dicom", ".ima"}


def segment(
    image: Annotated[list[Path], typer.Argument(help="PNG, TIFF or DICOM files; contrast is dark.")],
    out: Annotated[Path, typer.Option(help="Folder for masks and probabilities; made when missing.")],
    frame: Annotated[
        int | None, typer.Option(min=1, help="Frame of a DICOM run, from 1; the one with most contrast if left out.")
    ] = None,
    network: Annotated[str, typer.Option(help="A frame network of models/manifest.toml.")] = "frame",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads for the network; one a core if left out.")] = None,
) -> None:
    """Find vessels in single, unsubtracted images.

    Writes NAME.png (mask, 0 or 255), NAME-probability.png (16-bit, 65535 is certain) and segment.csv into the folder;
    refused.csv lists what could not be read. Of a TIFF of many pages the first is taken, of a DICOM run one frame.

    Example: angio segment frame.png run.dcm --out vessels

    Exit status 0: every image was segmented or is listed as refused; 1: none was; 2: usage.
    """
    from rich.progress import track

    from angio_pipeline import outputs
    from angio_pipeline.core.errors import AngioError
    from angio_pipeline.core.results import Refusal
    from angio_pipeline.networks.prediction import load_frame_predictor

    need_no_file_at(out)
    names = _names(image)
    if {path.resolve() for path in image} & {(out / file).resolve() for name in names for file in _files(name)}:
        end_wrong_usage("Expected --out to be another folder than the images', found masks of their names.")
    need_place_for(out)
    predictor = load_frame_predictor(network, threads=threads)
    out.mkdir(parents=True, exist_ok=True)
    rows: list[SegmentedImage] = []
    refusals = []
    shown = zip(image, names, strict=True)
    for path, name in track(shown, "Segmenting", total=len(image), disable=not sys.stderr.isatty(), transient=True):
        try:
            rows.append(_segment_one(path, name, out, predictor, None if frame is None else frame - 1))
        except AngioError as error:
            refusals.append(Refusal(path.name, error.reason, error.sentence))
    outputs.write_refused(out, refusals)
    outputs.write_segmented(out, rows)
    for refusal in refusals:
        typer.echo(f"angio: {refusal.path}: {refusal.sentence}", err=True)
    typer.echo(f"Segmented {len(rows)}, refused {len(refusals)}" + (f"; masks are in {out}." if rows else "."))
    if not rows:
        raise typer.Exit(1)


def _names(paths: list[Path]) -> list[str]:
    """Return a name for each image; files that share one are told apart by a number."""
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        # The dots of a UID are no suffix.
        stem = path.stem if path.suffix.lower() in _SUFFIXES else path.name
        numbered = (f"{stem}-{k}" if k > 1 else stem for k in count(1))
        names.append(next(name for name in numbered if taken.isdisjoint(_files(name))))
        taken.update(_files(names[-1]))
    return names


def _files(name: str) -> tuple[str, str]:
    return f"{name}.png", f"{name}-probability.png"


def _segment_one(path: Path, name: str, out: Path, predictor: FramePredictor, frame: int | None) -> SegmentedImage:
    from angio_pipeline import ingest, outputs
    from angio_pipeline.core.errors import InputRefused

    read = ingest.read_image(path, frame=frame)
    try:
        found = predictor(read.pixels)
    except ValueError as problem:
        raise InputRefused(str(problem), reason="wrong_size") from None
    return outputs.write_segmentation(out, name, found, file=path.name, frame=read.frame)
