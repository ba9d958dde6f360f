"""The recipes are the paper's, their optimizers those of the textbooks, and batches hold both classes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.optimizers import adam_steps, cross_entropy, nesterov_steps

from pyadx.training import PROTOCOLS, Protocol, paper_protocol, read_protocol
from pyadx.training.batches import augmented, balanced_batches


def test_the_papers_recipes():
    assert PROTOCOLS["vggnet"] == Protocol("adam", 2.7e-5, 5, 150)
    assert PROTOCOLS["resnet"] == Protocol("sgd", 1e-3, 3, 150, momentum=0.9)
    assert paper_protocol("resnet-gap") == paper_protocol("resnet-shallow-gap") == PROTOCOLS["resnet"]
    assert paper_protocol("vggnet") == PROTOCOLS["vggnet"]
    with pytest.raises(ValueError, match="unknown architecture 'densenet'; known are vggnet, resnet"):
        paper_protocol("densenet")


@pytest.mark.parametrize(("name", "reference"), [("vggnet", adam_steps), ("resnet", nesterov_steps)])
def test_optimizer_steps_equal_those_written_by_hand(name, reference):
    random = np.random.default_rng(0)
    start, gradients = random.standard_normal(5), random.standard_normal((6, 5))
    weight = torch.nn.Parameter(torch.tensor(start))
    optimizer = PROTOCOLS[name].make_optimizer(iter([weight]))
    for gradient in gradients:
        optimizer.zero_grad()
        weight.grad = torch.tensor(gradient)
        optimizer.step()
    expected = reference(start, gradients, PROTOCOLS[name].learning_rate)
    assert np.allclose(weight.detach().numpy(), expected, rtol=1e-12, atol=1e-15)


def test_the_loss_is_the_mean_cross_entropy():
    logits, labels = np.random.default_rng(0).standard_normal((7, 2)), np.array([0, 1, 1, 0, 1, 0, 0])
    ours = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels))
    assert float(ours) == pytest.approx(cross_entropy(logits, labels), rel=1e-12)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=3),
    st.integers(3, 9),
    st.integers(0, 2**32 - 1),
)
def test_every_batch_holds_every_class_and_every_scan_is_seen(counts, size, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    batches = balanced_batches(labels, size, np.random.default_rng(seed))
    seen = np.concatenate(batches)
    assert set(seen) == set(range(len(labels)))
    for batch in batches:
        assert len(batch) <= size
        assert set(labels[batch]) == set(range(len(counts)))
    least = min(counts)
    if least >= len(batches):  # nobody has to be repeated
        assert len(seen) == len(labels)


def test_batches_follow_from_the_seed_and_differ_between_epochs():
    labels = np.arange(30) % 2
    one, same, other = (
        balanced_batches(labels, 5, np.random.default_rng(s)) for s in ([0, 1], [0, 1], [0, 2])
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_batches_of_one_class_are_refused():
    with pytest.raises(ValueError, match="one class only"):
        balanced_batches(np.zeros(9, int), 3, np.random.default_rng(0))
    with pytest.raises(ValueError, match="cannot hold 3 classes"):
        balanced_batches(np.arange(9) % 3, 2, np.random.default_rng(0))


def test_augmentation_is_off_unless_asked_for_and_moves_whole_voxels():
    volumes = torch.rand(4, 1, 6, 7, 8)
    plain = Protocol("sgd", 1e-3, 2, 1)
    assert augmented(volumes, plain, np.random.default_rng(0)) is volumes
    moved = augmented(volumes, Protocol("sgd", 1e-3, 2, 1, shift=2), np.random.default_rng(0))
    for before, after in zip(volumes[:, 0], moved[:, 0], strict=True):
        found = [
            (a, b, c)
            for a in range(-2, 3)
            for b in range(-2, 3)
            for c in range(-2, 3)
            if torch.equal(shifted(before, (a, b, c)), after)
        ]
        assert len(found) == 1
    mirrored = augmented(volumes, Protocol("sgd", 1e-3, 2, 1, flip=True), np.random.default_rng(1))
    kinds = [torch.equal(a, b) for a, b in zip(volumes, mirrored, strict=True)]
    back = [torch.equal(a.flip(1), b) for a, b in zip(volumes, mirrored, strict=True)]
    assert any(kinds)
    assert any(back)
    assert all(a != b for a, b in zip(kinds, back, strict=True))


def shifted(volume, steps):
    out = torch.zeros_like(volume)
    for index in np.ndindex(*volume.shape):
        source = tuple(i - s for i, s in zip(index, steps, strict=True))
        if all(0 <= i < n for i, n in zip(source, volume.shape, strict=True)):
            out[index] = volume[source]
    return out


def test_a_protocol_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('epochs = 7\nlearning_rate = 0.01\noptimizer = "sgd"\n')
    assert read_protocol(path, PROTOCOLS["vggnet"]) == Protocol("sgd", 0.01, 5, 7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epochs = 0", "epochs must be between 1 and 100000, got 0"),
        ("epochs = 1.5", "epochs must be a whole number"),
        ("learning_rate = true", "learning_rate must be a number"),
        ('optimizer = "lion"', "optimizer must be adam or sgd"),
        ("batch = 3", "unknown batch; a protocol has optimizer"),
        ("epochs =", "is not TOML"),
        ("batch_size = 1", "batch_size must be between 2"),
        ('flip = "yes"', "flip must be true or false"),
    ],
)
def test_bad_protocol_files_are_told(text, words, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_protocol(path, PROTOCOLS["vggnet"])
    with pytest.raises(ValueError, match="no such protocol file"):
        read_protocol(tmp_path / "none.toml", PROTOCOLS["vggnet"])
