"""What two projections of one injection say together, as a structured report: of the pair, its tumours, its feeders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from angio_pipeline.outputs.dicom import codes
from angio_pipeline.outputs.dicom.codes import own
from angio_pipeline.outputs.dicom.origin import Origin
from angio_pipeline.outputs.dicom.report import Group, answer, flag_codes, number, report_bytes
from angio_pipeline.outputs.schemas import PairFeederDocument, PairTumourDocument, ProjectionPairDocument
from angio_pipeline.outputs.schemas import ProjectionsDocument as Document

__all__ = ["projections_report_bytes"]

_PAIR = own("PROJECTIONS", "Two projections of one injection")
_ANGLE = own("ANGLE_BETWEEN", "Angle between the two projections")
_MATCH = own("MATCH", "How well both projections agree")
_SD = own("ALIGNMENT_SD", "Standard deviation of what both projections share")
_APART = own("EPIPOLAR_DISTANCE", "Distance from the lines of the other projection")
_RADIUS = own("RADIUS", "Radius in space")
_ALONE = own("PROBABILITY_ALONE", "Probability by this projection alone")
_MISFIT = own("MISFIT", "Misfit of course, arrival and calibre, standard deviations")
_LATER = own("LATER", "Arrival later than in the other projection")
_BEYOND = own("BEYOND_TUMOR", "Distance in space from the entry to the edge of the tumor")
_SIGHT = own("SIGHT", "What both projections show of the branch")
_PARTNER = own("PARTNER", "Its name in the other projection")


def projections_report_bytes(document: Document, origins: Sequence[Origin]) -> bytes | None:
    """Return the report of `projections.json`, in the study of the first run; None where no runs were joined.

    Parameters
    ----------
    origins : sequence of Origin
        The runs, among them both of each pair; others are left out.
    """
    of = {one.source.sop_instance_uid: one for one in origins}
    members = [uid for pair in document.pairs for uid in (pair.first.sop_instance_uid, pair.second.sop_instance_uid)]
    groups = [group for count, pair in enumerate(document.pairs, start=1) for group in _pair(count, pair, of)]
    if not groups:
        return None
    label = "Two projections together"
    return report_bytes(
        groups, [of[uid] for uid in members], procedure=codes.ANGIOGRAPHY, label=label, series_number=9012
    )


def _pair(count: int, pair: ProjectionPairDocument, of: Mapping[str, Origin]) -> Iterator[Group]:
    uids = (pair.first.sop_instance_uid, pair.second.sop_instance_uid)
    yield Group(
        f"projections {count}",
        _PAIR,
        numbers=(
            *number(_ANGLE, pair.apart_deg, codes.DEGREES),
            *number(_MATCH, pair.alignment.match, codes.NO_UNITS),
            *number(_SD, pair.alignment.sd_mm, codes.MILLIMETRES),
        ),
        evaluations=flag_codes(pair.quality),
        texts=tuple((codes.COMMENT, sentence) for sentence in pair.cautions),
        images=tuple(of[uid].image() for uid in uids),
    )
    for uid, feeders in zip(uids, (pair.feeders_first, pair.feeders_second), strict=True):
        # Names are those of the run's own report.
        seen = [_tumour(one) for one in pair.tumours if uid == uids[0]] + [_feeder(one) for one in feeders]
        yield from (replace(group, within=uid, images=(of[uid].image(),)) for group in seen)


def _tumour(tumour: PairTumourDocument) -> Group:
    return Group(
        tumour.id,
        codes.NEOPLASM,
        site=codes.LIVER,
        numbers=(
            *number(_RADIUS, tumour.radius_mm, codes.MILLIMETRES),
            *number(_APART, tumour.apart_mm, codes.MILLIMETRES),
        ),
        texts=((_PARTNER, tumour.match),),
    )


def _feeder(feeder: PairFeederDocument) -> Group:
    return Group(
        feeder.id,
        codes.FEEDER,
        site=codes.LIVER,
        numbers=(
            *number(codes.PROBABILITY, feeder.probability, codes.NO_UNITS, ("POINT", feeder.entry)),
            *number(_ALONE, feeder.probability_alone, codes.NO_UNITS),
            *number(_APART, feeder.apart_mm, codes.MILLIMETRES),
            *number(_MISFIT, feeder.misfit, codes.NO_UNITS),
            *number(_LATER, feeder.later_s, codes.SECONDS),
            *number(_BEYOND, feeder.beyond_mm, codes.MILLIMETRES),
        ),
        evaluations=(answer(_SIGHT, feeder.sight.value),),
        texts=(
            *(() if feeder.match is None else ((_PARTNER, feeder.match),)),
            (codes.COMMENT, feeder.reason),
        ),
    )
