"""A notebook shows what a result is, and not a page of its numbers."""

import numpy as np
import pytest
import torch

import pyadx

pytest.importorskip("nibabel")

SHAPE = (20, 20, 20)


@pytest.fixture(scope="module")
def model():
    return pyadx.models.build("resnet-shallow-gap", SHAPE, seed=0)


@pytest.fixture(scope="module")
def scan():
    return torch.rand(1, 1, *SHAPE, generator=torch.Generator().manual_seed(0))


def atlas():
    labels = np.ones(SHAPE, np.int32)
    labels[10:] = 2
    return labels


def results(model, scan, folder):
    import nibabel as nib

    from pyadx.data import fit_to_grid, read_scan
    from pyadx.evaluation import precision_recall

    hierarchy = pyadx.segmentation.ucm(scan[0, 0], max_regions=10)
    nib.save(nib.Nifti1Image(scan[0, 0].numpy(), np.diag([2.0, 2, 2, 1])), folder / "sub-01_T1w.nii.gz")
    read = read_scan(folder / "sub-01_T1w.nii.gz")
    shares = pyadx.RegionShapley(model, pairs=2).run(scan, 1, atlas())
    segments = pyadx.SupervoxelOcclusion(model).run(scan, 1, hierarchy=hierarchy)
    yield from (hierarchy, hierarchy.ucm(), read, fit_to_grid(read, SHAPE, spacing=2.0), shares)
    yield from (*shares.reports, *segments.reports, segments.reports[0].interactions)
    yield from precision_recall(scan[0, 0].numpy(), {"half": atlas() == 2}).values()
    yield pyadx.decisive_regions(model, scan, None, atlas())
    yield pyadx.evaluation.deletion_insertion(model, scan, scan[0, 0], target=1, steps=4).deletion


def test_results_fit_on_a_few_lines(model, scan, tmp_path):
    for result in results(model, scan, tmp_path):
        text = repr(result)
        assert text.startswith(type(result).__name__)
        assert "array(" not in text, text
        assert "tensor(" not in text, text
        assert len(text) < 1000, text


def test_a_hierarchy_and_a_scan_say_their_size(model, scan, tmp_path):
    hierarchy, _, read, *_ = results(model, scan, tmp_path)
    assert repr(read) == "Scan(sub-01_T1w.nii.gz, 20x20x20 voxels of 2 x 2 x 2 mm)"
    assert repr(hierarchy).startswith("Hierarchy(20x20x20 voxels, ")
    assert f"{len(hierarchy.levels)} levels" in repr(hierarchy)
