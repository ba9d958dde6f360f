"""Networks of others: from MONAI, and with blocks as in papers on brain MRI."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn


def conv(a, b, k=3, s=1, **more):
    return nn.Sequential(nn.Conv3d(a, b, k, s, k // 2, **more), nn.BatchNorm3d(b), nn.ReLU())


class Head(nn.Module):
    """Features, global average, linear."""

    def __init__(self, features, width, outputs=2):
        super().__init__()
        self.features, self.head = features, nn.Linear(width, outputs)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3, 4)))


class Line(nn.Module):
    """A line of code as a layer."""

    def __init__(self, line):
        super().__init__()
        self.line = line

    def forward(self, x):
        return self.line(x)


def with_line(line, before=8, after=8):
    return Head(nn.Sequential(conv(1, before), line, conv(after, 16, s=2), conv(16, 16)), 16)


def sfcn(width=(32, 64, 128, 256, 256, 64)):
    """Peng et al. 2021, brain age."""
    blocks, a = [], 1
    for b in width[:-1]:
        blocks += [nn.Conv3d(a, b, 3, padding=1), nn.BatchNorm3d(b), nn.MaxPool3d(2), nn.ReLU()]
        a = b
    blocks += [nn.Conv3d(a, width[-1], 1), nn.BatchNorm3d(width[-1]), nn.ReLU()]
    last = [nn.AdaptiveAvgPool3d(1), nn.Dropout(0.5), nn.Conv3d(width[-1], 40, 1), nn.LogSoftmax(1)]
    return nn.Sequential(*blocks, *last, nn.Flatten())


def clinicadl(widths, side):
    """ClinicaDL's convolutional networks: blocks with pooling, then fully connected layers."""
    blocks, a, n = [], 1, side
    for b in widths:
        blocks += [nn.Conv3d(a, b, 3, padding=1), nn.BatchNorm3d(b), nn.ReLU(), nn.MaxPool3d(2, 2)]
        a, n = b, n // 2
    fully = [nn.Flatten(), nn.Dropout(0.5), nn.Linear(a * n**3, 130), nn.ReLU(), nn.Linear(130, 2)]
    return nn.Sequential(*blocks, *fully)


class Residual(nn.Module):
    def __init__(self, a, b, s=1, make=lambda a, b, s: nn.Conv3d(a, b, 3, s, 1, bias=False)):
        super().__init__()
        self.one, self.two = make(a, b, s), make(b, b, 1)
        self.n1, self.n2 = nn.BatchNorm3d(b), nn.BatchNorm3d(b)
        self.short = (
            nn.Identity() if (a, s) == (b, 1) else nn.Sequential(nn.Conv3d(a, b, 1, s), nn.BatchNorm3d(b))
        )

    def forward(self, x):
        return F.relu(self.n2(self.two(F.relu(self.n1(self.one(x))))) + self.short(x))


class ShortcutA(nn.Module):
    """MedicalNet's parameter-free shortcut, with its ``.data``."""

    def __init__(self, a, b, s):
        super().__init__()
        self.a, self.b, self.s = a, b, s
        self.conv = nn.Sequential(nn.Conv3d(a, b, 3, s, 1), nn.BatchNorm3d(b))

    def forward(self, x):
        short = F.avg_pool3d(x, 1, self.s)
        zeros = torch.zeros(short.size(0), self.b - self.a, *short.shape[2:]).to(short.device)
        return F.relu(self.conv(x) + torch.cat([short.data, zeros], 1))


def plane(a, b, s):
    """(2+1)D: a spatial and a depth convolution."""
    return nn.Sequential(
        nn.Conv3d(a, b, (1, 3, 3), (1, s, s), (0, 1, 1)),
        nn.ReLU(),
        nn.Conv3d(b, b, (3, 1, 1), (s, 1, 1), (1, 0, 0)),
    )


def resnet_like(make=None, width=16):
    more = {} if make is None else {"make": make}
    blocks = [Residual(width << i, width << (i + 1), 2, **more) for i in range(3)]
    return Head(nn.Sequential(conv(1, width, 7, 2), *blocks), width << 3)


def depthwise(a, b, s=1):
    return nn.Sequential(conv(a, a, 3, s, groups=a), conv(a, b, 1))


class Inverted(nn.Module):
    def __init__(self, a, b, s=1, t=4):
        super().__init__()
        self.add = (a, s) == (b, 1)
        self.body = nn.Sequential(
            conv(a, a * t, 1),
            conv(a * t, a * t, 3, s, groups=a * t),
            nn.Conv3d(a * t, b, 1),
            nn.BatchNorm3d(b),
        )

    def forward(self, x):
        return x + self.body(x) if self.add else self.body(x)


class Inception(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.ways = nn.ModuleList([conv(a, b, 1), conv(a, b, 3), conv(a, b, 5)])
        self.pool = nn.Sequential(nn.MaxPool3d(3, 1, 1), conv(a, b, 1))

    def forward(self, x):
        return torch.cat([*(way(x) for way in self.ways), self.pool(x)], 1)


class ConvNeXt(nn.Module):
    def __init__(self, a, norm=True):
        super().__init__()
        self.depth, self.norm = nn.Conv3d(a, a, 7, padding=3, groups=a), nn.LayerNorm(a)
        self.up, self.down = nn.Linear(a, 4 * a), nn.Linear(4 * a, a)

    def forward(self, x):
        y = self.norm(self.depth(x).permute(0, 2, 3, 4, 1))
        return x + self.down(F.gelu(self.up(y))).permute(0, 4, 1, 2, 3)


class Attention(nn.Module):
    """A gate for every cell, from channel mean and maximum (the spatial half of CBAM)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(2, 1, 7, padding=3)

    def forward(self, x):
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.conv(seen))


class Blur(nn.Module):
    """Anti-aliased downsampling."""

    def __init__(self, a):
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0])
        kernel = line[:, None, None] * line[:, None] * line / 64
        self.register_buffer("kernel", kernel.expand(a, 1, 3, 3, 3).contiguous())

    def forward(self, x):
        return F.conv3d(F.pad(x, (1,) * 6, mode="reflect"), self.kernel, stride=2, groups=x.shape[1])


class Masked(nn.Module):
    """Casts its input to single precision and back, and sets voxels outside a mask to zero."""

    def __init__(self, net, side):
        super().__init__()
        self.net = net
        self.register_buffer("mask", torch.rand(side, side, side) > 0.3)

    def forward(self, x):
        return self.net(x.float().to(x.dtype) * self.mask)


class Deep(nn.Module):
    """Two resolutions that are joined again, as in a network with a decoder."""

    def __init__(self):
        super().__init__()
        self.down, self.low = conv(1, 8), conv(8, 16, s=2)
        self.up, self.both = nn.ConvTranspose3d(16, 8, 2, 2), conv(16, 16)
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        x = self.down(x)
        return self.head(self.both(torch.cat([x, self.up(self.low(x))], 1)).mean((2, 3, 4)))


def shuffle(x):
    batch, channels, *size = x.shape
    return x.view(batch, 2, channels // 2, *size).transpose(1, 2).reshape(batch, channels, *size)


def to_depth(x):
    b, c, z, y, w = x.shape
    blocks = x.reshape(b, c, z // 2, 2, y // 2, 2, w // 2, 2)
    return blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(b, 8 * c, z // 2, y // 2, w // 2)


def own_blocks(side) -> dict[str, Callable[[], nn.Module]]:
    """Networks written by hand, by name."""
    seq = nn.Sequential
    return {
        "SFCN (brain age)": sfcn,
        "ClinicaDL-like Conv5FC3": lambda: clinicadl((8, 16, 32, 64, 128), side),
        "ClinicaDL-like Conv4FC3": lambda: clinicadl((8, 8, 8, 8), side),
        "R3D-like": resnet_like,
        "R(2+1)D-like": lambda: resnet_like(plane),
        "MC3-like": lambda: Head(
            seq(
                conv(1, 16, 7, 2),
                Residual(16, 32, 2),
                Residual(32, 64, 2, make=lambda a, b, s: nn.Conv3d(a, b, (1, 3, 3), s, (0, 1, 1))),
            ),
            64,
        ),
        "MedicalNet shortcut A": lambda: Head(
            seq(conv(1, 16, 7, 2), ShortcutA(16, 32, 2), ShortcutA(32, 64, 2)), 64
        ),
        "MedicalNet, dilated": lambda: Head(
            seq(
                conv(1, 16, 7, 2),
                nn.MaxPool3d(3, 2, 1),
                nn.Conv3d(16, 32, 3, padding=2, dilation=2),
                nn.ReLU(),
                nn.Conv3d(32, 32, 3, padding=4, dilation=4),
                nn.ReLU(),
            ),
            32,
        ),
        "MobileNet3D v1": lambda: Head(
            seq(conv(1, 16, s=2), depthwise(16, 32), depthwise(32, 64, 2), depthwise(64, 64)), 64
        ),
        "MobileNet3D v2": lambda: Head(
            seq(conv(1, 16, s=2), Inverted(16, 16), Inverted(16, 24, 2), Inverted(24, 24)), 24
        ),
        "Inception": lambda: Head(seq(conv(1, 8, s=2), Inception(8, 8), Inception(32, 8)), 32),
        "SqueezeNet fire": lambda: Head(
            seq(
                conv(1, 16, 7, 2),
                conv(16, 8, 1),
                conv(8, 32),
                nn.MaxPool3d(3, 2),
                conv(32, 8, 1),
                conv(8, 32),
            ),
            32,
        ),
        "ConvNeXt (layer norm over channels)": lambda: Head(
            seq(nn.Conv3d(1, 16, 4, 4), ConvNeXt(16), ConvNeXt(16)), 16
        ),
        "gated by channels (CBAM, spatial)": lambda: with_line(Attention()),
        "blur pooling": lambda: with_line(Blur(8)),
        "PReLU": lambda: with_line(nn.PReLU()),
        "GLU": lambda: with_line(nn.GLU(1), 16),
        "Hardswish": lambda: with_line(nn.Hardswish()),
        "log-sigmoid": lambda: with_line(nn.LogSigmoid()),
        "RReLU and alpha dropout": lambda: with_line(seq(nn.RReLU(), nn.AlphaDropout())),
        "channel shuffle": lambda: with_line(Line(shuffle)),
        "chunk, flip, crop": lambda: with_line(
            Line(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1).flip(-1)[..., 2:-2])
        ),
        "torch.where": lambda: with_line(Line(lambda x: torch.where(x > 0.2, x, 0.1 * x))),
        "space to depth": lambda: with_line(Line(to_depth), 8, 64),
        "average pooling, ceil": lambda: with_line(nn.AvgPool3d(3, 2, 1, ceil_mode=True)),
        "L2 pooling": lambda: with_line(Line(lambda x: F.avg_pool3d(x * x, 2).clamp_min(1e-6).sqrt())),
        "trilinear resize at the input": lambda: seq(
            nn.Upsample((48, 48, 48), mode="trilinear"), resnet_like(width=8)
        ),
        "nearest upsampling": lambda: with_line(nn.Upsample(scale_factor=2)),
        "transposed convolution, skip": Deep,
        "circular padding": lambda: Head(
            seq(nn.Conv3d(1, 16, 3, padding=1, padding_mode="circular"), nn.ReLU(), conv(16, 16)), 16
        ),
        "replicated padding": lambda: Head(
            seq(nn.Conv3d(1, 16, 3, padding=1, padding_mode="replicate"), nn.ReLU(), conv(16, 16)), 16
        ),
        "reflected padding": lambda: Head(
            seq(nn.Conv3d(1, 16, 3, padding=1, padding_mode="reflect"), nn.ReLU(), conv(16, 16)), 16
        ),
        "brain mask, casts": lambda: Masked(resnet_like(), side),
        "group norm": lambda: with_line(nn.GroupNorm(2, 8)),
        "instance norm at the input": lambda: seq(nn.InstanceNorm3d(1), resnet_like()),
    }


def monai_networks(side) -> dict[str, Callable[[], nn.Module]]:
    """Classifiers of MONAI, by name."""
    from monai.networks import nets

    two = {"spatial_dims": 3, "in_channels": 1}
    res = {"spatial_dims": 3, "n_input_channels": 1, "num_classes": 2}
    patch = {"in_channels": 1, "img_size": (side,) * 3, "patch_size": (16,) * 3, "num_classes": 2}
    found = {
        f"MONAI {name}": lambda name=name: getattr(nets, name)(**two, out_channels=2)
        for name in ("DenseNet121", "DenseNet169", "DenseNet201")
    }
    found |= {
        f"MONAI {name}": lambda name=name: getattr(nets, name)(**res)
        for name in ("resnet10", "resnet18", "resnet34", "resnet50")
    }
    found |= {
        f"MONAI {name}": lambda name=name: getattr(nets, name)(**two, num_classes=2)
        for name in ("SEResNet50", "SEResNext50")
    }
    found |= {
        f"MONAI EfficientNet {kind}": lambda kind=kind: nets.EfficientNetBN(
            f"efficientnet-{kind}", **two, num_classes=2, pretrained=False
        )
        for kind in ("b0", "b1")
    }
    shape = {"in_shape": (1, side, side, side), "channels": (8, 16, 32), "strides": (2, 2, 2)}
    found["MONAI Classifier (PReLU, instance norm)"] = lambda: nets.Classifier(classes=2, **shape)
    found["MONAI Classifier (batch norm)"] = lambda: nets.Classifier(classes=2, norm="batch", **shape)
    found["MONAI Regressor (batch norm)"] = lambda: nets.Regressor(out_shape=(2,), norm="batch", **shape)
    found["MONAI ViT"] = lambda: Line(
        nets.ViT(**patch, hidden_size=96, mlp_dim=192, num_layers=2, num_heads=4, classification=True)
    )
    return found


def networks(side) -> dict[str, Callable[[], nn.Module]]:
    """All networks, by name."""
    return own_blocks(side) | monai_networks(side)
