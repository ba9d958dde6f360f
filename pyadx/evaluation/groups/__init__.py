"""Group statistics of heatmaps: streaming sums, contrasts of two groups, permutation tests, regions."""

from pyadx.evaluation.groups.comparison import SpatialCorrelation, spatial_correlation
from pyadx.evaluation.groups.contrasts import Contrast, compare_groups, hedges_g
from pyadx.evaluation.groups.design import Covariate, Design, make_design
from pyadx.evaluation.groups.matrix import MapMatrix
from pyadx.evaluation.groups.permutations import PermutationTest, permutation_test
from pyadx.evaluation.groups.scaling import NORMALISATIONS, normalising_factor
from pyadx.evaluation.groups.streaming import MapSums

__all__ = [
    "NORMALISATIONS",
    "Contrast",
    "Covariate",
    "Design",
    "MapMatrix",
    "MapSums",
    "PermutationTest",
    "SpatialCorrelation",
    "compare_groups",
    "hedges_g",
    "make_design",
    "normalising_factor",
    "permutation_test",
    "spatial_correlation",
]
