"""Networks that are a chain of named layers."""

from torch import Tensor, nn


class NamedLayers(nn.Module):
    """A chain of layers; each one is a submodule with the name that it has in the published network."""

    def __init__(self) -> None:
        super().__init__()
        self._order: list[str] = []

    def append(self, name: str, module: nn.Module) -> None:
        """Add a layer at the end of the chain."""
        self.add_module(name, module)
        self._order.append(name)

    def features(self, volume: Tensor) -> Tensor:
        """Run the chain on scans ``[B, 1, D, H, W]``; return feature maps ``[B, K, d, h, w]``."""
        x = volume
        for name in self._order:
            x = getattr(self, name)(x)
        return x
