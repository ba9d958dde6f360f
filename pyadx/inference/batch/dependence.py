"""Find out whether a model's class scores of a scan depend on the other scans in its batch, and why."""

import traceback
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pyadx.inference.adapted import Adapted, inside_of
from pyadx.inference.batch.axis import ALL_APART, Entangled, State
from pyadx.inference.batch.watch import FOREIGN, Watch, code_line
from pyadx.inference.batching import is_out_of_memory
from pyadx.inference.model_state import Forward

# Largest relative difference of class scores that counts as rounding when the batch size changes.
_ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4}
_warned_models: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()


T = TypeVar("T")


class BatchDependenceWarning(UserWarning):
    """A model's class scores of a scan depend on the other scans in its batch."""


@dataclass(frozen=True)
class BatchDependence:
    """The reason why scans have to be run one at a time.

    Attributes
    ----------
    where : str
        The responsible layer and line of code, as far as they are known.
    difference : float or None
        Largest change of a scan's class scores when it is in a batch with other scans. None if the model
        accepts only one scan.
    largest : float
        Largest absolute class score of the scan alone.
    error : str
        How the model failed on several scans, if it accepts only one.
    """

    where: str
    difference: float | None
    largest: float
    error: str = ""

    def tell(self, model: nn.Module) -> None:
        """Warn, but only once for each model."""
        model = inside_of(model)
        if model in _warned_models:
            return
        _warned_models.add(model)
        where = f" ({self.where})" if self.where else ""
        if self.difference is None:
            text = (
                f"the model accepts only one scan at a time: on several it fails with {self.error!r}{where}"
            )
        else:
            text = (
                f"the model's class scores of a scan depend on the other scans in its batch{where}: they "
                f"change by {self.difference:.3g} where the largest is {self.largest:.3g}"
            )
        warnings.warn(
            f"{text}; scans are therefore run one at a time", BatchDependenceWarning, stacklevel=4
        )


# Layers that process each scan of a batch separately.
_APART = (
    nn.modules.conv._ConvNd, nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd, nn.Linear, nn.Dropout,
    nn.Dropout3d, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid,
    nn.Tanh, nn.Hardswish, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm, nn.Identity,
)  # fmt: skip


def runs_apart(model: nn.Module) -> bool:
    """Whether a model consists only of torch's own layers, none of which mixes the scans of a batch."""
    for module in model.modules():
        if type(module) in (nn.Sequential, Adapted):
            continue
        if type(module) is nn.Flatten and module.start_dim == 1:
            continue
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            continue
        if not isinstance(module, _APART) or not type(module).__module__.startswith("torch.nn.modules."):
            return False
    return True


def find_dependence(
    forward: Forward, scan: Tensor, known: State = None, place: Callable[[Any], str] = str
) -> BatchDependence | None:
    """Return the reason why a model has to be run on one scan at a time, or None.

    Parameters
    ----------
    forward : Forward
        Runs the model, which is in evaluation mode.
    scan : Tensor
        ``[C, D, H, W]``.
    known : State
        Where the scans of a batch are in the class scores, as found by following the operations. If the
        scans are known to stay apart, the model is not run. Otherwise the scan is run alone and in a batch
        between two others, and the class scores are compared.
    place : callable
        Describes the operation in ``known.where``.

    Returns
    -------
    BatchDependence or None
        None if scans may share a batch, if class scores also differ between two runs of the same scan, or
        if memory does not suffice for the test.
    """
    if known == ALL_APART:
        return None
    entangled = known if isinstance(known, Entangled) else None
    where = place(entangled.where) if entangled is not None else ""
    alone = forward(scan[None].clone())
    largest = float(alone.abs().max())
    before, behind = _others(scan)
    together = torch.stack([before, scan, behind])
    for batch in (together, together[:2]):
        try:
            beside = forward(batch.clone())
            if beside.shape != (len(batch), *alone.shape[1:]):
                raise ValueError(f"{len(batch)} scans give class scores of shape {tuple(beside.shape)}")
            break
        except Exception as error:  # the user's code, which may raise anything
            if not is_out_of_memory(error):
                return BatchDependence(where or _line_of(error), None, largest, _first_line(error))
    else:
        return None  # not even two scans fit, so scoring will run them one at a time
    difference = float((beside[1] - alone[0]).abs().max())
    certain = entangled is not None and entangled.certain
    if not certain and difference <= _ROUNDING.get(alone.dtype, 1e-2) * largest:
        return None
    if not certain and float((forward(scan[None].clone()) - alone).abs().max()) > 0.1 * difference:
        return None  # the model is random: two runs of the same scan differ as well
    # A run finds any line of the user's code; a trace knows only lines of `forward` methods.
    return BatchDependence(_place(forward, batch) or where, difference, largest)


def _place(forward: Forward, batch: Tensor) -> str:
    """Run the scans again to find the operation that mixes them."""
    with Watch(forward.model) as watch:
        forward(batch)
    return str(watch.state.where or "") if isinstance(watch.state, Entangled) else ""


def run_watched(
    run: Callable[[], T], model: nn.Module, forward: Forward, scan: Tensor
) -> tuple[T | None, BatchDependence | None]:
    """Run a model on several scans, and check whether they may share a batch.

    Parameters
    ----------
    run : callable
        Runs ``forward`` on a batch.
    model : torch.nn.Module
        The model that it runs.
    forward : Forward
        Runs the model, which is in evaluation mode.
    scan : Tensor
        One of the scans, ``[C, D, H, W]``.

    Returns
    -------
    made : object or None
        What ``run`` returned; to be discarded if there is a dependence. None if the model failed on several
        scans.
    dependence : BatchDependence or None
        The reason why scans have to be run one at a time; None if they may share a batch.
    """
    watch = Watch(model)
    try:
        with watch:
            made = run()
    except Exception as error:  # the user's code, which may raise anything
        if is_out_of_memory(error):
            raise
        with torch.no_grad():
            dependence = find_dependence(forward, scan)
        if dependence is None:
            raise  # the error does not come from the batch
        return None, dependence
    with torch.no_grad():
        return made, find_dependence(forward, scan, watch.state)


def _others(scan: Tensor) -> tuple[Tensor, Tensor]:
    """Make two scans of the same shape with other content, and a wider range of values than the scan."""
    low, high = scan.min(), scan.max()
    width = torch.where(high > low, high - low, torch.ones_like(high))
    turned = scan.flip((1, 2, 3)) - low
    return turned * 1.5 + (low - 0.1 * width), low + 0.7 * width - turned


def _line_of(error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(FOREIGN)]
    return code_line(frames[-1].filename, frames[-1].lineno, frames[-1].line) if frames else ""


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
