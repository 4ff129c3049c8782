"""The manifest: what is not as it was written is refused, in a sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from angio_pipeline.core.errors import ModelError
from angio_pipeline.networks.manifest import model_entry, read_manifest, verified_weights

SCHEMA = 'schema = "angio-pipeline/models/1"\n'
ENTRY = (
    f'[[model]]\nname = "frame"\nfile = "frame.safetensors"\nsha256 = "{"0" * 64}"\n'
    'licence = "Apache-2.0"\ntraining_data = "none"\ncard = "frame.md"\n'
)


def _write(folder: Path, text: str) -> Path:
    (folder / "manifest.toml").write_text(text, encoding="utf-8")
    return folder


def test_every_network_that_is_shipped_is_as_its_manifest_says() -> None:
    assert "run" in {entry.name for entry in read_manifest()}
    for entry in read_manifest():
        assert verified_weights(entry.name).with_name(entry.card).is_file()


def test_an_entry_is_read_as_it_is_written(tmp_path: Path) -> None:
    _write(tmp_path, SCHEMA + ENTRY + "metrics = { dice = 0.5 }\n")
    entry = model_entry("frame", tmp_path)
    assert (entry.file, entry.licence, entry.metrics) == ("frame.safetensors", "Apache-2.0", {"dice": 0.5})


def test_a_manifest_may_list_nothing(tmp_path: Path) -> None:
    assert read_manifest(_write(tmp_path, SCHEMA + "model = []\n")) == ()


def test_no_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Expected models/manifest\.toml, found none; install the package again"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "schema = ",
        SCHEMA + "model = 3\n",
        SCHEMA + 'model = ["frame"]\n',
        SCHEMA + "[model]\nname = 'frame'\n",
        SCHEMA + ENTRY.replace('licence = "Apache-2.0"\n', ""),
        SCHEMA + ENTRY + "colour = 3\n",
        SCHEMA + ENTRY.replace("0" * 64, "0" * 63),
    ],
    ids=["cut short", "a number", "names", "a table", "a field missing", "a field too many", "a short digest"],
)
def test_a_broken_manifest_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelError, match=r"^Expected a readable models/manifest\.toml, found: .+\.$"):
        read_manifest(_write(tmp_path, text))


def test_a_manifest_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "manifest.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="Expected a readable"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", 'schema = "angio-pipeline/models/9"\n'])
def test_a_manifest_of_another_schema_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelError, match="Expected a manifest of schema angio-pipeline/models/1, found"):
        read_manifest(_write(tmp_path, text + ENTRY))


def test_an_unknown_name_is_told_beside_the_known_ones(tmp_path: Path) -> None:
    _write(tmp_path, SCHEMA + ENTRY + ENTRY.replace('"frame"', '"another"'))
    with pytest.raises(ModelError, match=r"lists \(another, frame\), found 'nobody'"):
        verified_weights("nobody", tmp_path)


def test_weights_that_are_missing_are_named(models) -> None:
    models.add().unlink()
    with pytest.raises(ModelError, match=r"Expected the weights frame\.safetensors, found no such file"):
        verified_weights("frame", models.folder)


@pytest.mark.parametrize("at", [0, 500, -1])
def test_one_changed_byte_is_an_error(models, change_byte: Callable[[Path, int], None], at: int) -> None:
    path = models.add()
    assert verified_weights("frame", models.folder) == path
    change_byte(path, at)
    with pytest.raises(ModelError, match=r"frame\.safetensors with SHA-256 \w+…, found \w+…: the weights were changed"):
        verified_weights("frame", models.folder)


def test_looking_at_weights_needs_no_torch() -> None:
    code = "import sys, angio_pipeline.networks.manifest; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
