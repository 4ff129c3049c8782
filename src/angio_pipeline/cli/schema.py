"""`angio schema`: the public documents as JSON Schema."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["schema"]


class DocumentKind(StrEnum):
    """The documents that a run of the pipeline writes, and the one that it reads."""

    RUN = "run"
    LIPIODOL = "lipiodol"
    RESPONSE = "response"
    GRAPH = "graph"
    CURVES = "curves"
    EMBOLISATION = "embolisation"
    PROJECTIONS = "projections"
    CORRECTIONS = "corrections"


def schema(
    document: Annotated[
        DocumentKind | None,
        typer.Argument(
            help="run (analysis.json), lipiodol, response, graph, curves, embolisation, projections, or corrections "
            "(read by angio run --corrections); without it one schema that takes each."
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of the files that `angio run` writes, and of the corrections that it reads.

    Example: angio schema run > analysis.schema.json
    """
    from angio_pipeline.outputs import json_schema

    typer.echo(json.dumps(json_schema(None if document is None else document.value), indent=2))
