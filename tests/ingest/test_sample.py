"""The sample that the project carries is read whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from angio_pipeline import ingest
from angio_pipeline.core.geometry import SpacingPlane
from angio_pipeline.core.quality import Quality

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> ingest.Discovery:
    return ingest.discover([sample], workspace=tmp_path_factory.mktemp("work"))


def test_every_run_film_scan_and_region_of_the_sample_is_found(found: ingest.Discovery) -> None:
    assert not [refusal for refusal in found.refusals if refusal.reason != "not_dicom"]
    assert len(found.runs) >= 3
    assert len(found.volumes) >= 2
    assert len(found.films) >= 2
    assert found.rois
    assert len({item.source.subject for item in (*found.runs, *found.volumes, *found.films)}) == 1


def test_the_sample_is_calibrated_and_clean(found: ingest.Discovery) -> None:
    for item in found.runs:
        run = ingest.read_run(item)
        assert run.spacing is not None
        assert run.spacing.plane is SpacingPlane.ISOCENTRE
        assert not run.quality & (Quality.TIMES_UNKNOWN | Quality.NOT_CALIBRATED | Quality.BURNT_IN_OVERLAY)
        assert run.valid.mean() > 0.9


def test_regions_of_the_sample_belong_to_its_images(found: ingest.Discovery) -> None:
    rois = ingest.read_rois([path for item in found.rois for path in item.paths])
    projections = {item.source.sop_instance_uid for item in (*found.runs, *found.films)}
    series = {item.source.series_instance_uid for item in found.volumes}
    assert {roi.sop_instance_uid for roi in rois.films} <= projections
    assert {roi.series_instance_uid for roi in rois.volumes if roi.series_instance_uid} <= series
    assert rois.volumes
