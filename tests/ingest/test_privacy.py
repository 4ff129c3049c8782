"""Nothing of the patient leaves ingest: not in logs, warnings, messages or items."""

from __future__ import annotations

import logging
from typing import Any

import pydicom
import pytest
from pydicom.config import disable_value_validation

from angio_pipeline import ingest
from angio_pipeline.core.provenance import Source, public_name
from angio_pipeline.ingest.pseudonym import read_key


@pytest.mark.parametrize("broken", ["PatientName", "PatientID", "StudyDate", "FrameTime", "SeriesInstanceUID"])
def test_broken_values_are_quoted_nowhere(
    dicom: Any, look: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], broken: str
) -> None:
    path = dicom.run()
    with disable_value_validation():
        ds = pydicom.dcmread(path)
        del ds[broken]
        ds.add_new(pydicom.datadict.tag_for_keyword(broken), "LO", "SECRET " * 20)
        ds.save_as(path)
    with caplog.at_level(logging.DEBUG):
        found = look(path)
        for item in found.runs:
            run = ingest.read_run(item)
            assert "SECRET" not in repr((run.source, run.provenance))
    assert "SECRET" not in repr(found)
    assert "SECRET" not in caplog.text
    output = capfd.readouterr()
    assert "SECRET" not in output.out + output.err


def test_the_key_is_in_no_item_and_no_log(dicom: Any, look: Any, caplog: pytest.LogCaptureFixture) -> None:
    dicom.run()
    with caplog.at_level(logging.DEBUG):
        found = look(dicom.folder)
    key = read_key().hex()
    assert key not in caplog.text
    assert key not in repr(found)


@pytest.mark.parametrize(
    "name", ["IM_0012.dcm", "run.dcm", "-1.dcm", "film-028.dcm", "2.25.1234.5678.9.dcm", "I10", f"2.25.{3**75}.dcm"]
)
def test_a_name_that_numbers_files_may_be_shown(name: str) -> None:
    assert public_name(f"Doe^Jane/{name}") == name


@pytest.mark.parametrize(
    "name",
    ["Doe_1950.dcm", "jane.dcm", "12345678.dcm", "D\u00f6 1.dcm", "xa 1.dcm", "runs of Jane 1", "2.25.19500101.dcm"],
)
def test_a_name_that_could_be_anybodys_is_not_shown_and_its_hash_tells_nothing_of_it(name: str) -> None:
    assert public_name(name) == ""
    one, two = Source("1.2", "1", file=name), Source("1.2", "1", file=f"other-{name}")
    assert one.public_file.split(".")[0] == two.public_file.split(".")[0]
