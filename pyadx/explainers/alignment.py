"""How a coarse map is laid over the scan."""

from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor, nn

from pyadx import ops
from pyadx.inference.receptive_field import UntraceableError, layer_geometry

Align = Literal["stretch", "receptive_field"]


def check_align(align: str) -> None:
    """Raise ``ValueError`` unless ``align`` is a known way."""
    if align not in get_args(Align):
        raise ValueError(f"align must be one of {', '.join(get_args(Align))}, got {align!r}")


def placement(
    model: nn.Module, layer: str, cells: Sequence[int], voxels: Sequence[int], align: Align
) -> tuple[list[float], list[float]]:
    """Scale and offset per axis: voxel ``v`` reads the map at ``scale * v + offset``.

    Parameters
    ----------
    model : torch.nn.Module
        The model that the layer belongs to.
    layer : str
        Dotted name of the layer.
    cells, voxels : sequence of int
        Spatial shape of the layer's map and of the scan.
    align : {"stretch", "receptive_field"}
        ``stretch`` lays the map over the whole scan, as the paper and MONAI do. ``receptive_field``
        puts every cell at the centre of the voxels that it sees; outside the range of the centres
        the map is clamped.

    Raises
    ------
    ValueError
        If the geometry of the layer cannot be worked out.
    """
    if align == "stretch":
        return ops.stretch(cells, voxels)
    try:
        geometry = layer_geometry(model, layer)
    except UntraceableError as error:
        raise ValueError(
            f"align='receptive_field' is not possible for layer {layer!r}: {error}; use align='stretch'"
        ) from None
    scale = [1.0 / stride for stride in geometry.stride]
    return scale, [-o * s for o, s in zip(geometry.offset, scale, strict=True)]


def activation_map(
    model: nn.Module,
    layer: str,
    features: Tensor,
    weights: Tensor,
    voxels: Sequence[int],
    rectify: ops.Rectify,
    align: Align,
) -> Tensor:
    """Return the rectified weighted sum of a layer's maps, laid over the scan.

    Parameters
    ----------
    model : torch.nn.Module
        The model that the layer belongs to.
    layer : str
        Dotted name of the layer.
    features, weights : Tensor
        ``[B, K, d, h, w]`` and ``[B, K]``.
    voxels : sequence of int
        Spatial shape ``D, H, W`` of the scan.
    rectify : {"none", "abs", "relu"}
        Applied to the weighted sum.
    align : {"stretch", "receptive_field"}
        See `placement`.

    Returns
    -------
    Tensor
        float32 ``[B, D, H, W]``.
    """
    scale, offset = placement(model, layer, features.shape[2:], voxels, align)
    return ops.weighted_cam(features, weights, voxels, rectify, scale, offset).float()
