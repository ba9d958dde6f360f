"""Regions that fill little of their bounding boxes: scores are those of full forwards all the same."""

import numpy as np
import pytest
import torch
from networks import Plain, lively, randomised

from pyadx import models
from pyadx.inference import FullScorer, IncrementalScorer
from pyadx.inference.segments import distinct_segments

SHAPE = (22, 19, 24)


def region_masks():
    """Return masks by name, bool ``[D, H, W]``; they overlap."""
    z, y, x = np.indices(SHAPE)
    from_middle = np.sqrt((z - 11) ** 2 + (y - 9) ** 2 + (x - 12) ** 2)
    last = tuple(n - 1 for n in SHAPE)
    masks = {
        "dumb-bell": (from_middle < 0) | ((y == 9) & (x == 12)),
        "diagonal": (z == y) & (y == x),
        "shell": (from_middle > 6.5) & (from_middle < 7.5),
        "two far voxels": np.zeros(SHAPE, bool),
        "one voxel": (from_middle == 0),
        "border": (z == 0) | (x == last[2]),
        "corners": np.isin(z, (0, last[0])) & np.isin(y, (0, last[1])) & np.isin(x, (0, last[2])),
        "every other cell": (z + y + x) % 2 == 0,
        "planes far apart": (z == 2) | (z == 19),
        "everything": np.ones(SHAPE, bool),
        "empty": np.zeros(SHAPE, bool),
    }
    masks["dumb-bell"][1:6, 4:9, 5:10] = masks["dumb-bell"][16:21, 8:13, 12:17] = True
    masks["two far voxels"][1, 17, 2] = masks["two far voxels"][20, 0, 23] = True
    return masks


NETWORKS = {
    "plain": lambda: randomised(Plain(2, 3)),
    "resnet-shallow-gap": lambda: models.build("resnet-shallow-gap", SHAPE, seed=0),
}


@pytest.fixture(params=NETWORKS)
def case(request, generator):
    """A network in float64, a scan, and a list of regions for each mask."""
    model = NETWORKS[request.param]()
    scan = torch.rand(
        2 if request.param == "plain" else 1, *SHAPE, generator=generator, dtype=torch.float64
    )
    model = lively(model.float(), scan[None].float()).double().eval()
    one = np.array([[1, 2]])
    every = [distinct_segments(scan, mask.astype(int), one, scan * 0) for mask in region_masks().values()]
    return model, scan, every


def scores(scorer, every):
    return torch.stack([regions.spread(scorer.score_regions(regions))[0] for regions in every])


def test_scores_are_those_of_full_forwards(case):
    model, scan, every = case
    actual = scores(IncrementalScorer(model, scan, 1, score="logit", signed=True), every)
    expected = scores(FullScorer(model, scan, 1, score="logit", signed=True), every)
    assert (actual - expected).abs().max() < 1e-10 * expected.abs().max()
    named = dict(zip(region_masks(), expected.tolist(), strict=True))
    assert named["empty"] == 0
    assert sum(score != 0 for score in named.values()) > 7  # few voxels at the border reach nothing


def test_float32_keeps_five_digits(case):
    model, scan, every = case
    expected = scores(IncrementalScorer(model, scan, 1, score="logit"), every)
    actual = scores(IncrementalScorer(model.float(), scan.float(), 1, score="logit"), every)
    assert (actual - expected).abs().max() < 1e-5 * expected.abs().max()


def test_walks_follow_full_forwards_and_come_back(case):
    model, scan, every = case
    found = []
    for kind in (IncrementalScorer, FullScorer):
        scorer, along = kind(model, scan, 1, score="logit"), []
        for values in (scan * 0, scan):  # every region is also filled where another one was
            along += [scorer.commit(own, values) for own in every[1:6]]
        assert (scorer.volume == scan).all()
        found.append(torch.cat(along))
    actual, expected = found
    assert (actual - expected).abs().max() < 1e-10 * expected.abs().max()


def test_bytes_do_not_depend_on_the_batch_or_the_order(generator):
    """Thin and thick segments of one volume, in one batch, in parts and turned round."""
    masks = list(region_masks().values())
    labels = np.zeros(SHAPE, int)
    for number in (7, 5, 2, 1, 0, 3):  # thick ones first, so that something is left of each
        labels[masks[number]] = number + 1
    scan = torch.rand(1, *SHAPE, generator=generator)
    model = models.build("resnet-shallow-gap", SHAPE, seed=0).eval()  # boxes go all the way
    regions = distinct_segments(scan, labels, np.array([[n, n + 1] for n in (1, 2, 3, 4, 6, 8)]), scan * 0)
    assert len(regions.boxes) == 6
    scorer = IncrementalScorer(model, scan, 1, score="logit")
    together = scorer.score_regions(regions)
    for index in ([5, 4, 3, 2, 1, 0], [2], [4, 0], [3, 5, 1]):
        places = np.array(index)
        assert torch.equal(scorer.score_regions(regions.part(places)), together[places])
