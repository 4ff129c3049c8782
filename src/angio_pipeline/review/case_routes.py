"""One run: its analysis as written, pictures, masks, maps, frames, curves, and the runs that belong to it."""

from __future__ import annotations

import hashlib
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from angio_pipeline.outputs.schemas import RunDocument
from angio_pipeline.review.answers import (
    CaseAnswer,
    CaseKind,
    CurveAnswer,
    FramesAnswer,
    Layer,
    LayerInfo,
    ObjectsAnswer,
    Relation,
    ResultKind,
    SnapAnswer,
    Window,
)
from angio_pipeline.review.asking import PROBLEMS, CaseId, Changer, Frame, Part, Reader, ReviewOf, Shift, SnapAsk
from angio_pipeline.review.clicks import snap_click
from angio_pipeline.review.frames import Prepared
from angio_pipeline.review.index import CaseEntry
from angio_pipeline.review.links import link_picture, linked_cases
from angio_pipeline.review.pictures import (
    MAPS,
    curve_at,
    grey_png,
    map_picture,
    mask_names,
    mask_of,
    mask_png,
    region_curves,
    stored_frame,
)
from angio_pipeline.review.preparing import prepare_corrected, prepare_plain
from angio_pipeline.review.problems import ReviewProblem, not_found
from angio_pipeline.review.results import PICTURES, below
from angio_pipeline.review.state import Review

__all__ = ["router"]

router = APIRouter(prefix="/api/cases/{case}", tags=["run"], responses=PROBLEMS)

PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}
PNG_OR_RAW: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}, "application/octet-stream": {}}}}
JSON: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {}}}}
DICOM: dict[int | str, dict[str, Any]] = {200: {"content": {"application/dicom": {}}}}


def _png(content: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(content, media_type="image/png", headers=headers)


def _run_entry(review: Review, case: str) -> CaseEntry:
    entry = review.index.entry(case, CaseKind.RUN)
    if not entry.analysed:
        raise ReviewProblem(404, "not_analysed", entry.problem or "This run was not analysed.")
    return entry


def _any_folder(review: Review, case: str, reader: str, result: ResultKind) -> FilePath:
    return review.folder(review.index.entry(case), reader, result)


def _folder(review: Review, case: str, reader: str, result: ResultKind) -> FilePath:
    return review.folder(_run_entry(review, case), reader, result)


@router.get("", tags=["worklist"])
def case(case: CaseId, session: Reader, review: ReviewOf) -> CaseAnswer:
    """Return what there is to be asked for of a case."""
    entry = review.index.entry(case)
    row = review.row(entry, review.readings.summary(session.reader))
    has_own = (review.own_results(session.reader) / entry.folder / "record.json").is_file()
    results = [ResultKind.ORIGINAL, *([ResultKind.MINE] if has_own else [])]
    if entry.kind == CaseKind.FOLLOW_UP or not entry.analysed:
        inputs = review.sources.of_subject(entry.subject, runs=entry.kind == CaseKind.RUN)
        source = review.sources.availability(found=inputs is not None)
        return _bare(row, source, results)
    folder = review.settings.out / entry.folder
    document = review.files.run(folder)
    return CaseAnswer(
        row=row,
        source=review.sources.availability(found=review.sources.of_run(entry.sop_instance_uid) is not None),
        results=results,
        pictures=review.files.pictures(folder),
        masks=mask_names(document),
        maps=list(MAPS) if (folder / "maps.npz").is_file() else [],
        linked=linked_cases(review, entry),
        quality_sentences=document.quality_sentences,
        reference_frame=document.subtraction.reference_frame,
        software=None if document.software is None else document.software.version,
    )


def _bare(row: Any, source: Any, results: list[ResultKind]) -> CaseAnswer:
    return CaseAnswer(
        row=row,
        source=source,
        results=results,
        pictures=[],
        masks=[],
        maps=[],
        linked=[],
        quality_sentences=[],
        reference_frame=None,
        software=None,
    )


@router.get("/analysis", response_class=Response, responses=JSON)
def analysis(case: CaseId, session: Reader, review: ReviewOf, result: ResultKind = ResultKind.ORIGINAL) -> Response:
    """Return `analysis.json` as written."""
    return _written(_folder(review, case, session.reader, result) / "analysis.json")


@router.get("/graph", response_class=Response, responses=JSON)
def graph(case: CaseId, session: Reader, review: ReviewOf, result: ResultKind = ResultKind.ORIGINAL) -> Response:
    """Return `graph.json` as written."""
    folder = _folder(review, case, session.reader, result)
    return _written(below(folder, review.files.run(folder).vessels.graph))


@router.get("/curves", response_class=Response, responses=JSON)
def curves(case: CaseId, session: Reader, review: ReviewOf, result: ResultKind = ResultKind.ORIGINAL) -> Response:
    """Return `curves.json` as written: the curves of artery, tumours and liver."""
    return _written(_folder(review, case, session.reader, result) / "curves.json")


def _written(path: FilePath) -> Response:
    try:
        return Response(path.read_bytes(), media_type="application/json")
    except OSError:
        raise not_found("this document") from None


@router.get("/pictures/{name}", response_class=Response, responses=PNG)
def picture(
    case: CaseId, name: Part, session: Reader, review: ReviewOf, result: ResultKind = ResultKind.ORIGINAL
) -> Response:
    """Return a stored picture: `overlay`, `flow`, `thumbnail`, `before` or `after`."""
    if name not in PICTURES:
        raise not_found("this picture")
    return _png(below(_folder(review, case, session.reader, result), f"{name}.png").read_bytes())


@router.get("/masks/{name}", response_class=Response, responses=PNG)
def mask(
    case: CaseId, name: Part, session: Reader, review: ReviewOf, result: ResultKind = ResultKind.ORIGINAL
) -> Response:
    """Return a mask: `artery`, `vein`, `catheter`, `tumours`, `feeders`, `shunts`, or a tumour or feeder by its id."""
    folder = _folder(review, case, session.reader, result)
    return _png(mask_png(mask_of(review.files.run(folder), folder, name)))


@router.get("/maps/{name}", response_class=Response, responses=PNG_OR_RAW)
def perfusion_map(
    case: CaseId,
    name: Part,
    session: Reader,
    review: ReviewOf,
    result: ResultKind = ResultKind.ORIGINAL,
    raw: Annotated[bool, Query(description="Little-endian uint16, 0 where undefined, instead of a picture.")] = False,
) -> Response:
    """Return a map of perfusion; the headers X-Low and X-High tell the ends of its colours."""
    content, told = map_picture(_folder(review, case, session.reader, result), name, raw=raw)
    return Response(content, media_type="application/octet-stream" if raw else "image/png", headers=told)


@router.get("/objects")
def objects(case: CaseId, session: Reader, review: ReviewOf, result: ResultKind = ResultKind.ORIGINAL) -> ObjectsAnswer:
    """Return the names of the DICOM objects that the analysis wrote beside its documents."""
    return ObjectsAnswer(objects=list(review.files.objects(_any_folder(review, case, session.reader, result))))


@router.get("/objects/{name}", response_class=Response, responses=DICOM)
def dicom_object(
    case: CaseId, name: Part, session: Reader, review: ReviewOf, result: ResultKind = ResultKind.ORIGINAL
) -> Response:
    """Return one DICOM object as written."""
    path = review.files.objects(_any_folder(review, case, session.reader, result)).get(name)
    if path is None:
        raise not_found("this object")
    headers = {"Content-Disposition": f'attachment; filename="{path.name}"'}
    return Response(path.read_bytes(), media_type="application/dicom", headers=headers)


@router.get("/linked/{relation}/{document}", response_class=Response, responses=PNG)
def linked_picture(
    case: CaseId,
    relation: Relation,
    document: Annotated[int, Path(ge=0, le=10000)],
    session: Reader,
    review: ReviewOf,
) -> Response:
    """Return the picture of a comparison or of two projections, by its place in the subject's document."""
    folder, name = link_picture(review, _run_entry(review, case), relation, document)
    return _png(below(folder, name).read_bytes())


# --- frames --------------------------------------------------------------------------------------


def _plain(review: Review, entry: CaseEntry, document: RunDocument) -> Prepared | str | None:
    """Return the frames that need nothing but the file, None while they are made, or why there are none."""
    found = review.sources.of_run(entry.sop_instance_uid)
    if found is None:
        return review.sources.availability(found=False).sentence
    work = (found, entry.sop_instance_uid, _expected(document))
    return review.store.ask(_key("p", entry), review.quick, prepare_plain, *work)


def _corrected(review: Review, entry: CaseEntry, document: RunDocument) -> Prepared | str | None:
    """Return the frames as they were measured, None while they are made, or why there are none."""
    found = review.sources.of_run(entry.sop_instance_uid)
    if found is None:
        return review.sources.availability(found=False).sentence
    work = (found, entry.sop_instance_uid, document.settings, _expected(document))
    return review.store.ask(_key("r", entry), review.workshop, prepare_corrected, *work)


def _key(part: str, entry: CaseEntry) -> str:
    return part + hashlib.sha256(f"{entry.id} {entry.stamp_ns}".encode()).hexdigest()[:24]


def _expected(document: RunDocument) -> dict[str, Any]:
    image, subtraction = document.image, document.subtraction
    return {
        "frames": image.frames,
        "rows": image.rows,
        "columns": image.columns,
        "reference_frame": subtraction.reference_frame,
        "mask_frames": subtraction.mask_frames,
    }


def _ready(review: Review, case: str, layer: Layer = Layer.CORRECTED) -> tuple[RunDocument, Prepared]:
    entry = _run_entry(review, case)
    document = review.files.run(review.settings.out / entry.folder)
    ask = _corrected if layer is Layer.CORRECTED else _plain
    prepared = ask(review, entry, document)
    if isinstance(prepared, Prepared):
        return document, prepared
    sentence = prepared or "Expected frames that are prepared, found that they are being prepared; ask again."
    raise ReviewProblem(409, "no_source" if prepared else "preparing", sentence)


@router.get("/frames")
def frames(
    case: CaseId,
    session: Reader,
    review: ReviewOf,
    ahead: Annotated[bool, Query(description="Nobody waits for it: prepared only while nothing else is.")] = False,
) -> FramesAnswer:
    """Return how the frames are to be read and shown; the first request has them prepared."""
    entry = _run_entry(review, case)
    document = review.files.run(review.settings.out / entry.folder)
    if ahead and review.store.busy:
        return _frames_answer(document, None, None)
    return _frames_answer(document, _plain(review, entry, document), _corrected(review, entry, document))


def _frames_answer(
    document: RunDocument, plain: Prepared | str | None, corrected: Prepared | str | None
) -> FramesAnswer:
    image, subtraction = document.image, document.subtraction
    info: dict[str, Any] = plain.info if isinstance(plain, Prepared) else {"layers": {}}
    layers = dict(info["layers"])
    if layers and isinstance(corrected, Prepared):
        layers |= corrected.info["layers"]
    return FramesAnswer(
        state="ready" if layers else ("unavailable" if plain else "preparing"),
        sentence=_sentence(plain, corrected),
        rows=image.rows,
        columns=image.columns,
        frames=image.frames,
        times_s=image.times_s,
        pose_deg=image.pose_deg,
        spacing_mm=image.spacing_mm,
        frame_of_reference_uid=info.get("frame_of_reference_uid"),
        reference_frame=subtraction.reference_frame,
        mask_frames=subtraction.mask_frames,
        mask_shift_px=subtraction.mask_shift_px,
        layers={Layer(name): _layer(name, told) for name, told in layers.items()},
        coming=_coming(layers, plain, corrected, masked=bool(subtraction.mask_frames)),
    )


def _coming(
    layers: dict[str, Any], plain: Prepared | str | None, corrected: Prepared | str | None, *, masked: bool
) -> list[Layer]:
    """Return the layers that are not there yet and will be."""
    wanted = [] if isinstance(plain, str) else [Layer.RAW, *([Layer.SUBTRACTED] if masked else [])]
    wanted += [] if isinstance(corrected, str) else [Layer.CORRECTED]
    return [layer for layer in wanted if layer not in layers]


def _sentence(plain: Prepared | str | None, corrected: Prepared | str | None) -> str:
    for part in (plain, corrected):
        if isinstance(part, str):
            return part
    if plain is None:
        return "The frames are being prepared."
    return "" if corrected else "The frames are being corrected for motion."


def _layer(name: str, told: dict[str, Any]) -> LayerInfo:
    return LayerInfo(
        slope=told["slope"],
        intercept=told["intercept"],
        unit=told["unit"],
        window=Window(**told["window"]),
        dark_is_contrast=name != Layer.RAW,
    )


@router.get("/frames/{layer}/{number}", response_class=Response, responses=PNG_OR_RAW)
def frame(
    case: CaseId,
    layer: Layer,
    number: Frame,
    session: Reader,
    review: ReviewOf,
    raw: Annotated[bool, Query(description="Little-endian uint16 instead of a picture.")] = False,
    center: Annotated[float | None, Query(ge=-1e6, le=1e6)] = None,
    width: Annotated[float | None, Query(gt=0, le=1e6)] = None,
    shift_row: Shift = 0.0,
    shift_col: Shift = 0.0,
) -> Response:
    """Return one frame. `shift_row` and `shift_col` move the mask of `subtracted` down and right, in pixels."""
    _, prepared = _ready(review, case, layer)
    stored = stored_frame(prepared, layer, number, (shift_row, shift_col))
    told = prepared.info["layers"][layer.value]
    headers = {
        "X-Rows": str(stored.shape[0]),
        "X-Columns": str(stored.shape[1]),
        "X-Slope": repr(told["slope"]),
        "X-Intercept": repr(told["intercept"]),
    }
    if raw:
        return Response(stored.astype("<u2").tobytes(), media_type="application/octet-stream", headers=headers)
    usual = told["window"]
    window = Window(center=usual["center"] if center is None else center, width=width or usual["width"])
    inverted = layer is not Layer.RAW
    return _png(grey_png(stored, told["slope"], told["intercept"], window, inverted=inverted), headers)


@router.get("/curve")
def curve(
    case: CaseId,
    session: Reader,
    review: ReviewOf,
    row: Annotated[float, Query(ge=-65536, le=65536)],
    col: Annotated[float, Query(ge=-65536, le=65536)],
    radius: Annotated[float, Query(ge=0, le=50, description="Pixels about the point that are averaged.")] = 0.0,
) -> CurveAnswer:
    """Return the time-density curve at a pixel."""
    document, prepared = _ready(review, case)
    return curve_at(document, prepared, (row, col), radius)


@router.get("/structure-curves/{name}")
def structure_curve(
    case: CaseId, name: Part, session: Reader, review: ReviewOf, result: ResultKind = ResultKind.ORIGINAL
) -> CurveAnswer:
    """Return the time-density curve over one structure, named as in `masks/{name}`."""
    document, prepared = _ready(review, case)
    folder = _folder(review, case, session.reader, result)
    return region_curves(document, prepared, {name: mask_of(review.files.run(folder), folder, name)})


@router.post("/snap")
def snap(
    case: CaseId, ask: SnapAsk, session: Changer, review: ReviewOf, result: ResultKind = ResultKind.ORIGINAL
) -> SnapAnswer:
    """Return the way that a feeder through a click would take along the tree; nothing is stored."""
    folder = _folder(review, case, session.reader, result)
    return snap_click(review.files.run(folder), review.files.graph(folder), folder, ask.tumour, ask.click)
