"""Reference images of a network: what a scan of each class looks like, on the network's own grid."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pyadx.models.card import ModelCard
from pyadx.models.registry import attach_card

_PREFIX = "reference."  # of their names among a file's tensors; no network of ours has such weights


def with_references(
    model: nn.Module,
    references: Mapping[str, Tensor],
    facts: Mapping[str, Mapping[str, Any]] | None = None,
) -> nn.Module:
    """Give a network reference images in place of those it has; return it.

    Regions of a scan can be filled with them (a class of healthy people shows what tissue could have been
    there), and `save` writes them into the checkpoint.

    Parameters
    ----------
    model : torch.nn.Module
        A network of `pyadx.models.build` or `load`; its ``references`` and its card change.
    references : mapping
        From the name of a class to a floating-point tensor ``[D, H, W]`` on the network's grid, prepared as
        the card's preprocessing says, such as one of `pyadx.data.read_reference`. ``{**model.references,
        "NC": image}`` keeps the others; ``{}`` leaves the network none.
    facts : mapping, optional
        From the name of a class to how its image was made, as plain data for the card.

    Returns
    -------
    torch.nn.Module
        The same, with float32 copies on the CPU, rounded to the half precision in which they are stored.

    Raises
    ------
    ValueError
        If the network carries no card, a name is none of its classes, or an image has another shape than
        the grid, no floating-point numbers, NaN or infinity (also for being too large for half precision),
        or only zeros.
    """
    card = getattr(model, "card", None)
    if not isinstance(card, ModelCard):
        raise ValueError("only networks built or loaded by pyadx.models can have references")
    kept = widened(stored(references, card))
    own = {name: dict((facts or {}).get(name, {})) for name in (*kept, *(facts or {}))}
    for name in own:
        _check_name(name, card)
    return attach_card(model, replace(card, references=own), kept)


def stored(references: Mapping[str, Tensor], card: ModelCard) -> dict[str, Tensor]:
    """Return the tensors of a file: float16, by their names in it. Raises as `with_references`."""
    for name, image in references.items():
        if not isinstance(image, Tensor):
            raise ValueError(f"the reference of {name!r} must be a tensor, got {type(image).__name__}")
        check_shape(name, tuple(image.shape), card)
    # In the order of the classes, whatever the order of a file.
    ordered = [name for name in card.class_names if name in references]
    return {_PREFIX + name: _half(name, references[name]) for name in ordered}


def widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return float32 images by class, of a file's tensors."""
    return {name.removeprefix(_PREFIX): tensor.float() for name, tensor in tensors.items()}


def named(references: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping by the names that references have among a file's tensors."""
    return {f"{_PREFIX}{name}": image for name, image in references.items()}


def class_of(name: object) -> str | None:
    """Return the class whose reference a file's tensor is by its name; ``None`` if it is a weight."""
    return name.removeprefix(_PREFIX) if isinstance(name, str) and name.startswith(_PREFIX) else None


def check_shape(name: str, shape: tuple[int, ...], card: ModelCard) -> None:
    """Raise ``ValueError`` unless a reference is one of the card's classes on the card's grid."""
    _check_name(name, card)
    if shape != tuple(card.in_shape):
        raise ValueError(f"the reference of {name!r} has shape {shape}, expected {tuple(card.in_shape)}")


def _check_name(name: str, card: ModelCard) -> None:
    if name not in card.class_names:
        raise ValueError(
            f"a reference of {name!r}, which is no class; known are {', '.join(card.class_names)}"
        )


def _half(name: str, image: Tensor) -> Tensor:
    if not image.is_floating_point() or image.layout != torch.strided or image.is_meta:
        raise ValueError(f"the reference of {name!r} must hold floating-point numbers, got {image.dtype}")
    whole = image.detach().to("cpu")
    if not bool(torch.isfinite(whole.float()).all()):
        raise ValueError(f"the reference of {name!r} holds NaN or infinity")
    half = whole.to(torch.float16).contiguous()
    if not bool(torch.isfinite(half).all()):
        highest = float(whole.float().abs().max())
        raise ValueError(
            f"the reference of {name!r} holds values up to {highest:g}, too large for the half precision "
            "in which it is stored"
        )
    if not bool(half.any()):
        raise ValueError(f"the reference of {name!r} holds only zeros")
    return half
