"""How operations on maps become steps: convolution, normalisation, pooling, sums, concatenation."""

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from pyadx.inference.incremental import axis_rules, pointwise_rules
from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.convolution import Convolution
from pyadx.inference.incremental.lowered import Lowered
from pyadx.inference.incremental.map_steps import (
    AveragePool,
    Concatenate,
    GlobalAverage,
    MaxPool,
    Relu,
    Scale,
    Shift,
    Sum,
)
from pyadx.inference.incremental.steps import map_size
from pyadx.inference.incremental.trace import aten, functional, per_axis, with_defaults

BATCH_NORMS = {  # where weight, bias, mean, variance and epsilon stand among the arguments
    aten._native_batch_norm_legit_no_training.default: (1, 2, 3, 4, 6),
    aten.batch_norm.default: (1, 2, 3, 4, 7),
}
RELUS = {aten.relu.default}


def normalised(low: Lowered, node: fx.Node) -> tuple[fx.Node, Tensor] | None:
    """Return a batch norm's result and its factor per channel."""
    places = BATCH_NORMS[functional(node.target)]
    weight, bias, mean, variance = (low.constant(node.args[i]) for i in places[:4])
    eps: Any = node.args[places[4]]
    affine = [node.args[place] for place in places[:2]]
    if mean is None or variance is None or [weight is None, bias is None] != [a is None for a in affine]:
        return None  # something is computed from the scan
    if functional(node.target) is aten.batch_norm.default and node.args[5]:
        return None  # in training mode: depends on the batch
    scale = (variance.double() + float(eps)).rsqrt()
    if weight is not None:
        scale = scale * weight.double()
    result = node
    if functional(node.target) is not aten.batch_norm.default:
        users = [user for user in node.users if user.target is operator.getitem]
        if len(users) != len(node.users) or [user.args[1] for user in users] != [0]:
            return None
        result = users[0]
    return result, scale.to(mean.dtype)


def batch_norm(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Lower a batch norm, together with the ReLU that follows it if nothing else reads it."""
    found = normalised(low, node)
    if found is None:
        return
    result, scale = found
    relu = low.only_user(result)
    if relu is not None and functional(relu.target) in RELUS:
        low.add(Relu(relu, source, result, scale), result, relu)
    else:
        low.add(Scale(result, source, scale), result)


def convolution(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Lower a convolution, together with the batch norm and the ReLU that follow it."""
    weight = low.constant(node.args[1])
    arguments = dict(zip(("stride", "padding", "dilation", "groups"), node.args[3:7], strict=False))
    stride, dilation = per_axis(arguments.get("stride", 1)), per_axis(arguments.get("dilation", 1))
    padding: Any = arguments.get("padding", 0)
    if weight is None or weight.dim() != 5 or node.args[0] not in low.changing:
        return
    if isinstance(padding, str):
        reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        padding = [r // 2 if padding == "same" else 0 for r in reach]
    groups: Any = arguments.get("groups", 1)
    last, fused = node, []
    follower = low.only_user(node)
    if follower is not None and functional(follower.target) in BATCH_NORMS:
        found = normalised(low, follower)
        if found is not None:
            last, scale = found
            weight = weight * scale[:, None, None, None, None]
            fused = [follower, last]
            follower = low.only_user(last)
    rectified = None
    if follower is not None and functional(follower.target) in RELUS and not pools(low, follower):
        rectified, last = last, follower
        fused.append(follower)
    window = bx.Window(per_axis(weight.shape[2:]), stride, per_axis(padding), dilation)
    low.add(Convolution(last, source, weight, window, groups, rectified), *fused)


def pools(low: Lowered, relu: fx.Node) -> bool:
    """Whether a ReLU goes into a max pooling and nowhere else, which then takes it over."""
    user = low.only_user(relu)
    return user is not None and functional(user.target) is aten.max_pool3d.default


def relu(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Lower a ReLU, or a max pooling with the ReLU before it."""
    if pools(low, node):
        user = low.only_user(node)
        assert user is not None
        add_max_pool(low, user, source, rectify=True)
        low.fused.add(user)
        low.changing.add(user)
    else:
        low.add(Relu(node, source, source))


def max_pool(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Lower a max pooling on its own."""
    add_max_pool(low, node, source, rectify=False)


def add_max_pool(low: Lowered, node: fx.Node, source: fx.Node, *, rectify: bool) -> None:
    """Take a max pooling, with or without a ReLU before it."""
    kernel, stride, padding, dilation, _ = with_defaults(node.args[1:], [None, [], 0, 1, False])
    window = bx.Window(per_axis(kernel), per_axis(stride or kernel), per_axis(padding), per_axis(dilation))
    low.add(MaxPool(node, source, source, window, rectify))


def average_pool(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Lower an average pooling, padded and counted as the network has it."""
    kernel, stride, padding, ceil, include, divisor = with_defaults(
        node.args[1:], [None, [], 0, False, True, None]
    )
    window = bx.Window(per_axis(kernel), per_axis(stride or kernel), per_axis(padding), (1, 1, 1))
    # What the network makes of ones is the number of cells over the divisor, wherever the window
    # lies: padding and windows that reach over the border included.
    value = source.meta["val"]
    ones = torch.ones(1, 1, *map_size(source), dtype=value.dtype, device=value.device)
    sizes = (window.kernel, window.stride, window.padding, ceil)
    averages = F.avg_pool3d(ones, *sizes, include, divisor)
    counts = F.avg_pool3d(ones, *sizes, True, 1)
    share = torch.where(counts > 0, averages / counts.clamp(min=1), 0)[0].permute(1, 2, 3, 0)
    low.add(AveragePool(node, source, window, share.contiguous()))


def adaptive_average_pool(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Lower global average pooling, or to a few cells."""
    sizes: Any = node.args[1]
    if list(sizes) in ([1], [1, 1, 1]):
        low.add(GlobalAverage(node, source, node.meta["val"].shape[1:]))
    else:
        axis_rules.adaptive_average(low, node, source)


def mean(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Lower global average pooling, written as a mean, or a mean over channels."""
    axes: Any = node.args[1]
    if pointwise_rules.is_pointwise(node):
        pointwise_rules.pointwise(low, node, aten.mean.dim, [source], [True])
        return
    if sorted(axis % 5 for axis in axes or ()) == [2, 3, 4] and len(node.args) < 4:
        low.add(GlobalAverage(node, source, node.meta["val"].shape[1:]))


def add_or_subtract(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Lower a sum or difference of maps; adding what does not change changes nothing."""
    sign = -1.0 if functional(node.target) is aten.sub.Tensor else 1.0
    alpha: Any = node.kwargs.get("alpha", 1)
    terms = []
    for value, factor in zip(node.args[:2], (1.0, sign * alpha), strict=True):
        if isinstance(value, fx.Node) and value in low.changing:
            own = low.resolve(value)
            if own.meta["val"].shape[1:] != node.meta["val"].shape[1:]:
                return  # one is repeated over the other
            terms.append((own, factor))
    low.add(Sum(node, terms))


def concatenate(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Lower a concatenation of channels."""
    arguments = with_defaults(node.args, [None, 0])
    if arguments[1] % 5 != 1:
        return
    parts, firsts, channel = [], [], 0
    for part in arguments[0]:
        if part in low.changing:
            parts.append(low.resolve(part))
            firsts.append(channel)
        channel += int(part.meta["val"].shape[1])
    low.add(Concatenate(node, parts, firsts))


def pad(low: Lowered, node: fx.Node, source: fx.Node) -> None:
    """Lower padding, or cropping."""
    target = functional(node.target)
    amounts, mode = with_defaults(node.args[1:], [None, axis_rules.PADS.get(target, "constant")])[:2]
    if target is not aten.constant_pad_nd.default and mode != "constant":
        if mode in ("replicate", "reflect", "circular") and len(amounts) <= 6:
            axis_rules.repeating_pad(low, node, source, mode)
        return
    amounts = [*amounts, *[0] * (10 - len(amounts))]
    if any(amounts[6:]):
        return
    low.add(Shift(node, source, (amounts[4], amounts[2], amounts[0])))
