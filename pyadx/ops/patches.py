"""Operators on patches: how small boxes of a network's maps change, for incremental inference.

A map is a layer's activations for one scan, ``[D, H, W, C]``; a cell is one position on its grid. A patch
holds the changes of the cells in one box of a map. A batch of patches is ``[B, D, H, W, C]``, channels
innermost, with boxes ``[B, 6]`` (int32, half-open ``z0, y0, x0, z1, y1, x1``, in cells of the map). Entry
``[b, i, j, k]`` belongs to the cell at the box's low corner plus ``(i, j, k)``: its new value minus its
value in the unperturbed scan. Entries beyond the box count as zero. Patches and maps are float32 or
float64, contiguous, and on one device. Results are written into ``out``: these operators run in loops,
where allocating memory would cost more than the work.

These functions are called thousands of times per heatmap and check little. The library checks shapes and
dtypes, and on the CPU that boxes fit; on CUDA it checks boxes only with ``PYADX_DEBUG_BOXES=1``. A failed
check raises ``RuntimeError``.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Triple = Sequence[int]

CONV_TILE = 64  # output cells per tile of `conv` on CUDA, kConvTile in csrc/patches/conv.h

_ENDLESS = 1 << 30  # larger than any coordinate, and far from overflowing int32


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
    """Cut frames out of a map, with patches added.

    Parameters
    ----------
    frames : Tensor
        int32 ``[B, 6]``: the boxes to cut out, which may reach beyond the map. Entry ``[b, 0, 0, 0]`` of
        the result is the frame's low corner.
    out : Tensor
        ``[B, d, h, w, C]``, written: map plus patch inside both frame and map, ``pad`` elsewhere.
    source : Tensor, optional
        The map ``[D, H, W, C]``; without it the map is zero.
    map_size : sequence of int, optional
        ``D, H, W`` of the map if there is no ``source``; without either the map has no upper end.
    patches, boxes : Tensor, optional
        Changes that are added to the map, and their boxes.
    pad : float
        Value of entries outside the frame or the map.

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
    """Compute the change of ``relu(x)`` when ``x`` changes from ``before`` by ``scale * patches``.

    Parameters
    ----------
    patches, boxes : Tensor
        Change of the input, before scaling.
    before : Tensor
        Input of the ReLU in the unperturbed scan, ``[D, H, W, C]``.
    scale : Tensor, optional
        ``[C]``: the factors of a batch norm between patches and ReLU.
    out : Tensor
        Has the shape of ``patches``, and may be ``patches`` itself.

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
    """Compute the change of a max pooling, optionally with a ReLU before it.

    Parameters
    ----------
    patches, boxes : Tensor
        Change of the input.
    before : Tensor
        Input in the unperturbed scan, ``[D, H, W, C]``: of the ReLU if there is one, else of the pooling.
    kernel, stride, padding, dilation : sequence of int
        As in ``torch.nn.MaxPool3d``, one value per axis.
    rectify : bool
        Whether there is a ReLU before the pooling.
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
        ``[B, D, H, W, C]``; boxes must be inside ``out_boxes``.
    out_boxes : Tensor
        Boxes of ``out``.
    out : Tensor
        ``[B, d, h, w, K]``, of which channels ``channel`` to ``channel + C`` are written.
    channel : int
        First channel to write.
    add : bool
        Add to what ``out`` holds. Otherwise it is overwritten, with zero outside the patch.

    Returns
    -------
    Tensor
        ``out``.
    """
    torch.ops.pyadx.patch_place(patches, boxes, out_boxes, channel, add, out)
    return out


def scatter(patches: Tensor, boxes: Tensor, source: Tensor, out: Tensor) -> Tensor:
    """Copy the map ``source`` once per patch, with the patch added; ``out`` is ``[B, D, H, W, C]``."""
    torch.ops.pyadx.patch_scatter(patches, boxes, source, out)
    return out


def total(patches: Tensor, boxes: Tensor, out: Tensor) -> Tensor:
    """Sum every patch over its box, in float64 and always in the same order; ``out`` is ``[B, C]``."""
    torch.ops.pyadx.patch_sum(patches, boxes, out)
    return out


def dot(patches: Tensor, boxes: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    """Compute inner products of patches with weights as large as the map, always in the same order.

    Parameters
    ----------
    patches, boxes : Tensor
        ``[B, d, h, w, C]``; boxes must be inside the map.
    weight : Tensor
        ``[K, D, H, W, C]``.
    out : Tensor
        ``[B, K]``. On the CPU, rows are summed in the dtype of the patches, and these sums in float64.

    Returns
    -------
    Tensor
        ``out``.
    """
    torch.ops.pyadx.patch_dot(patches, boxes, weight, out)
    return out


def pack_weight(weight: Tensor, groups: int = 1) -> Tensor:
    """Lay out a convolution's weight in the order in which `conv` reads it on the CPU.

    Parameters
    ----------
    weight : Tensor
        ``[K, C / groups, kd, kh, kw]``, float32 or float64, on the CPU.
    groups : int
        As in ``torch.nn.Conv3d``.

    Returns
    -------
    Tensor
        ``[groups, blocks, kd, kh, C / groups, kw, lanes]``. Blocks hold 32 bytes of output channels if a
        group's channels fit into one, else 64 bytes; the last block is padded with zeros.
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
    """Lay out a convolution's weight in the order in which `conv` reads it on CUDA.

    Parameters
    ----------
    weight : Tensor
        ``[K, C / groups, kd, kh, kw]``, float32 or float64.
    groups : int
        As in ``torch.nn.Conv3d``.

    Returns
    -------
    Tensor
        ``[groups, blocks, kd, kh, kw, C / groups, lanes]``. Blocks hold 8, 16 or 32 output channels, the
        fewest that hold a whole group, or 64 if none does; the last block is padded with zeros.
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
    """List the work of `conv`'s thread blocks on CUDA: int32 ``[N, 2]``, a patch and a tile of its box."""
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
    """Compute the change of a convolution, optionally followed by a ReLU.

    On CUDA, tensor cores multiply float32 as two numbers of 11 bits each (3xTF32). The order of each sum
    does not depend on what else is in the batch.

    Parameters
    ----------
    patches, boxes : Tensor
        Change of the input, ``[B, D, H, W, C]``.
    weight : Tensor
        From `pack_weight`; on CUDA from `pack_cuda_weight`.
    stride, padding, dilation : sequence of int
        As in ``torch.nn.Conv3d``, one value per axis.
    out_boxes : Tensor
        Cells of the output map to write.
    before : Tensor, optional
        The ReLU's input in the unperturbed scan, ``[D, H, W, K]``, if a ReLU follows.
    out : Tensor
        ``[B, d, h, w, K]``.
    transformed : Tensor, optional
        The weight from `pyadx.ops.toom_cook.transformed_weight` or `pyadx.ops.split.split_weight`. Only on
        the CPU, for 3x3x3 kernels with stride, dilation and groups of one.
    tiled : Tensor, optional
        uint8 ``[B]``: which patches to convolve with ``transformed``; the others are convolved tap by tap.
        So are patches that hold NaN, infinity or values too large or small for that algorithm, and, with
        Toom-Cook tiles, patches that do not reach all cells of their output box.
    work : Tensor, optional
        From `conv_work`; needed on CUDA, and only there.

    Returns
    -------
    Tensor
        ``out``.
    """
    torch.ops.pyadx.patch_conv(
        patches, boxes, weight, stride, padding, dilation, out_boxes, before, transformed, tiled, work, out
    )
    return out


def instruction_set() -> str:
    """Return the instruction set of the CPU loops of `conv`: ``avx512``, ``avx2`` or ``portable``."""
    return str(torch.ops.pyadx.patch_instruction_set())


def _writes_out(*args: object) -> None:
    return None


for _name in ("gather", "relu", "max_pool", "place", "scatter", "sum", "dot", "conv"):
    torch.library.register_fake(f"pyadx::patch_{_name}")(_writes_out)
