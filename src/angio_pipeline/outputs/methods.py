"""What was done to one run or follow-up, in sentences made from the values that were used."""

from __future__ import annotations

from angio_pipeline.core.runs import Background
from angio_pipeline.core.words import counted
from angio_pipeline.outputs.schemas import LesionDocument, LipiodolDocument, RunDocument, SubtractionDocument

__all__ = ["follow_up_methods", "residuals", "run_methods"]

_BACKGROUND = {
    "temporal": "No frame without contrast was found, so the least contrast seen at each pixel served as background.",
    "spatial": "The background was estimated from each pixel's surroundings, because time could not give one.",
    "already_subtracted": "The run was exported already subtracted and was not subtracted again.",
}


def run_methods(document: RunDocument) -> list[str]:
    """Return the sentences for one run; frames are counted from 1, as on a viewer."""
    sentences = [_acquisition(document), _background(document), _alignment(document), _noise(document)]
    sentences += [_timing(document), _told_by(document), _tree(document), _flow(document), _scale(document)]
    sentences.append(_corrections(document))
    if any(tumour.feeders for tumour in document.tumours):
        sentences.append(
            "A feeder's probability is the software's own estimate from the evidence listed beside it; it is not a "
            "frequency observed in patients. Contribution is its estimated share of what flows into the tumour."
        )
    if document.software is not None:
        sentences.append(f"Written by {document.software.name} {document.software.version}.")
    return [sentence for sentence in sentences if sentence]


def _acquisition(document: RunDocument) -> str:
    image = document.image
    known = [t for t in image.times_s if t is not None]
    span = f" over {known[-1] - known[0]:.1f} s" if len(known) > 1 else ""
    interval = f", median interval {image.frame_interval_s:.3g} s" if image.frame_interval_s else ""
    return f"{counted(image.frames, 'frame')} of {image.rows} × {image.columns} pixels{span}{interval}."


def _background(document: RunDocument) -> str:
    cut = document.subtraction
    if cut.already_subtracted:
        return _BACKGROUND["already_subtracted"]
    if cut.mask_frames and cut.background != Background.SPATIAL:
        frames = ", ".join(str(frame + 1) for frame in cut.mask_frames)
        plural = "Frames" if len(cut.mask_frames) > 1 else "Frame"
        by = {"frame": ", chosen anew for each frame", "patch": ", chosen anew for each patch of each frame"}
        return f"{plural} {frames}, without contrast, made the mask{by.get(cut.mask_scope or '', '')}."
    return _BACKGROUND.get(cut.background, "")


def residuals(cut: SubtractionDocument) -> tuple[float, float] | None:
    """Return the difference outside vessels before and after motion correction; None when none was kept."""
    if cut.residual_before is None or cut.residual_after is None or cut.correction == "none":
        return None
    if cut.background not in (Background.MASK, Background.TEMPORAL):
        return None
    return cut.residual_before, cut.residual_after


def _alignment(document: RunDocument) -> str:
    cut = document.subtraction
    pair = residuals(cut)
    if pair is None:
        return "Motion was not corrected."
    before, after = pair
    known = [(row, col) for row, col in cut.motion_px if row is not None and col is not None]
    largest = max(((row**2 + col**2) ** 0.5 for row, col in known), default=None)
    moved = f" Largest mean displacement {largest:.1f} px." if largest is not None else ""
    change = f" ({100 * (after - before) / before:+.0f} %)" if before > 0 else ""
    left_out = cut.usable_frames.count(False)
    dropped = (
        f" {left_out} of {counted(document.image.frames, 'frame')} could not be aligned and were left out."
        if left_out
        else ""
    )
    return (
        f"{_correction(cut)} took the root-mean-square difference outside vessels from {before:.4g} "
        f"to {after:.4g}{change}.{moved}{dropped}"
    )


def _correction(cut: SubtractionDocument) -> str:
    shifts = sorted(set(cut.mask_shift_px) - {(0.0, 0.0)})
    by = " and ".join(f"({row:g}, {col:g}) px" for row, col in shifts[:2]) + (" and more" if len(shifts) > 2 else "")
    if cut.correction == "hand":
        return f"Moving the mask by {by or '(0, 0) px'}, as given by hand, in place of motion correction"
    if cut.correction == "header":
        return f"Moving the mask by {by}, as the file asks,"
    return f"Motion correction, which also tried the mask shift of the file ({by})," if by else "Motion correction"


def _noise(document: RunDocument) -> str:
    if not document.subtraction.denoised:
        return ""
    return (
        "Noise that no course over time explains was taken out of the subtracted frames, without smoothing along time."
    )


def _timing(document: RunDocument) -> str:
    interval = document.image.frame_interval_s
    if interval is None:
        return "The file gives no frame times, so nothing is reported in seconds."
    return f"Times finer than the frame interval ({interval:.3g} s) are interpolated."


def _told_by(document: RunDocument) -> str:
    name = f" ({document.vessels.network})" if document.vessels.network else ""
    told = {
        "network": f"Arteries, veins and blush were told by a network{name} that learned from simulated patients.",
        "frame network": f"Vessels were told by a network{name} from one frame, as contrast is not seen to come.",
        "filter": "Arteries were told by a ridge filter.",
    }
    return told.get(document.vessels.method or "", "")


def _tree(document: RunDocument) -> str:
    vessels = document.vessels
    if not vessels.branches:
        return "No arterial tree was found."
    length = f"{vessels.length_px:.0f} px" if vessels.length_mm is None else f"{vessels.length_mm:.0f} mm"
    root = "rooted at the catheter tip" if document.catheter_tip else "rooted at an assumed origin"
    return f"The arterial tree has {counted(vessels.branches, 'branch', 'branches')}, {length} in projection, {root}."


def _flow(document: RunDocument) -> str:
    settings = document.settings.get("measures")
    if not isinstance(settings, dict) or not document.vessels.branches or document.image.frame_interval_s is None:
        return ""
    level, most = settings["bolus"]["level"], settings["velocity"]["largest_log_sd"]
    return (
        f"The leading edge has come where a piece of vessel reaches {100 * level:.0f} % of its greatest contrast; its "
        "times were fitted over the whole tree, and a velocity is given where the fit knows its logarithm to "
        f"±{most:.2g} (standard deviation)."
    )


def _corrections(document: RunDocument) -> str:
    applied = [one for one in document.corrections if one.applied]
    if not applied:
        return ""
    readers = sorted({one.reviewer for one in applied if one.reviewer})
    by = f" by {', '.join(readers)}" if readers else ""
    last = max(one.time for one in applied)
    count = f"{len(applied)} correction{'s' if len(applied) > 1 else ''}"
    return f"{count}{by}, the last of {last:%Y-%m-%d %H:%M %Z}, changed what the software had found."


def _scale(document: RunDocument) -> str:
    image = document.image
    if image.spacing_mm is None:
        return "Lengths are in pixels: the file gives no scale that holds in the patient."
    how = image.calibration or image.spacing_plane.value
    row, col = image.spacing_mm
    return (
        f"Millimetres from {row:.3g} × {col:.3g} mm pixels ({how}); lengths are projections and may be foreshortened."
    )


def follow_up_methods(document: LipiodolDocument) -> list[str]:
    """Return the sentences for the follow-up of one patient."""
    sentences = []
    modalities = {point.modality for lesion in document.lesions for point in lesion.timepoints}
    if modalities & {"CT", "CBCT"}:
        sentences.append(
            "Iodine mass is the integral of attenuation above the local background over a padded region, divided by "
            "the scanner's slope; oil volume takes 480 mg iodine per ml. Retention is mass over the mass of the first "
            "scan after treatment."
        )
        sentences.append(
            "Scans are laid upon the reference as rigid bodies, then by the bending of the liver, both without the "
            "oil; a lesion's region is carried to each scan and summed on that scan's own voxels, so that no local "
            "change of volume changes a mass."
        )
        sentences.append(
            "Coverage is the share of the lesion above 75, 160 and 215 HU; there is no consensus on one threshold, "
            "so all three are given."
        )
    sentences += [_half_life(lesion) for lesion in document.lesions]
    return [sentence for sentence in sentences if sentence]


def _half_life(lesion: LesionDocument) -> str:
    kinetics = lesion.kinetics
    if kinetics is None:
        return f"{lesion.id}: no half-life could be computed."
    model = {"mono": "one exponential", "bi": "two exponentials", "two-point": "two dates only"}[kinetics.model.value]
    return f"{lesion.id}: half-life from {model}."
