"""How a coarse map is placed on the scan."""

from collections.abc import Sequence

from torch import Tensor, nn

from pyadx import ops
from pyadx.explainers.options import Align, MapOptions
from pyadx.inference.adapted import inside_of
from pyadx.inference.errors import UntraceableError
from pyadx.inference.receptive_field import Geometry, layer_geometry


class Placement:
    """Where the cells of a feature map are on a scan. Worked out once per layer and shape of scans.

    Parameters
    ----------
    align : {"stretch", "receptive_field"}
        ``stretch`` stretches the map over the whole scan, as the paper and MONAI do. ``receptive_field``
        puts every cell at the centre of its receptive field. Beyond the outermost centres the map is
        constant.
    """

    def __init__(self, align: Align) -> None:
        self.align = align
        self._kept: dict[object, Geometry] = {}

    def axes(
        self, model: nn.Module, layer: str, cells: Sequence[int], scan: Tensor
    ) -> tuple[list[float], list[float]]:
        """Return scale and offset per axis: voxel ``v`` reads the map at ``scale * v + offset``.

        Parameters
        ----------
        model : torch.nn.Module
            The model that the layer belongs to, in evaluation mode.
        layer : str
            Dotted name of the layer.
        cells : sequence of int
            Spatial shape of the layer's feature maps.
        scan : Tensor
            ``[C, D, H, W]``; only its shape, dtype and device matter.

        Raises
        ------
        ValueError
            If the layer's receptive field cannot be worked out.
        """
        if self.align == "stretch":
            return ops.stretch(cells, scan.shape[1:])
        geometry = self._geometry(model, layer, scan)
        scale = [1.0 / stride for stride in geometry.stride]
        return scale, [-o * s for o, s in zip(geometry.offset, scale, strict=True)]

    def trace(self, model: nn.Module, layer: str, scan: Tensor) -> None:
        """Trace the model now if `axes` will need the trace. Takes arguments of `axes`."""
        if self.align != "stretch":
            self._geometry(model, layer, scan)

    def _geometry(self, model: nn.Module, layer: str, scan: Tensor) -> Geometry:
        key = (inside_of(model), layer, scan.shape, scan.dtype, scan.device)
        if key not in self._kept:
            try:
                self._kept[key] = layer_geometry(model, layer, scan)
            except UntraceableError as error:
                raise ValueError(
                    f"align='receptive_field' is not possible for layer {layer!r}: {error}; "
                    "use align='stretch'"
                ) from None
        return self._kept[key]


def activation_map(
    placement: Placement,
    model: nn.Module,
    layer: str,
    features: Tensor,
    weights: Tensor,
    scans: Tensor,
    options: MapOptions,
) -> Tensor:
    """Return the rectified weighted sum of a layer's feature maps, resampled to the scan.

    Parameters
    ----------
    placement : Placement
        Where the cells are on the scan.
    model : torch.nn.Module
        The model that the layer belongs to.
    layer : str
        Dotted name of the layer.
    features, weights : Tensor
        Feature maps ``[B, K, d, h, w]`` and their weights ``[B, K]``.
    scans : Tensor
        ``[B, C, D, H, W]``; only shape, dtype and device matter.
    options : MapOptions
        Says how the sum is rectified.

    Returns
    -------
    Tensor
        float32 ``[B, D, H, W]``.
    """
    scale, offset = placement.axes(model, layer, features.shape[2:], scans[0])
    return ops.weighted_cam(features, weights, scans.shape[2:], options.rectify, scale, offset).float()
