"""Traces a user's model to a graph of ATen operations, with its weights as constants."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from pyadx.inference.adapted import kept_as
from pyadx.inference.batch.trace import user_line
from pyadx.inference.errors import UntraceableError
from pyadx.inference.incremental.export import exported

aten = torch.ops.aten


@dataclass(frozen=True)
class Trace:
    """A model as a graph over one batch of scans.

    Attributes
    ----------
    nodes : list of fx.Node
        Operations in order. None of them writes into memory that another one reads.
    input, output : fx.Node
        The batch of scans, and the class scores.
    constants : dict
        Weights, buffers, and what is computed from them alone, by node.
    kept : dict
        What is made from the trace alone, and shared by all scans that share the trace.
    """

    nodes: list[fx.Node]
    input: fx.Node
    output: fx.Node
    constants: dict[fx.Node, Tensor]
    kept: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


class KeptTrace:
    """Traces a model at the first scan of a shape, dtype and device, and reuses the trace for later ones.

    Only for callers who know that the weights, the mode and the code of the model stay the same meanwhile.
    """

    def __init__(self) -> None:
        self._of: tuple[object, ...] | None = None
        self._trace: Trace | None = None

    def __call__(self, model: nn.Module, volume: Tensor) -> Trace:
        """Return the trace that `trace` would make."""
        asked = (kept_as(model), volume.shape, volume.dtype, volume.device)
        if self._trace is None or self._of != asked:
            self._trace, self._of = trace(model, volume), asked
        return self._trace


def trace(model: nn.Module, volume: Tensor) -> Trace:
    """Trace a model in evaluation mode with ``torch.export``, for any batch size.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode.
    volume : Tensor
        ``[C, D, H, W]``; only its shape, dtype and device matter.

    Returns
    -------
    Trace
        The graph and its constants.

    Raises
    ------
    UntraceableError
        A ``ValueError``: the model cannot be traced; the message says why.
    """
    program = exported(model, volume, plain=_without_shared_writes)
    constants, inputs = {}, []
    signature = program.graph_signature
    lifted = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    nodes = list(program.graph.nodes)
    for node in nodes:
        if node.op != "placeholder":
            _check_runs(node)
            _as_conv3d(node)
            continue
        if node.name in lifted:
            constants[node] = _constant(program, lifted[node.name]).detach()
        elif node.name in signature.user_inputs:
            inputs.append(node)
        else:
            raise UntraceableError(
                f"torch.export found an input {node.name!r} that is neither scan, weight nor buffer"
            )
    # torch.export lists an input that the model writes into as a second output.
    wanted = set(signature.user_outputs)
    outputs = [n for n in nodes[-1].args[0] if isinstance(n, fx.Node) and n.name in wanted]
    if signature.buffers_to_mutate or len(inputs) != 1:
        raise UntraceableError("the model changes its buffers, or takes more than one tensor")
    if len(wanted) != 1 or len(outputs) != 1:
        raise UntraceableError("the model must return exactly one tensor of class scores")
    operations = [node for node in nodes if node.op == "call_function"]
    folded = _fold(operations, constants)
    return Trace([n for n in operations if n not in folded], inputs[0], outputs[0], constants)


def _check_runs(node: fx.Node) -> None:
    """Raise if a node cannot be run as one operation: it is a block of code, or reads memory by strides."""
    if isinstance(node.target, torch._ops.HigherOrderOperator):
        name = str(node.target.name()).removeprefix("wrap_with_")
        what = f"the model's code has a block that cannot be traced through ({name})"
    elif node.target is aten.as_strided.default:
        what = "the model reads memory by strides (as_strided)"
    else:
        return
    near = (user_line(n.meta.get("stack_trace") or "") for n in (node, *node.all_input_nodes, *node.users))
    line = next((line for line in near if line), "")
    raise UntraceableError(what + (f", near {line}" if line else ""))


def _as_conv3d(node: fx.Node) -> None:
    """Turn TorchScript's general convolution into ``conv3d`` if it is one."""
    if node.target is aten._convolution.default and not node.args[6] and len(node.args[3]) == 3:  # type: ignore[arg-type]
        node.target = aten.conv3d.default
        node.args = (*node.args[:6], node.args[8])  # without transposition and flags of cuDNN


def _fold(operations: Sequence[fx.Node], constants: dict[fx.Node, Tensor]) -> set[fx.Node]:
    """Evaluate nodes that depend on weights alone, such as normalised weights; return these nodes."""
    folded = set()
    for node in operations:
        target: Any = functional(node.target)
        tags = getattr(target, "tags", ())
        fixed = isinstance(node.meta.get("val"), Tensor) and all(
            source in constants for source in node.all_input_nodes
        )
        if (
            fixed
            and isinstance(target, torch._ops.OpOverload)
            and torch.Tag.nondeterministic_seeded not in tags
        ):
            arguments = fx.map_arg((node.args, node.kwargs), constants.__getitem__)
            constants[node] = target(*arguments[0], **arguments[1]).detach()
            folded.add(node)
    return folded


def _without_shared_writes(program: ExportedProgram) -> ExportedProgram:
    """Return a program in which no operation writes into memory that another one reads."""
    return program.run_decompositions({}) if _writes_shared_memory(program) else program


def _constant(program: ExportedProgram, name: str) -> Tensor:
    found = program.state_dict.get(name)
    return program.constants[name] if found is None else found


def _writes_shared_memory(program: ExportedProgram) -> bool:
    """Whether an operation writes into a tensor that something else still reads.

    ``relu_`` on a tensor that nothing else reads can be run as ``relu``. Otherwise functionalisation has to
    find out which operation reads which value.
    """
    for node in program.graph.nodes:
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        if node.target._schema.is_mutable:
            written = node.args[0]
            private = (
                isinstance(written, fx.Node)
                and list(written.users) == [node]
                and written.op == "call_function"
                and functional(node.target) is not None
                and not _may_alias(written)
            )
            if not private:
                return True
    return False


def _may_alias(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return True
    returns_alias = any(result.alias_info is not None for result in schema.returns)
    # An in-place operation returns its input, which was checked before.
    return (returns_alias and not schema.is_mutable) or node.target in _MAYBE_VIEWS


_MAYBE_VIEWS = {
    aten.reshape.default, aten.flatten.using_ints, aten.contiguous.default, aten.dropout.default,
    aten.to.dtype, aten.view.default,
}  # fmt: skip


def functional(target: Any) -> Any:
    """Return the out-of-place form of an operation, such as ``relu`` for ``relu_``, or None."""
    schema = getattr(target, "_schema", None)
    if schema is None or not schema.is_mutable:
        return target
    name = target._schema.name.split("::")[1]
    packet = getattr(aten, name[:-1], None) if name.endswith("_") else None
    return getattr(packet, target._overloadname, None) if packet is not None else None


def per_axis(value: Any) -> tuple[int, int, int]:
    """Return one integer per axis from an argument that is one integer, or a sequence of one or three."""
    values = list(value) if isinstance(value, Sequence) else [value]
    z, y, x = (int(n) for n in (values * 3 if len(values) == 1 else values))
    return z, y, x


def with_defaults(arguments: Sequence[Any], defaults: Sequence[Any]) -> list[Any]:
    """Return an operation's arguments, with missing ones at the end taken from the defaults."""
    return [*arguments, *defaults[len(arguments) :]]
