from __future__ import annotations

import json

import jsonschema
import pytest
import typer
from typer.testing import CliRunner

from angio_pipeline.cli.schema import schema


def run(*arguments):
    app = typer.Typer()
    app.command()(schema)
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.slow
def test_the_command_prints_a_schema_that_is_one():
    kinds = ("run", "lipiodol", "graph", "curves", "embolisation", "projections", "corrections")
    for arguments in ((), *((kind,) for kind in kinds)):
        outcome = run(*arguments)
        assert outcome.exit_code == 0
        jsonschema.Draft202012Validator.check_schema(json.loads(outcome.stdout))


def test_an_unknown_document_is_a_usage_error():
    assert run("patient").exit_code == 2
