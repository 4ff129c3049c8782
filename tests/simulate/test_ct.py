"""A scan holds the oil, the volumes and the tissues of the patient, however it is taken."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from angio_pipeline.core.followups import Completeness
from angio_pipeline.simulate.aftermath.ct import (
    CLIP_HU,
    CtParams,
    CtPhase,
    CtScan,
    CtVisit,
    Kernel,
    enhancement_hu,
    iodine_slope,
    plan_visits,
    scan_visit,
)
from angio_pipeline.simulate.aftermath.ct_painting import Paint, VoxelGrid, paint, pour
from angio_pipeline.simulate.aftermath.ct_placement import Placement
from angio_pipeline.simulate.aftermath.deposits import DepositParams
from angio_pipeline.simulate.aftermath.treatment import Treatment, TreatmentParams, draw_treatment
from angio_pipeline.simulate.anatomy.lesions import TumourKind
from angio_pipeline.simulate.radiograph.body import Body, build_body
from angio_pipeline.simulate.radiograph.projection import Ellipsoids, Tubes

pytestmark = pytest.mark.slow

LOBES = Ellipsoids.aligned([[-42, 6, 6], [26, -26, 24]], [[60, 56, 76], [58, 34, 42]])
USUAL = {"matrix": 96, "low_mm": -60.0, "high_mm": 60.0, "slice_mm": 4.0, "noise_hu": 0.0}
MOVED = Placement(np.array([5.0, -3.0, 4.0]), 0.04, 6.0, 1.5, np.array([0.3, 1.0, 2.0, 4.0]))


@pytest.fixture(scope="module")
def body() -> Body:
    return build_body(LOBES, np.random.default_rng(1))


@pytest.fixture(scope="module")
def patient(anatomy: Callable[..., Any]) -> Any:
    return anatomy()


@pytest.fixture(scope="module")
def treated(patient: Any, plan: Callable[..., Any]) -> Treatment:
    quiet = TreatmentParams(new_lesions_per_year=0.0, non_target=1.0)
    oil = DepositParams(biexponential=0.0)
    return draw_treatment(patient, plan(), quiet, np.random.default_rng(0), deposit=oil)


def without_oil(treatment: Treatment) -> Treatment:
    bare = tuple(replace(lesion, deposit=None) for lesion in treatment.lesions)
    return replace(treatment, lesions=bare, segment=None, walls={})


def take(
    body: Body, patient: Any, treatment: Treatment, days: float = 1.0, phase: CtPhase = CtPhase.PLAIN, **settings: Any
) -> CtScan:
    params = CtParams.model_validate(USUAL | settings)
    return scan_visit(body, patient, treatment, CtVisit(days, (phase,)), params, np.random.default_rng(7))[0]


def mass_mg(scan: CtScan, plain: CtScan) -> float:
    voxel_ml = float(np.prod(scan.spacing_mm)) / 1000
    return float((scan.hu.astype(float) - plain.hu).sum() * voxel_ml / scan.hu_per_mg_ml)


@pytest.mark.parametrize(
    ("days", "settings"),
    [
        (1.0, {}),
        (1.0, {"kernel": "sharp", "kvp": 80.0}),
        (28.0, {"kernel_mm": 1.5, "kvp": 110.0}),
        (84.0, {"slice_mm": 5.0, "kvp": 140.0}),
        (28.0, {"slice_mm": 5.0, "increment_mm": 2.5}),
        (28.0, {"slice_mm": 2.0, "matrix": 128}),
        (84.0, {"breath_mm": 15.0, "bend_mm": 4.0, "turn_deg": 8.0}),
    ],
)
def test_iodine_on_ct_adds_up_to_the_truth(
    body: Body, patient: Any, treated: Treatment, days: float, settings: dict[str, Any]
) -> None:
    scan = take(body, patient, treated, days, **settings)
    told = sum(scan.iodine_mg.values()) + scan.liver_iodine_mg + sum(scan.wall_iodine_mg.values())
    assert sum(scan.iodine_mg.values()) > 50
    assert mass_mg(scan, take(body, patient, without_oil(treated), days, **settings)) == pytest.approx(told, rel=0.01)


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.5])
def test_a_lesion_that_shrank_or_grew_keeps_its_oil(patient: Any, treated: Treatment, scale: float) -> None:
    grid = VoxelGrid(np.array([-120.0, -60.0, -60.0]), (3.0, 1.6, 1.6), (40, 70, 80), 3.0)
    oil = treated.lesions[0].deposit.oil
    shrunk = oil.changed(0.4, scale)
    poured = pour(shrunk.mg_ml[None], shrunk.centre_mm, shrunk.step_mm, grid, MOVED)
    assert poured.values[0].sum(dtype=float) * grid.voxel_ml == pytest.approx(0.4 * oil.iodine_mg, rel=1e-4)


def test_a_voxel_belongs_to_a_lesion_when_half_of_it_does(patient: Any, treated: Treatment) -> None:
    # Counted against twenty times finer samples of a voxel's own volume.
    lesion = treated.lesions[0]
    grid = VoxelGrid(np.array([-85.0, -20.0, -10.0]), (4.0, 2.5, 2.5), (11, 20, 22), 4.0)
    poured = pour(lesion.grid.solid[None], lesion.grid.centre_mm, lesion.grid.step_mm, grid, Placement.at_rest())
    fine = [
        np.linspace(o - s / 2, o + (n - 0.5) * s, 6 * n, endpoint=False) + s / 12
        for o, s, n in zip(grid.origin_mm[::-1], grid.spacing_mm, grid.shape, strict=True)
    ]
    z, y, x = np.meshgrid(*fine, indexing="ij")
    points = np.stack([x, y, z], axis=-1)
    inside = np.zeros(z.shape, bool)
    for centre, shape in zip(lesion.body.solid.centre, lesion.body.solid.shape, strict=True):
        inside |= (((points - centre) @ shape.T) ** 2).sum(axis=-1) <= 1
    share = inside.reshape(11, 6, 20, 6, 22, 6).mean(axis=(1, 3, 5))
    full = np.zeros(grid.shape)
    full[poured.where] = poured.values[0]
    np.testing.assert_allclose(full, share, atol=0.12)
    assert np.count_nonzero((full >= 0.5) != (share >= 0.5)) < 0.02 * np.count_nonzero(share >= 0.5)


def test_the_deposit_mask_is_as_large_as_what_holds_oil(body: Body, patient: Any, plan: Callable[..., Any]) -> None:
    whole = DepositParams(homogeneous=1, defective=0, inhomogeneous=0, faint=0)
    treated = draw_treatment(patient, plan(), TreatmentParams(), np.random.default_rng(0), deposit=whole)
    scan = take(body, patient, treated, matrix=256, slice_mm=1.5, low_mm=-44.0, high_mm=34.0)
    voxel = float(np.prod(scan.spacing_mm))
    for lesion in treated.lesions:
        region = (lesion.grid.solid * lesion.deposit.region).sum() * lesion.grid.step_mm**3
        region *= lesion.scale(1.0) ** 3
        assert scan.deposits[lesion.id].sum() * voxel == pytest.approx(region, rel=0.04)
        assert scan.lesions[lesion.id].sum() * voxel == pytest.approx(
            lesion.grid.volume_mm3 * lesion.scale(1.0) ** 3, rel=0.04
        )


def test_masks_and_centroids_follow_the_patient(body: Body, patient: Any, treated: Treatment) -> None:
    scan = take(body, patient, treated, shift_mm=12.0, breath_mm=12.0, bend_mm=3.0, turn_deg=5.0)
    assert np.linalg.norm(scan.centroid_mm["L1"] - patient.tumours[0].centre_mm) > 5
    rest = treated.lesions[0]
    points = rest.grid.points_mm(rest.grid.solid > 0.5)
    expected = scan.placement.to_scanner(points).mean(axis=0)
    index = np.argwhere(scan.lesions["L1"]).mean(axis=0)
    np.testing.assert_allclose(scan.origin_mm + (index * scan.spacing_mm)[::-1], expected, atol=0.6)


def test_moving_there_and_back_changes_nothing() -> None:
    points = np.random.default_rng(0).uniform(-100, 100, (200, 3))
    for viscera in (True, False):
        there = MOVED.to_scanner(points, viscera=viscera)
        np.testing.assert_allclose(MOVED.to_patient(there, viscera=viscera), points, atol=1e-9)


def test_the_liver_deforms_without_losing_volume() -> None:
    points = np.random.default_rng(0).uniform(-80, 80, (50, 3))
    step = 1e-4
    columns = [
        (MOVED.to_scanner(points + step * axis) - MOVED.to_scanner(points - step * axis)) / (2 * step)
        for axis in np.eye(3)
    ]
    np.testing.assert_allclose(np.linalg.det(np.stack(columns, axis=-1)), 1.0, atol=1e-6)
    bent = MOVED.to_scanner(points) - MOVED.to_scanner(points, viscera=False)
    assert np.linalg.norm(bent, axis=1).max() < np.sqrt(3) * MOVED.reach_mm
    assert np.ptp(np.linalg.norm(bent, axis=1)) > 0.5


def test_painted_solids_fill_their_volume() -> None:
    grid = VoxelGrid(np.array([-50.0, -40.0, -30.0]), (3.0, 1.5, 1.5), (24, 60, 70), 3.0)
    ball = Ellipsoids.aligned([-15.0, 3.0, 4.0], [11.0, 8.0, 14.0])
    image = paint([Paint(ball, (1.0,), True)], grid, MOVED, empty=0.0)
    assert image.sum() * grid.voxel_ml * 1000 == pytest.approx(4 / 3 * np.pi * 11 * 8 * 14, rel=0.02)
    # A rod through the whole scan: what the slices see of it is its cross-section.
    rod = Tubes(np.array([[-5.0, -10.0, -100.0]]), np.array([[5.0, 10.0, 100.0]]), np.array([5.0]))
    image = paint([Paint(rod, (1.0,), False)], grid, Placement.at_rest(), empty=0.0)
    slanted = np.pi * 25 * np.linalg.norm([10, 20, 200]) / 200
    np.testing.assert_allclose(image[0].sum(axis=(1, 2)) * 1.5**2, slanted, rtol=0.04)


def test_later_solids_cover_earlier_ones_in_every_phase() -> None:
    grid = VoxelGrid(np.array([-20.0, -20.0, -20.0]), (2.0, 2.0, 2.0), (20, 20, 20), 2.0)
    outer, inner = (Ellipsoids.aligned([0.0, 0.0, 0.0], [r] * 3) for r in (15.0, 6.0))
    image = paint([Paint(outer, (10.0, 20.0), False), Paint(inner, (50.0, 90.0), False)], grid, Placement.at_rest())
    assert image[:, 10, 10, 10].tolist() == [50, 90]
    assert image[:, 10, 10, 15].tolist() == [10, 20]
    assert image[:, 0, 0, 0].tolist() == [-1000, -1000]


def test_tissues_have_their_values_and_enhance_in_their_phase(body: Body, patient: Any, treated: Treatment) -> None:
    phases = (CtPhase.PLAIN, CtPhase.ARTERIAL, CtPhase.PORTAL)
    params = CtParams.model_validate(USUAL | {"contrast_spread": 0.0, "shift_mm": 0.0, "turn_deg": 0.0})
    scans = scan_visit(body, patient, treated, CtVisit(-3.0, phases), params, np.random.default_rng(0))
    core = scans[0].lesions["L1"]
    found = [float(np.median(scan.hu[core])) for scan in scans]
    wanted = [46 + enhancement_hu(TumourKind.HYPERVASCULAR, phase) for phase in phases]
    np.testing.assert_allclose(found, wanted, atol=3)
    liver = [float(np.median(scan.hu[8:15, 38:52, 29:34])) for scan in scans]
    # The tumour outshines the liver in the arterial phase and has washed out in the portal phase.
    assert found[1] - liver[1] > 30
    assert found[2] - liver[2] < -5
    assert np.median(scans[0].hu[0, :3]) == pytest.approx(-1000, abs=5)


def test_dead_tissue_does_not_enhance(body: Body, patient: Any, plan: Callable[..., Any]) -> None:
    dead = draw_treatment(
        patient,
        plan(necrosis_main=1.0, oil_ml=0.0),
        TreatmentParams(new_lesions_per_year=0.0),
        np.random.default_rng(0),
    )
    plain, arterial = (take(body, patient, dead, 28.0, phase) for phase in (CtPhase.PLAIN, CtPhase.ARTERIAL))
    inside = plain.lesions["L1"]
    assert np.median(plain.hu[inside]) == pytest.approx(34, abs=3)
    assert np.median((arterial.hu.astype(int) - plain.hu)[inside]) == pytest.approx(0, abs=1)


def test_iodine_counts_by_tube_voltage() -> None:
    assert [iodine_slope(kvp) for kvp in (80, 100, 120, 140)] == [41.0, 31.5, 25.0, 21.2]
    assert iodine_slope(90) == pytest.approx(0.5 * (41.0 + 31.5))
    assert enhancement_hu(TumourKind.RIM, CtPhase.PLAIN) == 0


def test_dense_oil_clips_and_is_counted(body: Body, patient: Any, plan: Callable[..., Any]) -> None:
    dense = DepositParams(dense_share=1.0, dense_mg_ml=300.0, homogeneous=1, defective=0, inhomogeneous=0, faint=0)
    made = draw_treatment(patient, plan(oil_ml=30.0), TreatmentParams(), np.random.default_rng(0), deposit=dense)
    scan = take(body, patient, made)
    assert scan.hu.max() == CLIP_HU
    assert scan.clipped_voxels["L1"] == np.count_nonzero(scan.hu[scan.deposits["L1"]] == CLIP_HU) > 50


def noise_of(body: Body, patient: Any, treated: Treatment, **settings: Any) -> np.ndarray:
    noisy = take(body, patient, treated, noise_hu=20.0, **settings)
    still = take(body, patient, treated, noise_hu=0.0, **settings)
    # The middle of the body, where the noise is greatest.
    middle = slice(int(0.45 * len(noisy.hu[0])), int(0.57 * len(noisy.hu[0])))
    return (noisy.hu.astype(float) - still.hu)[:, middle, middle]


def test_noise_is_as_strong_as_said_and_stronger_with_a_sharp_kernel(
    body: Body, patient: Any, treated: Treatment
) -> None:
    some = {"matrix": 256, "low_mm": 0.0, "high_mm": 42.0}
    soft = noise_of(body, patient, treated, **some).std()
    assert soft == pytest.approx(20.0, rel=0.06)
    assert noise_of(body, patient, treated, **some, kernel="sharp").std() > 1.4 * soft


def test_noise_is_correlated_between_slices(body: Body, patient: Any, treated: Treatment) -> None:
    noise = noise_of(body, patient, treated)
    beside = float((noise[1:] * noise[:-1]).mean() / noise.var())
    assert 0.15 < beside < 0.6
    single = noise_of(body, patient, treated, noise_reach=0.0)
    assert abs(float((single[1:] * single[:-1]).mean() / single.var())) < 0.05


def test_the_sharp_kernel_shows_finer_detail(body: Body, patient: Any, treated: Treatment) -> None:
    def steepest(kernel: Kernel) -> float:
        scan = take(body, patient, treated, kernel=kernel, matrix=256, high_mm=6.0, low_mm=0.0)
        return float(np.abs(np.diff(scan.hu.astype(float), axis=2)).max())

    assert steepest(Kernel.SHARP) > 1.15 * steepest(Kernel.SOFT)


def test_phases_of_a_visit_lie_on_each_other(body: Body, patient: Any, treated: Treatment) -> None:
    params = CtParams.model_validate(USUAL)
    visit = CtVisit(28.0, (CtPhase.PLAIN, CtPhase.PORTAL))
    one, two = scan_visit(body, patient, treated, visit, params, np.random.default_rng(0))
    np.testing.assert_array_equal(one.lesions["L1"], two.lesions["L1"])
    assert (one.phase, two.phase) == (CtPhase.PLAIN, CtPhase.PORTAL)
    assert two.hu.astype(float).sum() > one.hu.astype(float).sum()


def test_the_same_seed_gives_the_same_scan(body: Body, patient: Any, treated: Treatment) -> None:
    one, two = (take(body, patient, treated, noise_hu=10.0) for _ in range(2))
    np.testing.assert_array_equal(one.hu, two.hu)


def test_visits_begin_before_treatment() -> None:
    visits = plan_visits(CtParams(days=(1.0, 28.0, 84.0)))
    assert [v.days for v in visits] == [-3.0, 1.0, 28.0, 84.0]
    assert visits[1].phases == (CtPhase.PLAIN,)
    assert CtPhase.ARTERIAL in visits[3].phases


def test_another_protocol_leaves_the_patient_as_it_is(body: Body, patient: Any, treated: Treatment) -> None:
    usual, other = (take(body, patient, treated, 28.0, other_protocol=p) for p in (0.0, 1.0))
    assert (other.kvp, other.kernel) == (100.0, Kernel.SHARP)
    assert other.slice_mm > usual.slice_mm
    assert other.iodine_mg == usual.iodine_mg
    np.testing.assert_allclose(other.centroid_mm["L1"], usual.centroid_mm["L1"])


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"days": (28.0, 1.0)}, "days"),
        ({"days": (-1.0, 28.0)}, "baseline_day"),
        ({"days": ()}, "days"),
        ({"baseline_day": 2.0}, "baseline_day"),
        ({"late_phases": ("plain", "plain")}, "late_phases"),
        ({"kvp": 60}, "kvp"),
        ({"kernel": "bone"}, "kernel"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        CtParams.model_validate(settings)


def test_coverage_is_told_as_it_truly_is(body: Body, patient: Any, plan: Callable[..., Any]) -> None:
    whole = DepositParams(homogeneous=1, defective=0, inhomogeneous=0, faint=0, unevenness=0.05)
    faint = DepositParams(homogeneous=0, defective=0, inhomogeneous=0, faint=1)
    rich, poor = (
        draw_treatment(patient, plan(), TreatmentParams(), np.random.default_rng(0), deposit=d) for d in (whole, faint)
    )
    assert take(body, patient, rich).coverage["L1"] == {"75": 100.0, "160": 100.0, "215": 100.0}
    low = take(body, patient, poor).coverage["L1"]
    assert low["75"] > low["160"] >= low["215"]
    assert low["215"] < 5
    assert take(body, patient, rich).completeness["L1"] is Completeness.COMPLETE
    assert take(body, patient, poor, 200.0).completeness["L1"] is Completeness.POOR
    assert take(body, patient, rich, -3.0).coverage["L1"] == {}
