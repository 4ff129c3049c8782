"""Who the patient is: nowhere, unless it is asked for; then in the objects and in nothing else."""

from __future__ import annotations

import io

import pydicom
import pytest
from dicom_objects import complaints, xa_header

from angio_pipeline import ingest
from angio_pipeline.ingest.items import RunItem
from angio_pipeline.outputs import write_run
from angio_pipeline.outputs.dicom import Origin, choose_objects, write_run_objects

NAME, NUMBER = "Änderung^Jörg", "MRN-4711-ZZ"
IDENTITY = {
    "SpecificCharacterSet": "ISO_IR 100",
    "PatientName": NAME,
    "PatientID": NUMBER,
    "IssuerOfPatientID": "HOSPITAL-Q",
    "PatientBirthDate": "19440229",
    "PatientSex": "F",
    "StudyDate": "20240311",
    "StudyTime": "101112.131415",
    "StudyID": "STUDY-NUMBER-77",
    "StudyDescription": "TACE, first",
    "AccessionNumber": "ACCESSION-9",
    "ReferringPhysicianName": "Refer^Rita",
}
SAID = [value.encode(code) for value in IDENTITY.values() for code in ("utf-8", "latin-1")]
SECRET = [word for word in SAID if word not in (b"ISO_IR 100", b"F", b"20240311")]


@pytest.fixture
def item(run_result, tmp_path):
    """A file with the whole identity in it."""
    ds = xa_header(run_result.run.source, StudyInstanceUID="1.2.4", SeriesInstanceUID="1.2.5", **IDENTITY)
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    path = tmp_path / "source.dcm"
    ds.save_as(path, enforce_file_format=True)
    return RunItem((path,), run_result.run.source)


def write_all(run_result, item, folder, *, identity):
    write_run(run_result, folder)
    origin = Origin(item.source, ingest.object_headers(item, identity=identity))
    choice = choose_objects(["all"], keep_identity=identity)
    write_run_objects(run_result, origin, folder, choice=choice, weights={})
    return sorted(folder.glob("*.dcm"))


@pytest.mark.slow
def test_without_being_asked_no_object_says_who_the_patient_is(run_result, item, tmp_path):
    paths = write_all(run_result, item, tmp_path / "out", identity=False)
    assert len(paths) == 9
    for path in paths:
        ds = pydicom.dcmread(path)
        assert ds.PatientID == str(ds.PatientName) == run_result.run.source.subject
        assert (ds.PatientBirthDate, ds.PatientSex, ds.AccessionNumber) == ("", "", "")
        assert ds.PatientIdentityRemoved == "YES"
        assert not [word for word in SECRET if word in path.read_bytes()], path.name


@pytest.mark.slow
def test_when_asked_every_object_is_filed_with_its_study(run_result, item, tmp_path):
    for path in write_all(run_result, item, tmp_path / "out", identity=True):
        ds = pydicom.dcmread(path)
        told = {keyword: str(ds[keyword].value) for keyword in IDENTITY if keyword != "SpecificCharacterSet"}
        assert told == {key: value for key, value in IDENTITY.items() if key in told}, path.name
        assert ds.StudyInstanceUID == run_result.run.source.study_instance_uid
        assert "PatientIdentityRemoved" not in ds
        if path.name != "presentation.dcm":
            assert complaints(path) == [], path.name


@pytest.mark.slow
def test_identity_goes_into_objects_and_nowhere_else(run_result, item, tmp_path):
    write_all(run_result, item, tmp_path / "out", identity=True)
    others = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.suffix != ".dcm"]
    assert len(others) > 5
    for path in others:
        assert not [word for word in SECRET if word in path.read_bytes()], path.name


def test_what_the_standard_does_not_allow_is_not_repeated(run_result, tmp_path):
    ds = xa_header(run_result.run.source, PatientID="A1", StudyInstanceUID="1.2.4")
    ds.add_new("PatientBirthDate", "DA", "19440229")
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    path = tmp_path / "odd.dcm"
    path.write_bytes(stream.getvalue().replace(b"19440229", b"29/2/44 "))
    (header,) = ingest.object_headers(RunItem((path,), run_result.run.source), identity=True)
    assert (header.PatientID, "PatientBirthDate" in header) == ("A1", False)


def test_a_number_that_the_file_calls_text_is_left_out(run_result, tmp_path):
    ds = xa_header(run_result.run.source, PatientID="A1", StudyInstanceUID="1.2.4")
    ds.add_new("SliceThickness", "LO", "Canary")
    ds.add_new("KVP", "LO", "120")
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    path = tmp_path / "odd.dcm"
    ds.save_as(path, enforce_file_format=True)
    (header,) = ingest.object_headers(RunItem((path,), run_result.run.source), identity=False)
    assert ("SliceThickness" in header, float(header.KVP)) == (False, 120.0)


@pytest.mark.slow
def test_the_same_result_gives_the_same_bytes(run_result, item, tmp_path):
    one = write_all(run_result, item, tmp_path / "one", identity=False)
    other = write_all(run_result, item, tmp_path / "other", identity=False)
    for first, second in zip(one, other, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name


@pytest.mark.slow
def test_identifiers_follow_from_the_content(run_result, run_maker, item, tmp_path):
    one = write_all(run_result, item, tmp_path / "one", identity=False)
    other = write_all(run_maker(seed=2), item, tmp_path / "other", identity=False)
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in (*one, *other)]
    changed = {path.name for path in one} - {"presentation.dcm"}
    same = {a.name for a, b in zip(one, other, strict=True) if a.read_bytes() == b.read_bytes()}
    assert not same & {"cine.dcm", "subtracted.dcm", "peak.dcm"}
    assert len(set(uids)) == 2 * len(one) - len(same), changed
