"""How a coarse map is laid over the scan."""

from collections.abc import Sequence

from torch import Tensor, nn

from pyadx import ops
from pyadx.explainers.options import Align, MapOptions
from pyadx.inference.receptive_field import UntraceableError, layer_geometry


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
    options: MapOptions,
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
    options : MapOptions
        How the sum is rectified and laid over the scan.

    Returns
    -------
    Tensor
        float32 ``[B, D, H, W]``.
    """
    scale, offset = placement(model, layer, features.shape[2:], voxels, options.align)
    return ops.weighted_cam(features, weights, voxels, options.rectify, scale, offset).float()
