"""Follow-up imaging and the oil that stays.

Volumes are (Z, Y, X); `affine` takes (z, y, x, 1) indices to patient LPS (x, y, z, 1) in mm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.arrays import frozen_array
from angio_pipeline.core.geometry import CArmPose, PixelSpacing
from angio_pipeline.core.provenance import Provenance, Source
from angio_pipeline.core.quality import Quality
from angio_pipeline.core.response import LesionSight
from angio_pipeline.core.runs import Quantity
from angio_pipeline.core.tumours import LesionOrigin

__all__ = [
    "AlignmentMethod",
    "AlignmentPictures",
    "Completeness",
    "CtVolume",
    "FilmRoi",
    "Kinetics",
    "KineticsModel",
    "LesionCourse",
    "LipiodolDeposit",
    "LipiodolTimepoint",
    "MarginGrade",
    "OilPlace",
    "Pattern",
    "Radiograph",
    "ResidualTumour",
    "ScanAlignment",
    "StrayOil",
    "StrayOilSearch",
    "VolumeRoi",
]

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class CtVolume:
    """One CT or cone-beam CT scan.

    Attributes
    ----------
    hu : ndarray, (Z, Y, X) float32
        Hounsfield units, finite.
    affine : ndarray, (4, 4) float64
        (z, y, x, 1) indices to LPS (x, y, z, 1) millimetres.
    kvp : float or None
    clip_hu : float or None
        The greatest value the storage can hold; voxels there are clipped.
    contrast : bool
        Whether the header names a contrast agent given into a vein.
    """

    hu: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    source: Source
    kvp: float | None = None
    kernel: str | None = None
    clip_hu: float | None = None
    contrast: bool = False
    frame_of_reference_uid: str | None = None
    provenance: Provenance = field(default_factory=Provenance)
    quality: Quality = Quality.NONE

    def __post_init__(self) -> None:
        hu = frozen_array(self.hu, "hu", ndim=3, dtype=np.float32, finite=True)
        object.__setattr__(self, "hu", hu)
        affine = frozen_array(self.affine, "affine", ndim=2, dtype=np.float64, shape=(4, 4), finite=True)
        object.__setattr__(self, "affine", affine)
        if abs(float(np.linalg.det(affine[:3, :3]))) < 1e-9:
            raise ValueError("Expected an affine with a volume per voxel, found a flat one.")

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel."""
        return abs(float(np.linalg.det(self.affine[:3, :3])))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along (z, y, x)."""
        z, y, x = (float(v) for v in np.linalg.norm(self.affine[:3, :3], axis=0))
        return z, y, x


@dataclass(frozen=True, slots=True, eq=False)
class VolumeRoi:
    """A lesion given by the user, in its own geometry.

    Attributes
    ----------
    mask : ndarray, (Z, Y, X) bool
    affine : ndarray, (4, 4) float64
        As in `CtVolume`.
    series_instance_uid : str or None
        The scan it was drawn on, when the file tells.
    """

    id: str
    mask: npt.NDArray[np.bool_]
    affine: npt.NDArray[np.float64]
    series_instance_uid: str | None = None
    frame_of_reference_uid: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", frozen_array(self.mask, "mask", ndim=3, dtype=np.bool_))
        affine = frozen_array(self.affine, "affine", ndim=2, dtype=np.float64, shape=(4, 4), finite=True)
        object.__setattr__(self, "affine", affine)


@dataclass(frozen=True, slots=True, eq=False)
class FilmRoi:
    """A region given by the user on one projection (a run or a film).

    Attributes
    ----------
    frames : tuple of int
        Frames of a run that it was drawn on, 0-based; none where it holds wherever the anatomy stands.
    """

    id: str
    mask: npt.NDArray[np.bool_]
    sop_instance_uid: str
    frames: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", frozen_array(self.mask, "mask", ndim=2, dtype=np.bool_))


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """One unsubtracted film: a spot film, a DX or a CR image; brighter means more X-rays."""

    image: npt.NDArray[np.float32]
    quantity: Quantity
    valid: npt.NDArray[np.bool_]
    source: Source
    spacing: PixelSpacing | None = None
    pose: CArmPose | None = None
    white_level: float | None = None
    provenance: Provenance = field(default_factory=Provenance)
    quality: Quality = Quality.NONE

    def __post_init__(self) -> None:
        image = frozen_array(self.image, "image", ndim=2, dtype=np.float32, finite=True)
        object.__setattr__(self, "image", image)
        valid = frozen_array(self.valid, "valid", ndim=2, dtype=np.bool_, shape=image.shape)
        object.__setattr__(self, "valid", valid)


class Pattern(StrEnum):
    """Distribution of the oil within the tumour (types I-IV, doi:10.1186/s40644-016-0090-4)."""

    HOMOGENEOUS = "homogeneous"
    DEFECTIVE = "defective"
    INHOMOGENEOUS = "inhomogeneous"
    FAINT = "faint"
    NONE = "none"


class Completeness(StrEnum):
    """How much of the tumour holds oil (doi:10.1186/s40644-016-0090-4)."""

    COMPLETE = "complete"
    MODERATE = "moderate"
    POOR = "poor"


class MarginGrade(StrEnum):
    """Technical grade on CT at one week (Miyayama, doi:10.18528/ijgii220029)."""

    A = "A"
    B = "B"
    C = "C"


@dataclass(frozen=True, slots=True, eq=False)
class LipiodolDeposit:
    """The oil of one lesion in one scan, in that scan's own geometry."""

    mask: npt.NDArray[np.bool_]
    affine: npt.NDArray[np.float64]
    frame_of_reference_uid: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", frozen_array(self.mask, "mask", ndim=3, dtype=np.bool_))
        affine = frozen_array(self.affine, "affine", ndim=2, dtype=np.float64, shape=(4, 4), finite=True)
        object.__setattr__(self, "affine", affine)


@dataclass(frozen=True, slots=True)
class ResidualTumour:
    """What of a lesion enhances in the arterial phase and washes out, beside the oil.

    Attributes
    ----------
    arterial_minus_portal_hu : float
        Mean over the lesion inside its blurred edge, with its 95 % interval; oil cancels.
    living_ml : float
        Volume that stands out of noise, so that there is at least as much; 0 where nothing does.
    """

    arterial_minus_portal_hu: float
    interval_hu: Interval
    living_ml: float
    portal_series_instance_uid: str


class OilPlace(StrEnum):
    """Where oil outside the lesions lies, by what surrounds it."""

    LIVER = "liver"
    LIVER_VESSEL = "vessel in the liver"
    LUNG = "lung"
    GALLBLADDER = "gallbladder"
    STOMACH_OR_BOWEL = "stomach or bowel"
    SPLEEN = "spleen"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class StrayOil:
    """One piece of oil outside the lesions; `centroid_mm` in its scan's LPS coordinates."""

    place: OilPlace
    centroid_mm: tuple[float, float, float]
    volume_ml: float
    iodine_mg: float
    iodine_mg_interval: Interval


@dataclass(frozen=True, slots=True)
class StrayOilSearch:
    """One scan that was searched for oil outside the lesions, largest piece first.

    Attributes
    ----------
    compared_series_uid : str
        The scan that tells oil from what was always bright.
    before_treatment : bool
        Whether that scan precedes treatment; a later one shows only what has left by then.
    """

    source: Source
    days: float
    compared_series_uid: str
    before_treatment: bool
    pieces: tuple[StrayOil, ...] = ()
    quality: Quality = Quality.NONE


@dataclass(frozen=True, slots=True, eq=False)
class LipiodolTimepoint:
    """One lesion (or the liver) at one date; `None` is unknown, never 0.

    `coverage` is in percent of the lesion, by threshold in HU; `retention` is a share.
    `views` holds small aligned pictures for the report: (H, W) float32 slices through the
    lesion with the deposit's outline mask, all dates in the reference geometry.
    """

    source: Source
    days: float
    retention: float | None
    retention_interval: Interval | None
    iodine_mg: float | None = None
    iodine_mg_interval: Interval | None = None
    oil_ml: float | None = None
    relative_amount: float | None = None
    volume_mm3: float | None = None
    coverage: dict[str, float] | None = None
    pattern: Pattern | None = None
    completeness: Completeness | None = None
    margin_grade: MarginGrade | None = None
    clipped_voxels: int | None = None
    deposit: LipiodolDeposit | None = None
    residual: ResidualTumour | None = None
    views: AlignedView | None = None
    quality: Quality = Quality.NONE


@dataclass(frozen=True, slots=True, eq=False)
class AlignedView:
    """One slice (or film) through a lesion, resampled into the reference scan's geometry."""

    image: npt.NDArray[np.float32]
    outline: npt.NDArray[np.bool_]
    lesion: npt.NDArray[np.bool_]
    window: tuple[float, float]
    unit: str = "HU"


class AlignmentMethod(StrEnum):
    """How a scan was laid upon the reference."""

    REFERENCE = "reference"
    RIGID = "rigid"
    DEFORMABLE = "deformable"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, eq=False)
class AlignmentPictures:
    """One axial plane of the reference over one coronal plane, (H, W) float32 HU, in one window.

    Attributes
    ----------
    reference, before, after : ndarray, (H, W) float32
        The reference there, the scan where the table put it, and the scan aligned.
    """

    reference: npt.NDArray[np.float32]
    before: npt.NDArray[np.float32]
    after: npt.NDArray[np.float32]
    window: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class ScanAlignment:
    """How one scan lies against the reference scan, and how well; `None` is unknown.

    Attributes
    ----------
    correlation : float or None
        Of attenuation around the liver, oil left out; 1 is identity.
    edge_gap_before_mm, edge_gap_mm : float or None
        Median distance of edges around the liver, where the table put them and aligned.
    shift_mm : float or None
        How far the liver's middle has gone.
    bend_mm : float or None
        95th percentile of the liver's displacement on top of the rigid motion.
    volume_change : (float, float) or None
        Least and greatest local change of volume in the liver; 1 keeps it.
    reason : str or None
        Why the scan, or only its bending, was refused.
    motion : ndarray, (4, 4) float64, or None
        Takes LPS points of the reference to LPS points of the scan, as the rigid body that is nearest to the alignment
        about the liver; None for a refused scan.
    """

    source: Source
    days: float
    method: AlignmentMethod
    correlation: float | None = None
    edge_gap_before_mm: float | None = None
    edge_gap_mm: float | None = None
    shift_mm: float | None = None
    bend_mm: float | None = None
    volume_change: tuple[float, float] | None = None
    reason: str | None = None
    pictures: AlignmentPictures | None = None
    motion: npt.NDArray[np.float64] | None = None


class KineticsModel(StrEnum):
    """How the half-life was obtained."""

    MONO = "mono"
    BI = "bi"
    TWO_POINT = "two-point"


@dataclass(frozen=True, slots=True)
class Kinetics:
    """Washout of one lesion: half-life in days with its 95 % interval (upper end may be infinite)."""

    model: KineticsModel
    half_life_days: float
    half_life_interval: Interval
    curve_days: tuple[float, ...] = ()
    curve_retention: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class LesionCourse:
    """One lesion (or the liver) over time; `sights` is each scan around it, for what is told from more than oil."""

    id: str
    timepoints: tuple[LipiodolTimepoint, ...]
    kinetics: Kinetics | None
    centroid_mm: tuple[float, float, float] | None = None
    origin: LesionOrigin = LesionOrigin.DETECTED
    quality: Quality = Quality.NONE
    sights: tuple[LesionSight, ...] = ()
