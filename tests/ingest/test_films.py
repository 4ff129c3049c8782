"""A film reads so that brighter means more X-rays, whichever way its kind is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from angio_pipeline.core.quality import Quality
from angio_pipeline.core.runs import Quantity

DX, CR = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1"
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
STORED = np.random.default_rng(2).integers(100, 4000, (30, 40)).astype(np.uint16)
TURNED = 4095 - STORED.astype(np.float32)


@pytest.mark.parametrize(
    ("modality", "sop_class", "tags", "expected"),
    [
        ("XA", "1.2.840.10008.5.1.4.1.1.12.1", {}, STORED),
        ("XA", "1.2.840.10008.5.1.4.1.1.12.1", {"PhotometricInterpretation": "MONOCHROME1"}, TURNED),
        ("XA", CAPTURE, {}, STORED),
        ("DX", DX, {"PixelIntensityRelationshipSign": 1, "PhotometricInterpretation": "MONOCHROME1"}, STORED),
        ("DX", DX, {"PixelIntensityRelationshipSign": -1}, TURNED),
        ("CR", CR, {"PixelIntensityRelationship": None}, TURNED),
        ("CR", CR, {"PixelIntensityRelationship": None, "PhotometricInterpretation": "MONOCHROME1"}, STORED),
    ],
)
def test_brighter_means_more_x_rays(
    dicom: Any, read_one: Any, modality: str, sop_class: str, tags: dict[str, Any], expected: Any
) -> None:
    film = read_one(dicom.film(pixels=STORED, modality=modality, sop_class=sop_class, **tags))
    assert np.array_equal(film.image, expected)
    assert Quality.PHOTOMETRIC_ASSUMED not in film.quality
    assert film.quantity is (Quantity.STORED if modality == "CR" else Quantity.INTENSITY)


def test_a_film_of_one_declared_frame_is_a_film(dicom: Any, look: Any) -> None:
    found = look(dicom.film(pixels=STORED, NumberOfFrames=1))
    assert len(found.films) == 1
    assert not found.runs
