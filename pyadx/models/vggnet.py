"""3D-VGGNet (paper section 3.1; layer table of Korolev et al., ISBI 2017)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyadx.models.initialise import glorot_
from pyadx.models.layers import NamedLayers
from pyadx.models.sizes import Step, final_size

# Letters of the convolutions in each block, and their channels; a 2x2x2 max pooling ends each block.
_BLOCKS = (("ab", 8), ("ab", 16), ("abc", 32), ("abc", 64))


class VGGNet3D(NamedLayers):
    """Plain 3D CNN of four convolution blocks and three fully connected layers.

    Submodules have the names of the published network: ``conv1a`` to ``conv4c``, ``pool1`` to ``pool4``,
    ``fc5``, ``bn5``, ``fc6``, ``fc7``. Each convolution ``convNx`` is followed by ``reluNx``.

    Parameters
    ----------
    in_shape : sequence of int
        Spatial input shape ``D, H, W``; at least 100 along every axis.
    num_classes : int
        Number of outputs (logits).

    Raises
    ------
    ValueError
        If ``in_shape`` is too small for the four blocks.
    """

    gradcam_layer = "conv4c"

    def __init__(self, in_shape: Sequence[int] = (110, 110, 110), num_classes: int = 2) -> None:
        super().__init__()
        steps: list[Step] = []
        channels = 1
        for number, (letters, width) in enumerate(_BLOCKS, start=1):
            for letter in letters:
                self.append(f"conv{number}{letter}", nn.Conv3d(channels, width, 3))
                self.append(f"relu{number}{letter}", nn.ReLU())
                steps.append((3, 1, 0))
                channels = width
            self.append(f"pool{number}", nn.MaxPool3d(2))
            steps.append((2, 2, 0))
        size = final_size("3D-VGGNet", in_shape, steps)
        self.fc5 = nn.Linear(channels * size[0] * size[1] * size[2], 128)
        self.relu5 = nn.ReLU()
        self.bn5 = nn.BatchNorm1d(128, eps=1e-4, momentum=0.1)
        self.drop5 = nn.Dropout(0.7)
        self.fc6 = nn.Linear(128, 64)
        self.relu6 = nn.ReLU()
        self.fc7 = nn.Linear(64, num_classes)
        glorot_(self)

    def forward(self, volume: Tensor) -> Tensor:
        """Map ``[B, 1, D, H, W]`` to logits ``[B, num_classes]``."""
        x = torch.flatten(self.features(volume), 1)
        x = self.drop5(self.bn5(self.relu5(self.fc5(x))))
        return self.fc7(self.relu6(self.fc6(x)))
