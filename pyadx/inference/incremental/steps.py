"""What one step of incremental inference is, and the batch that it runs on."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.workspace import Workspace

Maps = Mapping[fx.Node, Tensor]

ROUNDINGS = 1e3  # that so many of a value may add up to


@dataclass(frozen=True)
class Patch:
    """Changes ``[B, d, h, w, C]`` within boxes (int32 ``[B, 6]``, on the device) of a map."""

    data: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class Work:
    """What a step costs per region: floating-point operations, and bytes read and written, ``[R]``."""

    flops: np.ndarray | float
    bytes: np.ndarray | float


@dataclass
class Batch:
    """The regions that are scored together.

    Attributes
    ----------
    size : int
        Number of regions.
    slots : dict
        Per node, the size of the slot that holds any of its boxes.
    boxes : dict
        Per node, its boxes on the device.
    tables : dict
        Per node, further boxes that its step asked for.
    doubtful : Tensor
        bool ``[B]``: regions of which changes say too little; they are scored by whole forwards.
    intervals : Tensor, optional
        int32 ``[B, 2]`` on the device: the labels that count, of regions that are not whole boxes.
    """

    size: int
    workspace: Workspace
    precision: torch.dtype
    slots: dict[fx.Node, bx.Triple] = field(default_factory=dict)
    boxes: dict[fx.Node, Tensor] = field(default_factory=dict)
    tables: dict[fx.Node, list[Tensor]] = field(default_factory=dict)
    doubtful: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    intervals: Tensor | None = None

    def new(self, node: fx.Node, channels: int) -> Tensor:
        """Return memory for a node's patches."""
        return self.workspace.take(self.size, *self.slots[node], channels)

    def doubt_rounding(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
        """Note the regions with values of which a change left nothing but rounding, ``[B, ...]`` each."""
        for old, new in zip(before, after, strict=True):
            rounding = ROUNDINGS * torch.finfo(new.dtype).eps * old.abs()
            next_to_nothing = (new != 0) & (new.abs() < rounding)
            self.doubtful = self.doubtful | next_to_nothing.reshape(len(new), -1).any(1)

    def doubt_infinite(self, *values: Tensor) -> None:
        """Note the regions with infinity or NaN, ``[B, ...]`` each: changes from them say nothing."""
        for value in values:  # one pass; a sum that overflows costs a whole forward
            self.doubtful = self.doubtful | ~torch.isfinite(value.reshape(len(value), -1).sum(1))


class Step(ABC):
    """One operation of the network, or several that are done together.

    Attributes
    ----------
    output : fx.Node
        The node whose change it computes.
    inputs : tuple of fx.Node
        The nodes whose changes it needs.
    before : tuple of fx.Node
        The nodes whose values in the unperturbed scan it needs.
    local : bool
        Whether the result is a `Patch` of a map; otherwise a change ``[B, ...]`` of the whole node.
    boxed : bool
        Whether the step writes boxes, so that `grow` means something.
    linear : bool
        Whether twice the change of the inputs gives twice the change of the output.
    """

    local = True
    boxed = True
    linear = False

    def __init__(self, output: fx.Node, inputs: Sequence[fx.Node], before: Sequence[fx.Node] = ()) -> None:
        self.output = output
        self.inputs = tuple(inputs)
        self.before = tuple(before)

    @property
    def size(self) -> bx.Triple:
        """Size of the output's map."""
        return map_size(self.output)

    @property
    def channels(self) -> int:
        """Channels of the output's map."""
        return int(self.output.meta["val"].shape[1])

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Return the boxes of the output's changed cells, from those of the inputs."""
        return boxes[0]

    def tables(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> list[np.ndarray]:
        """Return further boxes that `run` needs on the device."""
        return []

    def work(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> Work:
        """Estimate the work of every region."""
        cells = sum(bx.cells(b) for b in (*boxes, *[out_boxes] * (1 + len(self.before))))
        return Work(0.0, cells * self.channels * element_size(self.output))

    def scratch(self, slots: Mapping[fx.Node, bx.Triple]) -> int:
        """Return how many elements `run` takes per region for a while, besides inputs and output."""
        return 0

    @abstractmethod
    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch | Tensor:
        """Compute the change of the output for one batch."""

    def changes(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> dict[fx.Node, Patch | Tensor]:
        """Compute the changes of all maps that the step decides, also of those between its operations."""
        return {self.output: self.run(batch, inputs, maps)}


class VectorStep(Step):
    """A step on changes of whole nodes; its work does not count."""

    local = False
    boxed = False

    def work(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> Work:
        """Next to nothing."""
        return Work(0.0, 0.0)


def map_size(node: fx.Node) -> bx.Triple:
    """Spatial size of a node's map."""
    z, y, x = (int(n) for n in node.meta["val"].shape[2:])
    return z, y, x


def element_size(node: fx.Node) -> int:
    """Bytes per element of a node's value."""
    return int(node.meta["val"].element_size())


def channels_first(data: Tensor) -> Tensor:
    """View ``[B, D, H, W, C]`` as ``[B, C, D, H, W]`` (channels-last in memory)."""
    return data.permute(0, 4, 1, 2, 3)


def channels_innermost(data: Tensor) -> Tensor:
    """Bring ``[B, C, D, H, W]`` into ``[B, D, H, W, C]``; a view where it is channels-last already."""
    return data.permute(0, 2, 3, 4, 1).contiguous()
