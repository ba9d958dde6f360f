"""Fast, exact visual explanations of 3D CNNs on brain MRI.

Research software, not a medical device.
"""

from importlib.metadata import version

from pyadx import explainers, inference, models, ops, segmentation
from pyadx.explainers import CAM, GradCAM, Occlusion, SupervoxelOcclusion, explainer

__version__ = version("pyadx")
__all__ = [
    "CAM",
    "GradCAM",
    "Occlusion",
    "SupervoxelOcclusion",
    "explainer",
    "explainers",
    "inference",
    "models",
    "ops",
    "segmentation",
]
