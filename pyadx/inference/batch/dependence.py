"""Whether a model's class scores of a scan depend on the scans beside it, and where that comes from."""

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

# Largest difference, relative to the class scores, that rounding makes of another batch size.
_ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4}
_told: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()


T = TypeVar("T")


class BatchDependenceWarning(UserWarning):
    """A model's class scores of a scan depend on the scans beside it."""


@dataclass(frozen=True)
class BatchDependence:
    """Why scans have to be run one at a time.

    Attributes
    ----------
    where : str
        The layer and the line of code, as far as they are known.
    difference : float or None
        How far a scan's class scores moved when another scan lay beside it; None if it takes one only.
    largest : float
        Largest class score of the scan alone, in absolute value.
    error : str
        What the model said to several scans, if it takes one only.
    """

    where: str
    difference: float | None
    largest: float
    error: str = ""

    def tell(self, model: nn.Module) -> None:
        """Warn, once for each model."""
        model = inside_of(model)
        if model in _told:
            return
        _told.add(model)
        where = f" ({self.where})" if self.where else ""
        if self.difference is None:
            text = f"the model takes one scan at a time: of several it says {self.error!r}{where}"
        else:
            text = (
                f"the model's class scores of a scan depend on the scans beside it{where}: by "
                f"{self.difference:.3g} where the largest is {self.largest:.3g}"
            )
        warnings.warn(f"{text}; every scan is run by itself", BatchDependenceWarning, stacklevel=4)


_APART = (
    nn.modules.conv._ConvNd, nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd, nn.Linear, nn.Dropout,
    nn.Dropout3d, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid,
    nn.Tanh, nn.Hardswish, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm, nn.Identity,
)  # fmt: skip


def runs_apart(model: nn.Module) -> bool:
    """Whether a model is put together from torch's own layers only, none of which looks across a batch."""
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
    """Say why a model has to be run on one scan at a time, or None.

    Parameters
    ----------
    forward : Forward
        Runs the model, in evaluation mode.
    scan : Tensor
        ``[C, D, H, W]``.
    known : State
        Where the scans of a batch lie in the class scores, if that was followed. Where it was not, or an
        operation was not known, the scan is run alone and between two others.
    place : callable
        Names the place that ``known`` points to.
    """
    if known == ALL_APART:
        return None
    entangled = known if isinstance(known, Entangled) else None
    where = place(entangled.where) if entangled is not None else ""
    alone = forward(scan[None].clone())
    largest = float(alone.abs().max())
    before, behind = _others(scan)
    batch = torch.stack([before, scan, behind])
    try:
        beside = forward(batch.clone())
        if beside.shape != (len(batch), *alone.shape[1:]):
            raise ValueError(f"it gives class scores of shape {tuple(beside.shape)}")
    except Exception as error:  # the user's code, which may raise anything
        if is_out_of_memory(error):
            return None  # what is halved later ends at one
        return BatchDependence(where or _line_of(error), None, largest, _first_line(error))
    difference = float((beside[1] - alone[0]).abs().max())
    certain = entangled is not None and entangled.certain
    if not certain and difference <= _ROUNDING.get(alone.dtype, 1e-2) * largest:
        return None
    if not certain and float((forward(scan[None].clone()) - alone).abs().max()) > 0.1 * difference:
        return None  # it gives something else each time
    # A trace knows lines of `forward` methods only.
    return BatchDependence(_place(forward, batch) or where, difference, largest)


def _place(forward: Forward, batch: Tensor) -> str:
    """Run the scans again to see where they meet."""
    with Watch(forward.model) as watch:
        forward(batch)
    return str(watch.state.where or "") if isinstance(watch.state, Entangled) else ""


def run_watched(
    run: Callable[[], T], model: nn.Module, forward: Forward, scan: Tensor
) -> tuple[T | None, BatchDependence | None]:
    """Run a model on several scans, and see whether that may be done.

    Parameters
    ----------
    run : callable
        Runs ``forward`` on a batch.
    model : torch.nn.Module
        The model that it runs.
    forward : Forward
        Runs the model, in evaluation mode.
    scan : Tensor
        One of the scans, ``[C, D, H, W]``.

    Returns
    -------
    made
        What ``run`` returned, which holds if there is no dependence; None if the model takes one scan only.
    dependence : BatchDependence or None
        Why scans have to be run one at a time.
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
            raise  # it has nothing to do with the batch
        return None, dependence
    with torch.no_grad():
        return made, find_dependence(forward, scan, watch.state)


def _others(scan: Tensor) -> tuple[Tensor, Tensor]:
    """Make two scans of other shapes and contrast, whose range is wider than the scan's."""
    low, high = scan.min(), scan.max()
    width = torch.where(high > low, high - low, torch.ones_like(high))
    turned = scan.flip((1, 2, 3)) - low
    return turned * 1.5 + (low - 0.1 * width), low + 0.7 * width - turned


def _line_of(error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(FOREIGN)]
    return code_line(frames[-1].filename, frames[-1].lineno, frames[-1].line) if frames else ""


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
