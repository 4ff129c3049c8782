"""One patient's story as a page, from the files in the patient's folder and nothing else.

What is missing or cannot be read leaves a sentence where it would have stood; the page is built
even when every run failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from angio_pipeline.core.followups import AlignmentMethod
from angio_pipeline.core.geometry import CArmPose
from angio_pipeline.core.quality import QUALITY_SENTENCES, Quality
from angio_pipeline.core.tumours import WORTH_SHOWING
from angio_pipeline.core.words import counted
from angio_pipeline.outputs.branches import flow_story
from angio_pipeline.outputs.charts import Band, Series, line_chart
from angio_pipeline.outputs.comparison_story import comparison_story
from angio_pipeline.outputs.files import write_text
from angio_pipeline.outputs.folders import EMBOLISATION, PROJECTIONS, RunFolder, SubjectFolder, read_subject
from angio_pipeline.outputs.methods import follow_up_methods, residuals, run_methods
from angio_pipeline.outputs.overlay import angulation
from angio_pipeline.outputs.pages import UNKNOWN, data_uri, day, fixed, interval_words, percent, render
from angio_pipeline.outputs.projection_story import projection_story
from angio_pipeline.outputs.response_story import response_story
from angio_pipeline.outputs.schemas import (
    FeederDocument,
    LipiodolDocument,
    LiverDocument,
    RunDocument,
    ScanAlignmentDocument,
    TimepointDocument,
    TumourDocument,
)

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["course_story", "likely_feeders", "turns_words", "write_report"]

_FILMS = ("DX", "CR", "XA", "RF")


def write_report(subject_dir: Path) -> Path:
    """Write `report.html` into `subject_dir` and return its path; failed runs are in it too.

    Raises
    ------
    OSError
        When the page cannot be written.
    """
    subject = read_subject(subject_dir)
    path = subject_dir / "report.html"
    write_text(path, render("report.html", **_story(subject)))
    return path


def _story(subject: SubjectFolder) -> dict[str, Any]:
    follow_up = subject.follow_up
    liver = follow_up.liver if follow_up is not None else None
    return {
        "subject": subject,
        "runs": [_run(run) for run in subject.runs],
        "follow_up": follow_up,
        "lesions": [_lesion(lesion.id, lesion, subject.path) for lesion in (follow_up.lesions if follow_up else [])],
        "liver": None if liver is None else _lesion("liver", liver, subject.path),
        "counted_apart": _counted_apart(subject),
        "stray": [(search, oil) for search in follow_up.non_target for oil in search.pieces] if follow_up else [],
        "stray_words": _stray_words(follow_up) if follow_up is not None else [],
        "alignments": _alignments(follow_up, subject.path) if follow_up is not None else [],
        "lesion_count": len(follow_up.lesions) if follow_up is not None else 0,
        "scans": _scans(follow_up),
        "follow_up_methods": follow_up_methods(follow_up) if follow_up is not None else [],
        "follow_up_settings": _settings(follow_up.settings) if follow_up is not None else [],
        "projection_limit": QUALITY_SENTENCES[Quality.PROJECTION_LIMIT],
        **response_story(subject.response, subject.response_problem),
        **comparison_story(subject.embolisation, subject.embolisation_problem, subject.path / EMBOLISATION),
        **projection_story(subject.projections, subject.projections_problem, subject.path / PROJECTIONS),
    }


def _counted_apart(subject: SubjectFolder) -> str:
    """That tumours of angiograms and lesions of scans have numbers of their own; empty where there are not both."""
    tumours = {tumour.id for run in subject.runs if run.document is not None for tumour in run.document.tumours}
    lesions = {lesion.id for lesion in subject.follow_up.lesions} if subject.follow_up is not None else set()
    if not tumours or not lesions:
        return ""
    named, followed = (", ".join(sorted(names)) for names in (tumours, lesions))
    return (
        f"Tumours of the angiograms ({named}) and lesions of the scans ({followed}) are counted separately: nothing "
        "registers a projection with a scan, so no number of one says which of the other it is."
    )


def _scans(follow_up: LipiodolDocument | None) -> int:
    """How many images the follow-up was measured on, the liver's among them."""
    if follow_up is None:
        return 0
    courses = [*follow_up.lesions, *([follow_up.liver] if follow_up.liver is not None else [])]
    return len({(p.date, p.series_instance_uid) for course in courses for p in course.timepoints})


# --- runs ---------------------------------------------------------------------------------------


def _run(run: RunFolder) -> dict[str, Any]:
    document = run.document
    names = ("overlay", "flow", "before", "after")
    pictures: dict[str, str | None] = dict.fromkeys(names)
    if document is not None:
        import cv2

        with ThreadPoolExecutor(max(cv2.getNumThreads(), 1)) as pool:
            pictures = dict(zip(names, pool.map(lambda name: data_uri(run.path / f"{name}.png"), names), strict=True))
    story: dict[str, Any] = {"date": day(run.date), "problem": run.problem, "label": run.series, **pictures}
    story["overlay_file"] = quote(f"{run.name}/overlay.png")
    story["flow_file"] = quote(f"{run.name}/flow.png")
    if document is None:
        return story | {"document": None, "angulation": None, "chart": None, "layers": None}
    return story | {
        "document": document,
        "label": document.source.description or run.series,
        "angulation": _angulation(document),
        "likely": likely_feeders(document),
        "undecided": [f.id for f in _shown_feeders(document) if f.overlap_ambiguous],
        "flow_story": flow_story(run.path),
        "shunts": [f"{s.kind.value} {s.probability:.2f}" for s in document.shunts],
        "overlay_words": _overlay_words(document),
        "motion_words": _motion_words(document),
        "chart": _curves_chart(run, document),
        "layers": _layers_chart(document),
        "area": _area,
        "turns": turns_words,
        "methods": run_methods(document),
        "settings": _settings(document.settings),
    }


def _angulation(document: RunDocument) -> str | None:
    pose = document.image.pose_deg
    return None if pose is None else angulation(CArmPose(*pose))


def likely_feeders(document: RunDocument) -> list[str]:
    """Return the feeders with probability of at least 0.5 that overlap leaves decided, best first."""
    feeders = [f for t in document.tumours for f in t.feeders if f.probability >= 0.5 and not f.overlap_ambiguous]
    ranked = sorted(feeders, key=lambda f: -f.probability)
    return [f"{f.id} {'by hand' if f.corrected else f'{f.probability:.2f}'}" for f in ranked]


def _shown_feeders(document: RunDocument) -> list[FeederDocument]:
    return [f for tumour in document.tumours for f in tumour.feeders if f.probability >= WORTH_SHOWING]


def _overlay_words(document: RunDocument) -> str:
    """What the overlay shows, for a reader who cannot see it."""
    feeders = _shown_feeders(document)
    shown = [
        f"arterial tree of {counted(document.vessels.branches, 'branch', 'branches')}",
        counted(len(document.tumours), "tumour") if document.tumours else "no tumour",
        f"feeders {', '.join(f'{f.id} {f.probability:.2f}' for f in feeders)}" if feeders else "no feeder",
    ]
    return "Annotated subtraction: " + "; ".join(shown) + "."


def _motion_words(document: RunDocument) -> str:
    pair = residuals(document.subtraction)
    if pair is None:
        return ""
    return f"Difference outside vessels (root mean square): {pair[0]:.3g} before, {pair[1]:.3g} after."


_LAYERS = (
    ("none", "as acquired"),
    ("shift", "one shift"),
    ("field", "smooth field"),
    ("masks", "best masks"),
)


def _layers_chart(document: RunDocument) -> Markup | None:
    """What each layer of the correction left of motion in each frame."""
    layers = document.subtraction.residual_layers
    if layers is None or residuals(document.subtraction) is None:
        return None
    by_hand = {"shift": "by hand"} if document.subtraction.correction == "hand" else {}
    given = [(by_hand.get(name, words), getattr(layers, name)) for name, words in _LAYERS]
    series = [
        Series(words, [float(t + 1) for t in range(len(values))], values, f"s{i}")
        for i, (words, values) in enumerate(given)
        if any(value is not None for value in values)
    ]
    return line_chart(
        series,
        x_label="frame",
        y_label="difference outside vessels, RMS",
        title="What each layer of the motion correction left: " + ", ".join(s.label for s in series),
        from_zero=True,
    )


def _area(tumour: TumourDocument) -> str:
    if tumour.area_mm2 is None:
        return f"{tumour.area_px} px in projection"
    return f"{tumour.area_mm2:.0f} mm² in projection"


_SHARP_DEG = 60.0
"""A turn that is told by itself; smaller ones a catheter takes at most bifurcations."""


def turns_words(turns: Sequence[float]) -> str:
    """Return how many sharp turns a way has, and the sharpest; degrees."""
    if not turns:
        return UNKNOWN
    sharp = sum(angle >= _SHARP_DEG for angle in turns)
    if not sharp:
        return f"none sharp, at most {max(turns):.0f}°"
    return f"{counted(sharp, 'sharp turn')}, {'sharpest ' if sharp > 1 else ''}{max(turns):.0f}°"


def _curves_chart(run: RunFolder, document: RunDocument) -> Markup | None:
    if run.curves is None:
        return None
    known = [t for t in run.curves.times_s if t is not None]
    timed = len(known) == len(run.curves.times_s)
    x = known if timed else [float(i + 1) for i in range(len(run.curves.times_s))]
    series = [
        Series(curve.label, x, curve.values, f"s{min(i, 5)}")
        for i, curve in enumerate(run.curves.curves)
        if len(curve.values) == len(x)
    ]
    return line_chart(
        series,
        x_label="time since the first frame, s" if timed else "frame (the file gives no times)",
        y_label=run.curves.unit,
        title="Time-density curves of " + ", ".join(s.label for s in series),
        bands=_phase_bands(document, x),
    )


def _phase_bands(document: RunDocument, x: Sequence[float]) -> list[Band]:
    phases = document.phases
    named = [("arterial", phases.arterial), ("parenchymal", phases.parenchymal), ("venous", phases.venous)]
    return [Band(name, x[p[0]], x[p[1]]) for name, p in named if p is not None and p[1] < len(x)]


def _settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each stage with its settings on one line."""
    lines = []
    for name, values in settings.items():
        if isinstance(values, Mapping):
            values = ", ".join(f"{key} = {value}" for key, value in values.items())
        lines.append((name, str(values)))
    return lines


# --- follow-ups ---------------------------------------------------------------------------------


def _lesion(name: str, course: LiverDocument, folder: Path) -> dict[str, Any]:
    points = course.timepoints
    views = [view for point in points if (view := _view(name, point, folder)) is not None]
    return {
        "id": name,
        "story": course_story(course),
        "points": points,
        "chart": _retention_chart(name, course),
        "chart_words": _chart_words(course),
        "views": views,
        "window_words": _window_words(points),
        "residuals": [_residual_words(point) for point in points if point.residual is not None],
        "projection": any(point.modality in _FILMS for point in points),
    }


def _stray_words(follow_up: LipiodolDocument) -> list[str]:
    """Return for each scan searched for oil elsewhere what it was compared with, and how many pieces it has."""
    if not follow_up.non_target:
        return ["Not judged: no other scan of this patient tells oil from bone, metal and contrast medium."]
    words = []
    for search in follow_up.non_target:
        against = (
            "the scan before treatment" if search.before_treatment else "a later scan, so that oil that stays is missed"
        )
        count = f"{len(search.pieces)} seen" if search.pieces else "none seen"
        words.append(
            f"{day(search.date)}, against {against}: {count}, within both scans and away from what was bright."
        )
    return words


def _residual_words(point: TimepointDocument) -> str:
    """Return what the arterial phase shows above the portal one at a date."""
    told = point.residual
    if told is None:
        return ""
    mean = f"{fixed(told.arterial_minus_portal_hu, 0)} HU{interval_words(told.interval_hu, 0, 1.0, ' HU')}"
    words = f"Arterial above portal phase, {day(point.date)}: {mean} over the lesion; "
    if told.living_ml:
        return words + f"at least {fixed(told.living_ml, 1)} ml enhance early and wash out, as living tumour does."
    return words + "nothing stands out, which a tumour without washout would not do either."


def _alignments(follow_up: LipiodolDocument, folder: Path) -> list[dict[str, Any]]:
    """How each scan but the reference was aligned, with the pictures that alternate with the reference."""
    told = [one for one in follow_up.alignments if one.method is not AlignmentMethod.REFERENCE]
    return [{"told": one, "words": _alignment_words(one), **_alternating(one, folder)} for one in told]


def _alternating(told: ScanAlignmentDocument, folder: Path) -> dict[str, str | None]:
    names = {"reference": told.reference_view, "before": told.before_view, "after": told.after_view}
    pictures: dict[str, str | None] = {}
    for part, name in names.items():
        path = folder / name if name is not None else None
        inside = path is not None and path.resolve().is_relative_to(folder.resolve())
        pictures[part] = data_uri(path) if path is not None and inside else None
    return pictures


def _alignment_words(told: ScanAlignmentDocument) -> str:
    if told.method is AlignmentMethod.REFUSED:
        return f"Not followed. {told.reason or ''}".strip()
    words = f"The liver's middle moved by {fixed(told.shift_mm, 1)} mm"
    if told.method is AlignmentMethod.DEFORMABLE:
        words += f" and the liver bent by {fixed(told.bend_mm, 1)} mm (95 % of it by less)"
        if told.volume_change is not None:
            words += f"; tissue kept {told.volume_change[0]:.2f} to {told.volume_change[1]:.2f} of its volume"
    words += f". Edges around it lay {fixed(told.edge_gap_before_mm, 1)} mm apart before and "
    words += f"{fixed(told.edge_gap_mm, 1)} mm after; correlation {fixed(told.correlation, 2)}."
    return f"{words} {told.reason}" if told.reason else words


def course_story(course: LiverDocument) -> str:
    """Return one lesion's course in a sentence."""
    if not course.timepoints:
        return "no image could be measured."
    measured = [p for p in course.timepoints if p.retention is not None and p.modality not in _FILMS]
    # Contrast medium in vessels counts as oil: of one visit's phases the plain one is told.
    measured = [p for p in measured if not _enhanced(p)] or measured
    words = counted(len(course.timepoints), "image")
    if measured:
        last = measured[-1]
        kept = f"{percent(last.retention)}{interval_words(last.retention_interval, 0, 100.0, ' %')}"
        words += f"; on day {fixed(last.days, 0)}, {kept} of the iodine of the first plain scan with oil is left"
        if last.iodine_mg is not None:
            words += f", {last.iodine_mg:.0f} mg{interval_words(last.iodine_mg_interval, 0, 1.0, ' mg')}"
    return f"{words}; {_half_life_words(course)}."


def _enhanced(point: TimepointDocument) -> bool:
    return Quality.CONTRAST_ENHANCED.name in point.quality


def _half_life_words(course: LiverDocument) -> str:
    kinetics = course.kinetics
    if kinetics is None:
        return "no half-life"
    low, high = kinetics.half_life_interval
    if high is None or kinetics.half_life_days is None:
        return f"half-life longer than {fixed(low, 0)} days" if low is not None else "half-life not bounded"
    return f"half-life {kinetics.half_life_days:.0f} days{interval_words((low, high), 0, 1.0, ' days')}"


def _retention_chart(name: str, course: LiverDocument) -> Markup | None:
    def measured(label: str, points: list[TimepointDocument], style: str) -> Series:
        known = [p for p in points if p.days is not None]
        return Series(
            label,
            [p.days for p in known if p.days is not None],
            [p.retention for p in known],
            style,
            line=False,
            points=True,
            intervals=[p.retention_interval for p in known],
        )

    scans = [p for p in course.timepoints if p.modality not in _FILMS]
    plain = [p for p in scans if not _enhanced(p)]
    films = [p for p in course.timepoints if p.modality in _FILMS]
    series = [measured("CT", plain, "s1"), measured("film, relative", films, "s3")]
    if len(plain) < len(scans):
        series.append(measured("CT, contrast", [p for p in scans if _enhanced(p)], "s4"))
    if course.kinetics is not None and course.kinetics.curve_days:
        fitted = Series("fit", course.kinetics.curve_days, course.kinetics.curve_retention, "s2")
        series.insert(0, fitted)
    return line_chart(
        series,
        x_label="days since treatment (or since the first scan after it)",
        y_label="retention (first scan = 1)",
        title=f"Retention of iodine in {name} over time",
        from_zero=True,
    )


def _chart_words(course: LiverDocument) -> str:
    words = "Retention with 95 % intervals."
    if course.kinetics is not None and course.kinetics.curve_days:
        words += " Dashed: the fitted washout."
    return words + f" {_half_life_words(course).capitalize()}."


def _view(name: str, point: TimepointDocument, folder: Path) -> dict[str, str] | None:
    path = folder / point.view if point.view is not None else None
    if path is None or not path.resolve().is_relative_to(folder.resolve()):
        return None
    picture = data_uri(path)
    if picture is None:
        return None
    image = f"{point.modality} with contrast medium" if _enhanced(point) else point.modality
    caption = f"{day(point.date)}, day {fixed(point.days, 0)}, {image}, retention {percent(point.retention)}"
    return {"picture": picture, "caption": caption, "words": f"Slice through {name}, {caption}, deposit outlined"}


def _window_words(points: Sequence[TimepointDocument]) -> str:
    windows = {(p.view_unit, p.view_window) for p in points if p.view_window is not None}
    said = [
        f"{low:.3g} to {high:.3g} {unit}" for unit, window in windows if window is not None for low, high in [window]
    ]
    return "One window: " + "; ".join(sorted(said)) + "." if said else ""
