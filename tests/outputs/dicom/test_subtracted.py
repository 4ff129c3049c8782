"""The subtracted run as a run of its own: another reader gets the same contrast out of it."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from dicom_objects import complaints

from angio_pipeline import ingest
from angio_pipeline.core.runs import Quantity
from angio_pipeline.ingest.items import RunItem
from angio_pipeline.outputs.dicom.subtracted import stored_values, subtracted_bytes


@pytest.fixture
def written(run_result, origin, tmp_path):
    path = tmp_path / "subtracted.dcm"
    path.write_bytes(subtracted_bytes(run_result, origin))
    return path


def test_the_table_leads_back_to_the_attenuation(run_result, written):
    run = ingest.read_run(RunItem((written,), run_result.run.source, run_result.run.shape))
    assert run.quantity is Quantity.INTENSITY
    attenuation = np.log(30000) - np.log(run.frames.astype(float))
    true = run_result.subtracted.frames
    inside = true > np.log(30000 / 65000)  # brighter than that the table cannot hold
    np.testing.assert_allclose(attenuation[inside], true[inside], atol=2e-4)


def test_contrast_is_dark_and_the_background_in_between():
    stored = stored_values(np.array([0.0, 0.5, 1.0, 5.0, -5.0, np.nan], np.float32))
    assert list(stored) == [30000, 22500, 15000, 0, 65535, 30000]


def test_it_says_that_it_was_subtracted_and_from_what(run_result, written):
    ds = pydicom.dcmread(written)
    assert list(ds.ImageType)[:2] == ["DERIVED", "PRIMARY"]
    assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == run_result.run.source.sop_instance_uid
    assert ds.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    run = ingest.read_run(RunItem((written,), run_result.run.source, run_result.run.shape))
    assert run.already_subtracted


def test_frames_keep_their_times(run_result, written):
    run = ingest.read_run(RunItem((written,), run_result.run.source, run_result.run.shape))
    np.testing.assert_allclose(run.times_s, run_result.run.times_s, atol=1e-6)


def test_a_lossy_source_stays_lossy(run_result, origin_of):
    told = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "9.5"}
    ds = pydicom.dcmread(io.BytesIO(subtracted_bytes(run_result, origin_of(run_result, **told))))
    assert (ds.LossyImageCompression, float(ds.LossyImageCompressionRatio)) == ("01", 9.5)


def test_a_validator_finds_no_fault(written):
    assert complaints(written) == []
