"""``pyadx group --replicate`` and ``--shuffled-network``: the same analysis on maps of other networks."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from group_maps import AFFINE, command, group_maps, image, map_name, save_map, table

pytest.importorskip("nilearn")


def of_network(folder, name, *, weights, effect, seed, spelling="", shuffled=False):
    """Write maps of another network of the same subjects below ``folder/name``."""
    made = folder / f"made-{name}"
    group_maps(made, effect=effect, seed=seed)
    for note in (made / "maps").glob("*.json"):
        facts = json.loads(note.read_text())
        facts["model"]["weights_sha256"] = weights
        facts["spelling"] = spelling or facts["spelling"]
        if shuffled:
            facts["model"]["shuffled_labels"] = True
        note.write_text(json.dumps(facts))
    shutil.move(made / "maps", folder / name)
    return folder / name


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Maps of four networks: two that agree, one that finds the opposite, one of shuffled labels."""
    monkeypatch.chdir(tmp_path)
    group_maps(tmp_path, effect=2.5)
    of_network(tmp_path, "fold1", weights="1" * 64, effect=2.5, seed=1)
    of_network(tmp_path, "fold2", weights="2" * 64, effect=-2.5, seed=2)
    of_network(tmp_path, "blind", weights="3" * 64, effect=0, seed=3, shuffled=True)
    return tmp_path


OTHERS = ("--replicate", "fold1", "--replicate", "fold2", "--shuffled-network", "blind")


def test_replicates_and_the_blind_network_stand_beside_the_finding(here, run):
    code, said, err = run(*command("--regions", "atlas.nii.gz", *OTHERS))
    assert code == 0, err
    assert "warning" not in err.lower()
    facts = json.loads((here / "out/group.json").read_text())
    first, second, blind = facts["networks"]
    assert [one["kind"] for one in facts["networks"]] == ["replicate", "replicate", "shuffled labels"]
    assert [one["number"] for one in facts["networks"]] == [1, 2, 1]
    assert first["weights_sha256"] == "1" * 64
    assert first["n"] == {"AD": 12, "NC": 12}
    assert first["regions_agreeing"] == ["Hippocampus_L"]
    assert second["regions_found"][0] == "Hippocampus_L"
    assert second["regions_agreeing"] == []
    assert blind["regions_found"] == []
    (found,) = (one for one in facts["regions"]["found"] if one["name"] == "Hippocampus_L")
    assert (found["replicated"], facts["regions"]["replicates"]) == (1, 2)
    assert "replicate 1: " in said
    assert "shuffled labels 1: 0 voxels, 0 regions" in said
    methods = (here / "out/methods.txt").read_text()
    assert (
        "a control network trained on shuffled labels (maps of 12 of group AD and 12 of group NC)"
        in methods
    )
    assert "were found with the same sign in all 2 replicates" in methods


def test_each_network_gives_what_a_run_of_its_own_gives(here, run):
    assert run(*command("--regions", "atlas.nii.gz", *OTHERS))[0] == 0
    facts = json.loads((here / "out/group.json").read_text())
    for name, one in zip(("fold1", "fold2", "blind"), facts["networks"], strict=True):
        assert run(*command("--regions", "atlas.nii.gz", maps=name, out=f"alone-{name}"))[0] == 0
        alone = json.loads((here / f"alone-{name}/group.json").read_text())
        assert one["voxels_found"] == sum(alone["voxels"]["significant"].values())
        assert set(one["regions_found"]) == {row["name"] for row in alone["regions"]["found"]}
        differences = [
            image(here / f, "ADminusNC", "difference").get_fdata() for f in ("out", f"alone-{name}")
        ]
        inside = [nib.load(here / f / "group_space-MNI_desc-tested_mask.nii.gz").get_fdata() > 0
                  for f in ("out", f"alone-{name}")]  # fmt: skip
        both = inside[0] & inside[1]
        assert one["r"] == pytest.approx(np.corrcoef(*(d[both] for d in differences))[0, 1], abs=1e-5)
        pair = [image(here / f, "ADminusNC", "t").get_fdata() for f in ("out", f"alone-{name}")]
        p = [image(here / f, "ADminusNC", "logpfwe").get_fdata() for f in ("out", f"alone-{name}")]
        level = -np.log10(0.05) + 1e-6
        signs = [np.where(logp > level, np.sign(t), 0) for t, logp in zip(pair, p, strict=True)]
        assert one["voxels_shared"] == int(((signs[0] != 0) & (signs[0] == signs[1])).sum())
        rows = table(here / f"alone-{name}/group_space-MNI_seg-atlas_desc-ADminusNC_regions.tsv")[2::3]
        beside = [
            row for row in table(here / "out/group_space-MNI_seg-atlas_desc-ADminusNCnetworks_regions.tsv")
            if row["weights_sha256"] == one["weights_sha256"]
        ]  # fmt: skip
        for name_of in ("name", "n", "mean", "hedges_g", "p_fdr"):
            assert [row[name_of] for row in beside] == [row[name_of] for row in rows]


def test_the_page_tells_both(here, run):
    pytest.importorskip("matplotlib")
    assert run(*command("--regions", "atlas.nii.gz", *OTHERS))[0] == 0
    code, _, err = run("report", "--group", "out", "-o", "page.html")
    assert code == 0, err
    page = (here / "page.html").read_text()
    assert "Hippocampus_L (more in AD; in 1 of 2 replicates)" in page
    assert "Replicate 1: maps of 12 AD and 12 NC; found:" in page
    assert (
        "Control network trained on shuffled labels: maps of 12 AD and 12 NC; found: 0 voxels and 0 regions"
        in page
    )


def test_networks_of_other_subjects_and_without_regions_are_compared(here, run):
    for number in range(0, 24, 3):
        for file in (here / "fold1").glob(map_name(number).removesuffix(".nii.gz") + "*"):
            file.unlink()
    code, said, err = run(*command("--replicate", "fold1"))
    assert code == 0, err
    (one,) = json.loads((here / "out/group.json").read_text())["networks"]
    assert sum(one["n"].values()) == 16
    assert one["regions_found"] == []
    assert not list((here / "out").glob("*networks*"))
    assert "regions" not in said


def same_network(here):
    shutil.copytree("maps", "copy")


def other_method(here):
    of_network(here, "copy", weights="4" * 64, effect=1, seed=4, spelling="cam")


def other_grid(here):
    of_network(here, "copy", weights="4" * 64, effect=1, seed=4)
    for path in sorted((here / "copy").glob("*.nii.gz")):
        moved = AFFINE.copy()
        moved[0, 3] += 4
        save_map(path, nib.load(path).get_fdata(), None, moved)


def blind_one(here):
    shutil.copytree("blind", "copy")


def same_twice(here):
    shutil.copytree("fold1", "copy")


@pytest.mark.parametrize(
    ("prepare", "options", "words"),
    [
        (same_network, [], "holds maps of the same network as MAPS"),
        (other_method, [], "its maps are of the method cam"),
        (other_grid, [], "need one grid in one space"),
        (blind_one, [], "was trained on shuffled labels; use --shuffled-network"),
        (same_twice, ["--replicate", "fold1"], "holds maps of the same network as those of"),
        (lambda here: (here / "copy").mkdir(), [], "holds no heatmaps"),
        (lambda here: None, [], "no such file or folder"),
    ],
)
def test_bad_input_gets_one_line_and_leaves_nothing(here, run, prepare, options, words):
    prepare(here)
    code, _, err = run(*command(*options, "--replicate", "copy"))
    assert code == 2
    assert words in err
    assert err.count("\n") == 1, err
    assert not (here / "out").exists()


def test_a_control_that_nobody_can_check_is_told(here, run):
    code, _, err = run(*command("--shuffled-network", "fold1"))
    assert code == 0
    assert "no sidecar says that its network was trained on shuffled labels" in err


def test_maps_of_several_networks_are_one_sample_with_the_network_as_covariate(here, run):
    for number in range(24):  # every second subject's map is of the first fold's network
        if number % 4 < 2:
            for file in (here / "maps").glob(map_name(number).removesuffix(".nii.gz") + "*"):
                shutil.copy(here / "fold1" / file.name, file)
    code, _, err = run(*command("--regions", "atlas.nii.gz"))
    assert code == 2
    assert "are maps of different networks" in err
    assert "--several-networks" in err
    code, _, err = run(*command("--regions", "atlas.nii.gz", "--several-networks", "--covariates", "age"))
    assert code == 0, err
    facts = json.loads((here / "out/group.json").read_text())
    assert [one["name"] for one in facts["covariates"]] == ["age", "network"]
    assert len(facts["maps"]["several_networks"]) == 2
    assert facts["maps"]["network"] is None
    assert "of 2 networks" in (here / "out/methods.txt").read_text()
    # The same as the network in the table.
    rows = (here / "participants.tsv").read_text().splitlines()
    named = [rows[0] + "\tnet", *(f"{row}\t{'ba'[number % 4 < 2]}" for number, row in enumerate(rows[1:]))]
    (here / "participants.tsv").write_text("\n".join(named) + "\n")
    for note in (here / "maps").glob("*.json"):
        told = json.loads(note.read_text())
        told["model"]["weights_sha256"] = "0" * 64
        note.write_text(json.dumps(told))
    code, _, err = run(*command("--regions", "atlas.nii.gz", "--covariates", "age,net", out="again"))
    assert code == 0, err
    name = "group_space-MNI_seg-atlas_desc-ADminusNC_regions.tsv"
    ours, theirs = (table(here / folder / name) for folder in ("out", "again"))
    for one, two in zip(ours, theirs, strict=True):
        assert float(one["mean"]) == pytest.approx(float(two["mean"]), rel=1e-9)
        assert one["group"] != "AD - NC" or float(one["p"]) == pytest.approx(float(two["p"]), rel=1e-9)


def test_one_network_is_no_covariate_and_maps_that_do_not_name_theirs_are_refused(here, run):
    assert run(*command("--several-networks"))[0] == 0
    assert json.loads((here / "out/group.json").read_text())["covariates"] == []
    for note in (here / "maps").glob("*.json"):
        note.unlink()
    code, _, err = run(*command("--several-networks", out="bare"))
    assert code == 2
    assert "some maps have no sidecar that names their network" in err


def test_a_run_that_was_interrupted_among_the_networks_goes_on(here, run, monkeypatch):
    from pyadx.commands.groups import networks

    assert run(*command("-q", "--regions", "atlas.nii.gz", *OTHERS, out="undisturbed"))[0] == 0
    analyse, done = networks.analyse, []

    def interrupted(request, sample, work):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(sample)
        return analyse(request, sample, work)

    monkeypatch.setattr(networks, "analyse", interrupted)
    code, _, err = run(*command("-q", "--regions", "atlas.nii.gz", *OTHERS))
    assert code == 130
    assert "continue where it stopped" in err
    kept = {path: path.stat().st_mtime_ns for path in (here / "out.work").rglob("*.npz")}
    assert {"replicate-1", "replicate-2"} <= {path.parent.name for path in kept}
    monkeypatch.setattr(networks, "analyse", analyse)
    assert run(*command("-q", "--regions", "atlas.nii.gz", *OTHERS))[0] == 0
    assert not (here / "out.work").exists()
    results = [sorted((here / name).iterdir()) for name in ("out", "undisturbed")]
    for one, two in zip(*results, strict=True):
        assert one.name == two.name
        if one.name != "group.json":  # seconds, and when it was made
            assert one.read_bytes() == two.read_bytes(), one.name
