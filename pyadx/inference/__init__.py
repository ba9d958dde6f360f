"""Scorers measure how much a model's output changes when regions of a scan are filled."""

from pyadx.inference.full import FullScorer
from pyadx.inference.incremental.scorer import IncrementalScorer
from pyadx.inference.sharding import shared_among_processes

__all__ = ["FullScorer", "IncrementalScorer", "shared_among_processes"]
