"""A patient's follow-ups side by side: every scan on the grid of the reference scan, deposits outlined.

A scan is shown where the rigid motion of its stored alignment puts it. What of an alignment is bending is not stored:
the page is told so, and that lesions are then not laid upon each other to the last millimetre. A result without the
motion shows the scan where the scanner's table put it, and says that.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from angio_pipeline.core.followups import AlignmentMethod
from angio_pipeline.outputs.schemas import LipiodolDocument, ScanAlignmentDocument, TimepointDocument
from angio_pipeline.review.answers import Alignment, FollowUpAnswer, Plane, ScanInfo, Window
from angio_pipeline.review.frames import Prepared
from angio_pipeline.review.preparing import prepare_follow_up
from angio_pipeline.review.problems import not_found, unusable
from angio_pipeline.review.results import below, read_plain

if TYPE_CHECKING:
    from angio_pipeline.review.state import Review

__all__ = ["contours", "describe", "lesion_masks", "plane_of", "prepared_follow_up", "view_path"]

_WINDOW = Window(center=100.0, width=600.0)
_AXES = {Plane.AXIAL: 0, Plane.CORONAL: 1, Plane.SAGITTAL: 2}


def _document(folder: Path) -> LipiodolDocument:
    try:
        return LipiodolDocument.model_validate_json((folder / "lipiodol.json").read_bytes())
    except (OSError, ValueError):
        raise not_found("follow-ups that can be read") from None


def _points(document: LipiodolDocument) -> dict[str, list[tuple[str, TimepointDocument]]]:
    """Return by series, in order of time, the lesions (and the liver) with what was measured there."""
    found: dict[str, list[tuple[str, TimepointDocument]]] = defaultdict(list)
    courses = [(lesion.id, lesion.timepoints) for lesion in document.lesions]
    courses += [("liver", document.liver.timepoints)] if document.liver is not None else []
    pairs = [(name, point) for name, points in courses for point in points]
    for name, point in sorted(pairs, key=lambda pair: pair[1].days if pair[1].days is not None else 0.0):
        found[point.series_instance_uid].append((name, point))
    return found


def prepared_follow_up(review: Review, folder: Path) -> Prepared | str | None:
    """Return the scans of a result on the reference grid, None while they are made, or why there are none."""
    document = _document(folder)
    alignments = {one.series_instance_uid: one for one in document.alignments}
    reference_uid = next((u for u, one in alignments.items() if one.method is AlignmentMethod.REFERENCE), None)
    if reference_uid is None:
        return "Films alone were followed: there is no scan to cut; stored pictures are shown."
    found = review.sources.of_scan(reference_uid)
    if found is None:
        return review.sources.availability(found=False).sentence
    scans, deposits = [], []
    for index, (uid, points) in enumerate(_points(document).items()):
        told = alignments.get(uid)
        if review.sources.of_scan(uid) is None or (told is not None and told.method is AlignmentMethod.REFUSED):
            continue
        scans.append((index, uid, None if told is None else told.motion))
        deposits += [(index, name, below(folder, p.deposit_mask)) for name, p in points if p.deposit_mask]
    if reference_uid not in _points(document):
        scans.append((len(_points(document)), reference_uid, None))
    stamp_ns = (folder / "lipiodol.json").stat().st_mtime_ns
    key = "f" + hashlib.sha256(f"{folder} {stamp_ns}".encode()).hexdigest()[:24]
    return review.store.ask(key, review.workshop, prepare_follow_up, found, scans, reference_uid, deposits)


def describe(review: Review, folder: Path) -> FollowUpAnswer:
    """Return everything about one patient's follow-ups, as a result tells it."""
    document = _document(folder)
    prepared = prepared_follow_up(review, folder)
    ready = prepared if isinstance(prepared, Prepared) else None
    sentence = prepared if isinstance(prepared, str) else ("" if ready else "The scans are being laid on one grid.")
    info = ready.info if ready is not None else {}
    return FollowUpAnswer(
        state="ready" if ready else ("unavailable" if isinstance(prepared, str) else "preparing"),
        sentence=sentence,
        shape=info.get("shape"),
        affine=info.get("affine"),
        window=_WINDOW,
        slope=info.get("slope", 1.0),
        intercept=info.get("intercept", 0.0),
        scans=_scans(document, ready),
        lipiodol=read_plain(folder / "lipiodol.json") or {},
        response=read_plain(folder / "response.json"),
    )


def _scans(document: LipiodolDocument, ready: Prepared | None) -> list[ScanInfo]:
    alignments = {one.series_instance_uid: one for one in document.alignments}
    numbers = {name: number for number, name in enumerate(view_names(document))}
    return [
        _scan(index, uid, points, alignments.get(uid), ready, numbers)
        for index, (uid, points) in enumerate(_points(document).items())
    ]


def _scan(
    index: int,
    uid: str,
    points: Sequence[tuple[str, TimepointDocument]],
    told: ScanAlignmentDocument | None,
    ready: Prepared | None,
    numbers: dict[str, int],
) -> ScanInfo:
    first = points[0][1]
    shown = ready is not None and (ready.folder / f"scan-{index}.npy").is_file()
    return ScanInfo(
        index=index,
        date=first.date,
        days=first.days,
        modality=first.modality,
        series_instance_uid=uid,
        deposits=[name for name, point in points if point.deposit_mask],
        slice_views={name: numbers[point.view] for name, point in points if point.view},
        alignment=_alignment(told, numbers, shown=shown),
    )


def _alignment(told: ScanAlignmentDocument | None, numbers: dict[str, int], *, shown: bool) -> Alignment:
    if told is None:
        sentence = "A film, or a scan whose alignment is not stored: only its stored pictures are shown."
        return Alignment(method="unknown", shown="none", sentence=sentence, correlation=None, bend_mm=None, views=[])
    kind: Any = "none"
    if shown:
        kind = "reference" if told.method is AlignmentMethod.REFERENCE else ("rigid" if told.motion else "table")
    sentences = {
        "none": told.reason or "The scan is not cut: its stored pictures are shown.",
        "reference": "The scan that all others are laid upon.",
        "rigid": "Shown by the rigid part of its alignment.",
        "table": "Shown where the scanner's table put it: this result does not tell the motion.",
    }
    bent = kind == "rigid" and told.bend_mm is not None
    more = f" The liver also bent, by up to about {told.bend_mm:.0f} mm, which is not shown." if bent else ""
    views = [numbers[view] for view in (told.reference_view, told.before_view, told.after_view) if view]
    return Alignment(
        method=told.method.value,
        shown=kind,
        sentence=sentences[kind] + more,
        correlation=told.correlation,
        bend_mm=told.bend_mm,
        views=views,
    )


def view_path(folder: Path, number: int) -> Path:
    """Return the file of one stored picture of a result, by its place in `view_names`.

    Raises
    ------
    ReviewProblem
        404, when there is none of that number.
    """
    names = view_names(_document(folder))
    if not 0 <= number < len(names):
        raise not_found("this picture")
    return below(folder, names[number])


def view_names(document: LipiodolDocument) -> list[str]:
    """Return the names of all stored pictures, in the order that they are told in."""
    points = [point for found in _points(document).values() for _, point in found]
    names = [point.view for point in points]
    for one in document.alignments:
        names += [one.reference_view, one.before_view, one.after_view]
    return list(dict.fromkeys(name for name in names if name))


def plane_of(prepared: Prepared, scan: int, plane: Plane, position: int) -> npt.NDArray[np.uint16]:
    """Return one slice of a scan, (H, W) uint16.

    Raises
    ------
    ReviewProblem
        404, when there is no such scan or slice.
    """
    return np.ascontiguousarray(_cut(prepared, f"scan-{scan}", plane, position))


def _cut(prepared: Prepared, name: str, plane: Plane, position: int) -> npt.NDArray[Any]:
    volume = prepared.array(name)
    if not 0 <= position < volume.shape[_AXES[plane]]:
        raise not_found("this slice")
    return np.asarray(volume.take(position, axis=_AXES[plane]))


def contours(prepared: Prepared, scan: int, plane: Plane, position: int) -> dict[str, list[list[tuple[float, float]]]]:
    """Return by lesion the outlines of its deposit on one slice, (row, col).

    Raises
    ------
    ReviewProblem
        404, when there is no such slice.
    """
    from angio_pipeline.outputs.pictures import mask_outlines

    found = {}
    for number, lesion in enumerate(prepared.info["deposits"].get(str(scan), ())):
        mask = np.ascontiguousarray(_cut(prepared, f"deposit-{scan}-{number}", plane, position))
        lines = mask_outlines(mask, 1.0) if mask.any() else []
        found[lesion] = [[(float(y), float(x)) for x, y in line] for line in lines]
    return found


def lesion_masks(
    edits: Sequence[dict[str, Any]], prepared: Prepared
) -> tuple[dict[str, npt.NDArray[np.bool_]], npt.NDArray[np.float64]]:
    """Return by lesion what was outlined on the reference grid, the last word on each lesion alone, and the affine.

    Raises
    ------
    ReviewProblem
        422, when an outline lies outside the grid or holds no voxel.
    """
    from angio_pipeline.numerics.polygons import fill_polygons

    shape = tuple(prepared.info["shape"])
    masks = {}
    for edit in edits:
        mask = np.zeros(shape, dtype=np.bool_)
        for drawn in edit["planes"]:
            if drawn["z"] >= shape[0]:
                raise unusable(f"Expected planes below {shape[0]}, found plane {drawn['z']}.")
            mask[drawn["z"]] |= fill_polygons(drawn["polygons"], shape[1:])
        if not mask.any():
            raise unusable("Expected an outline with a voxel in it, found an empty one.")
        masks[edit["lesion"]] = mask
    return masks, np.asarray(prepared.info["affine"], dtype=np.float64)
