"""The paper's networks and their checkpoints."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pyadx.models.card import ModelCard, Preprocessing
from pyadx.models.checkpoints import fingerprint, load, save
from pyadx.models.own import read_card, wrap
from pyadx.models.references import with_references
from pyadx.models.registry import ARCHITECTURES, build
from pyadx.models.resnet import ResNet3D, ResNet3DGAP, ResNet3DShallowGAP
from pyadx.models.vggnet import VGGNet3D

if TYPE_CHECKING:
    from pyadx.models import demonstration as demonstration

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
    "read_card",
    "save",
    "with_references",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name == "demonstration":
        return import_module("pyadx.models.demonstration")
    raise AttributeError(f"module 'pyadx.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "demonstration"})
