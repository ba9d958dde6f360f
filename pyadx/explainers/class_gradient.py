"""The class score of one scan as a differentiable function of its voxels."""

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
    """How many changed copies of a scan run in one batch.

    The number is halved when memory runs out. It is 1 if the model's scores of a scan depend on the other
    scans of its batch.

    Parameters
    ----------
    forward : Forward
        Runs the model, in evaluation mode.
    options : RunOptions
        Options of the explainer.

    Attributes
    ----------
    dependence : BatchDependence or None
        How scores depend on the other scans of a batch, if they do; known after `look`.
    """

    def __init__(self, forward: Forward, options: RunOptions) -> None:
        self._forward = forward
        self._batch_size = options.batch_size
        self._size: int | None = None
        self.dependence: BatchDependence | None = None

    def look(self, scan: Tensor) -> None:
        """Find out, once, whether copies of a scan ``[C, D, H, W]`` may run side by side."""
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
        """Call ``run(start, stop)`` for parts of ``range(count)`` that fit in memory."""
        self._size = in_batches(count, self.largest(scan), scan.device, run)

    def halving(self, scan: Tensor, run: Callable[[int], Tensor]) -> Tensor:
        """Call ``run(size)``, which makes its own batches, with a batch size that fits in memory."""
        while True:
            size = self.largest(scan)
            try:
                return run(size)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or size == 1:
                    raise
            # Outside the except block, where the failed batch's tensors have been freed.
            if scan.device.type == "cuda":
                torch.cuda.empty_cache()
            self._size = size // 2


class ClassGradient:
    """The score of one class as a function of a batch of scans.

    Parameters
    ----------
    forward : Forward
        Runs the model, in evaluation mode.
    target : Tensor
        int64 ``[1]``: index of the class.
    options : RunOptions
        Which score is explained, and what the model returns.
    copies : Copies
        How many scans run at once.
    """

    def __init__(self, forward: Forward, target: Tensor, options: RunOptions, copies: Copies) -> None:
        self.forward, self.copies = forward, copies
        self._target, self._options = target, options

    def logits(self, scans: Tensor) -> Tensor:
        """Return class scores before softmax ``[N, classes]`` of scans ``[N, C, D, H, W]``."""
        # A copy, since a model may change its input in place.
        return self._options.reading.again(self.forward(scans.clone()), scans.shape[0])

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return the score ``[N]`` of logits ``[N, classes]``."""
        return self._options.reading.value(logits, self._target.expand(len(logits)))

    def __call__(self, scans: Tensor) -> Tensor:
        """Return the scores ``[N]`` of scans ``[N, C, D, H, W]``.

        Raises
        ------
        ValueError
            If the scans require a gradient, and the score has none.
        """
        return differentiable(self.of_logits(self.logits(scans)), scans)

    def value(self, scan: Tensor) -> float:
        """Return the score of one scan ``[C, D, H, W]``."""
        with torch.no_grad():
            return float(self(scan[None]))

    def gradient(self, scans: Tensor) -> Tensor:
        """Return the derivative of each scan's score with respect to its voxels.

        Parameters
        ----------
        scans : Tensor
            ``[N, C, D, H, W]``.

        Returns
        -------
        Tensor
            Of the same shape and dtype.

        Raises
        ------
        ValueError
            If the score does not depend on the scans in a differentiable way.
        """
        with torch.enable_grad():
            scans = scans.detach().clone().requires_grad_()
            (found,) = torch.autograd.grad(self(scans).sum(), scans, allow_unused=True)
        if found is None:
            raise independent()
        return found


def differentiable(scores: Tensor, scans: Tensor) -> Tensor:
    """Return scores; raise ``ValueError`` if a gradient is required and there is none."""
    if torch.is_grad_enabled() and scans.requires_grad and not scores.requires_grad:
        raise independent()
    return scores


def independent() -> ValueError:
    """Return the error for a score without gradient."""
    return ValueError(
        "the class score does not depend on the scan in a differentiable way; use a method without "
        "gradients, such as occlusion"
    )


def captum_attribution(method: str, name: str) -> Any:
    """Return the class of ``captum.attr`` with this name, for an explanation method.

    Raises
    ------
    ValueError
        If Captum is not installed.
    """
    with needed_for(method):
        from captum import attr
    return getattr(attr, name)
