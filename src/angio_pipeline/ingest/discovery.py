"""What the sources hold: each file classified by its header into a run, a slice, a film, a region, or refused.

Headers only: sizes are checked against the file, pixels stay where they are. One bad file never
costs another; every file ends up in an item or among the refusals.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.provenance import Source
from angio_pipeline.core.results import Refusal
from angio_pipeline.core.runs import Stage
from angio_pipeline.ingest.copies import without_copies
from angio_pipeline.ingest.elements import read_from
from angio_pipeline.ingest.files import Candidate, list_files
from angio_pipeline.ingest.guard import Read, read_here, reading_apart
from angio_pipeline.ingest.headers import Header, integer, read_header, text
from angio_pipeline.ingest.items import Discovery, FilmItem, Item, RoiItem, RunItem, VolumeItem
from angio_pipeline.ingest.limits import Limits
from angio_pipeline.ingest.pixels import check_pixels, no_pixel_data, pixel_format
from angio_pipeline.ingest.pseudonym import read_key
from angio_pipeline.ingest.rois import OWN_MODEL, read_rois
from angio_pipeline.ingest.roles import Kind, is_localizer, kind_of
from angio_pipeline.ingest.slices import SLICE_TAGS, Slice, read_slice, stack
from angio_pipeline.ingest.sources import SOURCE_TAGS, describe
from angio_pipeline.ingest.stages import STAGE_TAGS, stage_of

__all__ = ["discover"]

_LOG = logging.getLogger(__name__)
_ROI_SUFFIXES = (".png", ".nii", ".nii.gz")
_IMAGE_TAGS = (
    "BitsAllocated",
    "BitsStored",
    "Columns",
    "HighBit",
    "ImageType",
    "ManufacturerModelName",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelRepresentation",
    "Rows",
    "SOPClassUID",
    "SamplesPerPixel",
)


_T = TypeVar("_T", bound=Item)


class _Role(StrEnum):
    RUN = "run"
    FILM = "film"
    SLICE = "slice"
    VOLUME = "volume"
    ROI = "roi"


_ROLES = {
    Kind.PROJECTION: _Role.RUN,
    Kind.FILM: _Role.FILM,
    Kind.SLICE: _Role.SLICE,
    Kind.VOLUME: _Role.VOLUME,
    Kind.REGION: _Role.ROI,
}


@dataclass(frozen=True, slots=True)
class _Entry:
    role: _Role
    candidate: Candidate
    source: Source
    shape: tuple[int, int, int]
    slice: Slice | None = None
    stage: Stage | None = None


def discover(
    sources: Sequence[Path], *, workspace: Path, limits: Limits | None = None, apart: bool = False
) -> Discovery:
    """Return everything that can be analysed in the sources, and everything refused with its reason.

    Parameters
    ----------
    sources : sequence of Path
        DICOM files, folders, zip or tar archives, DICOMDIR files, in any mix.
    workspace : Path
        Folder that archives are unpacked into; it must outlive the items.
    apart : bool
        Whether files are looked at in a process beside this one, which a hostile file can crash or hold up at no
        cost to its neighbours. A script that asks for it has to be safe to import.

    Raises
    ------
    ConfigError
        When the pseudonym key cannot be read or made.
    """
    key = read_key()
    limits = limits or Limits()
    with reading_apart(limits) if apart else nullcontext(read_here) as read:
        candidates, refusals = list_files(sources, workspace=workspace, limits=limits, read=read)
        looked = (_classified(candidate, key, refusals, limits, read) for candidate in candidates)
        entries = [entry for entry in looked if entry is not None]
    kept = without_copies(
        entries, refusals, uid_of=lambda e: e.source.sop_instance_uid, candidate_of=lambda e: e.candidate
    )
    volumes = _volumes(kept, refusals)
    return Discovery(
        runs=_sorted(RunItem(*_parts(entry), stage=entry.stage) for entry in kept if entry.role is _Role.RUN),
        volumes=_sorted(volumes),
        films=_sorted(FilmItem(*_parts(entry)) for entry in kept if entry.role is _Role.FILM),
        rois=_sorted(RoiItem(*_parts(entry)) for entry in kept if entry.role is _Role.ROI),
        refusals=tuple(sorted(refusals, key=lambda refusal: (refusal.path, refusal.reason))),
    )


def _classified(candidate: Candidate, key: bytes, refusals: list[Refusal], limits: Limits, read: Read) -> _Entry | None:
    try:
        return read(limits.file_seconds, _classify, candidate, key, limits)
    except InputRefused as error:
        refusals.append(Refusal(candidate.shown, error.reason, error.sentence))
    except Exception as error:  # whatever one file does, its neighbours are still read
        _LOG.debug("unexpected %s while a file was classified", type(error).__name__, exc_info=True)
        sentence = f"Expected a readable file, found one that cannot be read ({type(error).__name__})."
        refusals.append(Refusal(candidate.shown, "unreadable", sentence))
    return None


def _parts(entry: _Entry) -> tuple[tuple[Path, ...], Source, tuple[int, int, int], tuple[str, ...]]:
    return (entry.candidate.path,), entry.source, entry.shape, (entry.candidate.shown,)


def _sorted(found: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(sorted(found, key=_order))


def _order(item: Item) -> tuple[str, str, str, str]:
    source = item.source
    return source.subject, source.date, source.acquired.isoformat() if source.acquired else "", source.file


def _classify(candidate: Candidate, key: bytes, limits: Limits) -> _Entry:
    """Return what one file is.

    Raises
    ------
    InputRefused
        With the reason why it is not analysed.
    """
    if candidate.path.name.lower().endswith(_ROI_SUFFIXES):
        return _loose_roi(candidate, limits)
    header = read_header(candidate.path, tags=(*SOURCE_TAGS, *STAGE_TAGS, *_IMAGE_TAGS, *SLICE_TAGS), limits=limits)
    role = _role(header, in_rois=candidate.path.parent.name.lower() == "rois")
    source = describe(header.dataset, candidate.file, key=key, fallback=str(candidate.path.parent))
    if role is _Role.ROI:
        read_rois(
            [candidate.path], limits=limits
        )  # a region that cannot be read is refused here, before it can cost a run
        frames = integer(header.dataset, "NumberOfFrames") or 1
        size = integer(header.dataset, "Rows") or 0, integer(header.dataset, "Columns") or 0
        return _Entry(role, candidate, source, (frames, *size))
    if header.pixels is None:
        raise no_pixel_data()
    found = pixel_format(header)
    check_pixels(header, found)
    if role is _Role.RUN and found.frames < 2:
        role = _Role.FILM
    if role is _Role.FILM and found.frames > 1:
        raise _not_ours(header, "a multi-frame radiograph")
    shape = (found.frames, found.rows, found.columns)
    if role is _Role.VOLUME and found.frames < 3:
        raise _too_few(found.frames)
    one = read_slice(header, found) if role is _Role.SLICE else None
    return _Entry(
        role, candidate, source, shape, one, stage_of(read_from(header.dataset)) if role is _Role.RUN else None
    )


def _loose_roi(candidate: Candidate, limits: Limits) -> _Entry:
    if candidate.path.stat().st_size == 0:
        raise InputRefused("Expected an image, found an empty file; export it again.", reason="empty_file")
    if candidate.path.parent.name.lower() != "rois":
        raise InputRefused(
            "Expected DICOM, found PNG or NIfTI; regions of interest go to --roi or into a folder named rois.",
            reason="not_dicom",
        )
    read_rois([candidate.path], limits=limits)
    return _Entry(_Role.ROI, candidate, Source("", "", file=candidate.file), (0, 0, 0))


def _role(header: Header, *, in_rois: bool) -> _Role:
    ds = header.dataset
    if text(ds, "ManufacturerModelName") == OWN_MODEL and not in_rois:
        # An archive gives them back with the study: a vessel is no lesion, a subtracted run no second run.
        sentence = (
            "Expected an image, found a result of this software; put it into a folder named rois to use it as one."
        )
        raise InputRefused(sentence, reason="own_result")
    read = read_from(ds)
    kind = kind_of(read)
    if kind is Kind.PRESENTATION:
        # Most hold rulers and windows of the daily work: only where they were put as regions are they read as such.
        if in_rois:
            return _Role.ROI
        raise _not_ours(header, "a presentation state, which is a region only in --roi or a folder named rois")
    if is_localizer(read):
        raise InputRefused("Expected a CT slice, found a localizer (scout) image.", reason="localizer")
    if kind in _ROLES:
        return _ROLES[kind]
    if not len(ds):
        raise InputRefused("Expected a DICOM header, found none; export it again.", reason="unreadable")
    raise _not_ours(header, "another kind of object")


def _not_ours(header: Header, what: str) -> InputRefused:
    modality = text(header.dataset, "Modality").upper()
    shown = modality if modality.isalpha() and len(modality) <= 16 else "unknown"
    return InputRefused(f"Expected angiography, radiographs or CT, found {what} (modality {shown}).", reason="not_ours")


def _too_few(count: int) -> InputRefused:
    return InputRefused(
        f"Expected a multi-frame run or a CT follow-up of at least 3 slices, found {count} CT slice"
        f"{'' if count == 1 else 's'}; give the whole series.",
        reason="too_few_slices",
    )


def _volumes(entries: Sequence[_Entry], refusals: list[Refusal]) -> list[VolumeItem]:
    volumes = [VolumeItem(*_parts(entry)) for entry in entries if entry.role is _Role.VOLUME]
    series: dict[tuple[str, ...], list[_Entry]] = defaultdict(list)
    for entry in entries:
        if entry.slice is not None:
            source = entry.source
            # Without a series UID, slices of one frame of reference in one folder belong together.
            stand_in = (entry.slice.frame_of_reference, str(entry.candidate.path.parent))
            name = (source.series_instance_uid,) if source.series_instance_uid else stand_in
            series[source.subject, source.study_instance_uid, *name].append(entry)
    for members in series.values():
        volumes += _stacked(members, refusals)
    return volumes


def _stacked(members: Sequence[_Entry], refusals: list[Refusal]) -> list[VolumeItem]:
    of = {id(entry.slice): entry for entry in members}
    stacks, left = stack([entry.slice for entry in members if entry.slice is not None])
    for one, reason in left:
        refusals.append(Refusal(of[id(one)].candidate.shown, "conflicting_slice", reason))
    volumes = []
    for slices, label in stacks:
        entries = [of[id(one)] for one in slices]
        if len(entries) < 3:
            error = _too_few(len(entries))
            refusals += [Refusal(entry.candidate.shown, error.reason, error.sentence) for entry in entries]
            continue
        first = entries[0]
        source = replace(first.source, sop_instance_uid="", description=_volume_label(first.source, label))
        paths = tuple(entry.candidate.path for entry in entries)
        shown = tuple(entry.candidate.shown for entry in entries)
        volumes.append(VolumeItem(paths, source, (len(entries), *first.shape[1:]), shown))
    return volumes


def _volume_label(source: Source, label: str) -> str:
    series = [part for part in source.description.split() if part.startswith("S")]
    return " ".join([*series, *([label] if label else [])])
