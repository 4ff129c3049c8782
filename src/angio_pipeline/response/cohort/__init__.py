"""Cohort statistics: what regimens did, with intervals, from tables of patients and of what was measured on them.

Everything here is a function of `CohortData`; the numbers come from scipy, statsmodels and lifelines, and this room
says which of them, on whom, and how many values were missing.
"""

from angio_pipeline.response.cohort.analysis import CohortParams, CohortResult, analyse
from angio_pipeline.response.cohort.data import CohortData

__all__ = ["CohortData", "CohortParams", "CohortResult", "analyse"]
