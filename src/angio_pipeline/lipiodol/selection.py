"""Which scans of a patient are followed, and why the others are left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.followups import CtVolume, Radiograph, VolumeRoi
from angio_pipeline.core.results import Refusal
from angio_pipeline.lipiodol.scans import moment_of

__all__ = ["choose_films", "choose_images", "choose_scans"]

_UNDATED = "Expected a date for every image, found none; add it or leave the image out."
_SAME_MOMENT = (
    "Expected one series a moment, found several; the plain, softer, thinner one was followed: "
    "draw a region on this one or leave the other out to follow it instead."
)
_SOFT = ("soft", "smooth")
_SHARP = ("bone", "lung", "edge", "sharp", "detail")
_UNKNOWN_KERNEL = 45


def choose_images(
    volumes: Sequence[CtVolume], films: Sequence[Radiograph], rois: Sequence[VolumeRoi]
) -> tuple[list[CtVolume], list[Radiograph], list[Refusal]]:
    """Return one patient's scans and films to follow, and the images left out with their reasons.

    Raises
    ------
    InputRefused
        When images were given and none remains.
    """
    alone = len(volumes) + len(films) == 1
    scans, left_out = choose_scans(volumes, rois, alone=alone)
    dated, undated = choose_films(films, alone=alone)
    left_out += undated
    if left_out and not scans and not dated:
        raise InputRefused(left_out[0].sentence, reason=left_out[0].reason)
    return scans, dated, left_out


def choose_scans(
    volumes: Sequence[CtVolume], rois: Iterable[VolumeRoi], *, alone: bool
) -> tuple[list[CtVolume], list[Refusal]]:
    """Return the scans to follow, one a moment, and the others with their reasons.

    Scans of different moments of one date (plain, then contrast phases) are all followed; what
    needs oil alone (the reference of retention, lesions, kinetics) is taken from the plain ones.
    Of the series of one moment (several reconstructions of one scan, most often) is taken: the
    one a region names; else the one without contrast agent; else the softer kernel (a kernel
    whose name tells nothing ranks between soft and sharp); else the thinner slices; else the
    first by series UID.

    Parameters
    ----------
    alone : bool
        Whether this is the patient's only image, which needs no date.
    """
    named = {roi.series_instance_uid for roi in rois}
    left_out: list[Refusal] = []
    moments: dict[datetime | None, list[CtVolume]] = {}
    for volume in volumes:
        moment = moment_of(volume.source)
        if min(volume.hu.shape) < 3:
            left_out.append(_too_thin(volume))
        elif moment is None and not alone:
            left_out.append(Refusal(volume.source.file, "undated", _UNDATED))
        else:
            moments.setdefault(moment, []).append(volume)
    chosen = []
    for together in moments.values():
        best, *others = sorted(together, key=lambda volume: _rank(volume, named))
        chosen.append(best)
        left_out += [Refusal(volume.source.file, "same_moment", _SAME_MOMENT) for volume in others]
    return chosen, left_out


def choose_films(films: Sequence[Radiograph], *, alone: bool) -> tuple[list[Radiograph], list[Refusal]]:
    """Return the films that can be placed in time, and the others with their reasons."""
    dated = [film for film in films if alone or moment_of(film.source) is not None]
    undated = [film for film in films if not alone and moment_of(film.source) is None]
    return dated, [Refusal(film.source.file, "undated", _UNDATED) for film in undated]


def _rank(volume: CtVolume, named: set[str | None]) -> tuple[bool, bool, int, float, str]:
    uid = volume.source.series_instance_uid
    return uid not in named, volume.contrast, _sharpness(volume.kernel), volume.spacing_mm[0], uid


def _sharpness(kernel: str | None) -> int:
    """Return how sharp a kernel is by its name: makers number kernels from soft to sharp, or use a word."""
    name = (kernel or "").lower()
    if any(word in name for word in _SHARP):
        return 90
    if any(word in name for word in _SOFT):
        return 20
    if "stand" in name:
        return 30
    number = re.search(r"\d{2}", name)
    return int(number.group()) if number else _UNKNOWN_KERNEL


def _too_thin(volume: CtVolume) -> Refusal:
    size = " x ".join(map(str, volume.hu.shape))
    sentence = f"Expected a CT volume of at least three slices, found {size}; give the whole series."
    return Refusal(volume.source.file, "one_slice", sentence)
