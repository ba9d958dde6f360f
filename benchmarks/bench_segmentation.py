"""How fast is the 3D ultrametric contour map, compared with higra, scikit-image and SimpleITK?

The scan is the MNI152 T1 template at 2 mm in 110^3. All peers get the same boundary cue, or the same region
graph. higra and scikit-image run on one thread, and SimpleITK chooses the number itself. pyadx runs on one
thread, and on all where the name says so. SA-3DUCM is compared with Captum on the same label volumes. A
full pass of Captum takes minutes, so it is timed on the coarsest levels, per segment.
"""

from functools import cache

import numpy as np
import pytest
import torch
from brain import brain_or_skip

from pyadx import SupervoxelOcclusion, _ucm, models, segmentation
from pyadx.segmentation.cues import gradient_cue
from pyadx.segmentation.smoothing import prepare, quantise

WHAT = "MNI152, 110^3"


@pytest.fixture(autouse=True)
def on_the_cpu(device):
    if device.type != "cpu":
        pytest.skip("the core runs on the CPU")


def scan():
    return brain_or_skip()


@cache
def prepared():
    volume = scan()
    return prepare(volume, volume != 0, (1.0, 1.0, 1.0), 0.35)


@cache
def relief():
    return quantise(gradient_cue(prepared(), 1).strength)


@cache
def voxel_edges():
    """Pairs of neighbouring voxels inside the mask, numbered as higra numbers vertices."""
    inside = prepared().mask != 0
    number = np.full(inside.shape, -1)
    number[inside] = np.arange(inside.sum())
    pairs = []
    for axis in range(3):
        near = np.take(number, range(inside.shape[axis] - 1), axis).ravel()
        far = np.take(number, range(1, inside.shape[axis]), axis).ravel()
        both = (near >= 0) & (far >= 0)
        pairs.append(np.stack([near[both], far[both]], 1))
    return np.concatenate(pairs)


def basins(threads=1):
    return _ucm.watershed(relief(), prepared().mask, threads)


@cache
def region_graph(threads=1):
    regions, count = basins(threads)
    sizes = np.bincount(regions[regions >= 0], minlength=count).astype(np.int64)
    return (*_ucm.region_graph(relief(), regions, [1, 1, 1], None, [], threads), sizes)


def merge():
    pairs, sums, weights, sizes = region_graph()
    return _ucm.merge_regions(pairs, sums, weights, sizes, sizes, "boundary", 0, 1.0, 1.0)


def ours(threads):
    def run():
        regions, count = basins(threads)
        sizes = np.bincount(regions[regions >= 0], minlength=count).astype(np.int64)
        graph = _ucm.region_graph(relief(), regions, [1, 1, 1], None, [], threads)
        merges, altitudes = _ucm.merge_regions(*graph, sizes, sizes, "boundary", 0, 1.0, 1.0)
        return _ucm.depth_first(merges, altitudes, sizes)

    return run


def higra_pipeline():
    import higra

    pairs = voxel_edges()
    flat = relief()[prepared().mask != 0].astype(np.float64)
    graph = higra.UndirectedGraph(len(flat))
    graph.add_edges(pairs[:, 0], pairs[:, 1])
    weights = (flat[pairs[:, 0]] + flat[pairs[:, 1]]) / 2
    labels = higra.labelisation_watershed(graph, weights)
    rag = higra.make_region_adjacency_graph_from_labelisation(graph, labels)
    mean = higra.rag_accumulate_on_edges(rag, higra.Accumulators.mean, weights)
    length = higra.rag_accumulate_on_edges(rag, higra.Accumulators.sum, np.ones(len(weights)))
    return higra.binary_partition_tree_average_linkage(rag, mean, length)


def pipeline_peers():
    pytest.importorskip("higra")
    return {"pyadx": ours(1), "pyadx, all threads": ours(torch.get_num_threads()), "higra": higra_pipeline}


@pytest.mark.parametrize("how", ["pyadx", "pyadx, all threads", "higra"])
def test_watershed_graph_and_tree(how, timed):
    peers = pipeline_peers()
    voxel_edges()
    timed(f"watershed + region graph + merge tree, {WHAT}", how, peers[how], peers=peers.values(), rounds=7)


def higra_merge():
    import higra

    pairs, sums, weights, sizes = region_graph()
    graph = higra.UndirectedGraph(len(sizes))
    graph.add_edges(pairs[:, 0], pairs[:, 1])
    return higra.binary_partition_tree_average_linkage(graph, sums / weights, weights.astype(float))


def skimage_merge():
    """The mean boundary merging of scikit-image's documentation, on its own graph class."""
    from skimage import graph as skimage_graph

    pairs, sums, weights, sizes = region_graph()
    rag = skimage_graph.RAG()
    rag.add_nodes_from((i, {"labels": [i]}) for i in range(len(sizes)))
    strengths = sums / weights
    for (a, b), strength, count in zip(pairs.tolist(), strengths.tolist(), weights.tolist(), strict=True):
        rag.add_edge(a, b, weight=strength, count=count)

    def weight(graph, src, dst, n):
        absent = {"weight": 0.0, "count": 0}
        one, two = graph[src].get(n, absent), graph[dst].get(n, absent)
        count = one["count"] + two["count"]
        mean = (one["weight"] * one["count"] + two["weight"] * two["count"]) / count
        return {"count": count, "weight": mean}

    labels = np.arange(len(sizes))
    return skimage_graph.merge_hierarchical(
        labels,
        rag,
        np.inf,
        rag_copy=False,
        in_place_merge=True,
        merge_func=lambda *_: None,
        weight_func=weight,
    )


@pytest.mark.parametrize("how", ["pyadx", "higra", "scikit-image merge_hierarchical"])
def test_merging_alone(how, timed):
    pytest.importorskip("higra")
    calls = {"pyadx": merge, "higra": higra_merge, "scikit-image merge_hierarchical": skimage_merge}
    slow = how.startswith("scikit")
    peers = () if slow else (merge, higra_merge)
    timed(f"merging a region graph, {WHAT}", how, calls[how], peers=peers, rounds=1 if slow else 7)


def skimage_watershed():
    from skimage.segmentation import watershed

    return watershed(relief(), mask=prepared().mask != 0)


def sitk_watershed():
    import SimpleITK

    image = SimpleITK.GetImageFromArray(relief())
    return SimpleITK.MorphologicalWatershed(image, level=0, markWatershedLine=False, fullyConnected=False)


@pytest.mark.parametrize(
    "how", ["pyadx", "scikit-image watershed", "SimpleITK MorphologicalWatershed, no mask"]
)
def test_watershed(how, timed):
    pytest.importorskip("skimage")
    pytest.importorskip("SimpleITK")
    calls = {
        "pyadx": basins,
        "scikit-image watershed": skimage_watershed,
        "SimpleITK MorphologicalWatershed, no mask": sitk_watershed,
    }
    timed(f"watershed, {WHAT}", how, calls[how], peers=calls.values(), rounds=7)


def skimage_slic():
    from skimage.segmentation import slic

    return slic(scan(), 500, 0.05, mask=scan() != 0, channel_axis=None)


@pytest.mark.parametrize("how", ["pyadx", "scikit-image SLIC, 500 segments, one level"])
def test_volume_to_hierarchy(how, timed):
    pytest.importorskip("skimage")
    calls = {
        "pyadx": lambda: segmentation.ucm(scan()),
        "scikit-image SLIC, 500 segments, one level": skimage_slic,
    }
    timed(f"volume to segments, {WHAT}", how, calls[how], peers=calls.values(), rounds=5)


@pytest.mark.parametrize("cue", ["chi2", "gpb"])
def test_cues_of_the_paper(cue, timed):
    group = f"segmentation with the {cue} cue, {WHAT}"
    timed(group, "pyadx", lambda: segmentation.ucm(scan(), cue=cue), rounds=3)


@cache
def network():
    return models.build("vggnet", seed=0).eval(), torch.from_numpy(scan() / scan().max())[None, None]


@cache
def hierarchy():
    return segmentation.ucm(scan())


@pytest.mark.parametrize("how", ["pyadx", "Captum FeatureAblation"])
def test_sa3ducm(how, timed, benchmark):
    attr = pytest.importorskip("captum.attr")
    model, volume = network()
    tree = hierarchy()
    pairs = int(tree.levels.sum())
    group = f"SA-3DUCM, vggnet, {WHAT}, {len(tree.levels)} levels, per segment of a level"
    if how == "pyadx":
        explain = SupervoxelOcclusion(model)
        timed(group, how, lambda: explain(volume, 1), rounds=3, items=pairs)
        (report,) = explain.run(volume, 1).reports
        note = (
            f"{pairs:,} segments, {report.nodes} distinct, {report.skipped} skipped, segmentation included"
        )
    else:
        coarse = [torch.from_numpy(tree.cut(int(n)))[None, None] for n in tree.levels[tree.levels <= 6]]
        ablation = attr.FeatureAblation(lambda x: model(x).softmax(1))

        def run():
            with torch.no_grad():
                for labels in coarse:
                    ablation.attribute(volume, target=1, feature_mask=labels.long())

        timed(group, how, run, rounds=3, items=int(sum(int(labels.max()) for labels in coarse)))
        note = f"timed on the {len(coarse)} levels of at most 6 segments; it also ablates the background"
    benchmark.extra_info["facts"] = {"note": note}
