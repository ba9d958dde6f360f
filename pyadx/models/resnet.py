"""3D-ResNet and its two variants with global average pooling (paper section 3.1, figure 1).

The layers are those of the tables in Korolev et al. (ISBI 2017): pre-activation residual blocks, and
convolutions of 3x3x3 with padding 1. Submodules have the names of the published network.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyadx.models.initialise import glorot_
from pyadx.models.layers import NamedLayers
from pyadx.models.sizes import Step, final_size

_POOL = 7
# The stem's three convolutions, and the later ones with stride 2; the other convolutions keep the size.
_STEM: list[Step] = [(3, 1, 1), (3, 1, 1), (3, 2, 1)]
_DOWN: list[Step] = [(3, 2, 1), (3, 2, 1)]


def _norm(channels: int) -> nn.BatchNorm3d:
    return nn.BatchNorm3d(channels, eps=1e-4, momentum=0.1)


def _conv(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(channels_in, channels_out, 3, stride=stride, padding=1)


class VoxRes(nn.Module):
    """Pre-activation residual block ``x + conv2(relu2(bn2(conv1(relu1(bn1(x))))))``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn1, self.relu1, self.conv1 = _norm(channels), nn.ReLU(), _conv(channels, channels)
        self.bn2, self.relu2, self.conv2 = _norm(channels), nn.ReLU(), _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, channels, d, h, w]`` to the same shape."""
        y = self.conv1(self.relu1(self.bn1(x)))
        return x + self.conv2(self.relu2(self.bn2(y)))


class _Trunk(NamedLayers):
    """The first layers, which all variants share."""

    def __init__(self) -> None:
        super().__init__()
        self.append("conv1a", _conv(1, 32))
        self._append_norm("1a", 32)
        self.append("conv1b", _conv(32, 32))
        self._append_norm("1b", 32)
        self.append("conv1c", _conv(32, 64, stride=2))
        self.append("voxres2", VoxRes(64))
        self.append("voxres3", VoxRes(64))
        self._append_norm("4", 64)

    def _append_norm(self, suffix: str, channels: int) -> None:
        self.append(f"bn{suffix}", _norm(channels))
        self.append(f"relu{suffix}", nn.ReLU())

    def _append_deep(self) -> None:
        """Append everything from conv4 to voxres9_out."""
        self.append("conv4", _conv(64, 64, stride=2))
        self.append("voxres5", VoxRes(64))
        self.append("voxres6", VoxRes(64))
        self._append_norm("7", 64)
        self.append("conv7", _conv(64, 128, stride=2))
        self.append("voxres8", VoxRes(128))
        self.append("voxres9", VoxRes(128))
        # Gives the last feature maps their published name, which explainers can use as a layer.
        self.append("voxres9_out", nn.Identity())


class ResNet3D(_Trunk):
    """3D-ResNet of six residual blocks, max pooling and two fully connected layers.

    Parameters
    ----------
    in_shape : sequence of int
        Spatial input shape ``D, H, W``; at least 49 along every axis.
    num_classes : int
        Number of outputs (logits).

    Raises
    ------
    ValueError
        If ``in_shape`` is too small for the 7x7x7 max pooling.
    """

    gradcam_layer = "voxres9_out"

    def __init__(self, in_shape: Sequence[int] = (110, 110, 110), num_classes: int = 2) -> None:
        super().__init__()
        self._append_deep()
        size = final_size("3D-ResNet", in_shape, [*_STEM, *_DOWN, (_POOL, _POOL, 0)])
        self.pool10 = nn.MaxPool3d(_POOL)
        self.fc11 = nn.Linear(128 * size[0] * size[1] * size[2], 128)
        self.relu11 = nn.ReLU()
        self.fc12 = nn.Linear(128, num_classes)
        glorot_(self)

    def forward(self, volume: Tensor) -> Tensor:
        """Map ``[B, 1, D, H, W]`` to logits ``[B, num_classes]``."""
        x = torch.flatten(self.pool10(self.features(volume)), 1)
        return self.fc12(self.relu11(self.fc11(x)))


class _GapHead(_Trunk):
    """Global average pooling directly before the output layer, as 3D-CAM requires."""

    def _append_head(self, channels: int, num_classes: int) -> None:
        self.gap = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(channels, num_classes)
        glorot_(self)

    def forward(self, volume: Tensor) -> Tensor:
        """Map ``[B, 1, D, H, W]`` to logits ``[B, num_classes]``."""
        return self.fc(torch.flatten(self.gap(self.features(volume)), 1))


class ResNet3DGAP(_GapHead):
    """3D-ResNet-GAP: voxres9_out, global average pooling, output layer.

    Parameters
    ----------
    in_shape : sequence of int
        Not used, because the network takes any spatial shape.
    num_classes : int
        Number of outputs (logits).
    """

    gradcam_layer = "voxres9_out"

    def __init__(self, in_shape: Sequence[int] = (110, 110, 110), num_classes: int = 2) -> None:
        super().__init__()
        self._append_deep()
        self._append_head(128, num_classes)


class ResNet3DShallowGAP(_GapHead):
    """3D-ResNet-Shallow-GAP: relu4 (half the input's resolution), global average pooling, output layer.

    Parameters
    ----------
    in_shape : sequence of int
        Not used, because the network takes any spatial shape.
    num_classes : int
        Number of outputs (logits).
    """

    gradcam_layer = "relu4"

    def __init__(self, in_shape: Sequence[int] = (110, 110, 110), num_classes: int = 2) -> None:
        super().__init__()
        self._append_head(64, num_classes)
