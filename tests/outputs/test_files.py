from __future__ import annotations

import json

import pytest

from angio_pipeline.outputs import write_record
from angio_pipeline.outputs.files import replacing, write_json, write_text


def test_a_writer_that_raises_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail_half_way():
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_the_new_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "a.nii.gz"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.name.endswith("a.nii.gz")
    assert path.read_text() == "new"


def test_not_a_number_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_record_reads_back_as_it_was_given(tmp_path):
    write_record(tmp_path, {"digest": "é", "n": [1, None]})
    assert json.loads((tmp_path / "record.json").read_text(encoding="utf-8")) == {"digest": "é", "n": [1, None]}
