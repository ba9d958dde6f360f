"""Sources of networks: checkpoints of pyadx, a user's own code and weights, and files of other tools."""

from pyadx.models.sources.source import ModelSource

__all__ = ["ModelSource"]
