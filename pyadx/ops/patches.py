"""Patches: how small boxes of a network's maps change, for incremental inference.

A batch of patches is ``[B, D, H, W, C]``, channels innermost, with boxes ``[B, 6]`` (int32, half-open
``z0, y0, x0, z1, y1, x1``, in cells of the map it belongs to). Entry ``[b, i, j, k]`` says how far the
cell at the box's low corner plus ``(i, j, k)`` moved from its value in the unperturbed scan; entries
beyond the box are zero. Maps are ``[D, H, W, C]``. All of it is float32 or float64, contiguous, on one
device. Results are written into ``out``, since these operators run in loops where taking fresh memory
costs more than the work.

These functions are called thousands of times per map and check little: shapes and dtypes in the
library, and on the CPU that boxes fit. They raise ``RuntimeError`` where that fails.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Triple = Sequence[int]

CONV_TILE = 64  # output cells per tile of `conv` on CUDA, kConvTile in csrc/patches/conv.h

_ENDLESS = 1 << 30  # beyond any coordinate, and far from the end of int32


def gather(
    frames: Tensor,
    out: Tensor,
    *,
    source: Tensor | None = None,
    map_size: Triple | None = None,
    patches: Tensor | None = None,
    boxes: Tensor | None = None,
    pad: float = 0.0,
) -> Tensor:
    """Cut frames out of a map, with what changed laid over it.

    Parameters
    ----------
    frames : Tensor
        int32 ``[B, 6]``; may reach beyond the map. Entry ``[b, 0, 0, 0]`` of the result is the frame's
        low corner.
    out : Tensor
        ``[B, d, h, w, C]``, written: map plus patch inside the frame and the map, ``pad`` elsewhere.
    source : Tensor, optional
        The map ``[D, H, W, C]``; zero where not given.
    map_size : sequence of int, optional
        ``D, H, W`` of a map that is not given; without it the map has no upper end.
    patches, boxes : Tensor, optional
        What is added, and where it lies.
    pad : float
        Value beyond the map.

    Returns
    -------
    Tensor
        ``out``.
    """
    if source is not None:
        map_size = source.shape[:3]
    size = [_ENDLESS] * 3 if map_size is None else list(map_size)
    torch.ops.pyadx.patch_gather(source, patches, boxes, frames, size, pad, out)
    return out


def relu(patches: Tensor, boxes: Tensor, before: Tensor, scale: Tensor | None, out: Tensor) -> Tensor:
    """Change of ``relu(x)`` when ``x`` moves from ``before`` by ``scale * patches``.

    Parameters
    ----------
    patches, boxes : Tensor
        Change of the input, before scaling.
    before : Tensor
        Input of the ReLU in the unperturbed scan, ``[D, H, W, C]``.
    scale : Tensor, optional
        ``[C]``: the slope of a batch norm between patches and ReLU.
    out : Tensor
        Shape of ``patches``, which it may be itself.

    Returns
    -------
    Tensor
        ``out``.
    """
    torch.ops.pyadx.patch_relu(patches, boxes, before, scale, out)
    return out


def max_pool(
    patches: Tensor,
    boxes: Tensor,
    before: Tensor,
    kernel: Triple,
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    rectify: bool,
    out_boxes: Tensor,
    out: Tensor,
) -> Tensor:
    """Change of a max pooling, optionally with a ReLU before it.

    Parameters
    ----------
    patches, boxes : Tensor
        Change of the input.
    before : Tensor
        Input in the unperturbed scan ``[D, H, W, C]``: that of the ReLU if there is one.
    kernel, stride, padding, dilation : sequence of int
        As in ``torch.nn.MaxPool3d``, one value per axis.
    rectify : bool
        Whether a ReLU precedes.
    out_boxes : Tensor
        Cells of the pooled map to write.
    out : Tensor
        ``[B, d, h, w, C]``.

    Returns
    -------
    Tensor
        ``out``.
    """
    torch.ops.pyadx.patch_max_pool(
        patches, boxes, before, kernel, stride, padding, dilation, rectify, out_boxes, out
    )
    return out


def place(
    patches: Tensor, boxes: Tensor, out_boxes: Tensor, out: Tensor, *, channel: int = 0, add: bool = False
) -> Tensor:
    """Write patches into some channels of larger ones, or add them there.

    Parameters
    ----------
    patches, boxes : Tensor
        ``[B, D, H, W, C]``; must lie inside ``out_boxes``.
    out_boxes : Tensor
        Boxes of ``out``.
    out : Tensor
        ``[B, d, h, w, K]``; channels ``channel`` to ``channel + C`` are overwritten (zero outside the
        patch), or added to.

    Returns
    -------
    Tensor
        ``out``.
    """
    torch.ops.pyadx.patch_place(patches, boxes, out_boxes, channel, add, out)
    return out


def scatter(patches: Tensor, boxes: Tensor, source: Tensor, out: Tensor) -> Tensor:
    """Write a copy of the map for every patch, with the patch added: ``out`` is ``[B, D, H, W, C]``."""
    torch.ops.pyadx.patch_scatter(patches, boxes, source, out)
    return out


def total(patches: Tensor, boxes: Tensor, out: Tensor) -> Tensor:
    """Sum every patch over its box: ``out`` is ``[B, C]``. Summed in float64, always in one order."""
    torch.ops.pyadx.patch_sum(patches, boxes, out)
    return out


def dot(patches: Tensor, boxes: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    """Inner products of patches with weights as large as the map.

    Parameters
    ----------
    patches, boxes : Tensor
        ``[B, d, h, w, C]``; boxes lie inside the map.
    weight : Tensor
        ``[K, D, H, W, C]``.
    out : Tensor
        ``[B, K]``, written. On the CPU rows are summed in the dtype of the patches and added up in float64.

    Returns
    -------
    Tensor
        ``out``. The sum of every entry runs in one order, whatever else is in the batch.
    """
    torch.ops.pyadx.patch_dot(patches, boxes, weight, out)
    return out


def pack_weight(weight: Tensor, groups: int = 1) -> Tensor:
    """Bring a convolution's weight into the order that `conv` walks through.

    Parameters
    ----------
    weight : Tensor
        ``[K, C / groups, kd, kh, kw]``, float32 or float64, on the CPU.
    groups : int
        As in ``torch.nn.Conv3d``.

    Returns
    -------
    Tensor
        ``[groups, blocks, kd, kh, C / groups, kw, lanes]``: output channels in blocks of 32 bytes if
        all of a group fit into one, else of 64 bytes, zero beyond the last.
    """
    outputs, inputs, *kernel = weight.shape
    per_group = outputs // groups
    half = 32 // weight.element_size()
    lanes = half if per_group <= half else 2 * half
    blocks = -(-per_group // lanes)
    padded = weight.new_zeros(groups, blocks * lanes, inputs, *kernel)
    padded[:, :per_group] = weight.detach().reshape(groups, per_group, inputs, *kernel)
    split = padded.reshape(groups, blocks, lanes, inputs, *kernel)
    return split.permute(0, 1, 4, 5, 3, 6, 2).contiguous()


def pack_cuda_weight(weight: Tensor, groups: int = 1) -> Tensor:
    """Bring a convolution's weight into the order that `conv` walks through on CUDA.

    Parameters
    ----------
    weight : Tensor
        ``[K, C / groups, kd, kh, kw]``, float32 or float64.
    groups : int
        As in ``torch.nn.Conv3d``.

    Returns
    -------
    Tensor
        ``[groups, blocks, kd, kh, kw, C / groups, lanes]``: output channels in blocks of 8, 16, 32 or 64,
        the least that hold all of a group, zero beyond the last.
    """
    outputs, inputs, *kernel = weight.shape
    per_group = outputs // groups
    lanes = next((n for n in (8, 16, 32) if per_group <= n), 64)
    blocks = -(-per_group // lanes)
    padded = weight.new_zeros(groups, blocks * lanes, inputs, *kernel)
    padded[:, :per_group] = weight.detach().reshape(groups, per_group, inputs, *kernel)
    split = padded.reshape(groups, blocks, lanes, inputs, *kernel)
    return split.permute(0, 1, 4, 5, 6, 3, 2).contiguous()


def conv_work(out_boxes: np.ndarray) -> np.ndarray:
    """List what blocks of threads of `conv` do on CUDA: int32 ``[N, 2]``, (patch, tile of its box)."""
    cells = np.maximum(out_boxes[:, 3:] - out_boxes[:, :3], 0).astype(np.int64).prod(1)
    tiles = -(-cells // CONV_TILE)
    first = np.cumsum(tiles) - tiles
    patch = np.repeat(np.arange(len(tiles)), tiles)
    return np.stack([patch, np.arange(len(patch)) - first[patch]], 1).astype(np.int32)


def conv(
    patches: Tensor,
    boxes: Tensor,
    weight: Tensor,
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    out_boxes: Tensor,
    before: Tensor | None,
    out: Tensor,
    transformed: Tensor | None = None,
    tiled: Tensor | None = None,
    work: Tensor | None = None,
) -> Tensor:
    """Change of a convolution, optionally followed by a ReLU.

    On CUDA float32 is multiplied by tensor cores, split into two numbers of 11 bits (3xTF32).

    Parameters
    ----------
    patches, boxes : Tensor
        Change of the input, ``[B, D, H, W, C]``.
    weight : Tensor
        From `pack_weight`, on CUDA from `pack_cuda_weight`.
    stride, padding, dilation : sequence of int
        As in ``torch.nn.Conv3d``, one value per axis.
    out_boxes : Tensor
        Cells of the convolution's map to write.
    before : Tensor, optional
        The convolution's result in the unperturbed scan, ``[D, H, W, K]``, if a ReLU follows.
    out : Tensor
        ``[B, d, h, w, K]``.
    transformed : Tensor, optional
        From `pyadx.ops.toom_cook.transformed_weight` or `pyadx.ops.split.split_weight`, for 3x3x3 kernels
        of stride, dilation and groups one; CPU.
    tiled : Tensor, optional
        uint8 ``[B]``: the patches to convolve with it. Patches that hold NaN, infinity
        or values next to it, or of which outputs beyond their reach are asked for, are not all the same.
    work : Tensor, optional
        From `conv_work`; given on CUDA and nowhere else.

    Returns
    -------
    Tensor
        ``out``. The sum of every entry runs in one order, whatever else is in the batch.
    """
    torch.ops.pyadx.patch_conv(
        patches, boxes, weight, stride, padding, dilation, out_boxes, before, transformed, tiled, work, out
    )
    return out


def instruction_set() -> str:
    """Return which inner loops `conv` runs here: ``avx512``, ``avx2`` or ``portable``."""
    return str(torch.ops.pyadx.patch_instruction_set())


def _writes_out(*args: object) -> None:
    return None


for _name in ("gather", "relu", "max_pool", "place", "scatter", "sum", "dot", "conv"):
    torch.library.register_fake(f"pyadx::patch_{_name}")(_writes_out)
