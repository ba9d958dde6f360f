"""Input x gradient: a first-order estimate of the score's change from a baseline to the scan."""

from torch import Tensor

from pyadx.explainers.class_gradient import ClassGradient
from pyadx.explainers.gradient_base import GradientMethod
from pyadx.explainers.registry import method


@method(
    "inputxgradient",
    title="Input x gradient",
    answers="How much does each voxel add to the class score, to first order?",
    cost="one forward and one backward pass",
)
class InputXGradient(GradientMethod):
    """Gradient times input: ``M = (V - R) * grad s(V)`` for a scan ``V`` and a baseline ``R``.

    Captum's ``InputXGradient`` always takes the baseline 0, for which both give the same map. Source:
    Shrikumar et al., 2016.

    Parameters
    ----------
    model, baseline, signed, smoothing, score, outputs, output, batch_size, progress, spacing
        As in `pyadx.explainers.gradient_base.GradientMethod`.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range.
    """

    def _attribute(self, score: ClassGradient, scan: Tensor, baseline: Tensor | None) -> tuple[Tensor, int]:
        assert baseline is not None
        return score.gradient(scan[None])[0].double() * (scan - baseline).double(), 1
