from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from angio_pipeline.core.runs import Stage
from angio_pipeline.ingest.elements import read_from
from angio_pipeline.ingest.stages import stage_of


def named(description: str, protocol: str = "") -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SeriesDescription, ds.ProtocolName = description, protocol
    return read_from(ds)


@pytest.mark.parametrize(
    "words",
    [
        "post",
        "LIVER POST",
        "POST_EMBO",
        "Post-TACE frontal",
        "DSA postembolisation",
        "PostOP",
        "nach TACE",
        "après embolisation",
        "肝动脉栓塞后",
        "術後",
    ],
)
def test_words_for_after_are_understood(words):
    assert stage_of(named(words)) is Stage.AFTER


@pytest.mark.parametrize("words", ["pre", "PRE TACE", "pre-embolization", "vor Embolisation", "栓塞前", "术前造影"])
def test_words_for_before_are_understood(words):
    assert stage_of(named(words)) is Stage.BEFORE


@pytest.mark.parametrize(
    "words",
    [
        "",
        "frontal",
        "posterior",
        "LIVER PA",
        "post contrast",
        "pre-contrast mask",
        "preset 3",
        "pre and post",
        "Vorlage",
    ],
)
def test_words_that_say_nothing_or_both_are_no_evidence(words):
    assert stage_of(named(words)) is None


def test_the_protocol_counts_as_well():
    assert stage_of(named("3", "Abdomen after embolisation")) is Stage.AFTER
    assert stage_of(named("post", "pre")) is None


def test_discovery_keeps_the_word_and_nothing_of_the_text(dicom, look):
    dicom.run("a.dcm", SeriesDescription="SECRET NAME post TACE")
    dicom.run("b.dcm", SeriesDescription="frontal")
    found = {item.source.file: item for item in look(dicom.folder).runs}
    assert found["a.dcm"].stage is Stage.AFTER
    assert found["b.dcm"].stage is None
    assert "SECRET" not in repr(found)
