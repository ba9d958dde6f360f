"""Is Grad-CAM faster end to end than MONAI's and Captum's, giving the same map?

All three get one 110^3 scan and a network in evaluation mode with random weights, and return a map on the
scan's grid. MONAI rectifies with ReLU and rescales the map to 0..1 (its ``postprocessing``), which is
switched off here so that values can be compared.
"""

import pytest
import torch
import torch.nn.functional as F

from pyadx import GradCAM, models

LAYERS = {"vggnet": "conv2b", "resnet": "bn4"}
ROUNDS = {"vggnet": 9, "resnet": 5}
SIZE = (110, 110, 110)


def pyadx_call(model, layer, scan):
    explain = GradCAM(model, layer, "relu")
    return lambda: explain(scan, target=1)[0]


def captum_call(model, layer, scan):
    attr = pytest.importorskip("captum.attr")
    explain = attr.LayerGradCam(model, model.get_submodule(layer))

    def call():
        low = explain.attribute(scan, target=1, relu_attributions=True).detach()
        return F.interpolate(low, size=SIZE, mode="trilinear", align_corners=False)[0, 0]

    return call


def monai_call(model, layer, scan):
    visualize = pytest.importorskip("monai.visualize")
    explain = visualize.GradCAM(nn_module=model, target_layers=layer, postprocessing=lambda x: x)
    return lambda: explain(scan, class_idx=1)[0, 0].detach()


def forward_call(model, layer, scan):
    def call():
        with torch.no_grad():
            model(scan)

    return call


CALLS = {
    "pyadx": pyadx_call,
    "Captum LayerGradCam + interpolate": captum_call,
    "MONAI GradCAM": monai_call,
    "for scale: one forward, no explanation": forward_call,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("network", LAYERS)
def test_gradcam(network, name, device, timed):
    model = models.build(network, seed=0).eval().to(device)
    torch.manual_seed(0)
    scan = torch.rand(1, 1, *SIZE, device=device)
    call = CALLS[name](model, LAYERS[network], scan)
    group = f"Grad-CAM end to end, {network}/{LAYERS[network]}, 110^3, batch 1"
    out = timed(group, name, call, rounds=ROUNDS[network])
    if out is not None:
        expected = pyadx_call(model, LAYERS[network], scan)()
        assert torch.allclose(out, expected, rtol=0, atol=1e-2 * expected.max().item())
