"""Every coded concept that the objects use, in one place.

Where the standard's own schemes have a word it is taken: SNOMED CT (SCT), DICOM (DCM), UCUM for units. What they have
no word for has one of this project's own, scheme `99ANGIO`: a reader that does not know it still has its meaning.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.coding import Code

from angio_pipeline.outputs.dicom.elements import item

__all__ = ["OWN_SCHEME", "coded", "own", "own_scheme"]

OWN_SCHEME = "99ANGIO"

# what is there
ARTERY = Code("51114001", "SCT", "Artery")
VEIN = Code("29092000", "SCT", "Vein")
CATHETER = Code("19923001", "SCT", "Catheter")
NEOPLASM = Code("108369006", "SCT", "Neoplasm")
LESION = Code("52988006", "SCT", "Lesion")
LIVER = Code("10200004", "SCT", "Liver")
OIL = Code("387399009", "SCT", "Ethiodized oil")
FISTULA = Code("128617001", "SCT", "Arteriovenous fistula")
ANATOMY = Code("91723000", "SCT", "Anatomical Structure")
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
SUBSTANCE = Code("91720002", "SCT", "Body Substance")
DEVICE = Code("260787004", "SCT", "Physical object")
ANGIOGRAPHY = Code("77343006", "SCT", "Angiography")
TOMOGRAPHY = Code("77477000", "SCT", "Computed tomography")

# how one thing comes from another
ANALYTICAL = Code("128480", "DCM", "Analytical Algorithm")
SEGMENTED = Code("113076", "DCM", "Segmentation")
SUBTRACTED = Code("113062", "DCM", "Pixel by pixel subtraction")
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")

# what a report is of
IMAGE_LIBRARY = Code("111028", "DCM", "Image Library")
IMAGE_LIBRARY_GROUP = Code("126200", "DCM", "Image Library Group")
SOURCE = Code("260753009", "SCT", "Source")
REFERENCED_SEGMENT = Code("121191", "DCM", "Referenced Segment")
MODALITY = Code("121139", "DCM", "Modality")
ROWS = Code("110910", "DCM", "Pixel Data Rows")
COLUMNS = Code("110911", "DCM", "Pixel Data Columns")
MODALITIES = {
    "XA": Code("XA", "DCM", "X-Ray Angiography"),
    "RF": Code("RF", "DCM", "Radiofluoroscopy"),
    "CT": Code("CT", "DCM", "Computed Tomography"),
    "DX": Code("DX", "DCM", "Digital Radiography"),
    "CR": Code("CR", "DCM", "Computed Radiography"),
}

# what is measured
PROBABILITY = Code("122157", "DCM", "Probability")
ARRIVAL = Code("126371", "DCM", "Bolus Arrival Time")
DIAMETER = Code("81827009", "SCT", "Diameter")
AREA = Code("42798000", "SCT", "Area")
LENGTH = Code("410668003", "SCT", "Length")
PATH_LENGTH = Code("121211", "DCM", "Path length")
TORTUOSITY = Code("15690004", "SCT", "Tortuosity")
VOLUME = Code("118565006", "SCT", "Volume")
FRAMES = Code("121140", "DCM", "Number of Frames")
QUALITY_ISSUE = Code("113010", "DCM", "Quality Issue")

MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
DEVICE_OBSERVER = Code("121007", "DCM", "Device")
COMMENT = Code("121106", "DCM", "Comment")

# units
NO_UNITS = Code("1", "UCUM", "no units")
PIXELS = Code("{pixels}", "UCUM", "pixels")
SECONDS = Code("s", "UCUM", "seconds")
DAYS = Code("d", "UCUM", "days")
MILLIMETRES = Code("mm", "UCUM", "millimeter")
SQUARE_MILLIMETRES = Code("mm2", "UCUM", "square millimeter")
CUBIC_MILLIMETRES = Code("mm3", "UCUM", "cubic millimeter")
MILLILITRES = Code("ml", "UCUM", "milliliter")
MILLIGRAMS = Code("mg", "UCUM", "milligram")
PERCENT = Code("%", "UCUM", "percent")
HOUNSFIELD = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
DEGREES = Code("deg", "UCUM", "degree")


def own(value: str, meaning: str) -> Code:
    """Return a concept of this project's own scheme; its meaning is cut to what a code may carry."""
    return Code(value, OWN_SCHEME, meaning[:64])


CONTRIBUTION = own("CONTRIBUTION", "Share of the tumor's supply")
NON_TARGET = own("NON_TARGET", "Fraction of tissue downstream that is not the target")
FEEDER = own("FEEDER", "Feeding artery of tumor")
TARGET = own("TARGET", "Position for superselective cannulation")
RUN = own("RUN", "Angiographic run")
TREATMENT_OR_FIRST_SCAN = own("TREATMENT", "Treatment, else the first scan after it")
BLUSH = own("BLUSH", "Tumor blush")
PEAK_CONTRAST = own("PEAK_CONTRAST", "Peak attenuation above background (natural logarithm)")


def coded(code: Code) -> Dataset:
    """Return one item of a code sequence; values too long for a Code Value go into the long one."""
    key = "CodeValue" if len(code.value) <= 16 else "LongCodeValue"
    made = item(**{key: code.value})
    made.CodingSchemeDesignator, made.CodeMeaning = code.scheme_designator, code.meaning
    return made


def own_scheme() -> Sequence:
    """Return what a Coding Scheme Identification Sequence says of this project's own scheme."""
    return Sequence(
        [
            item(
                CodingSchemeDesignator=OWN_SCHEME,
                CodingSchemeName="Concepts of angio-pipeline",
                CodingSchemeResponsibleOrganization="angio-pipeline",
            )
        ]
    )
