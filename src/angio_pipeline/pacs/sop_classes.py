"""The SOP classes of services by which an archive is asked (DICOM PS3.6, Annex A).

pynetdicom makes names of these when it is imported, which no type checker sees.
"""

from __future__ import annotations

from pydicom.uid import UID

__all__ = ["PATIENT_ROOT_FIND", "STUDY_ROOT_FIND", "STUDY_ROOT_GET", "STUDY_ROOT_MOVE", "VERIFICATION"]

VERIFICATION = UID("1.2.840.10008.1.1")
PATIENT_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.1.1")
STUDY_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
STUDY_ROOT_MOVE = UID("1.2.840.10008.5.1.4.1.2.2.2")
STUDY_ROOT_GET = UID("1.2.840.10008.5.1.4.1.2.2.3")
