"""Integrated gradients (Sundararajan et al., 2017), computed by Captum."""

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from pyadx.explainers.class_gradient import ClassGradient, captum_attribution
from pyadx.explainers.gradient_base import GradientMethod, SmoothingOption
from pyadx.explainers.option_kinds import whole
from pyadx.explainers.registry import Option, method
from pyadx.explainers.shared_options import (
    BaselineOption,
    OutputOption,
    OutputsOption,
    ScoreOption,
    SignedOption,
)
from pyadx.inference.batching import BatchSize
from pyadx.ops.numbers import whole_number


@method(
    "integratedgradients",
    title="Integrated gradients",
    answers="How much does each voxel add to the class score on the way from a baseline to the scan?",
    cost="one forward and one backward pass per step",
)
class IntegratedGradients(GradientMethod):
    """Integrated gradients: ``M = (V - R) * integral over a in [0, 1] of grad s(R + a (V - R))``.

    ``V`` is the scan and ``R`` the baseline. The exact map adds up to ``s(V) - s(R)``. The integral is
    approximated by Gauss-Legendre quadrature, which leaves a completeness gap: the report states it, and a
    call warns if it is above 5%. The map is computed by Captum (``pip install 'pyadx[gradients]'``).

    Parameters
    ----------
    steps : int
        Number of points on the path at which the gradient is computed.
    model, baseline, signed, smoothing, score, outputs, output, batch_size, progress, spacing
        As in `pyadx.explainers.gradient_base.GradientMethod`.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range, or Captum is not installed.
    """

    _captum = "IntegratedGradients"

    def __init__(
        self,
        model: nn.Module,
        baseline: BaselineOption = "local",
        steps: Annotated[int, Option("Number of points on the path.", whole())] = 32,
        *,
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
        count = whole_number(steps)
        if count is None or count < 1:
            raise ValueError(f"steps must be a whole number from 1, got {steps!r}")
        self.steps = count

    @property
    def _advice(self) -> str:
        return f"more steps reduce it (steps={2 * self.steps})"

    def _attribute(self, score: ClassGradient, scan: Tensor, baseline: Tensor | None) -> tuple[Tensor, int]:
        assert baseline is not None
        integrate = captum_attribution("integratedgradients", "IntegratedGradients")(score)

        def run(size: int) -> Tensor:
            return integrate.attribute(
                scan[None],
                baseline[None],
                n_steps=self.steps,
                method="gausslegendre",
                internal_batch_size=size,
            )

        return score.copies.halving(scan, run)[0], self.steps
