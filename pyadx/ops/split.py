"""Weights of 3x3x3 convolutions for products of bfloat16 (csrc/patches/split.h).

Processors with AMX multiply matrices of bfloat16. Changes and weights in three parts each, and six
products of them, keep the digits of float32.
"""

import torch
from torch import Tensor

_PARTS = 3
_LANES = 16  # output channels of a block
_DEPTH = 32  # inputs that are summed in one step
_RANGE = (2.0**-40, 2.0**40)  # of a layer's largest weight: parts and sums neither vanish nor overflow


def split_weight(weight: Tensor) -> Tensor | None:
    """Split a convolution's weight into parts of bfloat16, in the order of `pyadx.ops.patches.conv`.

    Parameters
    ----------
    weight : Tensor
        ``[K, C, 3, 3, 3]``, on the CPU.

    Returns
    -------
    Tensor or None
        bfloat16 ``[blocks, 9, chunks, 3, 16, 16, 2]``: blocks of 16 output channels; planes and rows of
        taps; the taps of a row and their channels in chunks of 32; parts; pairs; output channels; both
        numbers of a pair. Zero beyond the last. None where parts would leave the range of bfloat16: for
        weights whose largest is below 2^-40 or above 2^40, or that are not finite. None for other dtypes
        than float32, too.
    """
    if weight.dtype != torch.float32:
        return None
    outputs, channels = weight.shape[:2]
    largest = float(weight.detach().abs().amax()) if weight.numel() else 0.0
    if not _RANGE[0] <= largest <= _RANGE[1]:
        return None
    blocks, chunks = -(-outputs // _LANES), -(-3 * channels // _DEPTH)
    rows = weight.detach().permute(2, 3, 4, 1, 0).reshape(9, 3 * channels, outputs)
    padded = rows.new_zeros(9, chunks * _DEPTH, blocks * _LANES)
    padded[:, : 3 * channels, :outputs] = rows
    parts = torch.stack(_split(padded))
    shaped = parts.reshape(_PARTS, 9, chunks, _DEPTH // 2, 2, blocks, _LANES)
    return shaped.permute(5, 1, 2, 0, 3, 6, 4).contiguous()


def arithmetic() -> str:
    """Return how products of bfloat16 are worked out here: ``amx`` or ``emulated``, which is slow.

    ``PYADX_AMX=emulated`` in the environment asks for the emulation where the processor has AMX.
    """
    return str(torch.ops.pyadx.patch_split_arithmetic())


def _split(values: Tensor) -> list[Tensor]:
    parts = []
    for _ in range(_PARTS):
        parts.append(values.bfloat16())
        values = values - parts[-1].float()
    return parts
