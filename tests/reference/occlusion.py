"""Occlusion, one voxel and one forward pass at a time."""

import torch


def fill_at(fill, volume):
    """The fill as a tensor of the volume's shape."""
    fill = torch.as_tensor(fill, dtype=volume.dtype, device=volume.device)
    if fill.dim() == 1:
        fill = fill[:, None, None, None]
    return fill.broadcast_to(volume.shape)


def occlude_boxes(volume, boxes, fill):
    copies = []
    for z0, y0, x0, z1, y1, x1 in boxes.tolist():
        copy = volume.clone()
        for z in range(max(z0, 0), min(z1, volume.shape[1])):
            for y in range(max(y0, 0), min(y1, volume.shape[2])):
                for x in range(max(x0, 0), min(x1, volume.shape[3])):
                    copy[:, z, y, x] = fill_at(fill, volume)[:, z, y, x]
        copies.append(copy)
    return torch.stack(copies) if copies else volume.new_empty((0, *volume.shape))


def occlude_labels(volume, labels, intervals, fill):
    copies = []
    for lo, hi in intervals.tolist():
        inside = torch.tensor([lo <= label < hi for label in labels.flatten().tolist()], dtype=torch.bool)
        inside = inside.reshape(labels.shape).to(volume.device)
        copies.append(torch.where(inside, fill_at(fill, volume), volume))
    return torch.stack(copies) if copies else volume.new_empty((0, *volume.shape))


def occlusion_map(model, scan, target, window, centres, fill=0.0):
    """|p(V) - p(V occluded around v)| for every combination of the given centres; [d, h, w]."""
    with torch.no_grad():
        reference = model(scan[None]).softmax(1)[0, target]
        heat = torch.zeros([len(axis) for axis in centres], dtype=scan.dtype)
        for i, z in enumerate(centres[0]):
            for j, y in enumerate(centres[1]):
                for k, x in enumerate(centres[2]):
                    start = [c - w // 2 for c, w in zip((z, y, x), window, strict=True)]
                    box = torch.tensor([start + [s + w for s, w in zip(start, window, strict=True)]])
                    occluded = occlude_boxes(scan, box, fill)
                    heat[i, j, k] = (reference - model(occluded).softmax(1)[0, target]).abs()
    return heat
