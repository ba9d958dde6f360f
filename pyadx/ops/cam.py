"""Class activation maps in one pass: weighted channel sum, rectification, upsampling."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from pyadx.ops.library import check_floating, describe

Rectify = Literal["none", "abs", "relu"]


def check_rectify(rectify: str) -> None:
    """Raise ``ValueError`` unless ``rectify`` is a known mode."""
    if rectify not in get_args(Rectify):
        raise ValueError(f"rectify must be one of {', '.join(get_args(Rectify))}, got {rectify!r}")


def stretch(in_size: Sequence[int], out_size: Sequence[int]) -> tuple[list[float], list[float]]:
    """Return the scale and offset per axis that stretch one grid over another.

    The outer borders of both grids coincide, as in ``torch.nn.functional.interpolate`` with
    ``align_corners=False``.

    Parameters
    ----------
    in_size : sequence of int
        Cells of the feature grid along each axis.
    out_size : sequence of int
        Voxels of the result along each axis.

    Returns
    -------
    scale, offset : list of float
        Voxel ``v`` of the result is at feature coordinate ``scale * v + offset``.
    """
    scale = [n / max(1, m) for n, m in zip(in_size, out_size, strict=True)]
    return scale, [0.5 * s - 0.5 for s in scale]


def weighted_cam(
    features: Tensor,
    weights: Tensor,
    size: Sequence[int],
    rectify: Rectify = "none",
    scale: Sequence[float] | None = None,
    offset: Sequence[float] | None = None,
) -> Tensor:
    """Sum channels with weights, rectify, and upsample: a class activation map in one pass.

    Parameters
    ----------
    features : Tensor
        ``[B, K, d, h, w]``, float16, bfloat16, float32 or float64, CPU or CUDA. Contiguous and
        channels-last-3d features are read in place.
    weights : Tensor
        ``[B, K]``.
    size : sequence of int
        ``D, H, W`` of the result.
    rectify : {"none", "abs", "relu"}
        Applied to the channel sum, before upsampling.
    scale, offset : sequence of float, optional
        One value per axis: voxel ``v`` of the result is at feature coordinate ``scale * v + offset``.
        Coordinates outside the feature grid are clamped to it. By default the features are stretched
        over the whole result, as ``torch.nn.functional.interpolate(mode="trilinear")`` does.

    Returns
    -------
    Tensor
        ``[B, D, H, W]`` on the device of ``features``; float32, or float64 for float64 features.

    Raises
    ------
    TypeError
        If ``features`` is not a floating-point tensor.
    ValueError
        If a shape, ``size``, ``rectify``, ``scale`` or ``offset`` is not as described above.
    """
    check_floating("features", features, "[B,K,d,h,w]")
    if not isinstance(weights, Tensor) or weights.shape != features.shape[:2]:
        raise ValueError(
            f"weights must have shape {tuple(features.shape[:2])} ([B,K]), got {describe(weights)}"
        )
    check_rectify(rectify)
    size = [int(n) for n in size]
    if len(size) != 3 or min(size) < 0:
        raise ValueError(f"size must be three non-negative lengths D, H, W, got {size}")
    if min(features.shape[2:]) == 0 and min(size) > 0:
        raise ValueError(f"features of shape {tuple(features.shape)} have no voxels to upsample")
    stretched_scale, stretched_offset = stretch(features.shape[2:], size)
    scale = stretched_scale if scale is None else [float(s) for s in scale]
    offset = stretched_offset if offset is None else [float(o) for o in offset]
    if len(scale) != 3 or len(offset) != 3:
        raise ValueError(f"scale and offset need three values each, got {scale} and {offset}")
    sum_dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    weights = weights.detach().to(device=features.device, dtype=sum_dtype)
    return torch.ops.pyadx.weighted_cam(features.detach(), weights, size, rectify, scale, offset)


@torch.library.register_fake("pyadx::weighted_cam")
def _(
    features: Tensor,
    weights: Tensor,
    size: Sequence[int],
    rectify: str,
    scale: Sequence[float],
    offset: Sequence[float],
) -> Tensor:
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    return features.new_empty((features.shape[0], *size), dtype=dtype)
