import pytest
import torch
from reference import occlusion as reference

from pyadx import ops
from pyadx.inference.regions import distinct_regions


def sparse_volume(generator, channels=2, shape=(6, 7, 8)):
    return (torch.rand(channels, *shape, generator=generator) > 0.93).double()


def random_boxes(generator, count=400):
    start = torch.randint(-4, 9, (count, 3), generator=generator)
    return torch.cat([start, start + torch.randint(0, 5, (count, 3), generator=generator)], 1)


def test_regions_are_the_bounding_boxes_of_what_changes(generator):
    volume, boxes = sparse_volume(generator), random_boxes(generator)
    regions = distinct_regions(volume, boxes, ops.fill_tensor(0.0, volume))
    changed = (reference.occlude_boxes(volume, boxes, 0.0) != volume).any(1)
    for index, one in zip(regions.inverse, changed, strict=True):
        if not one.any():
            assert index == -1
            continue
        at = one.nonzero()
        expected = [*at.min(0).values.tolist(), *(at.max(0).values + 1).tolist()]
        assert regions.boxes[index].tolist() == expected
    assert (regions.inverse == -1).any()


def test_no_region_is_listed_twice(generator):
    volume, boxes = sparse_volume(generator), random_boxes(generator)
    regions = distinct_regions(volume, boxes, ops.fill_tensor(0.0, volume))
    assert len({tuple(box) for box in regions.boxes.tolist()}) == len(regions.boxes)
    assert len(regions.boxes) < (regions.inverse >= 0).sum()


def test_volumes_longer_than_a_packed_key(generator):
    volume = torch.rand(1, 2, 1500, 3, generator=generator)
    boxes = torch.tensor([[0, 1400, 0, 2, 1410, 3], [0, 1400, 0, 2, 1410, 9], [0, 0, 0, 1, 1, 1]])
    regions = distinct_regions(volume, boxes, ops.fill_tensor(2.0, volume))
    assert regions.inverse.tolist() == [1, 1, 0]
    assert regions.boxes[1].tolist() == [0, 1400, 0, 2, 1410, 3]


def test_values_are_spread_over_boxes(generator):
    volume, boxes = sparse_volume(generator), random_boxes(generator)
    regions = distinct_regions(volume, boxes, ops.fill_tensor(0.0, volume))
    values = torch.rand(len(regions.boxes), generator=generator)
    spread = regions.spread(values)
    assert spread[regions.inverse == -1].abs().sum() == 0
    index = (torch.from_numpy(regions.inverse) >= 0).nonzero()[0].item()
    assert spread[index] == values[regions.inverse[index]]


def test_no_boxes_at_all():
    volume = torch.rand(1, 3, 3, 3)
    regions = distinct_regions(volume, torch.zeros(0, 6, dtype=torch.int64), ops.fill_tensor(0.0, volume))
    assert regions.boxes.shape == (0, 6)
    assert regions.spread(torch.zeros(0)).shape == (0,)


@pytest.mark.parametrize(
    ("boxes", "error"), [(torch.zeros(2, 6), TypeError), (torch.zeros(2, 5, dtype=torch.int64), ValueError)]
)
def test_wrong_boxes_are_told(boxes, error):
    volume = torch.rand(1, 3, 3, 3)
    with pytest.raises(error, match="boxes"):
        distinct_regions(volume, boxes, ops.fill_tensor(0.0, volume))
