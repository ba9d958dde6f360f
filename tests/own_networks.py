"""A user's own code, weights and card, as files."""

import json

import torch

CODE = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.features = nn.Sequential(nn.Conv3d(1, width, 3, padding=1), nn.BatchNorm3d(width), nn.ReLU())
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.features(x).amax((2, 3, 4)))

class Needs(nn.Module):
    def __init__(self, width):
        super().__init__()

def network():
    return Small()

def fails():
    return undefined

def gives():
    return 3

ready = Small()
number = 7
"""
CARD = """
in_shape = [12, 13, 11]
spacing = "none"
class_names = ["NC", "AD"]
"""


def write_own_network(folder, seed=0):
    """Write ``net.py``, ``card.toml`` and ``net.pth``; return the network."""
    (folder / "net.py").write_text(CODE)
    (folder / "card.toml").write_text(CARD)
    space = {}
    exec(CODE, space)
    torch.manual_seed(seed)
    model = space["Small"]().eval()
    model.features[1].running_mean.uniform_(0.1, 0.2)
    torch.save(model.state_dict(), folder / "net.pth")
    return model


BUNDLE_NETWORK = {
    "_target_": "DenseNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "init_features": 4,
    "growth_rate": 2,
    "block_config": [1, 1],
    "bn_size": 1,
}
BUNDLE_TRANSFORMS = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
    {"_target_": "Orientationd", "keys": "image", "axcodes": "LPS"},
    {"_target_": "Spacingd", "keys": "image", "pixdim": "@voxel"},
    {"_target_": "ScaleIntensityd", "keys": "image"},
    {"_target_": "ResizeWithPadOrCropd", "keys": "image", "spatial_size": [24, 25, 26]},
]


def write_bundle(folder, transforms=BUNDLE_TRANSFORMS, **metadata):
    """Write a MONAI bundle with random weights; return its network."""
    from monai.networks.nets import DenseNet

    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True)
    config = {
        "voxel": [2.0, 2.0, 2.0],
        "network_def": BUNDLE_NETWORK,
        "preprocessing": {"_target_": "Compose", "transforms": transforms},
    }
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    formats = {
        "inputs": {"image": {"num_channels": 1, "spatial_shape": [24, 25, 26]}},
        "outputs": {"pred": {"channel_def": {"1": "AD", "0": "NC"}}},
    }
    meta = {"version": "0.1.0", "network_data_format": formats, **metadata}
    (folder / "configs" / "metadata.json").write_text(json.dumps(meta))
    torch.manual_seed(0)
    model = DenseNet(**{key: value for key, value in BUNDLE_NETWORK.items() if key != "_target_"}).eval()
    torch.save(model.state_dict(), folder / "models" / "model.pt")
    return model
