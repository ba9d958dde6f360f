"""Exceptions that callers handle separately from other errors."""


class UntraceableError(ValueError):
    """A model, or the path from its input to a layer, cannot be traced operation by operation.

    The message names the operation or gives the reason.
    """
