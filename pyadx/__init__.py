"""Fast, exact visual explanations of 3D CNNs on brain MRI.

Research software, not a medical device.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pyadx import explainers, inference, models, ops, segmentation
from pyadx.explainers import (
    CAM,
    DeepLift,
    GradCAM,
    GradCAMPlusPlus,
    HiResCAM,
    InputXGradient,
    IntegratedGradients,
    LayerCAM,
    Occlusion,
    RegionFlip,
    RegionShapley,
    SmoothGrad,
    SupervoxelOcclusion,
    XGradCAM,
    decisive_regions,
    explainer,
    shapiq_game,
)

if TYPE_CHECKING:
    from pyadx import data as data
    from pyadx import evaluation as evaluation
    from pyadx import report as report
    from pyadx import training as training

__version__ = version("pyadx")
__all__ = [
    "CAM",
    "DeepLift",
    "GradCAM",
    "GradCAMPlusPlus",
    "HiResCAM",
    "InputXGradient",
    "IntegratedGradients",
    "LayerCAM",
    "Occlusion",
    "RegionFlip",
    "RegionShapley",
    "SmoothGrad",
    "SupervoxelOcclusion",
    "XGradCAM",
    "decisive_regions",
    "explainer",
    "explainers",
    "inference",
    "models",
    "ops",
    "segmentation",
    "shapiq_game",
]
# Loaded on first use, because they need more packages than torch and NumPy.
_LAZY = ("data", "evaluation", "report", "training")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return import_module(f"pyadx.{name}")
    raise AttributeError(f"module 'pyadx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
