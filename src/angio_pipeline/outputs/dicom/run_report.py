"""The measurements of one run as a structured report: tumours, feeders, targets, shunts, and how good the run is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain

from pydicom.sr.coding import Code

from angio_pipeline.outputs.dicom import codes
from angio_pipeline.outputs.dicom.codes import own
from angio_pipeline.outputs.dicom.origin import Origin
from angio_pipeline.outputs.dicom.report import Group, Number, answer, flag_codes, number, report_bytes
from angio_pipeline.outputs.dicom.segmentation import Segments
from angio_pipeline.outputs.schemas import FeederDocument, RunDocument, ShuntDocument, TargetDocument, TumourDocument

__all__ = ["run_report_bytes"]

# What the standard has no word for.
_RESIDUAL_BEFORE = own("RESIDUAL_BEFORE", "Difference outside vessels as acquired")
_RESIDUAL_AFTER = own("RESIDUAL_AFTER", "Difference outside vessels after motion correction")
_NOISE = own("NOISE_SD", "Standard deviation of noise of one subtracted frame")
_REFERENCE = own("REFERENCE_FRAME", "Reference frame, counted from 0")
_INTERVAL = own("FRAME_INTERVAL", "Median interval between frames")
_BRANCHES = own("BRANCHES", "Branches of the arterial tree")
_TIP = own("CATHETER_TIP", "Probability of the catheter tip")
_ROW_SPACING, _COLUMN_SPACING = (
    own("ROW_SPACING", "Spacing of rows in the patient"),
    own("COL_SPACING", "Spacing of columns in the patient"),
)
_PRIMARY = Code("112011", "DCM", "Positioner Primary Angle")
_SECONDARY = Code("112012", "DCM", "Positioner Secondary Angle")
_RANK = own("RANK", "Rank among the feeders of the tumor")
_TARGET_DIAMETER = own("TARGET_DIAMETER", "Diameter of the vessel at the position")
_BIFURCATIONS = own("BIFURCATIONS", "Bifurcations to turn at on the way to the position")
_TURN = own("TURN", "Turn at a bifurcation on the way, in its order")
_BEYOND = own("BEYOND_BRANCH", "Distance beyond the last branch that feeds something else")
_ORIGIN, _CORRECTED = own("ORIGIN", "How it came to be known"), own("CORRECTED", "What a reader did")
_OVERLAP = own("OVERLAP", "Whether overlap is the only evidence")
_COVERS = own("COVERS", "Feeders reached from the position")
_YES, _NO = own("YES", "Yes"), own("NO", "No")
_EARLY_VEIN = own("SHUNT_KIND", "Kind of shunt")


def run_report_bytes(
    document: RunDocument, origin: Origin, weights: Mapping[str, str], segments: Segments | None = None
) -> bytes:
    """Return the report of a run, with the numbers of its `analysis.json`.

    Parameters
    ----------
    weights : mapping of str to str
        SHA-256 of the weights of each network that was asked, by name.
    segments : Segments, optional
        The segmentation of the same run, of which tumours and feeders name their segments.
    """
    tumours = chain.from_iterable(_tumour(one) for one in document.tumours)
    shunts = (_shunt(count, one) for count, one in enumerate(document.shunts, start=1))
    run = replace(_run(document), algorithms=weights)
    frame = origin.image(document.subtraction.reference_frame)
    within = document.source.sop_instance_uid
    groups = [replace(group, images=(frame,), within=within) for group in (run, *tumours, *shunts)]
    label = "Vessels, tumors and feeders"
    return report_bytes(
        groups, [origin], procedure=codes.ANGIOGRAPHY, label=label, series_number=9009, segments=segments
    )


def _run(document: RunDocument) -> Group:
    image, subtraction, vessels, tip = document.image, document.subtraction, document.vessels, document.catheter_tip
    row_mm, col_mm = image.spacing_mm or (None, None)
    primary, secondary = image.pose_deg or (None, None)
    return Group(
        "run",
        codes.RUN,
        numbers=(
            *number(codes.FRAMES, image.frames, codes.NO_UNITS),
            *number(_INTERVAL, image.frame_interval_s, codes.SECONDS),
            *number(_ROW_SPACING, row_mm, codes.MILLIMETRES),
            *number(_COLUMN_SPACING, col_mm, codes.MILLIMETRES),
            *number(_PRIMARY, primary, codes.DEGREES),
            *number(_SECONDARY, secondary, codes.DEGREES),
            *number(_REFERENCE, subtraction.reference_frame, codes.NO_UNITS),
            *number(_RESIDUAL_BEFORE, subtraction.residual_before, codes.NO_UNITS),
            *number(_RESIDUAL_AFTER, subtraction.residual_after, codes.NO_UNITS),
            *number(_NOISE, subtraction.noise_sd, codes.NO_UNITS),
            *number(_BRANCHES, vessels.branches, codes.NO_UNITS),
            *number(codes.LENGTH, vessels.length_mm, codes.MILLIMETRES),
            *number(codes.LENGTH, vessels.length_px, codes.PIXELS),
            *(() if tip is None else number(_TIP, tip.probability, codes.NO_UNITS, ("POINT", (tip.row, tip.col)))),
        ),
        evaluations=flag_codes(document.quality),
        texts=tuple((codes.COMMENT, sentence) for sentence in document.quality_sentences),
    )


def _tumour(tumour: TumourDocument) -> list[Group]:
    whole = Group(
        tumour.id,
        codes.NEOPLASM,
        site=codes.LIVER,
        numbers=(
            *number(codes.PROBABILITY, tumour.probability, codes.NO_UNITS, ("POINT", tumour.centroid)),
            *number(codes.AREA, tumour.area_mm2, codes.SQUARE_MILLIMETRES),
            *number(codes.AREA, tumour.area_px, codes.PIXELS),
        ),
        evaluations=(answer(_ORIGIN, tumour.origin.value), *_corrected(tumour.corrected)),
    )
    feeders = [_feeder(one) for one in tumour.feeders]
    targets = [
        Group(
            f"{tumour.id} target {number}",
            codes.TARGET,
            numbers=_target(one),
            evaluations=_corrected(one.corrected),
            texts=((_COVERS, ", ".join(one.covers)),) if one.covers else (),
        )
        for number, one in enumerate(tumour.targets, start=1)
    ]
    return [whole, *feeders, *targets]


def _feeder(feeder: FeederDocument) -> Group:
    course = [("POLYLINE", feeder.centreline)] if len(feeder.centreline) > 1 else []
    return Group(
        feeder.id,
        codes.FEEDER,
        site=codes.LIVER,
        numbers=(
            *number(codes.PROBABILITY, feeder.probability, codes.NO_UNITS, *course, ("POINT", feeder.branch_start)),
            *number(_RANK, feeder.rank, codes.NO_UNITS),
            *number(codes.CONTRIBUTION, feeder.contribution, codes.NO_UNITS),
            *number(codes.DIAMETER, feeder.diameter_mm, codes.MILLIMETRES),
            *number(codes.DIAMETER, feeder.diameter_px, codes.PIXELS),
            *number(codes.ARRIVAL, feeder.arrival_s, codes.SECONDS),
            *_target(feeder.target),
        ),
        evaluations=(
            (_OVERLAP, _YES if feeder.overlap_ambiguous else _NO),
            *_corrected(feeder.corrected),
        ),
    )


def _target(target: TargetDocument) -> tuple[Number, ...]:
    place = ("POINT", (target.row, target.col))
    return (
        *number(_BIFURCATIONS, target.bifurcations, codes.NO_UNITS, place),
        *number(_TARGET_DIAMETER, target.diameter_mm, codes.MILLIMETRES),
        *number(_TARGET_DIAMETER, target.diameter_px, codes.PIXELS),
        *number(codes.PATH_LENGTH, target.path_length_mm, codes.MILLIMETRES),
        *number(codes.PATH_LENGTH, target.path_length_px, codes.PIXELS),
        *number(codes.TORTUOSITY, target.tortuosity, codes.NO_UNITS),
        *number(codes.NON_TARGET, target.non_target_fraction, codes.NO_UNITS),
        *number(_BEYOND, target.beyond_last_branch_mm, codes.MILLIMETRES),
        *number(_BEYOND, target.beyond_last_branch_px, codes.PIXELS),
        *(one for turn in target.turns_deg for one in number(_TURN, turn, codes.DEGREES)),
    )


def _shunt(count: int, shunt: ShuntDocument) -> Group:
    return Group(
        f"shunt {count}",
        codes.FISTULA,
        site=codes.LIVER,
        numbers=(
            *number(codes.PROBABILITY, shunt.probability, codes.NO_UNITS, ("POINT", (shunt.row, shunt.col))),
            *number(codes.ARRIVAL, shunt.arrival_s, codes.SECONDS),
        ),
        evaluations=(answer(_EARLY_VEIN, shunt.kind.value),),
    )


def _corrected(what: object) -> tuple[tuple[Code, Code], ...]:
    return () if what is None else (answer(_CORRECTED, str(getattr(what, "value", what))),)
