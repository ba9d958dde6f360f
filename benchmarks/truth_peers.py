"""What users of Captum and MONAI would call, as rows of truth.py. Each takes a `Call` and returns a map."""

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from truth_windows import captum_occlusion, monai_occlusion

from pyadx.segmentation import ucm

_LAYERS = {"vggnet": ("conv2b", "conv4c"), "resnet-shallow-gap": ("bn4",)}
_SEGMENTS = 75
_PERTURBED = 100  # samples of KernelShap


@dataclass(frozen=True, eq=False)
class Call:
    """One network, one scan ``[1, 1, D, H, W]``, and the windows."""

    model: torch.nn.Module
    volume: torch.Tensor
    target: int
    window: int
    stride: int
    inside: np.ndarray
    spacing: float


def _map(attribution):
    return attribution.detach()[0, 0].float().numpy()


def integrated_gradients(call):
    from captum.attr import IntegratedGradients

    return _map(
        IntegratedGradients(call.model).attribute(
            call.volume, baselines=0, target=call.target, n_steps=50, internal_batch_size=2
        )
    )


def noise_tunnel(call):
    from captum.attr import NoiseTunnel, Saliency

    spread = 0.1 * float(call.volume.max() - call.volume.min())
    return _map(
        NoiseTunnel(Saliency(call.model)).attribute(
            call.volume.clone(), nt_type="smoothgrad", nt_samples=20, nt_samples_batch_size=1,
            stdevs=spread, target=call.target,
        )
    )  # fmt: skip


def gradient_shap(call):
    """Twenty samples, five (its default) at a time, between a scan of zeros and the scan."""
    from captum.attr import GradientShap

    explain, zeros = GradientShap(call.model), torch.zeros_like(call.volume)
    parts = [
        _map(explain.attribute(call.volume, baselines=zeros, n_samples=5, target=call.target))
        for _ in range(4)
    ]
    return np.mean(parts, axis=0)


def kernel_shap(call):
    from captum.attr import KernelShap

    segments = ucm(call.volume[0, 0], spacing=call.spacing).cut(_SEGMENTS)
    mask = torch.from_numpy(segments).long()[None, None]
    return _map(
        KernelShap(call.model).attribute(
            call.volume, baselines=0, target=call.target, feature_mask=mask, n_samples=_PERTURBED
        )
    )


def captum_windows(call):
    return captum_occlusion(call.model, call.volume, call.target, call.window, call.stride, call.inside)


def monai_windows(mode):
    def run(call):
        return monai_occlusion(
            call.model, call.volume, call.target, call.window, call.stride, call.inside, mode
        )

    return run


def monai_cam(kind, layer):
    def run(call):
        from monai import visualize

        # MONAI's default inverts the map: the strongest value becomes 0. Without it, large means important.
        explain = getattr(visualize, kind)(call.model, target_layers=layer, postprocessing=lambda x: x)
        return _map(explain(call.volume.clone(), class_idx=call.target))

    return run


def monai_smoothgrad(call):
    from monai.visualize import SmoothGrad

    return _map(SmoothGrad(call.model, verbose=False)(call.volume.clone(), index=call.target))


def peers(architecture):
    """Return the functions of all peers that are installed, by name."""
    found = {}
    if find_spec("captum"):
        found |= {
            "Captum Occlusion": captum_windows,
            "Captum IntegratedGradients": integrated_gradients,
            "Captum NoiseTunnel(Saliency)": noise_tunnel,
            "Captum GradientShap": gradient_shap,
            f"Captum KernelShap on {_SEGMENTS} of our segments": kernel_shap,
        }
    if find_spec("monai"):
        for mode in ("gaussian", "mean_patch", "mean_img"):
            found[f"MONAI OcclusionSensitivity {mode}"] = monai_windows(mode)
        for layer in _LAYERS.get(architecture, ()):
            found[f"MONAI GradCAM {layer}"] = monai_cam("GradCAM", layer)
            found[f"MONAI GradCAM++ {layer}"] = monai_cam("GradCAMpp", layer)
        found["MONAI SmoothGrad"] = monai_smoothgrad
    return found
