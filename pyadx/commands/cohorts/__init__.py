"""Commands on cohorts of scans: make a synthetic cohort, or explain all scans of a cohort."""
