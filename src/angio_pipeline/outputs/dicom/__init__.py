"""Results as DICOM objects that other software opens: one module an object.

`choice` says which are written, `origin` what all of them say of patient, study and source, `codes` every coded
concept. Importing this package costs little: highdicom is loaded by the objects that it writes.
"""

from angio_pipeline.outputs.dicom.choice import DEFAULT_OBJECTS, ObjectChoice, ObjectKind, choose_objects
from angio_pipeline.outputs.dicom.origin import MANUFACTURER, Origin
from angio_pipeline.outputs.dicom.writing import write_run_objects

__all__ = [
    "DEFAULT_OBJECTS",
    "MANUFACTURER",
    "ObjectChoice",
    "ObjectKind",
    "Origin",
    "choose_objects",
    "write_run_objects",
]
