"""``pyadx group``: maps of two groups in, maps, tables, controls and a methods text out."""

import json
import re

import nibabel as nib
import numpy as np
import pytest
from group_maps import AFFINE, SHAPE, command, group_maps, image, labels, map_name, save_map, sidecar, table
from scipy import stats

from pyadx.data import region_table
from pyadx.evaluation.groups.region_statistics import GROUP_COLUMNS

pytest.importorskip("nilearn")

SUBJECT_COLUMNS = [
    "participant_id", "session", "atlas", "index", "name", "hemisphere", "n_voxels", "volume_mm3", "mean",
    "sum", "share_of_total", "p95", "max", "fraction_above", "rank",
]  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Maps, table and atlas with a planted difference, as the working directory."""
    monkeypatch.chdir(tmp_path)
    values, first = group_maps(tmp_path)
    return tmp_path, values, first


def test_maps_equal_those_made_in_memory(here, run):
    folder, values, first = here
    code, _, err = run(*command("-q"))
    assert (code, err) == (0, "")
    out = folder / "out"
    mask = np.asarray(nib.load(out / "group_space-MNI_desc-tested_mask.nii.gz").dataobj) > 0
    assert (mask == (values != 0).any(0)).all()
    assert not mask[0].any()
    inside = values[:, mask].astype(np.float64)
    inside /= np.abs(inside).sum(1, keepdims=True)
    one, two = inside[first], inside[~first]
    count = int(np.ceil(0.05 * mask.sum()))
    strong = np.abs(inside) >= np.sort(np.abs(inside), 1)[:, -count][:, None]
    pooled = np.sqrt((one.var(0, ddof=1) + two.var(0, ddof=1)) / 2)
    expected = {
        ("AD", "mean"): one.mean(0), ("NC", "mean"): two.mean(0), ("AD", "sd"): one.std(0, ddof=1),
        ("AD", "share"): strong[first].mean(0), ("ADminusNC", "difference"): one.mean(0) - two.mean(0),
        ("ADminusNC", "t"): stats.ttest_ind(one, two).statistic,
    }  # fmt: skip
    for (desc, stat), slow in expected.items():
        got = image(out, desc, stat)
        np.testing.assert_allclose(got.get_fdata()[mask], slow, rtol=2e-6, atol=2e-6 * np.abs(slow).max())
        assert (got.get_fdata()[~mask] == 0).all()
        np.testing.assert_array_equal(got.affine, AFFINE)
    g = image(out, "ADminusNC", "hedgesg").get_fdata()[mask]
    np.testing.assert_allclose(g, (one.mean(0) - two.mean(0)) / pooled, rtol=0.05)  # the bias at n = 24


def test_space_codes_of_the_maps_are_kept(here, run):
    folder, _, _ = here
    for path in (folder / "maps").glob("*.nii.gz"):
        kept = nib.load(path)
        kept = nib.Nifti1Image(kept.get_fdata(dtype=np.float32), kept.affine)
        kept.set_sform(kept.affine, 4)
        kept.set_qform(kept.affine, 4)
        nib.save(kept, path)
    assert run(*command("-q"))[0] == 0
    header = image(folder / "out", "AD", "mean").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (4, 4)


def test_the_planted_region_is_found_and_tables_are_complete(here, run):
    folder, values, first = here
    code, said, err = run(*command("--regions", "atlas.nii.gz"))
    assert code == 0, err
    assert "AD - NC: 12 AD, 12 NC; every map divided by the sum of its absolute values" in said
    assert "of 3 regions with q < 0.05: Hippocampus_L" in said
    assert "control, labels shuffled: " in said
    out = folder / "out"
    rows = table(out / "group_space-MNI_seg-atlas_desc-subjects_regions.tsv")
    assert list(rows[0]) == SUBJECT_COLUMNS
    assert len(rows) == 24 * 3
    mask = (values != 0).any(0)
    scaled = values[5].astype(np.float64) / np.abs(values[5][mask].astype(np.float64)).sum()
    slow = region_table(scaled, labels(), AFFINE, {1: "Hippocampus_L", 2: "Hippocampus_R", 3: "Vermis"})
    for row, expected in zip(rows[15:18], slow, strict=True):
        assert (row["participant_id"], row["session"], row["atlas"]) == ("sub-05", "n/a", "atlas.nii.gz")
        assert row["hemisphere"] == (expected["hemisphere"] or "n/a")
        for name in (
            "n_voxels",
            "volume_mm3",
            "mean",
            "sum",
            "share_of_total",
            "p95",
            "fraction_above",
            "rank",
        ):
            assert float(row[name]) == pytest.approx(expected[name], rel=1e-12), name
    groups = table(out / "group_space-MNI_seg-atlas_desc-ADminusNC_regions.tsv")
    assert (
        " ".join(groups[0]) == "name group n mean sd se ci_low ci_high t p p_fdr hedges_g p_permuted p_fwe"
    )
    assert [row["group"] for row in groups] == ["AD", "NC", "AD - NC"] * 3
    means = np.array([float(row["mean"]) for row in rows]).reshape(24, 3)
    welch = stats.ttest_ind(means[first], means[~first], equal_var=False)
    assert [float(row["t"]) for row in groups[2::3]] == pytest.approx(welch.statistic, rel=1e-9)
    assert [float(row["p"]) for row in groups[2::3]] == pytest.approx(welch.pvalue, rel=1e-9)
    permuted = [float(row["p_permuted"]) for row in groups[2::3]]
    assert permuted == pytest.approx(welch.pvalue, abs=0.02)
    q = stats.false_discovery_control(permuted)
    assert [float(row["p_fdr"]) for row in groups[2::3]] == pytest.approx(q, rel=1e-9)
    assert q[0] < 0.05
    assert permuted[0] <= float(groups[2]["p_fwe"]) < 0.05
    note = json.loads((out / "group_space-MNI_seg-atlas_desc-ADminusNC_regions.json").read_text())
    assert set(GROUP_COLUMNS) < set(note)
    assert note["Test"] == "Welch's t-test, two-sided"
    assert note["Permutations"] == 10_000
    asymmetry = table(out / "group_space-MNI_seg-atlas_desc-ADminusNCasymmetry_regions.tsv")
    assert [row["name"] for row in asymmetry] == ["hippocampus_*"] * 3
    assert float(asymmetry[2]["p"]) < 0.05


def test_right_and_wrong_are_compared_apart(here, run):
    folder, _, first = here
    assert run(*command("-q", "--regions", "atlas.nii.gz"))[0] == 0
    rows = table(folder / "out/group_space-MNI_seg-atlas_desc-ADminusNCoutcomes_regions.tsv")
    wrong = np.arange(24) % 5 == 0
    counts = {(row["group"]): int(row["n"]) for row in rows}
    assert counts["AD correct"] == (first & ~wrong).sum()
    assert counts["NC wrong"] == (~first & wrong).sum()
    assert counts["AD correct - NC correct"] == (~wrong).sum()
    assert len({(row["name"], row["group"]) for row in rows}) == len(rows)
    facts = json.loads((folder / "out/group.json").read_text())
    assert facts["sample"]["outcomes"]["AD"] == {"correct": 10, "wrong": 2, "unknown": 0}


def test_nothing_is_found_where_nothing_is(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    group_maps(tmp_path, effect=0.0, seed=2)
    assert run(*command("-q", "--regions", "atlas.nii.gz", "--null", "20"))[0] == 0
    facts = json.loads((tmp_path / "out/group.json").read_text())
    assert facts["regions"]["found"] == []
    assert facts["voxels"]["significant"] == {"AD > NC": 0, "NC > AD": 0}
    null = facts["null"]
    assert null["runs"] == len(null["voxel_p"]) == 20
    assert null["region_runs"] == len(null["regions_found"]) == 1000
    assert 20 <= null["runs_with_region"] <= 80  # chance allows 50
    assert null["runs_with_voxel"] <= 3
    clusters = table(tmp_path / "out/group_space-MNI_desc-ADminusNC_stat-t_clusters.tsv")
    assert clusters == []


def test_the_note_says_all_that_was_done(here, run):
    folder, _, _ = here
    more = ("--covariates", "age,sex,site:category", "--cluster-threshold", "0.01", "--tfce")
    assert run(*command("-q", "--regions", "atlas.nii.gz", *more))[0] == 0
    out = folder / "out"
    facts = json.loads((out / "group.json").read_text())
    assert facts["schema"] == 1
    assert facts["normalisation"]["how"] == "sum"
    assert facts["covariates"][1:] == [
        {"name": "sex", "columns": ["sex[M]"]}, {"name": "site", "columns": ["site[2]"]}
    ]  # fmt: skip
    assert facts["maps"]["network"]["weights_sha256"] == "ab" * 32
    assert (facts["maps"]["space"], facts["maps"]["target"]) == ("MNI", "AD")
    assert facts["voxels"]["permutations"] == 99
    assert facts["clusters"]["forming_p"] == 0.01
    assert set(facts["clusters"]["smallest_p"]) == {"size", "mass", "tfce"}
    assert facts["regions"]["test"].startswith("ordinary least squares with age, sex[M]")
    listed = {one["file"] for one in facts["files"]} | {"group.json"}
    assert listed == {path.name for path in out.iterdir()}
    text = (out / "methods.txt").read_text()
    assert text == facts["methods"]
    for words in ("99 permutations", "12 of group AD", "divided by the sum", "Smith SM", "nilearn"):
        assert words in text
    assert str(folder) not in (out / "group.json").read_text()


def test_without_permutations_regions_have_the_q_of_t_tests(here, run):
    code, _, err = run(*command("--regions", "atlas.nii.gz", "--region-permutations", "0", "--null", "0"))
    assert code == 0, err
    rows = table(here[0] / "out" / "group_space-MNI_seg-atlas_desc-ADminusNC_regions.tsv")[2::3]
    q = stats.false_discovery_control([float(row["p"]) for row in rows])
    assert [float(row["p_fdr"]) for row in rows] == pytest.approx(q, rel=1e-9)
    assert {row["p_permuted"] for row in rows} == {row["p_fwe"] for row in rows} == {"n/a"}
    assert "permutations of subjects" not in (here[0] / "out" / "methods.txt").read_text()


def test_nilearn_takes_the_second_level_table(here, run):
    folder, values, _ = here
    assert run(*command("-q"))[0] == 0
    rows = table(folder / "out/second_level.tsv")
    assert list(rows[0]) == ["subject_label", "map_name", "effects_map_path"]
    found = [np.asarray(nib.load(folder / "out" / row["effects_map_path"]).dataobj) for row in rows]
    np.testing.assert_array_equal(np.stack(found), values)


def test_the_cluster_table_has_nilearns_columns(here, run):
    from nilearn.reporting import get_clusters_table

    folder, _, _ = here
    assert run(*command("-q", "--normalise", "none"))[0] == 0
    facts = json.loads((folder / "out/group.json").read_text())["voxels"]
    limit = facts["cluster_table"]["t"]
    slow = get_clusters_table(image(folder / "out", "ADminusNC", "t"), limit, two_sided=True)
    rows = table(folder / "out/group_space-MNI_desc-ADminusNC_stat-t_clusters.tsv")
    assert list(rows[0]) == list(slow.columns)
    assert len(rows) == len(slow) > 0
    assert float(rows[0]["Peak Stat"]) == pytest.approx(slow["Peak Stat"][0])
    assert facts["cluster_table"]["family_wise"]
    assert sum(facts["significant"].values()) > 0


def test_any_number_of_workers_gives_the_same_bytes(here, run):
    folder, _, _ = here
    assert run(*command("-q", "--regions", "atlas.nii.gz"))[0] == 0
    assert run(*command("-q", "--regions", "atlas.nii.gz", "--workers", "2", out="two"))[0] == 0
    for path in (folder / "out").iterdir():
        if path.name != "group.json" and path.suffix != ".gz":
            assert path.read_bytes() == (folder / "two" / path.name).read_bytes(), path.name
        elif path.suffix == ".gz":
            one, two = (np.asarray(nib.load(p).dataobj) for p in (path, folder / "two" / path.name))
            assert one.tobytes() == two.tobytes(), path.name
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_manifest_is_read_and_the_rest_listed(here, run):
    folder, _, _ = here
    lines = [
        {
            "subject": f"sub-{n:02d}",
            "scan": "s.nii.gz",
            "request": "r",
            "status": "done",
            "file": map_name(n),
        }
        for n in range(22)
    ]
    lines.append(
        {"subject": "sub-22", "scan": "s.nii.gz", "request": "r", "status": "failed", "reason": "x"}
    )
    (folder / "maps/manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    save_map(folder / "extra/sub-99_space-MNI_desc-occlusion_heatmap.nii.gz", np.ones(SHAPE), sidecar())
    for maps in ("maps/manifest.jsonl", "maps"):
        code, _, err = run(*command("-q", "--overwrite", "extra", maps=maps))
        assert code == 0, err
        left = {row["participant_id"]: row["reason"] for row in table(folder / "out/group_excluded.tsv")}
        assert left == {"sub-22": "no map", "sub-23": "no map", "sub-99": "not in participants.tsv"}
        assert len(table(folder / "out/group_sample.tsv")) == 22


def test_unreadable_maps_are_refused_or_listed(here, run):
    folder, _, _ = here
    broken = folder / "maps" / map_name(4)
    broken.write_bytes(broken.read_bytes()[:-600])
    code, _, err = run(*command())
    assert code == 2
    assert "sub-04" in err
    assert "--skip-unreadable" in err
    assert err.splitlines()[-1].startswith("pyadx: error: ")
    assert not (folder / "out").exists()
    code, _, err = run(*command("--skip-unreadable"))
    assert code == 0
    assert "1 of 24 maps cannot be read and are left out: sub-04" in err
    (row,) = table(folder / "out/group_excluded.tsv")
    assert row["participant_id"] == "sub-04"
    assert str(folder) not in row["reason"]


def test_earlier_results_go_only_when_asked_and_when_new_ones_are_there(here, run, monkeypatch):
    folder, _, _ = here
    assert run(*command("-q", "--regions", "atlas.nii.gz"))[0] == 0
    before = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    code, _, err = run(*command("-q"))
    assert code == 2
    assert "--overwrite" in err

    from pyadx.commands.groups import results

    with monkeypatch.context() as patch:
        patch.setattr(results, "methods_text", lambda facts: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(*command("-q", "--overwrite"))
        with pytest.raises(ZeroDivisionError):
            run(*command("-q", out="fresh"))
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == before
    assert not (folder / "fresh").exists()
    assert run(*command("-q", "--overwrite"))[0] == 0
    assert not list((folder / "out").glob("*regions*"))
    (folder / "other").mkdir()
    (folder / "other/thesis.txt").write_text("mine")
    code, _, err = run(*command("-q", "--overwrite", out="other"))
    assert (code, "choose another folder" in err) == (2, True)


def test_a_map_of_the_literature_is_compared(here, run):
    folder, values, first = here
    planted = (labels() == 1).astype(np.float32)
    finer = np.kron(planted, np.ones((2, 2, 2), np.float32))
    affine = AFFINE @ np.diag([0.5, 0.5, 0.5, 1])
    affine[:3, 3] += AFFINE[:3, :3] @ [-0.25, -0.25, -0.25]
    nib.save(nib.Nifti1Image(finer, affine), folder / "meta.nii.gz")
    code, said, err = run(*command("--normalise", "none", "--compare", "meta.nii.gz"))
    assert code == 0, err
    found = json.loads((folder / "out/group.json").read_text())["comparison"]
    mask = (values != 0).any(0)
    wide = values[:, mask].astype(float)
    difference = wide[first].mean(0) - wide[~first].mean(0)
    assert found["r"]["difference"] == pytest.approx(np.corrcoef(difference, planted[mask])[0, 1], abs=0.02)
    assert found["p"] == pytest.approx(0.01)
    assert (found["voxels"], found["subjects"]) == (mask.sum(), 24)
    assert "difference and meta.nii.gz: r = " in said


def test_shapley_values_of_sidecars_are_region_values(here, run):
    folder, values, first = here
    generator = np.random.default_rng(0)
    shares = generator.normal(size=(24, 2)) + np.outer(first, [3, 0])
    for number in range(24):
        report = {
            "labels": [1, 2],
            "names": ["Hippocampus_L", "Hippocampus_R"],
            "values": shares[number].tolist(),
        }
        facts = {**sidecar(), "report": report, "atlas": {"file": "aal.nii.gz"}}
        save_map(folder / "maps" / map_name(number), values[number], facts)
    assert run(*command("-q", "--values", "shapley", "--normalise", "none"))[0] == 0
    rows = table(folder / "out/group_space-MNI_seg-aal_desc-subjects_regions.tsv")
    assert list(rows[0]) == SUBJECT_COLUMNS
    assert [float(row["sum"]) for row in rows] == pytest.approx(shares.ravel())
    assert {row["mean"] for row in rows} == {"n/a"}
    assert [int(row["rank"]) for row in rows[:2]] == ([1, 2] if shares[0, 0] > shares[0, 1] else [2, 1])
    groups = table(folder / "out/group_space-MNI_seg-aal_desc-ADminusNC_regions.tsv")
    slow = stats.ttest_ind(shares[first], shares[~first], equal_var=False)
    assert [float(row["t"]) for row in groups[2::3]] == pytest.approx(slow.statistic)


def test_sessions_are_chosen(here, run):
    folder, values, _ = here
    for number in range(24):
        for session in ("M00", "M12"):
            name = f"sub-{number:02d}_ses-{session}_space-MNI_desc-occlusion_heatmap.nii.gz"
            save_map(folder / "long" / name, values[number], sidecar())
    code, _, err = run(*command(maps="long"))
    assert code == 2
    assert "--session M00" in err
    assert run(*command("-q", "--session", "ses-M12", "--regions", "atlas.nii.gz", maps="long"))[0] == 0
    rows = table(folder / "out/group_space-MNI_seg-atlas_desc-subjects_regions.tsv")
    assert {row["session"] for row in rows} == {"ses-M12"}
    code, _, err = run(*command("--session", "M24", maps="long", out="none"))
    assert "there are M00, M12" in err


def test_what_nobody_can_check_is_told(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    values, _ = group_maps(tmp_path)
    for number in range(24):
        save_map(tmp_path / "bare" / map_name(number, space=""), values[number])
    code, _, err = run(*command(maps="bare"))
    assert code == 0
    assert "no map names its space" in err
    assert "no sidecars" in err
    assert (tmp_path / "out/group_desc-AD_stat-mean_statmap.nii.gz").is_file()


def rewrite(folder, old, new):
    path = folder / "participants.tsv"
    path.write_text(path.read_text().replace(old, new))


def change_map(folder, values=None, affine=AFFINE, name=None, **facts):
    values = np.ones(SHAPE) if values is None else values
    save_map(folder / "maps" / (name or map_name(3)), values, sidecar(**facts), affine)


def moved(folder):
    affine = AFFINE.copy()
    affine[0, 3] += 2
    change_map(folder, affine=affine)


def without_age(folder):
    path = folder / "participants.tsv"
    path.write_text(re.sub(r"(sub-04\tNC\t)\d+", r"\1n/a", path.read_text()))


def no_maps(folder):
    (folder / "empty").mkdir()


BAD = {
    "network": (lambda f: change_map(f, weights="cd" * 32), [], "maps of different networks"),
    "method": (lambda f: change_map(f, spelling="gradcam:layer=conv2b"), [], "maps of different methods"),
    "target": (lambda f: change_map(f, target="NC"), [], "maps of different targets, AD and NC"),
    "sidecar": (lambda f: (f / "maps" / map_name(3).replace(".nii.gz", ".json")).unlink(), [], "maps of"),
    "space": (
        lambda f: [(f / "maps" / map_name(3)).unlink(), change_map(f, name=map_name(3, "space-T1w_"))],
        [], "different spaces, MNI and T1w; explain scans in one space",
    ),
    "shape": (lambda f: change_map(f, np.ones((9, 9, 9))), [], "has 9x9x9 voxels, the first map 12x11x10"),
    "affine": (moved, [], "has another position than the first map"),
    "two maps": (
        lambda f: change_map(f, name="sub-03_space-MNI_run-2_desc-occlusion_heatmap.nii.gz"),
        [], "sub-03 has several maps",
    ),
    "two groups": (
        lambda f: rewrite(f, "sub-04\tNC", "sub-03\tNC\t60\tF\t1\nsub-04\tNC"), [],
        "sub-03 is in two groups, AD (line 5) and NC",
    ),
    "twice": (
        lambda f: rewrite(f, "sub-04\tNC", "sub-03\tAD\t60\tF\t1\nsub-04\tNC"), [], "is listed twice",
    ),
    "one group": (lambda f: rewrite(f, "\tNC\t", "\tAD\t"), [], "nobody is in group 'NC'"),
    "few": (
        lambda f: [rewrite(f, "\tNC\t", "\tMCI\t"), rewrite(f, "sub-04\tMCI", "sub-04\tNC")], [],
        "group NC has 1 maps; a comparison needs two per group",
    ),
    "contrast": (lambda f: None, ["--contrast", "AD"], '--contrast must name two groups, such as "AD'),
    "column": (lambda f: None, ["--covariates", "height"], "has no column height; its columns are"),
    "missing": (
        without_age, ["--covariates", "age"],
        "1 of 24 subjects have no age (sub-04)",
    ),
    "same": (lambda f: None, ["--covariates", "group"], "groups follow from the cov"),
    "zero": (
        lambda f: change_map(f, np.zeros(SHAPE)), [], "zero everywhere inside the mask, so it cannot be",
    ),
    "normalise": (lambda f: None, ["--normalise", "max"], "--normalise must be one of none, sum, p99"),
    "values": (lambda f: None, ["--values", "shapley"], "has no Shapley values of regions"),
    "key": (lambda f: None, ["--key", "atlas.tsv"], "--key names the numbers of --regions"),
    "forming": (lambda f: None, ["--cluster-threshold", "3.1"], "is an uncorrected p between 0 and 0.5"),
    "no permutations": (lambda f: None, ["--tfce", "--permutations", "0"], "need --permutations above 0"),
    "negative": (lambda f: None, ["--null", "-1"], "--null must be between 0"),
    "desc": (lambda f: None, ["--desc", "cam"], "no map has it; there are occlusion"),
    "no maps": (no_maps, ["empty"], "holds no heatmaps"),
    "no file": (lambda f: None, ["nowhere"], "no such file or folder"),
    "other file": (lambda f: None, ["participants.tsv"], "neither a heatmap, a folder nor a manifest"),
    "nobody": (lambda f: change_map(f, name="heat.nii.gz"), ["maps/heat.nii.gz"], "its subject is unknown"),
    "compare": (
        lambda f: nib.save(nib.Nifti1Image(np.ones(SHAPE, np.float32), AFFINE), f / "flat.nii.gz"),
        ["--compare", "flat.nii.gz"], "is constant inside the mask",
    ),
    "engine": (lambda f: None, ["--engine", "slurm"], "--engine must be one of local, ray"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_leaves_nothing(here, run, case):
    folder, _, _ = here
    spoil, more, words = BAD[case]
    spoil(folder)
    there = sorted(path.name for path in folder.iterdir())
    code, said, err = run(*command("-q", *more))
    assert (code, said) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == there


def test_without_nilearn_a_line_says_what_to_install(here, run, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "nilearn", None)
    code, _, err = run(*command())
    assert code == 2
    assert "pip install 'pyadx[group]'" in err


def test_two_thousand_maps_are_streamed_and_the_unreadable_one_listed(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    maps = generator.normal(size=(2000, 3, 4, 5)).astype(np.float32)
    rows = ["participant_id\tgroup"]
    (tmp_path / "maps").mkdir()
    for number, values in enumerate(maps):
        name = f"sub-{number:04d}_space-MNI_heatmap.nii"
        nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "maps" / name)
        rows.append(f"sub-{number:04d}\t{'AD' if number < 900 else 'NC'}")
    (tmp_path / "maps/sub-0017_space-MNI_heatmap.nii").write_bytes(b"")
    (tmp_path / "participants.tsv").write_text("\n".join(rows) + "\n")
    more = ("--normalise", "none", "--null", "0", "--permutations", "20", "--skip-unreadable")
    code, _, err = run(*command("-q", *more))
    assert code == 0, err
    (left,) = table(tmp_path / "out/group_excluded.tsv")
    assert left["participant_id"] == "sub-0017"
    kept = np.delete(maps, 17, 0).reshape(1999, 60).astype(np.float64)
    for group, part in (("AD", kept[:899]), ("NC", kept[899:])):
        for stat, slow in (("mean", part.mean(0)), ("sd", part.std(0, ddof=1))):
            got = image(tmp_path / "out", group, stat).get_fdata().ravel()
            np.testing.assert_allclose(got, slow, rtol=1e-6, atol=1e-7)
