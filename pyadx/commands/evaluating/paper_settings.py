"""Sizes of the experiments of ``pyadx reproduce``: networks, rounds and windows."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NetworkSetting:
    """How one network is trained and occluded.

    Attributes
    ----------
    shape : int
        Voxels of the grid along each axis.
    spacing : float
        Voxel size in mm.
    changes : dict
        Changes to the paper's protocol.
    window, stride : int
        Window and stride of occlusion, in voxels of the network's grid.
    """

    shape: int
    spacing: float
    changes: dict[str, Any]
    window: int
    stride: int


@dataclass(frozen=True)
class Setting:
    """Size of all experiments.

    Attributes
    ----------
    splits, folds : int
        Rounds of the cross-validation.
    networks : dict
        Setting of each architecture, in the order of the paper's Table 1.
    """

    splits: int
    folds: int
    networks: dict[str, NetworkSetting]


_FULL = NetworkSetting(110, 2.0, {}, window=7, stride=1)
# A training step of a residual network at 110^3 takes seconds on a CPU. A grid of 55 voxels of 4 mm covers
# the same brain. A window of 3 voxels there is 12 mm wide; 7 voxels of 2 mm are 14 mm.
_COARSE = NetworkSetting(55, 4.0, {"epochs": 12}, window=3, stride=3)

SETTINGS = {
    "small": Setting(
        splits=1,
        folds=2,
        networks={
            "vggnet": NetworkSetting(110, 2.0, {"epochs": 25, "learning_rate": 1e-4}, window=7, stride=3),
            "resnet": _COARSE,
            "resnet-gap": _COARSE,
            "resnet-shallow-gap": _COARSE,
        },
    ),
    "full": Setting(
        splits=5,
        folds=5,
        networks=dict.fromkeys(("vggnet", "resnet", "resnet-gap", "resnet-shallow-gap"), _FULL),
    ),
}


@dataclass(frozen=True)
class Panel:
    """One heatmap of Figure 2. Window and stride come from the network's setting."""

    name: str
    architecture: str
    method: str


_OCCLUSION = "occlusion:paper,window={window},stride={stride}"
_GRADCAM = "gradcam:paper,layer="
# Not in the paper: the same regions, filled with plausible tissue.
_LOCAL = "occlusion:window={window},stride={stride}"

PANELS = (
    Panel("VGG-Baseline", "vggnet", _OCCLUSION),
    Panel("Res-Baseline", "resnet", _OCCLUSION),
    Panel("VGG-SA-3DUCM", "vggnet", "sa3ducm:paper"),
    Panel("Res-SA-3DUCM", "resnet", "sa3ducm:paper"),
    Panel("VGG-Occlusion, local mean", "vggnet", _LOCAL),
    Panel("Res-Occlusion, local mean", "resnet", _LOCAL),
    Panel("VGG-SA-3DUCM, local mean", "vggnet", "sa3ducm"),
    Panel("Res-SA-3DUCM, local mean", "resnet", "sa3ducm"),
    Panel("Res-3D-CAM", "resnet-gap", "cam:paper"),
    Panel("Res-3D-CAM-Shallow", "resnet-shallow-gap", "cam:paper"),
    Panel("VGG-3D-Grad-CAM", "vggnet", f"{_GRADCAM}conv4c"),
    Panel("Res-3D-Grad-CAM", "resnet", f"{_GRADCAM}voxres9_out"),
    Panel("VGG-3D-Grad-CAM-Shallow", "vggnet", f"{_GRADCAM}conv2b"),
    Panel("Res-3D-Grad-CAM-Shallow", "resnet", f"{_GRADCAM}bn4"),
)

# Methods for the comparison of groups: the defaults of pyadx.
GROUP_METHODS = {"SA-3DUCM": "sa3ducm", "Occlusion": _LOCAL}
