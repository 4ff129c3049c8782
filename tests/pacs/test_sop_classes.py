"""The SOP classes that are asked for are those that the standard's dictionary names."""

from __future__ import annotations

from angio_pipeline.pacs import sop_classes


def test_each_class_has_its_name_in_the_dictionary() -> None:
    said = {name: getattr(sop_classes, name).name for name in sop_classes.__all__}
    root = "Query/Retrieve Information Model"
    assert said == {
        "PATIENT_ROOT_FIND": f"Patient Root {root} - FIND",
        "STUDY_ROOT_FIND": f"Study Root {root} - FIND",
        "STUDY_ROOT_GET": f"Study Root {root} - GET",
        "STUDY_ROOT_MOVE": f"Study Root {root} - MOVE",
        "VERIFICATION": "Verification SOP Class",
    }
