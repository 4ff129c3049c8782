"""Laws of the choice: one series a moment, by a stated order."""

from __future__ import annotations

import numpy as np
import pytest

from angio_pipeline.core.followups import CtVolume, VolumeRoi
from angio_pipeline.core.provenance import Source
from angio_pipeline.lipiodol.selection import choose_films, choose_scans


def series(uid: str, *, kernel: str | None = None, slice_mm: float = 3.0, contrast: bool = False, date="20240101"):
    affine = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [slice_mm, 0, 0, 0], [0, 0, 0, 1.0]])
    hu = np.zeros((3, 4, 4), dtype=np.float32)
    source = Source("1." + uid, uid, date=date, file=uid)
    return CtVolume(hu, affine, source, kernel=kernel, contrast=contrast)


def taken(*volumes: CtVolume, rois=(), alone: bool = False) -> list[str]:
    chosen, left_out = choose_scans(volumes, rois, alone=alone)
    assert len(chosen) + len(left_out) == len(volumes)
    return [volume.source.series_instance_uid for volume in chosen]


@pytest.mark.parametrize(
    ("soft", "sharp"), [("B30f", "B70f"), ("Br40d", "Bl57"), ("STANDARD", "BONEPLUS"), ("FC08", "FC81"), (None, "LUNG")]
)
def test_the_softer_kernel_is_followed(soft, sharp):
    assert taken(series("a", kernel=sharp, slice_mm=1.0), series("b", kernel=soft)) == ["b"]


def test_then_the_thinner_slices_then_the_first_by_uid():
    assert taken(series("a", slice_mm=5), series("b", slice_mm=1)) == ["b"]
    assert taken(series("b"), series("a")) == ["a"]


def test_a_scan_without_contrast_agent_comes_before_one_with_it():
    assert taken(series("a", contrast=True, kernel="B20f"), series("b", kernel="B70f")) == ["b"]


def test_a_series_that_a_region_names_comes_first():
    bone = series("b", kernel="B70f")
    roi = VolumeRoi("L1", np.ones((3, 4, 4), dtype=bool), bone.affine, "b")
    assert taken(series("a", kernel="B30f"), bone, rois=[roi]) == ["b"]


def test_other_moments_are_all_followed():
    assert taken(series("a"), series("b", date="20240102"), series("c")) == ["a", "b"]


def test_an_image_alone_needs_no_date():
    undated = series("a", date="undated")
    assert taken(undated, alone=True) == ["a"]
    chosen, (refusal,) = choose_scans([undated], [], alone=False)
    assert (chosen, refusal.path, refusal.reason) == ([], "a", "undated")
    assert choose_films([], alone=False) == ([], [])
