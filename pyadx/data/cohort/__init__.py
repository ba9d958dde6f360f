"""Cohorts of labelled scans: ADNI downloads, BIDS data sets and plain tables; splits by subject."""

from pyadx.data.cohort.read import read_cohort
from pyadx.data.cohort.reading import CohortReading
from pyadx.data.cohort.records import Cohort, Exclusion, ScanRecord
from pyadx.data.cohort.splits import SplitPlan, load_plan, plan_splits

__all__ = [
    "Cohort",
    "CohortReading",
    "Exclusion",
    "ScanRecord",
    "SplitPlan",
    "load_plan",
    "plan_splits",
    "read_cohort",
]
