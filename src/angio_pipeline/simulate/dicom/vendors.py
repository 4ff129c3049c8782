"""Which tags a run carries, after the habits of makers of angiography suites.

These imitate habits seen in files that pass through archives, for a reader to be tried on; they are
no maker's conformance statement, and every file says that it is simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from angio_pipeline.simulate.radiograph.exports import Vendor

__all__ = ["HABITS", "Habits", "private_block"]


@dataclass(frozen=True, slots=True)
class Habits:
    """What one maker's runs tell, and how.

    Attributes
    ----------
    label : str
        Goes into the model's name.
    imager_spacing, source_to_patient, magnification : bool
        Whether the pixel spacing at the detector, the distance to the patient and the estimated
        magnification are written; without the last two, millimetres hold at the detector only.
    derived_spacing : bool
        Whether exports that went through a display or a subtraction keep the spacing.
    even_time : bool
        Whether runs of one rate give Frame Time; otherwise, and for uneven runs, Frame Time Vector.
    display_rate : bool
        Whether a recommended display rate is written as well.
    mask : bool
        Whether unsubtracted runs say which frames to subtract (Mask Subtraction Sequence).
    says_subtracted : bool
        Whether an already subtracted export says so in words.
    shutter, collimator : bool
        Whether the opening is written as Shutter or as Collimator tags.
    padding : bool
        Whether the value behind shutters is declared as padding.
    private_group : int
        Odd group of a private block, 0 for none.
    """

    label: str
    imager_spacing: bool = True
    source_to_patient: bool = True
    magnification: bool = True
    derived_spacing: bool = True
    even_time: bool = False
    display_rate: bool = False
    mask: bool = False
    says_subtracted: bool = True
    shutter: bool = True
    collimator: bool = False
    padding: bool = False
    private_group: int = 0


HABITS: dict[Vendor, Habits] = {
    Vendor.GENERIC: Habits("plain"),
    Vendor.GE: Habits(
        "imitates habits of GE",
        derived_spacing=False,
        even_time=True,
        mask=True,
        says_subtracted=False,
        shutter=False,
        collimator=True,
        private_group=0x0019,
    ),
    Vendor.PHILIPS: Habits(
        "imitates habits of Philips",
        source_to_patient=False,
        even_time=True,
        display_rate=True,
        padding=True,
        private_group=0x2001,
    ),
    Vendor.SIEMENS: Habits(
        "imitates habits of Siemens",
        magnification=False,
        mask=True,
        collimator=True,
        private_group=0x0021,
    ),
}


def private_block(ds: Dataset, habits: Habits, note: str) -> None:
    """Add a private block such as the maker's files are full of; its content means nothing."""
    if habits.private_group:
        block = ds.private_block(habits.private_group, f"SIMULATED, {habits.label}", create=True)
        block.add_new(0x01, "LO", note)
        block.add_new(0x02, "DS", "1.0")
        block.add_new(0x10, "OB", bytes(range(16)))
