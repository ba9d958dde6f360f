"""Follow the scans of a batch through a traced graph with a symbolic batch size."""

import operator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, fx

from pyadx.inference.adapted import own_name
from pyadx.inference.batch.axis import ALL_APART, SIZE, Entangled, Operand, State
from pyadx.inference.batch.rules import after
from pyadx.inference.batch.watch import FOREIGN, code_line

_SCANS = 1_000_003  # value for the symbolic number of scans: a prime that is no factor of another axis


def state_of_trace(nodes: list[fx.Node], scans: fx.Node, output: fx.Node) -> State:
    """Follow the scans through a traced graph with a symbolic batch size.

    Parameters
    ----------
    nodes : list of fx.Node
        The operations, in order of execution.
    scans, output : fx.Node
        The nodes of the batch of scans and of the class scores.

    Returns
    -------
    State
        Where the scans are in the class scores.
    """
    states: dict[fx.Node, Any] = {scans: ALL_APART}

    def operand(node: fx.Node) -> Any:
        value, state = node.meta.get("val"), states.get(node)
        if isinstance(value, Tensor):
            return Operand(_shape(value), state)
        return SIZE if state is None else Operand((), state)

    for node in nodes:
        if node.target is operator.getitem:
            source, index = node.args
            held: Any = states.get(source)  # type: ignore[arg-type]
            states[node] = held[int(str(index))] if isinstance(held, list) else held
            continue
        value = node.meta.get("val")
        results = [value] if isinstance(value, Tensor) else value
        if not isinstance(results, list | tuple):
            # Either a size, or a number that was read from the scans and cannot be followed.
            if node.target is not torch.ops.aten.sym_size.int and any(
                map(states.get, node.all_input_nodes)
            ):
                states[node] = Entangled(False, node)
            continue
        args, kwargs = fx.map_arg((node.args, node.kwargs), operand)
        shapes = [_shape(result) if isinstance(result, Tensor) else () for result in results]
        found = after(node.target, args, kwargs, shapes, node)
        states[node] = found[0] if isinstance(value, Tensor) else found
    return states.get(output)


def _shape(value: Tensor) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else _evaluated(size) for size in value.shape)


def _evaluated(size: torch.SymInt) -> int:
    expression = size.node.expr
    return int(expression.subs(dict.fromkeys(expression.free_symbols, _SCANS)))


def place_in_trace(node: fx.Node) -> str:
    """Return the layer and the line of code that a node comes from, as text."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    path = own_name(path)
    layer = f"layer {path!r}, {str(kind).rsplit('.', 1)[-1]}" if path else ""
    code = user_line(str(node.meta.get("stack_trace") or ""))
    return ", at ".join(part for part in (layer, code) if part) or node.name


def user_line(trace: str) -> str:
    """Return the innermost line of the user's code in a stack trace that torch recorded, or ``""``."""
    lines = trace.splitlines()
    frames = [
        (line.split('"')[1], int(line.split("line ")[1].split(",")[0]), code)
        for line, code in pairwise(lines)
        if line.lstrip().startswith('File "') and not line.split('"')[1].startswith(FOREIGN)
    ]
    return code_line(*frames[-1]) if frames else ""
