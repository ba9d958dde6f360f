"""From a traced model to the steps that recompute only what changed."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from pyadx.inference.incremental import boxes as bx
from pyadx.inference.incremental.convolution import Convolution, FlattenedLinear, Linear
from pyadx.inference.incremental.map_steps import (
    AveragePool,
    Concatenate,
    GlobalAverage,
    MaxPool,
    Pointwise,
    Relu,
    Scale,
    Shift,
    Sum,
)
from pyadx.inference.incremental.steps import Step, map_size
from pyadx.inference.incremental.trace import Trace, aten, functional
from pyadx.inference.incremental.vector_steps import (
    Reshape,
    VectorPointwise,
    VectorRelu,
    VectorScale,
)

_IDENTITIES = {
    aten.dropout.default, aten.feature_dropout.default, aten.clone.default, aten.alias.default,
    aten.contiguous.default, aten.detach.default, aten.lift_fresh_copy.default,
}  # fmt: skip
_RESHAPES = {
    aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten._unsafe_view.default,
    aten.squeeze.dims, aten.squeeze.dim, aten.squeeze.default,
}  # fmt: skip
_BATCH_NORMS = {
    aten._native_batch_norm_legit_no_training.default: (1, 2, 3, 4, 6),
    aten.batch_norm.default: (1, 2, 3, 4, 7),
}
_RELUS = {aten.relu.default}


class Lowering:
    """Turns nodes into steps, in order; what it does not know stays a plain operation.

    Attributes
    ----------
    steps : list of Step
        In order; each output is computed once.
    aliases : dict
        Nodes that are another node under a second name.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.steps: list[Step] = []
        self.aliases: dict[fx.Node, fx.Node] = {}
        self._local: dict[fx.Node, bool] = {trace.input: True}
        self._flat: dict[fx.Node, fx.Node] = {}  # flattened maps, by their node
        self._changes = {trace.input}
        self._fused: set[fx.Node] = set()
        for node in trace.nodes:
            if not isinstance(node.meta.get("val"), Tensor | tuple | list):
                continue  # a size: depends on the batch, not on what is in it
            if any(source in self._changes for source in node.all_input_nodes):
                self._changes.add(node)
                if node not in self._fused:
                    self._lower(node)

    def resolve(self, node: fx.Node) -> fx.Node:
        """Return the node that holds a node's value."""
        while node in self.aliases:
            node = self.aliases[node]
        return node

    def changes(self, node: fx.Node) -> bool:
        """Whether a node depends on the scan."""
        return node in self._changes

    def _lower(self, node: fx.Node) -> None:
        target = functional(node.target)
        sources = [self.resolve(n) for n in node.all_input_nodes if n in self._changes]
        if target in _IDENTITIES and self._known(sources[0]):
            self.aliases[node] = sources[0]
            return
        if target is operator.getitem:
            # Only the normalised map of a batch norm is known; it is lowered with the batch norm.
            return
        if any(source in self._flat for source in sources):
            if target is aten.linear.default:
                self._flattened_linear(node)
            return
        if not all(source in self._local for source in sources):
            return
        local = [self._local[source] for source in sources]
        rule = _RULES.get(target)
        if rule is not None and all(local) and node.meta.get("val") is not None:
            rule(self, node, *sources[:1])
        elif rule is None or not all(local):
            self._vector_or_pointwise(node, target, sources, local)

    def _known(self, node: fx.Node) -> bool:
        return node in self._local or node in self._flat

    def _add(self, step: Step, *fused: fx.Node) -> None:
        self.steps.append(step)
        self._local[step.output] = step.local
        self._fused.update(fused)
        self._changes.update(fused)

    def _only_user(self, node: fx.Node) -> fx.Node | None:
        """Return the one node that reads a node, seen through identities; else None."""
        users = list(node.users)
        if len(users) != 1 or node is self.trace.output:
            return None
        if functional(users[0].target) in _IDENTITIES:
            self_alias = self._only_user(users[0])
            if self_alias is not None:
                self.aliases[users[0]] = node
                self._fused.add(users[0])
                self._changes.add(users[0])
            return self_alias
        return users[0]

    def _constant(self, value: Any) -> Tensor | None:
        return self.trace.constants.get(value) if isinstance(value, fx.Node) else None

    # --- batch norm and ReLU, which join what comes before them --------------------------------------

    def _normalised(self, node: fx.Node) -> tuple[fx.Node, Tensor] | None:
        """Return a batch norm's result and its factor per channel."""
        places = _BATCH_NORMS[functional(node.target)]
        weight, bias, mean, variance = (self._constant(node.args[i]) for i in places[:4])
        eps: Any = node.args[places[4]]
        if mean is None or variance is None or (weight is None) != (bias is None):
            return None
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

    def _batch_norm(self, node: fx.Node, source: fx.Node) -> None:
        found = self._normalised(node)
        if found is None:
            return
        result, scale = found
        relu = self._only_user(result)
        if relu is not None and functional(relu.target) in _RELUS:
            self._add(Relu(relu, source, result, scale), result, relu)
        else:
            self._add(Scale(result, source, scale), result)

    def _convolution(self, node: fx.Node, source: fx.Node) -> None:
        weight = self._constant(node.args[1])
        arguments = dict(zip(("stride", "padding", "dilation", "groups"), node.args[3:7], strict=False))
        stride, dilation = _triple(arguments.get("stride", 1)), _triple(arguments.get("dilation", 1))
        padding: Any = arguments.get("padding", 0)
        if weight is None or weight.dim() != 5 or node.args[0] not in self._changes:
            return
        if isinstance(padding, str):
            reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
            padding = [r // 2 if padding == "same" else 0 for r in reach]
        groups: Any = arguments.get("groups", 1)
        last, fused = node, []
        follower = self._only_user(node)
        if follower is not None and functional(follower.target) in _BATCH_NORMS:
            found = self._normalised(follower)
            if found is not None:
                last, scale = found
                weight = weight * scale[:, None, None, None, None]
                fused = [follower, last]
                follower = self._only_user(last)
        rectified = None
        if follower is not None and functional(follower.target) in _RELUS and not self._pools(follower):
            rectified, last = last, follower
            fused.append(follower)
        window = (stride, _triple(padding), dilation, groups)
        self._add(Convolution(last, source, weight, *window, rectified), *fused)

    def _pools(self, relu: fx.Node) -> bool:
        """Whether a ReLU goes into a max pooling and nowhere else, which then takes it over."""
        user = self._only_user(relu)
        return user is not None and functional(user.target) is aten.max_pool3d.default

    def _relu(self, node: fx.Node, source: fx.Node) -> None:
        if self._pools(node):
            user = self._only_user(node)
            assert user is not None
            self._add_max_pool(user, source, rectify=True)
            self._fused.add(user)
            self._changes.add(user)
        else:
            self._add(Relu(node, source, source))

    # --- pooling -----------------------------------------------------------------------------------------

    def _max_pool(self, node: fx.Node, source: fx.Node) -> None:
        self._add_max_pool(node, source, rectify=False)

    def _add_max_pool(self, node: fx.Node, source: fx.Node, *, rectify: bool) -> None:
        kernel, stride, padding, dilation, _ = _with_defaults(node.args[1:], [None, [], 0, 1, False])
        sizes = [_triple(v) for v in (kernel, stride or kernel, padding, dilation)]
        self._add(MaxPool(node, source, source, *sizes, rectify))

    def _average_pool(self, node: fx.Node, source: fx.Node) -> None:
        kernel, stride, padding, ceil, include, divisor = _with_defaults(
            node.args[1:], [None, [], 0, False, True, None]
        )
        window = [_triple(v) for v in (kernel, stride or kernel, padding)]
        # What the network makes of ones is the number of cells over the divisor, wherever the window
        # lies: padding and windows that reach over the border included.
        value = source.meta["val"]
        ones = torch.ones(1, 1, *map_size(source), dtype=value.dtype, device=value.device)
        averages = F.avg_pool3d(ones, *window, ceil, include, divisor)
        counts = F.avg_pool3d(ones, *window, ceil, True, 1)
        share = torch.where(counts > 0, averages / counts.clamp(min=1), 0)[0].permute(1, 2, 3, 0)
        self._add(AveragePool(node, source, *window, share.contiguous()))

    def _adaptive_average_pool(self, node: fx.Node, source: fx.Node) -> None:
        sizes: Any = node.args[1]
        if _triple(sizes) == (1, 1, 1):
            self._add(GlobalAverage(node, source, node.meta["val"].shape[1:]))

    def _mean(self, node: fx.Node, source: fx.Node) -> None:
        axes: Any = node.args[1]
        if sorted(axis % 5 for axis in axes or ()) == [2, 3, 4] and len(node.args) < 4:
            self._add(GlobalAverage(node, source, node.meta["val"].shape[1:]))

    # --- sums, concatenations, padding --------------------------------------------------------------------

    def _add_or_subtract(self, node: fx.Node, source: fx.Node) -> None:
        sign = -1.0 if functional(node.target) is aten.sub.Tensor else 1.0
        alpha: Any = node.kwargs.get("alpha", 1)
        terms = []
        for value, factor in zip(node.args[:2], (1.0, sign * alpha), strict=True):
            if isinstance(value, fx.Node) and value in self._changes:
                own = self.resolve(value)
                if own.meta["val"].shape[1:] != node.meta["val"].shape[1:]:
                    return  # one is repeated over the other
                terms.append((own, factor))
        self._add(Sum(node, terms))

    def _concatenate(self, node: fx.Node, source: fx.Node) -> None:
        arguments = _with_defaults(node.args, [None, 0])
        if arguments[1] % 5 != 1:
            return
        parts, firsts, channel = [], [], 0
        for part in arguments[0]:
            if part in self._changes:
                parts.append(self.resolve(part))
                firsts.append(channel)
            channel += int(part.meta["val"].shape[1])
        self._add(Concatenate(node, parts, firsts))

    def _pad(self, node: fx.Node, source: fx.Node) -> None:
        amounts, mode = _with_defaults(node.args[1:], [None, "constant"])[:2]
        if functional(node.target) is aten.pad.default and mode != "constant":
            return
        amounts = [*amounts, *[0] * (10 - len(amounts))]
        if any(amounts[6:]):
            return
        self._add(Shift(node, source, (amounts[4], amounts[2], amounts[0])))

    # --- the rest ---------------------------------------------------------------------------------------------

    def _reshape(self, node: fx.Node, source: fx.Node) -> None:
        shape = source.meta["val"].shape
        if node.meta["val"].dim() == 2 and node.meta["val"].shape[1] == shape[1:].numel():
            self._flat[node] = source

    def _flattened_linear(self, node: fx.Node) -> None:
        weight = self._constant(node.args[1])
        source = self.resolve(node.args[0])  # type: ignore[arg-type]
        if weight is not None and source in self._flat:
            self._add(FlattenedLinear(node, self._flat[source], weight))

    def _vector_or_pointwise(
        self, node: fx.Node, target: Any, sources: Sequence[fx.Node], local: Sequence[bool]
    ) -> None:
        value = node.meta.get("val")
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return
        if not any(local) and target in _RESHAPES:
            if value.shape[:1] == sources[0].meta["val"].shape[:1]:
                self._add(Reshape(node, sources[0]))
        elif not any(local) and target is aten.linear.default:
            weight = self._constant(node.args[1])
            if weight is not None and node.args[0] in self._changes:
                self._add(Linear(node, sources[0], weight))
        elif not any(local) and target in _BATCH_NORMS:
            found = self._normalised(node)
            if found is not None:
                self._add(VectorScale(found[0], sources[0], found[1]), found[0])
        elif not any(local) and target in _RELUS:
            self._add(VectorRelu(node, sources[0]))
        elif _is_pointwise(target) and all(
            source.meta["val"].shape == value.shape for source in sources
        ):
            if all(local):
                if self._constants_fit(node):
                    self._add(Pointwise(node, sources, self._function(node, target, sources)))
            elif not any(local):
                self._add(VectorPointwise(node, sources, self._function(node, target, sources)))

    def _constants_fit(self, node: fx.Node) -> bool:
        """Whether every constant operand is the same in all cells."""
        for operand in node.all_input_nodes:
            constant = self._constant(operand)
            if operand in self._changes:
                continue
            if constant is None or any(n != 1 for n in constant.shape[-3:]) and constant.dim() >= 3:
                return False
            if 0 < constant.dim() < 3 and constant.numel() > 1:
                return False
        return True

    def _function(
        self, node: fx.Node, target: Any, sources: Sequence[fx.Node]
    ) -> Callable[[Sequence[Tensor]], Tensor]:
        """Return the operation as a function of the values of its changing operands."""
        place = {source: index for index, source in enumerate(sources)}
        constants, resolve = self.trace.constants, self.resolve

        def function(values: Sequence[Tensor]) -> Tensor:
            def operand(n: fx.Node) -> Any:
                return constants[n] if n in constants else values[place[resolve(n)]]

            return target(*fx.map_arg(node.args, operand), **fx.map_arg(node.kwargs, operand))

        return function


_RULES: dict[Any, Callable[[Lowering, fx.Node, fx.Node], None]] = {
    aten.conv3d.default: Lowering._convolution,
    aten.conv3d.padding: Lowering._convolution,
    **dict.fromkeys(_BATCH_NORMS, Lowering._batch_norm),
    **dict.fromkeys(_RELUS, Lowering._relu),
    **dict.fromkeys(_RESHAPES, Lowering._reshape),
    aten.max_pool3d.default: Lowering._max_pool,
    aten.avg_pool3d.default: Lowering._average_pool,
    aten.adaptive_avg_pool3d.default: Lowering._adaptive_average_pool,
    aten.mean.dim: Lowering._mean,
    aten.add.Tensor: Lowering._add_or_subtract,
    aten.sub.Tensor: Lowering._add_or_subtract,
    aten.cat.default: Lowering._concatenate,
    aten.pad.default: Lowering._pad,
    aten.constant_pad_nd.default: Lowering._pad,
}


def _is_pointwise(target: Any) -> bool:
    return torch.Tag.pointwise in getattr(target, "tags", ()) or target in _POINTWISE


# Composite operations, which carry no tag.
_POINTWISE = {aten.selu.default, aten.relu6.default, aten.square.default}


def _triple(value: Any) -> bx.Triple:
    values = list(value) if isinstance(value, list | tuple) else [value]
    z, y, x = (int(n) for n in (values * 3 if len(values) == 1 else values))
    return z, y, x


def _with_defaults(arguments: Sequence[Any], defaults: Sequence[Any]) -> list[Any]:
    return [*arguments, *defaults[len(arguments) :]]
