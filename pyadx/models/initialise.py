"""Weight initialisation of the paper's networks."""

from torch import nn


def glorot_(model: nn.Module) -> None:
    """Set convolutions and linear layers to Glorot-uniform weights and zero biases, in place."""
    for module in model.modules():
        if isinstance(module, nn.Conv3d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
