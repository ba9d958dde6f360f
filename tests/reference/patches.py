"""Slow, obvious twins of the patch operators: whole maps, plain PyTorch, one patch at a time."""

import torch
import torch.nn.functional as F


def cells(box):
    z0, y0, x0, z1, y1, x1 = (int(n) for n in box)
    return slice(z0, max(z0, z1)), slice(y0, max(y0, y1)), slice(x0, max(x0, x1))


def whole(patches, boxes, size):
    """Changes of whole maps ``[B, D, H, W, C]``."""
    maps = patches.new_zeros(len(patches), *size, patches.shape[-1])
    for full, patch, box in zip(maps, patches, boxes, strict=True):
        z, y, x = cells(box)
        full[z, y, x] = patch[: z.stop - z.start, : y.stop - y.start, : x.stop - x.start]
    return maps


def cut(maps, boxes, slot):
    """Patches of whole maps: the boxes, zero beyond them."""
    patches = maps.new_zeros(len(maps), *slot, maps.shape[-1])
    for full, patch, box in zip(maps, patches, boxes, strict=True):
        z, y, x = cells(box)
        patch[: z.stop - z.start, : y.stop - y.start, : x.stop - x.start] = full[z, y, x]
    return patches


def gather(source, patches, boxes, frames, map_size, pad, slot, channels):
    maps = whole(patches, boxes, map_size) if patches is not None else None
    out = torch.full((len(frames), *slot, channels), pad, dtype=torch.float64)
    for b, frame in enumerate(frames.tolist()):
        for i in range(slot[0]):
            for j in range(slot[1]):
                for k in range(slot[2]):
                    at = [frame[0] + i, frame[1] + j, frame[2] + k]
                    if any(p >= high for p, high in zip(at, frame[3:], strict=True)):
                        continue
                    if any(not 0 <= p < n for p, n in zip(at, map_size, strict=True)):
                        continue
                    value = torch.zeros(channels, dtype=torch.float64)
                    if source is not None:
                        value += source[tuple(at)]
                    if maps is not None:
                        value += maps[(b, *at)]
                    out[b, i, j, k] = value
    return out


def dot(patches, boxes, weight):
    """Inner products of whole maps with every ``weight[k]``."""
    maps = whole(patches, boxes, weight.shape[1:4]).double()
    return torch.stack([(maps * own.double()).sum((1, 2, 3, 4)) for own in weight], 1)


def first(maps):
    return maps.permute(0, 4, 1, 2, 3)


def last(maps):
    return maps.permute(0, 2, 3, 4, 1)


def difference(function, before, changes):
    """``function`` of whole maps, after the change minus before."""
    return last(function(first(before[None] + changes)) - function(first(before[None])))


def relu(patches, boxes, before, scale):
    changes = whole(patches, boxes, before.shape[:3])
    if scale is not None:
        changes = changes * scale
    return cut(difference(F.relu, before, changes), boxes, patches.shape[1:4])


def max_pool(patches, boxes, before, kernel, stride, padding, dilation, rectify, out_boxes, slot):
    def function(maps):
        pooled = F.max_pool3d(maps, kernel, stride, padding, dilation)
        return F.relu(pooled) if rectify else pooled

    changes = whole(patches, boxes, before.shape[:3])
    return cut(difference(function, before, changes), out_boxes, slot)


def conv(patches, boxes, weight, stride, padding, dilation, groups, size, out_boxes, slot, before):
    changes = whole(patches, boxes, size)
    out = last(F.conv3d(first(changes), weight, None, stride, padding, dilation, groups))
    if before is not None:
        out = F.relu(before + out) - F.relu(before)
    return cut(out, out_boxes, slot)
