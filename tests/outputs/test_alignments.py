"""How scans were aligned: in the document, as pictures, and in the report."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from angio_pipeline.core.followups import AlignmentMethod, AlignmentPictures, ScanAlignment
from angio_pipeline.outputs import LipiodolDocument, write_follow_up, write_report


def pictures(seed: int) -> AlignmentPictures:
    rng = np.random.default_rng(seed)
    return AlignmentPictures(*(rng.normal(40, 60, (60, 50)).astype(np.float32) for _ in range(3)), (-110.0, 190.0))


@pytest.fixture(scope="module")
def written(follow_up_maker, tmp_path_factory):
    path = tmp_path_factory.mktemp("subject")
    result = follow_up_maker()
    first, second, _, third = (point.source for point in result.lesions[0].timepoints)
    alignments = (
        ScanAlignment(first, 1.0, AlignmentMethod.REFERENCE),
        ScanAlignment(
            second, 7.0, AlignmentMethod.DEFORMABLE, 0.93, 2.4, 0.3, 11.0, 5.2, (0.91, 1.08), pictures=pictures(1)
        ),
        ScanAlignment(third, 35.0, AlignmentMethod.REFUSED, 0.2, reason="Expected a match, found none; check both."),
    )
    write_follow_up(
        replace(result, alignments=alignments), path, folder_of=lambda s: f"{s.date}/{s.series_instance_uid}"
    )
    return path


def test_the_document_lists_every_scan(written):
    document = LipiodolDocument.model_validate_json((written / "lipiodol.json").read_bytes())
    assert [one.method.value for one in document.alignments] == ["reference", "deformable", "refused"]
    bent = document.alignments[1]
    assert (bent.correlation, bent.edge_gap_mm, bent.bend_mm, bent.volume_change) == (0.93, 0.3, 5.2, (0.91, 1.08))
    assert document.alignments[2].correlation == 0.2
    assert document.alignments[0].correlation is None


def test_pictures_are_drawn_in_one_window(written):
    document = LipiodolDocument.model_validate_json((written / "lipiodol.json").read_bytes())
    bent = document.alignments[1]
    names = (bent.reference_view, bent.before_view, bent.after_view)
    assert len(set(names)) == 3
    shapes = {cv2.imread(str(written / name), cv2.IMREAD_UNCHANGED).shape for name in names}
    assert len(shapes) == 1


def test_the_report_alternates_scan_and_reference_without_script(written):
    page = write_report(written).read_text(encoding="utf-8")
    assert page.count('<div class="alternate">') == 2
    assert "@keyframes alternate" in page
    assert "the liver bent by 5.2 mm" in page
    assert "Not followed. Expected a match, found none; check both." in page
