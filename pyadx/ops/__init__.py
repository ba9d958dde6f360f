"""The native operators: checked arguments in, tensors out, on CPU and CUDA.

The operators are registered as ``torch.ops.pyadx.*`` by the compiled library ``pyadx/_C.so``. This
package is their only caller: it words the errors, brings arguments into the form the kernels take, and
registers the fake (shape-only) kernels that ``torch.compile`` needs. None of the operators is
differentiable; results never require gradients. `pyadx.ops.patches` holds those of incremental
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
