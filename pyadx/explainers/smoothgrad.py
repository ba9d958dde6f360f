"""SmoothGrad: the mean gradient over noisy copies of the scan (Smilkov et al., 2017)."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

from pyadx.explainers.class_gradient import ClassGradient
from pyadx.explainers.gradient_base import GradientMethod, SmoothingOption
from pyadx.explainers.option_kinds import number, optional, whole
from pyadx.explainers.references import Reference
from pyadx.explainers.registry import Option, method
from pyadx.explainers.shared_options import BASELINE, OutputOption, OutputsOption, ScoreOption, SignedOption
from pyadx.inference.batching import BatchSize
from pyadx.ops.numbers import real_number, whole_number


@method(
    "smoothgrad",
    title="SmoothGrad",
    answers="Which voxels does the class score react to, averaged over small changes of the scan?",
    cost="one forward and one backward pass per sample",
)
class SmoothGrad(GradientMethod):
    """SmoothGrad: ``M = mean over i of grad s(V + noise_i)``.

    The noise is Gaussian, independent in every voxel, and added outside the brain, too, as published. It is
    drawn from ``seed`` and the number of the sample, and is the same for all scans. A map therefore depends
    neither on the other scans of a batch nor on the batch size. Captum's ``NoiseTunnel`` is not used, since
    it draws from torch's global generator for a whole batch at once.

    Parameters
    ----------
    samples : int
        Number of noisy copies.
    noise : float
        Standard deviation of the noise, as a fraction of the scan's range (largest minus smallest value).
    seed : int
        Seed of the noise.
    baseline : float, sequence of float, Tensor, str or None
        If given, the mean gradient is multiplied by ``scan - baseline``. None by default.
    model, signed, smoothing, score, outputs, output, batch_size, progress, spacing
        As in `pyadx.explainers.gradient_base.GradientMethod`.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Annotated[int, Option("Number of noisy copies.", whole())] = 20,
        noise: Annotated[
            float, Option("Standard deviation as a fraction of the scan's range.", number(least=0))
        ] = 0.1,
        *,
        seed: Annotated[int, Option("Seed of the noise.", whole(0))] = 0,
        baseline: Annotated[
            Reference | None,
            Option("If given, multiplies the gradient by scan - baseline.", optional(BASELINE)),
        ] = None,
        signed: SignedOption = True,
        smoothing: SmoothingOption = None,
        score: ScoreOption = "log_odds",
        outputs: OutputsOption = "logits",
        output: OutputOption = None,
        batch_size: BatchSize = "auto",
        progress: bool | None = None,
        spacing: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__(
            model,
            baseline=baseline,
            signed=signed,
            smoothing=smoothing,
            score=score,
            outputs=outputs,
            output=output,
            batch_size=batch_size,
            progress=progress,
            spacing=spacing,
        )
        count, width, start = whole_number(samples), real_number(noise), whole_number(seed)
        if count is None or count < 1:
            raise ValueError(f"samples must be a whole number from 1, got {samples!r}")
        if width is None or not 0 <= width < float("inf"):
            raise ValueError(f"noise must be a finite number from 0, got {noise!r}")
        if start is None or start < 0:
            raise ValueError(f"seed must be a whole number from 0, got {seed!r}")
        self.samples, self.noise, self.seed = count, width, start

    def _attribute(self, score: ClassGradient, scan: Tensor, baseline: Tensor | None) -> tuple[Tensor, int]:
        width = self.noise * float(scan.max() - scan.min())
        total = torch.zeros_like(scan, dtype=torch.float64)

        def add(start: int, stop: int) -> None:
            noisy = torch.stack([scan + width * self._draw(sample, scan) for sample in range(start, stop)])
            # One by one, since the rounding of the sum must not depend on the batch size.
            for own in score.gradient(noisy):
                total.add_(own)

        score.copies.walk(scan, self.samples, add)
        mean = total / self.samples
        return mean if baseline is None else mean * (scan - baseline).double(), self.samples

    def _draw(self, sample: int, scan: Tensor) -> Tensor:
        """Return noise of standard deviation 1, the same on all devices and in all precisions."""
        random = np.random.default_rng([self.seed, sample])
        return torch.from_numpy(random.standard_normal(tuple(scan.shape), np.float32)).to(scan)
