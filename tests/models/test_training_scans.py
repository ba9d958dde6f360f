"""A card tells who has the scans what was trained on, and nobody else anything."""

import json
import re

import pytest
import torch

from pyadx import models
from pyadx.models import ModelCard
from pyadx.models.demonstration import NETWORKS, demonstration_checkpoint
from pyadx.models.training_scans import Seen, seen_in_training, stripped, training_record

SUBJECTS = ["sub-01", "002_S_0295", "Müller"]
SCANS = ["sub-01/anat/sub-01_T1w.nii.gz", "I45108", "m.nii"]
HASHES = [f"{number:064x}" for number in (7, 8, 9)]
OLD = [
    {"subject": who, "scan": scan, "sha256": own}
    for who, scan, own in zip(SUBJECTS, SCANS, HASHES, strict=True)
]


def card(**provenance):
    return ModelCard("resnet-gap", trained=True, provenance=provenance)


def record(**options):
    return training_record(SUBJECTS, SCANS, HASHES, **options)


FORMS = {
    "salted": record(),
    "with ids": record(keep_ids=True),
    "of an older version": {"training_scans": OLD},
    "stripped": stripped({"training_scans": OLD}),
}


@pytest.mark.parametrize("form", FORMS)
def test_images_and_subjects_are_known_again(form):
    own = card(**FORMS[form])
    assert seen_in_training(own, HASHES[1], "002_S_0295") == Seen(True, True)
    assert seen_in_training(own, "0" * 64, "sub-01") == Seen(False, True)  # another image of the subject
    assert seen_in_training(own, "0" * 64, "01") == Seen(False, True)  # as tables write it
    assert seen_in_training(own, HASHES[2], "somebody") == Seen(True, False)  # under another name
    assert seen_in_training(own, HASHES[0]) == Seen(True, None)
    assert seen_in_training(own, "0" * 64, "sub-010") == Seen(False, False)
    assert seen_in_training(own, "", "") == Seen(False, False)


@pytest.mark.parametrize("form", ["salted", "stripped"])
def test_nothing_that_identifies_is_written(form):
    text = json.dumps(FORMS[form], ensure_ascii=False)
    for secret in (*SUBJECTS, *SCANS, *HASHES, "295", "45108"):
        assert secret not in re.sub(r'"[0-9a-f]{32,}"', "", text)
        assert f'"{secret}"' not in text


def test_two_checkpoints_of_the_same_scans_have_nothing_in_common():
    one, other = ({v for entry in record()["training_scans"] for v in entry.values()} for _ in range(2))
    assert len(one) == len(other) == 6
    assert not one & other


def test_the_order_of_the_record_says_nothing_about_the_cohort():
    entries = record()["training_scans"]
    assert entries == sorted(entries, key=lambda entry: entry["salted_voxels"])


def test_without_a_record_nothing_is_claimed():
    assert seen_in_training(card(), HASHES[0], "sub-01") == Seen(None, None)
    assert seen_in_training(ModelCard("resnet-gap"), HASHES[0], "sub-01") == Seen(False, False)


WILD = [
    5, "text", None, {}, [5], [None], [{}], [{"subject": 5, "sha256": []}], [{"salted_voxels": None}],
    {"salted_subject": 1}, [[]],
]  # fmt: skip


@pytest.mark.parametrize("salt", [None, 5, "", "zz", "ab" * 16, "AB" * 16, "abc" * 11, ["ab" * 16]])
@pytest.mark.parametrize("scans", WILD, ids=str)
def test_whatever_a_card_says_is_read_without_harm(scans, salt):
    """Anybody may have written it."""
    provenance = {"training_scans": scans, "training_salt": salt, "epochs": 3}
    seen = seen_in_training(card(**provenance), HASHES[0], "sub-01")
    assert not seen.image
    assert not seen.subject
    for remove in (False, True):
        assert stripped(provenance, remove=remove)["epochs"] == 3


def test_stripping_what_is_salted_changes_nothing_and_removing_leaves_nothing():
    salted = {**record(), "epochs": 3}
    assert stripped(salted) == salted
    assert stripped(salted, remove=True) == {"epochs": 3}
    assert stripped({"training_scans": OLD, "epochs": 3}, remove=True) == {"epochs": 3}


def test_entries_of_any_mixture_lose_their_ids():
    mixed = {**record(), "training_scans": [*record()["training_scans"], *OLD]}
    text = json.dumps(stripped(mixed), ensure_ascii=False)
    assert not [secret for secret in (*SUBJECTS, *SCANS, *HASHES) if secret in text]


@pytest.fixture
def old(tmp_path):
    model = models.build("resnet-shallow-gap", (16, 16, 16), seed=0)
    path = tmp_path / "old.safetensors"
    models.save(
        model, path, dtype=torch.float16, trained=True, provenance={"training_scans": OLD, "epochs": 3}
    )
    return path


def test_strip_keeps_the_weights_as_they_are_stored(old, run, tmp_path):
    from safetensors.torch import load_file

    new = tmp_path / "new.safetensors"
    code, out, err = run("strip", old, "-o", new)
    assert code == 0, err
    assert "3 training scans" in out
    assert "epochs: 3" in out
    before, after = load_file(old), load_file(new)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert after[name].dtype == tensor.dtype
        assert torch.equal(after[name], tensor)
    data = new.read_bytes().decode("latin-1")
    assert not [secret for secret in (*SCANS, *HASHES, "002_S_0295", "sub-01") if secret in data]
    assert seen_in_training(models.load(new).card, HASHES[0], "sub-01") == Seen(True, True)
    assert run("strip", old, "-o", new)[0] == 2  # it is there already
    assert run("strip", new, "-o", new, "--remove", "--overwrite")[0] == 0
    assert models.load(new).card.provenance == {"epochs": 3}
    assert models.fingerprint(models.load(new)) == models.fingerprint(models.load(old))


def test_strip_reads_pickles_too_and_refuses_what_is_no_checkpoint(old, run, tmp_path):
    model = models.load(old)
    pickle, new = tmp_path / "old.pt", tmp_path / "new.safetensors"
    torch.save({"card": model.card.to_dict(), "state_dict": model.state_dict()}, pickle)
    assert run("strip", pickle, "-o", new)[0] == 0
    assert seen_in_training(models.load(new).card, HASHES[0]).image
    before = new.read_bytes()
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    for source, out, words in (
        (tmp_path / "junk.safetensors", new, "damaged"),
        (tmp_path / "no.safetensors", new, "no such checkpoint"),
        (old, tmp_path / "new.pt", ".safetensors"),
    ):
        code, _, err = run("strip", source, "-o", out, "--overwrite")
        assert code == 2
        assert words in err
        assert err.count("\n") == 1
    assert new.read_bytes() == before


@pytest.mark.parametrize("name", NETWORKS)
def test_the_demonstration_networks_still_know_their_scans(name):
    own = models.load(demonstration_checkpoint(name)).card
    named = [entry["sha256"] for entry in own.provenance["training_scans"] if "sha256" in entry]
    assert seen_in_training(own, named[0], "sub-002") == Seen(True, True)
    assert seen_in_training(own, "0" * 64, "sub-900") == Seen(False, False)


@pytest.mark.parametrize("keep_ids", [False, True])
@pytest.mark.parametrize("kept_before", [False, True])
def test_a_training_that_goes_on_from_a_checkpoint_keeps_its_scans(keep_ids, kept_before):
    first = training_record(["sub-1", "sub-2"], ["a", "b"], ["11" * 32, "22" * 32], keep_ids=kept_before)
    both = training_record(["sub-3"], ["c"], ["33" * 32], keep_ids=keep_ids, earlier=first)
    card = ModelCard("vggnet", trained=True, provenance=both)
    for voxels, subject in (("11" * 32, "sub-1"), ("22" * 32, "2"), ("33" * 32, "sub-3")):
        assert seen_in_training(card, voxels, subject) == Seen(True, True)
    assert seen_in_training(card, "44" * 32, "sub-4") == Seen(False, False)
    assert len(both["training_scans"]) == 3
