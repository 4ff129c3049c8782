"""Regions that the user gives: PNG masks, DICOM segmentations, structure sets and presentation states, NIfTI volumes.

Names become ids only after everything but letters, digits, `-` and `_` is dropped. A DICOM
segment keeps a label that is a mere code (`L1`) and is otherwise named by its number; the liver
is known by its code.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.followups import FilmRoi, VolumeRoi
from angio_pipeline.ingest.headers import Header, integer, items, number, read_header, text
from angio_pipeline.ingest.limits import Limits, too_many_regions
from angio_pipeline.ingest.presentation import PRESENTATION_STATES, FilmOutline, read_outlines
from angio_pipeline.ingest.segmentations import SegmentFrame, read_segment_frames
from angio_pipeline.ingest.structure_sets import STRUCTURE_SET, read_structures
from angio_pipeline.numerics.polygons import fill_polygons

__all__ = ["OWN_MODEL", "RoiSet", "projections_of", "read_mask", "read_rois"]

Mask = npt.NDArray[np.bool_]
_PNG_START = b"\x89PNG\r\n\x1a\n"
_LIVER_CODES = {"10200004", "T-62000"}
OWN_MODEL = "angio-pipeline"
"""What `outputs.dicom` calls itself as equipment."""

# Artery, vein, catheter: what a segmentation of ours holds beside its lesions.
_NO_LESION_CODES = {"51114001", "29092000", "19923001"}


@dataclass(frozen=True, slots=True, eq=False)
class RoiSet:
    """Regions on projections, outlines on projections that are not filled yet, and regions in space."""

    films: tuple[FilmRoi, ...] = ()
    volumes: tuple[VolumeRoi, ...] = ()
    outlines: tuple[FilmOutline, ...] = ()

    def drawn_on(self, sop_instance_uid: str, shape: tuple[int, int]) -> tuple[FilmRoi, ...]:
        """Return the regions of one projection, its outlines filled; one that lies outside it is empty."""
        masks = [roi for roi in self.films if roi.sop_instance_uid == sop_instance_uid]
        lines = [line for line in self.outlines if line.sop_instance_uid == sop_instance_uid]
        filled = [
            FilmRoi(one.id, fill_polygons([one.line], shape), sop_instance_uid, frames=one.frames) for one in lines
        ]
        return (*masks, *filled)


def read_rois(paths: Sequence[Path], *, limits: Limits | None = None) -> RoiSet:
    """Return all regions of the files, in their order.

    Parameters
    ----------
    paths : sequence of Path
        `<SOP instance UID>.png` or `<SOP instance UID>-<name>.png` (0 and 255), DICOM SEG, RTSTRUCT or grayscale
        softcopy presentation state, `.nii`, `.nii.gz`.

    Raises
    ------
    InputRefused
        `bad_roi`, `too_large`, or what reading a DICOM file raises.
    """
    limits = limits or Limits()
    found = [_read_file(path, limits) for path in paths]
    return RoiSet(
        tuple(roi for one in found for roi in one.films),
        tuple(roi for one in found for roi in one.volumes),
        tuple(line for one in found for line in one.outlines),
    )


def _read_file(path: Path, limits: Limits) -> RoiSet:
    if not path.is_file() or path.stat().st_size == 0:
        raise _bad_roi("a file", "none or an empty one")
    found = _read_kind(path, limits)
    if len(found.films) + len(found.volumes) + len(found.outlines) > limits.regions:
        raise too_many_regions(limits)
    return found


def _read_kind(path: Path, limits: Limits) -> RoiSet:
    name = path.name.lower()
    if name.endswith(".png"):
        return RoiSet(films=(_read_png(path, limits),))
    if name.endswith((".nii", ".nii.gz")):
        return RoiSet(volumes=tuple(_read_nifti(path, limits)))
    header = read_header(path, limits=limits)
    if text(header.dataset, "SOPClassUID") in PRESENTATION_STATES:
        return RoiSet(outlines=read_outlines(header.dataset, limits=limits))
    if text(header.dataset, "SOPClassUID") == STRUCTURE_SET:
        return RoiSet(volumes=tuple(read_structures(header)))
    return _read_seg(header)


def projections_of(path: Path, *, limits: Limits | None = None) -> frozenset[str] | None:
    """Return the SOP instance UIDs of the projections that a DICOM region was drawn on; None where it lies in space.

    Raises
    ------
    InputRefused
        As `read_rois` does.
    """
    found = read_rois([path], limits=limits)
    drawn = [roi.sop_instance_uid for roi in found.films] + [line.sop_instance_uid for line in found.outlines]
    return None if found.volumes else frozenset(drawn)


def _bad_roi(expected: str, found: str) -> InputRefused:
    return InputRefused(f"Expected a region of interest as {expected}, found {found}.", reason="bad_roi")


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "", name)[:32]


def _read_png(path: Path, limits: Limits) -> FilmRoi:
    match = re.fullmatch(r"([0-9.]{3,64}?)(?:-(.+))?", path.name[:-4])
    if match is None:
        raise _bad_roi("a PNG named by the image's SOP Instance UID", "another name")
    return FilmRoi(_safe(match[2] or "") or "R1", read_mask(path, limits=limits), match[1])


def read_mask(path: Path, *, limits: Limits | None = None) -> Mask:
    """Return the mask in a PNG, (H, W) bool.

    Raises
    ------
    InputRefused
        `bad_roi`, when it is no PNG of 0 and 255 of a usual size.
    """
    most_px = (limits or Limits()).frame_px
    content = path.read_bytes()
    if content[:8] != _PNG_START or len(content) < 24:
        raise _bad_roi("a PNG", "another kind of file")
    width, height = struct.unpack(">LL", content[16:24])
    if not 0 < width * height <= most_px:
        raise _bad_roi(f"a PNG of at most {most_px} pixels", f"{width} x {height}")
    image = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint8:
        raise _bad_roi("an 8-bit PNG", "one that does not decode as such")
    if image.ndim == 3:
        image = image[..., :3].max(axis=2)
    if np.mean((image > 8) & (image < 247)) > 0.05:
        raise _bad_roi("a mask of 0 and 255", "grey values")
    return np.asarray(image > 127)


def _read_nifti(path: Path, limits: Limits) -> list[VolumeRoi]:
    import SimpleITK as sitk

    _check_nifti_size(path, limits)
    try:
        sitk.ProcessObject.GlobalWarningDisplayOff()
        image = sitk.ReadImage(str(path), imageIO="NiftiImageIO")
    except RuntimeError:
        raise _bad_roi("a NIfTI volume", "one that cannot be read") from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise _bad_roi("a NIfTI volume of one value a voxel", "another shape")
    labels = sitk.GetArrayFromImage(image)
    affine = np.eye(4)
    axes = np.asarray(image.GetDirection()).reshape(3, 3) * np.asarray(image.GetSpacing())
    affine[:3, :3] = axes[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    rounded = labels if np.issubdtype(labels.dtype, np.integer) else np.rint(labels)
    values = [int(value) for value in np.unique(rounded) if value > 0]
    if not 0 < len(values) <= 255:
        raise _bad_roi("a label volume with at least one label", f"{len(values)} labels")
    if len(values) * rounded.size > limits.regions_px:
        raise too_many_regions(limits)
    stem = _safe(re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)) or "R1"
    return [VolumeRoi(stem if len(values) == 1 else f"{stem}-{value}", rounded == value, affine) for value in values]


def _check_nifti_size(path: Path, limits: Limits) -> None:
    """Refuse a volume whose header claims more than the file holds, or than one file may unpack to."""
    packed = path.name.lower().endswith(".gz")
    try:
        with (gzip.open if packed else open)(path, "rb") as stream:
            start = stream.read(348)
    except (OSError, EOFError, zlib.error):
        raise _bad_roi("a NIfTI volume", "one that cannot be read") from None
    if len(start) < 348:
        raise _bad_roi("a NIfTI volume", "one that is cut short")
    order = "<" if start[:4] == b"\x5c\x01\x00\x00" else ">"
    size = [int(value) for value in struct.unpack(order + "8h", start[40:56])[1:4]]
    (bits,) = struct.unpack(order + "h", start[72:74])
    held = limits.inflated_bytes if packed else path.stat().st_size
    # Its own product: of three 16-bit sizes it may pass what an array's integers hold.
    voxels = math.prod(size)
    if min(size) < 1 or voxels > limits.total_px or not 0 < bits <= 128 or voxels * bits // 8 > held:
        raise _bad_roi("a NIfTI-1 volume of a usual size", "another")


def _read_seg(header: Header) -> RoiSet:
    """Return the regions of a DICOM segmentation: in space where its frames have positions, else on projections."""
    segments = {integer(item, "SegmentNumber"): item for item in items(header.dataset, "SegmentSequence")}
    if not segments:
        raise _bad_roi("a DICOM segmentation", "another DICOM object")
    ours = text(header.dataset, "ManufacturerModelName") == OWN_MODEL
    lesions = {k: item for k, item in segments.items() if not (ours and _NO_LESION_CODES & _type_codes(item))}
    if not lesions:
        raise _bad_roi("a DICOM segmentation of lesions", "one of vessels alone")
    frames = read_segment_frames(header)
    films: list[FilmRoi] = []
    volumes: list[VolumeRoi] = []
    left_px = header.limits.regions_px
    for segment, item in sorted(lesions.items(), key=lambda pair: pair[0] or 0):
        own = [frame for frame in frames if frame.segment == segment]
        name = _segment_id(item, segment or 0)
        placed = [frame for frame in own if frame.position_mm is not None and frame.mask.any()]
        if placed:
            volumes.append(_in_space(name, placed, header, left_px))
            left_px -= volumes[-1].mask.size
        films += _on_films(name, [frame for frame in own if frame.position_mm is None])
    return RoiSet(tuple(films), tuple(volumes))


def _type_codes(item: Dataset) -> set[str]:
    return {text(code, "CodeValue") for code in items(item, "SegmentedPropertyTypeCodeSequence")}


def _segment_id(item: Dataset, segment: int) -> str:
    if _type_codes(item) & _LIVER_CODES:
        return "liver"
    label = text(item, "SegmentLabel").replace(" ", "")
    return label if re.fullmatch(r"[A-Za-z]{1,2}[-_]?[0-9]{1,3}", label) else f"S{segment}"


def _on_films(name: str, frames: Iterable[SegmentFrame]) -> list[FilmRoi]:
    masks: dict[str, Mask] = {}
    for frame in frames:
        if frame.drawn_on:
            masks[frame.drawn_on] = frame.mask | masks.get(frame.drawn_on, np.zeros_like(frame.mask))
    return [FilmRoi(name, mask, uid) for uid, mask in masks.items() if mask.any()]


def _in_space(name: str, frames: Sequence[SegmentFrame], header: Header, most_px: int) -> VolumeRoi:
    """Return the frames of one segment as a volume; slices that were left out as empty are put back."""
    axes, spacing = np.asarray(frames[0].orientation), frames[0].spacing_mm
    normal = np.cross(axes[:3], axes[3:])
    if len(spacing) != 2 or abs(float(np.linalg.norm(normal)) - 1) > 0.01:
        raise _bad_roi("a segmentation with a plane and a spacing", "none")
    positions = np.array([frame.position_mm for frame in frames])
    along = positions @ normal
    order = np.argsort(along)
    step = _slice_step(along[order], header)
    indices = (along - along.min()) / step
    if float(np.abs(indices - np.rint(indices)).max()) > 0.2 or indices.max() > 4096:
        raise _bad_roi("a segmentation of evenly spaced slices", "uneven ones")
    if (indices.max() + 1) * frames[0].mask.size > most_px:
        raise too_many_regions(header.limits)
    mask = np.zeros((int(np.rint(indices.max())) + 1, *frames[0].mask.shape), dtype=np.bool_)
    for frame, index in zip(frames, np.rint(indices).astype(int), strict=True):
        mask[index] |= frame.mask
    first, last = positions[order[0]], positions[order[-1]]
    affine = np.eye(4)
    affine[:3, 0] = (last - first) / (len(mask) - 1) if len(mask) > 1 else normal * step
    affine[:3, 1] = axes[3:] * spacing[0]
    affine[:3, 2] = axes[:3] * spacing[1]
    affine[:3, 3] = first
    series = [text(item, "SeriesInstanceUID") for item in items(header.dataset, "ReferencedSeriesSequence")]
    frame_of_reference = text(header.dataset, "FrameOfReferenceUID")
    return VolumeRoi(name, mask, affine, (series or [""])[0] or None, frame_of_reference or None)


def _slice_step(along: npt.NDArray[np.float64], header: Header) -> float:
    gaps = np.diff(along)
    gaps = gaps[gaps > 0.01]
    named = number(header.dataset, "SpacingBetweenSlices") or number(header.dataset, "SliceThickness") or 1.0
    if not len(gaps):
        return named
    # Empty slices may be left out of the file, so that the least gap spans several of them.
    multiples = gaps / named
    fits = multiples.min() > 0.9 and np.abs(multiples - np.rint(multiples)).max() < 0.02
    return float(gaps.min() / np.rint(multiples.min())) if fits else float(gaps.min())
