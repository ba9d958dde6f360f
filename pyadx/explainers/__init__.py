"""Visual explanations of 3D CNNs."""

from pyadx.explainers.cam import CAM
from pyadx.explainers.gradcam import GradCAM
from pyadx.explainers.occlusion import Occlusion
from pyadx.explainers.supervoxels import SupervoxelOcclusion

__all__ = ["CAM", "GradCAM", "Occlusion", "SupervoxelOcclusion"]
