"""Datasets from keywords, for the parts of which test files are built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset


def item(**tags: Any) -> Dataset:
    """A dataset of these elements."""
    made = Dataset()
    set_tags(made, tags)
    return made


def set_tags(dataset: Dataset, tags: Mapping[str, Any]) -> None:
    """Set elements by keyword; None takes one away."""
    with disable_value_validation():  # some of the files are wrong on purpose
        for keyword, value in tags.items():
            if value is not None:
                setattr(dataset, keyword, value)
            elif keyword in dataset:
                delattr(dataset, keyword)
