"""Small networks that tests explain: every structure that explainers must cope with."""

import torch
import torch.nn.functional as F
from torch import nn


def randomised(model, seed=0):
    """Give weights, biases and batch-norm statistics random values, so that nothing cancels."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) - 0.4)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.5)
    return model


def lively(model, scans, seed=0):
    """Give a deep network weights that keep activations at one size, and the batch statistics of scans.

    A change of the input then reaches the class scores neither faded nor blown up, as after training.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor, low, high):
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                deviation = (2 / module.weight[0].numel()) ** 0.5
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * deviation)
                if module.bias is not None:
                    uniform(module.bias, -0.1, 0.1)
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm3d):
                uniform(module.weight, 0.5, 1.5)
                uniform(module.bias, -0.2, 0.2)
                module.momentum = 0.5
        model.train()(scans)
    return model.eval()


class Plain(nn.Module):
    """Convolutions, in-place activations, pooling, dropout, a linear head; any number of channels."""

    def __init__(self, in_channels=1, classes=2):
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, 4, 3)
        self.bn1 = nn.BatchNorm3d(4)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool3d(2)
        self.conv2 = nn.Conv3d(4, 6, 3, padding=1)
        self.relu2 = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Sequential(nn.AdaptiveMaxPool3d(2), nn.Flatten(), nn.Linear(48, classes))

    def forward(self, x):
        x = self.pool(self.relu1(self.bn1(self.conv1(x))))
        return self.head(self.drop(self.relu2(self.conv2(x))))


class Gap(nn.Module):
    """Global average pooling written as a plain mean, with a skip connection before it."""

    def __init__(self, classes=2):
        super().__init__()
        self.conv1 = nn.Conv3d(1, 5, 3, padding=1)
        self.conv2 = nn.Conv3d(5, 5, 3, padding=1)
        self.act = nn.ReLU()
        self.fc = nn.Linear(5, classes)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = self.act(x + self.conv2(x))
        return self.fc(x.mean((2, 3, 4)))


class Raises(nn.Module):
    """Fails in the middle of its forward pass."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(1, 2, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        self.conv(x)
        raise RuntimeError("the model broke")
