"""Errors that callers tell apart."""


class UntraceableError(ValueError):
    """A model, or the way to a layer, cannot be followed operation by operation; the message says why."""
