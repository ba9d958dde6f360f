"""The paper's four networks by name."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pyadx.models.card import ModelCard, Preprocessing
from pyadx.models.resnet import ResNet3D, ResNet3DGAP, ResNet3DShallowGAP
from pyadx.models.vggnet import VGGNet3D

ARCHITECTURES: dict[str, type[nn.Module]] = {
    "vggnet": VGGNet3D,
    "resnet": ResNet3D,
    "resnet-gap": ResNet3DGAP,
    "resnet-shallow-gap": ResNet3DShallowGAP,
}


def build(
    architecture: str,
    in_shape: Sequence[int] = (110, 110, 110),
    class_names: Sequence[str] = ("NC", "AD"),
    preprocessing: Preprocessing | None = None,
    seed: int | None = None,
) -> nn.Module:
    """Build one of the paper's networks with random weights.

    Parameters
    ----------
    architecture : {"vggnet", "resnet", "resnet-gap", "resnet-shallow-gap"}
        Which network.
    in_shape : sequence of int
        Spatial input shape ``D, H, W``.
    class_names : sequence of str
        Names of the classes, in the order of the outputs.
    preprocessing : Preprocessing, optional
        How scans are prepared for this network; by default as in the paper.
    seed : int, optional
        Seed of the weights. With it the global random state is not changed; without it the weights are
        drawn from that state.

    Returns
    -------
    torch.nn.Module
        In training mode, float32, on the CPU, with ``card``, ``class_names`` and ``references`` (empty)
        attributes.

    Raises
    ------
    ValueError
        If the name is unknown, the shape is too small (the message states the minimum), or there are not
        two or more different class names.
    """
    check_architecture(architecture)
    shape = tuple(int(n) for n in in_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"in_shape must be three positive lengths D, H, W, got {tuple(in_shape)}")
    names = tuple(class_names)
    if len(names) < 2 or len(set(names)) != len(names):
        raise ValueError(f"class_names must be two or more different names, got {names}")
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        model = ARCHITECTURES[architecture](in_shape=shape, num_classes=len(names))
    grid = (shape[0], shape[1], shape[2])
    return attach_card(model, ModelCard(architecture, grid, names, preprocessing or Preprocessing()))


def attach_card(
    model: nn.Module, card: ModelCard, references: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """Set ``card``, ``class_names`` and ``references`` of a model; return it.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place.
    card : ModelCard
        Gives the class names, too.
    references : mapping, optional
        Reference images by name of the class; none by default.
    """
    model.card = card  # type: ignore[assignment]
    model.class_names = card.class_names  # type: ignore[assignment]
    model.references = dict(references or {})  # type: ignore[assignment]
    return model


def check_architecture(name: str) -> None:
    """Raise ``ValueError`` unless ``name`` is one of `ARCHITECTURES`."""
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {name!r}; known are {', '.join(ARCHITECTURES)}")
