"""Incremental inference: recompute only what a filled region changes."""
