"""What strangers say of the objects that are written, and headers of images that they are derived from."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, XRayAngiographicImageStorage

# Each with the reason why it is no fault of the object.
EXPLAINED = {
    r"Missing attribute or value that would be needed to build DICOMDIR": (
        "A pseudonymous object leaves empty what the standard allows to be empty: the study's time and number."
    ),
    r"Unrecognized defined term = <99ANGIO>": (
        "A scheme of this project's own, for what the standard's have no word for; the object says whose it is."
    ),
    r"PatientName.* - Retired Person Name form": "A pseudonym has no first name and no last name.",
    r"Laterality.* is only permitted to be empty when actually unknown": (
        "It is unknown where the source does not say which part of the body it shows."
    ),
}


def program(name: str) -> str:
    """The path of a program; without it the test is skipped, and fails where all of them have to be there."""
    # A library puts programs of the same names beside the interpreter: where the system has one, that is meant.
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=os.pathsep.join(["/usr/local/bin", "/usr/bin", "/bin", beside]))
    if found is None:
        tell = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        tell(f"{name} is not installed")
    return str(found)


def complaints(path: Path) -> list[str]:
    """What `dciodvfy` finds wrong with a file, but for what is explained above."""
    said = subprocess.run([program("dciodvfy"), "-new", str(path)], capture_output=True, text=True, timeout=120).stderr
    lines = re.findall(r"^(?:Error|Warning).*", said, re.M)
    return [line for line in lines if line.startswith("Error") or not any(re.search(p, line) for p in EXPLAINED)]


def errors_in(path: Path, *options: str) -> list[str]:
    """What `dciodvfy` calls errors in a file."""
    said = subprocess.run([program("dciodvfy"), *options, str(path)], capture_output=True, text=True, timeout=120)
    return [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")]


def said_by(name: str, *arguments: str) -> str:
    """What a program says of a file that it has to accept."""
    done = subprocess.run([program(name), *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{name}: {done.stderr}"
    return done.stdout + done.stderr


def xa_header(source: Any, **more: Any) -> Dataset:
    """The header of a run, as far as objects repeat it."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = XRayAngiographicImageStorage, source.sop_instance_uid
    ds.PatientOrientation, ds.PhotometricInterpretation = ["L", "F"], "MONOCHROME2"
    ds.BodyPartExamined, ds.BitsStored, ds.KVP = "LIVER", 12, "80"
    ds.PositionerPrimaryAngle, ds.PositionerSecondaryAngle, ds.RadiationSetting = "-30", "10", "GR"
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    return ds


def ct_headers(deposit: Any, source: Any, **more: Any) -> tuple[Dataset, ...]:
    """The headers of the slices that a deposit lies on."""
    made = []
    sizes = np.linalg.norm(deposit.affine[:3, :3], axis=0)
    for plane in range(len(deposit.mask)):
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, f"{source.series_instance_uid}.{plane + 1}"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = source.study_instance_uid, source.series_instance_uid
        ds.FrameOfReferenceUID = deposit.frame_of_reference_uid or f"{source.series_instance_uid}.99"
        ds.Rows, ds.Columns = deposit.mask.shape[1:]
        ds.PixelSpacing = [f"{sizes[1]:.6g}", f"{sizes[2]:.6g}"]
        ds.SliceThickness = f"{sizes[0]:.6g}"
        axes = [*(deposit.affine[:3, 2] / sizes[2]), *(deposit.affine[:3, 1] / sizes[1])]
        ds.ImageOrientationPatient = [f"{value:.8g}" for value in axes]
        ds.ImagePositionPatient = [f"{value:.8g}" for value in (deposit.affine @ (plane, 0, 0, 1))[:3]]
        ds.BodyPartExamined, ds.InstanceNumber, ds.Modality = "LIVER", plane + 1, "CT"
        for keyword, value in more.items():
            setattr(ds, keyword, value)
        made.append(ds)
    return tuple(made)


# What says when a group was measured: numbers, but no measurements.
_OF_TIME = ("126073", "128740")


def report_groups(path: Path) -> list[dict[str, Any]]:
    """The groups of a measurement report as another reader sees them: what, when, numbers, answers, words, places."""
    from highdicom import sr

    return [_group(group) for group in sr.srread(path).content.get_image_measurement_groups()]


def _group(group: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"numbers": {}, "places": {}, "answers": [], "texts": [], "images": []}
    found["id"], found["uid"] = group.tracking_identifier, group.tracking_uid
    found["finding"] = group.finding_type.meaning
    for one in group.get_measurements():
        if one.name.value in _OF_TIME:
            continue
        found["numbers"].setdefault((one.name.value, one.unit.value), []).append(one.value)
        places = [
            (p.GraphicType, np.reshape(p.GraphicData, (-1, 2))[:, ::-1] - 0.5) for p in one.referenced_coordinates
        ]
        found["places"].setdefault((one.name.value, one.unit.value), []).extend(places)
    for item in group[0].ContentSequence:
        name = item.ConceptNameCodeSequence[0].CodeMeaning
        if item.ValueType == "CODE" and item.RelationshipType == "CONTAINS":
            found["answers"].append((name, item.ConceptCodeSequence[0].CodeMeaning))
        elif item.ValueType == "TEXT":
            found["texts"].append((name, item.TextValue))
        elif item.ValueType == "IMAGE" and name != "Source Image for Segmentation":
            image = item.ReferencedSOPSequence[0]
            if "ReferencedSegmentNumber" in image:
                found["segment"] = (image.ReferencedSOPInstanceUID, image.ReferencedSegmentNumber)
            else:
                found["images"].append((image.ReferencedSOPInstanceUID, image.get("ReferencedFrameNumber")))
        elif item.ValueType == "NUM" and name == "Longitudinal Temporal Offset from Event":
            found["days"] = float(item.MeasuredValueSequence[0].FloatingPointValue)
    return found
