"""Incremental inference: recompute only what a filled box changes."""
