"""Runs traced operations on whole maps: once on the unperturbed scan, and after the last step."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from pyadx.inference.incremental.trace import Trace, aten, functional

_COPYING = {
    aten.view.default: aten.reshape.default,
    aten._unsafe_view.default: aten.reshape.default,
}


class Interpreter:
    """Evaluates nodes of a trace on tensors, and drops each value after its last use.

    Parameters
    ----------
    trace : Trace
        The model. Convolution weights are copied to channels-last layout, which on the CPU keeps batches of
        one on oneDNN's fast path; the model's own tensors stay as they are.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._constants: dict[fx.Node, Tensor] = {}
        for node, value in trace.constants.items():
            last = value.dim() == 5
            layout = torch.channels_last_3d if last else torch.contiguous_format
            self._constants[node] = value.contiguous(memory_format=layout) if last else value

    def run(
        self,
        given: Mapping[fx.Node, Tensor],
        nodes: Iterable[fx.Node],
        batch: int,
        keep: Callable[[fx.Node, Tensor], None] = lambda node, value: None,
    ) -> Any:
        """Evaluate nodes in order and return the value of the last one.

        Parameters
        ----------
        given : mapping
            Known values, by node.
        nodes : iterable of fx.Node
            Nodes to evaluate, in order. Their operands must be given, constant, or among these nodes.
        batch : int
            Number of scans in the batch.
        keep : callable
            Called with every node that evaluates to a tensor, and that tensor.

        Returns
        -------
        object
            Value of the last node.
        """
        order = list(nodes)
        last_reader = {source: node for node in order for source in node.all_input_nodes}
        values: dict[fx.Node, Any] = dict(given)

        def operand(node: fx.Node) -> Any:
            return self._constants[node] if node in self._constants else values[node]

        result: Any = None
        for node in order:
            target: Any = functional(node.target) or node.target
            # Maps may be channels-last here, and some views of those would need a copy.
            target = _COPYING.get(target, target)
            if target is aten.sym_size.int and node.args[1] == 0:
                result = values[node] = batch
                continue
            result = target(*fx.map_arg(node.args, operand), **fx.map_arg(node.kwargs, operand))
            values[node] = result
            if isinstance(result, Tensor):
                keep(node, result)
            for source in node.all_input_nodes:
                if last_reader[source] is node:
                    values.pop(source, None)
        return result


def needed_for(output: fx.Node, nodes: Iterable[fx.Node], known: set[fx.Node]) -> list[fx.Node]:
    """Return the nodes, in order, that have to be evaluated for the output if ``known`` nodes are given."""
    wanted = {output}
    order = []
    for node in reversed(list(nodes)):
        if node in wanted and node not in known:
            order.append(node)
            wanted.update(node.all_input_nodes)
    return order[::-1]
