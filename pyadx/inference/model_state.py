"""Run a user's model without leaving changes in it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pyadx.inference.adapted import Adapted
from pyadx.inference.batching import is_out_of_memory
from pyadx.inference.wrappers import unwrapped

# A module's dictionary of parameters or buffers, a name in it, and the tensor that replaces the entry.
StandIn = tuple[dict[str, Any], str, Tensor]


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put every submodule into evaluation mode, and restore the model afterwards, also after an error.

    The mode is restored for each submodule, because some may be in training mode on purpose and others not.
    Parameters, buffers and other tensors of a module are the same objects afterwards, even if the forward
    pass or a tracer replaced them. Inside the context nothing runs compiled, because hooks do not run in
    compiled code.
    """
    # A frozen TorchScript module has no mode.
    modes = [(module, module.training) for module in model.modules() if hasattr(module, "training")]
    eager = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    held = [(module, _tensors_of(module)) for module in eager]
    compiled = [
        (module, module._compiled_call_impl) for module in eager if module._compiled_call_impl is not None
    ]
    try:
        for module, _ in modes:
            module.training = False
        for module, _ in compiled:
            module._compiled_call_impl = None
        with _no_compiled_code():
            yield
    finally:
        for module, training in modes:
            module.training = training
        for module, call in compiled:
            module._compiled_call_impl = call
        for module, tensors in held:
            _put_back(module, tensors)


def _tensors_of(module: nn.Module) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    attributes = {name: value for name, value in vars(module).items() if isinstance(value, Tensor)}
    return dict(module._parameters), dict(module._buffers), attributes


def _put_back(module: nn.Module, tensors: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]) -> None:
    parameters, buffers, attributes = tensors
    for own, before in ((module._parameters, parameters), (module._buffers, buffers)):
        if list(own) != list(before) or any(own[name] is not value for name, value in before.items()):
            own.clear()
            own.update(before)
    own = vars(module)
    for name in [name for name, value in own.items() if isinstance(value, Tensor)]:
        if name not in attributes:
            del own[name]
    for name, value in attributes.items():
        if own.get(name) is not value:
            own[name] = value


def _no_compiled_code() -> Any:
    # Loading this takes a second. If it is not loaded, nothing has been compiled.
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    return torch.compiler.set_stance("force_eager")


@contextmanager
def tensor_float(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in convolutions and matrix products on CUDA, and restore the setting afterwards.

    TF32 keeps ten mantissa bits of each factor. By default torch allows it in convolutions.
    """
    convolutions = torch.backends.cudnn.allow_tf32
    products = torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.backends.cuda.matmul.allow_tf32 = products


class Forward:
    """Runs a model on detached weights, in a layout that suits the device, and on copies of its buffers.

    Weights are detached, so no parameter of the user's model receives a gradient, whether it is frozen or
    not. Buffers are copied before each run, so a forward pass may write into them. On the CPU, convolution
    weights are in channels-last order, which keeps batches of one on oneDNN's fast path. A model that fails
    on channels-last maps, for example at a ``view`` before a linear layer, is run on its weights in their
    original layout.

    `torch.func.functional_call` cannot be used: in a model that registers one module under two names, it
    leaves the replacement tensors behind.

    Parameters
    ----------
    model : torch.nn.Module
        Any module that takes one tensor. Wrappers are removed (`unwrapped`). Run it inside
        `evaluation_mode`.

    Raises
    ------
    ValueError
        If a parameter of the model has not been initialised.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model = unwrapped(model)
        self._arguments = model.arguments if isinstance(model, Adapted) else None
        self._modules = [m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule)]
        # Errors show the names that the user knows.
        own = model.inside if isinstance(model, Adapted) else model
        for name, parameter in own.named_parameters():
            if is_lazy(parameter):
                raise ValueError(
                    f"the model's parameter {name!r} is not initialised yet; run the model once on a scan"
                )
        self._weights = _stand_ins([m._parameters for m in self._modules], _laid_out)
        self._original_layout = False
        self._tried: set[object] = set()

    def __call__(self, x: Tensor, channels_last: bool = False) -> Tensor:
        """Run the model on ``x``.

        Parameters
        ----------
        x : Tensor
            A contiguous batch of scans.
        channels_last : bool
            Whether to pass a one-channel batch on with channels-last strides. They describe the same memory
            and make convolutions faster.

        Returns
        -------
        Tensor
            What the model returns.
        """
        case = (x.shape, channels_last)  # the layout of maps may depend on the batch size
        if self._original_layout or case in self._tried:
            return self._run(x, channels_last)
        # The first run of each shape uses a copy: a model may change its input in place before it fails.
        try:
            outputs = self._run(x.clone(), channels_last)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
        else:
            self._tried.add(case)
            return outputs
        self._weights = _stand_ins([m._parameters for m in self._modules], Tensor.detach)
        self._original_layout = True
        return self._run(x, channels_last)

    @contextmanager
    def rows(self, start: int, stop: int) -> Iterator[None]:
        """Within the context, use the further arguments of scans ``start`` to ``stop`` (exclusive)."""
        if not self._arguments or not isinstance(self.model, Adapted):
            yield
            return
        before = self.model.arguments
        self.model.arguments = self._arguments.of(start, stop)
        try:
            yield
        finally:
            self.model.arguments = before

    def _run(self, x: Tensor, channels_last: bool) -> Tensor:
        if channels_last and not self._original_layout:
            x = _channels_last(x)
        buffers = _stand_ins([m._buffers for m in self._modules], lambda buffer: buffer.detach().clone())
        before = []
        try:
            for own, name, value in (*self._weights, *buffers):
                before.append((own, name, own[name]))
                own[name] = value
            return self.model(x)
        finally:
            for own, name, original in reversed(before):
                own[name] = original


def _stand_ins(places: list[dict[str, Any]], make: Callable[[Tensor], Tensor]) -> list[StandIn]:
    """Make one stand-in per tensor, even if it is registered several times: tied tensors stay tied."""
    made: dict[int, Tensor] = {}
    found = []
    for own in places:
        for name, tensor in own.items():
            if tensor is not None:
                if id(tensor) not in made:
                    made[id(tensor)] = make(tensor)
                found.append((own, name, made[id(tensor)]))
    return found


def _laid_out(parameter: Tensor) -> Tensor:
    weight = parameter.detach()
    if weight.dim() == 5 and weight.device.type == "cpu":
        return weight.contiguous(memory_format=torch.channels_last_3d)
    return weight


def _channels_last(batch: Tensor) -> Tensor:
    """View a contiguous one-channel batch as channels-last; leave other batches as they are."""
    if batch.shape[1] != 1:
        return batch
    strides = list(batch.stride())
    strides[1] = 1
    return batch.as_strided(batch.shape, strides)
