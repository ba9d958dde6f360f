"""The native operators: checked arguments in, tensors out, on CPU and CUDA.

The operators are registered as ``torch.ops.pyadx.*`` by the compiled library ``pyadx/_C.so``. This
module is their only caller inside the package: it words the errors, brings arguments into the form
the kernels take, and registers the fake (shape-only) kernels that ``torch.compile`` needs. None of
the operators is differentiable; results never require gradients.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

__all__ = ["Fill", "Rectify", "occlude_boxes", "occlude_labels", "weighted_cam"]

Fill = float | Sequence[float] | Tensor
Rectify = Literal["none", "abs", "relu"]

_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_LIBRARY = Path(__file__).with_name("_C.so")


def _load_library() -> None:
    try:
        torch.ops.load_library(str(_LIBRARY))
    except OSError as error:
        raise ImportError(
            f"the compiled operators of pyadx could not be loaded from {_LIBRARY}: {error}. Install a "
            "wheel, or build from source with: pip install --no-build-isolation ."
        ) from error


_load_library()


def _describe(tensor: object) -> str:
    if isinstance(tensor, Tensor):
        return f"{tensor.dtype} of shape {tuple(tensor.shape)}"
    return f"{type(tensor).__name__}"


def _check_floating(name: str, tensor: object, shape: str) -> None:
    """Check that ``tensor`` is a floating-point tensor with the axes written in ``shape``."""
    axes = shape.strip("[]").split(",")
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor {shape}, got {_describe(tensor)}")
    if tensor.dtype not in _FLOATING:
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64, got {_describe(tensor)}")
    if tensor.dim() != len(axes):
        raise ValueError(f"{name} must have shape {shape}, got {_describe(tensor)}")


def _integer_rows(name: str, rows: object, columns: int, device: torch.device) -> Tensor:
    """Bring boxes or intervals into int64 ``[B, columns]`` on ``device``."""
    tensor = torch.as_tensor(rows)
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers, got {_describe(tensor)}")
    if tensor.dim() != 2 or tensor.shape[1] != columns:
        raise ValueError(f"{name} must have shape [B, {columns}], got {_describe(tensor)}")
    return tensor.to(device=device, dtype=torch.int64)


def fill_tensor(fill: Fill, volume: Tensor) -> Tensor:
    """Bring a fill into four dimensions that broadcast to ``volume``.

    Parameters
    ----------
    fill : float, sequence of float, or Tensor
        A scalar; one value per channel (``[C]``); or a whole volume (``[D, H, W]`` or
        ``[C, D, H, W]``, where axes of length one are repeated) to copy from.
    volume : Tensor
        ``[C, D, H, W]``.

    Returns
    -------
    Tensor
        ``[1|C, 1|D, 1|H, 1|W]``, the dtype and device of ``volume``.

    Raises
    ------
    ValueError
        If the fill fits none of these forms.
    """
    if isinstance(fill, int | float):
        return volume.new_full((1, 1, 1, 1), fill)
    tensor = torch.as_tensor(fill).detach().to(device=volume.device, dtype=volume.dtype)
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
            f"got {_describe(out)} on {out.device}"
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
        at the border of the volume; a box outside it changes nothing.
    fill : float, sequence of float, or Tensor
        A scalar, one value per channel, or a whole volume to copy from (see `fill_tensor`).
    out : Tensor, optional
        Contiguous ``[B, C, D, H, W]`` buffer to write into, for use in loops: taking fresh memory
        costs more than the copy.

    Returns
    -------
    Tensor
        ``[B, C, D, H, W]``, dtype and device of ``volume``.

    Raises
    ------
    TypeError, ValueError
        If a dtype or shape does not fit; the message repeats what was given.
    """
    _check_floating("volume", volume, "[C,D,H,W]")
    boxes = _integer_rows("boxes", boxes, 6, volume.device)
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
    TypeError, ValueError
        If a dtype, shape or device does not fit; the message repeats what was given.
    """
    _check_floating("volume", volume, "[C,D,H,W]")
    if not isinstance(labels, Tensor) or labels.dtype != torch.int32:
        raise TypeError(f"labels must be an int32 tensor [D,H,W], got {_describe(labels)}")
    if labels.shape != volume.shape[1:]:
        raise ValueError(
            f"labels must have the volume's spatial shape {tuple(volume.shape[1:])}, "
            f"got {tuple(labels.shape)}"
        )
    if labels.device != volume.device:
        raise ValueError(f"labels are on {labels.device}, the volume is on {volume.device}")
    intervals = _integer_rows("intervals", intervals, 2, volume.device)
    volume, fill = volume.detach(), fill_tensor(fill, volume)
    if out is None:
        return torch.ops.pyadx.occlude_labels(volume, labels, intervals, fill)
    _check_out(out, volume, intervals.shape[0])
    torch.ops.pyadx.occlude_labels_out(volume, labels, intervals, fill, out)
    return out


def check_rectify(rectify: str) -> None:
    """Raise ``ValueError`` unless ``rectify`` is a known way."""
    if rectify not in get_args(Rectify):
        raise ValueError(f"rectify must be one of {', '.join(get_args(Rectify))}, got {rectify!r}")


def stretch(in_size: Sequence[int], out_size: Sequence[int]) -> tuple[list[float], list[float]]:
    """Scale and offset per axis that stretch a grid over another, as ``interpolate`` does.

    The cell that voxel ``v`` falls on is ``scale * v + offset``; cells and voxels are matched by
    their outer borders (``align_corners=False``).
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
    """Weighted channel sum, rectified, then upsampled: a class activation map in one pass.

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
        Per axis, the feature coordinate of voxel ``v`` is ``scale * v + offset``; coordinates outside
        the feature grid are clamped to it. By default the features are stretched over the whole
        grid, as ``torch.nn.functional.interpolate(mode="trilinear")`` does.

    Returns
    -------
    Tensor
        ``[B, D, H, W]``; float32, or float64 for float64 features.

    Raises
    ------
    TypeError, ValueError
        If a dtype, shape or option does not fit; the message repeats what was given.
    """
    _check_floating("features", features, "[B,K,d,h,w]")
    if not isinstance(weights, Tensor) or weights.shape != features.shape[:2]:
        raise ValueError(
            f"weights must have shape {tuple(features.shape[:2])} ([B,K]), got {_describe(weights)}"
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
