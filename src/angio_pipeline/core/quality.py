"""What a reader has to know about a result: one registry, one sentence a flag."""

from __future__ import annotations

from enum import IntFlag, auto

__all__ = ["QUALITY_SENTENCES", "Quality"]


class Quality(IntFlag):
    """Flags that travel with every result; `names()` gives what `analysis.json` lists."""

    NONE = 0
    # acquisition
    ALREADY_SUBTRACTED = auto()
    DISPLAY_VALUES = auto()
    EIGHT_BIT = auto()
    LOSSY_COMPRESSION = auto()
    TIMES_UNKNOWN = auto()
    TIMES_FROM_DISPLAY_RATE = auto()
    NOT_CALIBRATED = auto()
    COLLIMATED = auto()
    BURNT_IN_OVERLAY = auto()
    FRAMES_DROPPED = auto()
    PHOTOMETRIC_ASSUMED = auto()
    # subtraction
    NO_MASK_FRAME = auto()
    TEMPORAL_BACKGROUND = auto()
    SPATIAL_BACKGROUND = auto()
    MOTION_UNCORRECTED = auto()
    MOTION_LARGE = auto()
    FRAMES_EXCLUDED = auto()
    # perfusion
    LOW_TIME_RESOLUTION = auto()
    FILLED_FROM_FIRST_FRAME = auto()
    NO_WASHOUT_SEEN = auto()
    # vessels
    NO_VESSELS = auto()
    NO_CATHETER_TIP = auto()
    ROOT_ASSUMED = auto()
    CROSSINGS_UNRESOLVED = auto()
    FLOW_DIRECTION_UNCERTAIN = auto()
    # tumour
    NO_TUMOUR_BLUSH = auto()
    BLUSH_EVERYWHERE = auto()
    NO_FEEDER = auto()
    OVERLAP_AMBIGUOUS = auto()
    ROI_NOT_MATCHED = auto()
    SHUNT_NOT_ASSESSED = auto()
    # follow-up
    NO_LIPIODOL = auto()
    CLIPPED_HU = auto()
    KVP_ASSUMED = auto()
    CONTRAST_ENHANCED = auto()
    RELATIVE_ONLY = auto()
    PROJECTION_LIMIT = auto()
    REGISTRATION_POOR = auto()
    LESION_AT_EDGE = auto()
    UNEVEN_SLICES = auto()
    FEW_TIMEPOINTS = auto()
    HALF_LIFE_UNBOUNDED = auto()
    REFERENCE_MISSING = auto()
    FILMS_NOT_COMPARABLE = auto()
    NO_PLAIN_REFERENCE = auto()
    PIXEL_SHIFT_NOT_APPLIED = auto()
    SHIFTED_BY_HAND = auto()
    SHIFT_MAKES_WORSE = auto()
    MOTION_CORRECTION_OFF = auto()
    UNFAMILIAR = auto()
    FLOW_NOT_RESOLVED = auto()
    HAND_CORRECTED = auto()
    CORRECTION_NOT_APPLIED = auto()
    TARGET_OFF_VESSEL = auto()
    DEFORMATION_REFUSED = auto()

    def names(self) -> list[str]:
        """Return the names of the flags that are set, in registry order."""
        return [flag.name for flag in type(self) if flag in self and flag.name is not None]

    def sentences(self) -> list[str]:
        """Return one sentence for each flag that is set."""
        return [QUALITY_SENTENCES[flag] for flag in type(self) if flag in self]


QUALITY_SENTENCES: dict[Quality, str] = {
    Quality.ALREADY_SUBTRACTED: "The run was exported already subtracted; it was not subtracted again.",
    Quality.DISPLAY_VALUES: "Pixel values went through a display transform: amounts are relative only.",
    Quality.EIGHT_BIT: "The export holds 8 bits a pixel: faint contrast may be lost to rounding.",
    Quality.LOSSY_COMPRESSION: "The pixels were compressed with loss: fine detail may be altered.",
    Quality.TIMES_UNKNOWN: "The file gives no frame times: nothing is reported in seconds.",
    Quality.TIMES_FROM_DISPLAY_RATE: "Frame times come from the recommended display rate, not from the acquisition.",
    Quality.NOT_CALIBRATED: "No usable calibration: lengths are in pixels, not millimetres.",
    Quality.COLLIMATED: "Part of the frame is behind shutters or outside the detector and was left out.",
    Quality.BURNT_IN_OVERLAY: "Graphics are burnt into the pixels and were left out where found.",
    Quality.FRAMES_DROPPED: "Some frames are blank or broken and were left out.",
    Quality.PHOTOMETRIC_ASSUMED: "Black and white are unusual here: the way contrast goes was judged by the evidence.",
    Quality.NO_MASK_FRAME: "No frame without contrast was found.",
    Quality.TEMPORAL_BACKGROUND: "The background was estimated from the run itself (least contrast at each pixel).",
    Quality.SPATIAL_BACKGROUND: "The background was estimated from each pixel's surroundings; timing means little.",
    Quality.MOTION_UNCORRECTED: "Motion could not be corrected in some frames.",
    Quality.MOTION_LARGE: "The anatomy moves far between frames: subtraction is approximate.",
    Quality.FRAMES_EXCLUDED: "Frames that could not be aligned were left out of the maps.",
    Quality.LOW_TIME_RESOLUTION: "Frames are more than half a second apart: times between them are interpolated.",
    Quality.FILLED_FROM_FIRST_FRAME: "The vessels are filled from the first frame: arrival times cannot be measured.",
    Quality.NO_WASHOUT_SEEN: "The run ends before contrast leaves: late phases are incomplete.",
    Quality.NO_VESSELS: "No vessel was found.",
    Quality.NO_CATHETER_TIP: "The catheter tip was not found.",
    Quality.ROOT_ASSUMED: "The root of the tree was taken from calibre and arrival, not from a visible catheter tip.",
    Quality.CROSSINGS_UNRESOLVED: "Some branches cross in projection and could not be told from bifurcations.",
    Quality.FLOW_DIRECTION_UNCERTAIN: "Direction of flow was taken from the tree's shape, not from arrival times.",
    Quality.NO_TUMOUR_BLUSH: "No tumour blush was found.",
    Quality.BLUSH_EVERYWHERE: "Most of the frame enhances: a tumour blush cannot be told from parenchyma.",
    Quality.NO_FEEDER: "No feeding branch could be named for a tumour.",
    Quality.OVERLAP_AMBIGUOUS: "For some feeders overlap is the only evidence: cannot decide.",
    Quality.ROI_NOT_MATCHED: "A region of interest matched no image.",
    Quality.SHUNT_NOT_ASSESSED: "The run does not allow a shunt to be looked for.",
    Quality.NO_LIPIODOL: "No retained oil was found.",
    Quality.CLIPPED_HU: "Voxels reach the top of the CT scale: iodine mass is biased low.",
    Quality.KVP_ASSUMED: "The tube voltage is missing: the 120 kVp slope was used.",
    Quality.CONTRAST_ENHANCED: "The scan is contrast-enhanced: vascular iodine may be counted as oil.",
    Quality.RELATIVE_ONLY: "Amounts are relative to the patient's own reference, not milligrams.",
    Quality.PROJECTION_LIMIT: (
        "Deposition on projections predicts response barely better than chance (Az 0.54 against 0.75 on cone-beam CT, "
        "doi:10.1186/s40644-016-0090-4)."
    ),
    Quality.REGISTRATION_POOR: "The follow-up could not be aligned well with the reference scan.",
    Quality.LESION_AT_EDGE: "The lesion touches the edge of the scan: its mass is a lower bound.",
    Quality.UNEVEN_SLICES: "Slices are missing or unevenly spaced.",
    Quality.FEW_TIMEPOINTS: "Too few dates for a fitted half-life; one from two dates is no fit.",
    Quality.HALF_LIFE_UNBOUNDED: "The half-life is longer than the follow-up can bound.",
    Quality.REFERENCE_MISSING: "No internal reference was found on the film.",
    Quality.FILMS_NOT_COMPARABLE: (
        "The film cannot be compared with the first one (values of another kind, another angulation, or no common "
        "anatomy around the lesion): no retention is given."
    ),
    Quality.SHIFTED_BY_HAND: "The mask was shifted by hand, in place of motion correction.",
    Quality.SHIFT_MAKES_WORSE: "The shift of the mask leaves more outside vessels than no shift does.",
    Quality.MOTION_CORRECTION_OFF: "Motion correction was switched off.",
    Quality.UNFAMILIAR: "The image is unlike any that the network was trained on: its vessels may be wrong.",
    Quality.FLOW_NOT_RESOLVED: "The frames are too far apart, or contrast too faint, for a velocity in any branch.",
    Quality.HAND_CORRECTED: "A reader corrected this result: what is marked so was set by hand, not found.",
    Quality.CORRECTION_NOT_APPLIED: "Some of the reader's corrections fit nothing in this run and were not applied.",
    Quality.TARGET_OFF_VESSEL: "A target that was moved by hand stands on no vessel that was found.",
    Quality.DEFORMATION_REFUSED: "The liver's bending could not be told: the follow-up was aligned as a rigid body.",
    Quality.PIXEL_SHIFT_NOT_APPLIED: "There is no mask to move: the pixel shift that was asked for was not applied.",
    Quality.NO_PLAIN_REFERENCE: (
        "No plain scan after treatment shows oil in the lesion to compare with: no retention is given."
    ),
}
