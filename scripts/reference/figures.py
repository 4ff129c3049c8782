"""What is asked of the program beside what was measured, from the stored figures of `benchmarks/*.json` alone.

A figure is one line: what, the least and the greatest value that was asked for, and what was measured. Which values
were asked for stands beside the benchmark that measures them, where it has a list of its own; the others stand here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import feeders
import lipiodol_tables
from lipiodol_speed import ASKED_GB, ASKED_S
from pages import ROOT, value_of
from reference.values import table

__all__ = ["Figure", "accuracy", "figures_of", "performance", "told"]

_FIELD = "leading edge, fitted over the tree (this program)"
_HELD = (0.93, 0.97)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure beside what was asked; None where nothing was."""

    what: str
    value: float | None
    low: float | None = None
    high: float | None = None
    told: str = ""
    """How the value is written; with three places where empty."""

    @property
    def asked(self) -> str:
        """What was asked for, in words."""
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        return f"≥ {self.low:g}" if self.low is not None else f"≤ {self.high:g}" if self.high is not None else "–"

    @property
    def reached(self) -> str:
        """Whether it is reached; what is not known is not reached."""
        if self.low is None and self.high is None:
            return "–"
        if self.value is None:
            return "**no answer**"
        fits = (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)
        return "yes" if fits else "**missed**"

    @property
    def measured(self) -> str:
        """The value as it is shown."""
        return self.told or ("–" if self.value is None else f"{self.value:.3f}")


@dataclass(frozen=True, slots=True)
class Group:
    """Figures of one stored file: the page that tells how they were measured, and how to read them."""

    title: str
    file: str
    page: str
    figures: Callable[[dict[str, Any]], Iterator[Figure]]


def figures_of(file: str) -> dict[str, Any]:
    """Return the stored figures of one benchmark."""
    stored: dict[str, Any] = json.loads(_path(file).read_text(encoding="utf-8"))
    return stored


def _path(file: str) -> Path:
    return ROOT / "benchmarks" / f"{file}.json"


def _score(what: str, score: dict[str, Any], low: float | None = None, high: float | None = None) -> Figure:
    return Figure(what, score["value"], low, high, value_of(score))


def _feeders(found: dict[str, Any], preset: str) -> Iterator[Figure]:
    told = found[preset]["evaluations"]
    for group, key, words, sign, wanted in feeders.ASKED:
        limit = wanted.get(preset)
        low, high = (limit, None) if sign == "≥" else (None, limit)
        yield _score(words, told["frontal"]["metrics"][group][key], low, high)
    region = told["region"]["metrics"]["feeders"]["sensitivity"]
    yield _score("feeders, sensitivity with the tumours' regions given", region, feeders.WITH_REGION)
    gain = found[preset]["gain"]["sensitivity"]
    yield _score("feeders, sensitivity gained by a second view", gain, feeders.BY_TWO_VIEWS)


def _networks(found: dict[str, Any], preset: str) -> Iterator[Figure]:
    metrics = found[preset]["network"]["metrics"]
    for what, group, key in (
        ("artery, Dice", "vessels", "dice"), ("artery, clDice", "vessels", "cldice"),
        ("artery, Dice within 3 px", "vessels", "dice_3px"), ("vein, Dice", "veins", "dice"),
        ("blush, Dice", "tumours", "dice"), ("runs in which motion was not answered", "motion", "runs_without_answer"),
        ("motion, end-point error, px", "motion", "end_point_error_px"),
    ):  # fmt: skip
        yield _score(what, metrics[group][key])


def _lipiodol(found: dict[str, Any], kind: str) -> Iterator[Figure]:
    for line in lipiodol_tables.LINES:
        value, (least, most) = lipiodol_tables.measured(line, found, kind)
        yield Figure(line.what, value, *line.asked, f"{value:.3f} ({least:.3f} to {most:.3f})")


def _subtraction(found: dict[str, Any]) -> Iterator[Figure]:
    field, true = found["field"]["angio-pipeline, field"], found["true_field"]
    shift = found["shift"]["angio-pipeline, shift"]["shift_error_px"]
    yield Figure("one shift a frame, error, RMSE px", shift, high=0.05)
    yield Figure("contrast to noise, share of the true field's", field["cnr"] / true["cnr"], low=0.97)
    yield Figure("vessel contrast kept", field["contrast_kept"] / true["contrast_kept"], low=0.99)
    yield Figure("displacement field, error, RMSE px", field["error_px"])


def _graph(found: dict[str, Any]) -> Iterator[Figure]:
    words = {"clean": "clean trees", "gaps": "with gaps", "dense": "two trees", "liver": "hepatic arteries, 512 px"}
    for name, said in words.items():
        mine = found["sets"][name]["contestants"]["angio"]
        yield Figure(f"{said}: error of the number of edges", mine["edge_error"])
        yield Figure(f"{said}: forks found", mine["forks_hit"] / mine["forks"])
        yield Figure(f"{said}: ways from the root right", mine["ways_right"] / mine["tips"])


def _flow(found: dict[str, Any]) -> Iterator[Figure]:
    for name, one in found["sets"].items():
        classes = one["classes"]["30 mm and more"]
        mine = classes["estimators"][_FIELD]
        told = f"{mine['error_space']:.3f} ({mine['answered']} of {classes['branches']} answered)"
        what = f"velocity on branches of 30 mm and more, median relative error, {name}"
        yield Figure(what, mine["error_space"], None, 0.15, told)


def _embolisation(found: dict[str, Any]) -> Iterator[Figure]:
    summary = found["summary"]
    yield Figure("residual blush within its interval", summary["in_interval"])
    yield Figure("residual blush, RMS error", summary["residual"]["rms"])
    yield Figure("tumours with an answer", summary["tumours_told"] / summary["tumours"])
    yield Figure("feeders with an answer", summary["feeders_told"] / summary["feeders"])


def _registration(found: dict[str, Any]) -> Iterator[Figure]:
    for case in found["cases"]:
        mine = case["rows"]["angio-pipeline"]
        yield Figure(f"{case['name']}: median error over the liver, mm", mine["median_mm"], high=1.5)


def _response(found: dict[str, Any]) -> Iterator[Figure]:
    for name, one in found["agreement"].items():
        told = f"{one['agreed']} of {one['made']} made, {one['true']} true"
        yield Figure(f"{name}: calls that agree, of those made", one["agreed"] / max(one["made"], 1), told=told)


def _cohort(found: dict[str, Any]) -> Iterator[Figure]:
    held, null = found["coverage"], found["null"]
    for what, count in held["held"].items():
        yield Figure(f"95 % interval holds: {what}", count / held["repeats"], *_HELD)
    for what, count in null["positive"].items():
        yield Figure(f"p below 0.05 although true: {what}", count / null["repeats"], high=0.06)


def _stray(found: dict[str, Any]) -> Iterator[Figure]:
    walls = found["walls"]
    yield Figure("walls with oil, listed", sum(one["mg"] is not None for one in walls) / len(walls))


_ACCURACY = (
    Group("Feeders and targets, `clinical`", "feeders", "#feeders-and-targets", lambda f: _feeders(f, "clinical")),
    Group("Feeders and targets, `hard`", "feeders", "#feeders-and-targets", lambda f: _feeders(f, "hard")),
    Group("Masks, `clinical`", "networks", "networks.md#how-good-they-are", lambda f: _networks(f, "clinical")),
    Group("Masks, `hard`", "networks", "networks.md#how-good-they-are", lambda f: _networks(f, "hard")),
    Group("Subtraction", "dsa", "subtraction.md#beside-what-others-offer", _subtraction),
    Group("The vessel tree", "graph", "graph.md#how-good-it-is", _graph),
    Group("Flow", "flow", "flow.md#how-good-it-is", _flow),
    Group("End point", "embolisation", "embolisation.md#how-well-it-agrees-with-the-truth", _embolisation),
    Group("Lipiodol, regions given", "lipiodol", "lipiodol.md#how-good-it-is", lambda f: _lipiodol(f, "given")),
    Group("Lipiodol, no region given", "lipiodol", "lipiodol.md#how-good-it-is", lambda f: _lipiodol(f, "found")),
    Group("Oil outside the lesions", "stray_oil", "lipiodol.md#outside-the-lesions-and-living-tumour", _stray),
    Group("Alignment of follow-ups", "registration", "registration.md#figures", _registration),
    Group("Response", "response", "response.md#how-well", _response),
    Group("Cohort statistics", "cohort", "cohort.md#what-it-is-worth", _cohort),
)  # fmt: skip


def _subtraction_time(found: dict[str, Any]) -> Iterator[Figure]:
    shift, field = found["shift"], found["field"]
    of_ecc = _time(shift, "angio-pipeline, shift") / _time(shift, "OpenCV ECC, translation")
    of_spline = _time(field, "angio-pipeline, field") / _time(field, "SimpleITK B-spline, mutual information")
    rate = found["frames_a_second"]["angio-pipeline"]
    yield Figure("one shift a frame, share of the time of OpenCV's ECC", of_ecc, high=0.2)
    yield Figure("a field, share of the time of SimpleITK's B-spline", of_spline, high=0.1)
    yield Figure("log and subtract, frames of 1024² a second", rate, 2000, None, f"{rate:.0f}")


def _time(rows: dict[str, Any], name: str) -> float:
    return float(rows[name]["seconds_a_frame"])


def _segmentation(found: dict[str, Any]) -> Iterator[Figure]:
    names = {"torch": "run network, torch", "openvino": "run network, OpenVINO",
             "frangi": "Frangi filter, scikit-image", "sato": "Sato filter, scikit-image",
             "objectness": "objectness, SimpleITK", "monai": "MONAI BasicUNet at the run's size"}  # fmt: skip
    for name, said in names.items():
        one = found["contestants"][name]
        told = f"{one['processor_s']:.2f} s, {one['peak_gb']:.2f} GB"
        yield Figure(f"{said}, processor time, s", one["processor_s"], told=told)


def _graph_time(found: dict[str, Any]) -> Iterator[Figure]:
    for name, one in found["sets"].items():
        told = ", ".join(f"{who} {1000 * row['median_s']:.0f}" for who, row in one["contestants"].items())
        yield Figure(f"graph of a mask, set `{name}`, ms of one thread", None, told=told)


def _lipiodol_speed(found: dict[str, Any]) -> Iterator[Figure]:
    for row in found["rows"]:
        said = f"six scans of 512² × 120, regions {'given' if row['regions'] else 'not given'}"
        yield Figure(f"{said}, s", row["seconds"], None, ASKED_S, f"{row['seconds']:.0f}")
        yield Figure(f"{said}, greatest memory, GB", row["peak_gb"], None, ASKED_GB, f"{row['peak_gb']:.2f}")


def _registration_time(found: dict[str, Any]) -> Iterator[Figure]:
    for case in found["cases"]:
        seconds = case["rows"]["angio-pipeline"]["seconds"]
        yield Figure(f"{case['name']}, {case['voxels']} voxels, s", seconds, None, 15, f"{seconds:.1f}")


def _cohort_cost(found: dict[str, Any]) -> Iterator[Figure]:
    cost = found["cost"]
    said = f"{cost['lesions']} lesions at {cost['dates']} dates, files to page"
    yield Figure(f"{said}, s", cost["wall_s"], None, 30, f"{cost['wall_s']:.1f}")
    yield Figure(f"{said}, greatest memory, GB", cost["peak_gb"], None, 1, f"{cost['peak_gb']:.2f}")


def _ingest(found: dict[str, Any]) -> Iterator[Figure]:
    files, loop_s = found["made"]["files"], found["loop"]["wall_s"]
    for name, said in (("loop", "pydicom in a loop"), ("gdcm", "gdcm.Scanner")):
        rate = files / found[name]["wall_s"]
        yield Figure(f"{said}, files a second", rate, told=f"{rate:,.0f}".replace(",", " "))
    for name, said, least in (("first", "first scan", 5), ("second", "second scan of an unchanged tree", 100)):
        gain = loop_s / found[name]["wall_s"]
        yield Figure(f"{said}, times as fast as pydicom in a loop", gain, least, None, f"{gain:.1f}")
    peak_mb = max(found[name]["peak_mb"] for name in ("first", "second"))
    yield Figure("greatest memory of a scan, all its processes, MB", peak_mb, None, 300, f"{peak_mb:.0f}")


def _decode(found: dict[str, Any]) -> Iterator[Figure]:
    for row in found["runs"]:
        said = f"{row['codec']}, {row['size_px']}² × {row['frames']}, all cores"
        yield Figure(f"{said}, times as fast as one thread", row["gain"], 1.8, None, f"{row['gain']:.2f}")
        gain = row["gain_over_pydicom"]
        yield Figure(f"{said}, times as fast as pydicom on one core", gain, told=f"{gain:.2f}")
    for row in found["peers"]:
        said = f"{row['codec']}, {row['size_px']}² × {row['frames']}, one core, share of the processor time of"
        for peer, share in row["one_thread_over"].items():
            yield Figure(f"{said} {peer}", share, told=f"{share:.2f}")


def _batch(found: dict[str, Any]) -> Iterator[Figure]:
    one, two = found["speed"]["batches"]
    said = f"{one['runs']} runs of {found['speed']['case'].replace('x', '² × ')}, two workers"
    for name, what in (("wall_s", "the whole command"), ("work_s", "its tasks alone")):
        gain = one[name] / two[name]
        yield Figure(f"{said}, times as fast as one: {what}", gain, 1.85, None, f"{gain:.2f}")
    yield Figure(f"{said}: time of workers without a task, %", 100 * two["overhead"], None, 3, f"{two['overhead']:.1%}")
    for name, who in (("main_mb", "main process"), ("worker_mb", "a worker")):
        held = found["memory"][name]
        (first, early), (last, late) = list(held.items())
        growth = late / early
        yield Figure(
            f"memory of {who} after {last} tasks over that after {first} (flat: within 5 %)", growth, None, 1.05
        )


def _pacs(found: dict[str, Any]) -> Iterator[Figure]:
    medians = {name: float(np.median(seconds)) for name, seconds in found["seconds"].items()}
    peers = {name.partition(",")[0]: seconds for name, seconds in medians.items() if "dcmtk" in name}
    for name, seconds in medians.items():
        if "dcmtk" in name:
            rate = found["instances"] / seconds
            yield Figure(f"{name}, instances a second", rate, told=f"{rate:.0f}")
        else:
            ratio = peers[name.partition(",")[0]] / seconds
            yield Figure(f"{name}, times dcmtk's throughput", ratio, 1, None, f"{ratio:.2f}")


def _review(found: dict[str, Any]) -> Iterator[Figure]:
    page, sent = found["worklist"]["page"], found["load"]
    said = f"a page of the worklist of {found['cases']} cases, 95th percentile, ms"
    yield Figure(said, page["p95_ms"], None, 1000, f"{page['p95_ms']:.0f}")
    said = f"answer to a correction, {found['readers']} readers at once, 95th percentile, ms"
    yield Figure(said, sent["answer"]["p95_ms"], None, 200, f"{sent['answer']['p95_ms']:.0f}")
    yield Figure(f"corrections kept of {sent['sent']}", sent["kept"], sent["sent"], None, f"{sent['kept']}")
    for name, value in found.items():
        if name.startswith("memory"):
            when = name.removeprefix("memory_").removesuffix("_mb")
            yield Figure(f"memory of the server, {when}, MB", value, None, 300, f"{value:.0f}")


def _review_page(found: dict[str, Any]) -> Iterator[Figure]:
    for painter, row in found["painters"].items():
        yield Figure(
            f"{painter}, {row['size']}: first image after the click, s",
            row["first_picture_s"], None, 1.5, f"{row['first_picture_s']:.2f}",
        )  # fmt: skip
        frames = {"first_frame_s": "first frame of a run that nobody prepared", "again_frame_s": "the same, prepared"}
        for name, said in frames.items():
            yield Figure(f"{painter}: {said}, s", row[name], None, 1.5, f"{row[name]:.2f}")
        yield Figure(f"{painter}: cine, frames a second", row["frames_per_s"], 10, None, f"{row['frames_per_s']:.0f}")
    shown_s = found["worklist"]["worst_s"]
    yield Figure(f"worklist of {found['cases']} cases on the screen, s", shown_s, None, 1, f"{shown_s:.2f}")


def _simulator(found: dict[str, Any]) -> Iterator[Figure]:
    yield Figure("one patient, s", found["patient"]["patient_s"], told=f"{found['patient']['patient_s']:.1f}")


_PERFORMANCE = (
    Group("Subtraction", "dsa", "subtraction.md#beside-what-others-offer", _subtraction_time),
    Group("Segmentation of a run of 1024² × 20", "segmentation", "networks.md#how-fast-they-are", _segmentation),
    Group("The vessel tree", "graph", "graph.md#how-good-it-is", _graph_time),
    Group("Lipiodol", "lipiodol_speed", "lipiodol.md#time-and-memory", _lipiodol_speed),
    Group("Alignment of follow-ups", "registration", "registration.md#figures", _registration_time),
    Group("Cohort statistics", "cohort", "cohort.md#what-it-is-worth", _cohort_cost),
    Group("Scan of a disk", "ingest", "exports.md#how-fast", _ingest),
    Group("Decoding", "decode", "hostile-input.md", _decode),
    Group("Batches", "batch", "scale.md", _batch),
    Group("Archives", "pacs", "pacs.md#how-fast", _pacs),
    Group("Review: the server", "review", "review.md", _review),
    Group("Review: the page", "review_page", "review.md", _review_page),
    Group("The digital patient", "simulator", "simulator.md#what-it-costs", _simulator),
)


def accuracy() -> str:
    """Return every figure of accuracy: asked, measured, reached or missed."""
    return _section(_ACCURACY)


def performance() -> str:
    """Return every figure of time and memory."""
    return _section(_PERFORMANCE)


def told(group: Group) -> list[Figure]:
    """Return a group's figures; none where nothing is stored.

    Raises
    ------
    ValueError
        When the stored file does not hold what this module reads of it.
    """
    if not _path(group.file).is_file():
        return []
    try:
        return list(group.figures(figures_of(group.file)))
    except (KeyError, IndexError, TypeError) as error:
        known = f"benchmarks/{group.file}.json to hold the figures of '{group.title}'"
        sentence = f"Expected {known}, found that {error} is not there; change scripts/reference/figures.py with it."
        raise ValueError(sentence) from error


def _section(groups: tuple[Group, ...]) -> str:
    found = [(group, told(group)) for group in groups]
    asked = [one for _, figures in found for one in figures if one.reached != "–"]
    reached = sum(one.reached == "yes" for one in asked)
    head = f"Of {len(asked)} figures that were asked for, {reached} are reached and {len(asked) - reached} are missed."
    if without := [group.title for group, figures in found if not figures]:
        head += f" Not counted, as nothing is stored of them: {', '.join(without)}."
    return "\n\n".join([head, *(_group(group, figures) for group, figures in found)])


def _group(group: Group, figures: list[Figure]) -> str:
    if not figures:
        nothing = f"Nothing is stored: `benchmarks/{group.file}.json` was not measured for this version."
        return f"### {group.title}\n\n{nothing}"
    rows = [(one.what, one.asked, one.measured, one.reached) for one in figures]
    how = f"From `benchmarks/{group.file}.json`{_state(figures_of(group.file))}; [how it was measured]({group.page})."
    return f"### {group.title}\n\n{how}\n\n{table(('what', 'asked', 'measured', 'reached'), rows, right=(1, 2))}"


def _state(found: dict[str, Any]) -> str:
    # The commits that were measured, wherever the file keeps them; parts may have been measured apart.
    told = " ".join(dict.fromkeys(re.findall(r"commit ([0-9a-f]{7})", json.dumps(found))))
    return f", commit {told.replace(' ', ', ')}" if told else ""
