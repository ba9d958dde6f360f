"""Visual explanations of 3D CNNs."""

from pyadx.explainers.base import Explainer, Explanation
from pyadx.explainers.cam import CAM
from pyadx.explainers.deeplift import DeepLift
from pyadx.explainers.flip import RegionFlip, decisive_regions
from pyadx.explainers.games import shapiq_game
from pyadx.explainers.gradcam import GradCAM
from pyadx.explainers.gradcampp import GradCAMPlusPlus
from pyadx.explainers.hirescam import HiResCAM
from pyadx.explainers.inputxgradient import InputXGradient
from pyadx.explainers.integratedgradients import IntegratedGradients
from pyadx.explainers.layercam import LayerCAM
from pyadx.explainers.occlusion import Occlusion
from pyadx.explainers.registry import Method, Option, find_method, method, methods
from pyadx.explainers.shapley import RegionShapley
from pyadx.explainers.smoothgrad import SmoothGrad
from pyadx.explainers.spelling import MethodSpec, explainer, parse_method
from pyadx.explainers.supervoxels import SupervoxelOcclusion
from pyadx.explainers.xgradcam import XGradCAM

__all__ = [
    "CAM",
    "DeepLift",
    "Explainer",
    "Explanation",
    "GradCAM",
    "GradCAMPlusPlus",
    "HiResCAM",
    "InputXGradient",
    "IntegratedGradients",
    "LayerCAM",
    "Method",
    "MethodSpec",
    "Occlusion",
    "Option",
    "RegionFlip",
    "RegionShapley",
    "SmoothGrad",
    "SupervoxelOcclusion",
    "XGradCAM",
    "decisive_regions",
    "explainer",
    "find_method",
    "method",
    "methods",
    "parse_method",
    "shapiq_game",
]
