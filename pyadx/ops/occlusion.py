"""Batched occlusion: copies of a volume, each with one region filled."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pyadx.ops.arrays import plain_tensor
from pyadx.ops.library import check_floating, describe, integer_rows
from pyadx.ops.numbers import real_number

Fill = float | Sequence[float] | np.ndarray | Tensor


def fill_tensor(fill: Fill, volume: Tensor) -> Tensor:
    """Convert a fill to a tensor of four dimensions that broadcasts to ``volume``.

    Parameters
    ----------
    fill : float, sequence of float, array or Tensor
        A scalar; one value per channel (``[C]``); or a whole volume to copy from (``[D, H, W]``, or
        ``[C, D, H, W]`` where axes may have length one).
    volume : Tensor
        ``[C, D, H, W]``.

    Returns
    -------
    Tensor
        ``[1|C, 1|D, 1|H, 1|W]``, dtype and device of ``volume``.

    Raises
    ------
    TypeError
        If ``fill`` does not hold real numbers.
    ValueError
        If its shape is none of the above.
    """
    number = real_number(fill)
    if number is not None:
        return volume.new_full((1, 1, 1, 1), number)
    given = fill if isinstance(fill, Tensor) else np.asanyarray(fill)
    tensor = plain_tensor("fill", given).to(device=volume.device, dtype=volume.dtype)
    if tensor.dim() == 0:
        return tensor.reshape(1, 1, 1, 1)
    if tensor.dim() == 1 and tensor.shape[0] == volume.shape[0]:
        return tensor.reshape(-1, 1, 1, 1)
    if tensor.dim() == 3 and tensor.shape == volume.shape[1:]:
        return tensor[None]
    if tensor.dim() == 4 and all(n in (1, m) for n, m in zip(tensor.shape, volume.shape, strict=True)):
        return tensor
    raise ValueError(
        "fill must be a number, one number per channel, or a volume of the scan's shape "
        f"{tuple(volume.shape)}, got shape {tuple(tensor.shape)}"
    )


def _check_out(out: Tensor, volume: Tensor, batch: int) -> None:
    shape = (batch, *volume.shape)
    if tuple(out.shape) != shape or out.dtype != volume.dtype or out.device != volume.device:
        raise ValueError(
            f"out must be {volume.dtype} of shape {shape} on {volume.device}, "
            f"got {describe(out)} on {out.device}"
        )
    if not out.is_contiguous():
        raise ValueError("out must be contiguous")


def occlude_boxes(volume: Tensor, boxes: Tensor, fill: Fill = 0.0, *, out: Tensor | None = None) -> Tensor:
    """Copy a volume once per box, each copy with its box filled.

    Parameters
    ----------
    volume : Tensor
        ``[C, D, H, W]``, float16, bfloat16, float32 or float64, CPU or CUDA, any strides.
    boxes : Tensor
        Integers ``[B, 6]``: half-open boxes ``z0, y0, x0, z1, y1, x1`` in voxels. Boxes are clipped
        to the volume; a box outside it changes nothing.
    fill : float, sequence of float, or Tensor
        A scalar, one value per channel, or a whole volume to copy from (see `fill_tensor`).
    out : Tensor, optional
        Contiguous ``[B, C, D, H, W]`` buffer to write into. Reuse one in loops: allocating memory costs
        more than the copy.

    Returns
    -------
    Tensor
        ``[B, C, D, H, W]``, dtype and device of ``volume``.

    Raises
    ------
    TypeError
        If ``volume`` is not a floating-point tensor, or ``boxes`` does not hold integers.
    ValueError
        If a shape does not fit, or ``out`` does not match the result.
    """
    check_floating("volume", volume, "[C,D,H,W]")
    boxes = integer_rows("boxes", boxes, 6, volume.device)
    volume, fill = volume.detach(), fill_tensor(fill, volume)
    if out is None:
        return torch.ops.pyadx.occlude_boxes(volume, boxes, fill)
    _check_out(out, volume, boxes.shape[0])
    torch.ops.pyadx.occlude_boxes_out(volume, boxes, fill, out)
    return out


def occlude_labels(
    volume: Tensor,
    labels: Tensor,
    intervals: Tensor,
    fill: Fill = 0.0,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Copy a volume once per label interval, each copy with the voxels in the interval filled.

    Parameters
    ----------
    volume : Tensor
        ``[C, D, H, W]``, float16, bfloat16, float32 or float64, CPU or CUDA, any strides.
    labels : Tensor
        int32 ``[D, H, W]`` on the same device, such as the leaves of a segmentation hierarchy.
    intervals : Tensor
        Integers ``[B, 2]``: voxels with ``lo <= label < hi`` are filled; ``lo >= hi`` fills nothing.
    fill : float, sequence of float, or Tensor
        A scalar, one value per channel, or a whole volume to copy from (see `fill_tensor`).
    out : Tensor, optional
        Contiguous ``[B, C, D, H, W]`` buffer to write into.

    Returns
    -------
    Tensor
        ``[B, C, D, H, W]``, dtype and device of ``volume``.

    Raises
    ------
    TypeError
        If ``volume`` is not a floating-point tensor, ``labels`` is not int32, or ``intervals`` does not
        hold integers.
    ValueError
        If a shape or device does not fit, or ``out`` does not match the result.
    """
    check_floating("volume", volume, "[C,D,H,W]")
    if isinstance(labels, np.ndarray) and labels.dtype.kind == "i" and labels.dtype.itemsize == 4:
        labels = plain_tensor("labels", labels).to(volume.device)
    if not isinstance(labels, Tensor) or labels.dtype != torch.int32:
        raise TypeError(f"labels must be an int32 tensor [D,H,W], got {describe(labels)}")
    if labels.shape != volume.shape[1:]:
        raise ValueError(
            f"labels must have the volume's spatial shape {tuple(volume.shape[1:])}, "
            f"got {tuple(labels.shape)}"
        )
    if labels.device != volume.device:
        raise ValueError(
            f"labels must be on the volume's device {volume.device}, got {labels.device}; use .to(...)"
        )
    intervals = integer_rows("intervals", intervals, 2, volume.device)
    volume, fill = volume.detach(), fill_tensor(fill, volume)
    if out is None:
        return torch.ops.pyadx.occlude_labels(volume, labels, intervals, fill)
    _check_out(out, volume, intervals.shape[0])
    torch.ops.pyadx.occlude_labels_out(volume, labels, intervals, fill, out)
    return out


@torch.library.register_fake("pyadx::occlude_boxes")
def _(volume: Tensor, boxes: Tensor, fill: Tensor) -> Tensor:
    return volume.new_empty((boxes.shape[0], *volume.shape))


@torch.library.register_fake("pyadx::occlude_boxes_out")
def _(volume: Tensor, boxes: Tensor, fill: Tensor, out: Tensor) -> None:
    return None


@torch.library.register_fake("pyadx::occlude_labels")
def _(volume: Tensor, labels: Tensor, intervals: Tensor, fill: Tensor) -> Tensor:
    return volume.new_empty((intervals.shape[0], *volume.shape))


@torch.library.register_fake("pyadx::occlude_labels_out")
def _(volume: Tensor, labels: Tensor, intervals: Tensor, fill: Tensor, out: Tensor) -> None:
    return None
