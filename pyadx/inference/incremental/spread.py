"""Finds where a network divides by the spread of its maps, and regions whose spread is only rounding.

A cached value plus a change has the rounding errors of both. Where a forward of the filled scan would give
exact zeros, or any other constant, an error of some 1e-17 is left, and a normalisation divides it by its
own size or by a small epsilon. So if a region takes nearly all spread from a map that is normalised, its
change cannot be trusted, and a full forward of the filled scan scores it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from pyadx.inference.incremental.steps import ROUNDINGS
from pyadx.inference.incremental.trace import aten, functional

# Share of the root mean square in the unperturbed scan. With less left, rounding would take two more
# digits.
_LEAST = 1e-2


@dataclass(frozen=True)
class Spread:
    """How to measure the spreads that a network divides by: one for every slice of a map.

    Attributes
    ----------
    slices : callable
        Given the map and the number of scans, returns ``[B, S, n]``: the ``n`` values of each of ``S``
        slices.
    centred : bool
        Whether the spread is measured about the mean (a variance) or about zero.
    """

    slices: Callable[[Tensor, int], Tensor]
    centred: bool = True

    def measure(self, value: Tensor, batch: int) -> Tensor:
        """Return the variance or mean square of every slice, float64 ``[B, S]``."""
        sliced = self.slices(value, batch)
        count = sliced.shape[-1]
        if not self.centred:
            return torch.linalg.vector_norm(sliced, dim=-1).double().square() / max(count, 1)
        # torch.var takes ten times as long as the variance inside a normalisation.
        _, _, inverse = torch.native_layer_norm(sliced.contiguous(), [count], None, None, 0.0)
        return inverse.reshape(sliced.shape[:-1]).double().square().reciprocal()


def lost(spread: Tensor, before: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """Return which regions lost so much spread that rounding would show, bool ``[B]``.

    Parameters
    ----------
    spread, before : Tensor
        From `Spread.measure`: of the filled scans ``[B, S]``, and of the unperturbed scan ``[1, S]``.
    scale : float
        Largest absolute value of the cached maps that changes were added to.
    dtype : torch.dtype
        Dtype of the maps.
    """
    rounding = (ROUNDINGS * torch.finfo(dtype).eps * scale) ** 2
    less = spread < _LEAST**2 * before
    # Slices that were constant, such as a channel whose ReLU is closed, and now differ by rounding only.
    stirred = (before <= rounding) & (spread < rounding) & (spread > 4 * before)
    return (less | stirred).any(1)


def spreads(nodes: Iterable[fx.Node], changing: set[fx.Node]) -> dict[fx.Node, list[Spread]]:
    """Find the maps whose spread a network divides by, in normalisations and in code written by hand.

    Parameters
    ----------
    nodes : iterable of fx.Node
        Operations of a trace, in order.
    changing : set of fx.Node
        Nodes that depend on the scan.

    Returns
    -------
    dict
        For every such map, its spreads.
    """
    found: dict[fx.Node, list[Spread]] = {}
    order = list(nodes)
    divides = any(is_singular(node, changing) for node in order)
    for node in order:
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node) or source not in changing:
            continue
        value = source.meta.get("val")
        if not isinstance(value, Tensor):
            continue
        own = _spread(node, tuple(value.shape), divides)
        if own is not None:
            found.setdefault(source, []).append(own)
    return found


# By operation: index of the argument with the number of groups.
_GROUP_NORMS = {aten.group_norm.default: 1, aten.native_group_norm.default: 6}
_BATCH_NORMS = {  # index of the argument that says whether statistics are those of the input
    aten.instance_norm.default: 5, aten.batch_norm.default: 5, aten._native_batch_norm_legit.default: 5,
    aten._native_batch_norm_legit.no_stats: 3,
}  # fmt: skip
_LAYER_NORMS = {aten.layer_norm.default, aten.native_layer_norm.default}
_MOMENTS = {
    aten.var.default, aten.var.dim, aten.var.correction, aten.std.default, aten.std.dim,
    aten.std.correction, aten.var_mean.default, aten.var_mean.dim, aten.var_mean.correction,
    aten.std_mean.default, aten.std_mean.dim, aten.std_mean.correction,
}  # fmt: skip
_NORMS = {aten.linalg_vector_norm.default: 2, aten.norm.ScalarOpt_dim: 2}  # index of the axes
_MEANS = {aten.mean.dim, aten.mean.default, aten.sum.dim_IntList, aten.sum.default}
_QUOTIENTS = {aten.div.Tensor, aten.div.Tensor_mode}
_ROOTS = {
    aten.rsqrt.default, aten.sqrt.default, aten.reciprocal.default, aten.log.default, aten.log2.default,
    aten.log10.default,
}  # fmt: skip


def is_singular(node: fx.Node, changing: set[fx.Node]) -> bool:
    """Whether zero and almost zero give very different results, for an operand that depends on the scan."""
    target = functional(node.target)
    if target in _QUOTIENTS:
        return len(node.args) > 1 and node.args[1] in changing
    if target is aten.pow.Tensor_Scalar:
        power: Any = node.args[1]
        return node.args[0] in changing and (power < 0 or power != int(power))
    return target in _ROOTS and node.args[0] in changing


def _spread(node: fx.Node, shape: Sequence[Any], divides: bool) -> Spread | None:
    target: Any = functional(node.target)
    if target in _GROUP_NORMS:
        return Spread(_trailing(prod(map(int, shape[1:])) // int(_argument(node, _GROUP_NORMS[target]))))
    if target in _BATCH_NORMS:
        own = bool(_argument(node, _BATCH_NORMS[target]))
        return Spread(_trailing(prod(map(int, shape[2:])))) if own else None
    if target in _LAYER_NORMS:
        return Spread(_trailing(prod(map(int, _argument(node, 1)))))
    if target is aten.rms_norm.default:
        return Spread(_trailing(prod(map(int, _argument(node, 1)))), centred=False)
    if target in _NORMS:
        return Spread(_along(node.args[_NORMS[target]] if len(node.args) > 2 else None), centred=False)
    if target in _MOMENTS or (divides and target in _MEANS):
        axes = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        return Spread(_along(None if isinstance(axes, bool) else axes))
    return None


def _argument(node: fx.Node, place: int) -> Any:
    if place < len(node.args):
        return node.args[place]
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    return node.kwargs.get(names[place])


def _trailing(count: int) -> Callable[[Tensor, int], Tensor]:
    """Return a function that cuts a map into slices of ``count`` consecutive values."""
    return lambda value, batch: value.reshape(batch, -1, count)


def _along(axes: Any) -> Callable[[Tensor, int], Tensor]:
    """Return a function that slices a map along axes: all but the batch if ``axes`` is None."""

    def slices(value: Tensor, batch: int) -> Tensor:
        given = [axes] if isinstance(axes, int) else list(axes or range(value.dim()))
        along = sorted({axis % value.dim() for axis in given} - {0})
        rest = [axis for axis in range(value.dim()) if axis not in along]
        count = prod(value.shape[axis] for axis in along)
        return value.permute(*rest, *along).reshape(batch, -1, count)

    return slices
