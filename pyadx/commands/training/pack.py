"""``pyadx pack``: store a network and its card in one file that needs none of the user's code."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from pyadx.commands.training.statistics import give_statistics
from pyadx.files import check_output_file
from pyadx.inference.errors import UntraceableError
from pyadx.inference.incremental.export import exported
from pyadx.inference.wrappers import unwrapped
from pyadx.models.card import ModelCard
from pyadx.models.sources import ModelSource
from pyadx.models.sources.archives import read_archive, write_archive

_RTOL, _ATOL = 1e-3, 1e-4  # tolerances of a packed network's outputs


@dataclass(frozen=True)
class Packed:
    """A packed network: its card, and the largest difference of outputs, if outputs are numbers."""

    card: ModelCard
    difference: float


def run_pack(
    source: ModelSource,
    out: Path,
    overwrite: bool = False,
    statistics: Path | None = None,
    progress: bool = False,
) -> Packed:
    """Export a network, write it with its card and reference images, and compare the written network.

    Parameters
    ----------
    source : ModelSource
        The network.
    out : Path
        ``.pt2`` file to write.
    overwrite : bool
        Replace an existing file.
    statistics : Path, optional
        Cohort whose scans are like those that the network was trained on (`give_statistics`).
    progress : bool
        Show a bar while its scans are read.

    Returns
    -------
    Packed
        The card, and the largest difference of the file's outputs from the network's.

    Raises
    ------
    ValueError
        If the network cannot be read or traced, the output cannot be written, or the packed network has
        other outputs. No file is left then.
    """
    if out.suffix != ".pt2":
        raise ValueError(f"{out}: a packed network is written as .pt2")
    check_output_file(out, overwrite=overwrite)
    model = source.load()
    if statistics is not None:
        give_statistics(model, statistics, progress)
    card = model.card
    assert isinstance(card, ModelCard)
    example = torch.rand(1, card.channels, *card.in_shape, generator=torch.Generator().manual_seed(0))
    expected = _outputs(model, example)
    try:
        program = exported(unwrapped(model), example[0])
    except UntraceableError as error:
        raise ValueError(f"{source}: cannot be packed: {error}") from None
    partial = out.with_name(f".{out.stem}.checked.pt2")  # the final name appears only after the comparison
    try:
        write_archive(program, model, partial)
        again, _ = read_archive(partial, trust=source.trust)
        found = _outputs(again.eval(), example)
        difference = _difference(source, expected, found)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return Packed(card, difference)


def _outputs(model: nn.Module, example: Tensor) -> list[Tensor]:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = pytree.tree_leaves(model(example))
        except Exception as error:  # the user's code may raise anything
            raise ValueError(f"the network fails on a scan of the card's shape: {error}") from None
    return [value for value in found if isinstance(value, Tensor)]


def _difference(source: ModelSource, expected: list[Tensor], found: list[Tensor]) -> float:
    same = len(expected) == len(found) and all(
        a.shape == b.shape and torch.allclose(a, b, rtol=_RTOL, atol=_ATOL, equal_nan=True)
        for a, b in zip(expected, found, strict=False)
    )
    if not same:
        raise ValueError(
            f"{source}: the packed network has other outputs than the network; its forward may "
            "depend on values or on random numbers, which a graph cannot represent"
        )
    return max(
        (float((a - b).abs().max()) for a, b in zip(expected, found, strict=True) if a.numel()), default=0.0
    )
