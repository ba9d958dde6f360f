"""Scorers: how far a model's output moves when regions of a scan are filled."""

from pyadx.inference.full import FullScorer
from pyadx.inference.incremental.scorer import IncrementalScorer

__all__ = ["FullScorer", "IncrementalScorer"]
