"""Weights of 3x3x3 convolutions, split for products of bfloat16 (csrc/patches/split.h).

Processors with AMX multiply matrices of bfloat16. Changes and weights are split into three parts each;
six products of parts keep the digits of float32. G. Henry, P. Tang and A. Heinecke, "Leveraging the
bfloat16 artificial intelligence datatype for higher-precision computations", ARITH 2019.
"""

import torch
from torch import Tensor

_PARTS = 3
_LANES = 16  # output channels of a block
_DEPTH = 32  # inputs that one step sums
_RANGE = (2.0**-40, 2.0**40)  # of a layer's largest weight: parts and sums neither underflow nor overflow


def split_weight(weight: Tensor) -> Tensor | None:
    """Split a convolution's weight into parts of bfloat16, in the order of `pyadx.ops.patches.conv`.

    Parameters
    ----------
    weight : Tensor
        ``[K, C, 3, 3, 3]``, on the CPU.

    Returns
    -------
    Tensor or None
        bfloat16 ``[blocks, 9, chunks, 3, 16, 16, 2]``, padded with zeros. The axes are: blocks of 16 output
        channels; the 9 rows of taps (3 planes of 3 rows); chunks of 32 inputs (the 3 taps of a row times
        their channels); parts; pairs of inputs; output channels of the block; the two numbers of a pair.
        None where parts would leave the range of bfloat16: if the largest weight is below 2^-40 or above
        2^40, or weights are not finite. None also if ``weight`` is not float32.
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
    """Return how this machine computes products of bfloat16: ``amx``, or ``emulated``, which is slow.

    The environment variable ``PYADX_AMX=emulated`` chooses the emulation where the processor has AMX.
    """
    return str(torch.ops.pyadx.patch_split_arithmetic())


def _split(values: Tensor) -> list[Tensor]:
    """Return bfloat16 parts that add up to float32 values, the largest first."""
    parts = []
    for _ in range(_PARTS):
        parts.append(values.bfloat16())
        values = values - parts[-1].float()
    return parts
