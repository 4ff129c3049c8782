"""What an object is: one rule, with its evidence, and never a text of the file in it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from angio_pipeline.ingest.roles import Phase, Role, kind_of, role_of, vendor_of

STORAGE = "1.2.840.10008.5.1.4.1.1."
XA, CT, DX, CAPTURE, SR = (STORAGE + end for end in ("12.1", "2", "1.1", "7", "88.33"))


def reading(**values: str) -> Any:
    return lambda keyword: values.get(keyword, "")


def run(**values: str) -> Any:
    return reading(**{"SOPClassUID": XA, "Modality": "XA", "NumberOfFrames": "12", **values})


def ct(**values: str) -> Any:
    return reading(**{"SOPClassUID": CT, "Modality": "CT", "Manufacturer": "SIEMENS", **values})


@pytest.mark.parametrize(
    ("read", "role", "because"),
    [
        (run(), Role.DSA_RUN, "NumberOfFrames=12"),
        (run(NumberOfFrames="1"), Role.SINGLE_SHOT, "NumberOfFrames=1"),
        (run(RadiationSetting="GR", SeriesDescription="fluoro"), Role.DSA_RUN, "RadiationSetting=GR"),
        (run(RadiationSetting="SC"), Role.FLUOROSCOPY, "RadiationSetting=SC"),
        (run(ProtocolName="FL Abdomen"), Role.FLUOROSCOPY, "ProtocolName~fl"),
        (run(SeriesDescription="Durchleuchtung"), Role.FLUOROSCOPY, "SeriesDescription~fluoroscopy"),
        (run(PositionerMotion="DYNAMIC"), Role.ROTATION, "PositionerMotion=DYNAMIC"),
        (run(SeriesDescription="6s DynaCT"), Role.ROTATION, "SeriesDescription~cone_beam"),
        (run(SOPClassUID=CAPTURE), Role.DSA_RUN, f"SOPClassUID={CAPTURE}"),
        (ct(), Role.CT, "Modality=CT"),
        (ct(Modality="XA"), Role.CONE_BEAM_CT, "Modality=XA"),
        (ct(ManufacturerModelName="Artis zee"), Role.CONE_BEAM_CT, "ManufacturerModelName~artis"),
        (ct(ProtocolName="XperCT Abdomen"), Role.CONE_BEAM_CT, "ProtocolName~cone_beam"),
        (ct(SOPClassUID=STORAGE + "13.1.1"), Role.CONE_BEAM_CT, "13.1.1"),
        (ct(ImageType="ORIGINAL\\PRIMARY\\LOCALIZER"), Role.LOCALIZER, "ImageType=LOCALIZER"),
        (reading(SOPClassUID=DX, Modality="DX"), Role.RADIOGRAPH, "Modality=DX"),
        (reading(SOPClassUID=DX, Modality="DX", NumberOfFrames="3"), Role.NOT_OURS, "NumberOfFrames=3"),
        (reading(SOPClassUID=CAPTURE, Modality="OT"), Role.SECONDARY_CAPTURE, "Modality=OT"),
        (reading(SOPClassUID=SR, Modality="SR"), Role.REPORT, "Modality=SR"),
        (reading(SOPClassUID=STORAGE + "104.1", Modality="DOC"), Role.REPORT, "104.1"),
        (reading(SOPClassUID=STORAGE + "66.4", Modality="SEG"), Role.REGION, "Modality=SEG"),
        (reading(SOPClassUID=STORAGE + "11.1", Modality="PR"), Role.PRESENTATION_STATE, "Modality=PR"),
        (reading(SOPClassUID=STORAGE + "4", Modality="MR"), Role.NOT_OURS, "Modality=MR"),
        (reading(Modality="RF", NumberOfFrames="9"), Role.DSA_RUN, "SOPClassUID=none"),
        (reading(), Role.NOT_OURS, "Modality=none"),
    ],
)
def test_a_role_follows_from_tags_and_names_them(read: Any, role: Role, because: str) -> None:
    call = role_of(read)
    assert call.role is role
    assert because in call.evidence


def test_a_scanner_called_discovery_is_no_c_arm_but_discovery_igs_is() -> None:
    assert role_of(ct(ManufacturerModelName="Discovery CT750 HD")).role is Role.CT
    assert role_of(ct(ManufacturerModelName="Discovery IGS 740")).role is Role.CONE_BEAM_CT


@pytest.mark.parametrize(
    ("words", "phase"),
    [
        ("Liver arterial 1.5 B30", Phase.ARTERIAL),
        ("Abdomen HAP", Phase.ARTERIAL),
        ("late arterial", Phase.ARTERIAL),
        ("Leber spät", Phase.DELAYED),
        ("3 min delay", Phase.DELAYED),
        ("portal venous", Phase.PORTAL_VENOUS),
        ("Leber portalvenös", Phase.PORTAL_VENOUS),
        ("phase veineuse portale PV", Phase.PORTAL_VENOUS),
        ("Abdomen nativ", Phase.PLAIN),
        ("without contrast", Phase.PLAIN),
        ("动脉期", Phase.ARTERIAL),
        ("门静脉期", Phase.PORTAL_VENOUS),
        ("平扫", Phase.PLAIN),
        ("延迟期", Phase.DELAYED),
        ("Thorax", None),
        ("artefact check", None),
        ("arterial and portal venous", None),
        ("alternative", None),
    ],
)
def test_the_phase_of_contrast_is_what_the_names_say(words: str, phase: Phase | None) -> None:
    assert role_of(ct(SeriesDescription=words)).phase is phase


@pytest.mark.parametrize(
    ("seconds", "phase"), [("101030", Phase.ARTERIAL), ("101110", Phase.PORTAL_VENOUS), ("101300", Phase.DELAYED)]
)
def test_where_names_say_nothing_the_time_since_the_bolus_does(seconds: str, phase: Phase) -> None:
    call = role_of(ct(ContrastBolusStartTime="101000", AcquisitionTime=seconds, ContrastBolusAgent="x"))
    assert call.phase is phase
    assert "seconds after ContrastBolusStartTime=" in call.evidence


def test_a_named_agent_alone_says_only_that_there_is_contrast() -> None:
    assert role_of(ct(ContrastBolusAgent="Iodine")).phase is Phase.CONTRAST
    assert role_of(ct()).phase is None


def test_evidence_repeats_no_text_of_the_file() -> None:
    told = dict.fromkeys(
        ("SeriesDescription", "ProtocolName", "AcquisitionProtocolName", "ManufacturerModelName", "ContrastBolusAgent"),
        "SECRET^PATIENT DynaCT arterial artis fluoro",
    )
    for frames in ("1", "12", "SECRET"):
        for sop_class in (XA, CT, DX, CAPTURE, "SECRET"):
            read = reading(SOPClassUID=sop_class, Modality="SECRET1", NumberOfFrames=frames, **told)
            assert "SECRET" not in role_of(read).evidence
            assert not re.search(r"PATIENT", role_of(read).evidence)


@pytest.mark.slow
def test_discovery_and_catalogue_sort_by_the_same_rule(dicom: Any, look: Any) -> None:
    from angio_pipeline.ingest.elements import read_from
    from angio_pipeline.ingest.headers import read_header

    runs, films = [dicom.run("run.dcm")], [dicom.film("film.dcm")]
    slices = dicom.ct_series([0, 2, 4])
    found = look(dicom.folder)
    kinds = [kind_of(read_from(read_header(path).dataset)).value for path in (*runs, *films, *slices)]
    assert kinds == ["projection", "projection", "slice", "slice", "slice"]
    assert (len(found.runs), len(found.films), len(found.volumes)) == (1, 1, 1)


@pytest.mark.parametrize(
    ("told", "vendor"),
    [("SIEMENS", "siemens"), ("GE MEDICAL SYSTEMS", "ge"), ("Philips", "philips"), ("Agency", "other"), ("", "")],
)
def test_makers_are_named_from_a_fixed_list(told: str, vendor: str) -> None:
    assert vendor_of(told) == vendor
