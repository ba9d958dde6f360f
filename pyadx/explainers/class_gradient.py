"""The class score of one scan as a function that gradients are taken of."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyadx.explainers.options import RunOptions
from pyadx.extras import needed_for
from pyadx.inference.batch.dependence import BatchDependence, run_watched, runs_apart
from pyadx.inference.batching import first_batch, in_batches, is_out_of_memory
from pyadx.inference.model_state import Forward


class Copies:
    """How many copies of a scan, changed a little, run at once during one call.

    It becomes smaller where memory runs out, and is one where scans cannot be run side by side.

    Parameters
    ----------
    forward : Forward
        Runs the model, in evaluation mode.
    options : RunOptions
        The explainer's.
    """

    def __init__(self, forward: Forward, options: RunOptions) -> None:
        self._forward = forward
        self._batch_size = options.batch_size
        self._size: int | None = None
        self.dependence: BatchDependence | None = None

    def look(self, scan: Tensor) -> None:
        """See whether copies of a scan ``[C, D, H, W]`` may run side by side; once for each call."""
        if self._size is not None:
            return
        self._size = first_batch(self._batch_size, scan.device)
        if runs_apart(self._forward.model):
            return
        with torch.no_grad():
            pair = torch.stack([scan, scan])
            _, self.dependence = run_watched(
                lambda: self._forward(pair), self._forward.model, self._forward, scan
            )
        if self.dependence is not None:
            self._size = 1

    def largest(self, scan: Tensor) -> int:
        """Return how many copies of a scan ``[C, D, H, W]`` may run at once."""
        self.look(scan)
        if self.dependence is not None:
            self.dependence.tell(self._forward.model)
        assert self._size is not None
        return self._size

    def walk(self, scan: Tensor, count: int, run: Callable[[int, int], None]) -> None:
        """Call ``run(start, stop)`` over ``range(count)`` in batches that fit."""
        self._size = in_batches(count, self.largest(scan), scan.device, run)

    def halving(self, scan: Tensor, run: Callable[[int], Tensor]) -> Tensor:
        """Call ``run(size)``, which makes its own batches, with a size that fits."""
        while True:
            size = self.largest(scan)
            try:
                return run(size)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or size == 1:
                    raise
            # Outside the except block, so that the failed batch's tensors are free by now.
            if scan.device.type == "cuda":
                torch.cuda.empty_cache()
            self._size = size // 2


class ClassGradient:
    """The score of one scan's class, for any batch of scans of the same shape.

    Parameters
    ----------
    forward : Forward
        Runs the model, in evaluation mode.
    target : Tensor
        int64 ``[1]``: the class.
    options : RunOptions
        Which score is followed, and what the model returns.
    copies : Copies
        How many run at once.
    """

    def __init__(self, forward: Forward, target: Tensor, options: RunOptions, copies: Copies) -> None:
        self.forward, self.copies = forward, copies
        self._target, self._options = target, options

    def logits(self, scans: Tensor) -> Tensor:
        """Return class scores before softmax ``[N, classes]`` of scans ``[N, C, D, H, W]``."""
        # A copy: a model may work in place, and gradients are taken of scans as they came.
        return self._options.reading.again(self.forward(scans.clone()), scans.shape[0])

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return the score ``[N]`` that class scores ``[N, classes]`` make."""
        return self._options.reading.value(logits, self._target.expand(len(logits)))

    def __call__(self, scans: Tensor) -> Tensor:
        """Return the score of each of ``[N, C, D, H, W]``, ``[N]``.

        Raises
        ------
        ValueError
            If a gradient is wanted and there is none.
        """
        return differentiable(self.of_logits(self.logits(scans)), scans)

    def value(self, scan: Tensor) -> float:
        """Return the score of one scan ``[C, D, H, W]``."""
        with torch.no_grad():
            return float(self(scan[None]))

    def gradient(self, scans: Tensor) -> Tensor:
        """Return the derivative of each scan's score by its voxels, of the scans' shape and dtype."""
        with torch.enable_grad():
            scans = scans.detach().clone().requires_grad_()
            (found,) = torch.autograd.grad(self(scans).sum(), scans, allow_unused=True)
        if found is None:
            raise independent()
        return found


def differentiable(scores: Tensor, scans: Tensor) -> Tensor:
    """Return scores, if they hang on the scans wherever a gradient is wanted."""
    if torch.is_grad_enabled() and scans.requires_grad and not scores.requires_grad:
        raise independent()
    return scores


def independent() -> ValueError:
    """Say that there is no gradient."""
    return ValueError("the class score does not depend on the scan in a differentiable way")


def captum_attribution(method: str, name: str) -> Any:
    """Return a class of ``captum.attr``.

    Raises
    ------
    ValueError
        If Captum is not installed.
    """
    with needed_for(method):
        from captum import attr
    return getattr(attr, name)
