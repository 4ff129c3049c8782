"""Laws of finding lesions by their oil."""

from __future__ import annotations

from pathlib import Path

import lipiodol_phantom as ph
import numpy as np
import pytest
import SimpleITK as sitk

from angio_pipeline.core.followups import CtVolume
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.lipiodol import LipiodolParams, follow_lesions
from angio_pipeline.lipiodol.finding import FindingParams, OtherScan, find_lesions
from angio_pipeline.lipiodol.tissue import Tissue, TissueParams, survey

pytestmark = pytest.mark.slow

PARAMS = FindingParams()
SMALL = {"shape": (44, 110, 132), "spacing": (3.0, 2.2, 2.2)}


def seen(oil=ph.none, **options) -> Tissue:
    return survey(ph.scan(oil, **(SMALL | options)), params=TissueParams())


def found_in(oil=ph.none, **options):
    return find_lesions(seen(oil, **options), np.eye(4), params=PARAMS)


def test_a_deposit_is_found_where_it_is():
    (lesion,) = found_in(ph.ball(100, 12), seed=1)
    np.testing.assert_allclose(lesion.centroid_mm, ph.CENTRE, atol=1.5)
    assert lesion.diameter_mm == pytest.approx(24, abs=4)


def test_bone_fat_and_noise_are_not_deposits():
    assert found_in(seed=2, noise_hu=25) == ()


def test_two_deposits_apart_are_two_lesions_largest_first():
    second = ph.ball(40, 7, centre=ph.beside(20, 25, -12))
    first = ph.ball(120, 12)
    lesions = found_in(lambda p: first(p) + second(p), seed=3)
    assert [lesion.id for lesion in lesions] == ["L1", "L2"]
    np.testing.assert_allclose(lesions[1].centroid_mm, ph.beside(20, 25, -12), atol=2)


def test_pieces_close_together_are_one_lesion():
    pieces = [ph.ball(40, 6, centre=ph.beside(d, 0, 0)) for d in (-8, 8)]
    assert len(found_in(lambda p: sum(piece(p) for piece in pieces), seed=4)) == 1


def test_a_small_nodule_beside_a_large_deposit_is_a_lesion_of_its_own():
    nodule = ph.ball(6, 4, centre=ph.beside(-23, 0, 0))
    main = ph.ball(150, 14)
    lesions = found_in(lambda p: main(p) + nodule(p), seed=5)
    assert [lesion.id for lesion in lesions] == ["L1", "L2"]
    np.testing.assert_allclose(lesions[1].centroid_mm, ph.beside(-23, 0, 0), atol=2)


def test_a_deposit_that_touches_a_rib_is_found_without_it():
    at = np.array([-104.0, -8.0, 0.0])

    def rib(p):
        # From the deposit along the body's wall, far beyond the liver.
        x, y, z = np.moveaxis(p, -1, 0)
        wall = np.abs(np.hypot(x / 140, y / 100) - 0.86) < 0.03
        return np.where(wall & (np.abs(z) < 5) & (x < -40), 400.0 - ph.anatomy(p), 0.0)

    lesions = found_in(ph.ball(150, 12, centre=at), extra=rib, seed=6)
    assert len(lesions) == 1
    np.testing.assert_allclose(lesions[0].centroid_mm, at, atol=4)
    assert lesions[0].diameter_mm < 30


def test_an_enhanced_vessel_is_not_a_deposit():
    def vein(p):
        across = np.linalg.norm((p - ph.CENTRE)[..., :2], axis=-1)
        return 90.0 * (across < 6)

    assert found_in(extra=vein, seed=5, contrast=True) == ()


def found_in_course(first: ph.Oil, then: ph.Oil) -> list[np.ndarray]:
    """Return the places of lesions where one scan shows one thing and a scan weeks later another."""
    motion = np.eye(4)
    later = OtherScan(seen(then, seed=11), motion, motion)
    lesions = find_lesions(seen(first, seed=10), motion, later=[later], params=PARAMS)
    return [np.array(lesion.centroid_mm) for lesion in lesions]


FAINT_MG, FAINT_MM = 30.0, 14.0  # 65 HU above liver


@pytest.mark.parametrize(("left", "oil"), [(0.4, True), (1.0, False), (0.0, False)])
def test_faint_oil_is_found_by_its_fading(left, oil):
    faint = ph.ball(FAINT_MG, FAINT_MM)
    assert found_in(faint, seed=10) == ()
    places = found_in_course(faint, lambda p: left * faint(p))
    assert len(places) == oil
    for place in places:
        np.testing.assert_allclose(place, ph.CENTRE, atol=3)


@pytest.mark.parametrize(("left", "oil"), [(0.4, True), (1.0, False), (0.0, False)])
def test_oil_that_reaches_out_of_the_liver_is_found_by_its_fading(left, oil):
    # More than half of what surrounds it is fat.
    at = np.array([12.0, -8.0, -10.0])
    dense = ph.ball(150.0, 12.0, centre=at)
    assert found_in(dense, seed=10) == ()
    places = found_in_course(dense, lambda p: left * dense(p))
    assert len(places) == oil
    for place in places:
        np.testing.assert_allclose(place, at, atol=4)


def test_what_was_there_before_treatment_is_no_oil():
    dense = ph.ball(100, 12)
    still = np.eye(4)
    earlier = {
        share: OtherScan(seen(lambda p, share=share: share * dense(p), seed=12), still, still) for share in (0, 1)
    }
    now = seen(dense, seed=10)
    assert find_lesions(now, still, before=[earlier[1]], params=PARAMS) == ()
    assert len(find_lesions(now, still, before=[earlier[0]], params=PARAMS)) == 1


def test_a_bone_that_the_breath_takes_away_is_no_oil():
    # A breath brings a fainter part to where the bright one was: followed with the liver it seems to fade, followed
    # with the body it is as bright as before.
    bright, faint = (ph.ball(mg, 12.0, centre=np.array([12.0, -8.0, z])) for mg, z in ((150.0, -10.0), (60.0, 22.0)))
    breath = np.eye(4)
    breath[2, 3] = 32.0

    def bone(p):
        return bright(p) + faint(p)

    first, then = seen(bone, seed=10), seen(bone, seed=11)
    still = np.eye(4)
    assert len(find_lesions(first, still, later=[OtherScan(then, breath, breath)], params=PARAMS)) == 1
    assert find_lesions(first, still, later=[OtherScan(then, breath, still)], params=PARAMS) == ()


def as_volume(image: sitk.Image) -> CtVolume:
    affine = np.eye(4)
    affine[:3, :3] = (np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing()))[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    hu = sitk.GetArrayFromImage(image).astype(np.float32)
    return CtVolume(hu, affine, Source("1", "2", date="20240101", modality="CT"))


def test_real_abdomens_without_oil_show_none(real_data: Path):
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(real_data / "ct_liver" / "dicom"))
    plain = sitk.ReadImage(str(real_data / "ct_liver" / "example_ct.nii.gz"))
    for image in (plain, sitk.ReadImage(names)):
        result = follow_lesions([as_volume(image)], [], [], [], treated=None, params=LipiodolParams())
        assert result.lesions == ()
        assert Quality.NO_LIPIODOL in result.quality
