"""Find out whether a model's outputs for a scan depend on the other scans in its batch."""
