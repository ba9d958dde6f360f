"""The native operators: checked arguments in, tensors out, on CPU and CUDA.

The compiled library ``pyadx/_C.so`` registers the operators as ``torch.ops.pyadx.*``. Only this package
calls them: it checks arguments, raises readable errors, converts arguments to the form that the kernels
take, and registers the fake (shape-only) kernels that ``torch.compile`` needs. None of the operators is
differentiable; results never require gradients. `pyadx.ops.patches` holds the operators of incremental
inference.
"""

from pyadx.ops.cam import Rectify, check_rectify, stretch, weighted_cam
from pyadx.ops.occlusion import Fill, fill_tensor, occlude_boxes, occlude_labels

__all__ = [
    "Fill",
    "Rectify",
    "check_rectify",
    "fill_tensor",
    "occlude_boxes",
    "occlude_labels",
    "stretch",
    "weighted_cam",
]
