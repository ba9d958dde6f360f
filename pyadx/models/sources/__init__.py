"""Where a network comes from: our checkpoints, a user's own code and weights, archives of other tools."""

from pyadx.models.sources.source import ModelSource

__all__ = ["ModelSource"]
