"""One click on a vessel: the way that the next analysis would take, shown before it is stored."""

from __future__ import annotations

from pathlib import Path

from angio_pipeline.core.errors import AngioError
from angio_pipeline.core.geometry import PixelSpacing
from angio_pipeline.outputs.read_back import read_graph, read_tumour
from angio_pipeline.outputs.schemas import GraphDocument, RunDocument
from angio_pipeline.review.answers import SnapAnswer
from angio_pipeline.review.problems import not_found

__all__ = ["snap_click"]


def snap_click(
    document: RunDocument, graph: GraphDocument, folder: Path, tumour_id: str, click: tuple[float, float]
) -> SnapAnswer:
    """Return the feeder through a click, laid by the analysis' own function on the written tree.

    Raises
    ------
    ReviewProblem
        404, when there is no such tumour, or its mask cannot be read.
    """
    from angio_pipeline.tumour import CorrectionParams, FeederParams, try_click

    told = next((one for one in document.tumours if one.id == tumour_id), None)
    if told is None:
        raise not_found("this tumour")
    image = document.image
    try:
        tumour = read_tumour(told, folder, (image.rows, image.columns))
    except AngioError:
        raise not_found("the mask of this tumour") from None
    spacing = None if image.spacing_mm is None else PixelSpacing(*image.spacing_mm, plane=image.spacing_plane)
    laid = try_click(
        click,
        tumour,
        read_graph(graph),
        spacing,
        feeders=FeederParams.model_validate(document.settings.get("feeders", {})),
        params=CorrectionParams.model_validate(document.settings.get("corrections", {})),
    )
    if isinstance(laid, str):
        return SnapAnswer(found=False, sentence=laid, centreline=[], branch_start=None, gap_px=None)
    line = [(round(float(row), 2), round(float(col), 2)) for row, col in laid.feeder.centreline]
    start = laid.feeder.branch_start
    return SnapAnswer(found=True, sentence="", centreline=line, branch_start=start, gap_px=float(laid.gap_px))
