"""The public documents: what `analysis.json`, `lipiodol.json`, `response.json`, `graph.json`, `curves.json`,
`embolisation.json` and `projections.json` hold.

What a file of corrections holds stands in `core.corrections`, as it is read as well as written.

The field names and their meaning are a contract with every reader of the results. A field may be
added at any time; a change of meaning changes the version in `schema`. Unknown is `null`, never 0,
and never NaN. Points are `[row, col]` in pixels of the stored frame, 0-based.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter

from angio_pipeline.core.corrections import CorrectionsDocument
from angio_pipeline.outputs.schemas.common import (
    OperationDocument,
    SoftwareDocument,
    SourceDocument,
)
from angio_pipeline.outputs.schemas.embolisation import (
    AlignmentDocument,
    BlushChangeDocument,
    ComparisonDocument,
    EmbolisationDocument,
    FeederChangeDocument,
    NotComparedDocument,
    PassageDocument,
    ReferenceArteryDocument,
    TumourChangeDocument,
)
from angio_pipeline.outputs.schemas.graph import (
    GraphBranch,
    GraphDocument,
    GraphNode,
)
from angio_pipeline.outputs.schemas.lipiodol import (
    KineticsDocument,
    LesionDocument,
    LipiodolDocument,
    LiverDocument,
    ResidualTumourDocument,
    ScanAlignmentDocument,
    StrayOilDocument,
    StrayOilSearchDocument,
    TimepointDocument,
)
from angio_pipeline.outputs.schemas.projections import (
    LandmarkDocument,
    NotJoinedDocument,
    PairFeederDocument,
    PairTumourDocument,
    ProjectionPairDocument,
    ProjectionsDocument,
    ViewAlignmentDocument,
)
from angio_pipeline.outputs.schemas.response import (
    BestResponseDocument,
    ExtentDocument,
    LesionHistoryDocument,
    MeasuredLesionDocument,
    NecrosisDocument,
    NecrosisReferenceDocument,
    ReasonDocument,
    ResponseDocument,
    ResponseTimepointDocument,
)
from angio_pipeline.outputs.schemas.run import (
    CatheterTipDocument,
    CorrectionDocument,
    CurveDocument,
    CurvesDocument,
    FeederDocument,
    FeederTwoViewsDocument,
    ImageDocument,
    PhasesDocument,
    ResidualLayersDocument,
    RunDocument,
    SecondProjectionDocument,
    ShuntDocument,
    SubtractionDocument,
    TargetDocument,
    TargetOptionDocument,
    TumourDocument,
    TumourTargetDocument,
    TumourTwoViewsDocument,
    VesselsDocument,
)

__all__ = [
    "AlignmentDocument",
    "BestResponseDocument",
    "BlushChangeDocument",
    "CatheterTipDocument",
    "ComparisonDocument",
    "CorrectionDocument",
    "CurveDocument",
    "CurvesDocument",
    "EmbolisationDocument",
    "ExtentDocument",
    "FeederChangeDocument",
    "FeederDocument",
    "FeederTwoViewsDocument",
    "GraphBranch",
    "GraphDocument",
    "GraphNode",
    "ImageDocument",
    "KineticsDocument",
    "LandmarkDocument",
    "LesionDocument",
    "LesionHistoryDocument",
    "LipiodolDocument",
    "LiverDocument",
    "MeasuredLesionDocument",
    "NecrosisDocument",
    "NecrosisReferenceDocument",
    "NotComparedDocument",
    "NotJoinedDocument",
    "OperationDocument",
    "PairFeederDocument",
    "PairTumourDocument",
    "PassageDocument",
    "PhasesDocument",
    "ProjectionPairDocument",
    "ProjectionsDocument",
    "ReasonDocument",
    "ReferenceArteryDocument",
    "ResidualLayersDocument",
    "ResidualTumourDocument",
    "ResponseDocument",
    "ResponseTimepointDocument",
    "RunDocument",
    "ScanAlignmentDocument",
    "SecondProjectionDocument",
    "ShuntDocument",
    "SoftwareDocument",
    "SourceDocument",
    "StrayOilDocument",
    "StrayOilSearchDocument",
    "SubtractionDocument",
    "TargetDocument",
    "TargetOptionDocument",
    "TimepointDocument",
    "TumourChangeDocument",
    "TumourDocument",
    "TumourTargetDocument",
    "TumourTwoViewsDocument",
    "VesselsDocument",
    "ViewAlignmentDocument",
    "json_schema",
]

_DOCUMENTS: dict[str, type[BaseModel]] = {
    "run": RunDocument,
    "lipiodol": LipiodolDocument,
    "response": ResponseDocument,
    "graph": GraphDocument,
    "curves": CurvesDocument,
    "embolisation": EmbolisationDocument,
    "projections": ProjectionsDocument,
    "corrections": CorrectionsDocument,
}

_AnyDocument = Annotated[
    RunDocument
    | LipiodolDocument
    | ResponseDocument
    | GraphDocument
    | CurvesDocument
    | EmbolisationDocument
    | ProjectionsDocument
    | CorrectionsDocument,
    Field(discriminator="schema_"),
]


def json_schema(document: str | None = None) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one kind of document, or of them all.

    Parameters
    ----------
    document : str, optional
        "run", "lipiodol", "response", "graph", "curves", "embolisation", "projections" or "corrections".
        Without it the schema accepts each of them, told apart by their `schema` key.

    Raises
    ------
    ValueError
        When there is no such document.
    """
    if document is not None and document not in _DOCUMENTS:
        raise ValueError(f"Expected one of {', '.join(_DOCUMENTS)}, found {document}.")
    adapter: TypeAdapter[Any] = TypeAdapter(_AnyDocument if document is None else _DOCUMENTS[document])
    schema = adapter.json_schema(mode="serialization", by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "angio-pipeline", **schema}
