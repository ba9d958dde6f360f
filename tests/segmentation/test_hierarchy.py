import numpy as np
import pytest
from segmentation.volumes import blobs, same_partition

from pyadx import segmentation
from pyadx.segmentation import Hierarchy, from_labels, load, ucm

LINKAGES = ("ward", "hybrid", "boundary", "gbh")


@pytest.fixture(scope="module", params=LINKAGES)
def hierarchy(request):
    return ucm(blobs(), linkage=request.param, min_size=2, max_regions=60, max_levels=9)


def test_every_level_is_a_partition_and_lies_within_the_next(hierarchy):
    assert len(hierarchy.levels) > 2
    assert (np.diff(hierarchy.levels) < 0).all()
    inside = blobs() != 0
    finer = hierarchy.leaves
    for level, count in enumerate(hierarchy.levels):
        labels = hierarchy.labels(level)
        assert labels.dtype == np.int32
        assert np.array_equal(labels > 0, inside)
        assert np.array_equal(np.unique(labels[inside]), np.arange(1, count + 1))
        assert len(np.unique(np.stack([finer[inside], labels[inside]]), axis=1).T) == finer.max()
        finer = labels
    assert np.array_equal(hierarchy.labels(-1), finer)


def test_regions_are_the_distinct_segments_of_all_levels(hierarchy):
    segments = set()
    pairs = 0
    for level in range(len(hierarchy.levels)):
        labels = hierarchy.labels(level)
        for label in range(1, labels.max() + 1):
            leaves = np.unique(hierarchy.leaves[labels == label])
            assert np.array_equal(leaves, np.arange(leaves[0], leaves[-1] + 1))
            segments.add((int(leaves[0]), int(leaves[-1]) + 1))
            pairs += 1
    assert segments == {tuple(r) for r in hierarchy.regions.tolist()}
    assert len(segments) == len(hierarchy.regions)
    assert hierarchy.levels_per_region.sum() == pairs


def test_areas_altitudes_and_parents_belong_together(hierarchy):
    count = hierarchy.n_leaves
    voxels = np.bincount(hierarchy.leaves.ravel(), minlength=count + 1)[1:]
    for node in range(2 * count - 1):
        low, high = hierarchy.first[node], hierarchy.last[node]
        assert hierarchy.area[node] == voxels[low:high].sum()
        parent = hierarchy.parent[node]
        assert hierarchy.first[parent] <= low < high <= hierarchy.last[parent]
        assert hierarchy.altitude[parent] >= hierarchy.altitude[node]
    assert hierarchy.parent[-1] == 2 * count - 2


def components(faces, inside, altitude):
    """Label what stays connected when faces above an altitude are closed."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    index = np.arange(inside.size).reshape(inside.shape)
    pairs = []
    for axis, face in enumerate(faces):
        near = np.take(index, range(inside.shape[axis] - 1), axis)
        far = np.take(index, range(1, inside.shape[axis]), axis)
        both = np.take(inside, range(inside.shape[axis] - 1), axis) & np.take(
            inside, range(1, inside.shape[axis]), axis
        )
        open_ = (face <= altitude) & both
        pairs.append(np.stack([near[open_], far[open_]]))
    a, b = np.concatenate(pairs, 1)
    graph = coo_matrix((np.ones(len(a)), (a, b)), shape=(inside.size, inside.size))
    labels = connected_components(graph, directed=False)[1].reshape(inside.shape) + 1
    return np.where(inside, labels, 0)


def test_the_contour_map_gives_back_every_cut(hierarchy):
    contours = hierarchy.ucm()
    altitudes = np.unique(hierarchy.altitude)
    chosen = {0.0, *altitudes[:: max(1, len(altitudes) // 12)], altitudes[-1]}
    for altitude in chosen:
        expected = hierarchy.cut(altitude=altitude)
        found = components(contours.faces, hierarchy.leaves > 0, altitude)
        assert same_partition(expected, found)
    assert contours.voxels.shape == hierarchy.leaves.shape
    assert contours.voxels.max() == max(f[np.isfinite(f)].max() for f in contours.faces)


def test_cuts_by_area(hierarchy):
    for least in (1, 5, 40, 10**6):
        labels = hierarchy.cut(min_area=least)
        areas = np.bincount(labels.ravel())[1:]
        assert (areas >= min(least, areas.sum())).all()
        # No region could be divided: both halves of its last merge would have to be large enough.
        for label in range(1, labels.max() + 1):
            leaves = hierarchy.leaves[labels == label]
            if leaves.min() == leaves.max():
                continue
            node = np.flatnonzero((hierarchy.first == leaves.min() - 1) & (hierarchy.last == leaves.max()))[
                0
            ]
            children = np.flatnonzero(hierarchy.parent == node)
            assert hierarchy.area[children].min() < least


def test_scipy_understands_the_linkage(hierarchy):
    from scipy.cluster.hierarchy import fcluster, is_valid_linkage

    linkage = hierarchy.to_linkage()
    assert is_valid_linkage(linkage)
    for count in (2, 5, 17):
        ours = hierarchy.cut(count)
        threshold = (linkage[-count, 2] + linkage[-count + 1, 2]) / 2
        if linkage[-count, 2] == linkage[-count + 1, 2]:
            continue  # a threshold cannot tell them apart
        theirs = fcluster(linkage, threshold, "distance")
        assert same_partition(ours, np.concatenate([[0], theirs])[hierarchy.leaves])


def test_files_give_back_the_same_hierarchy(hierarchy, tmp_path):
    hierarchy.save(tmp_path / "h.npz")
    again = load(tmp_path / "h.npz")
    for name in ("leaves", "parent", "altitude", "area", "levels", "first", "last"):
        one, two = getattr(hierarchy, name), getattr(again, name)
        assert one.dtype == two.dtype, name
        assert np.array_equal(one, two), name
    assert [p.name for p in tmp_path.iterdir()] == ["h.npz"]


def test_label_volumes_keep_their_place(hierarchy, tmp_path):
    nib = pytest.importorskip("nibabel")
    affine = np.array([[-2.0, 0, 0, 9], [0, 3, 0, -8], [0, 0, 1, 7], [0, 0, 0, 1]])
    hierarchy.save_labels(tmp_path / "l.nii.gz", affine)
    image = nib.load(tmp_path / "l.nii.gz")
    assert np.array_equal(image.affine, affine)
    assert image.shape == (*hierarchy.leaves.shape, len(hierarchy.levels))
    for level in range(len(hierarchy.levels)):
        assert np.array_equal(np.asarray(image.dataobj)[..., level], hierarchy.labels(level))


@pytest.mark.parametrize("damage", ["truncated", "text", "missing", "contradiction", "pickle", "version"])
def test_damaged_files_are_refused(damage, tmp_path):
    path = tmp_path / "h.npz"
    hierarchy = ucm(blobs((6, 7, 8)), min_size=1)
    hierarchy.save(path)
    arrays = dict(np.load(path))
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "text":
        path.write_text("not a hierarchy")
    elif damage == "missing":
        path = tmp_path / "none.npz"
    elif damage == "contradiction":
        np.savez(path, **{**arrays, "leaves": arrays["leaves"] + 1})
    elif damage == "pickle":
        np.savez(path, **{**arrays, "parent": np.array([{}], object)})
    else:
        np.savez(path, **{**arrays, "format": np.array(99)})
    words = "cannot be read as a hierarchy|is not an .npz file|parent holds pickled|no such file"
    with pytest.raises(ValueError, match=rf"(h|none)\.npz: ({words})"):
        load(path)


def test_wrong_arguments_are_told(hierarchy):
    for arguments in ({}, {"n_regions": 3, "min_area": 2}):
        with pytest.raises(ValueError, match="exactly one"):
            hierarchy.cut(**arguments)
    for arguments in ({"n_regions": 0}, {"altitude": -1.0}, {"altitude": np.nan}, {"min_area": 0}):
        with pytest.raises(ValueError, match=r"must be an? (integer|number) of at least"):
            hierarchy.cut(**arguments)
    with pytest.raises(ValueError, match="level must be"):
        hierarchy.labels(99)
    with pytest.raises(ValueError, match=r"\.npz"):
        hierarchy.save("labels.nii.gz")


# --- label volumes that exist already --------------------------------------------------------------------


def test_nested_label_volumes_come_back(tmp_path):
    hierarchy = ucm(blobs(), min_size=2)
    random = np.random.default_rng(0)
    volumes = []
    for count in (3, 40, 12):
        labels = hierarchy.cut(count)
        names = np.concatenate([[0], random.permutation(np.arange(1, 1000))[:count]])
        volumes.append(names[labels])
    again = from_labels(volumes)
    assert isinstance(again, Hierarchy)
    assert again.levels.tolist() == [40, 12, 3]
    for level, given in enumerate((volumes[1], volumes[2], volumes[0])):
        assert same_partition(again.labels(level), given)
    assert same_partition(again.cut(altitude=1.0), volumes[2])


def test_a_single_label_volume_is_one_level():
    labels = np.zeros((4, 5, 6), np.int16)
    labels[1:3, 1:3] = 17
    labels[3:, 4:] = 53
    hierarchy = from_labels([labels])
    assert hierarchy.levels.tolist() == [2]
    assert same_partition(hierarchy.labels(0), labels)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: [], "at least one"),
        (lambda v: [v[0], v[1] + (v[0] == 2)], "not nested: label 2 of|not nested"),
        (lambda v: [v[0], -v[1]], "negative labels"),
        (lambda v: [v[0], v[1] + 0.5], "whole numbers"),
        (lambda v: [v[0], v[1][1:]], "different shapes"),
        (lambda v: [v[0], np.where(v[0] == 1, 0, v[1])], "different voxels outside"),
        (lambda v: [v[0] * 0], "labels no voxel"),
    ],
)
def test_labels_that_are_no_hierarchy_are_told(change, words):
    fine = np.repeat(np.arange(1, 5), 4).reshape(4, 2, 2)
    coarse = np.where(fine > 2, 2, 1)
    if "nested" in words:
        fine, coarse = fine.copy(), coarse.copy()
        coarse[0, 0, 0] = 2
        with pytest.raises(ValueError, match=words):
            from_labels([fine, coarse])
        return
    with pytest.raises((ValueError, TypeError), match=words):
        from_labels(change([fine, coarse]))


def test_public_names_are_there():
    assert set(segmentation.__all__) >= {"ucm", "Hierarchy", "from_labels", "load"}
