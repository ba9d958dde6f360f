import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from segmentation.volumes import blobs, same_partition

from pyadx.segmentation import ucm

LINKAGES = ("ward", "hybrid", "boundary", "gbh")
CUES = ("gradient", "chi2", "gpb")


def same(a, b):
    return all(
        np.array_equal(getattr(a, n), getattr(b, n)) for n in ("leaves", "parent", "altitude", "levels")
    )


@pytest.mark.parametrize("cue", CUES)
@pytest.mark.parametrize("linkage", LINKAGES)
def test_threads_and_repetition_do_not_change_a_bit(cue, linkage):
    volume = blobs()
    runs = [ucm(volume, cue=cue, linkage=linkage, min_size=2, threads=n) for n in (1, 2, 5, 1)]
    assert runs[0].n_leaves > 30
    assert all(same(runs[0], run) for run in runs[1:])


def test_the_globalised_cue_finds_the_wall_between_two_textures():
    """Equal noise on both sides and a thin faint wall: the local cue is blind beside it, cuts are not."""
    random = np.random.default_rng(2)
    volume = 0.5 + 0.05 * random.standard_normal((30, 30, 30))
    volume[:, :, 15:] += 0.3
    one = ucm(volume, preset="paper", threads=1)
    assert one.n_leaves > 10
    assert same(one, ucm(volume, preset="paper", threads=2))
    halves = ucm(volume, preset="release").cut(2)
    share = (halves == np.where(np.arange(30) < 15, halves[15, 15, 2], halves[15, 15, 27])).mean()
    assert halves[15, 15, 2] != halves[15, 15, 27]
    assert share > 0.95


def test_the_cue_on_cuda_gives_the_same_hierarchy(device):
    volume = blobs()
    assert same(ucm(volume, cue="chi2"), ucm(volume, cue="chi2", device=str(device)))


@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.parametrize(
    "turn",
    [
        lambda v: v[::-1],
        lambda v: v[:, ::-1, ::-1],
        lambda v: v.transpose(2, 0, 1),
        lambda v: v.transpose(1, 0, 2)[:, :, ::-1],
    ],
)
def test_flips_and_permutations_turn_the_hierarchy(linkage, turn):
    # Smoothing axis after axis rounds differently in another order of the axes.
    volume = blobs((11, 12, 13), seed=4)
    options = {"linkage": linkage, "min_size": 2, "smoothing": 0, "max_regions": 50}
    one, two = ucm(volume, **options), ucm(np.ascontiguousarray(turn(volume)), **options)
    assert one.levels.tolist() == two.levels.tolist()
    assert same_partition(turn(one.leaves), two.leaves)
    for level in range(len(one.levels)):
        assert same_partition(turn(one.labels(level)), two.labels(level))
    assert np.allclose(one.altitude, two.altitude, rtol=1e-12)


def test_tensors_views_and_types_are_taken():
    volume = blobs((8, 9, 10))
    plain = ucm(volume.astype(np.float32))
    assert same(plain, ucm(torch.from_numpy(volume.astype(np.float32))[None, None]))
    wide = np.zeros((16, 9, 20), np.float32)
    wide[::2, :, ::2] = volume
    assert same(plain, ucm(wide[::2, :, ::2]))
    whole = (volume * 1000).astype(np.int16)
    assert same(ucm(whole), ucm(whole.astype(np.float32)))


def test_a_constant_gain_changes_nothing():
    volume = blobs((8, 9, 10))
    assert same(ucm(volume), ucm(volume * 1024.0))


def test_masks_of_several_components_and_background():
    volume = blobs((12, 13, 14), background=False)
    mask = np.zeros(volume.shape, bool)
    mask[:4], mask[6:9], mask[11:] = True, True, True
    hierarchy = ucm(volume, mask, min_size=1)
    assert np.array_equal(hierarchy.leaves > 0, mask)
    assert np.isinf(hierarchy.altitude[-2:]).all()
    assert np.isfinite(hierarchy.altitude[:-2]).all()
    parts = hierarchy.cut(3)
    assert [len(np.unique(parts[s])) for s in (slice(0, 4), slice(6, 9), slice(11, 12))] == [1, 1, 1]
    poisoned = volume.copy()
    poisoned[~mask] = 1e30
    assert same(hierarchy, ucm(poisoned, mask, min_size=1))
    # Without a mask, what is not zero; without any zero, everything.
    assert (ucm(volume).leaves > 0).all()
    assert np.array_equal(ucm(np.where(mask, volume, 0)).leaves > 0, mask)


def test_min_size_and_limits_hold():
    volume = blobs()
    hierarchy = ucm(volume, min_size=25, max_regions=30, max_levels=4)
    at_zero = hierarchy.cut(altitude=0.0)
    assert np.bincount(at_zero.ravel())[1:].min() >= 25
    assert len(hierarchy.levels) <= 4
    assert hierarchy.levels.max() <= 30
    assert ucm(volume, max_regions=1).levels.tolist() == [1]


def test_two_plain_blocks_are_two_regions():
    volume = np.ones((8, 9, 10), np.float32)
    volume[:, :, 5:] = 2
    for linkage in LINKAGES:
        parts = ucm(volume, linkage=linkage, smoothing=0, min_size=1).cut(2)
        assert same_partition(parts, volume.astype(int)), linkage


def test_anisotropic_voxels_are_respected():
    volume = blobs((9, 9, 9))
    cubic = ucm(volume, spacing=2.0)
    assert same(cubic, ucm(volume))
    assert not same(cubic, ucm(volume, spacing=(3.0, 1.0, 1.0)))


def test_a_boundary_map_of_the_user_is_taken():
    volume = blobs((9, 10, 11), background=False)
    wall = np.zeros(volume.shape)
    wall[:, 4] = 1.0
    hierarchy = ucm(volume, cue=wall, linkage="boundary", min_size=0, smoothing=0)
    assert hierarchy.n_leaves == 2
    with pytest.raises(ValueError, match="cue has shape"):
        ucm(volume, cue=wall[1:])
    with pytest.raises(ValueError, match="negative"):
        ucm(volume, cue=-wall)


def test_progress_names_the_steps():
    told = []
    noise = np.random.default_rng(0).random((60, 60, 60))
    ucm(noise, cue="chi2", progress=lambda step, done: told.append((step, done)))
    steps = [step for step, _ in told]
    assert "chi2 cue" in steps
    assert all(0 <= done <= 1 for _, done in told)


def test_what_a_progress_callback_raises_arrives():
    class EnoughError(Exception):
        pass

    def stop(step, done):
        raise EnoughError

    noise = np.random.default_rng(0).random((60, 60, 60))
    with pytest.raises(EnoughError):
        ucm(noise, cue="chi2", progress=stop)


SLOW = """
import sys, time, numpy as np
from pyadx import segmentation
volume = np.random.default_rng(0).random((160, 160, 160)).astype(np.float32)
print("ready", flush=True)
try:
    segmentation.ucm(volume, cue="chi2", smoothing=0)
except KeyboardInterrupt:
    print("stopped", time.monotonic(), flush=True)
    sys.exit(3)
"""


def test_ctrl_c_stops_the_core_at_once():
    process = subprocess.Popen([sys.executable, "-c", SLOW], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(2.0)  # inside the cue, which takes many seconds
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    word, stopped = process.stdout.readline().split()
    assert word == "stopped"
    assert process.wait() == 3
    # 0.1 s on an idle machine; a busy one may be slower to run the threads at all.
    assert float(stopped) - sent < 1.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: np.where(v == v.max(), np.nan, v), "NaN or infinity"),
        (lambda v: np.where(v == v.max(), np.inf, v), "NaN or infinity"),
        (lambda v: np.ones_like(v), "constant inside the mask"),
        (lambda v: np.zeros_like(v), "constant inside the mask"),
        (lambda v: v[:1], "at least two voxels along every axis"),
        (lambda v: v[0], r"shape \[D, H, W\]"),
        (lambda v: v.astype(complex), "real numbers"),
        (lambda v: np.broadcast_to(np.float32(1), (2048, 1024, 1025)), r"2\^31 and more"),
    ],
)
def test_bad_volumes_are_told(change, words):
    with pytest.raises((ValueError, TypeError), match=words):
        ucm(change(blobs((6, 7, 8))))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mask": np.zeros((6, 7, 8))}, "mask is empty"),
        ({"mask": np.ones((6, 7, 9))}, "mask has shape"),
        ({"spacing": (1.0, np.nan, 1.0)}, "spacing must be"),
        ({"spacing": (1.0, 0.0, 1.0)}, "spacing must be"),
        ({"spacing": (1.0, 2.0)}, "spacing must be"),
        ({"cue": "canny"}, "cue must be one of gradient, chi2, gpb"),
        ({"linkage": "median"}, "linkage must be one of"),
        ({"preset": "best"}, "preset must be one of"),
        ({"max_levels": 0}, "max_levels"),
        ({"max_regions": 2.5}, "max_regions"),
        ({"min_size": -1}, "min_size"),
        ({"smoothing": np.inf}, "smoothing"),
        ({"smoothing": "a"}, "smoothing must be from 0 to 10 voxels, got 'a'"),
        ({"threads": 0}, "threads"),
        ({"device": "tpu"}, "it must be cpu, cuda or cuda:N"),
        ({"device": "cuda:x"}, "it must be cpu, cuda or cuda:N"),
        ({"device": "cuda:99"}, "torch sees (no|.*) CUDA GPU"),
    ],
)
def test_bad_options_are_told(options, words):
    with pytest.raises(ValueError, match=words):
        ucm(blobs((6, 7, 8)), **options)


@pytest.mark.parametrize("units", [256, 4096])
def test_altitudes_do_not_depend_on_the_whole_numbers_that_faces_are_weighed_in(units, monkeypatch):
    """Areas are whole in any unit, as spacings are powers of two; cosines are rounded to a part of it."""
    options = {"cue": "chi2", "linkage": "boundary", "min_size": 0, "spacing": (2.0, 1.0, 1.0)}
    expected = ucm(blobs(), **options)
    monkeypatch.setattr("pyadx.segmentation.pipeline._FACE_UNITS", units)
    found = ucm(blobs(), **options)
    assert np.allclose(np.sort(found.altitude), np.sort(expected.altitude), atol=5e-3)
    assert found.altitude.max() > 0.05
