"""What an object derived from a file needs of the file's header; who the patient is only where that is asked for.

Results are pseudonymous. When they are to be filed with the study they come from, what names patient and study is read
here, at the moment of writing, and goes nowhere else.
"""

from __future__ import annotations

from typing import Any

from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import validate_value

from angio_pipeline.ingest.headers import element_value, quiet_pydicom, read_header
from angio_pipeline.ingest.items import Item

__all__ = ["IDENTITY_TAGS", "object_headers"]

IDENTITY_TAGS = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_TECHNICAL_TAGS = (
    "BitsStored",
    "BodyPartExamined",
    "Columns",
    "DistanceSourceToDetector",
    "DistanceSourceToPatient",
    "EstimatedRadiographicMagnificationFactor",
    "FrameOfReferenceUID",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "ImagerPixelSpacing",
    "InstanceNumber",
    "KVP",
    "LossyImageCompression",
    "LossyImageCompressionMethod",
    "LossyImageCompressionRatio",
    "Modality",
    "NumberOfFrames",
    "PatientOrientation",
    "PatientPosition",
    "PhotometricInterpretation",
    "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign",
    "PixelSpacing",
    "PositionerPrimaryAngle",
    "PositionerSecondaryAngle",
    "RadiationSetting",
    "RecommendedDisplayFrameRate",
    "Rows",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SliceThickness",
    "StudyInstanceUID",
)

# No free text is among them: it may hold anything.
# Read as numbers, names and dates, of which the letters have to be right.
_WRITTEN_AS_TEXT = ("DS", "IS", "PN", "DA", "TM")


def object_headers(item: Item, *, identity: bool) -> tuple[Dataset, ...]:
    """Return for each file of an input the elements that an object derived from it repeats.

    Elements that are empty, broken or not as the standard has them are left out.

    Parameters
    ----------
    identity : bool
        Whether name, number, birth date, sex and the study's own data are among them.

    Raises
    ------
    InputRefused
        When a header cannot be read.
    """
    tags = (*_TECHNICAL_TAGS, *(IDENTITY_TAGS if identity else ()))
    return tuple(_kept(read_header(path, tags=tags).dataset, tags) for path in item.paths)


def _kept(header: Dataset, tags: tuple[str, ...]) -> Dataset:
    kept = Dataset()
    for keyword in tags:
        value = element_value(header, keyword)
        # What it is by the standard counts, whatever the file calls it.
        vr = dictionary_VR(keyword)
        if value is not None and _fits(vr, value):
            with quiet_pydicom():
                setattr(kept, keyword, _plain(vr, value))
    return kept


def _plain(vr: str, value: Any) -> Any:
    # A name is written anew in the objects' own character set, from its letters and not from the file's bytes.
    return str(value) if vr == "PN" else value


def _fits(vr: str, value: Any) -> bool:
    parts = value if isinstance(value, MultiValue) else [value]
    try:
        for part in parts:
            if vr in ("DS", "IS"):
                float(part)
            validate_value(vr, str(part) if vr in _WRITTEN_AS_TEXT else part, RAISE)
    except (ValueError, TypeError):
        return False
    return True
