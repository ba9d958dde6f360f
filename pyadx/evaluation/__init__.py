"""Evaluation of heatmaps: localisation against regions, faithfulness to the network, sanity checks."""

from pyadx.evaluation import groups
from pyadx.evaluation.baselines import edge_map, random_map
from pyadx.evaluation.curves import PrecisionRecall, precision_recall
from pyadx.evaluation.faithfulness import Curve, Faithfulness, deletion_insertion
from pyadx.evaluation.mass import smoothed_mass
from pyadx.evaluation.region_scores import (
    RegionScore,
    bootstrap_difference,
    bootstrap_mean,
    localization,
    pooled_curves,
)
from pyadx.evaluation.sanity import agreement, randomisation, rank_correlation, stability
from pyadx.evaluation.truth import Agreement, causal_truth, region_truth, truth_agreement

__all__ = [
    "Agreement",
    "Curve",
    "Faithfulness",
    "PrecisionRecall",
    "RegionScore",
    "agreement",
    "bootstrap_difference",
    "bootstrap_mean",
    "causal_truth",
    "deletion_insertion",
    "edge_map",
    "groups",
    "localization",
    "pooled_curves",
    "precision_recall",
    "random_map",
    "randomisation",
    "rank_correlation",
    "region_truth",
    "smoothed_mass",
    "stability",
    "truth_agreement",
]
