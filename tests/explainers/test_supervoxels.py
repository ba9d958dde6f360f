import numpy as np
import pytest
import torch
from networks import Gap, Plain, randomised
from paper_methods import SupervoxelOcclusion
from reference.supervoxels import sa_3ducm
from segmentation.volumes import blobs

from pyadx.segmentation import from_labels, ucm

ENGINES = ("incremental", "full", "auto")


def double(model):
    return randomised(model).double().eval()


@pytest.fixture(scope="module")
def scan():
    return torch.from_numpy(blobs((12, 13, 14)))[None]


@pytest.fixture(scope="module")
def hierarchy(scan):
    return ucm(scan, min_size=2, max_regions=40, max_levels=7)


def all_levels(hierarchy):
    return [hierarchy.labels(level) for level in range(len(hierarchy.levels))]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", [{}, {"signed": True}, {"score": "logit"}, {"fill": 0.7}], ids=str)
def test_map_equals_the_loop_over_levels_and_segments(engine, options, scan, hierarchy):
    model = double(Plain())
    explain = SupervoxelOcclusion(model, engine=engine, **options)
    found = explain.run(scan, target=1, hierarchy=hierarchy)
    heat = found.heatmap
    assert heat.shape == (1, *scan.shape[1:])
    assert heat.dtype == torch.float32
    expected = sa_3ducm(
        model,
        scan,
        1,
        all_levels(hierarchy),
        options.get("fill", 0.0),
        options.get("signed", False),
        options.get("score") == "logit",
    )
    assert np.abs(expected).max() > 0
    assert np.allclose(heat[0].numpy(), expected, rtol=1e-5, atol=1e-7 * np.abs(expected).max())
    (report,) = found.reports
    assert report.pairs == sum(len(np.unique(labels)) - 1 for labels in all_levels(hierarchy))
    assert report.nodes == len(hierarchy.regions) < report.pairs
    assert report.skipped == 0
    assert report.incremental + report.full == report.nodes
    if engine != "auto":
        assert {"incremental": report.incremental, "full": report.full}[engine] == report.nodes


def test_the_largest_change_over_the_levels(scan, hierarchy):
    model = double(Plain())
    heat = SupervoxelOcclusion(model, aggregate="max")(scan, target=1, hierarchy=hierarchy)[0].numpy()
    one_level = [sa_3ducm(model, scan, 1, [labels]) for labels in all_levels(hierarchy)]
    assert np.allclose(heat, np.max(one_level, 0), rtol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_distinct_segment_is_one_forward_and_what_changes_nothing_none(engine, scan):
    forwards = []
    labels = np.zeros(scan.shape[1:], np.int32)
    labels[2:5, 2:6, 2:6], labels[6:9, 2:9, 7:9], labels[10:] = 1, 2, 3
    volume = torch.where(torch.from_numpy(labels == 2), 0.0, scan)  # segment 2 holds background only
    coarse = np.where(labels == 2, 1, labels)  # changes the same voxels as segment 1
    model = double(Plain())
    model.register_forward_hook(lambda module, args, out: forwards.append(len(args[0])))
    explain = SupervoxelOcclusion(model, engine="full")
    hierarchy = from_labels([labels, coarse])
    found = explain.run(volume, target=0, hierarchy=hierarchy)
    heat, (report,) = found.heatmap, found.reports
    assert (report.levels, report.pairs, report.nodes, report.skipped) == (2, 5, 4, 2)
    assert sum(forwards) == 1 + 2  # the scan itself, segments 1 and 3
    other = SupervoxelOcclusion(double(Plain()), engine=engine)(volume, target=0, hierarchy=hierarchy)
    expected = sa_3ducm(double(Plain()), volume, 0, [labels, coarse])
    assert np.allclose(heat[0], expected, rtol=1e-5)
    assert np.allclose(other[0], expected, rtol=1e-5)


def test_several_channels_and_fills_of_a_volume(generator):
    scan = torch.rand(2, 9, 10, 11, generator=generator, dtype=torch.float64)
    fill = torch.rand(2, 9, 10, 11, generator=generator, dtype=torch.float64)
    hierarchy = ucm(scan[0], max_regions=12, min_size=20)
    maps = [
        SupervoxelOcclusion(double(Plain(2)), fill, engine=engine)(scan, 1, hierarchy) for engine in ENGINES
    ]
    assert torch.allclose(maps[0], maps[1], rtol=1e-6)
    assert torch.allclose(maps[0], maps[2], rtol=1e-6)


def test_batches_and_hierarchies_per_scan(scan):
    other = torch.from_numpy(blobs((12, 13, 14), seed=8))[None]
    both = torch.stack([scan, other])
    trees = [ucm(s, max_regions=20) for s in both]
    explain = SupervoxelOcclusion(double(Gap()), max_regions=20)
    maps = explain(both, target=[0, 1], hierarchy=trees)
    assert torch.equal(maps, explain(both, target=[0, 1]))  # segments the scans itself
    alone = explain.run(other, target=1, hierarchy=trees[1])
    assert torch.equal(maps[1:], alone.heatmap)
    assert len(alone.reports) == 1


def test_groups_are_occluded_jointly(scan, hierarchy):
    model = double(Plain())
    mask = np.zeros(scan.shape[1:], bool)
    mask[2:5], mask[9:] = True, True
    few = [(1, 3), (10, 14)]
    leaves = np.isin(hierarchy.leaves, [1, 2, 10, 11, 12, 13])
    explain = SupervoxelOcclusion(model, signed=True)
    plain = explain.run(scan, 1, hierarchy=hierarchy)
    assert plain.reports[0].groups == {}
    with_groups = explain.run(scan, 1, hierarchy=hierarchy, groups={"ends": mask, "few": few})
    assert torch.equal(plain.heatmap, with_groups.heatmap)
    for name, own in (("ends", mask), ("few", leaves)):
        heat = sa_3ducm(model, scan, 1, [own.astype(int)], signed=True)
        assert with_groups.reports[0].groups[name] == pytest.approx(heat[own][0], rel=1e-9)


def test_what_cannot_be_traced_runs_as_full_forwards(scan, hierarchy):
    class ByValue(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Plain()

        def forward(self, x):
            return self.inner(x if x.sum() > 0 else -x)

    model = double(ByValue())
    with pytest.warns(RuntimeWarning, match="one full forward per region"):
        heat = SupervoxelOcclusion(model)(scan, 1, hierarchy)
    assert np.allclose(heat[0], sa_3ducm(model, scan, 1, all_levels(hierarchy)), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, v, h: SupervoxelOcclusion(m, aggregate="median"), "aggregate must be one of"),
        (lambda m, v, h: SupervoxelOcclusion(m, engine="fast"), "engine must be one of"),
        (lambda m, v, h: SupervoxelOcclusion(m)(v[:, 1:], 1, h), "the hierarchy has shape"),
        (lambda m, v, h: SupervoxelOcclusion(m)(v, 1, [h, h]), "2 hierarchies for 1 scans"),
        (lambda m, v, h: SupervoxelOcclusion(m)(v, 1, [h.leaves]), r"pyadx\.segmentation\.Hierarchy"),
        (lambda m, v, h: SupervoxelOcclusion(m)(v, 1, h, groups={"a": np.ones(3)}), "group 'a' must be"),
        (lambda m, v, h: SupervoxelOcclusion(m)(v, 1, h, groups={"a": [(0, 2)]}), "group 'a': leaves are"),
        (lambda m, v, h: SupervoxelOcclusion(m)(v * 0, 1), "0 everywhere: there is nothing to segment"),
        (lambda m, v, h: SupervoxelOcclusion(m, cue="x")(v, 1), "cue must be one of"),
    ],
)
def test_bad_input_is_told(call, words, scan, hierarchy):
    with pytest.raises((ValueError, TypeError), match=words):
        call(double(Plain()), scan, hierarchy)
