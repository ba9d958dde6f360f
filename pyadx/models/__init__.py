"""The paper's networks and their checkpoints."""

from pyadx.models.card import ModelCard, Preprocessing
from pyadx.models.checkpoints import fingerprint, load, save
from pyadx.models.registry import ARCHITECTURES, build
from pyadx.models.resnet import ResNet3D, ResNet3DGAP, ResNet3DShallowGAP
from pyadx.models.vggnet import VGGNet3D

__all__ = [
    "ARCHITECTURES",
    "ModelCard",
    "Preprocessing",
    "ResNet3D",
    "ResNet3DGAP",
    "ResNet3DShallowGAP",
    "VGGNet3D",
    "build",
    "fingerprint",
    "load",
    "save",
]
