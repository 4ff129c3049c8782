"""`angio review`: the radiologist's page over written results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["review"]


def review(
    results: Annotated[Path, typer.Argument(metavar="OUT", help="Folder that angio run wrote.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes any free port.")] = 8741,
    source: Annotated[
        list[Path] | None, typer.Option(help="Folder with the source images, for frames and re-analysis; repeatable.")
    ] = None,
    roi: Annotated[list[Path] | None, typer.Option(help="Regions that the results were made with; repeatable.")] = None,
    corrections: Annotated[
        list[Path] | None, typer.Option(help="Corrections that the results were made with; repeatable.")
    ] = None,
    readings: Annotated[
        list[Path] | None, typer.Option(help="Readings that the results were made with; repeatable.")
    ] = None,
    unblind: Annotated[bool, typer.Option("--unblind", help="Let readers see what the others say.")] = False,
    tokens: Annotated[
        Path | None, typer.Option(help="Who may read: a line each, a token, then perhaps the reader's name.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; others than loopback need tokens and TLS.")
    ] = "127.0.0.1",
    name: Annotated[list[str] | None, typer.Option(help="Name that browsers know the server by; repeatable.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="TLS certificate (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="TLS key (PEM).")] = None,
) -> None:
    """Serve the review page of OUT until it is interrupted; only this machine reaches it.

    Example: angio review OUT --source exports/

    What readers say is kept in OUT/review; results stay as they are.
    """
    from angio_pipeline.core.errors import ConfigError
    from angio_pipeline.review.server import Listening, serve
    from angio_pipeline.review.sessions import read_tokens
    from angio_pipeline.review.state import ReviewSettings

    given = [*(source or []), *(roi or []), *(corrections or []), *(readings or []), certificate, key]
    for path in given:
        if path is not None and not path.exists():
            raise ConfigError(f"Expected a file or folder, found nothing at {path}.")
    settings = ReviewSettings(
        out=results.resolve(),
        sources=tuple(source or ()),
        rois=tuple(roi or ()),
        corrections=tuple(corrections or ()),
        readings=tuple(readings or ()),
        tokens={} if tokens is None else read_tokens(tokens),
        unblinded=unblind,
    )
    listening = Listening(host, port, tuple(name or ()), certificate, key)
    serve(settings, listening, tell=lambda address: typer.echo(f"Review: {address} (Ctrl-C ends it)"))
