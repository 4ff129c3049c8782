"""Laws of coverage, completeness, pattern and margin."""

from __future__ import annotations

import lipiodol_phantom as ph
import numpy as np
import pytest

from angio_pipeline.core.followups import Completeness, MarginGrade, Pattern
from angio_pipeline.lipiodol.coverage import CoverageParams, describe_coverage, grade_margin
from angio_pipeline.lipiodol.deposit import DepositParams, segment_deposit
from angio_pipeline.lipiodol.lesions import cut_patch, lesion_from_roi

PARAMS = CoverageParams()
SHAPE, SPACING = (44, 60, 60), (1.6, 1.4, 1.4)
RADIUS = 15.0


def sight(oil, seed=1):
    volume = ph.scan(oil, shape=SHAPE, grid=ph.affine(SPACING, SHAPE, shift=ph.CENTRE), seed=seed)
    patch = cut_patch(
        volume, np.eye(4), lesion_from_roi(ph.roi(RADIUS, volume), np.eye(4)), (), margin_mm=22.0, padding_mm=5.0
    )
    everywhere = np.ones(patch.hu.shape, dtype=bool)
    return patch, segment_deposit(patch, everywhere, ph.LIVER_HU, 10.0, params=DepositParams())


def described(oil, *, holds_oil=True):
    patch, deposit = sight(oil)
    return describe_coverage(patch, deposit, ph.LIVER_HU, 10.0, holds_oil=holds_oil, params=PARAMS)


def half(oil):
    return lambda p: oil(p) * ((p - ph.CENTRE)[..., 1] < 2)


def mottled(p):
    q = p - ph.CENTRE
    waves = np.sin(q[..., 0] / 1.7) * np.sin(q[..., 1] / 1.7) * np.sin(q[..., 2] / 1.7)
    return 14.0 * np.clip(waves, 0, None) ** 0.5 * (np.linalg.norm(q, axis=-1) < RADIUS)


def test_full_even_oil_is_complete_and_homogeneous():
    found = described(ph.ball(150, RADIUS))
    assert (found.completeness, found.pattern) == (Completeness.COMPLETE, Pattern.HOMOGENEOUS)


def test_half_a_tumour_is_defective_and_about_half_covered():
    found = described(half(ph.ball(150, RADIUS)))
    assert found.completeness is Completeness.MODERATE
    assert found.pattern is Pattern.DEFECTIVE
    assert found.percent["75"] == pytest.approx(60, abs=8)


def test_mottled_oil_is_inhomogeneous():
    assert described(mottled).pattern is Pattern.INHOMOGENEOUS


def test_uneven_oil_without_a_gap_is_homogeneous():
    whole = ph.ball(200, RADIUS)
    assert (
        described(lambda p: whole(p) * (1 + 0.6 * np.sin((p - ph.CENTRE)[..., 0] / 2.5))).pattern is Pattern.HOMOGENEOUS
    )


def test_little_oil_everywhere_is_faint():
    assert described(ph.ball(20, RADIUS)).pattern is Pattern.FAINT


def test_no_oil_has_no_pattern_and_is_poor():
    found = described(ph.none, holds_oil=False)
    assert (found.completeness, found.pattern) == (Completeness.POOR, Pattern.NONE)


def test_coverage_falls_with_the_threshold():
    percent = described(ph.ball(120, RADIUS)).percent
    assert list(percent) == ["75", "160", "215"]
    assert percent["75"] > percent["160"] > percent["215"]


@pytest.mark.parametrize(
    ("oil", "grade"),
    [
        (ph.ball(900, RADIUS + 10.5), MarginGrade.A),
        (ph.ball(200, RADIUS + 1), MarginGrade.B),
        (half(ph.ball(150, RADIUS)), MarginGrade.C),
    ],
)
def test_the_margin_grade_follows_the_rule(oil, grade):
    patch, deposit = sight(oil)
    assert grade_margin(patch, deposit, 2 * RADIUS, params=PARAMS) is grade
