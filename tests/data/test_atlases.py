"""Label volumes are read with FreeSurfer's numbers only if they look like FreeSurfer's."""

from pathlib import Path

import numpy as np
import pytest

nib = pytest.importorskip("nibabel")
pytest.importorskip("scipy")

from pyadx.data.freesurfer import NUMBERS, refuse_other_atlas  # noqa: E402
from pyadx.data.phantom.anatomy import LABEL_NAMES, mni152_anatomy  # noqa: E402
from pyadx.data.regions import REGIONS, read_labels, regions_on_scan  # noqa: E402
from pyadx.data.scans import Scan  # noqa: E402

ATLASES = Path("/usr/share/mricron/templates")
LEFT = (2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 17, 18, 26, 28, 30, 31)
RIGHT = (41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60, 62, 63)
MIDDLE = (14, 15, 16, 24, 72, 77, 80, 85, 251, 252, 253, 254, 255)
AFFINE = nib.affines.from_matvec(np.diag([4.0, 4, 4]), (-58, -60, -40))  # x = 0 between voxels 14 and 15


def blocks(left, right, middle=(), shape=(30, 30, 20)):
    """A head of blocks: one structure after the other from back to front, left ones at negative x."""
    labels = np.zeros(shape, np.int32)
    for i, (one, two) in enumerate(zip(left, right, strict=True)):
        at = np.unravel_index(i, (13, 3))
        here = (slice(2 * at[0] + 1, 2 * at[0] + 3), slice(5 * at[1] + 2, 5 * at[1] + 6))
        labels[4:11, here[0], here[1]] = one
        labels[19:26, here[0], here[1]] = two
    for i, number in enumerate(middle):
        labels[13:17, 2 * i + 1 : 2 * i + 3, 8:12] = number
    return labels


def as_scan(labels, affine=AFFINE):
    return Scan(Path("labels.nii.gz"), nib.Nifti1Image(labels, affine), labels.astype(np.float32))


def masks(labels, affine=AFFINE):
    return regions_on_scan(as_scan(labels, affine), as_scan(labels, affine))


def test_an_aseg_passes_in_any_orientation():
    labels = blocks(LEFT, RIGHT, MIDDLE)
    assert np.array_equal(masks(labels)["hippocampus"], np.isin(labels, [17, 53]))
    flipped = AFFINE @ nib.orientations.inv_ornt_aff([[0, -1], [1, 1], [2, 1]], labels.shape)
    assert masks(np.ascontiguousarray(labels[::-1]), flipped)["ventricle"].any()
    turned = nib.Nifti1Image(labels, AFFINE).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    assert masks(np.asarray(turned.dataobj), turned.affine)["cortex"].any()


def test_an_aparc_aseg_passes():
    left = tuple(n for n in range(1001, 1036) if n != 1004)
    right = tuple(n + 1000 for n in left)
    deep = (4, 17, 2, 10), (43, 53, 41, 49)
    assert masks(blocks((*left, *deep[0]), (*right, *deep[1])))["cortex"].any()


def test_the_labels_of_the_synthetic_cohort_pass():
    anatomy = mni152_anatomy()
    assert set(np.unique(anatomy.labels)) <= {0, *LABEL_NAMES}
    refuse_other_atlas("dseg.nii.gz", anatomy.labels, anatomy.affine, "regions")


@pytest.mark.parametrize(
    "numbers", [(3, 4, 17), (3, 42, 4, 43, 17, 53), (42, 43, 53), (3, 4, 17, 25)], ids=str
)
def test_a_part_of_an_aseg_passes_with_a_lesion_too(numbers):
    labels = blocks(LEFT, RIGHT, MIDDLE)
    labels[~np.isin(labels, numbers)] = 0
    if 25 in numbers:
        labels[10, 12, 10:12] = 25  # a lesion that somebody drew
    refuse_other_atlas("part.nii.gz", labels, AFFINE, "regions")


def many(numbers, size):
    """Equal blocks with these numbers one after the other."""
    labels = np.resize(np.repeat(np.array(numbers, np.int32), size), 30 * 30 * 30)
    return labels.reshape(30, 30, 30)


@pytest.mark.parametrize(
    ("atlas", "numbers"),
    [
        ("AAL", range(1, 117)),
        ("Harvard-Oxford cortical", range(1, 49)),
        ("Brodmann", range(1, 53)),
        ("JHU tracts", range(1, 49)),
        ("Schaefer", range(1, 401)),
        ("tissue classes", (1, 2, 3)),
        ("Hammers", range(1, 96)),
    ],
)
def test_other_atlases_are_refused_with_the_reason(atlas, numbers):
    with pytest.raises(ValueError, match="does not look like FreeSurfer's") as raised:
        refuse_other_atlas(f"{atlas}.nii.gz", many(numbers, 9), np.eye(4), "cortex, ventricle, hippocampus")
    text = str(raised.value)
    assert text.startswith(f"{atlas}.nii.gz: ")
    known = len(set(numbers) & NUMBERS)
    assert f"{known} of its {len(numbers)} numbers" in text
    assert "not 1" in text
    assert "\n" not in text


def test_harvard_oxford_subcortical_is_refused_although_most_of_its_voxels_have_known_numbers():
    """Cortex and white matter fill it: 2, 12 and 13 are numbers of aseg, of other structures."""
    labels = np.concatenate(
        [np.repeat([2, 12, 13], 8100), np.repeat([1, *range(3, 12), *range(14, 22)], 200)]
    )
    assert np.isin(labels, list(NUMBERS)).mean() > 0.9
    with pytest.raises(ValueError, match="does not look like"):
        refuse_other_atlas("sub.nii.gz", labels.reshape(30, 30, 31), np.eye(4), "regions")


def test_sides_that_are_exchanged_are_refused():
    labels = blocks(RIGHT, LEFT, MIDDLE)
    with pytest.raises(
        ValueError, match="of 14 structures with a left and a right number, 14 have the left one"
    ):
        masks(labels)


def test_regions_of_ones_own_are_not_judged():
    labels = many(range(1, 117), 9)
    own = regions_on_scan(as_scan(labels), as_scan(labels), {"Hippocampus (AAL)": (37, 38)}, union=False)
    assert np.array_equal(own["Hippocampus (AAL)"], np.isin(labels, [37, 38]))


@pytest.mark.filterwarnings("ignore:.*sform .* disagree")
@pytest.mark.skipif(not ATLASES.is_dir(), reason="needs Debian's package mricron-data")
@pytest.mark.parametrize(
    "name",
    [
        "aal",
        "brodmann",
        "HarvardOxford-cort-maxprob-thr0-1mm",
        "JHU-WhiteMatter-labels-1mm",
        "AICHAmc",
        "jhu189",
        "natbrainlab",
        "inia19-NeuroMaps",
    ],
)
def test_published_atlases_are_refused(name):
    labels = read_labels(ATLASES / f"{name}.nii.gz")
    with pytest.raises(ValueError, match=r"does not look like FreeSurfer's aseg|none of the regions"):
        regions_on_scan(labels, labels, REGIONS)
