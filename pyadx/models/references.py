"""Reference images of a network: the mean image of a class, for example, on the network's own grid."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pyadx.models.card import ModelCard
from pyadx.models.registry import attach_card

_PREFIX = "reference."  # of their names among a file's tensors; no architecture of pyadx has such weights


def with_references(
    model: nn.Module,
    references: Mapping[str, Tensor],
    facts: Mapping[str, Mapping[str, Any]] | None = None,
) -> nn.Module:
    """Replace a network's reference images; return the network.

    Explainers can fill regions of a scan with a reference image. An image of a healthy class shows what
    tissue could have been there. `pyadx.models.save` writes the images into the checkpoint.

    Parameters
    ----------
    model : torch.nn.Module
        A network with a card, such as one of `pyadx.models.build` or `load`. Its ``references`` and its
        card change.
    references : mapping
        Images by name of the class: floating-point tensors ``[D, H, W]`` on the network's grid, prepared
        according to the card. `pyadx.data.read_reference` makes one from a file. ``{**model.references,
        "NC": image}`` keeps the other images; ``{}`` removes all.
    facts : mapping, optional
        How each image was made, by name of the class, as plain data for the card.

    Returns
    -------
    torch.nn.Module
        The same network. Its images are float32 copies on the CPU, rounded to the half precision in which
        they are stored.

    Raises
    ------
    ValueError
        If the network has no card, a name is not one of its classes, or an image has another shape than the
        grid, does not hold floating-point numbers, holds NaN, infinity or values too large for half
        precision, or is zero everywhere.
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
    """Return reference images as a file stores them: float16, by their names in the file.

    Raises
    ------
    ValueError
        As `with_references`.
    """
    for name, image in references.items():
        if not isinstance(image, Tensor):
            raise ValueError(f"the reference of {name!r} must be a tensor, got {type(image).__name__}")
        check_shape(name, tuple(image.shape), card)
    # In the order of the classes, because a file may have any order.
    ordered = [name for name in card.class_names if name in references]
    return {_PREFIX + name: _half(name, references[name]) for name in ordered}


def widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return float32 images by class, from the tensors of `stored`."""
    return {name.removeprefix(_PREFIX): tensor.float() for name, tensor in tensors.items()}


def named(references: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same mapping with the names that reference images have in a file."""
    return {f"{_PREFIX}{name}": image for name, image in references.items()}


def class_of(name: object) -> str | None:
    """Return the class of a reference image from its name in a file; ``None`` for the name of weights."""
    return name.removeprefix(_PREFIX) if isinstance(name, str) and name.startswith(_PREFIX) else None


def check_shape(name: str, shape: tuple[int, ...], card: ModelCard) -> None:
    """Raise ``ValueError`` unless ``name`` is a class of the card and ``shape`` is the card's grid."""
    _check_name(name, card)
    if shape != tuple(card.in_shape):
        raise ValueError(f"the reference of {name!r} has shape {shape}, expected {tuple(card.in_shape)}")


def _check_name(name: str, card: ModelCard) -> None:
    if name not in card.class_names:
        raise ValueError(
            f"there is a reference of {name!r}, which is not a class; the classes are "
            f"{', '.join(card.class_names)}"
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
