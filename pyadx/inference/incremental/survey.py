"""What of a network is recomputed on boxes, what on whole maps, and which line makes the difference."""

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

_MOST_GAIN = 100  # what boxes could gain is not known better
_NORMS = ("group_norm", "instance_norm", "layer_norm", "rms_norm", "var", "std", "var_mean", "batch_norm")
_TOKENS = ("scaled_dot_product_attention", "matmul", "bmm", "baddbmm", "softmax", "_softmax")
_POOLS = ("adaptive_avg_pool3d", "mean", "sum", "amax", "max", "adaptive_max_pool3d")


@dataclass(frozen=True)
class Ending:
    """The operation from which on whole maps are recomputed for every region.

    Attributes
    ----------
    operation : str
        Its name in ATen, such as ``group_norm``.
    place : str
        Layer and line of code.
    share : float
        Of a forward's predicted time, what is recomputed from there on.
    gain, without : float
        Predicted gain over whole forwards, and what it could be at most if boxes went on.
    advice : str
        Why, and what to do about it.
    """

    operation: str
    place: str
    share: float
    gain: float
    without: float
    advice: str

    @property
    def words(self) -> str:
        """All of it in one line."""
        most = f"at most {self.without:.0f}" if self.without < _MOST_GAIN else f"over {_MOST_GAIN}"
        return (
            f"{self.share:.0%} of the network are recomputed as whole maps for every region, from "
            f"{self.operation} on ({self.place}): {self.advice}. Predicted gain {self.gain:.1f} over whole "
            f"forwards, {most} without that line"
        )


def _advice(node: fx.Node) -> str:
    operation, value = operation_name(node), node.meta["val"]
    if operation in _NORMS:
        return (
            "its mean and deviation are of whole maps, which every region changes; batch normalisation in "
            "evaluation mode uses fixed ones"
        )
    if operation in _TOKENS:
        return "every token sees all others, so every region changes all of them; nothing can be saved"
    sources = [source.meta.get("val") for source in node.all_input_nodes]
    pooled = [s for s in sources if isinstance(s, Tensor) and s.dim() == 5 and s.shape[2:].numel() == 1]
    if pooled and isinstance(value, Tensor) and value.shape[2:].numel() > 1:
        return (
            "whole maps are scaled by what was pooled from all cells (squeeze and excitation), which every "
            "region changes; nothing can be saved"
        )
    if operation in _POOLS:
        return "what is pooled is spread over whole maps again; nothing can be saved after it"
    return (
        "it is not known to look at a neighbourhood of each cell; convolutions, poolings, operations on "
        "single cells, resizing and padding are"
    )


@dataclass(frozen=True)
class LayerRow:
    """One layer of a network.

    Attributes
    ----------
    layer : str
        Its name in the model.
    operations : tuple of str
        What it does, in ATen.
    shape : tuple of int
        Of its last result, for one scan.
    boxes : float
        Share of its operations that are recomputed on boxes only.
    share : float
        Of a forward's predicted time.
    """

    layer: str
    operations: tuple[str, ...]
    shape: tuple[int, ...]
    boxes: float
    share: float


def ending(network: LoweredNetwork, boxes: np.ndarray) -> Ending | None:
    """Return what ends boxes before the class scores, or None where nothing does.

    Parameters
    ----------
    network : LoweredNetwork
        Of the network.
    boxes : numpy.ndarray
        int32 ``[R, 6]``: regions whose median gain counts.
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
    """Return cubes of these sides in the middle of a scan, int32 ``[R, 6]``."""
    return centred(np.minimum(np.asarray(sides)[:, None], np.asarray(shape)), shape)


def _layer(node: fx.Node) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return own_name(str(stack[-1][0])) if stack else ""
