"""Evaluation of heatmaps: localisation against regions, faithfulness to the network, sanity checks."""

from pyadx.evaluation.curves import PrecisionRecall, precision_recall
from pyadx.evaluation.faithfulness import Curve, Faithfulness, deletion_insertion
from pyadx.evaluation.region_scores import (
    RegionScore,
    bootstrap_mean,
    localization,
    pooled_curves,
)
from pyadx.evaluation.sanity import agreement, randomisation, rank_correlation, stability

__all__ = [
    "Curve",
    "Faithfulness",
    "PrecisionRecall",
    "RegionScore",
    "agreement",
    "bootstrap_mean",
    "deletion_insertion",
    "localization",
    "pooled_curves",
    "precision_recall",
    "randomisation",
    "rank_correlation",
    "stability",
]
