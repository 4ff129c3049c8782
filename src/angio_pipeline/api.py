"""A run in Python: read it, analyse it, look at it, write it down.

    import angio_pipeline as ap

    run = ap.read_run("run.dcm")
    result = ap.analyse_run(run)
    result.plot()

The names here are those of `angio_pipeline.__all__`. They keep their meaning within a major version: parameters are
added at the end and with defaults, and what is to go is deprecated for one minor version first. Every other module
may change at any time; documents written by `angio run` are versioned on their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from angio_pipeline import ingest, outputs
from angio_pipeline.config import PipelineConfig, load_config
from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.followups import FilmRoi
from angio_pipeline.core.results import RunResult
from angio_pipeline.core.runs import AngioRun
from angio_pipeline.core.words import counted
from angio_pipeline.ingest.workspace import temporary_workspace

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["RunAnalysis", "analyse_run", "read_run"]

_FEEDER_COLUMNS = (
    "id", "rank", "probability", "contribution", "diameter_mm", "diameter_px", "arrival_s", "overlap_ambiguous",
    "target_row", "target_col", "target_path_length_mm", "target_non_target_fraction",
)  # fmt: skip


def read_run(path: str | Path) -> AngioRun:
    """Return the angiographic run of a file, or of a folder or archive that holds one and no more.

    Returns
    -------
    AngioRun
        Frames (T, H, W) with their times, spacing and angulation, as far as the file tells them.

    Raises
    ------
    InputRefused
        When there is no run (`reason` is `no_run`), more than one (`several_runs`), or one that cannot be read (the
        code of `refused.csv`).
    """
    with temporary_workspace() as workspace:
        found = ingest.discover([Path(path)], workspace=workspace)
        if len(found.runs) == 1:
            return ingest.read_run(found.runs[0])
    told = next((one for one in found.refusals if one.reason != "not_dicom"), None)
    if not found.runs and told is not None:
        raise InputRefused(told.sentence, reason=told.reason)
    reason = "several_runs" if found.runs else "no_run"
    raise InputRefused(
        f"Expected one angiographic run at the path given, found {len(found.runs)}; name a single file.", reason=reason
    )


def analyse_run(
    run: AngioRun,
    *,
    config: str | Path | PipelineConfig = "default",
    tumours: Sequence[npt.NDArray[np.bool_]] = (),
) -> RunAnalysis:
    """Return everything that is measured on a run; some seconds to a minute.

    Parameters
    ----------
    config : str, Path or PipelineConfig
        Settings: a name of `configs/`, a TOML file, or the settings themselves.
    tumours : sequence of ndarray, (H, W) bool
        Tumours drawn on the run's frames; they take the place of detection.

    Raises
    ------
    ConfigError
        When the settings cannot be read.
    InputRefused
        When the run cannot be analysed, such as one of a single frame.
    AngioError
        When the weights of a network are missing, or not those of the manifest.
    ValueError
        When a tumour has another shape than the frames.
    """
    from angio_pipeline.pipeline import load_networks, process_run

    chosen = config if isinstance(config, PipelineConfig) else load_config(str(config))
    rois = [_drawn(mask, number, run) for number, mask in enumerate(tumours, start=1)]
    networks = load_networks(chosen.segment, chosen.feeders.network)
    return RunAnalysis(process_run(run, config=chosen, rois=rois, networks=networks))


def _drawn(mask: npt.NDArray[np.bool_], number: int, run: AngioRun) -> FilmRoi:
    if mask.shape != run.shape[1:]:
        raise ValueError(
            f"Expected a tumour of shape {run.shape[1:]} as the frames, found {mask.shape}; draw it on a frame."
        )
    return FilmRoi(f"T{number}", np.asarray(mask, dtype=np.bool_), run.source.sop_instance_uid)


@dataclass(frozen=True, slots=True, eq=False)
class RunAnalysis:
    """What was measured on a run; in a notebook it shows itself.

    Attributes
    ----------
    result : RunResult
        The subtraction, the maps, the vessels and their graph, tumours with feeders and targets, as arrays.
    """

    result: RunResult

    @property
    def document(self) -> dict[str, Any]:
        """The same as `analysis.json` of `angio run` says, in millimetres and seconds where the file gave them."""
        return outputs.run_document(self.result).model_dump(mode="json")

    def feeders(self) -> pandas.DataFrame:
        """Return a row a feeder, by rank within each tumour; units are in the names, what is unknown is empty."""
        import pandas as pd

        rows = [{"tumour": t["id"], **_flat(f)} for t in self.document["tumours"] for f in t["feeders"]]
        return pd.DataFrame(rows, columns=["tumour", *_FEEDER_COLUMNS])

    def plot(self) -> Figure:
        """Return the annotated reference frame as a figure: vessels by arrival, feeders, targets."""
        from matplotlib.figure import Figure

        pixels = outputs.overlay_picture(self.result)
        figure = Figure(figsize=(pixels.shape[1] / 100, pixels.shape[0] / 100), dpi=100)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.imshow(pixels)
        axes.set_axis_off()
        return figure

    def write(self, folder: str | Path) -> Path:
        """Write the documents, masks, maps and pictures of `angio run` for this run; return the folder.

        Raises
        ------
        OSError
            When the folder cannot be written.
        """
        outputs.write_run(self.result, Path(folder))
        return Path(folder)

    def __repr__(self) -> str:
        """Say in a line what was found."""
        frames, rows, columns = self.result.run.shape
        likely = sum(one.worth_showing for tumour in self.result.tumours for one in tumour.feeders)
        return (
            f"<RunAnalysis: {counted(frames, 'frame')} of {rows} x {columns}, "
            f"{counted(len(self.result.graph.branches), 'branch', 'branches')}, "
            f"{counted(len(self.result.tumours), 'tumour')}, {counted(likely, 'likely feeder')}>"
        )

    def _repr_png_(self) -> bytes:
        """Return the picture that a notebook shows."""
        return outputs.png_bytes(outputs.overlay_picture(self.result))


def _flat(feeder: Mapping[str, Any]) -> dict[str, Any]:
    target = feeder["target"]
    return {
        name: (target if name.startswith("target_") else feeder)[name.removeprefix("target_")]
        for name in _FEEDER_COLUMNS
    }
