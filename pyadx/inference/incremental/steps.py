"""The steps of incremental inference, and the batch of regions that they run on."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.workspace import Workspace

Maps = Mapping[fx.Node, Tensor]

ROUNDINGS = 1e3  # relative rounding errors that may add up in a value


@dataclass(frozen=True)
class Patch:
    """The changes of a map inside one box per region.

    Attributes
    ----------
    data : Tensor
        ``[B, d, h, w, C]``; entries beyond a region's box do not count.
    boxes : Tensor
        int32 ``[B, 6]`` on the device, in cells of the map.
    """

    data: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class Work:
    """What a step costs per region, ``[R]``: floating-point operations, and bytes read and written."""

    flops: np.ndarray | float
    bytes: np.ndarray | float


@dataclass
class Batch:
    """The regions that are scored together.

    Attributes
    ----------
    size : int
        Number of regions, with padding.
    workspace : Workspace
        Lends the memory of patches.
    precision : torch.dtype
        Dtype in which convolutions compute.
    slots : dict
        Per node, the size of a slot, which holds any of its boxes.
    boxes : dict
        Per node, its boxes on the device.
    tables : dict
        Per node, what `Step.tables` returned, on the device.
    doubtful : Tensor
        bool ``[B]``: regions for which changes are not accurate enough; full forwards score them.
    intervals : Tensor, optional
        int32 ``[B, 2]`` on the device: the label intervals of regions that are not whole boxes.
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
        """Return memory for a node's patches; it is not initialised."""
        return self.workspace.take(self.size, *self.slots[node], channels)

    def doubt_rounding(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
        """Mark regions where a change left only the rounding error of a value, ``[B, ...]`` each."""
        for old, new in zip(before, after, strict=True):
            rounding = ROUNDINGS * torch.finfo(new.dtype).eps * old.abs()
            next_to_nothing = (new != 0) & (new.abs() < rounding)
            self.doubtful = self.doubtful | next_to_nothing.reshape(len(new), -1).any(1)

    def doubt_infinite(self, *values: Tensor) -> None:
        """Mark regions with infinity or NaN, ``[B, ...]`` each: changes cannot be computed from these."""
        for value in values:  # one pass; if only the sum overflows, a full forward is wasted
            self.doubtful = self.doubtful | ~torch.isfinite(value.reshape(len(value), -1).sum(1))


class Step(ABC):
    """One operation of the network, or several that run together.

    Attributes
    ----------
    output : fx.Node
        The node whose change it computes.
    inputs : tuple of fx.Node
        The nodes whose changes it needs.
    before : tuple of fx.Node
        The nodes whose values in the unperturbed scan it needs.
    local : bool
        Whether the result is a `Patch` of a map. Otherwise it is the change of the node's whole value,
        ``[B, ...]``.
    boxed : bool
        Whether the output has boxes, which `grow` returns.
    linear : bool
        Whether the change of the output is a linear function of the change of the inputs.
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
        """Spatial size of the output's map."""
        return map_size(self.output)

    @property
    def channels(self) -> int:
        """Number of channels of the output's map."""
        return int(self.output.meta["val"].shape[1])

    def grow(self, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Return the boxes of the output's changed cells, from those of the inputs."""
        return boxes[0]

    def tables(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> list[np.ndarray]:
        """Return further int32 arrays, mostly boxes, that `run` needs on the device."""
        return []

    def work(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> Work:
        """Estimate the work for every region."""
        cells = sum(bx.cells(b) for b in (*boxes, *[out_boxes] * (1 + len(self.before))))
        return Work(0.0, cells * self.channels * element_size(self.output))

    def scratch(self, slots: Mapping[fx.Node, bx.Triple]) -> int:
        """Return how many temporary elements `run` needs per region, besides inputs and output."""
        return 0

    @abstractmethod
    def run(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> Patch | Tensor:
        """Compute the change of the output for one batch."""

    def changes(self, batch: Batch, inputs: Sequence[Patch], maps: Maps) -> dict[fx.Node, Patch | Tensor]:
        """Compute the changes of all maps that the step knows, including those between its operations."""
        return {self.output: self.run(batch, inputs, maps)}


class VectorStep(Step):
    """A step on changes of whole values, such as vectors after the last map; its work is not counted."""

    local = False
    boxed = False

    def work(self, boxes: Sequence[np.ndarray], out_boxes: np.ndarray) -> Work:
        """Return zero: vectors are small."""
        return Work(0.0, 0.0)


def map_size(node: fx.Node) -> bx.Triple:
    """Return the spatial size of a node's map."""
    z, y, x = (int(n) for n in node.meta["val"].shape[2:])
    return z, y, x


def element_size(node: fx.Node) -> int:
    """Return the bytes per element of a node's value."""
    return int(node.meta["val"].element_size())


def channels_first(data: Tensor) -> Tensor:
    """View ``[B, D, H, W, C]`` as ``[B, C, D, H, W]`` (channels-last in memory)."""
    return data.permute(0, 4, 1, 2, 3)


def channels_innermost(data: Tensor) -> Tensor:
    """Lay ``[B, C, D, H, W]`` out as ``[B, D, H, W, C]``; a view if it is channels-last already."""
    return data.permute(0, 2, 3, 4, 1).contiguous()
