"""Interactions of merges equal what full forwards of filled scans give."""

import numpy as np
import pytest
import torch
from networks import Plain, randomised

import pyadx
from pyadx.explainers.interactions import merge_interactions
from pyadx.segmentation import ucm

SHAPE = (14, 11, 13)


@pytest.mark.parametrize("seed", range(3))
def test_interactions_are_those_of_full_forwards(seed):
    torch.manual_seed(seed)
    model = randomised(Plain(1, 3)).double().eval()
    scan = torch.rand(1, *SHAPE, dtype=torch.float64) + 0.2
    tree = ucm(scan[0].float(), np.ones(SHAPE, bool), max_regions=12)
    explain = pyadx.SupervoxelOcclusion(model, fill=0.3, score="logit")
    found = explain.run(scan, 1, tree).reports[0].interactions

    def change(low, high):
        volume = scan.clone()
        volume[:, (tree.leaves >= low) & (tree.leaves < high)] = 0.3
        with torch.no_grad():
            return float((model(scan[None]) - model(volume[None]))[0, 1])

    intervals = {tuple(r) for r in tree.regions.tolist()}
    assert len(found.values) > 3
    for (low, high), parts, value in zip(found.regions.tolist(), found.parts, found.values, strict=True):
        inside = [r for r in intervals if low <= r[0] and r[1] <= high and r != (low, high)]
        children = [r for r in inside if not any(o[0] <= r[0] and r[1] <= o[1] and o != r for o in inside)]
        assert len(children) == parts
        expected = change(low, high) - sum(change(*child) for child in children)
        assert value == pytest.approx(expected, rel=1e-8, abs=1e-10)


def test_redundant_parts_interact_and_the_strongest_come_first():
    regions = np.array([[1, 2], [2, 3], [1, 3], [3, 4], [4, 5], [3, 5], [1, 5], [7, 9]])
    scores = np.array([0.1, 0.2, 2.3, 1.0, 1.0, 1.5, 3.8, 1.0])
    found = merge_interactions(regions, scores)
    assert found.regions.tolist() == [[1, 3], [3, 5], [1, 5]]
    assert np.allclose(found.values, [2.0, -0.5, 0.0])
    (first, second) = found.strongest(2)
    assert first["leaves"] == [1, 3]
    assert (second["together"], second["alone"], second["parts"]) == (1.5, 2.0, 2)


def test_segments_whose_parts_do_not_cover_them_are_left_out():
    regions = np.array([[1, 6], [1, 3], [4, 6], [8, 9]])
    assert len(merge_interactions(regions, np.ones(4)).values) == 0
    assert len(merge_interactions(regions[:0], np.ones(0)).values) == 0


def test_unsigned_maps_have_none():
    model = randomised(Plain(1, 3)).eval()
    report = pyadx.explainer("sa3ducm:paper", model).run(torch.rand(1, 1, *SHAPE), 1).reports[0]
    assert report.interactions is None
    assert "interactions" not in report.facts()
