"""What every worker would do before its first task, done once by importing this in the server that they start from.

A process loads libraries that draw and that write DICOM, its compiler's tables at the first compiled loop, and the
standard's lists of attributes at the first object: a second or two, and memory, that workers share instead.
No thread may be left running here: a process that starts from this one would wait for it for ever.
"""

from importlib import import_module

import numpy as np
from highdicom.sc import SCImage
from pydicom.uid import generate_uid

from angio_pipeline.numerics.tables import look_up_shrunk

for _name in (
    "angio_pipeline.batch.jobs",
    "angio_pipeline.pipeline",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
):
    import_module(_name)

look_up_shrunk(np.zeros((1, 2, 2), np.uint16), np.zeros(1 << 16, np.float32), 1)
SCImage(
    np.zeros((1, 1), np.uint8),
    photometric_interpretation="MONOCHROME2",
    bits_allocated=8,
    coordinate_system="PATIENT",
    patient_orientation=("L", "F"),
    study_instance_uid=generate_uid(),
    series_instance_uid=generate_uid(),
    series_number=1,
    sop_instance_uid=generate_uid(),
    instance_number=1,
    manufacturer="none",
)
