"""Reports which part of a network is recomputed on boxes, and which operation needs whole maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, fx

from pyadx.inference.adapted import own_name
from pyadx.inference.batch.trace import place_in_trace
from pyadx.inference.incremental.cost import plain_seconds
from pyadx.inference.incremental.lowered_network import LoweredNetwork
from pyadx.inference.incremental.plan import centred
from pyadx.inference.incremental.trace import functional

_MOST_GAIN = 100  # larger predictions are not reliable enough to be printed
_NORMS = ("group_norm", "instance_norm", "layer_norm", "rms_norm", "var", "std", "var_mean", "batch_norm")
_TOKENS = ("scaled_dot_product_attention", "matmul", "bmm", "baddbmm", "softmax", "_softmax")
_POOLS = ("adaptive_avg_pool3d", "mean", "sum", "amax", "max", "adaptive_max_pool3d")


@dataclass(frozen=True)
class Ending:
    """The operation from which whole maps have to be recomputed for every region.

    Attributes
    ----------
    operation : str
        Its name in ATen, such as ``group_norm``.
    place : str
        Its layer and line of code.
    share : float
        Share of a forward's predicted time that this operation and all later ones take.
    gain, without : float
        Predicted gain over full forwards, and the most that it could be without this operation.
    advice : str
        Why boxes end there, and what to do about it.
    """

    operation: str
    place: str
    share: float
    gain: float
    without: float
    advice: str

    @property
    def words(self) -> str:
        """The whole report in one line."""
        most = f"at most {self.without:.0f}" if self.without < _MOST_GAIN else f"over {_MOST_GAIN}"
        return (
            f"Every region recomputes whole maps from {self.operation} on ({self.place}), "
            f"{self.share:.0%} of the network's time: {self.advice}. Predicted gain over full forwards: "
            f"{self.gain:.1f}, without that line {most}"
        )


def _advice(node: fx.Node) -> str:
    operation, value = operation_name(node), node.meta["val"]
    if operation in _NORMS:
        return (
            "it uses the mean and deviation of whole maps, which every region changes; batch normalisation "
            "in evaluation mode uses fixed ones"
        )
    if operation in _TOKENS:
        return "every token depends on all others, so every region changes all; nothing can be saved"
    sources = [source.meta.get("val") for source in node.all_input_nodes]
    pooled = [s for s in sources if isinstance(s, Tensor) and s.dim() == 5 and s.shape[2:].numel() == 1]
    if pooled and isinstance(value, Tensor) and value.shape[2:].numel() > 1:
        return (
            "whole maps are scaled by values pooled from all cells (squeeze and excitation), which every "
            "region changes; nothing can be saved after it"
        )
    if operation in _POOLS:
        return "pooled values are spread over whole maps again; nothing can be saved after it"
    return (
        "it is not known to look at a neighbourhood of each cell only, as convolutions, poolings, "
        "operations on single cells, resizing and padding do"
    )


@dataclass(frozen=True)
class LayerRow:
    """One layer of a network.

    Attributes
    ----------
    layer : str
        Its name in the model.
    operations : tuple of str
        Its operations by their names in ATen.
    shape : tuple of int
        Shape of its last result for one scan.
    boxes : float
        Share of its operations that are recomputed on boxes only.
    share : float
        Its share of a forward's predicted time.
    """

    layer: str
    operations: tuple[str, ...]
    shape: tuple[int, ...]
    boxes: float
    share: float


def ending(network: LoweredNetwork, boxes: np.ndarray) -> Ending | None:
    """Return the operation that ends boxes before the class scores, or None if there is none.

    Parameters
    ----------
    network : LoweredNetwork
        The network.
    boxes : numpy.ndarray
        int32 ``[R, 6]``: regions, of which the median gain is reported.
    """
    plan = network.furthest
    first = next((n for n in plan.plain if isinstance(n.meta.get("val"), Tensor | tuple | list)), None)
    if first is None or not len(boxes):
        return None
    whole = network.seconds_left()
    stops, gains = network.choose(boxes)
    middle = int(np.argsort(gains)[len(gains) // 2])
    each, gain = whole / gains[middle], float(gains[middle])
    left = max(each - network.seconds_left(int(stops[middle])), whole / 1e3)
    share = sum(map(plain_seconds, plan.plain)) / whole
    place = place_in_trace(first)
    return Ending(operation_name(first), place, share, gain, whole / left, _advice(first))


def layer_rows(network: LoweredNetwork) -> list[LayerRow]:
    """Return the layers of a network in the order of their first operation."""
    plain = set(network.furthest.plain)
    whole = network.seconds_left()
    rows: dict[str, list[fx.Node]] = {}
    for node in network.operations:
        if isinstance(node.meta.get("val"), Tensor | tuple | list):
            rows.setdefault(_layer(node), []).append(node)
    found = []
    for layer, nodes in rows.items():
        value = nodes[-1].meta["val"]
        value = value if isinstance(value, Tensor) else value[0]
        found.append(
            LayerRow(
                layer,
                tuple(dict.fromkeys(map(operation_name, nodes))),
                tuple(int(n) for n in value.shape[1:]) if isinstance(value, Tensor) else (),
                sum(node not in plain for node in nodes) / len(nodes),
                sum(map(plain_seconds, nodes)) / whole,
            )
        )
    return found


def operation_name(node: fx.Node) -> str:
    """Return an operation's name in ATen, without its overload."""
    target = functional(node.target) or node.target
    name = getattr(target, "_schema", None)
    return name.name.split("::")[-1] if name is not None else str(getattr(target, "__name__", target))


def typical_boxes(shape: Sequence[int], sides: Sequence[int]) -> np.ndarray:
    """Return cubes with these sides in voxels in the middle of a scan, int32 ``[R, 6]``."""
    return centred(np.minimum(np.asarray(sides)[:, None], np.asarray(shape)), shape)


def _layer(node: fx.Node) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return own_name(str(stack[-1][0])) if stack else ""
