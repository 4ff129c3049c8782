"""`angio schema`: the public documents as JSON Schema."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["schema"]


class DocumentKind(StrEnum):
    """The documents that a run of the pipeline writes."""

    RUN = "run"
    LIPIODOL = "lipiodol"
    GRAPH = "graph"
    CURVES = "curves"
    EMBOLISATION = "embolisation"


def schema(
    document: Annotated[
        DocumentKind | None,
        typer.Argument(help="run (analysis.json), lipiodol, graph, curves or embolisation; without it one for all."),
    ] = None,
) -> None:
    """Print the JSON Schema of the files that `angio run` writes.

    Example: angio schema run > analysis.schema.json
    """
    from angio_pipeline.outputs import json_schema

    typer.echo(json.dumps(json_schema(None if document is None else document.value), indent=2))
