from __future__ import annotations

import gzip
import struct

import cv2
import numpy as np
import pytest
import SimpleITK as sitk

from angio_pipeline.core.followups import AlignedView
from angio_pipeline.outputs import LipiodolDocument, write_follow_up
from angio_pipeline.outputs.nifti import nifti_bytes
from angio_pipeline.outputs.pictures import slice_picture


@pytest.fixture(scope="module")
def written(follow_up_maker, tmp_path_factory):
    path = tmp_path_factory.mktemp("subject")
    write_follow_up(follow_up_maker(), path, folder_of=lambda s: f"{s.date}/{s.series_instance_uid}")
    return path


def test_every_file_that_the_document_names_is_below_the_patient(written):
    document = LipiodolDocument.model_validate_json((written / "lipiodol.json").read_bytes())
    names = [n for p in document.lesions[0].timepoints for n in (p.deposit_mask, p.view) if n is not None]
    assert len(names) == 7
    for name in names:
        assert (written / name).resolve().is_relative_to(written.resolve())
        assert (written / name).stat().st_size > 0


@pytest.mark.parametrize("axes", [(1, 1, 1), (-1, 1, 1), (1, -1, 1)])
def test_a_deposit_stands_where_its_scan_says(tmp_path, follow_up_maker, axes):
    deposit = follow_up_maker().lesions[0].timepoints[0].deposit
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = deposit.affine.copy()
    affine[:3, :3] = turn @ np.diag(axes).astype(float) @ np.asarray([[0, 0, 0.8], [0, 0.7, 0], [3.0, 0, 0]])
    (tmp_path / "d.nii.gz").write_bytes(nifti_bytes(deposit.mask, affine))
    image = sitk.ReadImage(str(tmp_path / "d.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), deposit.mask)
    for z, y, x in ((0, 0, 0), (3, 9, 11), (5, 19, 19)):
        expected = (affine @ (z, y, x, 1))[:3]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((x, y, z)), expected, atol=1e-4)


def test_a_tilted_gantry_stays_tilted():
    affine = np.array([[0, 0, 0.8, 1], [0.6, 0.8, 0, 2], [3, 0, 0, 4], [0, 0, 0, 1.0]])
    content = gzip.decompress(nifti_bytes(np.ones((2, 3, 4), bool), affine))
    stored = np.array(struct.unpack_from("<12f", content, 280)).reshape(3, 4)
    z, y, x = 1, 2, 3
    right, anterior, superior = stored @ (x, y, z, 1)
    np.testing.assert_allclose((-right, -anterior, superior), (affine @ (z, y, x, 1))[:3], rtol=1e-6)


def test_the_same_deposit_is_the_same_file():
    mask = np.eye(4, dtype=bool)[None]
    assert nifti_bytes(mask, np.eye(4)) == nifti_bytes(mask, np.eye(4))


def test_a_folder_outside_the_patient_is_refused(follow_up_maker, tmp_path):
    with pytest.raises(ValueError, match="below the subject's folder"):
        write_follow_up(follow_up_maker(), tmp_path / "s", folder_of=lambda s: "../elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def test_one_window_shows_less_oil_darker():
    def view(amount):
        image = np.full((40, 40), 50.0, np.float32)
        image[15:25, 15:25] += amount
        return AlignedView(image, image > 100, image > 100, (0.0, amount))

    early, late = (slice_picture(view(a), (0.0, 400.0)) for a in (300.0, 150.0))
    assert early[180, 180].mean() > late[180, 180].mean()


def test_the_outline_is_drawn_on_the_slice(written):
    picture = cv2.imread(str(next(iter(written.glob("*/*/slice-L1.png")))))
    assert (np.abs(picture[..., ::-1].astype(int) - (230, 159, 0)).max(axis=2) < 25).sum() > 100
