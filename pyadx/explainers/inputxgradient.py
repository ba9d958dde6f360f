"""Input x gradient: the change of the class score from a baseline to the scan, to first order."""

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
    """Gradient times input: ``M = (V - R) * grad s(V)`` for a baseline ``R`` (Shrikumar et al., 2016).

    Captum's ``InputXGradient`` knows no baseline but 0; with 0 both give the same map.

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
