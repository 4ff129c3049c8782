"""Names ask for objects."""

from __future__ import annotations

import pytest

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.outputs.dicom import ObjectKind, choose_objects


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        ([], ["seg", "sr", "summary"]),
        (["default"], ["seg", "sr", "summary"]),
        (["none"], []),
        (["all"], list(ObjectKind)),
        (["maps", "seg"], ["seg", "maps"]),
        (["default", "cine"], ["seg", "sr", "summary", "cine"]),
        (["seg", "seg"], ["seg"]),
    ],
)
def test_names_choose_objects_whatever_their_order(names, kinds):
    assert list(choose_objects(names).kinds) == kinds
    assert choose_objects(names[::-1]) == choose_objects(names)


@pytest.mark.parametrize("names", [["overlay"], ["none", "seg"], ["SEG"]])
def test_other_names_and_none_beside_another_are_refused(names):
    with pytest.raises(ConfigError, match="Expected --dicom"):
        choose_objects(names)
