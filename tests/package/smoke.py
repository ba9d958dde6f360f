"""What an installed wheel must do where there is only torch and numpy; prints where it lies."""

import torch

import pyadx
from pyadx import _ucm

out = pyadx.ops.occlude_boxes(torch.ones(1, 4, 4, 4), torch.tensor([[0, 0, 0, 2, 2, 2]]))
assert out.sum() == 56, out.sum()
model = pyadx.models.build("resnet-gap", (24, 24, 24), seed=0)
scan = torch.rand(1, 1, 24, 24, 24)
cam, gradcam = pyadx.CAM(model)(scan, target="AD"), pyadx.GradCAM(model)(scan, target="AD")
assert torch.allclose(gradcam * 27, cam, rtol=1e-3, atol=1e-5)
assert pyadx.Occlusion(model, 7, 12, fill=0.0)(scan, target=1).shape == (1, 24, 24, 24)
assert _ucm.version == pyadx.__version__
print(pyadx.__file__)
