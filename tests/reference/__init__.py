"""Slow, obvious twins of the kernels and explainers."""
